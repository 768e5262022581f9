# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's policy in Gateway API's kinds: versions are Services of their own, routes are HTTPRoutes.

Gateway API refers to Services, never to subsets. What it cannot say of connections and load balancing stays in Istio's
DestinationRules.
"""

from __future__ import annotations

from typing import Any

from ..._engine.objects import Object, Ref, ref_of
from ..._engine.steps import Barrier
from ..._failure import Failure, InvalidOption
from ..._proxy import config_dump
from ..._proxy.sync_barrier import ProxyCondition, proxies_in_sync
from ..features import desired_annotation
from ..host import foreign_routes
from ..host.host import MESH, VERSION_OF, Host, full_name, service_of
from ..host.port_protocol import RouteProtocol
from ..host_policy import MANAGED, Policy
from .httproute_rules import LABEL, route_rules, unsupported, version_service
from .istio import API as RULE_API
from .proxy_checks import clusters_ready, routes_visible, same_weights

GROUP, API = "gateway.networking.k8s.io", "gateway.networking.k8s.io/v1"
ROUTE = "HTTPRoute"
# Of a port of a Service, what another one with the same pods has too.
PORT = ("name", "port", "targetPort", "protocol", "appProtocol")


class GatewayApi:
    """The writer of Gateway API's kinds."""

    # Istio says in a route's status whether its parents have taken it.
    has_status = True

    def unsupported(self, policy: Policy) -> list[Failure]:
        """Raises InvalidOption "gateway_api_cannot" for what no cluster could change; returns what an earlier task may
        put right.
        """
        host = policy.host
        if not policy.route_intents:
            return []
        if policy.protocol != RouteProtocol.HTTP:
            raise unsupported(
                "protocol",
                f"uses a separate kind for {policy.protocol.upper()} routes, which this collection does not support",
                host,
            )
        if service_of(host.name, host.namespace) != (host.namespace, host.object_name):
            raise unsupported(
                "service",
                (
                    f"applies the routes of a Service in its own namespace, and {host.full_name} is not a Service of"
                    f" {host.namespace}"
                ),
                host,
            )
        for gateway in policy.gateways:
            route_rules(policy.route_rules, host, gateway)
        found: list[Failure] = []
        found += [
            unsupported("api", f"would remove the routes of other owners in {ref_of(obj)}", host)
            for obj in (host.managed_virtual_service, host.wildcard_virtual_service)
            if obj and foreign_routes.foreign_routes_of(obj)
        ]
        if not host.gateway_api_channel:
            hint = (
                "Install the Gateway API CRDs (control_plane_gateway_api of the role control_plane), or set api: istio."
            )
            found.append(
                InvalidOption(
                    "api",
                    "the cluster does not serve the routes of the Gateway API",
                    hint=hint,
                    code="gateway_api_absent",
                )
            )
        if policy.versions and host.service and not host.service["spec"].get("selector"):
            found.append(
                unsupported(
                    "versions",
                    (
                        "routes to a Service for each version, which needs the labels of the pods, but the Service"
                        " has no selector"
                    ),
                    host,
                )
            )
        wanted = {service["metadata"]["name"]: service for service in _services(policy)}
        for name, namesake in sorted(host.same_name_services.items()):
            if not _is_ours(namesake, host) and not _stands_for(namesake, wanted[name]):
                ref = Ref("", "Service", host.namespace, name)
                hint = (
                    f"Rename that Service, change its selector to {_text(wanted[name]['spec']['selector'])}, or set"
                    " api: istio."
                )
                found.append(
                    InvalidOption(
                        "versions",
                        f"{ref} already exists and does not select that version",
                        ref=ref.as_result("v1"),
                        hint=hint,
                        code="service_taken",
                    )
                )
        return found

    def subsets(self, policy: Policy) -> dict[str, dict[str, str]]:
        return {}

    def backend_objects(self, policy: Policy) -> list[Object]:
        """A Service for each version, and its DestinationRule where the host's has a traffic policy. Services of other
        people that do are used as they are.
        """
        host = policy.host
        services = [
            obj
            for obj in _services(policy)
            if _is_ours(host.same_name_services.get(obj["metadata"]["name"], obj), host)
        ]
        return [*services, *_rules(policy)]

    def targets_ready(self, policy: Policy) -> Barrier | None:
        names = [service["metadata"]["name"] for service in _services(policy)]
        return (
            clusters_ready(
                policy.host,
                f"Services {', '.join(names)}",
                [f"||{full_name(name, policy.host.namespace)}" for name in names],
            )
            if names
            else None
        )

    def current_route_objects(self, host: Host) -> list[Object]:
        return list(host.http_routes)

    def route_objects(self, policy: Policy) -> list[Object]:
        """One for the mesh, and one for each gateway: what is said of one of them is then no condition of a rule."""
        return [_route(policy, gateway) for gateway in policy.gateways] if policy.route_intents else []

    def routes_ready(self, policy: Policy, objects: list[Object]) -> Barrier:
        host = policy.host
        place = host.namespace if MESH in policy.gateways else policy.gateways[0].partition("/")[0]
        names = dict.fromkeys(rule["name"].rpartition("-")[0] for obj in objects for rule in obj["spec"]["rules"])
        return proxies_in_sync(
            ProxyCondition(
                f"{', '.join(names)} of {host.full_name}",
                place,
                lambda text: routes_visible(
                    any(has_rules(text, obj, host) for obj in objects), text, host, policy.gateways
                ),
            )
        )

    def has_routes(self, text: dict[str, Any], host: Host) -> bool:
        """Whether a dump has a route of what was said so far, or one of ours to a version's Service, also where its
        object is gone already.
        """
        names = {
            rule["name"] for obj in host.http_routes for rule in obj["spec"].get("rules") or [] if rule.get("name")
        }
        ends = tuple(f"||{full_name(service['metadata']['name'], host.namespace)}" for service in host.version_services)
        return any(
            (one.name in names and any(_comes_from(one, obj) for obj in host.http_routes)) or _leads_to(one, ends)
            for one in config_dump.routes(text)
        )


