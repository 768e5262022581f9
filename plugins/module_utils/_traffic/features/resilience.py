# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeouts and retries of a host's routes; limits of its connections and the ejection of pods that fail."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from ..._failure import InvalidOption
from . import validators
from .feature import GATEWAY_ARGUMENTS, Feature, Intent, Options, given_options
from .route_rule import RouteRule

ARGUMENTS: dict[str, dict[str, Any]] = {
    "timeout": {"type": "str"},
    **dict.fromkeys(("retries", "connection_pool", "outlier_detection"), {"type": "dict"}),
    **GATEWAY_ARGUMENTS,
}
RETRIES = ("attempts", "per_try_timeout", "retry_on")
CONNECTION_POOL = (
    "max_connections",
    "connect_timeout",
    "idle_timeout",
    "max_requests",
    "max_pending_requests",
    "max_requests_per_connection",
    "keepalive",
)
# Of a pool, those that are of requests.
HTTP_LIMITS = ("max_requests", "max_requests_per_connection", "idle_timeout")
KEEPALIVE = ("probes", "time", "interval")
OUTLIER_DETECTION = (
    "consecutive_5xx_errors",
    "consecutive_gateway_errors",
    "interval",
    "base_ejection_time",
    "max_ejection_percent",
    "min_health_percent",
)


class Resilience(Feature):
    """The feature of the module resilience."""

    name = "resilience"
    arguments = ARGUMENTS

    def parse(self, options: Options, host: str) -> Intent:
        routes, rule = (
            given_options(options, "timeout", "retries"),
            given_options(options, "connection_pool", "outlier_detection"),
        )
        route_fields(routes)
        traffic_policy(rule)
        if not routes and not rule:
            raise InvalidOption(
                "timeout",
                "no setting is given",
                hint="Set timeout, retries, connection_pool or outlier_detection, or state: absent.",
                code="resilience_empty",
            )
        return Intent({**routes, **given_options(options, *GATEWAY_ARGUMENTS)} if routes else None, rule)

    def change_routes(self, rules: list[RouteRule], intent: Options, now: datetime.datetime) -> list[RouteRule]:
        """A rule's own timeout stays. On a route with a fault Envoy does neither (istio/istio#13705), and keeps them
        for when it ends.
        """
        fields = route_fields(intent)
        return [replace(rule, fields={**fields, **rule.fields}) if rule.targets else rule for rule in rules]

    def traffic_policy(self, intent: Options) -> dict[str, Any]:
        return traffic_policy(intent)

    def http_options(self, intent: Options) -> list[str]:
        return [f"connection_pool.{key}" for key in HTTP_LIMITS if key in (intent.get("connection_pool") or {})]


def route_fields(intent: dict[str, Any]) -> dict[str, Any]:
    """Fields of Istio's HTTPRoute. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("timeout"):
        found["timeout"] = validators.duration("timeout", intent["timeout"])
    if intent.get("retries") is not None:
        given = validators.keys("retries", intent["retries"], RETRIES)
        attempts = validators.count("retries.attempts", given.get("attempts", 2))
        found["retries"] = {"attempts": attempts}
        if not attempts and len(given) > 1:
            raise InvalidOption(
                "retries",
                "attempts is 0, but other settings are given",
                hint="Remove the other settings, or set attempts.",
                code="retries_ambiguous",
            )
        if "per_try_timeout" in given:
            found["retries"]["perTryTimeout"] = validators.duration("retries.per_try_timeout", given["per_try_timeout"])
        if given.get("retry_on"):
            found["retries"]["retryOn"] = validators.retry_on("retries.retry_on", given["retry_on"])
    return found


def traffic_policy(intent: dict[str, Any]) -> dict[str, Any]:
    """Fields of Istio's TrafficPolicy. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("connection_pool"):
        found["connectionPool"] = _connection_pool(intent["connection_pool"])
    if intent.get("outlier_detection"):
        found["outlierDetection"] = _outlier_detection(intent["outlier_detection"])
    return found


def _connection_pool(value: Any) -> dict[str, Any]:
    given = validators.keys("connection_pool", value, CONNECTION_POOL)
    tcp: dict[str, Any] = {}
    http: dict[str, Any] = {}
    for key, place, name in (
        ("max_connections", tcp, "maxConnections"),
        ("max_requests", http, "http2MaxRequests"),
        ("max_pending_requests", http, "http1MaxPendingRequests"),
        ("max_requests_per_connection", http, "maxRequestsPerConnection"),
    ):
        if key in given:
            place[name] = validators.count(f"connection_pool.{key}", given[key], least=1)
    for key, place, name in (("connect_timeout", tcp, "connectTimeout"), ("idle_timeout", http, "idleTimeout")):
        if key in given:
            place[name] = validators.duration(f"connection_pool.{key}", given[key])
    if "keepalive" in given:
        alive = validators.keys("connection_pool.keepalive", given["keepalive"], KEEPALIVE)
        tcp["tcpKeepalive"] = {
            key: (
                validators.count("connection_pool.keepalive.probes", value, 1)
                if key == "probes"
                else validators.duration(f"connection_pool.keepalive.{key}", value)
            )
            for key, value in alive.items()
        }
    return {key: value for key, value in (("tcp", tcp), ("http", http)) if value}


def _outlier_detection(value: Any) -> dict[str, Any]:
    given = validators.keys("outlier_detection", value, OUTLIER_DETECTION)
    if "consecutive_5xx_errors" not in given and "consecutive_gateway_errors" not in given:
        raise InvalidOption(
            "outlier_detection",
            "no number of errors is given",
            hint="Set consecutive_5xx_errors or consecutive_gateway_errors.",
            code="outlier_detection_empty",
        )
    found: dict[str, Any] = {}
    for key, name in (
        ("consecutive_5xx_errors", "consecutive5xxErrors"),
        ("consecutive_gateway_errors", "consecutiveGatewayErrors"),
    ):
        if key in given:
            found[name] = validators.count(f"outlier_detection.{key}", given[key])
    for key, name in (("interval", "interval"), ("base_ejection_time", "baseEjectionTime")):
        if key in given:
            found[name] = validators.duration(f"outlier_detection.{key}", given[key])
    for key, name in (("max_ejection_percent", "maxEjectionPercent"), ("min_health_percent", "minHealthPercent")):
        if key in given:
            found[name] = validators.count(f"outlier_detection.{key}", given[key])
            if found[name] > 100:
                raise InvalidOption(
                    f"outlier_detection.{key}", f"{given[key]} is more than 100", code="percent_invalid"
                )
    return found
