# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeouts and retries of a host's routes; limits of its connections and the ejection of pods that fail."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..._failure import InvalidOption
from . import validators as checks
from .request import WHERE, Asked
from .route_rule import Piece

ARGUMENTS: dict[str, dict[str, Any]] = {
    "timeout": {"type": "str"},
    **dict.fromkeys(("retries", "connections", "eject"), {"type": "dict"}),
    **WHERE,
}
RETRIES = ("attempts", "per_try", "conditions")
CONNECTIONS = ("max", "connect_timeout", "idle_timeout", "max_requests", "pending", "requests_per_connection", "keepalive")
KEEPALIVE = ("probes", "time", "interval")
EJECT = ("errors", "gateway_errors", "every", "for", "max_percent", "min_healthy_percent")


def intents(asked: Asked) -> tuple[Any, Any]:
    """Raises InvalidOption."""
    routed, ruled = asked.given("timeout", "retries"), asked.given("connections", "eject")
    of_routes(routed)
    of_rule(ruled)
    if not routed and not ruled:
        raise InvalidOption("timeout", "nothing is asked for", hint="Give timeout, retries, connections or eject, or state absent.", code="resilience_empty")
    return {**routed, **asked.given(*WHERE)} if routed else None, ruled


def of_routes(intent: dict[str, Any]) -> dict[str, Any]:
    """Fields of Istio's HTTPRoute. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("timeout"):
        found["timeout"] = checks.duration("timeout", intent["timeout"])
    if intent.get("retries") is not None:
        given = checks.keys("retries", intent["retries"], RETRIES)
        attempts = checks.count("retries.attempts", given.get("attempts", 2))
        found["retries"] = {"attempts": attempts}
        if not attempts and len(given) > 1:
            raise InvalidOption("retries", "no attempts, and yet more is said of them", hint="Leave the rest out, or give attempts.", code="retries_ambiguous")
        if "per_try" in given:
            found["retries"]["perTryTimeout"] = checks.duration("retries.per_try", given["per_try"])
        if given.get("conditions"):
            found["retries"]["retryOn"] = checks.retry_on("retries.conditions", given["conditions"])
    return found


def into(pieces: list[Piece], intent: dict[str, Any]) -> list[Piece]:
    """A rule's own timeout stays. On a route with a fault Envoy does neither (istio/istio#13705), and keeps them for when it ends."""
    fields = of_routes(intent)
    return [replace(piece, fields={**fields, **piece.fields}) if piece.targets else piece for piece in pieces]


def of_rule(intent: dict[str, Any]) -> dict[str, Any]:
    """Fields of Istio's TrafficPolicy. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("connections"):
        found["connectionPool"] = _connections(intent["connections"])
    if intent.get("eject"):
        found["outlierDetection"] = _ejection(intent["eject"])
    return found


def _connections(value: Any) -> dict[str, Any]:
    given = checks.keys("connections", value, CONNECTIONS)
    tcp: dict[str, Any] = {}
    http: dict[str, Any] = {}
    for key, place, name in (
        ("max", tcp, "maxConnections"),
        ("max_requests", http, "http2MaxRequests"),
        ("pending", http, "http1MaxPendingRequests"),
        ("requests_per_connection", http, "maxRequestsPerConnection"),
    ):
        if key in given:
            place[name] = checks.count(f"connections.{key}", given[key], least=1)
    for key, place, name in (("connect_timeout", tcp, "connectTimeout"), ("idle_timeout", http, "idleTimeout")):
        if key in given:
            place[name] = checks.duration(f"connections.{key}", given[key])
    if "keepalive" in given:
        alive = checks.keys("connections.keepalive", given["keepalive"], KEEPALIVE)
        tcp["tcpKeepalive"] = {
            key: checks.count("connections.keepalive.probes", value, 1) if key == "probes" else checks.duration(f"connections.keepalive.{key}", value)
            for key, value in alive.items()
        }
    return {key: value for key, value in (("tcp", tcp), ("http", http)) if value}


def _ejection(value: Any) -> dict[str, Any]:
    given = checks.keys("eject", value, EJECT)
    if "errors" not in given and "gateway_errors" not in given:
        raise InvalidOption("eject", "it does not say after how many errors", hint="Give errors or gateway_errors.", code="eject_empty")
    found: dict[str, Any] = {}
    for key, name in (("errors", "consecutive5xxErrors"), ("gateway_errors", "consecutiveGatewayErrors")):
        if key in given:
            found[name] = checks.count(f"eject.{key}", given[key])
    for key, name in (("every", "interval"), ("for", "baseEjectionTime")):
        if key in given:
            found[name] = checks.duration(f"eject.{key}", given[key])
    for key, name in (("max_percent", "maxEjectionPercent"), ("min_healthy_percent", "minHealthPercent")):
        if key in given:
            found[name] = checks.count(f"eject.{key}", given[key])
            if found[name] > 100:
                raise InvalidOption(f"eject.{key}", f"{given[key]} is more than 100", code="percent_invalid")
    return found
