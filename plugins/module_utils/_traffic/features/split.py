# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares of a host's traffic to its versions."""

from __future__ import annotations

from typing import Any

from ..._failure import InvalidOption
from ..host.host import gateways_only
from . import validators
from .feature import PROTOCOL_ARGUMENT, Feature, Intent, Options, given_options, required_options
from .match import intersect, parse_matches
from .route_rule import RouteRule, RouteTarget, parse_mirrors

STICKY = ("cookie", "max_age")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "versions": {"type": "dict", "required": True},
    "match": {"type": "raw"},
    "sticky": {"type": "dict"},
    "mirror": {"type": "raw"},
    "gateways": {"type": "list", "elements": "str", "default": ["mesh"]},
    "gateway_hosts": {"type": "list", "elements": "str", "default": []},
    "label": {"type": "str", "default": "version"},
    "port": {"type": "int"},
    **PROTOCOL_ARGUMENT,
}


class Split(Feature):
    """The feature of the module traffic_split."""

    name = "split"
    arguments = ARGUMENTS

    def parse(self, options: Options, host: str) -> Intent:
        intent = {
            **required_options(options, "versions", "gateways", "gateway_hosts", "label"),
            **given_options(options, "match", "sticky", "mirror", "port", *PROTOCOL_ARGUMENT),
        }
        validate(intent, host)
        return Intent(intent)

    def routes(self, intent: Options) -> list[RouteRule]:
        return split_rules(intent)


def validate(intent: dict[str, Any], host: str) -> None:
    """Raises InvalidOption "weight_invalid", "weight_negative", "weights_zero" naming the version, and for the options
    beside.

    Weights are shares: they need not add up to 100 (Istio's validation refuses only negative ones and a zero sum).
    """
    versions = intent["versions"]
    if not versions:
        raise InvalidOption(
            "versions", f"service {host} has no versions", hint="Set at least one version, such as {v1: 100}."
        )
    for version, weight in versions.items():
        if isinstance(weight, bool) or not isinstance(weight, int):
            raise InvalidOption(
                "versions", f"the weight of {version} is {weight!r}, not a whole number", code="weight_invalid"
            )
        if weight < 0:
            raise InvalidOption(
                "versions",
                f"the weight of {version} is {weight}",
                hint="Use a weight of 0 or more.",
                code="weight_negative",
            )
    if not any(versions.values()):
        raise InvalidOption(
            "versions",
            f"all weights of service {host} are 0",
            hint="Set a weight above 0 for at least one version.",
            code="weights_zero",
        )
    if not intent["gateways"]:
        raise InvalidOption("gateways", "the list is empty", hint="Use mesh, or a gateway in the form NAMESPACE/NAME.")
    if intent["gateway_hosts"] and not gateways_only(intent["gateways"]):
        raise InvalidOption(
            "gateway_hosts",
            "it needs a gateway other than mesh",
            hint="Add the gateway to gateways in the form NAMESPACE/NAME.",
        )
    for name in intent["gateway_hosts"]:
        validators.host("gateway_hosts", name)
    parse_matches("match", intent.get("match"))
    if intent.get("sticky"):
        sticky = validators.keys("sticky", intent["sticky"], STICKY)
        if not validators.TOKEN.match(str(sticky.get("cookie") or "")):
            raise InvalidOption(
                "sticky.cookie", f"{sticky.get('cookie')!r} is not a valid cookie name", code="cookie_invalid"
            )
        if "max_age" in sticky:
            validators.duration("sticky.max_age", sticky["max_age"])
    parse_mirrors("mirror", intent.get("mirror"), intent["label"])


def split_rules(intent: dict[str, Any]) -> list[RouteRule]:
    """The cookie's routes, then the shares."""
    label, port = intent["label"], intent.get("port")
    versions = dict(sorted(intent["versions"].items()))
    targets = {version: RouteTarget(version=version, label=label, port=port) for version in versions}
    asked = tuple(parse_matches("match", intent.get("match")))
    more = {"mirrors": parse_mirrors("mirror", intent.get("mirror"), label)}
    found = []
    cookie = (intent.get("sticky") or {}).get("cookie")
    headers: dict[str, dict[str, Any]] = {}
    if cookie:
        # Istio's consistent hash does not hold across weighted destinations: each version's answers carry its own
        # cookie instead.
        age = (intent["sticky"]).get("max_age")
        end = f"; Max-Age={int(validators.seconds(age))}" if age else ""
        for version, weight in versions.items():
            headers[version] = {"response": {"add": {"Set-Cookie": f"{cookie}={version}; Path=/{end}"}}}
            if weight:
                carried = {"headers": {"cookie": {"regex": rf"^(.*;\s*)?{cookie}={version}(;.*)?$"}}}
                both = tuple(match for match in (intersect("match", one, carried) for one in asked or ({},)) if match)
                found.append(RouteRule(f"sticky-{version}", both, [(targets[version], 1, {})], more))
    name = "split-" + "-".join(f"{version}-{weight}" for version, weight in versions.items())
    found.append(
        RouteRule(
            name,
            asked,
            [(targets[version], weight, headers.get(version, {})) for version, weight in versions.items()],
            more,
        )
    )
    return found
