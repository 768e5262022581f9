# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateway API tries conditions by how narrow they are, not in their order. Is that the order that was asked for?

The order is that of Istio (pilot/pkg/config/kube/gateway, sortHTTPRoutes): exact path, prefix, regular expression; then
the longer one;
then a method; then more headers; then more query parameters; what is equal keeps its place.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum
from typing import Any

from ..._failure import InvalidOption, not_none
from ..features.match import Match, intersect
from ..host.host import Host

RANK = {"Exact": 3, "PathPrefix": 2, "RegularExpression": 1}
# What the schema lets an exact path hold; all else is said as an expression.
PLAIN = re.compile(r"^/(?!.*(//|/\.\.?(/|$)|%2[fF]))(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$")
EVERY = ".*"
# What an expression begins with that stands for itself.
LITERAL = re.compile(r"[-A-Za-z0-9/_~!&',;=:@%]*")
Listed = list[tuple[str, list[Match]]]


class Form(Enum):
    """How paths are said: each as what it is; the same with every path as an expression, which comes last; or all as
    expressions.
    """

    NATURAL = "natural"
    OPEN_END = "open end"
    EXPRESSIONS = "expressions"


def path_of(match: Match, form: Form, prefix: bool = False) -> dict[str, str]:
    """The path of a match in the words of HTTPRoute.

    A prefix of Gateway API is one of whole parts, /shop for /shop and /shop/a; one that was asked for is one of
    characters. So it is said as
    an expression, unless `prefix`, where it is replaced by another.
    """
    uri = match.get("uri") or {}
    if uri.get("prefix") == "/" or not uri:
        return (
            {"type": "PathPrefix", "value": "/"}
            if form is Form.NATURAL
            else {"type": "RegularExpression", "value": EVERY}
        )
    if "prefix" in uri:
        return (
            {"type": "PathPrefix", "value": uri["prefix"].rstrip("/")}
            if prefix
            else {"type": "RegularExpression", "value": re.escape(uri["prefix"]) + EVERY}
        )
    if "exact" in uri:
        plain = PLAIN.match(uri["exact"]) and form is not Form.EXPRESSIONS
        return (
            {"type": "Exact", "value": uri["exact"]}
            if plain
            else {"type": "RegularExpression", "value": re.escape(uri["exact"])}
        )
    return {"type": "RegularExpression", "value": uri["regex"]}


def in_order(listed: Listed, host: Host, prefixes: Collection[str]) -> Form:
    """The form in which conditions, by the names of their rules, are tried in their order. prefixes: rules whose path
    is a prefix of whole parts.

    Raises InvalidOption "gateway_api_cannot" naming two rules where there is none.
    """
    wrong = [_out_of_order(listed, form, prefixes) for form in Form]
    for form, pair in zip(Form, wrong):
        if pair is None:
            return form
    early, late = next(pair for pair in wrong if pair)
    message = (
        f"Gateway API evaluates the narrower condition first, so {late} would precede {early} (policy of"
        f" {host.full_name})"
    )
    raise InvalidOption(
        "rules",
        message,
        hint="Move the narrower rule to the front, or set api: istio for this service.",
        code="gateway_api_cannot",
    )


def _out_of_order(listed: Listed, form: Form, prefixes: Collection[str]) -> tuple[str, str] | None:
    """Two rules that would be tried the other way round, and that some request meets both."""
    for number, (early, first) in enumerate(listed):
        for late, second in listed[number + 1 :]:
            for one in first:
                for two in second:
                    if _key(two, form, late in prefixes) > _key(one, form, early in prefixes) and _common(one, two):
                        return early, late
    return None


def _key(match: Match, form: Form, prefix: bool) -> tuple[Any, ...]:
    path = path_of(match, form, prefix)
    return (
        RANK[path["type"]],
        len(path["value"]),
        "method" in match,
        len(match.get("headers") or {}),
        len(match.get("queryParams") or {}),
    )


def _common(one: Match, two: Match) -> bool:
    """Whether a request may meet both; where that cannot be told, it may."""
    begin, other = _beginning(one.get("uri") or {}), _beginning(two.get("uri") or {})
    if not begin.startswith(other) and not other.startswith(begin):
        return False
    try:
        return intersect("match", one, two) is not None
    except InvalidOption:
        return True


def _beginning(uri: dict[str, str]) -> str:
    """With what every path begins that is meant, as far as it can be told."""
    expression = uri.get("regex")
    if expression is None:
        return next(iter(uri.values()), "")
    if "|" in expression:
        return ""
    found = not_none(LITERAL.match(expression))
    # The last one may be repeated, and so be there not at all.
    return found[0][:-1] if expression[found.end() :][:1] in ("*", "?", "{") else found[0]
