# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which web pages of other origins may call a host: Istio's CorsPolicy on all of its routes."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from ..._failure import InvalidOption
from . import validators
from .feature import GATEWAY_ARGUMENTS, Feature, Intent, Options, given_options
from .match import string_match
from .route_rule import RouteRule

KEYS = ("origins", "methods", "headers", "expose", "max_age", "credentials")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "origins": {"type": "list", "elements": "raw", "required": True},
    **dict.fromkeys(("methods", "headers", "expose"), {"type": "list", "elements": "str"}),
    "max_age": {"type": "str"},
    "credentials": {"type": "bool"},
    **GATEWAY_ARGUMENTS,
}


class Cors(Feature):
    """The feature of the module cors."""

    name = "cors"
    arguments = ARGUMENTS

    def parse(self, options: Options, host: str) -> Intent:
        intent = given_options(options, *KEYS, *GATEWAY_ARGUMENTS)
        cors_policy({key: intent[key] for key in KEYS if key in intent})
        return Intent(intent)

    def change_routes(self, rules: list[RouteRule], intent: Options, now: datetime.datetime) -> list[RouteRule]:
        """A rule's own policy stays."""
        fields = {"corsPolicy": cors_policy({key: intent[key] for key in KEYS if key in intent})}
        return [replace(rule, fields={**fields, **rule.fields}) for rule in rules]


def cors_policy(value: Any, option: str = "") -> dict[str, Any]:
    """Istio's CorsPolicy. option: that has the value; empty where its keys are options. Raises InvalidOption."""
    given, place = validators.keys(option or "cors", value, KEYS), f"{option}." if option else ""
    if not given.get("origins"):
        raise InvalidOption(
            f"{place}origins", "the list is empty", hint="List origins, or use '*' for all.", code="cors_empty"
        )
    found: dict[str, Any] = {"allowOrigins": [_origin(f"{place}origins", origin) for origin in given["origins"]]}
    if given.get("methods"):
        found["allowMethods"] = [validators.method(f"{place}methods", method) for method in given["methods"]]
    for key, name in (("headers", "allowHeaders"), ("expose", "exposeHeaders")):
        if given.get(key):
            found[name] = [validators.header(f"{place}{key}", header) for header in given[key]]
    if "max_age" in given:
        found["maxAge"] = validators.duration(f"{place}max_age", given["max_age"])
    if "credentials" in given:
        found["allowCredentials"] = bool(given["credentials"])
    return found


def _origin(option: str, value: Any) -> dict[str, str]:
    return {"regex": ".*"} if value == "*" else string_match(option, value)
