# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What istiod's webhook says of one VirtualService, without istiod (pkg/config/validation)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..._checks.check import ERROR, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..._failure import InvalidOption
from ..._traffic.features import validators
from ..._traffic.host.host import MESH, full_name
from ..findings import KIALI, OURS, WEBHOOK, parts
from ..object_index import World, namespace, overlaps, spec

Field = tuple[str, dict[str, Any]]
ENDS = ("route", "redirect", "directResponse")
CLAIM = "@request.auth.claims"
LARGEST_BODY = 1024 * 1024


def http(world: World) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    """(VirtualService, field, HTTP route)"""
    for obj in world["VirtualService"]:
        for field, route in parts(spec(obj).get("http"), "spec.http"):
            yield obj, field, route


def weighted(world: World) -> Iterator[tuple[Object, str, list[dict[str, Any]]]]:
    """(VirtualService, field, destinations) of each route of any protocol."""
    for obj in world["VirtualService"]:
        for protocol in ("http", "tcp", "tls"):
            for field, route in parts(spec(obj).get(protocol), f"spec.{protocol}"):
                yield obj, f"{field}.route", route.get("route") or []


def share(destination: dict[str, Any]) -> float:
    """A weight as istiod takes it where a route has several."""
    return float(destination.get("weight") or 0)


def in_mesh(obj: Object) -> bool:
    """Whether a VirtualService is for sidecars."""
    gateways = spec(obj).get("gateways") or [MESH]
    return MESH in gateways


def is_delegate(obj: Object) -> bool:
    return not spec(obj).get("hosts")


