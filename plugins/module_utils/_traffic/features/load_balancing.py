# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pod of a host a request goes to."""
from __future__ import annotations

from typing import Any

from ..._failure import InvalidOption
from . import validators as checks
from .request import Asked

HASH = ("header", "cookie", "source_ip", "query")
COOKIE, LOCALITY, WARMUP = ("name", "path", "ttl"), ("distribute", "failover", "failover_priority", "enabled"), ("for", "least_percent", "aggression")
ALGORITHMS = {"least_request": "LEAST_REQUEST", "round_robin": "ROUND_ROBIN", "random": "RANDOM", "passthrough": "PASSTHROUGH"}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "algorithm": {"type": "str", "choices": list(ALGORITHMS)},
    **dict.fromkeys(("hash_on", "locality", "warmup"), {"type": "dict"}),
}


def intents(asked: Asked) -> tuple[Any, Any]:
    """Raises InvalidOption."""
    intent = asked.given(*ARGUMENTS)
    of_rule(intent)
    return None, intent


def of_rule(intent: dict[str, Any]) -> dict[str, Any]:
    """Fields of Istio's TrafficPolicy. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("algorithm") and intent.get("hash_on"):
        raise InvalidOption("hash_on", "an algorithm is given too", hint="Leave one of them out.", code="load_balancing_ambiguous")
    if intent.get("algorithm"):
        found["simple"] = ALGORITHMS[intent["algorithm"]]
    if intent.get("hash_on"):
        found["consistentHash"] = _hash(intent["hash_on"])
    if intent.get("locality"):
        found["localityLbSetting"] = _locality(intent["locality"])
    if intent.get("warmup"):
        given = checks.keys("warmup", intent["warmup"], WARMUP)
        found["warmup"] = {"duration": checks.duration("warmup.for", given.get("for"))}
        if "least_percent" in given:
            found["warmup"]["minimumPercent"] = checks.percent("warmup.least_percent", given["least_percent"])
        if "aggression" in given:
            found["warmup"]["aggression"] = float(given["aggression"])
        if intent.get("algorithm") not in (None, "least_request", "round_robin"):
            raise InvalidOption(
                "warmup", f"the algorithm {intent['algorithm']} has none", hint="Use least_request or round_robin.", code="load_balancing_ambiguous"
            )
    if not found:
        raise InvalidOption(
            "algorithm", "nothing is asked for", hint="Give algorithm, hash_on, locality or warmup, or state absent.", code="load_balancing_empty"
        )
    return {"loadBalancer": found}


def _hash(value: Any) -> dict[str, Any]:
    given = checks.keys("hash_on", value, HASH)
    if len(given) != 1:
        raise InvalidOption("hash_on", f"it has {len(given)} of {', '.join(HASH)}", hint="Give one.", code="load_balancing_ambiguous")
    ((key, content),) = given.items()
    if key == "header":
        return {"httpHeaderName": checks.header("hash_on.header", content)}
    if key == "source_ip":
        return {"useSourceIp": True}
    if key == "query":
        return {"httpQueryParameterName": str(content)}
    cookie = {"name": content} if isinstance(content, str) else checks.keys("hash_on.cookie", content, COOKIE)
    if not checks.TOKEN.match(str(cookie.get("name") or "")):
        raise InvalidOption("hash_on.cookie", f"{cookie.get('name')!r} is no name of a cookie", code="cookie_invalid")
    # Envoy sets the cookie only where it has a lifetime; 0s is one that ends with the session.
    return {"httpCookie": {"name": cookie["name"], "ttl": cookie.get("ttl", "0s"), **({"path": cookie["path"]} if "path" in cookie else {})}}


def _locality(value: Any) -> dict[str, Any]:
    given = checks.keys("locality", value, LOCALITY)
    ways = [key for key in ("distribute", "failover", "failover_priority") if given.get(key)]
    if len(ways) > 1 and set(ways) != {"failover", "failover_priority"}:
        raise InvalidOption("locality", f"{' and '.join(ways)} exclude each other", code="load_balancing_ambiguous")
    found: dict[str, Any] = {"enabled": bool(given.get("enabled", True))}
    if given.get("distribute"):
        for entry in given["distribute"]:
            shares = checks.keys("locality.distribute", entry, ("from", "to")).get("to") or {}
            if sum(shares.values()) != 100:
                raise InvalidOption(
                    "locality.distribute", f"the shares from {entry.get('from')} add up to {sum(shares.values())}, not to 100", code="weights_sum"
                )
        found["distribute"] = given["distribute"]
    if given.get("failover"):
        found["failover"] = [checks.keys("locality.failover", entry, ("from", "to")) for entry in given["failover"]]
    if given.get("failover_priority"):
        found["failoverPriority"] = [str(label) for label in given["failover_priority"]]
    return found
