# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of one object, and how a call wants its objects treated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..objects import Object, Ref
from .applyset import NEVER_PRUNED_KINDS, ObjectSet

CREATED, CONFIGURED, RECREATED, UNCHANGED, PRUNED, FAILED = (
    "created",
    "configured",
    "recreated",
    "unchanged",
    "pruned",
    "failed",
)
# A copy of the whole object, a Secret's values included.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Written by servers at every change, or long and of no meaning to people.
HIDDEN_METADATA = (
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


@dataclass
class ObjectChange:
    """One object's part of a plan, and later what became of it."""

    ref: Ref
    version: str
    action: str
    wanted: Object | None = None
    live: Object | None = None
    planned: Object | None = None
    message: str = ""
    verified: bool = True
    conflicts: list[dict[str, str]] = field(default_factory=list)
    status: str = ""
    done: bool = False
    before: Object | None = None
    adopted: frozenset[str] = frozenset()
    # As Step has them.
    expected_version: str = ""
    preserve_foreign: bool = False

    def __post_init__(self) -> None:
        # `live` follows the object through the run; what the plan saw stays here.
        self.before = self.live

    @property
    def changes(self) -> bool:
        return self.action in (CREATED, CONFIGURED, RECREATED, PRUNED)

    @property
    def result(self) -> dict[str, str]:
        return self.ref.as_result(self.version)


def _none(_obj: Object) -> bool:
    return False


@dataclass(frozen=True)
class ApplyOptions:
    """How one call wants its objects treated.

    namespace         for namespaced objects that name none
    force             take fields from other managers
    adopt             tools whose fields become ours, as if we had created the object
    recreate          delete and create again what differs in a field that cannot be changed
    dry_run_all       ask the server about every object, also where the comparison of managed fields is sure
    ignore_managers   managers whose fields are left to them
    prune             delete members of the set that are not wanted any more
    kept              kinds that prune leaves alone
    keep              members that prune leaves alone, too
    prune_limit       prune stops before deleting more members than this, a number or a percentage such as 20%
    values_only       an object that has every wanted value, and none of ours that is not wanted, is left to its owners
    tolerate_missing  a missing kind or namespace may still come from an earlier task, and a conflict is reported, not
                      raised (check mode)
    """

    namespace: str | None = None
    force: bool = False
    adopt: frozenset[str] = frozenset()
    recreate: bool = False
    dry_run_all: bool = False
    ignore_managers: frozenset[str] = frozenset()
    set: ObjectSet | None = None
    prune: bool = False
    kept: frozenset[str] = frozenset(NEVER_PRUNED_KINDS)
    keep: Callable[[Object], bool] = _none
    prune_limit: str | None = None
    values_only: bool = False
    tolerate_missing: bool = False


def visible(obj: Object) -> Object:
    """The object less what servers write on their own."""
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in HIDDEN_METADATA}
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != LAST_APPLIED}
    if metadata.get("annotations") == {}:
        del metadata["annotations"]
    return {
        **{key: value for key, value in obj.items() if key not in ("status", "apiVersion", "kind")},
        "metadata": metadata,
    }
