# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delays and aborts for a share of requests, until a time after which the next run takes them away."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from ..._failure import InvalidOption
from . import validators
from .feature import GATEWAY_ARGUMENTS, Feature, Intent, Options, Renewal, given_options
from .match import Match, intersect, parse_matches
from .route_rule import RouteRule

ARGUMENTS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("delay", "abort", "match"), {"type": "raw"}),
    "expires": {"type": "str"},
    **GATEWAY_ARGUMENTS,
}
ABORT, DELAY = ("http", "grpc", "percent"), ("by", "percent")


class FaultInjection(Feature):
    """The feature of the module fault."""

    name = "fault"
    arguments = ARGUMENTS

    def parse(self, options: Options, host: str) -> Intent:
        intent = given_options(options, "delay", "abort", "match", "expires", *GATEWAY_ARGUMENTS)
        fault_fields(intent)
        parse_matches("match", intent.get("match"))
        if intent.get("expires"):
            parse_end(intent["expires"], datetime.datetime.now(datetime.timezone.utc))
        return Intent(intent)

    def renew(self, intent: Intent, renewal: Renewal) -> Intent:
        """With the time of the fault's end. Warns where that is over."""
        found = with_end(intent.routes or {}, renewal.previous, renewal.now)
        if is_over(found, renewal.now):
            renewal.warnings.append(f"the fault of {renewal.host} expired at {found['until']}")
        return Intent(found)

    def change_routes(self, rules: list[RouteRule], intent: Options, now: datetime.datetime) -> list[RouteRule]:
        """The rules, before each of them one for the requests that meet the fault; where all do, in its place. A fault
        that is over changes none.
        """
        if is_over(intent, now):
            return rules
        fields = {"fault": fault_fields(intent)}
        wanted = parse_matches("match", intent.get("match"))
        found = []
        for rule in rules:
            # What a proxy answers by itself has no fault.
            if rule.targets and not wanted:
                found.append(_with_fault(rule, fields, rule.matches))
                continue
            common = _common_matches(rule.matches, wanted) if rule.targets else ()
            found += [_with_fault(rule, fields, common), rule] if common else [rule]
        return found


def _with_fault(rule: RouteRule, fields: dict[str, Any], matches: tuple[Match, ...]) -> RouteRule:
    return replace(rule, name=f"fault-{rule.name}", matches=matches, fields={**rule.fields, **fields})


def _common_matches(matches: tuple[Match, ...], wanted: list[Match]) -> tuple[Match, ...]:
    """What both lists of matches have in common."""
    pairs = [(one, two) for one in matches or ({},) for two in wanted]
    return tuple(both for one, two in pairs if (both := intersect("match", one, two)) is not None)


def fault_fields(intent: dict[str, Any]) -> dict[str, Any]:
    """Istio's HTTPFaultInjection. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if intent.get("delay"):
        given = (
            {"by": intent["delay"]}
            if isinstance(intent["delay"], str)
            else validators.keys("delay", intent["delay"], DELAY)
        )
        found["delay"] = {
            "fixedDelay": validators.duration("delay.by", given.get("by")),
            "percentage": {"value": validators.percent("delay.percent", given.get("percent", 100))},
        }
    if intent.get("abort"):
        given = (
            {"http": intent["abort"]}
            if isinstance(intent["abort"], int)
            else validators.keys("abort", intent["abort"], ABORT)
        )
        if ("http" in given) == ("grpc" in given):
            raise InvalidOption("abort", "set either http or grpc", code="abort_ambiguous")
        how = (
            {"httpStatus": validators.status("abort.http", given["http"])}
            if "http" in given
            else {"grpcStatus": validators.grpc_status("abort.grpc", given["grpc"])}
        )
        found["abort"] = {
            **how,
            "percentage": {"value": validators.percent("abort.percent", given.get("percent", 100))},
        }
    if not found:
        raise InvalidOption(
            "delay", "neither delay nor abort is set", hint="Set delay or abort, or state: absent.", code="fault_empty"
        )
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
            "expires",
            f"{expires!r} is neither a time nor a duration",
            hint="Use the form 30m or 2030-01-31T12:00:00Z.",
            code="expires_invalid",
        ) from error
    if found.tzinfo is None:
        raise InvalidOption(
            "expires", f"{expires!r} has no time zone", hint="Add Z for UTC, or an offset.", code="expires_invalid"
        )
    return found


def with_end(intent: dict[str, Any], before: dict[str, Any] | None, now: datetime.datetime) -> dict[str, Any]:
    """The intent with the time of its end: a duration counts from when this very fault was first asked for, so that a
    second run does not prolong it.
    """
    if not intent.get("expires"):
        return intent
    if before and {**before, "until": None} == {**intent, "until": None}:
        return before
    until = parse_end(intent["expires"], now).astimezone(datetime.timezone.utc).replace(microsecond=0)
    return {**intent, "until": until.isoformat().replace("+00:00", "Z")}


def is_over(intent: dict[str, Any], now: datetime.datetime) -> bool:
    """Whether its time has come."""
    return bool(intent.get("until")) and parse_end(intent["until"], now) <= now
