# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`when`: which requests are meant. To Istio's HTTPMatchRequest, and what two of them have in common."""

from __future__ import annotations

from typing import Any

from ..._failure import InvalidOption
from . import validators

Match = dict[str, Any]
KEYS = ("path", "method", "authority", "headers", "query", "from_labels", "from_namespace", "port", "ignore_case")
FORMS = ("exact", "prefix", "regex")
# Fields that hold one StringMatch, and those that hold one by name.
SINGLE, NAMED = ("uri", "method", "authority"), ("headers", "withoutHeaders", "queryParams")


def parse_matches(option: str, when: Any) -> list[Match]:
    """HTTPMatchRequests of one condition or of several, of which one must hold; empty for every request. Raises
    InvalidOption.
    """
    listed = when if isinstance(when, list) else [when] if when else []
    return [_match(option, one) for one in listed]


def _match(option: str, when: Any) -> Match:
    given = validators.keys(option, when, KEYS)
    if not given:
        raise InvalidOption(
            option, "a condition is empty", hint="Remove it to match all requests.", code="condition_empty"
        )
    found: Match = {}
    if "path" in given:
        found["uri"] = string_match(f"{option}.path", given["path"])
        if next(iter(found["uri"].values()))[:1] != "/" and "regex" not in found["uri"]:
            raise InvalidOption(f"{option}.path", f"{given['path']!r} does not start with a slash", code="path_invalid")
    if "method" in given:
        methods = given["method"] if isinstance(given["method"], list) else [given["method"]]
        named = [validators.method(f"{option}.method", method) for method in methods]
        found["method"] = {"exact": named[0]} if len(named) == 1 else {"regex": "|".join(named)}
    if "authority" in given:
        found["authority"] = string_match(f"{option}.authority", given["authority"])
    for name, value in _mapping(f"{option}.headers", given.get("headers")).items():
        place = f"{option}.headers.{name}"
        if isinstance(value, dict) and set(value) == {"present"}:
            found.setdefault("headers" if value["present"] else "withoutHeaders", {})[
                validators.header(place, name)
            ] = {}
        else:
            found.setdefault("headers", {})[validators.header(place, name)] = string_match(place, value)
    for name, value in _mapping(f"{option}.query", given.get("query")).items():
        found.setdefault("queryParams", {})[name] = string_match(f"{option}.query.{name}", value)
    if given.get("from_labels"):
        found["sourceLabels"] = {
            str(key): str(value) for key, value in _mapping(f"{option}.from_labels", given["from_labels"]).items()
        }
    if given.get("from_namespace"):
        found["sourceNamespace"] = str(given["from_namespace"])
    if "port" in given:
        found["port"] = validators.port(f"{option}.port", given["port"])
    if given.get("ignore_case"):
        found["ignoreUriCase"] = True
    return found


def _mapping(option: str, value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise InvalidOption(option, f"{value!r} is not a mapping of names to values", code="key_unknown")
    return value or {}


def string_match(option: str, value: Any) -> dict[str, str]:
    """A StringMatch: a string is meant exactly, with a star at its end as a prefix; or {exact, prefix or regex:
    ...}.
    """
    if isinstance(value, dict):
        if len(value) != 1 or next(iter(value)) not in FORMS:
            raise InvalidOption(
                option,
                f"{value!r} is not a valid match",
                hint=f"Use one of {', '.join(FORMS)}, or a string.",
                code="match_invalid",
            )
        ((form, content),) = value.items()
        if form == "regex":
            return {form: validators.regex(option, content)}
        if not isinstance(content, str) or not content:
            raise InvalidOption(option, f"{form} is empty", code="match_invalid")
        return {form: content}
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value in ("", "*"):
        raise InvalidOption(
            option,
            f"{value!r} is not a valid match",
            hint="Use a string, with a trailing * for a prefix match.",
            code="match_invalid",
        )
    value = str(value)
    return {"prefix": value[:-1]} if value.endswith("*") else {"exact": value}


def intersect(option: str, one: Match, two: Match) -> Match | None:
    """Requests that both mean; None where there are none. Raises InvalidOption where that cannot be said as one
    match.
    """
    found = {**one, **two}
    for key in one.keys() & two.keys():
        if key in SINGLE:
            common = _narrower(option, one[key], two[key])
            if common is None:
                return None
            found[key] = common
        elif key in NAMED:
            found[key] = {**one[key], **two[key]}
            for name in one[key].keys() & two[key].keys():
                common = _narrower(option, one[key][name], two[key][name])
                if common is None:
                    return None
                found[key][name] = common
        elif key == "sourceLabels":
            if any(one[key][name] != two[key][name] for name in one[key].keys() & two[key].keys()):
                return None
            found[key] = {**one[key], **two[key]}
        elif key == "gateways":
            found[key] = [gateway for gateway in one[key] if gateway in two[key]]
            if not found[key]:
                return None
        elif one[key] != two[key]:
            return None
    return found


def _narrower(option: str, one: dict[str, str], two: dict[str, str]) -> dict[str, str] | None:
    if one == two or not two:
        return one
    if not one:
        return two
    if "regex" in one or "regex" in two:
        raise InvalidOption(
            option,
            f"{one} and {two} cannot be combined in one condition",
            hint="Write one of them without a regular expression.",
            code="match_conflict",
        )
    (first_form, first), (second_form, second) = (next(iter(match.items())) for match in (one, two))
    if first_form == "prefix" and second.startswith(first):
        return two
    if second_form == "prefix" and first.startswith(second):
        return one
    return None
