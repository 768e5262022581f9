# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what stands behind a host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from ..._engine.cluster import Cluster
from ..._engine.objects import Object
from ..._engine.selectors import label_selector
from ..host_policy import is_managed
from .host import (
    ANY_HOST,
    INTENTS,
    REDIRECTS,
    VERSION_OF,
    Host,
    RoutingApi,
    full_name,
    gateways_only,
    host_matches,
    host_names,
    service_of,
)
from .port_protocol import routed_at

# Pods that stay to be read, and answer nothing.
OVER = ("Failed", "Succeeded")
NETWORKING = "networking.istio.io"
GATEWAY_API = "gateway.networking.k8s.io"
# Of Gateway API, those that can say a Service's routes.
KINDS = ("HTTPRoute", "GRPCRoute")
# On each of its definitions.
CHANNEL = "gateway.networking.k8s.io/channel"


class Reader:
    """Reads hosts, and each list of the cluster once."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._rules: dict[str, list[Object]] = {}

    @cached_property
    def virtual_services(self) -> list[Object]:
        """All VirtualServices."""
        return self._cluster.list(NETWORKING, "VirtualService")

    @cached_property
    def gateway_routes(self) -> list[Object]:
        """All routes of Gateway API; none where it is not served."""
        return [obj for kind in KINDS for obj in self._cluster.list(GATEWAY_API, kind)]

    @cached_property
    def gateway_api_channel(self) -> str:
        """Of Gateway API's definitions; the standard one where they cannot be read, empty where they are not served."""
        if self._cluster.resource(GATEWAY_API, KINDS[0]) is None:
            return ""
        name = f"httproutes.{GATEWAY_API}"
        found = self._cluster.try_read(
            lambda: self._cluster.get("apiextensions.k8s.io", "CustomResourceDefinition", "", name)
        )
        annotations = (found["metadata"].get("annotations") or {}) if isinstance(found, dict) else {}
        return str(annotations.get(CHANNEL, "standard"))

    @cached_property
    def _of_versions(self) -> tuple[list[Object], list[Object]]:
        """What stands for versions in Gateway API: Services, and their DestinationRules. It may outlive the
        definitions, but not the routes.
        """
        if self._cluster.resource(GATEWAY_API, KINDS[0]) is None:
            return [], []
        return self._cluster.list("", "Service", None, VERSION_OF), self._cluster.list(
            NETWORKING, "DestinationRule", None, VERSION_OF
        )

    @cached_property
    def _entries(self) -> list[Object]:
        return self._cluster.list(NETWORKING, "ServiceEntry")

    def _rules_in(self, namespace: str) -> list[Object]:
        """All DestinationRules of a namespace."""
        if namespace not in self._rules:
            self._rules[namespace] = self._cluster.list(NETWORKING, "DestinationRule", namespace)
        return self._rules[namespace]

    def read(self, host: str, namespace: str) -> Host:
        """The host with the live objects that its routes depend on. Raises ApiError."""
        place = service_of(host, namespace)
        service = self._cluster.get("", "Service", *place) if place else None
        blank = Host(host, namespace)
        own = {_place(obj): obj for obj in self.virtual_services if ours(obj)}
        listed_rules = self._rules_in(namespace)
        rule = next(
            (obj for obj in listed_rules if obj["metadata"]["name"] == blank.object_name and _may_be_of(obj, blank)),
            None,
        )
        services, rules = ([obj for obj in listed if _for(obj, blank)] for listed in self._of_versions)
        return Host(
            host,
            namespace,
            service=service,
            service_entry=None if service else self._entry(full_name(host, namespace)),
            pods=self._pods(service),
            managed_virtual_service=own.get((namespace, blank.object_name)),
            wildcard_virtual_service=own.get((namespace, blank.object_name + ANY_HOST)),
            destination_rule=rule,
            http_routes=[obj for obj in self.gateway_routes if ours(obj) and _says(obj, blank)],
            version_services=services,
            version_destination_rules=rules,
            other_destination_rules=[
                obj
                for obj in listed_rules
                if obj is not rule
                and (obj["metadata"]["name"] == blank.object_name or blank.full_name in host_names(obj))
            ],
            foreign_routes=[
                obj
                for obj in [*self.virtual_services, *self.gateway_routes]
                if not ours(obj) and blank.full_name in host_names(obj)
            ],
        )

    def with_references(
        self, host: Host, api: str, gateways: list[str], others: Iterable[str], services: Iterable[str] = ()
    ) -> Host:
        """The host, and which of these gateways of this API and other hosts (full names) are not there; and which of
        these Services are. Raises ApiError.
        """
        found = {name: self._service(name) for name in others}
        parents = {gateway: self._gateway(gateway, api) for gateway in gateways_only(gateways)}
        there = {
            name: service for name in services if (service := self._cluster.get("", "Service", host.namespace, name))
        }
        return replace(
            host,
            missing_gateways=frozenset(gateway for gateway, obj in parents.items() if obj is None),
            missing_hosts=frozenset(
                name for name, service in found.items() if service is None and self._entry(name) is None
            ),
            other_ports={
                name: tuple(port["port"] for port in service["spec"].get("ports") or [])
                for name, service in found.items()
                if service
            },
            same_name_services=there,
            gateway_protocols={
                gateway: frozenset(
                    routed_at(server) for server in obj["spec"].get("servers") or obj["spec"].get("listeners") or []
                )
                for gateway, obj in parents.items()
                if obj
            },
            tls_listeners={
                gateway: _not_plain(obj)
                for gateway, obj in parents.items()
                if obj and REDIRECTS in (obj["metadata"].get("annotations") or {})
            },
            gateway_api_channel=self.gateway_api_channel if api == RoutingApi.GATEWAY_API else "",
        )

    def _service(self, host: str) -> Object | None:
        place = service_of(host, "")
        return self._cluster.get("", "Service", *place) if place else None

    def _entry(self, host: str) -> Object | None:
        return next(
            (
                entry
                for entry in self._entries
                if any(host_matches(pattern, host) for pattern in entry["spec"].get("hosts") or [])
            ),
            None,
        )

    def _pods(self, service: Object | None) -> list[dict[str, str]] | None:
        selector = ((service or {}).get("spec") or {}).get("selector")
        if not service or not selector:
            return None
        pods = self._cluster.list("", "Pod", service["metadata"]["namespace"], label_selector(selector))
        return [
            pod["metadata"].get("labels") or {}
            for pod in pods
            if not pod["metadata"].get("deletionTimestamp") and (pod.get("status") or {}).get("phase") not in OVER
        ]

    def _gateway(self, gateway: str, api: str) -> Object | None:
        namespace, _slash, name = gateway.partition("/")
        return (
            self._cluster.get(NETWORKING if api == RoutingApi.ISTIO else GATEWAY_API, "Gateway", namespace, name)
            if name
            else None
        )


