# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares what is wanted with what is there. The plan is the one value behind changed, diff, check mode and drift."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from .._cluster.api import ApiError
from .._failure import Failure, InvalidOption
from . import adopt, suggest
from .cluster import Cluster, unknown_kind
from .objects import Object, Ref, duplicates, group_version, ref_of
from .order import staged
from .owned import covers, matches, without_fields_of
from .sets import KEPT, NOTHING, Known, ObjectSet, allowed
from .steps import Barrier, Program, Step

CREATED, CONFIGURED, RECREATED, UNCHANGED, PRUNED, FAILED = "created", "configured", "recreated", "unchanged", "pruned", "failed"
NO_KIND = "its kind is not served yet, so the server did not verify it"
NO_NAMESPACE = "its namespace is not there yet, so the server did not verify it"
# More new objects than this are asked about once for each shape: their creation would say the same once more. In check mode all are asked about.
ASKED_ONE_BY_ONE = 50
# A copy of the whole object, a Secret's values included.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Written by servers at every change, or long and of no meaning to people.
HIDDEN_METADATA = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass
class Change:
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

    def __post_init__(self) -> None:
        # `live` follows the object through the run; what the plan saw stays here.
        self.before = self.live

    @property
    def changes(self) -> bool:
        return self.action in (CREATED, CONFIGURED, RECREATED, PRUNED)

    @property
    def result(self) -> dict[str, str]:
        return self.ref.as_result(self.version)


@dataclass
class PlannedStep:
    name: str
    stages: list[list[Change]]
    deletions: list[Change]
    ready: bool
    barrier: Barrier | None
    program: Program | None = None

    @property
    def changes(self) -> list[Change]:
        return [change for stage in self.stages for change in stage] + self.deletions


@dataclass
class Plan:
    steps: list[PlannedStep]
    asked: int = 0

    @property
    def changes(self) -> list[Change]:
        return [change for step in self.steps for change in step.changes]

    @property
    def conflicts(self) -> str:
        """Every field that another manager owns, in words."""
        return "; ".join(f"{c.ref} {x['field']} is owned by {x['manager']}" for c in self.changes for x in c.conflicts)

    @property
    def unverified(self) -> dict[str, list[Change]]:
        """Changes that the server could not verify, by the reason why."""
        reasons: dict[str, list[Change]] = {}
        for change in self.changes:
            if change.changes and not change.verified and change.message:
                reasons.setdefault(change.message, []).append(change)
        return reasons

    @property
    def empty(self) -> bool:
        return not any(change.changes for change in self.changes)


@dataclass(frozen=True)
class Rules:
    """How one call wants its objects treated.

    namespace   for namespaced objects that name none
    force       take fields from other managers
    adopt       tools whose fields become ours, as if we had made the object
    recreate    delete and make anew what differs in a field that cannot be changed
    ask_all     ask the server about every object, also where the comparison of lists is sure
    yield_to    managers whose fields are left to them
    prune       delete members of the set that are wanted no more
    kept        kinds that prune leaves alone
    prune_limit prune stops before deleting more members than this, a number or a share such as 20%
    lenient     a kind or namespace that is not there may still come from an earlier task, and a conflict is told, not raised (check mode)
    """

    namespace: str | None = None
    force: bool = False
    adopt: frozenset[str] = frozenset()
    recreate: bool = False
    ask_all: bool = False
    yield_to: frozenset[str] = frozenset()
    set: ObjectSet | None = None
    prune: bool = False
    kept: frozenset[str] = frozenset(KEPT)
    prune_limit: str | None = None
    lenient: bool = False


