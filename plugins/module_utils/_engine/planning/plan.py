# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares what is wanted with what is there. The plan is the one value behind changed, diff, check mode and drift."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..._cluster.api import ApiError
from ..._failure import Failure, InvalidOption, not_none
from ..cluster import Cluster
from ..objects import Object, Ref, duplicates, group_version, ref_of
from ..steps import Barrier, ExternalWriter, Step
from .api_errors import OWNED_BY_OTHERS
from .applyset import EMPTY, NEVER_PRUNED_KINDS, MemberScope, ObjectSet, prune_allowance
from .change import CONFIGURED, CREATED, PRUNED, ApplyOptions, ObjectChange
from .diff import PlannedCreations, comparison_of
from .managed_fields import owns_exactly
from .stages import staged


@dataclass
class PlannedStep:
    name: str
    stages: list[list[ObjectChange]]
    deletions: list[ObjectChange]
    wait_ready: bool
    barrier: Barrier | None
    writer: ExternalWriter | None = None

    @property
    def applied(self) -> list[ObjectChange]:
        """What is applied, or unchanged."""
        return [change for stage in self.stages for change in stage]

    @property
    def changes(self) -> list[ObjectChange]:
        return [*self.applied, *self.deletions]


@dataclass
class Plan:
    steps: list[PlannedStep]
    dry_runs: int = 0

    @property
    def changes(self) -> list[ObjectChange]:
        return [change for step in self.steps for change in step.changes]

    @property
    def conflicts(self) -> str:
        """Every field that another manager owns, in words."""
        return "; ".join(f"{c.ref} {x['field']} is owned by {x['manager']}" for c in self.changes for x in c.conflicts)

    @property
    def unverified(self) -> dict[str, list[ObjectChange]]:
        """Changes that the server could not verify, by the reason why."""
        reasons: dict[str, list[ObjectChange]] = {}
        for change in self.changes:
            if change.changes and not change.verified and change.message:
                reasons.setdefault(change.message, []).append(change)
        return reasons

    @property
    def empty(self) -> bool:
        return not any(change.changes for change in self.changes)


def plan(cluster: Cluster, steps: list[Step], rules: ApplyOptions) -> Plan:
    """Reads and dry runs only. Raises Failure "conflict", "unknown_kind", "invalid_object", "prune_limit", ..."""
    wanted_steps = [replace(step, objects=_placed(cluster, step.objects, _rules_of(step, rules))) for step in steps]
    records = [step.writer.last_write() if step.writer else None for step in wanted_steps]
    written = [
        _placed(cluster, record.written, _rules_of(step, rules)) if record else []
        for step, record in zip(wanted_steps, records)
    ]
    everything = [obj for step in wanted_steps for obj in step.objects]
    last = {ref_of(obj): obj for obj in everything}
    for step in wanted_steps:
        twice = duplicates(step.objects)
        if twice:
            raise InvalidOption("definition", f"duplicate object {twice[0]}", ref=twice[0].as_result())
    live = cluster.live(
        everything + [obj for step in steps for obj in step.deleted] + [obj for objects in written for obj in objects]
    )
    coming = PlannedCreations.of(
        everything,
        live,
        check_all=rules.tolerate_missing or rules.dry_run_all,
        known=[obj for step in wanted_steps if step.skip_dry_run for obj in step.objects],
    )
    parent = rules.set.live_parent(cluster) if rules.set else None
    members, unlisted = _members(cluster, rules, parent)

    result = Plan([])
    for step, record, earlier in zip(wanted_steps, records, written):
        if step.writer:
            step.writer.validate([live[ref_of(obj)] for obj in step.objects if ref_of(obj) in live])
        judged = cluster.each(comparison_of(cluster, step, live, coming, rules, earlier), step.objects)
        by_ref = {change.ref: change for change, _asked in judged}
        for ref, change in by_ref.items():
            change.expected_version, change.preserve_foreign = (
                step.expected_versions.get(ref, ""),
                ref in step.preserve_foreign,
            )
        result.dry_runs += sum(asked for _change, asked in judged)
        stages = [[by_ref[ref_of(obj)] for obj in stage] for stage in staged(step.objects)]
        left = [obj for obj in earlier if ref_of(obj) not in last]
        deletions = [_deletion(live[ref_of(obj)]) for obj in [*step.deleted, *left] if ref_of(obj) in live]
        planned = PlannedStep(step.name, stages, deletions, step.wait_ready, step.barrier, step.writer)
        if record and record.receipt and (not record.fits or any(change.changes for change in planned.changes)):
            stages.append([ObjectChange(ref_of(record.receipt), "v1", CREATED, record.receipt, None, record.receipt)])
        result.steps.append(planned)
    if not rules.tolerate_missing:
        _refuse_conflicts(result)
    # By the set that they belong to where that is not the call's own; None for what a program keeps.
    shared: dict[ObjectSet | None, set[Ref]] = {}
    for step in wanted_steps:
        if step.writer:
            shared.setdefault(None, set()).update(map(ref_of, step.objects))
        elif step.set:
            shared.setdefault(step.set, set()).update(map(ref_of, step.objects))
    if rules.set:
        own = set(last).difference(*shared.values())
        _add_set(cluster, result, rules, parent, members, own, set(last), unlisted)
    for other, refs in shared.items():
        if other is None:
            continue
        its_parent = other.live_parent(cluster)
        _add_set(
            cluster, result, replace(rules, set=other, prune=False), its_parent, [], refs, refs, other.known(its_parent)
        )
    return result


