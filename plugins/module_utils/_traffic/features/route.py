# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ordered rules: which requests of a host go where, and how they are changed on their way."""

from __future__ import annotations

from typing import Any

from ..._failure import InvalidOption
from . import validators
from .cors import cors_policy
from .feature import GATEWAY_ARGUMENTS, PROTOCOL_ARGUMENT, Feature, Intent, Options, given_options
from .match import parse_matches
from .route_rule import RouteRule, RouteTarget, parse_mirrors, parse_target

RULE = (
    "name",
    "match",
    "to",
    "versions",
    "redirect",
    "direct_response",
    "rewrite",
    "headers",
    "cors",
    "mirror",
    "timeout",
)
REDIRECT, DIRECT_RESPONSE, REWRITE = (
    ("path", "host", "scheme", "port", "status"),
    ("status", "body"),
    ("path", "prefix", "regex", "host"),
)
HEADERS, OPERATIONS = ("request", "response"), ("set", "add", "remove")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "rules": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            **dict.fromkeys(("name", "timeout"), {"type": "str"}),
            **dict.fromkeys(("match", "to", "direct_response", "mirror"), {"type": "raw"}),
            **dict.fromkeys(("versions", "redirect", "rewrite", "headers", "cors"), {"type": "dict"}),
        },
    },
    **GATEWAY_ARGUMENTS,
    "label": {"type": "str", "default": "version"},
    "port": {"type": "int"},
    **PROTOCOL_ARGUMENT,
}
LONGEST_BODY = 1024 * 1024
# As a regular expression, all of a path.
WHOLE_PATH = "^[^?]*"


class Route(Feature):
    """The feature of the module route."""

    name = "route"
    arguments = ARGUMENTS

    def parse(self, options: Options, host: str) -> Intent:
        rules = [{key: value for key, value in rule.items() if value is not None} for rule in options["rules"]]
        intent = {"rules": rules, **given_options(options, *GATEWAY_ARGUMENTS, "label", "port", *PROTOCOL_ARGUMENT)}
        validate(intent)
        return Intent(intent)

    def routes(self, intent: Options) -> list[RouteRule]:
        return route_rules(intent)


def validate(intent: Options) -> None:
    """Raises InvalidOption naming the rule."""
    if not intent["rules"]:
        raise InvalidOption(
            "rules", "the list is empty", hint="Add at least one rule, or set state: absent.", code="rules_empty"
        )
    route_rules(intent)