def plan(cluster: Cluster, steps: list[Step], rules: Rules) -> Plan:
    """Reads and dry runs only. Raises Failure "conflict", "unknown_kind", "invalid_object", "prune_limit", ..."""
    wanted_steps = [replace(step, objects=_placed(cluster, step.objects, _rules_of(step, rules))) for step in steps]
    records = [step.program.record() if step.program else None for step in wanted_steps]
    written = [_placed(cluster, record.written, _rules_of(step, rules)) if record else [] for step, record in zip(wanted_steps, records)]
    everything = [obj for step in wanted_steps for obj in step.objects]
    last = {ref_of(obj): obj for obj in everything}
    for step in wanted_steps:
        twice = duplicates(step.objects)
        if twice:
            raise InvalidOption("definition", f"{twice[0]} is there twice", ref=twice[0].as_result())
    live = cluster.live(everything + [obj for step in steps for obj in step.deleted] + [obj for objects in written for obj in objects])
    coming = Coming.of(everything, live, check_all=rules.lenient or rules.ask_all)
    parent = rules.set.live_parent(cluster) if rules.set else None
    members, unlisted = _members(cluster, rules, parent)

    result = Plan([])
    for step, record, earlier in zip(wanted_steps, records, written):
        if step.program:
            step.program.check([live[ref_of(obj)] for obj in step.objects if ref_of(obj) in live])
        judged = cluster.each(_judge_of(cluster, step, live, coming, rules, earlier), step.objects)
        by_ref = {change.ref: change for change, _asked in judged}
        result.asked += sum(asked for _change, asked in judged)
        stages = [[by_ref[ref_of(obj)] for obj in stage] for stage in staged(step.objects)]
        left = [obj for obj in earlier if ref_of(obj) not in last]
        deletions = [_deletion(live[ref_of(obj)]) for obj in [*step.deleted, *left] if ref_of(obj) in live]
        planned = PlannedStep(step.name, stages, deletions, step.ready, step.barrier, step.program)
        if record and record.receipt and (not record.fits or any(change.changes for change in planned.changes)):
            stages.append([Change(ref_of(record.receipt), "v1", CREATED, record.receipt, None, record.receipt)])
        result.steps.append(planned)
    if not rules.lenient:
        _refuse_conflicts(result)
    # By the set that they belong to where that is not the call's own; None for what a program keeps.
    shared: dict[ObjectSet | None, set[Ref]] = {}
    for step in wanted_steps:
        if step.program:
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
        _add_set(cluster, result, replace(rules, set=other, prune=False), its_parent, [], refs, refs, other.known(its_parent))
    return result


def _rules_of(step: Step, rules: Rules) -> Rules:
    if step.program:
        return replace(rules, set=None, namespace=step.program.namespace)
    return replace(rules, set=step.set or rules.set)


def _members(cluster: Cluster, rules: Rules, parent: Object | None) -> tuple[list[Object], Known]:
    """(the set's live members, where there may be more that may not be listed). Raises Failure "forbidden" where they must be known."""
    if rules.set is None:
        return [], NOTHING
    try:
        return rules.set.members(cluster, parent), NOTHING
    except ApiError as error:
        if error.status != 403:
            raise
        if rules.prune:
            hint = "To prune, the account must be allowed to list every kind of the set. Grant that, or set prune to false."
            raise Failure("forbidden", f"set: the members of {rules.set.name} cannot be listed: {error.message}", reason=error.reason, hint=hint) from error
        return [], rules.set.known(parent)


def plan_removal(
    cluster: Cluster,
    objects: list[Object],
    object_set: ObjectSet | None = None,
    namespace: str | None = None,
    kept: frozenset[str] = frozenset(KEPT),
    spared: frozenset[Ref] = frozenset(),
) -> Plan:
    """A plan of deletions: the objects by name, and the members of a set, less the spared ones, with its parent. Reverse order of creation."""
    live = list(cluster.live(_placed(cluster, objects, Rules(namespace=namespace))).values())
    if object_set:
        parent = object_set.live_parent(cluster)
        known = {ref_of(obj) for obj in live} | spared
        live += [m for m in object_set.members(cluster, parent) if ref_of(m) not in known and m["kind"] not in kept]
        live = [obj for obj in live if parent is None or ref_of(obj) != ref_of(parent)]
    steps = [PlannedStep("remove", [], [_deletion(obj) for obj in reversed_stage], False, None) for reversed_stage in reversed(staged(live))]
    if object_set and parent:
        # Last of all: while a member is left, the set must be known.
        steps.append(PlannedStep("set", [], [_deletion(parent)], False, None))
    return Plan(steps)


