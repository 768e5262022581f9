# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mesh is checked for, and the versions that this concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from .._checks.check import Finding
from .._istio import version_skew
from .facts import Facts

INSTALL, RUNNING, UPGRADE = "install", "running", "upgrade"


@dataclass(frozen=True)
class Gate:
    """What the mesh is checked for.

    version     Istio's that is to be installed or upgraded to
    revision    the new control plane's; empty: in place
    namespaces  only proxies and workloads of these are judged; empty: all
    """

    phase: str = RUNNING
    namespace: str = "istio-system"
    version: str = ""
    revision: str = ""
    namespaces: tuple[str, ...] = ()

    @property
    def number(self) -> version_skew.Version | None:
        return version_skew.parse_version(self.version)

    def concerns(self, namespace: str) -> bool:
        return not self.namespaces or namespace in self.namespaces


class Unknown(Exception):
    """The check cannot be answered, for the reason in the message."""


Judge = Callable[[Facts, Gate], list[Finding]]


def versions_to_support(facts: Facts, gate: Gate) -> list[version_skew.Version]:
    """The versions that the cluster must bear: the one that comes, or else those that are there. Raises Unknown."""
    if gate.phase == RUNNING:
        if not facts.planes:
            raise Unknown("no control plane exists")
        return control_plane_versions(facts)
    if gate.number is None:
        raise Unknown("the option version is not set")
    return [gate.number]


def control_plane_versions(facts: Facts) -> list[version_skew.Version]:
    """The versions of all control planes, oldest first. Raises Unknown where one of them is not known."""
    unsaid = [plane for plane in facts.planes if plane["number"] is None]
    if unsaid:
        raise Unknown(f"the version of revision {unsaid[0]['revision']} is not known")
    return sorted({plane["number"] for plane in facts.planes})


def replaced_planes(facts: Facts, gate: Gate) -> list[dict[str, Any]]:
    """The control planes that an upgrade takes over from: the one in whose place the new one comes, or all beside which
    it comes.

    Each is a row of Facts.planes.
    """
    return planes_replaced_in_place(facts, gate) or facts.planes


def planes_replaced_in_place(facts: Facts, gate: Gate) -> list[dict[str, Any]]:
    """The control plane that is replaced; empty where a new revision comes beside what is there."""
    return [plane for plane in facts.planes if plane["revision"] == (gate.revision or "default")]


def allowed_skew(facts: Facts, gate: Gate) -> version_skew.Skew:
    """How far an upgrade may go at once."""
    return (
        version_skew.BY_REVISION
        if gate.revision and not planes_replaced_in_place(facts, gate)
        else version_skew.IN_PLACE
    )
