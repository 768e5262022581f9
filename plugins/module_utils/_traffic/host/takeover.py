# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of other people that say a host's routes: refused, taken over with their routes, or replaced."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..._engine.objects import Object, ref_of
from ..._failure import Failure, InvalidOption
from . import foreign_routes
from .external_owners import managers_of, owner_of
from .host import GATEWAY, ISTIO, MESH, Host, full_name, host_names

# All that a VirtualService of ours says.
FIELDS = {"hosts", "gateways", "http"}


@dataclass(frozen=True)
class Takeover:
    """What becomes of such an object: with neither it is refused.

    adopt  its routes become routes of others in ours, where only these tools wrote it
    force  it is deleted
    """

    adopt: bool = False
    force: bool = False
    tools: frozenset[str] = frozenset()

    @staticmethod
    def of(options: dict[str, Any], manager: str) -> Takeover:
        """By the options of all that writes. manager: our own name, which an object may have that lost its marks."""
        return Takeover(options["adopt"], options["force_conflicts"], frozenset(options["adopt_from"]) | {manager})

    def adopted(self, host: Host) -> list[Object]:
        """Those whose routes go on in ours."""
        return host.foreign_routes if self.adopt and not self.force else []

    def gone(self, host: Host, api: str) -> list[Object]:
        """Those that go; one of the name of ours is written over."""
        over = self._over(host, api)
        return [obj for obj in host.foreign_routes if obj not in over] if self.adopt or self.force else []

    def managers(self, host: Host, api: str) -> frozenset[str]:
        """Owners of fields of those that are written over: what they set and nobody wants must not stay."""
        return frozenset(manager for obj in self._over(host, api) for manager in managers_of(obj)) if self.force else frozenset()

    def _over(self, host: Host, api: str) -> list[Object]:
        """Those of the kind and name of ours: of Gateway API one for the mesh has the host's name, one for a gateway that and the gateway's."""
        kind = "VirtualService" if api == ISTIO else "HTTPRoute"
        named = [obj for obj in host.foreign_routes if obj["kind"] == kind and obj["metadata"]["namespace"] == host.namespace]
        return [
            obj
            for obj in named
            if obj["metadata"]["name"] == host.object_name or (api == GATEWAY and obj["metadata"]["name"].startswith(f"{host.object_name}."))
        ]

    def warnings(self, host: Host) -> list[str]:
        return [f"{owner} manages {ref_of(obj)} and may create it again" for obj in host.foreign_routes if self.force and (owner := owner_of(obj))]

    def refusals(self, host: Host, api: str, hosts: list[str], gateways: list[str]) -> list[Failure]:
        """hosts, gateways: of the object of ours that would take its place."""
        found: list[Failure] = []
        for obj in host.foreign_routes:
            reason = self._against(obj, host, api, hosts, gateways)
            if reason is None:
                continue
            owner = owner_of(obj)
            message = (
                f"{ref_of(obj)} already has routes for {host.full_name}" + (f", and {owner} manages it" if owner else "") + (f": {reason}" if reason else "")
            )
            hint = "The routes of a service can have only one owner. Change them in that object, or set force_conflicts to replace it" + (
                "." if owner or reason else ", or adopt to keep its routes behind yours."
            )
            found.append(InvalidOption("service", message, ref=ref_of(obj).as_result("v1"), hint=hint, code="host_taken"))
        return found

    def _against(self, obj: Object, live: Host, api: str, hosts: list[str], gateways: list[str]) -> str | None:
        """Why it stays as it is; None where it does not."""
        more = sorted(host_names(obj) - {full_name(host, live.namespace) for host in hosts})
        if more and (self.adopt or self.force):
            return f"it also applies to {', '.join(more)}"
        beyond = sorted(_places(obj) - set(gateways))
        if self.force:
            return f"it also applies to {', '.join(beyond)}" if beyond else None
        if not self.adopt:
            return ""
        if api != ISTIO or obj["kind"] != "VirtualService":
            return "adopt supports only a VirtualService"
        spec = obj["spec"]
        others = sorted(managers_of(obj) - self.tools)
        if owner_of(obj):
            return "its owner would revert an adoption"
        if others:
            return f"adopt_from does not contain its managers {', '.join(others)}"
        if obj["metadata"]["namespace"] != live.namespace:
            return "it is in another namespace"
        if _places(obj) != set(gateways):
            return f"it applies to {', '.join(sorted(_places(obj)))}, not to {', '.join(gateways)}"
        if set(spec) - FIELDS:
            return f"it also sets {', '.join(sorted(set(spec) - FIELDS))}"
        return None


def shadowed_routes(wanted: list[dict[str, Any]], before: list[dict[str, Any]], host: str, force: bool) -> list[Failure]:
    """Routes that would get no request behind one that takes all: ours, and those of others that had some. before: routes of others that had none already."""
    found: list[Failure] = []
    for http in foreign_routes.shadowed(wanted):
        mine = foreign_routes.is_ours(http)
        if not mine and (force or http in before):
            continue
        name, whose = http.get("name") or "without a name", "of ours" if mine else "of another owner"
        taker = next(one for one in wanted if foreign_routes.takes_all(one)).get("name") or "without a name"
        hint = f"Remove the route {taker}, or move it to the end." if mine else "Add a match to your policy, or set force_conflicts."
        found.append(
            InvalidOption(
                "service", f"the route {taker} matches every request to {host}, so the route {name} {whose} gets none", hint=hint, code="route_shadowed"
            )
        )
    return found


def _places(obj: Object) -> set[str]:
    """Where an object's routes hold: in every sidecar, or at gateways as NAMESPACE/NAME."""
    spec, own = obj.get("spec") or {}, obj["metadata"]["namespace"]
    if obj["kind"] == "VirtualService":
        return {name if name == MESH or "/" in name else f"{own}/{name}" for name in spec.get("gateways") or [MESH]}
    return {MESH if ref.get("kind") == "Service" else f"{ref.get('namespace') or own}/{ref['name']}" for ref in spec.get("parentRefs") or []}
