# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what stands behind a host."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._engine.selectors import written
from .hosts import ANY_HOST, INTENTS, Host, covers, full_name, names, outside, service_of

# Pods that stay to be read, and answer nothing.
OVER = ("Failed", "Succeeded")
NETWORKING = "networking.istio.io"


class Reader:
    """Reads hosts, and each list of the cluster once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @cached_property
    def routes(self) -> list[Object]:
        """All VirtualServices."""
        return self._cluster.list(NETWORKING, "VirtualService")

    @cached_property
    def _entries(self) -> list[Object]:
        return self._cluster.list(NETWORKING, "ServiceEntry")

    def read(self, host: str, namespace: str) -> Host:
        """The host with the live objects that its routes depend on. Raises ApiError."""
        place = service_of(host, namespace)
        service = self._cluster.get("", "Service", *place) if place else None
        blank = Host(host, namespace)
        own = {_place(obj): obj for obj in self.routes if ours(obj)}
        return Host(
            host,
            namespace,
            service=service,
            entry=None if service else self._entry(full_name(host, namespace)),
            pods=self._pods(service),
            own=own.get((namespace, blank.object_name)),
            any_host=own.get((namespace, blank.object_name + ANY_HOST)),
            rule=self._cluster.get(NETWORKING, "DestinationRule", namespace, blank.object_name),
            others=[obj for obj in self.routes if not ours(obj) and blank.full_name in names(obj)],
        )

    def with_references(self, host: Host, gateways: list[str], others: Iterable[str]) -> Host:
        """The host, and which of these gateways and other hosts (full names) are not there. Raises ApiError."""
        return replace(
            host,
            missing_gateways=frozenset(gateway for gateway in outside(gateways) if not self._gateway_exists(gateway)),
            missing_hosts=frozenset(name for name in others if not self._known(name)),
        )

    def _known(self, host: str) -> bool:
        place = service_of(host, "")
        return (place is not None and self._cluster.get("", "Service", *place) is not None) or self._entry(host) is not None

    def _entry(self, host: str) -> Object | None:
        return next((entry for entry in self._entries if any(covers(pattern, host) for pattern in entry["spec"].get("hosts") or [])), None)

    def _pods(self, service: Object | None) -> list[dict[str, str]] | None:
        selector = ((service or {}).get("spec") or {}).get("selector")
        if not service or not selector:
            return None
        pods = self._cluster.list("", "Pod", service["metadata"]["namespace"], written(selector))
        return [pod["metadata"].get("labels") or {} for pod in pods if not pod["metadata"].get("deletionTimestamp") and (pod.get("status") or {}).get("phase") not in OVER]

    def _gateway_exists(self, gateway: str) -> bool:
        namespace, _slash, name = gateway.partition("/")
        return bool(name) and self._cluster.get(NETWORKING, "Gateway", namespace, name) is not None


def ours(obj: Object) -> bool:
    """Whether an object keeps intents."""
    return INTENTS in (obj["metadata"].get("annotations") or {})


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