def service_names(policy: Policy) -> list[str]:
    """Names that Services for the wanted versions have; none for a version that no Service can be named after."""
    found = [f"{policy.host.object_name}-{version}" for version in sorted(policy.versions)]
    return [name for name in found if LABEL.match(name)]


def _labels(host: Host) -> dict[str, str]:
    return {**MANAGED, VERSION_OF: host.object_name}


def _is_ours(service: Object, host: Host) -> bool:
    """Whether a Service was made for a version of this very host."""
    return _labels(host).items() <= (service["metadata"].get("labels") or {}).items()


def _services(policy: Policy) -> list[Object]:
    host = policy.host
    spec = (host.service or {}).get("spec") or {}
    ports = [{key: port[key] for key in PORT if key in port} for port in spec.get("ports") or []]
    found = []
    for version in sorted(policy.versions):
        metadata = {"name": version_service(host, version), "namespace": host.namespace, "labels": _labels(host)}
        content = {"ports": ports, "selector": {**(spec.get("selector") or {}), policy.label: version}}
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": content})
    return found


def _rules(policy: Policy) -> list[Object]:
    traffic_policy = policy.traffic_policy
    found = []
    for service in _services(policy) if traffic_policy else []:
        spec = {"host": full_name(service["metadata"]["name"], policy.host.namespace), "trafficPolicy": traffic_policy}
        found.append(
            {"apiVersion": RULE_API, "kind": "DestinationRule", "metadata": dict(service["metadata"]), "spec": spec}
        )
    return found


def _stands_for(namesake: Object, wanted: Object) -> bool:
    """Whether a Service of somebody else selects just the pods of a version, on the same ports."""
    spec = namesake.get("spec") or {}
    ports = {port["port"] for port in spec.get("ports") or []}
    return spec.get("selector") == wanted["spec"]["selector"] and ports >= {
        port["port"] for port in wanted["spec"]["ports"]
    }


def _text(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _route(policy: Policy, gateway: str) -> Object:
    host = policy.host
    spec: dict[str, Any] = {}
    if gateway == MESH:
        name = host.object_name
        spec["parentRefs"] = [{"group": "", "kind": "Service", "name": host.object_name}]
    else:
        namespace, _slash, parent = gateway.partition("/")
        # A Service's name has no dot: no other host's route is named like that.
        name = f"{host.object_name}.{namespace}.{parent}"
        reference = {"group": GROUP, "kind": "Gateway", "namespace": namespace, "name": parent}
        # At a listener that redirects, a route that names its host would be the narrower one.
        spec["parentRefs"] = [
            {**reference, "sectionName": section} for section in host.tls_listeners.get(gateway, ())
        ] or [reference]
        if "*" not in policy.gateway_hosts:
            spec["hostnames"] = [host.full_name, *policy.gateway_hosts]
    spec["rules"] = route_rules(policy.route_rules, host, gateway)
    metadata = {
        "name": name,
        "namespace": host.namespace,
        "labels": dict(MANAGED),
        "annotations": desired_annotation.intents_annotation(policy.route_intents),
    }
    return {"apiVersion": API, "kind": ROUTE, "metadata": metadata, "spec": spec}


def hosts_of(obj: Object) -> list[str]:
    """Hosts whose routes an object says, as istiod names them."""
    spec, namespace = obj["spec"], obj["metadata"]["namespace"]
    services = [
        full_name(ref["name"], ref.get("namespace") or namespace)
        for ref in spec.get("parentRefs") or []
        if ref.get("kind") == "Service"
    ]
    return services or list(spec.get("hostnames") or ["*"])


def _comes_from(route: config_dump.ProxyRoute, obj: Object) -> bool:
    """istiod makes one VirtualService for each parent and host, and tells the host at the end of its name."""
    return route.source.endswith(tuple(f"~{host}" for host in hosts_of(obj)))


def _leads_to(route: config_dump.ProxyRoute, ends: tuple[str, ...]) -> bool:
    """Whether a route of ours leads to a cluster with one of these ends of its name."""
    return foreign_routes.is_ours({"name": route.name}) and any(
        cluster.endswith(ends) for cluster, _weight in route.weights
    )


def has_rules(text: dict[str, Any], obj: Object, host: Host) -> bool:
    """Whether a dump has the object's rules with their weights, and none that it no longer has.

    At a gateway istiod puts routes of several objects for one host together, so only what was ours may be told to be
    too much.
    """
    wanted = {rule["name"]: rule for rule in obj["spec"]["rules"]}
    before = {
        rule.get("name")
        for one in host.http_routes
        if one["metadata"]["name"] == obj["metadata"]["name"]
        for rule in one["spec"].get("rules") or []
    }
    found = [one for one in config_dump.routes(text) if _comes_from(one, obj)]
    there = {one.name for one in found}
    if not set(wanted) <= there or there & (before - set(wanted)):
        return False
    return all(same_weights(one, _weights(wanted[one.name], obj)) for one in found if one.name in wanted)


def _weights(rule: dict[str, Any], obj: Object) -> dict[tuple[str, str], int]:
    own = obj["metadata"]["namespace"]
    found: dict[tuple[str, str], int] = {}
    for ref in rule.get("backendRefs") or []:
        host = full_name(ref["name"], ref.get("namespace") or own)
        found["", host] = found.get(("", host), 0) + ref["weight"]
    return found
