# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of other people that say a host's routes: refused, taken over with their routes, or replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..._engine.objects import Object
from ..._failure import Failure, InvalidOption
from . import foreign_routes
from .host import MESH


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


def shadowed_routes(
    wanted: list[dict[str, Any]], before: list[dict[str, Any]], host: str, force: bool
) -> list[Failure]:
    """Routes that would get no request behind one that takes all: ours, and those of others that had some. before:
    routes of others that had none already.
    """
    found: list[Failure] = []
    for http in foreign_routes.shadowed(wanted):
        mine = foreign_routes.is_ours(http)
        if not mine and (force or http in before):
            continue
        name, whose = http.get("name") or "without a name", "of ours" if mine else "of another owner"
        taker = next(one for one in wanted if foreign_routes.takes_all(one)).get("name") or "without a name"
        hint = (
            f"Remove the route {taker}, or move it to the end."
            if mine
            else "Add a match to your policy, or set force_conflicts."
        )
        found.append(
            InvalidOption(
                "service",
                f"the route {taker} matches every request to {host}, so the route {name} {whose} gets none",
                hint=hint,
                code="route_shadowed",
            )
        )
    return found


def places_of(obj: Object) -> set[str]:
    """Where an object's routes hold: in every sidecar, or at gateways as NAMESPACE/NAME."""
    spec, own = obj.get("spec") or {}, obj["metadata"]["namespace"]
    if obj["kind"] == "VirtualService":
        return {name if name == MESH or "/" in name else f"{own}/{name}" for name in spec.get("gateways") or [MESH]}
    return {
        MESH if ref.get("kind") == "Service" else f"{ref.get('namespace') or own}/{ref['name']}"
        for ref in spec.get("parentRefs") or []
    }
