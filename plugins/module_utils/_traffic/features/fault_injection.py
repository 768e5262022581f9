# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delays and aborts for a share of requests, until a time after which the next run takes them away."""
from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from ..._failure import InvalidOption
from . import match as matching
from . import validators as checks
from .match import Match
from .request import WHERE, Asked
from .route_rule import Piece

ARGUMENTS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("delay", "abort", "when"), {"type": "raw"}),
    "expires": {"type": "str"},
    **WHERE,
}
ABORT, DELAY = ("http", "grpc", "percent"), ("by", "percent")


def intents(asked: Asked) -> tuple[Any, Any]:
    """Raises InvalidOption."""
    intent = asked.given("delay", "abort", "when", "expires", *WHERE)
    check(intent)
    matching.matches("when", intent.get("when"))
    intent = ends(intent, asked.before, asked.now)
    if over(intent, asked.now):
        asked.warnings.append(f"the fault of {asked.host} is over since {intent['until']}")
    return intent, None


def check(intent: dict[str, Any]) -> dict[str, Any]:
    """Istio's HTTPFaultInjection. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("delay"):
        given = {"by": intent["delay"]} if isinstance(intent["delay"], str) else checks.keys("delay", intent["delay"], DELAY)
        found["delay"] = {
            "fixedDelay": checks.duration("delay.by", given.get("by")),
            "percentage": {"value": checks.percent("delay.percent", given.get("percent", 100))},
        }
    if intent.get("abort"):
        given = {"http": intent["abort"]} if isinstance(intent["abort"], int) else checks.keys("abort", intent["abort"], ABORT)
        if ("http" in given) == ("grpc" in given):
            raise InvalidOption("abort", "give http or grpc, one of them", code="abort_ambiguous")
        how = {"httpStatus": checks.status("abort.http", given["http"])} if "http" in given else {"grpcStatus": checks.grpc_status("abort.grpc", given["grpc"])}
        found["abort"] = {**how, "percentage": {"value": checks.percent("abort.percent", given.get("percent", 100))}}
    if not found:
        raise InvalidOption("delay", "there is neither delay nor abort", hint="Give one of them, or state absent.", code="fault_empty")
    return found


def end_of(expires: str, now: datetime.datetime) -> datetime.datetime:
    """A time (ISO 8601 with its zone) or a duration from now. Raises InvalidOption "expires_invalid"."""
    if checks.DURATION.match(expires):
        return now + datetime.timedelta(seconds=checks.seconds(expires))
    try:
        # Until Python 3.11 the library did not read the letter for UTC.
        found = datetime.datetime.fromisoformat(expires.replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidOption(
            "expires", f"{expires!r} is neither a time nor a duration", hint="Write it as 30m, or as 2030-01-31T12:00:00Z.", code="expires_invalid"
        ) from error
    if found.tzinfo is None:
        raise InvalidOption("expires", f"{expires!r} has no time zone", hint="End it with Z for UTC, or with an offset.", code="expires_invalid")
    return found


def ends(intent: dict[str, Any], before: dict[str, Any] | None, now: datetime.datetime) -> dict[str, Any]:
    """The intent with the time of its end: a duration counts from when this very fault was first asked for, so that a second run does not prolong it."""
    if not intent.get("expires"):
        return intent
    if before and {**before, "until": None} == {**intent, "until": None}:
        return before
    until = end_of(intent["expires"], now).astimezone(datetime.timezone.utc).replace(microsecond=0)
    return {**intent, "until": until.isoformat().replace("+00:00", "Z")}


def over(intent: dict[str, Any], now: datetime.datetime) -> bool:
    """Whether its time has come."""
    return bool(intent.get("until")) and end_of(intent["until"], now) <= now


def into(pieces: list[Piece], intent: dict[str, Any]) -> list[Piece]:
    """The pieces, before each of them one for the requests that meet the fault; where it meets all, in its place."""
    what = check(intent)
    wanted = matching.matches("when", intent.get("when"))
    found = []
    for piece in pieces:
        if not piece.targets:
            # What a proxy answers by itself is faultless.
            found.append(piece)
            continue
        if wanted:
            common: list[Match] = [both for one in piece.matches or ({},) for two in wanted if (both := matching.both("when", one, two)) is not None]
            if common:
                found.append(replace(piece, name=f"fault-{piece.name}", matches=tuple(common), fields={**piece.fields, "fault": what}))
            found.append(piece)
        else:
            found.append(replace(piece, name=f"fault-{piece.name}", fields={**piece.fields, "fault": what}))
    return found
