# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module wants: ordered steps of objects, and what must hold between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Protocol

from .objects import Object, Ref

if TYPE_CHECKING:
    from .cluster import Cluster
    from .planning.applyset import ObjectSet
    from .waiting.deadline import Deadline


@dataclass(frozen=True)
class Barrier:
    """A named condition that must hold before the next step. The engine knows that there is one, not what it means.

    hold(cluster, deadline) returns a sentence on what was seen; raises Failure when it cannot hold.
    """

    name: str
    hold: Callable[[Cluster, Deadline], str]


@dataclass(frozen=True)
class WriterRecord:
    """What a program did before.

    written  objects of its last run; it will delete those that are wanted no more
    receipt  the object in which it will keep the next run
    fits     whether its last run was for just what is wanted now
    """

    written: list[Object]
    receipt: Object | None
    fits: bool


class ExternalWriter(Protocol):
    """What writes a step's objects in the engine's place. The plan is still ours: values are compared, whoever owns
    them.

    namespace  for namespaced objects that name none
    manager    its name in managedFields
    """

    namespace: str
    manager: str

    def last_write(self) -> WriterRecord:
        """What it did at its last run."""

    def validate(self, live: list[Object]) -> None:
        """live: those of the step's objects that are there. Raises Failure where the program would refuse to write
        them.
        """

    def write(self, cluster: Cluster, deadline: Deadline) -> None:
        """Called where the plan has something to do. Raises Failure."""


@dataclass(frozen=True)
class Step:
    """Objects that may be applied together.

    wait_ready         wait for the objects' own readiness before the next step
    barrier            a further condition, checked after `wait_ready`
    deleted            objects that are deleted in this step, after its objects were applied
    set                the set of its objects where that is not the call's own, for what several callers share: it only
                       grows here
    skip_dry_run       the objects come from a release, and no options are part of them: outside of check mode new ones
                       need no dry run
    writer             what writes and deletes the objects in place of the engine; they belong to no set
    expected_versions  resourceVersion of live objects that the objects were composed from: they are written only where
                       that is still theirs
    preserve_foreign   objects of `expected_versions` that contain what others wrote, so that its fields are taken over
    """

    name: str
    objects: list[Object] = field(default_factory=list)
    wait_ready: bool = False
    barrier: Barrier | None = None
    deleted: list[Object] = field(default_factory=list)
    set: ObjectSet | None = None
    skip_dry_run: bool = False
    writer: ExternalWriter | None = None
    expected_versions: dict[Ref, str] = field(default_factory=dict)
    preserve_foreign: frozenset[Ref] = frozenset()
