# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of a host as rules of Gateway API's HTTPRoute, or the reason why they cannot be said as such.

Every default of the schema is written out: a list has one owner, so what a server adds inside would look like a change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..._failure import InvalidOption
from ..features import validators
from ..features.match import Match
from ..features.route import WHOLE_PATH
from ..features.route_rule import RouteRule, RouteTarget, matches_at, named_by_content
from ..host.host import MESH, Host, full_name, service_of
from ..host_policy import targets_own_host
from .httproute_precedence import Form, in_order, path_of

# Of the schema of HTTPRoute (gateway.networking.k8s.io/v1): rules, matches of all of them, the largest weight.
MOST_RULES, MOST_MATCHES, MOST_WEIGHT = 16, 127, 1000000
ORIGIN = re.compile(r"^https?://([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+(:[0-9]{1,5})?$")
MILLIONTHS = 1000000
# What Istio retries wherever a route of Gateway API says anything of retries (pilot/pkg/config/kube/gateway, conversion
# of HTTPRoute).
RETRIED = {"connect-failure", "refused-stream", "unavailable", "cancelled"}
# Matches that HTTPRoute has no word for, by their field: the option, and why.
NO_MATCH = {
    "authority": ("match.authority", "does not support matching a host in a single rule"),
    "withoutHeaders": ("match.headers", "does not support matching a missing header"),
    "sourceLabels": ("match.from_labels", "does not support matching the caller"),
    "sourceNamespace": ("match.from_namespace", "does not support matching the caller"),
    "port": ("match.port", "does not support matching a port"),
    "ignoreUriCase": ("match.ignore_case", "does not support case-insensitive paths"),
    "gateways": ("gateways", "does not support rules for only some gateways of a route"),
}


def unsupported(option: str, reason: str, host: Host, hint: str = "") -> InvalidOption:
    """The refusal of what Gateway API has no word for."""
    return InvalidOption(
        option,
        f"Gateway API {reason} (policy of {host.full_name})",
        hint=hint or "Set api: istio for this service.",
        code="gateway_api_cannot",
    )


def route_rules(rules: list[RouteRule], host: Host, gateway: str) -> list[dict[str, Any]]:
    """Rules of the route that is for the mesh or for one gateway. Raises InvalidOption "gateway_api_cannot"."""
    here = [(rule, found) for rule in rules if (found := matches_at(rule, [gateway])) is not None]
    listed = [(rule.name, _split_methods(found)) for rule, found in here]
    for _name, matches in listed:
        for match in matches:
            _refuse_match(match, host)
    if len(listed) > MOST_RULES or sum(len(matches) for _name, matches in listed) > MOST_MATCHES:
        raise unsupported(
            "rules", f"supports at most {MOST_RULES} rules with {MOST_MATCHES} conditions for a service", host
        )
    prefixes = {rule.name for rule, _matches in here if "uri" in (rule.fields.get("rewrite") or {})}
    form = in_order(listed, host, prefixes)
    return [_rule(rule, matches, host, gateway, form) for (rule, _matches), (_name, matches) in zip(here, listed)]


def _split_methods(matches: Iterable[Match]) -> list[Match]:
    """The matches, each of one method; one for every request where there are none."""
    return [one for match in matches for one in _by_method(match)] or [{}]


def _by_method(match: Match) -> list[Match]:
    """One match for each of several methods."""
    methods = (match.get("method") or {}).get("regex")
    return [{**match, "method": {"exact": method}} for method in methods.split("|")] if methods else [match]


def _refuse_match(match: Match, host: Host) -> None:
    for field, (option, reason) in NO_MATCH.items():
        if field in match:
            raise unsupported(option, reason, host)


def _rule(rule: RouteRule, matches: list[Match], host: Host, gateway: str, form: Form) -> dict[str, Any]:
    if "fault" in rule.fields:
        raise unsupported(
            "delay" if "delay" in rule.fields["fault"] else "abort", "does not support fault injection", host
        )
    if "directResponse" in rule.fields:
        raise unsupported("direct_response", "supports redirects, but no other direct responses", host)
    content: dict[str, Any] = {"matches": [_match(match, rule, form) for match in matches]}
    filters = _filters(rule, matches, host, gateway)
    if filters:
        content["filters"] = filters
    if rule.targets:
        content["backendRefs"] = [
            _backend(target, weight, headers, host, gateway) for target, weight, headers in rule.targets
        ]
    content.update(_patience(rule.fields, host))
    # Names of rules are lower case; the digest keeps two apart that then look alike.
    return {"name": named_by_content(re.sub(r"[^a-z0-9-]", "-", rule.name.lower()), content), **content}


