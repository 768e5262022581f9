# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as Istio names them, and what stands behind one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from .port_protocol import routed

DOMAIN = "cluster.local"
# Annotation of a Gateway of Gateway API whose listeners for HTTP redirect to those for HTTPS.
REDIRECTS = "servicemesh.istio/redirects"
# Label of what stands for one version of a Service, with that Service's name.
VERSION_OF = "servicemesh.istio/version-of"
# On the pods of a gateway that Istio deploys for a Gateway of Gateway API (GEP-1762).
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
# Every sidecar, as opposed to named gateways.
MESH = "mesh"
# Annotation with what was asked for a host, as data, by feature.
INTENTS = "servicemesh.istio/intents"
# Ends the name of the second VirtualService, for any outside host: istiod refuses "*" on one that is bound to the mesh.
ANY_HOST = "-any-host"
Object = dict[str, Any]


class RoutingApi(str, Enum):
    """The APIs that can have a host's routes: Istio's own kinds, and Gateway API's."""

    ISTIO = "istio"
    GATEWAY_API = "gateway_api"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Host:
    """A host and the live objects that matter to its routes.

    service, service_entry           what makes the host known to the mesh; both None: nothing does
    pods                             labels of its pods; None where they cannot be known
    managed_virtual_service          this collection's VirtualService of the host
    wildcard_virtual_service         this collection's second VirtualService, for any outside host
    destination_rule                 this collection's DestinationRule of the host
    http_routes                      this collection's HTTPRoutes of the host
    version_services                 this collection's Services that stand for one version of the host each
    version_destination_rules        this collection's DestinationRules of those Services
    same_name_services               {name: Service} with the names of Services for wanted versions, whoever made them
    other_destination_rules          DestinationRules of its namespace that exclude one for the host: for the host under
                                     another name, or of its name and not part of a host's policy
    foreign_routes                   routes of other people, of either API, that name the host
    missing_gateways                 Gateways that are named and do not exist
    missing_hosts                    other hosts that a route names and that do not exist
    other_ports                      {full name: ports} of the Services among those other hosts
    gateway_protocols                {gateway: protocols that can be routed at its ports}
    tls_listeners                    {gateway that redirects HTTP: the listeners that are left for the host's routes}
    gateway_api_channel              "standard" or "experimental"; empty where HTTPRoutes are not served
    """

    name: str
    namespace: str
    service: Object | None = None
    service_entry: Object | None = None
    pods: list[dict[str, str]] | None = None
    managed_virtual_service: Object | None = None
    destination_rule: Object | None = None
    wildcard_virtual_service: Object | None = None
    http_routes: list[Object] = field(default_factory=list)
    version_services: list[Object] = field(default_factory=list)
    version_destination_rules: list[Object] = field(default_factory=list)
    same_name_services: Mapping[str, Object] = field(default_factory=dict)
    other_destination_rules: list[Object] = field(default_factory=list)
    foreign_routes: list[Object] = field(default_factory=list)
    missing_gateways: frozenset[str] = frozenset()
    missing_hosts: frozenset[str] = frozenset()
    other_ports: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    gateway_protocols: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tls_listeners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gateway_api_channel: str = ""

    @property
    def full_name(self) -> str:
        return full_name(self.name, self.namespace)

    @property
    def ports(self) -> list[int]:
        """Of its Service."""
        return [port["port"] for port in ((self.service or {}).get("spec") or {}).get("ports") or []]

    @property
    def declared(self) -> dict[int, str]:
        """HTTP, TCP or TLS by port of its Service or ServiceEntry; empty for a port that does not say."""
        listed = ((self.service or self.service_entry or {}).get("spec") or {}).get("ports") or []
        return {port.get("port", port.get("number")): routed(port) for port in listed if port.get("protocol") != "UDP"}

    @property
    def object_name(self) -> str:
        """Name for objects of this host: its first label, or all of it where it is no Service's name."""
        if self.full_name.endswith(f".{self.namespace}.svc.{DOMAIN}"):
            return self.full_name.partition(".")[0]
        return self.name.replace("*", "any").strip(".")


def full_name(host: str, namespace: str) -> str:
    """A host as istiod resolves it: a name without dots is a Service of the rule's own namespace."""
    return f"{host}.{namespace}.svc.{DOMAIN}" if "." not in host and host != "*" else host


def service_of(host: str, namespace: str) -> tuple[str, str] | None:
    """(namespace, name) of the Service that a host names; None where it cannot be one."""
    labels = full_name(host, namespace).split(".")
    return (labels[1], labels[0]) if labels[2:] == ["svc", *DOMAIN.split(".")] else None


def host_names(obj: Object) -> set[str]:
    """Full names of the hosts of a VirtualService or DestinationRule, or of the Services whose routes an object of
    Gateway API says.
    """
    spec = obj.get("spec") or {}
    if "parentRefs" in spec:
        own = obj["metadata"]["namespace"]
        return {
            full_name(ref["name"], ref.get("namespace") or own)
            for ref in spec["parentRefs"]
            if ref.get("kind") == "Service"
        }
    hosts = spec.get("hosts") or ([spec["host"]] if spec.get("host") else [])
    return {full_name(host, obj["metadata"]["namespace"]) for host in hosts}


def host_matches(pattern: str, host: str) -> bool:
    """Whether a host or wildcard of a ServiceEntry covers a host."""
    return pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def gateways_only(gateways: list[str]) -> list[str]:
    return [gateway for gateway in gateways if gateway != MESH]
