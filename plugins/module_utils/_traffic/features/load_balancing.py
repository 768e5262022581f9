# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pod of a host a request goes to."""

from __future__ import annotations

from typing import Any

from ..._failure import InvalidOption
from . import validators
from .feature import Feature, Intent, Options, given_options

HASH = ("header", "cookie", "source_ip", "query")
COOKIE, LOCALITY, WARMUP = (
    ("name", "path", "ttl"),
    ("distribute", "failover", "failover_priority", "enabled"),
    ("duration", "minimum_percent", "aggression"),
)
ALGORITHMS = {
    "least_request": "LEAST_REQUEST",
    "round_robin": "ROUND_ROBIN",
    "random": "RANDOM",
    "passthrough": "PASSTHROUGH",
}

ARGUMENTS: dict[str, dict[str, Any]] = {
    "algorithm": {"type": "str", "choices": list(ALGORITHMS)},
    **dict.fromkeys(("consistent_hash", "locality", "warmup"), {"type": "dict"}),
}


class LoadBalancing(Feature):
    """The feature of the module load_balancing."""

    name = "load_balancing"
    arguments = ARGUMENTS

    def parse(self, options: Options, host: str) -> Intent:
        intent = given_options(options, *ARGUMENTS)
        traffic_policy(intent)
        return Intent(rule=intent)

    def traffic_policy(self, intent: Options) -> dict[str, Any]:
        return traffic_policy(intent)

    def http_options(self, intent: Options) -> list[str]:
        return [f"consistent_hash.{key}" for key in intent.get("consistent_hash") or {} if key != "source_ip"]


def traffic_policy(intent: dict[str, Any]) -> dict[str, Any]:
    """Fields of Istio's TrafficPolicy. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("algorithm") and intent.get("consistent_hash"):
        raise InvalidOption(
            "consistent_hash", "algorithm is set too", hint="Set only one of them.", code="load_balancing_ambiguous"
        )
    if intent.get("algorithm"):
        found["simple"] = ALGORITHMS[intent["algorithm"]]
    if intent.get("consistent_hash"):
        found["consistentHash"] = _hash(intent["consistent_hash"])
    if intent.get("locality"):
        found["localityLbSetting"] = _locality(intent["locality"])
    if intent.get("warmup"):
        given = validators.keys("warmup", intent["warmup"], WARMUP)
        found["warmup"] = {"duration": validators.duration("warmup.duration", given.get("duration"))}
        if "minimum_percent" in given:
            found["warmup"]["minimumPercent"] = validators.percent("warmup.minimum_percent", given["minimum_percent"])
        if "aggression" in given:
            found["warmup"]["aggression"] = float(given["aggression"])
        if intent.get("algorithm") not in (None, "least_request", "round_robin"):
            raise InvalidOption(
                "warmup",
                f"the algorithm {intent['algorithm']} does not support it",
                hint="Use least_request or round_robin.",
                code="load_balancing_ambiguous",
            )
    if not found:
        raise InvalidOption(
            "algorithm",
            "no setting is given",
            hint="Set algorithm, consistent_hash, locality or warmup, or state: absent.",
            code="load_balancing_empty",
        )
    return {"loadBalancer": found}


def _hash(value: Any) -> dict[str, Any]:
    given = validators.keys("consistent_hash", value, HASH)
    if len(given) != 1:
        raise InvalidOption(
            "consistent_hash",
            f"{len(given)} of {', '.join(HASH)} are set: set exactly one",
            hint="Give one.",
            code="load_balancing_ambiguous",
        )
    ((key, content),) = given.items()
    if key == "header":
        return {"httpHeaderName": validators.header("consistent_hash.header", content)}
    if key == "source_ip":
        return {"useSourceIp": True}
    if key == "query":
        return {"httpQueryParameterName": str(content)}
    cookie = (
        {"name": content} if isinstance(content, str) else validators.keys("consistent_hash.cookie", content, COOKIE)
    )
    if not validators.TOKEN.match(str(cookie.get("name") or "")):
        raise InvalidOption(
            "consistent_hash.cookie", f"{cookie.get('name')!r} is not a valid cookie name", code="cookie_invalid"
        )
    # Envoy sets the cookie only where it has a lifetime; 0s is one that ends with the session.
    return {
        "httpCookie": {
            "name": cookie["name"],
            "ttl": cookie.get("ttl", "0s"),
            **({"path": cookie["path"]} if "path" in cookie else {}),
        }
    }


def _locality(value: Any) -> dict[str, Any]:
    given = validators.keys("locality", value, LOCALITY)
    ways = [key for key in ("distribute", "failover", "failover_priority") if given.get(key)]
    if len(ways) > 1 and set(ways) != {"failover", "failover_priority"}:
        raise InvalidOption("locality", f"{' and '.join(ways)} cannot be combined", code="load_balancing_ambiguous")
    found: dict[str, Any] = {"enabled": bool(given.get("enabled", True))}
    if given.get("distribute"):
        for entry in given["distribute"]:
            shares = validators.keys("locality.distribute", entry, ("from", "to")).get("to") or {}
            if sum(shares.values()) != 100:
                raise InvalidOption(
                    "locality.distribute",
                    f"the percentages from {entry.get('from')} add up to {sum(shares.values())}, not to 100",
                    code="weights_sum",
                )
        found["distribute"] = given["distribute"]
    if given.get("failover"):
        found["failover"] = [validators.keys("locality.failover", entry, ("from", "to")) for entry in given["failover"]]
    if given.get("failover_priority"):
        found["failoverPriority"] = [str(label) for label in given["failover_priority"]]
    return found