def _match(match: Match, rule: RouteRule, form: Form) -> dict[str, Any]:
    found: dict[str, Any] = {"path": path_of(match, form, prefix="uri" in (rule.fields.get("rewrite") or {}))}
    if "method" in match:
        found["method"] = match["method"]["exact"]
    for field, name in (("headers", "headers"), ("queryParams", "queryParams")):
        if match.get(field):
            found[name] = [{"name": key, **_value(value)} for key, value in sorted(match[field].items())]
    return found


def _value(text: dict[str, str]) -> dict[str, str]:
    """A StringMatch in the words of HTTPRoute; an empty one means that there is any value."""
    if "exact" in text:
        return {"type": "Exact", "value": text["exact"]}
    return {"type": "RegularExpression", "value": text.get("regex") or re.escape(text.get("prefix", "")) + ".*"}


def _filters(rule: RouteRule, matches: list[Match], host: Host, gateway: str) -> list[dict[str, Any]]:
    fields = rule.fields
    found = _headers(fields.get("headers") or {})
    if "redirect" in fields:
        found.append({"type": "RequestRedirect", "requestRedirect": _redirect(fields["redirect"])})
    if "rewrite" in fields:
        found.append({"type": "URLRewrite", "urlRewrite": _rewrite(fields["rewrite"], matches, host)})
    if "corsPolicy" in fields:
        found.append({"type": "CORS", "cors": _cors(fields["corsPolicy"], host)})
    for target, percent in fields.get("mirrors") or []:
        share = (
            {"percent": int(percent)}
            if percent == int(percent)
            else {"fraction": {"numerator": round(percent * MILLIONTHS / 100), "denominator": MILLIONTHS}}
        )
        found.append(
            {"type": "RequestMirror", "requestMirror": {"backendRef": _service(target, host, gateway), **share}}
        )
    return found


