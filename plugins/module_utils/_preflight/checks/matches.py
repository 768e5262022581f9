# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes that earlier ones leave nothing for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..._checks.check import INFO, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..findings import ANALYZER, parts
from ..object_index import World, spec

# Envoy's names of a method that is not said are all of them; Istio's analysis takes this one.
USUAL_METHOD = "GET"


def _lists(world: World) -> Iterator[tuple[Object, str, list[dict[str, Any]]]]:
    for obj in world["VirtualService"]:
        for protocol in ("http", "tcp", "tls"):
            yield obj, f"spec.{protocol}", spec(obj).get(protocol) or []


def _written(match: dict[str, Any]) -> str:
    """A match less its name, which is for people."""
    return json.dumps({key: value for key, value in match.items() if key != "name"}, sort_keys=True, default=str)


def _repeated(routes: list[dict[str, Any]]) -> Iterator[tuple[int, int, int]]:
    """(route, match, earlier route that has the same match)"""
    seen: dict[str, int] = {}
    for number, route in enumerate(routes):
        for place, match in enumerate(route.get("match") or []):
            key = _written(match)
            if key in seen:
                yield number, place, seen[key]
            seen.setdefault(key, number)


def _catch_all(routes: list[dict[str, Any]]) -> int:
    """The first route that takes everything; behind the last one where there is none."""
    return next((number for number, route in enumerate(routes) if not route.get("match")), len(routes))


def route_unreachable(world: World) -> Iterator[FieldFinding]:
    for obj, path, routes in _lists(world):
        end = _catch_all(routes)
        used = [(number, place) for number, place, _earlier in _repeated(routes[:end])]
        for number, route in enumerate(routes):
            if number > end:
                yield FieldFinding(obj, f"{path}[{number}]", f"route {end} before it matches all requests")
            elif route.get("match") and sum(other == number for other, _place in used) == len(route["match"]):
                yield FieldFinding(obj, f"{path}[{number}]", "earlier routes have all its matches")


def match_ineffective(world: World) -> Iterator[FieldFinding]:
    for obj, path, routes in _lists(world):
        reached = routes[: _catch_all(routes)]
        for number, place, earlier in _repeated(reached):
            yield FieldFinding(obj, f"{path}[{number}].match[{place}]", f"route {earlier} has the same match")
    for obj in world["VirtualService"]:
        routes = spec(obj).get("http") or []
        found = [
            (field, match)
            for field, route in parts(routes[: _catch_all(routes)], "spec.http")
            for field, match in parts(route.get("match"), f"{field}.match")
        ]
        for number, (field, match) in enumerate(found):
            cover = next((other for other, earlier in found[:number] if _covers(earlier, match)), None)
            if cover:
                yield FieldFinding(obj, field, f"{cover} before it matches the same requests")


def _limit(value: dict[str, Any] | None) -> str:
    value = value or {}
    return next((f"{how} {value[how]}" for how in ("exact", "prefix", "regex") if value.get(how)), "")


def _limits(match: dict[str, Any]) -> dict[str, str]:
    """What a match asks for besides the path."""
    found = {key: _limit(match.get(key)) for key in ("authority", "scheme")}
    found["method"] = _limit(match.get("method")) or f"exact {USUAL_METHOD}"
    found["rest"] = json.dumps(
        {key: match.get(key) for key in ("port", "gateways", "sourceLabels", "sourceNamespace", "ignoreUriCase")},
        sort_keys=True,
        default=str,
    )
    for key in ("headers", "withoutHeaders", "queryParams"):
        found.update({f"{key} {name}": _limit(value) or "there" for name, value in (match.get(key) or {}).items()})
    return {key: value for key, value in found.items() if value}


def _covers(earlier: dict[str, Any], later: dict[str, Any]) -> bool:
    """Whether a prefix takes every path of another one, and nothing else tells them apart."""
    first, second = (earlier.get("uri") or {}).get("prefix"), (later.get("uri") or {}).get("prefix")
    return bool(first and second and first != second and second.startswith(first)) and _limits(earlier) == _limits(
        later
    )


CHECKS = (
    Check("route_unreachable", WARNING, route_unreachable, "An earlier route matches all requests of a route.",
          "Move the route that matches everything to the end, and remove duplicates.", ANALYZER("IST0130")),
    Check("match_ineffective", INFO, match_ineffective, "A match is equal to an earlier match, or covered by it.",
          "Move the narrower match to the front, or remove it.", ANALYZER("IST0131")),
)  # fmt: skip
