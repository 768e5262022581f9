# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An istiod and its proxies, who have what the objects of the API in memory say."""

from __future__ import annotations

import functools
import json
import socket
import threading
from typing import Any

import builders
from memory_api import MemoryApi


class FakeIstiod:
    """`requests` of the API get an ("ASK", path) for each question, so that a test sees what was asked between which
    writes.

    proxies   ids of connected proxies, as POD.NAMESPACE
    behind    those that have not acknowledged
    rejected  {proxy: its words}
    blind     none of them has any of the changes, but all know every Service
    gateways  those that are gateways, and have no routes of the mesh
    still     those that answer nothing
    old       those that know every host, and have no policy of any
    hidden    those that know no host
    versions  {proxy: Istio's version that it told}
    """

    def __init__(self, api: MemoryApi, name: str = "istiod-1", proxies: tuple[str, ...] = ("web-1.shop",)) -> None:
        self.api, self.proxies = api, proxies
        self.behind: set[str] = set()
        self.rejected: dict[str, str] = {}
        self.blind = False
        self.still: set[str] = set()
        self.old: set[str] = set()
        self.hidden: set[str] = set()
        self.gateways: set[str] = set()
        self.versions: dict[str, str] = {}
        api.put(builders.pod(name, "istio-system", {"app": "istiod", "istio.io/rev": "default"}))
        api.tunnels[("istio-system", name, 8080)] = self.connect
        for proxy in proxies:
            pod, _dot, namespace = proxy.rpartition(".")
            api.tunnels[(namespace, pod, 15000)] = functools.partial(self.connect, proxy)

    def connect(self, proxy: str = "") -> socket.socket:
        near, far = socket.socketpair()
        threading.Thread(target=self._serve, args=(far, proxy), daemon=True).start()
        return near

    def _serve(self, far: socket.socket, proxy: str) -> None:
        with far:
            path = far.recv(65536).split()[1].decode()
            if proxy in self.still:
                threading.Event().wait(1)
                return
            self.api.requests.append(("ASK", proxy + path))
            body = json.dumps(self._answer(path, proxy)).encode()
            far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))

    def _answer(self, path: str, proxy: str) -> Any:
        if path == "/debug/syncz":
            return [
                {"proxy": proxy, "istio_version": self.versions.get(proxy, ""), "resources": self._state(proxy)}
                for proxy in self.proxies
            ]
        gateway = proxy in self.gateways
        namespace = proxy.rpartition(".")[2]
        node = {"id": f"{'router' if gateway else 'sidecar'}~10.0.0.1~{proxy}~{namespace}.svc.cluster.local"}
        configs = [{"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": node}}]
        if proxy in self.hidden:
            return {"configs": configs}
        if self.blind or proxy in self.old:
            return {"configs": [*configs, _written(self._hosts())]}
        return {"configs": [*configs, self._clusters(), self._routes(gateway), self._listeners(gateway)]}

    def _state(self, proxy: str) -> dict[str, Any]:
        state = {"sent": "2", "acked": "1" if proxy in self.behind else "2"}
        if proxy in self.rejected:
            state["lastError"] = self.rejected[proxy]
        # Endpoints are always on their way and say nothing of a policy.
        return {
            "envoy.config.route.v3.RouteConfiguration": state,
            "envoy.config.endpoint.v3.ClusterLoadAssignment": {"sent": "9", "acked": "8"},
        }

    def _objects(self, kind: str) -> list[Any]:
        return [obj for key, obj in sorted(self.api.objects.items()) if key[1] == kind]

    def _clusters(self) -> dict[str, Any]:
        names = self._hosts()
        names += [
            f"outbound|80|{subset['name']}|{rule['spec']['host']}"
            for rule in self._objects("DestinationRule")
            for subset in rule["spec"].get("subsets") or []
        ]
        names += [
            f"outbound|{port['number']}||{host}"
            for entry in self._objects("ServiceEntry")
            for port in entry["spec"]["ports"]
            for host in entry["spec"]["hosts"]
        ]
        return _written(names)

    def _hosts(self) -> list[str]:
        return [
            f"outbound|{port['port']}||{obj['metadata']['name']}.{obj['metadata']['namespace']}.svc.cluster.local"
            for obj in self._objects("Service")
            for port in obj["spec"]["ports"]
        ]

    def _routes(self, gateway: bool) -> dict[str, Any]:
        services = [
            obj
            for obj in self._objects("VirtualService")
            if not gateway or set(obj["spec"].get("gateways") or ["mesh"]) != {"mesh"}
        ]
        hosts = [
            {
                "domains": obj["spec"]["hosts"],
                "routes": [self._route(obj, route) for route in obj["spec"].get("http") or []],
            }
            for obj in services
        ]
        # Of a host that both APIs claim, Istio takes one object; here always its own.
        claimed = {domain for host in hosts for domain in host["domains"]}
        hosts += [
            host
            for obj in self._objects("HTTPRoute")
            for host in self._of_gateway_api(obj, gateway)
            if not claimed & set(host["domains"])
        ]
        configs = [{"routeConfig": {"name": "80", "virtualHosts": hosts}}]
        return {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamicRouteConfigs": configs}

    def _listeners(self, gateway: bool) -> dict[str, Any]:
        """Of connections, as Envoy writes them: a sidecar has one for each port of a Service, a gateway one for each
        object that is bound to it.
        """
        bound = [(obj, obj["spec"].get("gateways") or ["mesh"]) for obj in self._objects("VirtualService")]
        found = []
        if gateway:
            for obj, names in bound:
                if set(names) != {"mesh"} and (
                    route := next(iter(_of_connections(obj, set(names) - {"mesh"}, 0)), None)
                ):
                    found.append(_listener(31400, {"filters": [_proxied(obj, route, 31400)]}))
        for service in [] if gateway else self._objects("Service"):
            for port in service["spec"]["ports"]:
                taking = [
                    (obj, route)
                    for obj, names in bound
                    if "mesh" in names and _host(service) in obj["spec"]["hosts"]
                    for route in _of_connections(obj, {"mesh"}, port["port"])
                ]
                whole = {"route": [{"destination": {"host": _host(service)}}]}
                obj, route = taking[0] if taking else ({}, whole)
                source = (
                    f"/apis/networking.istio.io/v1/namespaces/{obj['metadata']['namespace']}/virtual-service/{obj['metadata']['name']}"
                    if obj
                    else ""
                )
                metadata = {"metadata": {"filter_metadata": {"istio": {"config": source}}}} if obj else {}
                if taking or not port.get("name", "").startswith("http"):
                    found.append(_listener(port["port"], {"filters": [_proxied(obj, route, port["port"])], **metadata}))
        return {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": found}

    def _route(self, obj: Any, route: Any) -> dict[str, Any]:
        source = f"/apis/networking.istio.io/v1/namespaces/{obj['metadata']['namespace']}/virtual-service/{obj['metadata']['name']}"
        metadata = {"filterMetadata": {"istio": {"config": source}}}
        clusters = [
            {
                "name": f"outbound|80|{part['destination'].get('subset', '')}|{part['destination']['host']}",
                "weight": part.get("weight", 1),
            }
            for part in route.get("route") or []
            if part.get("weight", 1)
        ]
        if not clusters:
            return {"name": route["name"], "metadata": metadata, "directResponse": {}}
        action = (
            {"cluster": clusters[0]["name"]} if len(clusters) == 1 else {"weightedClusters": {"clusters": clusters}}
        )
        if route.get("timeout"):
            action["timeout"] = route["timeout"]
        if (route.get("retries") or {}).get("attempts"):
            action["retryPolicy"] = {"numRetries": route["retries"]["attempts"]}
        return {"name": route["name"], "metadata": metadata, "route": action}

    def _of_gateway_api(self, obj: Any, gateway: bool) -> list[Any]:
        """Virtual hosts as istiod makes them of a route of Gateway API: by host, under a name that it makes up."""
        namespace, found = obj["metadata"]["namespace"], []
        for ref in obj["spec"]["parentRefs"]:
            mesh = ref["kind"] == "Service"
            if mesh and gateway:
                continue
            key = namespace if mesh else f"{ref['namespace']}/{ref['name']}-istio-autogenerated-k8s-gateway-http"
            for host in (
                [f"{ref['name']}.{namespace}.svc.cluster.local"] if mesh else obj["spec"].get("hostnames") or ["*"]
            ):
                source = f"/apis/networking.istio.io/v1/namespaces/{namespace}/virtual-service/{key.replace('/', '~')}~{host}"
                routes = [
                    self._rule(rule, source, namespace) for rule in obj["spec"]["rules"] for _match in rule["matches"]
                ]
                found.append({"domains": [host], "routes": routes})
        return found

    def _rule(self, rule: Any, source: str, namespace: str) -> dict[str, Any]:
        metadata = {"filterMetadata": {"istio": {"config": source}}}
        parts = [
            {
                "name": f"outbound|{ref['port']}||{ref['name']}.{ref.get('namespace', namespace)}.svc.cluster.local",
                "weight": ref["weight"],
            }
            for ref in rule.get("backendRefs") or []
            if ref["weight"]
        ]
        if not parts:
            return {"name": rule["name"], "metadata": metadata, "redirect": {}}
        action = {"cluster": parts[0]["name"]} if len(parts) == 1 else {"weightedClusters": {"clusters": parts}}
        return {"name": rule["name"], "metadata": metadata, "route": action}


def _written(names: list[str]) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        "dynamicActiveClusters": [{"cluster": {"name": name}} for name in names],
    }


def _of_connections(obj: Any, places: set[str], port: int) -> list[Any]:
    """Routes that hold at these gateways, for connections to this port of a Service (0: of a gateway)."""
    listed = [*(obj["spec"].get("tcp") or []), *(obj["spec"].get("tls") or [])]
    return [
        route
        for route in listed
        if any(
            set(match.get("gateways") or places) & places and (not port or match.get("port", port) == port)
            for match in route.get("match") or [{}]
        )
    ]


def _proxied(obj: Any, route: Any, port: int) -> dict[str, Any]:
    parts = [
        (
            (
                f"outbound|{(part['destination'].get('port') or {}).get('number', port)}|{part['destination'].get('subset', '')}|{part['destination']['host']}"
            ),
            part.get("weight", 1),
        )
        for part in route["route"]
    ]
    config: dict[str, Any] = {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}
    if len(parts) == 1:
        return {
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {**config, "stat_prefix": parts[0][0], "cluster": parts[0][0]},
        }
    weighted = {"clusters": [{"name": name, "weight": weight} for name, weight in parts if weight]}
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            **config,
            "stat_prefix": f"{obj['metadata']['name']}.{obj['metadata']['namespace']}",
            "weighted_clusters": weighted,
        },
    }


def _listener(port: int, chain: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"10.0.0.1_{port}",
        "active_state": {
            "listener": {
                "address": {"socket_address": {"address": "10.0.0.1", "port_value": port}},
                "filter_chains": [chain],
            }
        },
    }


def _host(service: Any) -> str:
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