def _rules_of(step: Step, rules: ApplyOptions) -> ApplyOptions:
    if step.writer:
        return replace(rules, set=None, namespace=step.writer.namespace)
    return replace(rules, set=step.set or rules.set)


def _members(cluster: Cluster, rules: ApplyOptions, parent: Object | None) -> tuple[list[Object], MemberScope]:
    """(the set's live members, where there may be more that may not be listed). Raises Failure "forbidden" where they
    must be known.
    """
    if rules.set is None:
        return [], EMPTY
    try:
        return rules.set.members(cluster, parent), EMPTY
    except ApiError as error:
        if error.status != 403:
            raise
        if rules.prune:
            hint = "Allow the account to list every kind of the set, or set prune to false."
            raise Failure(
                "forbidden",
                f"set: cannot list the members of {rules.set.name}: {error.message}",
                reason=error.reason,
                hint=hint,
            ) from error
        return [], rules.set.known(parent)


def plan_removal(
    cluster: Cluster,
    objects: list[Object],
    object_set: ObjectSet | None = None,
    namespace: str | None = None,
    kept: frozenset[str] = frozenset(NEVER_PRUNED_KINDS),
    spared: frozenset[Ref] = frozenset(),
) -> Plan:
    """A plan of deletions: the objects by name, and the members of a set, less the spared ones, with its parent.
    Reverse order of creation.
    """
    live = list(cluster.live(_placed(cluster, objects, ApplyOptions(namespace=namespace))).values())
    if object_set:
        parent = object_set.live_parent(cluster)
        known = {ref_of(obj) for obj in live} | spared
        live += [m for m in object_set.members(cluster, parent) if ref_of(m) not in known and m["kind"] not in kept]
        live = [obj for obj in live if parent is None or ref_of(obj) != ref_of(parent)]
    steps = [
        PlannedStep("remove", [], [_deletion(obj) for obj in reversed_stage], False, None)
        for reversed_stage in reversed(staged(live))
    ]
    if object_set and parent:
        # Last of all: while a member is left, the set must be known.
        steps.append(PlannedStep("set", [], [_deletion(parent)], False, None))
    return Plan(steps)