def matches(route: dict[str, Any], field: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(field, what is matched, string match) of an HTTP route."""
    for path, match in parts(route.get("match"), f"{field}.match"):
        for key in ("uri", "scheme", "method", "authority"):
            if match.get(key) is not None:
                yield f"{path}.{key}", key, match[key]
        for key in ("headers", "withoutHeaders", "queryParams"):
            for name, value in (match.get(key) or {}).items():
                yield f"{path}.{key}.{name}", key, value or {}


def refused(test: Callable[..., Any], *arguments: Any) -> str:
    """Why a value cannot be meant, in the words of the options of this collection; empty where it can."""
    try:
        test("", *arguments)
    except InvalidOption as error:
        return error.message.removeprefix(": ")
    return ""


def virtual_service_empty(world: World) -> Iterator[FieldFinding]:
    for obj in world["VirtualService"]:
        if not any(spec(obj).get(protocol) for protocol in ("http", "tcp", "tls")):
            yield FieldFinding(obj, "spec", "it has no routes: set http, tcp or tls")


def delegate_wrong(world: World) -> Iterator[FieldFinding]:
    for obj in world["VirtualService"]:
        if is_delegate(obj):
            for key in ("gateways", "tcp", "tls"):
                if spec(obj).get(key):
                    yield FieldFinding(
                        obj, f"spec.{key}", f"it is a delegate, because it has no hosts: a delegate cannot set {key}"
                    )
    for obj, field, route in http(world):
        if route.get("delegate"):
            if is_delegate(obj):
                yield FieldFinding(obj, f"{field}.delegate", "a delegate cannot delegate to another VirtualService")
            for key in ("route", "redirect"):
                if route.get(key):
                    yield FieldFinding(obj, f"{field}.{key}", f"a delegated route cannot set {key}")


def delegate_missing(world: World) -> Iterator[FieldFinding]:
    if not world.complete:
        return
    for obj, field, route in http(world):
        named = route.get("delegate") or {}
        place = named.get("namespace") or namespace(obj)
        if named and not world.find("VirtualService", place, named.get("name") or ""):
            yield FieldFinding(obj, f"{field}.delegate", f"VirtualService {place}/{named.get('name')} does not exist")


def route_ambiguous(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        if route.get("delegate"):
            continue
        given = [key for key in ENDS if route.get(key)]
        if not given:
            yield FieldFinding(obj, field, "it has none of route, redirect and directResponse")
        elif len(given) > 1:
            yield FieldFinding(obj, field, f"it has {' and '.join(given)}: set only one of them")
        elif given != ["route"]:
            for key in ("fault", "rewrite"):
                if route.get(key):
                    yield FieldFinding(obj, f"{field}.{key}", f"it has {given[0]}, which cannot be combined with {key}")


def host_wildcard_in_mesh(world: World) -> Iterator[FieldFinding]:
    for obj in world["VirtualService"]:
        if in_mesh(obj) and "*" in (spec(obj).get("hosts") or []):
            yield FieldFinding(obj, "spec.hosts", "the host * is not allowed for sidecars (gateway mesh)")


def host_repeated(world: World) -> Iterator[FieldFinding]:
    for obj in world["VirtualService"]:
        hosts = [full_name(host, namespace(obj)) for host in spec(obj).get("hosts") or []]
        for number, host in enumerate(hosts):
            earlier = next((other for other in hosts[:number] if overlaps(other, host)), None)
            if earlier:
                yield FieldFinding(obj, f"spec.hosts[{number}]", f"{earlier} already covers {host}")


def weights_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in weighted(world):
        for number, destination in enumerate(route):
            if share(destination) < 0:
                yield FieldFinding(obj, f"{field}[{number}].weight", f"{destination['weight']} is negative")
        if len(route) > 1 and sum(map(share, route)) == 0:
            yield FieldFinding(obj, field, "none of its destinations has a weight")


def weight_alone(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in weighted(world):
        if len(route) == 1 and route[0].get("weight") not in (None, 100):
            yield FieldFinding(
                obj,
                f"{field}[0].weight",
                f"the only destination has the weight {route[0]['weight']}, but gets all requests",
            )


def destination_missing(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in weighted(world):
        for number, part in enumerate(route):
            if not (part.get("destination") or {}).get("host"):
                yield FieldFinding(obj, f"{field}[{number}].destination", "it has no host")


def destination_repeated(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in weighted(world):
        seen = set()
        for number, part in enumerate(route):
            destination = part.get("destination") or {}
            key = (
                full_name(destination.get("host") or "", namespace(obj)),
                destination.get("subset"),
                (destination.get("port") or {}).get("number"),
            )
            if key in seen:
                yield FieldFinding(obj, f"{field}[{number}]", "an earlier destination of the route is identical")
            seen.add(key)


def match_empty(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        for path, key, match in matches(route, field):
            for how in ("prefix", "regex"):
                # Of a path an empty prefix is everything.
                if match.get(how) == "" and (key, how) != ("uri", "prefix"):
                    yield FieldFinding(obj, f"{path}.{how}", f"an empty {how} is not allowed")


def regex_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        for path, key, match in matches(route, field):
            expression = match.get("regex")
            # This one is no expression: it stands for any value.
            if expression and (key, expression) != ("withoutHeaders", "*"):
                cause = refused(validators.regex, expression)
                if cause:
                    yield FieldFinding(obj, f"{path}.regex", cause)


def claim_in_mesh(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        if in_mesh(obj):
            for path, key, _match in matches(route, field):
                if key != "queryParams" and CLAIM in path:
                    yield FieldFinding(
                        obj, path, "only gateways can match JWT claims, and the VirtualService applies to sidecars"
                    )


def durations(value: Any, path: str) -> Iterator[tuple[str, str]]:
    for key, item in value.items() if isinstance(value, dict) else ():
        if key in ("timeout", "perTryTimeout", "fixedDelay") and item is not None:
            yield f"{path}.{key}", item


def duration_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        fault = route.get("fault") or {}
        places = [
            (field, route),
            (f"{field}.retries", route.get("retries")),
            (f"{field}.fault.delay", fault.get("delay")),
        ]
        for place, value in places:
            for path, text in durations(value, place):
                # No timeout at all is written so.
                cause = "" if text == "0s" and path.endswith("imeout") else refused(validators.duration, text)
                if cause:
                    yield FieldFinding(obj, path, cause)


def _percent(obj: Object, field: str, value: dict[str, Any] | None, least: float = 0) -> Iterator[FieldFinding]:
    number = (value or {}).get("value")
    if number is not None and not (number == 0 or max(least, 0) <= number <= 100):
        yield FieldFinding(obj, f"{field}.value", f"{number} is not a valid percentage: use 0, or {least or 0} to 100")


def fault_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        fault = route.get("fault")
        if fault is None:
            continue
        delay, abort = fault.get("delay"), fault.get("abort")
        if not delay and not abort:
            yield FieldFinding(obj, f"{field}.fault", "it has neither delay nor abort")
        if delay is not None and not delay.get("fixedDelay"):
            yield FieldFinding(obj, f"{field}.fault.delay", "it has no fixedDelay")
        for key, part in (("delay", delay), ("abort", abort)):
            yield from _percent(
                obj, f"{field}.fault.{key}.percentage", (part or {}).get("percentage"), validators.LEAST_PERCENT
            )
        if abort:
            status, grpc = abort.get("httpStatus"), abort.get("grpcStatus")
            if status is None and not grpc:
                yield FieldFinding(obj, f"{field}.fault.abort", "it has no status")
            if status is not None and refused(validators.status, status):
                yield FieldFinding(obj, f"{field}.fault.abort.httpStatus", refused(validators.status, status))
            if grpc and refused(validators.grpc_status, grpc):
                yield FieldFinding(obj, f"{field}.fault.abort.grpcStatus", refused(validators.grpc_status, grpc))


def retries_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        retries = route.get("retries") or {}
        attempts = retries.get("attempts") or 0
        if attempts < 0:
            yield FieldFinding(obj, f"{field}.retries.attempts", f"{attempts} is negative")
        others = sorted(set(retries) - {"attempts"})
        if retries.get("attempts") == 0 and others:
            yield FieldFinding(obj, f"{field}.retries", f"{', '.join(others)} need at least one attempt")
        given = [value.strip() for value in (retries.get("retryOn") or "").split(",") if value.strip()]
        cause = refused(validators.retry_on, given)
        if cause:
            yield FieldFinding(obj, f"{field}.retries.retryOn", cause)


def mirror_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        if route.get("mirror") and route.get("mirrors"):
            yield FieldFinding(obj, f"{field}.mirrors", "it has both mirror and mirrors: set only one of them")
        yield from _percent(obj, f"{field}.mirrorPercentage", route.get("mirrorPercentage"))
        for path, mirror in parts(route.get("mirrors"), f"{field}.mirrors"):
            yield from _percent(obj, f"{path}.percentage", mirror.get("percentage"))


def direct_response_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        answer = route.get("directResponse")
        if not answer:
            continue
        if refused(validators.status, answer.get("status"), 200):
            yield FieldFinding(
                obj, f"{field}.directResponse.status", refused(validators.status, answer.get("status"), 200)
            )
        body = (answer.get("body") or {}).get("string") or ""
        if len(body) > LARGEST_BODY:
            yield FieldFinding(
                obj, f"{field}.directResponse.body", f"it has {len(body)} bytes, more than {LARGEST_BODY}"
            )


def _changes(route: dict[str, Any], field: str) -> Iterator[tuple[str, str, str]]:
    """(field, "request" or "response", header) of all that is set, added or removed."""
    places = [(field, route), *parts(route.get("route"), f"{field}.route")]
    for place, part in places:
        for direction in ("request", "response"):
            changes = (part.get("headers") or {}).get(direction) or {}
            for how in ("set", "add", "remove"):
                for header in changes.get(how) or []:
                    yield f"{place}.headers.{direction}.{how}.{header}", direction, header


def header_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        for path, direction, header in _changes(route, field):
            authority = header.lower() in (":authority", "host")
            if header.startswith(":") or authority:
                if direction == "response" or not authority or ".remove." in path:
                    yield FieldFinding(obj, path, f"Envoy cannot change the header {header}")
            elif refused(validators.header, header):
                yield FieldFinding(obj, path, refused(validators.header, header))
        for path, key, _match in matches(route, field):
            header = path.rpartition(f".{key}.")[2]
            if (
                key in ("headers", "withoutHeaders")
                and not header.startswith((":", CLAIM))
                and refused(validators.header, header)
            ):
                yield FieldFinding(obj, path, refused(validators.header, header))


def authority_twice(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        changed = (route.get("headers") or {}).get("request") or {}
        given = [
            header
            for how in ("set", "add")
            for header in changed.get(how) or {}
            if header.lower() in (":authority", "host")
        ]
        if len(given) + bool((route.get("rewrite") or {}).get("authority")) > 1:
            yield FieldFinding(obj, field, "the route changes the authority more than once")


def tls_match_wrong(world: World) -> Iterator[FieldFinding]:
    for obj in world["VirtualService"]:
        hosts = spec(obj).get("hosts") or []
        for field, route in parts(spec(obj).get("tls"), "spec.tls"):
            if not route.get("match"):
                yield FieldFinding(obj, field, "it has no sniHosts, which a TLS route needs")
            for path, match in parts(route.get("match"), f"{field}.match"):
                for name in match.get("sniHosts") or []:
                    if not any(overlaps(host, name) and len(host) <= len(name) for host in hosts):
                        yield FieldFinding(obj, f"{path}.sniHosts", f"{name} is not a host of the VirtualService")


def gateway_name_form(world: World) -> Iterator[FieldFinding]:
    for obj in world["VirtualService"]:
        for number, gateway in enumerate(spec(obj).get("gateways") or []):
            if (
                gateway.count("/") > 1
                or gateway.startswith("/")
                or gateway.endswith("/")
                or ("/" not in gateway and "." in gateway)
            ):
                yield FieldFinding(obj, f"spec.gateways[{number}]", f"{gateway!r} is neither NAME nor NAMESPACE/NAME")


def fault_with_retries(world: World) -> Iterator[FieldFinding]:
    for obj, field, route in http(world):
        given = [key for key in ("retries", "timeout") if route.get(key)]
        if route.get("fault") and given:
            yield FieldFinding(
                obj, f"{field}.{given[0]}", f"the route has a fault, and Envoy then ignores {' and '.join(given)}"
            )


CHECKS = (
    Check("virtual_service_empty", ERROR, virtual_service_empty, "A VirtualService has no routes.",
          "Set http, tcp or tls.", WEBHOOK),
    Check("delegate_wrong", ERROR, delegate_wrong,
          "A delegate sets gateways, tcp or tls, or delegates again, or a delegated route sets other actions.",
          "A delegate has no hosts and only http routes. The route that names it contains only matches.", WEBHOOK),
    Check("delegate_missing", ERROR, delegate_missing, "The VirtualService of a delegate does not exist.",
          "Correct the name, or create the delegate first.", OURS),
    Check("route_ambiguous", ERROR, route_ambiguous,
          "An HTTP route sets none or several of route, redirect and directResponse, or a fault or rewrite without "
          "route.", "Set exactly one of route, redirect and directResponse. Use fault and rewrite only with route.",
          WEBHOOK),
    Check("host_wildcard_in_mesh", ERROR, host_wildcard_in_mesh, "The host * applies to sidecars.",
          "List the hosts, or bind the VirtualService to gateways only.",
          WEBHOOK),
    Check("host_repeated", ERROR, host_repeated,
          "A VirtualService lists a host twice, or a host that its wildcard already covers.", "List each host once.",
          WEBHOOK),
    Check("weights_invalid", ERROR, weights_invalid, "A weight is negative, or all weights of a route are 0.",
          "Set a weight above 0 for at least one destination.", WEBHOOK),
    Check("weight_alone", WARNING, weight_alone, "The only destination of a route has a weight other than 100.",
          "Remove the weight, or add the other destination.", KIALI("KIA1104")),
    Check("destination_missing", ERROR, destination_missing, "A destination has no host.", "Set the host.", WEBHOOK),
    Check("destination_repeated", WARNING, destination_repeated, "A route has the same destination twice.",
          "Merge the two destinations, and add up their weights.",
          KIALI("KIA1105")),
    Check("match_empty", ERROR, match_empty, "A match has an empty prefix or regular expression.",
          "Remove the match, or set a value.", WEBHOOK),
    Check("regex_invalid", ERROR, regex_invalid, "A regular expression is not valid RE2.",
          "Rewrite it without look-around and backreferences, with at most 1024 characters.", WEBHOOK),
    Check("claim_in_mesh", ERROR, claim_in_mesh, "A route for sidecars matches a JWT claim.",
          "Bind the VirtualService to gateways only.", WEBHOOK),
    Check("duration_invalid", ERROR, duration_invalid,
          "A timeout or delay is not a duration of at least one millisecond.", "Use the form 500ms, 2s or 1m30s.",
          WEBHOOK),
    Check("fault_invalid", ERROR, fault_invalid,
          "A fault has neither delay nor abort, or its percentage or status is not valid.",
          "Set a fixedDelay, or a status from 200 to 599, and a percentage from 0 to 100.", WEBHOOK),
    Check("retries_invalid", ERROR, retries_invalid,
          "Retries have a negative number of attempts, a condition without attempts, or a condition that is not valid.",
          "Set attempts to 1 or more, and use conditions that Envoy supports.", WEBHOOK),
    Check("mirror_invalid", ERROR, mirror_invalid,
          "A route sets both mirror and mirrors, or a percentage that is not valid.",
          "Use only mirrors, with percentages from 0 to 100.", WEBHOOK),
    Check("direct_response_invalid", ERROR, direct_response_invalid,
          "A direct response has a status that is not valid, or a body above 1 MiB.",
          "Set a status from 200 to 599 and a shorter body.", WEBHOOK),
    Check("header_invalid", ERROR, header_invalid, "A header name is not valid, or Envoy cannot change the header.",
          "Correct the name. Use rewrite.authority to change the host.", WEBHOOK),
    Check("authority_twice", ERROR, authority_twice, "A route changes the authority more than once.",
          "Keep either rewrite.authority or the header.", WEBHOOK),
    Check("tls_match_wrong", ERROR, tls_match_wrong,
          "A TLS route matches no host, or a host that the VirtualService does not list.",
          "Set sniHosts to hosts that the VirtualService covers.", WEBHOOK),
    Check("gateway_name_form", WARNING, gateway_name_form, "A gateway name does not have the form NAMESPACE/NAME.",
          "Use the form NAMESPACE/NAME.", KIALI("KIA1108") + ", webhook"),
    Check("fault_with_retries", WARNING, fault_with_retries, "A route has a fault together with retries or a timeout.",
          "Remove the fault, or expect that neither takes effect during the fault (istio issue 13705).", OURS),
)  # fmt: skip