def _placed(cluster: Cluster, objects: list[Object], rules: Rules) -> list[Object]:
    placed = []
    for obj in objects:
        resource = cluster.resource_of(obj)
        wanted = cluster.placed(obj, rules.namespace)
        namespace = wanted["metadata"].get("namespace")
        if resource and resource.namespaced and not namespace:
            raise InvalidOption("namespace", f"{ref_of(wanted)} names no namespace, and there is no default", ref=ref_of(wanted).as_result())
        if resource and not resource.namespaced and namespace:
            hint = "Remove metadata.namespace."
            raise InvalidOption("definition", f"{ref_of(wanted)} names a namespace, but its kind belongs to the whole cluster", ref=ref_of(wanted).as_result(), hint=hint, code="wrong_scope")
        placed.append(rules.set.member(wanted) if rules.set else wanted)
    return placed


@dataclass(frozen=True)
class Coming:
    """What this very plan creates.

    namespaces, kinds  not there yet, so that objects in them cannot be verified
    alike              new objects that another new one, of the same shape, speaks for
    """

    namespaces: frozenset[str]
    kinds: frozenset[tuple[str, str]]
    alike: frozenset[Ref]

    @staticmethod
    def of(objects: list[Object], live: dict[Ref, Object], check_all: bool) -> Coming:
        namespaces = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace" and ref_of(o) not in live}
        kinds = {defined for o in objects if o["kind"] == "CustomResourceDefinition" and (defined := _defined(o))}
        new = [obj for obj in objects if ref_of(obj) not in live]
        return Coming(frozenset(namespaces), frozenset(kinds), frozenset() if check_all or len(new) <= ASKED_ONE_BY_ONE else _alike(new))


def _defined(definition: Object) -> tuple[str, str] | None:
    """(group, kind) of a CustomResourceDefinition; None for one that the server will refuse."""
    spec = definition.get("spec")
    names = spec.get("names") if isinstance(spec, dict) else None
    return (str(spec.get("group")), str(names.get("kind"))) if isinstance(names, dict) else None


def _alike(objects: list[Object]) -> frozenset[Ref]:
    """Objects whose kind, namespace and fields are those of an earlier one."""
    seen: set[Any] = set()
    found = []
    for obj in objects:
        ref = ref_of(obj)
        key = (ref.group, ref.kind, ref.namespace, frozenset(_fields(obj)))
        if key in seen:
            found.append(ref)
        seen.add(key)
    return frozenset(found)


