# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a gateway: its own address where that answers, else a tunnel to one of its pods."""
from __future__ import annotations

import socket

from .._engine.cluster import Cluster
from .._failure import Failure
from .._istio import mesh
from .probe import Connect, to_address

CONNECT_TIMEOUT = 2.0


def way_to(cluster: Cluster, gateway: str, timeout: float) -> tuple[str, str, Connect]:
    """(address for people, authority, how to connect). Raises Failure "no_gateway"."""
    namespace, _slash, name = gateway.partition("/")
    service = cluster.get("", "Service", namespace, name) if name else None
    if service is None:
        raise Failure("no_gateway", f"gateway: there is no Service {gateway}", hint="Write it as NAMESPACE/NAME.")
    found = mesh.gateway(service, cluster.list("", "Node"))
    if found["url"] and _answers(found["url"]):
        return (found["url"], *to_address(found["url"], timeout))
    return _tunnel(cluster, gateway, found["selector"], service["spec"].get("ports") or [])


def _answers(url: str) -> bool:
    try:
        to_address(url, CONNECT_TIMEOUT)[1]().close()
        return True
    except OSError:
        return False


def _tunnel(cluster: Cluster, gateway: str, selector: dict[str, str], ports: list[dict]) -> tuple[str, str, Connect]:
    namespace = gateway.partition("/")[0]
    pods = cluster.list("", "Pod", namespace, ",".join(f"{key}={value}" for key, value in selector.items()))
    running = [pod["metadata"]["name"] for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    http = next((port for port in ports if port["port"] == 80), None)
    if not running or http is None:
        raise Failure("no_gateway", f"gateway: {gateway} has no running pod with a port for HTTP", hint="Is the gateway Ready?")
    target = http.get("targetPort", 80)

    def connect() -> socket.socket:
        return cluster.api.tunnel(namespace, running[0], target if isinstance(target, int) else 80)

    return f"tunnel to pod {namespace}/{running[0]}", "localhost", connect