def _headers(sides: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for side, kind in (("request", "RequestHeaderModifier"), ("response", "ResponseHeaderModifier")):
        operations = sides.get(side) or {}
        said: dict[str, Any] = {
            name: [{"name": key, "value": value} for key, value in sorted(operations[name].items())]
            for name in ("set", "add")
            if operations.get(name)
        }
        if operations.get("remove"):
            said["remove"] = sorted(set(operations["remove"]))
        if said:
            found.append({"type": kind, kind[0].lower() + kind[1:]: said})
    return found


def _redirect(given: dict[str, Any]) -> dict[str, Any]:
    # Istio's own kind means 301 where it says nothing, Gateway API 302.
    found: dict[str, Any] = {"statusCode": given.get("redirectCode", 301)}
    for name, key in (("hostname", "authority"), ("scheme", "scheme"), ("port", "port")):
        if key in given:
            found[name] = given[key]
    if "uri" in given:
        found["path"] = {"type": "ReplaceFullPath", "replaceFullPath": given["uri"]}
    return found


def _rewrite(given: dict[str, Any], matches: list[Match], host: Host) -> dict[str, Any]:
    found: dict[str, Any] = {"hostname": given["authority"]} if "authority" in given else {}
    if "uri" in given:
        met = [match.get("uri", {}).get("prefix", "") for match in matches]
        if len(met) != 1 or not met[0].endswith("/") or met[0] == "/" or not given["uri"].endswith("/"):
            raise unsupported(
                "rewrite.prefix",
                (
                    "replaces only whole path segments, and with only one condition: end the path with /* and the"
                    " prefix with /"
                ),
                host,
            )
        found["path"] = {"type": "ReplacePrefixMatch", "replacePrefixMatch": given["uri"]}
    elif "uriRegexRewrite" in given:
        if given["uriRegexRewrite"]["match"] != WHOLE_PATH:
            raise unsupported("rewrite.regex", "does not support rewriting a path with a regular expression", host)
        found["path"] = {"type": "ReplaceFullPath", "replaceFullPath": given["uriRegexRewrite"]["rewrite"]}
    return found


def _cors(given: dict[str, Any], host: Host) -> dict[str, Any]:
    origins = []
    for origin in given["allowOrigins"]:
        written = "*" if origin == {"regex": ".*"} else origin.get("exact", "")
        if written != "*" and not ORIGIN.match(written):
            raise unsupported(
                "cors.origins",
                f"supports * or a scheme and a host as an origin, not {next(iter(origin.values()))!r}",
                host,
            )
        origins.append(written)
    found: dict[str, Any] = {"allowOrigins": ["*"] if "*" in origins else list(dict.fromkeys(origins))}
    for name in ("allowMethods", "allowHeaders", "exposeHeaders"):
        if given.get(name):
            found[name] = list(dict.fromkeys(given[name]))
    age = validators.seconds(given["maxAge"]) if "maxAge" in given else 5.0
    if age < 1 or age != int(age):
        raise unsupported("cors.max_age", "supports only whole seconds", host)
    # Five seconds is what a browser takes where nothing is said (Fetch standard).
    found["maxAge"] = int(age)
    if given.get("allowCredentials"):
        found["allowCredentials"] = True
    return found


def _patience(fields: dict[str, Any], host: Host) -> dict[str, Any]:
    """Timeouts and retries."""
    retries, timeout = fields.get("retries"), fields.get("timeout")
    found: dict[str, Any] = {"timeouts": {"request": _duration(timeout)}} if timeout else {}
    if retries is None:
        return found
    if not retries["attempts"]:
        raise unsupported("retries.attempts", "cannot turn off retries", host)
    if host.gateway_api_channel == "standard":
        raise unsupported(
            "retries",
            "supports retries only in its experimental channel",
            host,
            hint="Set api: istio for this service, or install the Gateway API CRDs of the experimental channel.",
        )
    conditions = set(retries["retryOn"].split(",")) if retries.get("retryOn") else RETRIED
    codes = sorted(int(one) for one in conditions - RETRIED if one.isdigit() and int(one) >= 400)
    if not conditions >= RETRIED or len(codes) != len(conditions - RETRIED):
        raise unsupported(
            "retries.retry_on", f"retries only on {', '.join(sorted(RETRIED))}, and on status codes from 400", host
        )
    per_try = retries.get("perTryTimeout")
    if per_try:
        if timeout and validators.seconds(per_try) > validators.seconds(timeout):
            raise unsupported("retries.per_try_timeout", "does not support a per_try_timeout above the timeout", host)
        found.setdefault("timeouts", {})["backendRequest"] = _duration(per_try)
    return {**found, "retry": {"attempts": retries["attempts"], **({"codes": codes} if codes else {})}}


def _duration(value: str) -> str:
    """A duration without fractions (GEP-2257)."""
    left = round(validators.seconds(value) * 1000)
    parts = []
    for unit, size in (("h", 3600000), ("m", 60000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts)


def _backend(target: RouteTarget, weight: int, headers: dict[str, Any], host: Host, gateway: str) -> dict[str, Any]:
    if weight > MOST_WEIGHT:
        raise unsupported("versions", f"does not support weights above {MOST_WEIGHT}", host)
    filters = _headers(headers)
    return {**_service(target, host, gateway), "weight": weight, **({"filters": filters} if filters else {})}


def _service(target: RouteTarget, live: Host, gateway: str) -> dict[str, Any]:
    """The Service of a target, as Gateway API refers to it."""
    if targets_own_host(target, live):
        namespace, name = live.namespace, version_service(live, target.version) if target.version else live.object_name
        ports: tuple[int, ...] = tuple(live.ports)
    else:
        host = full_name(target.host or "", live.namespace)
        place = service_of(host, live.namespace)
        if place is None:
            raise unsupported("to.service", f"routes only to Services, and {host} is not a Service", live)
        if target.version:
            raise unsupported(
                "to.version", "does not support versions of another service: set the Service of that version", live
            )
        namespace, name = place
        if gateway != MESH and namespace != live.namespace:
            raise unsupported(
                "to.service",
                (
                    f"routes from a gateway to another namespace only with a ReferenceGrant, and {host} is in another"
                    " namespace"
                ),
                live,
            )
        ports = live.other_ports.get(host, ())
    port = target.port or (ports[0] if len(ports) == 1 else None)
    found: dict[str, Any] = {"group": "", "kind": "Service", "name": name}
    if namespace != live.namespace:
        found["namespace"] = namespace
    return {**found, "port": port} if port else found


# RFC 1123, label: the name of a Service.
LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


def version_service(host: Host, version: str) -> str:
    """Name of the Service that stands for a version. Raises InvalidOption "gateway_api_cannot"."""
    name = f"{host.object_name}-{version}"
    if not LABEL.match(name):
        raise unsupported("versions", f"routes only to Services, and {name} is not a valid Service name", host)
    return name