def _fields(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all fields, with the types of their values."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _fields(item, (*path, str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from _fields(item, (*path, "[]"))
    else:
        yield (*path, type(value).__name__)


def _judge_of(cluster: Cluster, step: Step, live: dict[Ref, Object], coming: Coming, rules: Rules, earlier: list[Object]) -> Callable[[Object], tuple[Change, int]]:
    """The judge of a step's objects. earlier: what its program wrote at its last run."""
    if step.program is None:
        return lambda obj: _judge(cluster, obj, live.get(ref_of(obj)), coming, rules)
    writer = cluster.with_manager(step.program.manager)
    known = {ref_of(obj): obj for obj in earlier}
    return lambda obj: _judge_values(writer, obj, live.get(ref_of(obj)), coming, replace(rules, adopt=rules.adopt | {cluster.manager}), known.get(ref_of(obj)))


def _judge_values(cluster: Cluster, wanted: Object, live: Object | None, coming: Coming, rules: Rules, earlier: Object | None) -> tuple[Change, int]:
    """As _judge, for what a program will write, under its name: an object is unchanged where all values are there, whoever owns them."""
    if live is None or live["metadata"].get("deletionTimestamp"):
        return _judge(cluster, wanted, live, coming, rules)
    wanted = without_fields_of(wanted, live, rules.yield_to)
    dropped = without_dropped(live, earlier, wanted)
    if not rules.ask_all and dropped == live and covers(live, wanted):
        return Change(ref_of(wanted), group_version(wanted)[1], UNCHANGED, wanted, live, live), 0
    change, asked = _ask(cluster, wanted, live, replace(rules, force=False, lenient=False)), 1
    # A program that has changed from updating to applying conflicts with itself: that is no news.
    conflicts = [conflict for conflict in change.conflicts if conflict["manager"] != cluster.manager and conflict["manager"] not in rules.adopt]
    if change.conflicts:
        if conflicts and not rules.force and not rules.lenient:
            change.conflicts = conflicts
            return change, asked
        change, asked = _ask(cluster, wanted, live, replace(rules, force=True)), 2
        change.conflicts = [] if rules.force else conflicts
    if change.planned is not None:
        change.planned = without_dropped(change.planned, earlier, wanted)
        if change.action == CONFIGURED and visible(change.planned) == visible(live):
            change.action = UNCHANGED
    return change, asked


def without_dropped(obj: Any, earlier: Any, wanted: Any) -> Any:
    """The object less the fields that the program's last run set to what they are, and that it sets no more."""
    if not (isinstance(obj, dict) and isinstance(earlier, dict) and isinstance(wanted, dict)):
        return obj
    kept = {}
    for key, value in obj.items():
        if key not in wanted and key in earlier and earlier[key] == value:
            continue
        kept[key] = without_dropped(value, earlier.get(key), wanted.get(key))
    return kept


def _judge(cluster: Cluster, wanted: Object, live: Object | None, coming: Coming, rules: Rules) -> tuple[Change, int]:
    """(change, dry runs asked). Only "unchanged" may be said without the server."""
    ref, version = ref_of(wanted), group_version(wanted)[1]
    if live is not None:
        wanted = without_fields_of(wanted, live, rules.yield_to)
        if live["metadata"].get("deletionTimestamp"):
            raise Failure("terminating", f"{ref} is being deleted", ref=ref.as_result(version), hint="Wait until it is gone, then run again.")
        if rules.adopt and adopt.owners(live, rules.adopt):
            return _adoption(cluster, wanted, live, rules)
        if not rules.ask_all and matches(wanted, live, cluster.manager):
            return Change(ref, version, UNCHANGED, wanted, live, live), 0
    if cluster.resource_of(wanted) is None:
        if rules.lenient or (ref.group, ref.kind) in coming.kinds:
            return Change(ref, version, CREATED, wanted, message=NO_KIND, verified=False), 0
        raise unknown_kind(wanted)
    if ref.namespace in coming.namespaces:
        return Change(ref, version, CREATED, wanted, message=NO_NAMESPACE, verified=False), 0
    if ref in coming.alike:
        return Change(ref, version, CREATED, wanted, None, wanted, verified=False), 0
    return _ask(cluster, wanted, live, rules), 1


def _adoption(cluster: Cluster, wanted: Object, live: Object, rules: Rules) -> tuple[Change, int]:
    """The object under its new owner. What only the old ones set, and nobody wants, goes with them."""
    asked = 1
    change = _ask(cluster, wanted, live, rules)
    if change.conflicts:
        change.conflicts = [conflict for conflict in change.conflicts if conflict["manager"] not in rules.adopt]
        if change.conflicts:
            return change, asked
        asked += 1
        change = _ask(cluster, wanted, live, replace(rules, force=True))
    if change.action == RECREATED:
        return change, asked
    probe = {**wanted, "metadata": {**wanted["metadata"], "name": f"{wanted['metadata']['name'][:50]}-adopt"}}
    try:
        fresh = cluster.apply(probe, dry_run=True)
    except ApiError:
        # A kind whose name is bound to its content cannot be tried under another: then every lost field is shown as it is.
        fresh = change.planned or live
    planned = adopt.predicted(change.planned or live, live, fresh, cluster.manager, rules.adopt)
    message = f"adopted from {', '.join(adopt.owners(live, rules.adopt))}" + ("" if visible(planned) != visible(live) else "; no value changes")
    return Change(change.ref, change.version, CONFIGURED, wanted, live, planned, message=message, adopted=rules.adopt), asked + 1


def _ask(cluster: Cluster, wanted: Object, live: Object | None, rules: Rules) -> Change:
    ref, version = ref_of(wanted), group_version(wanted)[1]
    try:
        answer = cluster.apply(wanted, force=rules.force, dry_run=True)
    except ApiError as error:
        if error.status == 409 and conflicts_of(error):
            if rules.lenient:
                # What taking the fields over would change is worth seeing, though a real run stops here.
                forced = cluster.apply(wanted, force=True, dry_run=True)
                return Change(ref, version, CONFIGURED, wanted, live, forced, conflicts=conflicts_of(error), message=error.message)
            return Change(ref, version, FAILED, wanted, live, conflicts=conflicts_of(error), message=error.message)
        if error.status == 404 and rules.lenient and live is None:
            return Change(ref, version, CREATED, wanted, message=NO_NAMESPACE, verified=False)
        if error.status == 500 and "failed calling webhook" in error.message:
            return Change(ref, version, CONFIGURED if live else CREATED, wanted, live, message="a webhook does not answer, so the server did not verify it", verified=False)
        failure = refusal(error, ref, version)
        if failure.code == "invalid_object":
            failure.hint = suggest.nearest(cluster, wanted, error.message) or failure.hint
        if failure.code == "immutable" and rules.recreate and ref.kind not in KEPT and live is not None:
            return Change(ref, version, RECREATED, wanted, live, wanted, message=f"deleted and made anew: {failure.reason}")
        raise failure from error
    if live is None:
        # Shown is what is asked for, not what the server adds to it.
        return Change(ref, version, CREATED, wanted, None, wanted)
    if visible(answer) != visible(live):
        return Change(ref, version, CONFIGURED, wanted, live, answer)
    if _ownership(answer, cluster.manager) != _ownership(live, cluster.manager):
        return Change(ref, version, CONFIGURED, wanted, live, answer, message="takes ownership of fields; no value changes")
    return Change(ref, version, UNCHANGED, wanted, live, answer)


def visible(obj: Object) -> Object:
    """The object less what servers write on their own."""
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in HIDDEN_METADATA}
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != LAST_APPLIED}
    if metadata.get("annotations") == {}:
        del metadata["annotations"]
    return {**{key: value for key, value in obj.items() if key not in ("status", "apiVersion", "kind")}, "metadata": metadata}


