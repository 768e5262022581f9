# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's policy in Istio's own kinds: versions are subsets of a DestinationRule, routes are VirtualServices."""

from __future__ import annotations

from typing import Any

from ..._engine.objects import Object, Ref, ref_of
from ..._engine.steps import Barrier
from ..._failure import Failure, InvalidOption
from ..._proxy import config_dump
from ..._proxy.sync_barrier import ProxyCondition, proxies_in_sync
from ..features import desired_annotation
from ..features.route_rule import RouteRule, RouteTarget, matches_at, named_by_content
from ..host import foreign_routes
from ..host.host import ANY_HOST, MESH, Host, full_name, gateways_only
from ..host.port_protocol import RouteProtocol
from ..host_policy import MANAGED, Policy
from . import tcp_tls_routes
from .proxy_checks import clusters_ready, destination_weights, routes_visible, same_weights

API = "networking.istio.io/v1"
# A route with one of these is not sent to every proxy.
LIMITS = ("gateways", "sourceLabels", "sourceNamespace", "port")


class Istio:
    """The writer of Istio's own kinds."""

    # Of a VirtualService only proxies tell whether it was taken.
    has_status = False

    def unsupported(self, policy: Policy) -> list[Failure]:
        """The vocabulary was made of what these kinds can say, but for what requests alone have. Returns gateways that
        take no such connections.
        """
        tcp_tls_routes.require_supported(policy)
        if not policy.route_intents or policy.protocol == RouteProtocol.HTTP:
            return []
        word, hint = (
            policy.protocol.upper(),
            (
                "Add a port (tcp_port, or tls with mode passthrough, in the module gateway), use another gateway, or"
                " set another protocol."
            ),
        )
        silent = [gateway for gateway, spoken in policy.host.gateway_protocols.items() if policy.protocol not in spoken]
        return [
            InvalidOption(
                "gateways",
                f"Gateway {gateway} has no port for {word} connections to {policy.host.full_name}",
                hint=hint,
                code="no_such_port",
            )
            for gateway in silent
        ]

    def subsets(self, policy: Policy) -> dict[str, dict[str, str]]:
        return {version: {policy.label: version} for version in policy.versions}

    def backend_objects(self, policy: Policy) -> list[Object]:
        """A subset needs nothing beside the host's DestinationRule."""
        return []

    def targets_ready(self, policy: Policy) -> Barrier | None:
        versions = sorted(policy.versions)
        return (
            clusters_ready(
                policy.host,
                f"subsets {', '.join(versions)}",
                [f"|{version}|{policy.host.full_name}" for version in versions],
            )
            if versions
            else None
        )

    def current_route_objects(self, host: Host) -> list[Object]:
        return [obj for obj in (host.managed_virtual_service, host.wildcard_virtual_service) if obj]

    def route_objects(self, policy: Policy) -> list[Object]:
        return virtual_services(policy)

    def routes_ready(self, policy: Policy, objects: list[Object]) -> Barrier:
        live, bound = policy.host, objects[0]["spec"]["gateways"]
        # A gateway's pods are looked at first where no sidecar has the routes.
        place = live.namespace if MESH in bound else bound[0].partition("/")[0]
        names = dict.fromkeys(
            http["name"].rpartition("-")[0]
            for obj in objects
            for http in foreign_routes.http_routes(obj)
            if foreign_routes.is_ours(http)
        ) or [f"{policy.protocol.upper()} routes"]
        gateways = {gateway for obj in objects for gateway in obj["spec"]["gateways"]}
        return proxies_in_sync(
            ProxyCondition(
                f"{', '.join(names)} of {live.full_name}",
                place,
                lambda text: routes_visible(any(has_all(text, obj, live) for obj in objects), text, live, gateways),
            )
        )

    def has_routes(self, text: dict[str, Any], host: Host) -> bool:
        """Whether a dump has a route of ours for the host, also where its objects are gone already."""
        sources = tuple(_source(host.namespace, host.object_name + end) for end in ("", ANY_HOST))
        return tcp_tls_routes.has_leftovers(text, host, sources) or any(
            one.source.endswith(sources) and foreign_routes.is_ours({"name": one.name})
            for one in config_dump.routes(text)
        )


