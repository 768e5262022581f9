# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is spoken at a port, as istiod takes it: that decides whether requests or connections are routed there."""

from __future__ import annotations

from enum import Enum
from typing import Any


class RouteProtocol(str, Enum):
    """What routes are routes of, by the names of a VirtualService's lists."""

    HTTP = "http"
    TCP = "tcp"
    TLS = "tls"

    def __str__(self) -> str:
        return self.value


# Which routes hold at a port, by Istio's word for what is spoken there (pkg/config/protocol); none at one of UDP.
ROUTED = {
    **dict.fromkeys(("http", "http2", "http_proxy", "grpc", "grpc-web"), RouteProtocol.HTTP),
    **dict.fromkeys(("tcp", "mongo", "redis", "mysql"), RouteProtocol.TCP),
    **dict.fromkeys(("tls", "https"), RouteProtocol.TLS),
    "udp": "",
}
OF_KUBERNETES = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"}
# SMTP, DNS, MySQL and MongoDB: what is spoken there is never found out by looking at it.
WELL_KNOWN = {25, 53, 3306, 27017}


def protocol(port: dict[str, Any]) -> str:
    """Istio's word for what is spoken at a Service's port; empty where proxies must find it out (pkg/config/kube,
    ConvertProtocol).
    """
    if port.get("protocol") == "UDP":
        return "udp"
    if port.get("appProtocol") in OF_KUBERNETES:
        return OF_KUBERNETES[port["appProtocol"]]
    said = str(port.get("appProtocol") or port.get("name") or "").lower()
    if said.startswith("grpc-web"):
        return "grpc-web"
    prefix = said.partition("-")[0]
    return prefix if prefix in ROUTED else "tcp" if port.get("port") in WELL_KNOWN else ""


def routed(port: dict[str, Any]) -> str:
    """HTTP, TCP or TLS, for a port of a Service or of a ServiceEntry; empty where nothing is declared."""
    word = str(port.get("protocol") or "").lower() if "number" in port else protocol(port)
    return ROUTED.get(word, "")


def routed_at(server: dict[str, Any]) -> str:
    """The same for a server of Istio's Gateway, or a listener of Gateway API's: TLS that ends there is of no matter to
    what is behind.
    """
    declared = str(server.get("protocol") or (server.get("port") or {}).get("protocol") or "").lower()
    mode = str((server.get("tls") or {}).get("mode") or "").upper()
    if ROUTED.get(declared) != RouteProtocol.TLS or mode.endswith("PASSTHROUGH"):
        return ROUTED.get(declared, "")
    return RouteProtocol.HTTP if declared == "https" else RouteProtocol.TCP
