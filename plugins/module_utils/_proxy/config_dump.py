# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads configuration dumps in Envoy's form (envoy.admin.v3.ConfigDump), from istiod or from a proxy itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Transport(str, Enum):
    """How a cluster is spoken to. AUTOMATIC: as each of its endpoints has it."""

    TLS = "TLS"
    PLAINTEXT = "plaintext"
    AUTOMATIC = "automatic"

    def __str__(self) -> str:
        return self.value


class ProxyKind(str, Enum):
    """How the id of a proxy's node begins (istio/istio, pkg/model: NodeType)."""

    SIDECAR = "sidecar"
    GATEWAY = "router"


@dataclass(frozen=True)
class ProxyRoute:
    """One route: its name, the domains of its virtual host, and {cluster: weight}; none where the proxy answers by
    itself.

    source   the object that it comes from, as istiod writes it in the route's metadata
    timeout  seconds; 0 for none
    retries  how often a request is sent again
    """

    name: str
    configuration: str
    domains: tuple[str, ...]
    weights: tuple[tuple[str, int], ...]
    source: str = ""
    timeout: float = 0.0
    retries: int = 0


@dataclass(frozen=True)
class FilterChain:
    """What becomes of connections at a listener: {cluster: weight}.

    source  the object that it comes from, as of a route, less the version of its API; empty where istiod does not tell,
            which is so
            at a gateway where there is one cluster
    """

    port: int
    weights: tuple[tuple[str, int], ...]
    source: str = ""


def proxy_kind(dump: dict[str, Any]) -> str:
    """A ProxyKind, or another word of Istio's for what a proxy is; empty where it does not say."""
    ids = [
        ((config.get("bootstrap") or {}).get("node") or {}).get("id", "")
        for config in _of_type(dump, "BootstrapConfigDump")
    ]
    return ids[0].partition("~")[0] if ids else ""


def clusters(dump: dict[str, Any]) -> set[str]:
    """Names of all clusters."""
    return set(transports(dump))


def transports(dump: dict[str, Any]) -> dict[str, Transport]:
    """{cluster: how it is spoken to}"""
    found = {}
    for config in _of_type(dump, "ClustersConfigDump"):
        for entry in _part(config, "dynamic_active_clusters", []):
            cluster = entry.get("cluster") or {}
            socket = _part(cluster, "transport_socket", {})
            by_endpoint = _part(cluster, "transport_socket_matches", [])
            fixed = Transport.TLS if "tls" in socket.get("name", "") else Transport.PLAINTEXT
            found[cluster.get("name", "")] = Transport.AUTOMATIC if by_endpoint else fixed
    return found


def listeners(dump: dict[str, Any]) -> list[Any]:
    """All listeners that take connections, as they are; not those that are only drained."""
    entries = [
        entry for config in _of_type(dump, "ListenersConfigDump") for entry in _part(config, "dynamic_listeners", [])
    ]
    return [state for entry in entries if (state := _part(entry, "active_state", None))]


def chains(dump: dict[str, Any]) -> Iterator[FilterChain]:
    """Every way of connections whose requests are not looked at."""
    for state in listeners(dump):
        listener = state.get("listener") or {}
        port = int(_part(_part(listener.get("address") or {}, "socket_address", {}), "port_value", 0))
        for chain in [*_part(listener, "filter_chains", []), _part(listener, "default_filter_chain", {})]:
            source = _source(chain)
            for one in chain.get("filters") or []:
                action = _part(one, "typed_config", {})
                if not str(action.get("@type", "")).endswith(".TcpProxy"):
                    continue
                # Of several clusters the statistics have the name of the object that weighs them.
                name, _dot, namespace = (
                    str(_part(action, "stat_prefix", "")).rpartition(".") if not action.get("cluster") else ("", "", "")
                )
                yield FilterChain(
                    port,
                    _weights(action),
                    source or (f"/namespaces/{namespace}/virtual-service/{name}" if name else ""),
                )


def routes(dump: dict[str, Any]) -> Iterator[ProxyRoute]:
    """Every route."""
    for config in _of_type(dump, "RoutesConfigDump"):
        for entry in _part(config, "dynamic_route_configs", []):
            table = _part(entry, "route_config", {})
            for host in _part(table, "virtual_hosts", []):
                for route in host.get("routes") or []:
                    source = _source(route)
                    action = route.get("route") or {}
                    tries = int(_part(_part(action, "retry_policy", {}), "num_retries", 0))
                    yield ProxyRoute(
                        route.get("name", ""),
                        table.get("name", ""),
                        tuple(host.get("domains") or []),
                        _weights(action),
                        source,
                        _seconds(action),
                        tries,
                    )


def _source(obj: dict[str, Any]) -> str:
    """The object that a part of the configuration comes from, as istiod writes it into the part's metadata."""
    metadata = _part(obj.get("metadata") or {}, "filter_metadata", {})
    return str((metadata.get("istio") or {}).get("config", ""))


def _weights(action: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    if action.get("cluster"):
        return ((action["cluster"], 1),)
    entries = _part(action, "weighted_clusters", {}).get("clusters") or []
    return tuple((entry["name"], entry.get("weight") or 0) for entry in entries)


def _seconds(action: dict[str, Any]) -> float:
    """Durations are written as seconds with an s (protobuf's JSON)."""
    return float(str(action.get("timeout") or "0s").rstrip("s"))


def _part(obj: dict[str, Any], name: str, default: Any) -> Any:
    """Envoy writes field names as they are; istiod writes the same message in lowerCamelCase."""
    first, *rest = name.split("_")
    return obj.get(name) or obj.get(first + "".join(word.capitalize() for word in rest)) or default


def _of_type(dump: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    for config in dump.get("configs") or []:
        if str(config.get("@type", "")).endswith(kind):
            yield config