def _not_plain(gateway: Object) -> tuple[str, ...]:
    """Names of a Gateway's listeners that are not for plain HTTP."""
    return tuple(
        listener["name"] for listener in gateway["spec"].get("listeners") or [] if listener["protocol"] != "HTTP"
    )


def ours(obj: Object) -> bool:
    """Whether an object keeps intents."""
    return INTENTS in (obj["metadata"].get("annotations") or {})


def _may_be_of(rule: Object, host: Host) -> bool:
    """Whether a DestinationRule of the host's name is the host's: one that this collection made has intents or subsets,
    or it is of another module.
    """
    return not is_managed(rule) or (
        host.full_name in host_names(rule) and (ours(rule) or bool(rule["spec"].get("subsets")))
    )


def _place(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _says(route: Object, host: Host) -> bool:
    """Whether a route of ours is for this host: one for the mesh has its name, one for a gateway that and the
    gateway's.
    """
    namespace, name = _place(route)
    return namespace == host.namespace and (name == host.object_name or name.startswith(f"{host.object_name}."))


def _for(obj: Object, host: Host) -> bool:
    """Whether an object of ours stands for a version of this host."""
    return (
        obj["metadata"]["namespace"] == host.namespace
        and (obj["metadata"].get("labels") or {}).get(VERSION_OF) == host.object_name
    )
