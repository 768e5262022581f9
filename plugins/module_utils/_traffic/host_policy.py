# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host and all that is asked for it, before it is written in the words of an API."""
from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .._engine.objects import Object
from .._failure import InvalidOption
from .features import desired_annotation, fault_injection, load_balancing, resilience, route, split
from .features.desired_annotation import Intents
from .features.route_rule import RouteRule, RouteTarget
from .host.host import GATEWAY, ISTIO, MESH, Host, full_name
from .host.port_protocol import HTTP
from .host.takeover import Takeover

MANAGED = {"app.kubernetes.io/managed-by": "servicemesh.istio"}


@dataclass(frozen=True)
class Policy:
    """A host, and all that is asked for it.

    route_intents  by concern, kept with the object that says the routes
    rule_intents     by concern, kept with the DestinationRule
    api      in which the routes are said
    takeover   what becomes of other people's routes for it
    """

    host: Host
    route_intents: Intents
    rule_intents: Intents
    now: datetime.datetime
    api: str = ISTIO
    takeover: Takeover = Takeover()

    @staticmethod
    def of(host: Host) -> Policy:
        """What was asked so far. Raises Failure "intents_unreadable"."""
        kept: list[Object | None] = [*host.http_routes, host.managed_virtual_service, host.wildcard_virtual_service]
        routing = next((found for obj in kept if (found := desired_annotation.read_intents(obj))), {})
        return Policy(host, routing, desired_annotation.read_intents(host.destination_rule), Policy.time(), GATEWAY if host.http_routes else ISTIO)

    @staticmethod
    def time() -> datetime.datetime:
        return datetime.datetime.now(datetime.timezone.utc)

    def at(self, host: Host) -> Policy:
        return replace(self, host=host)

    def asking(self, concern: str, routing: Any = None, rule: Any = None) -> Policy:
        """The same with this concern's intents replaced; None releases them."""
        return replace(
            self,
            route_intents=desired_annotation.with_intent(self.route_intents, concern, routing),
            rule_intents=desired_annotation.with_intent(self.rule_intents, concern, rule),
        )

    @property
    def empty(self) -> bool:
        return not self.route_intents and not self.rule_intents

    @property
    def gateways(self) -> list[str]:
        """Where the host's routes hold: wherever one of its concerns says, else in every sidecar."""
        named = [gateway for intent in self.route_intents.values() for gateway in intent.get("gateways") or []]
        return list(dict.fromkeys(named)) or [MESH]

    @property
    def gateway_hosts(self) -> list[str]:
        return list(dict.fromkeys(name for intent in self.route_intents.values() for name in intent.get("gateway_hosts") or []))

    @property
    def own_hosts(self) -> list[str]:
        """Hosts of the object for the mesh and named outside hosts."""
        return [self.host.full_name, *(host for host in self.gateway_hosts if host != "*")]

    @property
    def label(self) -> str:
        """The label that tells versions apart. Raises InvalidOption where two concerns name two."""
        named = {intent["label"] for intent in self.route_intents.values() if intent.get("label")}
        if len(named) > 1:
            raise InvalidOption(
                "label", f"other features of {self.host.full_name} use another label for versions ({', '.join(sorted(named))})", code="label_conflict"
            )
        return next(iter(named), "version")

    @property
    def port(self) -> int | None:
        return next((intent["port"] for intent in self.route_intents.values() if intent.get("port")), None)

    @property
    def protocol(self) -> str:
        """What its routes are routes of: HTTP, TCP or TLS.

        As a concern says; else as its gateways have ports for nothing else, where it is for gateways alone; else as the host's port is declared; HTTP where
        none tells.
        """
        stated = next((intent["protocol"] for intent in self.route_intents.values() if intent.get("protocol")), "")
        ports = self.host.declared
        return str(stated or self.gateway_protocol or (ports.get(self.port) if self.port else _only(ports.values())) or HTTP)

    @property
    def gateway_protocol(self) -> str:
        """The one of them that gateways have ports for, where the policy is for gateways alone."""
        return "" if MESH in self.gateways else _only(word for words in self.host.gateway_protocols.values() for word in words)

    def route_rules(self) -> list[RouteRule]:
        """All routes in their order. Raises InvalidOption."""
        found: list[RouteRule] = []
        for concern, module in (("route", route), ("split", split)):
            if concern in self.route_intents:
                found += self._where(module.pieces(self.route_intents[concern]), self.route_intents[concern])
        if not found or found[-1].matches:
            found.append(RouteRule("default", (), [(RouteTarget(port=self.port), 1, {})], port=self.port))
        if "resilience" in self.route_intents:
            found = resilience.into(found, self.route_intents["resilience"])
        if "fault" in self.route_intents and not fault_injection.is_over(self.route_intents["fault"], self.now):
            found = fault_injection.into(found, self.route_intents["fault"])
        return found

    def _where(self, pieces: list[RouteRule], intent: dict[str, Any]) -> list[RouteRule]:
        """The pieces of a concern, for its port, and for its places where these are fewer than those of the host's other policy."""
        pieces = [replace(piece, port=intent.get("port")) for piece in pieces]
        own = intent.get("gateways") or self.gateways
        if set(own) == set(self.gateways):
            return pieces
        here: dict[str, Any] = {"gateways": own}
        return [replace(piece, matches=tuple({**match, **here} for match in piece.matches or ({},))) for piece in pieces]

    def targets(self) -> Iterator[RouteTarget]:
        for piece in self.route_rules() if self.route_intents else []:
            yield from piece.all_targets

    def other_hosts(self) -> list[str]:
        """Full names of the hosts that a route names beside the policy's own."""
        return sorted({full_name(target.host, self.host.namespace) for target in self.targets() if target.host and not targets_own_host(target, self.host)})

    def versions(self) -> dict[str, None]:
        """Versions of the host itself that a route names."""
        return {target.version: None for target in self.targets() if target.version and targets_own_host(target, self.host)}

    def traffic_policy(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for concern, module in (("load_balancing", load_balancing), ("resilience", resilience)):
            if concern in self.rule_intents:
                found.update(module.of_rule(self.rule_intents[concern]))
        return found


def _only(words: Iterable[str]) -> str:
    """The word that all are; empty where they differ."""
    every = set(words)
    return every.pop() if len(every) == 1 else ""


def targets_own_host(target: RouteTarget, host: Host) -> bool:
    return target.host is None or full_name(target.host, host.namespace) == host.full_name


def is_managed(obj: Object) -> bool:
    return MANAGED.items() <= (obj["metadata"].get("labels") or {}).items()
