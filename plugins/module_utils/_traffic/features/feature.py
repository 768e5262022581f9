# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every feature of a host's policy has: options, route rules of its own, changes of other rules, and fields of the
traffic policy.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..host.port_protocol import RouteProtocol
from .route_rule import RouteRule

Options = dict[str, Any]
# Of the features that write routes.
GATEWAY_ARGUMENTS: dict[str, dict[str, Any]] = {
    "gateways": {"type": "list", "elements": "str"},
    "gateway_hosts": {"type": "list", "elements": "str", "default": []},
}
# Of those that name a port of the host.
PROTOCOL_ARGUMENT: dict[str, dict[str, Any]] = {
    "protocol": {"type": "str", "choices": [protocol.value for protocol in RouteProtocol]}
}


class Intent(NamedTuple):
    """The options of a feature as they are kept in an annotation; None where the feature has no part in that object.

    routes  with the object that has the host's routes
    rule    with the host's DestinationRule
    """

    routes: Options | None = None
    rule: Options | None = None


@dataclass(frozen=True)
class Renewal:
    """What a feature is told when its intent takes the place of an earlier one.

    previous  the earlier intent
    warnings  for the user; the feature adds to them
    """

    host: str
    previous: Options | None
    now: datetime.datetime
    warnings: list[str] = field(default_factory=list)


class Feature(Protocol):
    """One feature of a host's policy. A feature overrides the methods that it has a part in.

    name       of the feature, and its key in annotations and in the module traffic
    arguments  options of its module, beside those that all features have
    """

    name: str
    arguments: dict[str, dict[str, Any]]

    def parse(self, options: Options, host: str) -> Intent:
        """Validates the options as the argument spec makes them. Raises InvalidOption."""
        raise NotImplementedError

    def renew(self, intent: Intent, renewal: Renewal) -> Intent:
        """The intent that takes the place of the previous one."""
        return intent

    def routes(self, intent: Options) -> list[RouteRule]:
        """Route rules of the feature's own, in order."""
        return []

    def change_routes(self, rules: list[RouteRule], intent: Options, now: datetime.datetime) -> list[RouteRule]:
        """The route rules of all features with what this one adds to them."""
        return rules

    def traffic_policy(self, intent: Options) -> dict[str, Any]:
        """Fields of the TrafficPolicy of a DestinationRule."""
        return {}

    def http_options(self, intent: Options) -> list[str]:
        """Options of the traffic policy that only requests have, not TCP or TLS connections."""
        return []


def required_options(options: Options, *names: str) -> Options:
    """These options, whatever they are."""
    return {name: options[name] for name in names}


def given_options(options: Options, *names: str) -> Options:
    """Those of these options that are not empty."""
    return {name: options[name] for name in names if options.get(name) not in (None, [], {}, "")}