def destination_rule(policy: Policy, subsets: dict[str, dict[str, str]], traffic_policy: dict[str, Any]) -> Object:
    host = policy.host
    metadata: dict[str, Any] = {"name": host.object_name, "namespace": host.namespace, "labels": dict(MANAGED)}
    if policy.rule_intents:
        metadata["annotations"] = desired_annotation.intents_annotation(policy.rule_intents)
    spec: dict[str, Any] = {"host": host.full_name}
    if traffic_policy:
        spec["trafficPolicy"] = traffic_policy
    if subsets:
        spec["subsets"] = [{"name": name, "labels": labels} for name, labels in sorted(subsets.items())]
    return {"apiVersion": API, "kind": "DestinationRule", "metadata": metadata, "spec": spec}


def virtual_services(policy: Policy) -> list[Object]:
    """One for the mesh, the gateways and named outside hosts; and one for any other host at the gateways, if asked for.

    None where nothing is, but for other people's routes.
    """
    host = policy.host
    if not policy.route_intents:
        return [
            _virtual_service(
                policy, obj["metadata"]["name"], obj["spec"]["hosts"], obj["spec"]["gateways"], _rest(host)
            )
            for obj in (host.managed_virtual_service, host.wildcard_virtual_service)
            if obj and foreign_routes.foreign_routes_of(obj)
        ]
    rules = policy.route_rules
    return [_virtual_service(policy, name, hosts, bound, rules) for name, (hosts, bound) in _places(policy).items()]


def _places(policy: Policy) -> dict[str, tuple[list[str], list[str]]]:
    """By name of the objects, their hosts and where they are bound to."""
    name, gateways, inside = policy.host.object_name, policy.gateways, policy.own_hosts
    any_host = "*" in policy.gateway_hosts
    bound = [gateway for gateway in gateways if gateway == MESH or inside[1:] or not any_host]
    own = {name: (inside, bound)} if bound else {}
    return {**own, name + ANY_HOST: (["*"], gateways_only(gateways))} if any_host else own


def _rest(host: Host) -> list[RouteRule]:
    """Where only routes of others are left: all else goes to the host, as before they were written."""
    return [RouteRule("default", (), [(RouteTarget(port=Policy.of(host).port), 1, {})])]


def _virtual_service(
    policy: Policy, name: str, hosts: list[str], gateways: list[str], rules: list[RouteRule]
) -> Object:
    host = policy.host
    metadata = {
        "name": name,
        "namespace": host.namespace,
        "labels": dict(MANAGED),
        "annotations": desired_annotation.intents_annotation(policy.route_intents),
    }
    obj: Object = {
        "apiVersion": API,
        "kind": "VirtualService",
        "metadata": metadata,
        "spec": {"hosts": hosts, "gateways": gateways},
    }
    if policy.route_intents and policy.protocol != RouteProtocol.HTTP:
        written = [route for rule in rules if (route := _connections(rule, policy, hosts, gateways))]
        # Where routes of ours were among those of requests, the list is ours, and what others put there with it.
        was = live_counterpart(host, obj)
        beside = (
            foreign_routes.foreign_routes_of(was)
            if len(foreign_routes.foreign_routes_of(was)) < len(foreign_routes.http_routes(was))
            else []
        )
        beside += [
            one
            for other in policy.adopted_objects()
            for one in foreign_routes.http_routes(other)
            if name == host.object_name and one not in beside
        ]
        return {**obj, "spec": {**obj["spec"], policy.protocol.value: written, **({"http": beside} if beside else {})}}
    http = foreign_routes.merge_routes(
        [one for rule in rules if (one := _http(rule, host, gateways))],
        foreign_routes.http_routes(live_counterpart(host, obj)),
    )
    if name == host.object_name and policy.route_intents:
        http = foreign_routes.append_adopted(
            http, [one for other in policy.adopted_objects() for one in foreign_routes.http_routes(other)]
        )
    return {**obj, "spec": {**obj["spec"], "http": http}}


def live_counterpart(host: Host, obj: Object) -> Object | None:
    """The live object of ours that the composed one takes the place of."""
    return next(
        (
            one
            for one in (host.managed_virtual_service, host.wildcard_virtual_service)
            if one and (one["kind"], one["metadata"]["name"]) == (obj["kind"], obj["metadata"]["name"])
        ),
        None,
    )


def composed_versions(host: Host, objects: list[Object]) -> dict[Ref, str]:
    """Versions of the live objects that these were composed from."""
    found = {
        ref_of(obj): (live_counterpart(host, obj) or {"metadata": {}})["metadata"].get("resourceVersion", "")
        for obj in objects
    }
    return {ref: version for ref, version in found.items() if version}


