# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what stands behind a host."""
from __future__ import annotations

from .._engine.cluster import Cluster
from .._engine.objects import Object
from .hosts import ANY_HOST, INTENTS, Host, covers, full_name, names, outside, service_of

# Pods that stay to be read, and answer nothing.
OVER = ("Failed", "Succeeded")
NETWORKING = "networking.istio.io"


def read(cluster: Cluster, host: str, namespace: str, label: str, gateways: list[str]) -> Host:
    """The host with the live objects that its routes depend on. Raises ApiError."""
    place = service_of(host, namespace)
    service = cluster.get("", "Service", *place) if place else None
    blank = Host(host, namespace)
    routes = cluster.list(NETWORKING, "VirtualService")
    ours = {_place(obj): obj for obj in routes if _ours(obj)}
    return Host(
        host,
        namespace,
        service=service,
        entry=None if service else _entry(cluster, full_name(host, namespace)),
        subsets_with_pods=_versions(cluster, service, label),
        own=ours.get((namespace, blank.object_name)),
        any_host=ours.get((namespace, blank.object_name + ANY_HOST)),
        rule=cluster.get(NETWORKING, "DestinationRule", namespace, blank.object_name),
        others=[obj for obj in routes if not _ours(obj) and blank.full_name in names(obj)],
        missing_gateways=frozenset(gateway for gateway in outside(gateways) if not _gateway_exists(cluster, gateway)),
    )


def _entry(cluster: Cluster, host: str) -> Object | None:
    entries = cluster.list(NETWORKING, "ServiceEntry")
    return next((entry for entry in entries if any(covers(pattern, host) for pattern in entry["spec"].get("hosts") or [])), None)


def _versions(cluster: Cluster, service: Object | None, label: str) -> frozenset[str] | None:
    selector = ((service or {}).get("spec") or {}).get("selector")
    if not service or not selector:
        return None
    pods = cluster.list("", "Pod", service["metadata"]["namespace"], ",".join(f"{key}={value}" for key, value in selector.items()))
    return frozenset((pod["metadata"].get("labels") or {}).get(label, "") for pod in pods if not pod["metadata"].get("deletionTimestamp") and (pod.get("status") or {}).get("phase") not in OVER)


def _ours(obj: Object) -> bool:
    return INTENTS in (obj["metadata"].get("annotations") or {})


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _gateway_exists(cluster: Cluster, gateway: str) -> bool:
    namespace, _slash, name = gateway.partition("/")
    return bool(name) and cluster.get(NETWORKING, "Gateway", namespace, name) is not None