def _ownership(obj: Object, manager: str) -> Any:
    return [e.get("fieldsV1") for e in obj["metadata"].get("managedFields") or [] if e.get("manager") == manager and e.get("operation") == "Apply"]


def conflicts_of(error: ApiError) -> list[dict[str, str]]:
    """[{field, manager}] of a server-side apply conflict; empty for any other 409."""
    found = []
    for cause in error.causes:
        if cause.get("reason") == "FieldManagerConflict":
            message = str(cause.get("message", ""))
            manager = message.split('"')[1] if message.count('"') >= 2 else message
            found.append({"field": str(cause.get("field", "")), "manager": manager})
    return found


def refusal(error: ApiError, ref: Ref, version: str = "") -> Failure:
    """The server's no, by kind of no."""
    text = error.message
    if error.status in (0, 429, 503, 504):
        code, hint = "unreachable", "Check that the cluster answers, then run again: nothing is lost."
    elif error.status == 401:
        code, hint = "unauthorized", "Check the credentials of the kubeconfig or the token."
    elif error.status == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
        code, hint = "terminating", "Wait until the namespace is gone, then run again."
    elif error.status == 403:
        code, hint = "forbidden", "Grant the verb that the reason names."
    elif error.status == 404:
        code, hint = "namespace_missing", "Create the namespace first, or add it to the objects."
    elif error.status == 422 and ("immutable" in text or "may not change once set" in text or "cannot change roleRef" in text):
        code, hint = "immutable", "This field cannot be changed on a live object. Set recreate to have the object deleted and made anew, or give the new one another name."
        text = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in error.causes) or text
    elif error.status == 500 and "failed calling webhook" in text:
        code, hint = "webhook", "The webhook's service does not answer; see whether its pods are Ready."
    elif error.status in (400, 422) or "typed patch object" in text:
        code, hint = "invalid_object", "Correct the field that the reason names."
    else:
        code, hint = "refused", ""
    reason = text if code == "immutable" else error.reason or text
    return Failure(code, f"{ref}: {text}", ref=ref.as_result(version), reason=reason, hint=hint)


