# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delays and aborts for a share of requests, until a time after which the next run takes them away."""
from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from ..._failure import InvalidOption
from . import validators
from .match import Match, intersect, parse_matches
from .request import WHERE, FeatureRequest
from .route_rule import RouteRule

ARGUMENTS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("delay", "abort", "match"), {"type": "raw"}),
    "expires": {"type": "str"},
    **WHERE,
}
ABORT, DELAY = ("http", "grpc", "percent"), ("by", "percent")


def intents(asked: FeatureRequest) -> tuple[Any, Any]:
    """Raises InvalidOption."""
    intent = asked.optional("delay", "abort", "match", "expires", *WHERE)
    check(intent)
    parse_matches("match", intent.get("match"))
    intent = with_end(intent, asked.previous, asked.now)
    if is_over(intent, asked.now):
        asked.warnings.append(f"the fault of {asked.host} expired at {intent['until']}")
    return intent, None


def check(intent: dict[str, Any]) -> dict[str, Any]:
    """Istio's HTTPFaultInjection. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("delay"):
        given = {"by": intent["delay"]} if isinstance(intent["delay"], str) else validators.keys("delay", intent["delay"], DELAY)
        found["delay"] = {
            "fixedDelay": validators.duration("delay.by", given.get("by")),
            "percentage": {"value": validators.percent("delay.percent", given.get("percent", 100))},
        }
    if intent.get("abort"):
        given = {"http": intent["abort"]} if isinstance(intent["abort"], int) else validators.keys("abort", intent["abort"], ABORT)
        if ("http" in given) == ("grpc" in given):
            raise InvalidOption("abort", "set either http or grpc", code="abort_ambiguous")
        how = (
            {"httpStatus": validators.status("abort.http", given["http"])}
            if "http" in given
            else {"grpcStatus": validators.grpc_status("abort.grpc", given["grpc"])}
        )
        found["abort"] = {**how, "percentage": {"value": validators.percent("abort.percent", given.get("percent", 100))}}
    if not found:
        raise InvalidOption("delay", "neither delay nor abort is set", hint="Set delay or abort, or state: absent.", code="fault_empty")
    return found


def parse_end(expires: str, now: datetime.datetime) -> datetime.datetime:
    """A time (ISO 8601 with its zone) or a duration from now. Raises InvalidOption "expires_invalid"."""
    if validators.DURATION.match(expires):
        return now + datetime.timedelta(seconds=validators.seconds(expires))
    try:
        # Until Python 3.11 the library did not read the letter for UTC.
        found = datetime.datetime.fromisoformat(expires.replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidOption(
            "expires", f"{expires!r} is neither a time nor a duration", hint="Use the form 30m or 2030-01-31T12:00:00Z.", code="expires_invalid"
        ) from error
    if found.tzinfo is None:
        raise InvalidOption("expires", f"{expires!r} has no time zone", hint="Add Z for UTC, or an offset.", code="expires_invalid")
    return found


def with_end(intent: dict[str, Any], before: dict[str, Any] | None, now: datetime.datetime) -> dict[str, Any]:
    """The intent with the time of its end: a duration counts from when this very fault was first asked for, so that a second run does not prolong it."""
    if not intent.get("expires"):
        return intent
    if before and {**before, "until": None} == {**intent, "until": None}:
        return before
    until = parse_end(intent["expires"], now).astimezone(datetime.timezone.utc).replace(microsecond=0)
    return {**intent, "until": until.isoformat().replace("+00:00", "Z")}


def is_over(intent: dict[str, Any], now: datetime.datetime) -> bool:
    """Whether its time has come."""
    return bool(intent.get("until")) and parse_end(intent["until"], now) <= now


def into(pieces: list[RouteRule], intent: dict[str, Any]) -> list[RouteRule]:
    """The pieces, before each of them one for the requests that meet the fault; where it meets all, in its place."""
    what = check(intent)
    wanted = parse_matches("match", intent.get("match"))
    found = []
    for piece in pieces:
        if not piece.targets:
            # What a proxy answers by itself is faultless.
            found.append(piece)
            continue
        if wanted:
            common: list[Match] = [both for one in piece.matches or ({},) for two in wanted if (both := intersect("match", one, two)) is not None]
            if common:
                found.append(replace(piece, name=f"fault-{piece.name}", matches=tuple(common), fields={**piece.fields, "fault": what}))
            found.append(piece)
        else:
            found.append(replace(piece, name=f"fault-{piece.name}", fields={**piece.fields, "fault": what}))
    return found
