# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of one host: what its features ask for, before it is written as objects of an API."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from .._engine.objects import Object, ref_of
from .._failure import Failure, InvalidOption
from .features import desired_annotation
from .features.desired_annotation import Intents
from .features.feature import Intent, Renewal
from .features.registry import FEATURES
from .features.route_rule import RouteRule, RouteTarget
from .host.external_owners import managers_of, owner_of
from .host.host import MESH, Host, RoutingApi, full_name, host_names
from .host.port_protocol import RouteProtocol
from .host.takeover import Takeover, places_of

MANAGED = {"app.kubernetes.io/managed-by": "servicemesh.istio"}
# All fields of a VirtualService of ours.
FIELDS = {"hosts", "gateways", "http"}


@dataclass(frozen=True)
class Policy:
    """A host and the intents of its features.

    route_intents  {feature: options}, kept with the object that has the routes
    rule_intents   {feature: options}, kept with the DestinationRule
    api            the API that has the routes
    takeover       what becomes of other people's routes for the host
    """

    host: Host
    route_intents: Intents
    rule_intents: Intents
    now: datetime.datetime
    api: RoutingApi = RoutingApi.ISTIO
    takeover: Takeover = Takeover()

    @staticmethod
    def of(host: Host) -> Policy:
        """The policy that the host's live objects have. Raises Failure "intents_unreadable"."""
        kept: list[Object | None] = [*host.http_routes, host.managed_virtual_service, host.wildcard_virtual_service]
        routes = next((found for obj in kept if (found := desired_annotation.read_intents(obj))), {})
        rule = desired_annotation.read_intents(host.destination_rule)
        return Policy(
            host, routes, rule, Policy.time(), RoutingApi.GATEWAY_API if host.http_routes else RoutingApi.ISTIO
        )

    @staticmethod
    def time() -> datetime.datetime:
        return datetime.datetime.now(datetime.timezone.utc)

    def at(self, host: Host) -> Policy:
        return replace(self, host=host)

    def with_intent(self, feature: str, intent: Intent) -> Policy:
        """The policy with this intent of the feature; an empty one releases the feature."""
        routes = desired_annotation.with_intent(self.route_intents, feature, intent.routes)
        return replace(
            self,
            route_intents=routes,
            rule_intents=desired_annotation.with_intent(self.rule_intents, feature, intent.rule),
        )

    def with_feature(self, feature: str, intent: Intent, warnings: list[str], previous: Policy | None = None) -> Policy:
        """The policy with this intent of the feature in place of the one of the previous policy, by default this one.
        Adds to the warnings.
        """
        before = previous or self
        renewal = Renewal(
            self.host.full_name,
            before.route_intents.get(feature) or before.rule_intents.get(feature),
            self.now,
            warnings,
        )
        return self.with_intent(feature, FEATURES[feature].renew(intent, renewal))

    @property
    def empty(self) -> bool:
        return not self.route_intents and not self.rule_intents

    @property
    def gateways(self) -> list[str]:
        """Where the host's routes hold: where one of its features says, else in every sidecar."""
        named = [gateway for intent in self.route_intents.values() for gateway in intent.get("gateways") or []]
        return list(dict.fromkeys(named)) or [MESH]

    @property
    def gateway_hosts(self) -> list[str]:
        return list(
            dict.fromkeys(name for intent in self.route_intents.values() for name in intent.get("gateway_hosts") or [])
        )

    @property
    def own_hosts(self) -> list[str]:
        """Hosts of the object for the mesh and for named outside hosts."""
        return [self.host.full_name, *(host for host in self.gateway_hosts if host != "*")]

    @property
    def label(self) -> str:
        """The label that tells versions apart. Raises InvalidOption where two features name two."""
        named = {intent["label"] for intent in self.route_intents.values() if intent.get("label")}
        if len(named) > 1:
            raise InvalidOption(
                "label",
                f"other features of {self.host.full_name} use another label for versions ({', '.join(sorted(named))})",
                code="label_conflict",
            )
        return next(iter(named), "version")

    @property
    def port(self) -> int | None:
        return next((intent["port"] for intent in self.route_intents.values() if intent.get("port")), None)

    @property
    def protocol(self) -> RouteProtocol:
        """What the routes are routes of.

        The first of: what a feature says; what the gateways have ports for, where the policy is for gateways alone;
        what the host's port declares; HTTP.
        """
        stated = next((intent["protocol"] for intent in self.route_intents.values() if intent.get("protocol")), "")
        ports = self.host.declared
        declared = ports.get(self.port, "") if self.port else _only(ports.values())
        return RouteProtocol(stated or self.gateway_protocol or declared or RouteProtocol.HTTP)

    @property
    def gateway_protocol(self) -> str:
        """The one protocol that the gateways have ports for, where the policy is for gateways alone."""
        return (
            ""
            if MESH in self.gateways
            else _only(word for words in self.host.gateway_protocols.values() for word in words)
        )

    @cached_property
    def route_rules(self) -> list[RouteRule]:
        """All route rules in their order. Raises InvalidOption."""
        asked = [
            (feature, self.route_intents[name]) for name, feature in FEATURES.items() if name in self.route_intents
        ]
        found: list[RouteRule] = []
        for feature, intent in asked:
            found += self._placed(feature.routes(intent), intent)
        if not found or found[-1].matches:
            found.append(RouteRule("default", (), [(RouteTarget(port=self.port), 1, {})], port=self.port))
        for feature, intent in asked:
            found = feature.change_routes(found, intent, self.now)
        return found

    def _placed(self, rules: list[RouteRule], intent: dict[str, Any]) -> list[RouteRule]:
        """The rules of a feature at its port, and at its gateways where these are fewer than those of the whole
        policy.
        """
        rules = [replace(rule, port=intent.get("port")) for rule in rules]
        own = intent.get("gateways") or self.gateways
        if set(own) == set(self.gateways):
            return rules
        here: dict[str, Any] = {"gateways": own}
        return [replace(rule, matches=tuple({**match, **here} for match in rule.matches or ({},))) for rule in rules]

    @cached_property
    def targets(self) -> list[RouteTarget]:
        return [target for rule in self.route_rules for target in rule.all_targets] if self.route_intents else []

    @property
    def other_hosts(self) -> list[str]:
        """Full names of the hosts that a route names beside the policy's own."""
        return sorted(
            {
                full_name(target.host, self.host.namespace)
                for target in self.targets
                if target.host and not targets_own_host(target, self.host)
            }
        )

    @property
    def versions(self) -> list[str]:
        """Versions of the host itself that a route names, in their order."""
        return list(
            dict.fromkeys(
                target.version for target in self.targets if target.version and targets_own_host(target, self.host)
            )
        )

    @cached_property
    def traffic_policy(self) -> dict[str, Any]:
        """The TrafficPolicy of the host's DestinationRule. Raises InvalidOption."""
        found: dict[str, Any] = {}
        for name, feature in FEATURES.items():
            if name in self.rule_intents:
                found.update(feature.traffic_policy(self.rule_intents[name]))
        return found

    @property
    def http_options(self) -> list[str]:
        """Options of the traffic policy that only requests have."""
        return [
            option
            for name, feature in FEATURES.items()
            if name in self.rule_intents
            for option in feature.http_options(self.rule_intents[name])
        ]

    def adopted_objects(self) -> list[Object]:
        """Objects of others whose routes go on in ours."""
        return self.host.foreign_routes if self.takeover.adopt and not self.takeover.force else []

    def deleted_objects(self) -> list[Object]:
        """Objects of others that are deleted; one of the name of ours is overwritten instead."""
        over = self._overwritten_objects()
        return (
            [obj for obj in self.host.foreign_routes if obj not in over]
            if self.takeover.adopt or self.takeover.force
            else []
        )

    def overwritten_managers(self) -> frozenset[str]:
        """Owners of fields of the objects that are overwritten: what they set and nobody wants must not stay."""
        return (
            frozenset(manager for obj in self._overwritten_objects() for manager in managers_of(obj))
            if self.takeover.force
            else frozenset()
        )

    def _overwritten_objects(self) -> list[Object]:
        """Objects of others with the kind and name of ours. An HTTPRoute for the mesh has the host's name, one for a
        gateway that and the gateway's.
        """
        host, by_gateway = self.host, self.api == RoutingApi.GATEWAY_API
        kind = "HTTPRoute" if by_gateway else "VirtualService"
        named = [
            obj for obj in host.foreign_routes if obj["kind"] == kind and obj["metadata"]["namespace"] == host.namespace
        ]
        names = [(obj, obj["metadata"]["name"]) for obj in named]
        return [
            obj
            for obj, name in names
            if name == host.object_name or (by_gateway and name.startswith(f"{host.object_name}."))
        ]

    def takeover_warnings(self) -> list[str]:
        """That an external owner may create again what is deleted."""
        found = self.host.foreign_routes if self.takeover.force else []
        return [f"{owner} manages {ref_of(obj)} and may create it again" for obj in found if (owner := owner_of(obj))]

    def takeover_problems(self) -> list[Failure]:
        """Objects of others that are neither adopted nor deleted."""
        found: list[Failure] = []
        for obj in self.host.foreign_routes:
            reason = self._reason_against(obj)
            if reason is None:
                continue
            owner = owner_of(obj)
            kept, why = f", and {owner} manages it" if owner else "", f": {reason}" if reason else ""
            hint = (
                "The routes of a service can have only one owner. Change them in that object, or set force_conflicts"
                " to replace it"
            )
            hint += "." if owner or reason else ", or adopt to keep its routes behind yours."
            message = f"{ref_of(obj)} has routes for {self.host.full_name} already{kept}{why}"
            found.append(
                InvalidOption("service", message, ref=ref_of(obj).as_result("v1"), hint=hint, code="host_taken")
            )
        return found

    def _reason_against(self, obj: Object) -> str | None:
        """Why an object of others stays as it is; None where it does not."""
        namespace, gateways, places = self.host.namespace, self.gateways, places_of(obj)
        adopt, force = self.takeover.adopt, self.takeover.force
        more = sorted(host_names(obj) - {full_name(name, namespace) for name in self.own_hosts})
        if more and (adopt or force):
            return f"it also applies to {', '.join(more)}"
        beyond = sorted(places - set(gateways))
        if force:
            return f"it also applies to {', '.join(beyond)}" if beyond else None
        if not adopt:
            return ""
        if self.api != RoutingApi.ISTIO or obj["kind"] != "VirtualService":
            return "adopt supports only a VirtualService"
        others = sorted(managers_of(obj) - self.takeover.tools)
        if owner_of(obj):
            return "its owner would revert an adoption"
        if others:
            return f"adopt_from does not contain its managers {', '.join(others)}"
        if obj["metadata"]["namespace"] != namespace:
            return "it is in another namespace"
        if places != set(gateways):
            return f"it applies to {', '.join(sorted(places))}, not to {', '.join(gateways)}"
        if set(obj["spec"]) - FIELDS:
            return f"it also sets {', '.join(sorted(set(obj['spec']) - FIELDS))}"
        return None


def _only(words: Iterable[str]) -> str:
    """The word that all are; empty where they differ."""
    every = set(words)
    return every.pop() if len(every) == 1 else ""


def targets_own_host(target: RouteTarget, host: Host) -> bool:
    return target.host is None or full_name(target.host, host.namespace) == host.full_name


def is_managed(obj: Object) -> bool:
    return MANAGED.items() <= (obj["metadata"].get("labels") or {}).items()
