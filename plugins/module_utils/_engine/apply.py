# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries a plan out: stage by stage, side by side inside a stage, with what must hold in between."""

from __future__ import annotations

import time

from .._cluster.api import ApiError
from .._failure import Failure, not_none
from .cluster import Cluster
from .objects import Object
from .planning import adopt
from .planning.api_errors import conflicts_of, failure_of
from .planning.change import FAILED, PRUNED, RECREATED, ObjectChange
from .planning.plan import Plan, PlannedStep
from .waiting import wait
from .waiting.deadline import Deadline

# An established definition is served a moment later (0.08 s were seen); a lost race is no missing kind.
SERVED_WITHIN = 15.0


def apply(cluster: Cluster, plan: Plan, force: bool, deadline: Deadline, said: list[str]) -> None:
    """Adds to `said` what barriers return. Raises Failure; every ObjectChange has its outcome, also then."""
    for step in plan.steps:
        if step.writer:
            _by_program(cluster, step, deadline)
        else:
            for stage in step.stages:
                doomed = [change for change in stage if change.action == RECREATED]
                _remove(cluster, doomed)
                wait.until_gone(cluster, [change.ref for change in doomed], deadline)
                _apply_stage(cluster, [change for change in stage if change.changes], force, deadline)
        if step.wait_ready and not plan.empty:
            wait.until_current(cluster, [c for stage in step.stages for c in stage], deadline)
        if step.barrier and not plan.empty:
            said.append(step.barrier.hold(cluster, deadline))
        if not step.writer:
            _remove(cluster, [change for change in step.deletions if change.action == PRUNED])


def _by_program(cluster: Cluster, step: PlannedStep, deadline: Deadline) -> None:
    """What was done is told by what is there afterwards, also where the program failed half way."""
    changes = [change for change in step.changes if change.changes]
    if not changes:
        return
    before = {change.ref: _version(change.live) for change in changes}
    try:
        not_none(step.writer).write(cluster, deadline)
    finally:
        live = cluster.live([change.wanted or change.live or {} for change in changes])
        for change in changes:
            change.live = live.get(change.ref, change.live)
            change.done = _version(live.get(change.ref)) != before[change.ref]
    if any(change.ref.kind == "CustomResourceDefinition" for change in changes):
        cluster.resources.refresh()


def _version(obj: Object | None) -> tuple[str, str]:
    metadata = (obj or {}).get("metadata") or {}
    return metadata.get("uid", ""), metadata.get("resourceVersion", "")


def _apply_stage(cluster: Cluster, changes: list[ObjectChange], force: bool, deadline: Deadline) -> None:
    cluster.each(lambda change: _apply_one(cluster, change, force), changes)
    if any(change.ref.kind == "CustomResourceDefinition" for change in changes):
        wait.until_current(cluster, changes, deadline)
        cluster.resources.refresh()


def _apply_one(cluster: Cluster, change: ObjectChange, force: bool) -> None:
    give_up = time.monotonic() + SERVED_WITHIN
    while True:
        try:
            if change.adopted:
                _adopt(cluster, change)
            change.live = cluster.apply(_as_seen(change), force=force or change.preserve_foreign)
            change.done = True
            return
        except ApiError as error:
            if error.absent and not change.verified and time.monotonic() < give_up:
                time.sleep(0.1)
                continue
            change.action, change.message, change.conflicts = FAILED, error.message, conflicts_of(error)
            raise failure_of(error, change.ref, change.version) from error
        except Failure as failure:
            if failure.code == "unknown_kind" and time.monotonic() < give_up:
                time.sleep(0.1)
                cluster.resources.refresh()
                continue
            change.action, change.message = FAILED, failure.message
            raise


def _as_seen(change: ObjectChange) -> Object:
    """With a resourceVersion the server refuses where the live one is another."""
    wanted = not_none(change.wanted)
    return (
        {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": change.expected_version}}
        if change.expected_version
        else wanted
    )


def _adopt(cluster: Cluster, change: ObjectChange) -> None:
    """Moves the fields to us. An object that its controllers keep writing to is read again, a few times."""
    wanted, live, tools = not_none(change.wanted), not_none(change.live), change.adopted
    change.live = adopt.retry_on_conflict(
        cluster, live, lambda obj: adopt.migrate(cluster, obj, wanted, tools) if adopt.owners(obj, tools) else obj
    )
    # The move was under the live version itself, and has made another.
    change.adopted, change.expected_version = frozenset(), ""


def _remove(cluster: Cluster, changes: list[ObjectChange]) -> None:
    def one(change: ObjectChange) -> None:
        try:
            cluster.delete(not_none(change.live))
            change.done = True
        except ApiError as error:
            change.action, change.message = FAILED, error.message
            raise failure_of(error, change.ref, change.version) from error

    cluster.each(one, changes)
