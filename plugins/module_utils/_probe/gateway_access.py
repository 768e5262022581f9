# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a gateway: its own address where that answers, else a tunnel to one of its pods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._failure import Failure
from .._istio import mesh
from .forwarder import port_of, running_pod, tunnel
from .probe import Connect, to_address

CONNECT_TIMEOUT = 2.0
HTTP = 80


@dataclass(frozen=True)
class GatewayRoute:
    """via: for people; authority: the Host header where none is given.

    detach  frees a tunnel through the API server from the process that found it (see Api.detach); None where the way is
            no tunnel
    """

    via: str
    authority: str
    connect: Connect
    detach: Callable[[Path], None] | None = None


def route_by_gateway(url: str, timeout: float) -> GatewayRoute:
    """To an http URL."""
    return GatewayRoute(url.rstrip("/"), *to_address(url.rstrip("/"), timeout))


def route_to_host(cluster: Cluster, gateway: str, timeout: float) -> GatewayRoute:
    """Raises Failure "no_gateway"."""
    namespace, _slash, name = gateway.partition("/")
    service = cluster.get("", "Service", namespace, name) if name else None
    if service is None:
        raise Failure("no_gateway", f"gateway: Service {gateway} does not exist", hint="Use the form NAMESPACE/NAME.")
    found = mesh.gateway_row(service, cluster.list("", "Node"))
    if found["url"] and _answers(found["url"]):
        return route_by_gateway(found["url"], timeout)
    return _tunnel(cluster, gateway, found["selector"], service)


def _answers(url: str) -> bool:
    try:
        to_address(url, CONNECT_TIMEOUT)[1]().close()
        return True
    except OSError:
        return False


def _tunnel(cluster: Cluster, gateway: str, selector: dict[str, str], service: Object) -> GatewayRoute:
    namespace = service["metadata"]["namespace"]
    if not any(port["port"] == HTTP for port in service["spec"].get("ports") or []):
        raise Failure(
            "no_gateway", f"gateway: {gateway} has no port {HTTP}", hint="Set gateway to the Service of a gateway."
        )
    try:
        pod = running_pod(cluster, namespace, selector)
        target = port_of(service, HTTP, pod)
    except Failure as failure:
        raise Failure(
            "no_gateway", f"gateway: {gateway}: {failure.message}", hint="Check that the gateway is ready."
        ) from failure

    return GatewayRoute(
        f"tunnel to pod {namespace}/{pod['metadata']['name']}",
        "localhost",
        partial(tunnel, cluster, namespace, selector, target),
        cluster.api.detach,
    )