def _refuse_conflicts(result: Plan) -> None:
    bad = [change for change in result.changes if change.conflicts]
    if not bad:
        return
    raise Failure(
        "conflict",
        f"Fields are owned by others: {result.conflicts}.",
        ref=bad[0].result,
        reason=bad[0].message,
        hint="Leave these fields out, change them where their owner takes them from, or set force_conflicts to take them over.",
    )


def _deletion(obj: Object) -> Change:
    return Change(ref_of(obj), group_version(obj)[1], PRUNED, live=obj)


def _add_set(cluster: Cluster, result: Plan, rules: Rules, parent: Object | None, members: list[Object], wanted: set[Ref], elsewhere: set[Ref], unlisted: Known) -> None:
    """The set's parent first (old and new kinds), the pruned members and the parent as it ends last.

    elsewhere  all that the plan wants, also in other sets: a member among it moves, and is not pruned
    """
    assert rules.set is not None
    left = [obj for obj in members if ref_of(obj) not in elsewhere and obj["kind"] not in rules.kept]
    doomed = left if rules.prune else []
    if rules.prune_limit is not None and len(doomed) > allowed(rules.prune_limit, len(members)):
        names = ", ".join(str(ref_of(obj)) for obj in doomed)
        raise Failure("prune_limit", f"prune would delete {len(doomed)} objects of {len(members)}, more than prune_limit {rules.prune_limit}: {names}", hint="Check the list, then raise prune_limit.")
    stays = wanted | {ref_of(obj) for obj in members if obj not in doomed and ref_of(obj) not in elsewhere}
    before = cluster_parent(rules.set, stays | {ref_of(obj) for obj in members}, parent, cluster, unlisted)
    if before:
        _insert_parent(result, before)
    if doomed:
        for stage in reversed(staged(doomed)):
            result.steps.append(PlannedStep("prune", [], [_deletion(obj) for obj in stage], False, None))
    if doomed or any(ref_of(obj) not in stays for obj in members):
        after = rules.set.parent(stays)
        if before is None or after != before.wanted:
            ref = ref_of(after)
            result.steps.append(PlannedStep("set", [[Change(ref, "v1", CONFIGURED, after, parent, after)]], [], False, None))


def cluster_parent(object_set: ObjectSet, refs: set[Ref], live: Object | None, cluster: Cluster, unlisted: Known) -> Change | None:
    wanted = object_set.parent(refs, unlisted)
    if live is not None and matches(wanted, live, cluster.manager):
        return None
    return Change(ref_of(wanted), "v1", CREATED if live is None else CONFIGURED, wanted, live, wanted)


def _insert_parent(result: Plan, change: Change) -> None:
    """Right after the namespaces, so that an interrupted run leaves no member that the set does not know."""
    for step in result.steps:
        if step.stages and step.stages[0][0].ref.kind == "Namespace":
            step.stages.insert(1, [change])
            return
    result.steps.insert(0, PlannedStep("set", [[change]], [], False, None))