def route_rules(intent: dict[str, Any]) -> list[RouteRule]:
    """One rule for each rule, in their order. Raises InvalidOption naming the rule."""
    found = [_rule(rule, number, intent) for number, rule in enumerate(intent["rules"], 1)]
    names = [rule.name for rule in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InvalidOption("rules", f"duplicate rule name {twice.removeprefix('route-')}", code="rule_twice")
    for early, rule in enumerate(found[:-1]):
        if not rule.matches:
            hint = "Move it to the end, or add a condition."
            raise InvalidOption(
                "rules",
                (
                    f"{names[early].removeprefix('route-')} matches every request, so"
                    f" {names[early + 1].removeprefix('route-')} gets none"
                ),
                hint=hint,
                code="rule_unreachable",
            )
    return found


def _rule(rule: Any, number: int, intent: dict[str, Any]) -> RouteRule:
    option = f"rules[{number}]"
    given = validators.keys(option, rule, RULE)
    name = str(given.get("name") or number)
    matches = tuple(parse_matches(f"{option}.match", given.get("match")))
    answers = [key for key in ("to", "versions", "redirect", "direct_response") if key in given]
    if len(answers) > 1:
        raise InvalidOption(
            option, f"{name} has {' and '.join(answers)}", hint="Set only one of them in a rule.", code="rule_ambiguous"
        )
    label, port = intent.get("label", "version"), intent.get("port")
    fields: dict[str, Any] = {}
    if "redirect" in given:
        fields["redirect"] = _redirect(f"{option}.redirect", given["redirect"])
    elif "direct_response" in given:
        fields["directResponse"] = _direct_response(f"{option}.direct_response", given["direct_response"])
    for key in ("rewrite", "mirror", "timeout"):
        if key in given and fields:
            raise InvalidOption(
                f"{option}.{key}",
                "a rule with a redirect or direct_response routes no requests",
                hint=f"Remove {key}.",
                code="rule_ambiguous",
            )
    targets: list[tuple[RouteTarget, int, dict[str, Any]]] = []
    if not fields:
        targets = _targets(option, given, label, port)
        copies = parse_mirrors(f"{option}.mirror", given.get("mirror"), label)
        fields.update({"mirrors": copies} if copies else {})
    if "rewrite" in given:
        fields["rewrite"] = _rewrite(f"{option}.rewrite", given["rewrite"])
    if "timeout" in given:
        fields["timeout"] = validators.duration(f"{option}.timeout", given["timeout"])
    if "headers" in given:
        fields["headers"] = _headers(f"{option}.headers", given["headers"])
    if "cors" in given:
        fields["corsPolicy"] = cors_policy(given["cors"], f"{option}.cors")
    return RouteRule(f"route-{name}", matches, targets, fields)


def _targets(
    option: str, given: dict[str, Any], label: str, port: int | None
) -> list[tuple[RouteTarget, int, dict[str, Any]]]:
    if "versions" not in given:
        where = parse_target(f"{option}.to", given.get("to"), label)
        return [(where if where.port or where.host else RouteTarget(where.version, label, None, port), 1, {})]
    versions = given["versions"]
    if not isinstance(versions, dict) or not any(versions.values()):
        raise InvalidOption(
            f"{option}.versions",
            "no version is set",
            hint="Set at least one version, such as {v1: 100}.",
            code="weights_zero",
        )
    for version, weight in versions.items():
        validators.count(f"{option}.versions.{version}", weight)
    return [(RouteTarget(version, label, None, port), weight, {}) for version, weight in sorted(versions.items())]


def _redirect(option: str, value: Any) -> dict[str, Any]:
    given = validators.keys(option, value, REDIRECT)
    if not set(given) - {"status"}:
        raise InvalidOption(option, "it changes nothing", hint="Set path, host, scheme or port.", code="redirect_empty")
    found: dict[str, Any] = {}
    if "path" in given:
        found["uri"] = str(given["path"])
    if "host" in given:
        found["authority"] = validators.host(f"{option}.host", given["host"], wildcard=False)
    if "scheme" in given:
        if given["scheme"] not in ("http", "https"):
            raise InvalidOption(
                f"{option}.scheme", f"{given['scheme']!r} is neither http nor https", code="scheme_invalid"
            )
        found["scheme"] = given["scheme"]
    if "port" in given:
        found["port"] = validators.port(f"{option}.port", given["port"])
    if "status" in given:
        if given["status"] not in (301, 302, 303, 307, 308):
            raise InvalidOption(
                f"{option}.status",
                f"{given['status']!r} is not a redirect status",
                hint="Use 301, 302, 303, 307 or 308.",
                code="status_invalid",
            )
        found["redirectCode"] = given["status"]
    return found


def _direct_response(option: str, value: Any) -> dict[str, Any]:
    given = {"status": value} if isinstance(value, int) else validators.keys(option, value, DIRECT_RESPONSE)
    found: dict[str, Any] = {"status": validators.status(f"{option}.status", given.get("status"))}
    if given.get("body"):
        if len(str(given["body"]).encode("utf-8")) > LONGEST_BODY:
            raise InvalidOption(f"{option}.body", "it is larger than 1 MiB", code="body_too_long")
        found["body"] = {"string": str(given["body"])}
    return found


def _rewrite(option: str, value: Any) -> dict[str, Any]:
    given = validators.keys(option, value, REWRITE)
    ways = [key for key in ("path", "prefix", "regex") if key in given]
    if len(ways) > 1 or not given:
        raise InvalidOption(option, "set one of path, prefix and regex, or host", code="rewrite_ambiguous")
    found: dict[str, Any] = {}
    if "host" in given:
        found["authority"] = validators.host(f"{option}.host", given["host"], wildcard=False)
    if "prefix" in given:
        found["uri"] = str(given["prefix"])
    elif "path" in given:
        # Istio's rewrite of uri replaces what was matched; all of it is said as an expression.
        found["uriRegexRewrite"] = {"match": WHOLE_PATH, "rewrite": str(given["path"])}
    elif "regex" in given:
        parts = validators.keys(f"{option}.regex", given["regex"], ("match", "replacement"))
        found["uriRegexRewrite"] = {
            "match": validators.regex(f"{option}.regex.match", parts.get("match")),
            "rewrite": str(parts.get("replacement", "")),
        }
    return found


def _headers(option: str, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for side, operations in validators.keys(option, value, HEADERS).items():
        for operation, content in validators.keys(f"{option}.{side}", operations, OPERATIONS).items():
            place = f"{option}.{side}.{operation}"
            if operation == "remove":
                if not isinstance(content, list):
                    raise InvalidOption(place, f"{content!r} is not a list of names", code="header_invalid")
                found.setdefault(side, {})[operation] = [validators.header(place, name) for name in content]
            else:
                if not isinstance(content, dict):
                    raise InvalidOption(
                        place, f"{content!r} is not a mapping of names to values", code="header_invalid"
                    )
                found.setdefault(side, {})[operation] = {
                    validators.header(place, name): _value(place, text) for name, text in content.items()
                }
    return found


def _value(option: str, text: Any) -> str:
    if any(character in str(text) for character in "\r\n\0"):
        raise InvalidOption(option, "the value of a header must be a single line", code="header_invalid")
    return str(text)
