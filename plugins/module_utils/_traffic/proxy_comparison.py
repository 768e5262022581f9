# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a proxy would do with a host's requests, beside what the host's live objects say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._engine.cluster import Cluster
from .._engine.objects import Object, ref_of
from .._proxy import config_dump
from .._proxy.sync_status import ProxyLocation, ProxyQuery
from .backends import tcp_tls_routes
from .backends.gateway_api import has_rules
from .backends.istio import limited, proxy_source
from .backends.proxy_checks import destination_weights, same_weights
from .features import validators
from .host import foreign_routes
from .host.host import ANY_HOST, GATEWAY_NAME, MESH, Host, gateways_only
from .host.reader import NETWORKING

# Envoy's way of speaking to a cluster by the mode of a DestinationRule; MUTUAL and SIMPLE differ in certificates alone.
TRANSPORTS = {
    "DISABLE": config_dump.Transport.PLAINTEXT,
    "SIMPLE": config_dump.Transport.TLS,
    "MUTUAL": config_dump.Transport.TLS,
    "ISTIO_MUTUAL": config_dump.Transport.TLS,
}


@dataclass(frozen=True)
class Reach:
    """Where an object's routes hold: in every sidecar, at the pods of gateways. selectors: labels of those."""

    mesh: bool
    selectors: list[dict[str, str]]

    def at(self, place: ProxyLocation) -> bool:
        """Whether a proxy there has its routes."""
        return (
            any(selector.items() <= place.labels.items() for selector in self.selectors) if place.gateway else self.mesh
        )


@dataclass(frozen=True)
class Bound(Reach):
    """A VirtualService of a host, or the name that one would have."""

    source: str
    http: list[dict[str, Any]]
    connections: list[tcp_tls_routes.Route]


@dataclass(frozen=True)
class Parents(Reach):
    """A route of Gateway API."""

    route: Object


def proxy_query(cluster: Cluster, host: Host) -> ProxyQuery:
    """Of every sidecar where the host has routes for the mesh or none at all, and of the pods of gateways that they
    name. Raises ApiError.
    """
    bound = [_bound(cluster, obj) for obj in (host.managed_virtual_service, host.wildcard_virtual_service) if obj]
    names = [_nothing(host, name) for name in (host.object_name, host.object_name + ANY_HOST)]
    every = bound + [name for name in names if name.source not in {one.source for one in bound}]
    rules = [_parents(obj) for obj in host.http_routes]
    said: list[Reach] = [*bound, *rules]
    return ProxyQuery(
        lambda place: not said and not place.gateway or any(one.at(place) for one in said),
        lambda place, text: dump_differences(host, every, place, text, rules),
    )


def _parents(route: Object) -> Parents:
    refs = route["spec"].get("parentRefs") or []
    return Parents(
        any(ref.get("kind") == "Service" for ref in refs),
        [{GATEWAY_NAME: ref["name"]} for ref in refs if ref.get("kind") != "Service"],
        route,
    )


def _bound(cluster: Cluster, obj: Object) -> Bound:
    gateways = obj["spec"].get("gateways") or [MESH]
    selectors = []
    for gateway in gateways_only(gateways):
        namespace, _slash, name = gateway.rpartition("/")
        live = cluster.get(NETWORKING, "Gateway", namespace or obj["metadata"]["namespace"], name)
        selectors.append(((live or {}).get("spec") or {}).get("selector") or {})
    return Bound(
        MESH in gateways, selectors, proxy_source(obj), foreign_routes.http_routes(obj), tcp_tls_routes.routes_of(obj)
    )


def _nothing(host: Host, name: str) -> Bound:
    return Bound(False, [], proxy_source({"metadata": {"namespace": host.namespace, "name": name}}), [], [])


def dump_differences(
    host: Host, every: list[Bound], place: ProxyLocation, text: dict[str, Any], rules: Iterable[Parents] = ()
) -> str | None:
    """What the dump of a proxy there lacks, or has too much, in words; empty for nothing, None where the host is hidden
    from it.
    """
    clusters = {
        name: transport
        for name, transport in config_dump.transports(text).items()
        if name.endswith(f"|{host.full_name}")
    }
    if not clusters:
        return None
    routes = list(config_dump.routes(text))
    found = _subsets(host, clusters)
    for bound in every:
        wanted = {http["name"]: http for http in bound.http if foreign_routes.is_ours(http) and bound.at(place)}
        found += _routes(
            wanted,
            [one for one in routes if one.source.endswith(bound.source) and foreign_routes.is_ours({"name": one.name})],
        )
        found += tcp_tls_routes.dump_differences(text, host, bound.source, bound.connections if bound.at(place) else [])
    found += [
        f"other rules than {ref_of(one.route)}"
        for one in rules
        if one.at(place) and not has_rules(text, one.route, host)
    ]
    return "; ".join(dict.fromkeys(found))


def _subsets(host: Host, clusters: dict[str, config_dump.Transport]) -> list[str]:
    spec = (host.destination_rule or {}).get("spec") or {}
    wanted = {subset["name"] for subset in spec.get("subsets") or []}
    has = {name.split("|")[2] for name in clusters} - {""}
    found = [f"no subset {name}" for name in sorted(wanted - has)] + [
        f"still the subset {name}" for name in sorted(has - wanted)
    ]
    mode = ((spec.get("trafficPolicy") or {}).get("tls") or {}).get("mode")
    other = sorted(
        {transport for transport in clusters.values() if mode in TRANSPORTS and transport != TRANSPORTS[mode]}
    )
    return [*found, *(f"{transport}, but the TLS mode is {mode}" for transport in other)]


def _routes(wanted: dict[str, dict[str, Any]], found: list[config_dump.ProxyRoute]) -> list[str]:
    has = {one.name for one in found}
    words = [f"still the route {name}" for name in sorted(has - set(wanted))]
    words += [f"no route {name}" for name, http in wanted.items() if name not in has and not limited(http)]
    return words + [
        difference for one in found if one.name in wanted for difference in _differences(one, wanted[one.name])
    ]


def _differences(found: config_dump.ProxyRoute, http: dict[str, Any]) -> list[str]:
    words = (
        []
        if same_weights(found, destination_weights(http))
        else [f"other weights on {found.name}: {dict(found.weights)}"]
    )
    if http.get("timeout") and found.weights and found.timeout != validators.seconds(http["timeout"]):
        words.append(f"a timeout of {found.timeout:g} s on {found.name}, not {http['timeout']}")
    attempts = (http.get("retries") or {}).get("attempts")
    if attempts is not None and found.weights and found.retries != attempts:
        words.append(f"{found.retries} retries on {found.name}, not {attempts}")
    return words