def changed_beside_ours(policy: Policy, objects: list[Object]) -> frozenset[Ref]:
    """Those that nobody has changed but by routes beside ours."""
    earlier = Policy.of(policy.host)
    live_ones = [
        obj
        for obj in (policy.host.managed_virtual_service, policy.host.wildcard_virtual_service)
        if obj and foreign_routes.foreign_routes_of(obj)
    ]
    was = (
        _places(earlier)
        if earlier.route_intents
        else {obj["metadata"]["name"]: (obj["spec"]["hosts"], obj["spec"]["gateways"]) for obj in live_ones}
    )
    found = set()
    for obj in objects:
        live, places = live_counterpart(policy.host, obj), was.get(obj["metadata"]["name"])
        if live and places and foreign_routes.changed_only_beside_ours(live, *places):
            found.add(ref_of(obj))
    return frozenset(found)


def _http(rule: RouteRule, host: Host, gateways: list[str]) -> dict[str, Any] | None:
    """Istio's HTTPRoute of a rule, for a VirtualService that is bound to these gateways; None where it concerns none
    of them.
    """
    matches = matches_at(rule, gateways)
    if matches is None:
        return None
    fields = {key: value for key, value in rule.fields.items() if value and key != "mirrors"}
    content: dict[str, Any] = {"match": list(matches)} if matches else {}
    if rule.targets:
        content["route"] = _parts(rule, host)
    if rule.fields.get("mirrors"):
        content["mirrors"] = [
            {"destination": _destination(target, host), "percentage": {"value": percent}}
            for target, percent in rule.fields["mirrors"]
        ]
    content.update(fields)
    return {"name": named_by_content(rule.name, content), **content}


def _connections(rule: RouteRule, policy: Policy, hosts: list[str], gateways: list[str]) -> dict[str, Any] | None:
    """Istio's TCPRoute or TLSRoute of a rule, likewise."""
    matches = tcp_tls_routes.route_matches(rule, policy, hosts, gateways)
    return None if matches is None else {**({"match": matches} if matches else {}), "route": _parts(rule, policy.host)}


def _parts(rule: RouteRule, host: Host) -> list[dict[str, Any]]:
    lone = len(rule.targets) == 1
    return [
        {
            "destination": _destination(target, host),
            **({} if lone and not target.version else {"weight": weight}),
            **({"headers": headers} if headers else {}),
        }
        for target, weight, headers in rule.targets
    ]


def _destination(target: RouteTarget, host: Host) -> dict[str, Any]:
    found: dict[str, Any] = {"host": full_name(target.host, host.namespace) if target.host else host.full_name}
    if target.version:
        found["subset"] = target.version
    if target.port is not None:
        found["port"] = {"number": target.port}
    return found


def proxy_source(obj: Object) -> str:
    """How proxies name the object that a route comes from, less the version of its API."""
    return _source(obj["metadata"]["namespace"], obj["metadata"]["name"])


def _source(namespace: str, name: str) -> str:
    return f"/namespaces/{namespace}/virtual-service/{name}"


def has_all(text: dict[str, Any], obj: Object, host: Host) -> bool:
    """The same of requests' routes and of connections'."""
    return has_routes(text, obj) and not tcp_tls_routes.dump_differences(
        text, host, proxy_source(obj), tcp_tls_routes.routes_of(obj)
    )


def has_routes(text: dict[str, Any], obj: Object) -> bool:
    """Whether a dump has the object's routes, all that go to every proxy and none that it no longer has, with their
    weights.

    Other people's are theirs to look at.
    """
    wanted = {http["name"]: http for http in foreign_routes.http_routes(obj) if foreign_routes.is_ours(http)}
    everywhere = {name for name, http in wanted.items() if not limited(http)}
    found = {
        one.name: one
        for one in config_dump.routes(text)
        if one.source.endswith(proxy_source(obj)) and foreign_routes.is_ours({"name": one.name})
    }
    if not everywhere <= set(found) or not set(found) <= set(wanted):
        return False
    return all(same_weights(one, destination_weights(wanted[name])) for name, one in found.items())


def limited(http: dict[str, Any]) -> bool:
    """Whether a route may be for some proxies only."""
    return any(limit in match for match in http.get("match") or [] for limit in LIMITS)