def _placed(cluster: Cluster, objects: list[Object], rules: ApplyOptions) -> list[Object]:
    placed = []
    for obj in objects:
        resource = cluster.resource_of(obj)
        wanted = cluster.placed(obj, rules.namespace)
        namespace = wanted["metadata"].get("namespace")
        if resource and resource.namespaced and not namespace:
            raise InvalidOption(
                "namespace",
                f"{ref_of(wanted)} has no namespace, and no default namespace is set",
                ref=ref_of(wanted).as_result(),
            )
        if resource and not resource.namespaced and namespace:
            hint = "Remove metadata.namespace."
            raise InvalidOption(
                "definition",
                f"{ref_of(wanted)} has a namespace, but its kind is cluster-scoped",
                ref=ref_of(wanted).as_result(),
                hint=hint,
                code="wrong_scope",
            )
        placed.append(rules.set.member(wanted) if rules.set else wanted)
    return placed


def _refuse_conflicts(result: Plan) -> None:
    bad = [change for change in result.changes if change.conflicts]
    if not bad:
        return
    raise Failure(
        "conflict",
        f"Other managers own fields: {result.conflicts}.",
        ref=bad[0].result,
        reason=bad[0].message,
        hint=OWNED_BY_OTHERS,
    )


def _deletion(obj: Object) -> ObjectChange:
    return ObjectChange(ref_of(obj), group_version(obj)[1], PRUNED, live=obj)


def _add_set(
    cluster: Cluster,
    result: Plan,
    rules: ApplyOptions,
    parent: Object | None,
    members: list[Object],
    wanted: set[Ref],
    elsewhere: set[Ref],
    unlisted: MemberScope,
) -> None:
    """The set's parent first (old and new kinds), the pruned members and the parent as it ends last.

    elsewhere  all that the plan wants, also in other sets: a member among it moves, and is not pruned
    """
    left = [
        obj for obj in members if ref_of(obj) not in elsewhere and obj["kind"] not in rules.kept and not rules.keep(obj)
    ]
    doomed = left if rules.prune else []
    if rules.prune_limit is not None and len(doomed) > prune_allowance(rules.prune_limit, len(members)):
        names = ", ".join(str(ref_of(obj)) for obj in doomed)
        raise Failure(
            "prune_limit",
            (
                f"prune would delete {len(doomed)} of {len(members)} objects, more than prune_limit"
                f" {rules.prune_limit} allows: {names}"
            ),
            hint="Check the list, then increase prune_limit.",
        )
    stays = wanted | {ref_of(obj) for obj in members if obj not in doomed and ref_of(obj) not in elsewhere}
    own = not_none(rules.set)
    before = parent_change(own, stays | {ref_of(obj) for obj in members}, parent, cluster, unlisted)
    if before:
        _insert_parent(result, before)
    if doomed:
        for stage in reversed(staged(doomed)):
            result.steps.append(PlannedStep("prune", [], [_deletion(obj) for obj in stage], False, None))
    if doomed or any(ref_of(obj) not in stays for obj in members):
        after = own.parent(stays)
        ends = after == before.wanted if before else parent is not None and owns_exactly(after, parent, cluster.manager)
        if not ends:
            ref = ref_of(after)
            result.steps.append(
                PlannedStep("set", [[ObjectChange(ref, "v1", CONFIGURED, after, parent, after)]], [], False, None)
            )


def parent_change(
    object_set: ObjectSet, refs: set[Ref], live: Object | None, cluster: Cluster, unlisted: MemberScope
) -> ObjectChange | None:
    wanted = object_set.parent(refs, unlisted)
    if live is not None and owns_exactly(wanted, live, cluster.manager):
        return None
    return ObjectChange(ref_of(wanted), "v1", CREATED if live is None else CONFIGURED, wanted, live, wanted)


def _insert_parent(result: Plan, change: ObjectChange) -> None:
    """Right after the namespaces, so that an interrupted run leaves no member that the set does not know."""
    for step in result.steps:
        if step.stages and step.stages[0][0].ref.kind == "Namespace":
            step.stages.insert(1, [change])
            return
    result.steps.insert(0, PlannedStep("set", [[change]], [], False, None))
