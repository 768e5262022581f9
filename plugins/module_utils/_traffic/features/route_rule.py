# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of a host before they are written in the words of an API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..._failure import InvalidOption
from ..host.foreign_routes import digest
from . import validators
from .match import Match

TARGET, MIRROR = ("version", "service", "port"), ("version", "service", "port", "percent")


@dataclass(frozen=True)
class RouteTarget:
    """Where requests go: a version of a host, or all of it. host None: the policy's own."""

    version: str | None = None
    label: str = "version"
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True)
class RouteRule:
    """One route.

    matches   of which one must hold; none: every request
    targets   (where to, weight, header operations of that part); empty where `fields` answer by themselves
    fields    what else its requests meet, in the words of Istio's HTTPRoute; mirrors as [(Target, percent)]
    port      of the host, which it is for, where its feature names one
    """

    name: str
    matches: tuple[Match, ...] = ()
    targets: list[tuple[RouteTarget, int, dict[str, Any]]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    port: int | None = None

    @property
    def all_targets(self) -> Iterator[RouteTarget]:
        """All targets, those of mirrors too."""
        yield from (target for target, _weight, _headers in self.targets)
        yield from (target for target, _percent in self.fields.get("mirrors") or [])


def parse_target(option: str, given: Any, label: str) -> RouteTarget:
    """A version by name, or {version, service, port}. Raises InvalidOption."""
    if isinstance(given, str):
        given = {"version": given}
    given = validators.keys(option, given or {}, TARGET)
    if given.get("service"):
        validators.host(f"{option}.service", given["service"], wildcard=False)
    if given.get("port") is not None:
        validators.port(f"{option}.port", given["port"])
    return RouteTarget(given.get("version"), label, given.get("service"), given.get("port"))


def parse_mirrors(option: str, given: Any, label: str) -> list[tuple[RouteTarget, float]]:
    """Copies of requests: a version by name, or {version, service, port, percent}; one or several. Raises
    InvalidOption.
    """
    listed = given if isinstance(given, list) else [given] if given else []
    found = []
    for one in listed:
        one = {"version": one} if isinstance(one, str) else validators.keys(option, one, MIRROR)
        where = parse_target(option, {key: value for key, value in one.items() if key != "percent"}, label)
        if not where.version and not where.host:
            raise InvalidOption(option, "it has neither version nor service", code="target_missing")
        found.append((where, validators.percent(f"{option}.percent", one.get("percent", 100))))
    return found


def matches_at(rule: RouteRule, gateways: list[str]) -> tuple[Match, ...] | None:
    """The rule's matches as an object says them that is bound to these gateways; None where it concerns none of
    them.
    """
    found = []
    for match in rule.matches:
        if "gateways" in match:
            here = [gateway for gateway in match["gateways"] if gateway in gateways]
            if not here:
                continue
            match = (
                {**match, "gateways": here}
                if set(here) != set(gateways)
                else {key: value for key, value in match.items() if key != "gateways"}
            )
        if not match:
            return ()
        found.append(match)
    return tuple(found) if found or not rule.matches else None


def named_by_content(name: str, content: dict[str, Any]) -> str:
    """The content is in the name, so that a proxy's configuration says by itself which routes it has."""
    return f"{name}-{digest(content)}"
