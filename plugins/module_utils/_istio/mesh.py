# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a live mesh consists of: control planes, namespaces, gateways, addons."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from .._engine.objects import Object
from . import version_skew
from .dataplane import injection, revisions
from .install.control_plane import OPERATOR_VERSION

# Service names in the release's samples/addons -> the port with the dashboard.
ADDONS = {"kiali": 20001, "grafana": 3000, "prometheus": 9090, "tracing": 80}


def control_plane_rows(deployments: list[Object]) -> list[dict[str, Any]]:
    """[{revision, namespace, version, ready, replicas}]: the version is the tag of istiod's image, or what its
    installer noted where that names none.
    """
    found = []
    for obj in deployments:
        containers = obj["spec"]["template"]["spec"]["containers"]
        image = next((c["image"] for c in containers if c["name"] == "discovery"), containers[0]["image"])
        labels = obj["metadata"].get("labels") or {}
        tag = tag_of(image)
        found.append(
            {
                "revision": injection.revision_label(obj),
                "namespace": obj["metadata"]["namespace"],
                "version": tag if version_skew.parse_version(tag) else labels.get(OPERATOR_VERSION, tag),
                "ready": (obj.get("status") or {}).get("readyReplicas", 0),
                "replicas": obj["spec"].get("replicas", 1),
            }
        )
    return sorted(found, key=lambda plane: plane["revision"])


def tag_of(image: str) -> str:
    """Empty for an image that is named by its digest alone; a colon before a slash is that of a registry's port."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def namespace_rows(objects: list[Object], pods: list[Object], known: revisions.Revisions) -> list[dict[str, Any]]:
    """[{name, injection, revision, uses, enrolled, expected, total, stale}] of namespaces that ask for sidecars or have
    some.
    """
    found, by_namespace = [], defaultdict(list)
    for pod in pods:
        if not injection.is_gateway(pod):
            by_namespace[pod["metadata"]["namespace"]].append(pod)
    for obj in objects:
        name, labels = obj["metadata"]["name"], obj["metadata"].get("labels") or {}
        own = by_namespace[name]
        counts, uses = injection.sidecar_counts(own, injection.injects(labels)), known.of_namespace(labels)
        if injection.injects(labels) or counts["enrolled"]:
            found.append(
                {
                    "name": name,
                    "injection": labels.get(injection.INJECTION, ""),
                    "revision": labels.get(injection.REVISION, ""),
                    "uses": uses,
                    **counts,
                    "stale": sum(known.stale(pod, uses) for pod in own),
                }
            )
    return found


def gateway_row(service: Object, nodes: list[Object]) -> dict[str, Any]:
    """{name, namespace, type, addresses, ports, url}: how the gateway is reached from outside, best way first."""
    spec = service["spec"]
    balancer = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    addresses = [str(entry.get("ip") or entry.get("hostname")) for entry in balancer]
    by_node = not addresses and spec.get("type") in ("LoadBalancer", "NodePort")
    if by_node:
        addresses = [
            a["address"]
            for node in nodes
            for a in (node.get("status") or {}).get("addresses") or []
            if a["type"] == "InternalIP"
        ]
    ports = {
        port.get("name") or str(port["port"]): port.get("nodePort") if by_node else port["port"]
        for port in spec.get("ports") or []
    }
    port = ports.get("http2") or ports.get("http") or ports.get("http-80")
    suffix = "" if port == 80 else f":{port}"
    return {
        "name": service["metadata"]["name"],
        "namespace": service["metadata"]["namespace"],
        "type": spec.get("type", "ClusterIP"),
        "by_node": by_node,
        "addresses": addresses,
        "ports": ports,
        "selector": spec.get("selector") or {},
        "url": f"http://{bracketed(addresses[0])}{suffix}" if addresses and port else "",
    }


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def addon_rows(services: list[Object], places: set[str]) -> list[dict[str, Any]]:
    """[{name, namespace, address}] inside the cluster."""
    found = []
    for service in services:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        if name in ADDONS and namespace in places:
            found.append(
                {
                    "name": "jaeger" if name == "tracing" else name,
                    "namespace": namespace,
                    "address": f"http://{name}.{namespace}:{ADDONS[name]}",
                }
            )
    return sorted(found, key=lambda addon: addon["name"])
