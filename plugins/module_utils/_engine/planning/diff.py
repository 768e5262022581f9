# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object's verdict: unchanged where that is sure without the server, else what the server's dry run says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Callable

from ..._cluster.api import ApiError
from ..._failure import Failure
from ..cluster import Cluster, unknown_kind
from ..objects import Object, Ref, group_version, ref_of
from ..steps import Step
from . import adopt, field_suggestion
from .api_errors import conflicts_of, failure_of
from .applyset import NEVER_PRUNED_KINDS
from .change import CONFIGURED, CREATED, FAILED, RECREATED, UNCHANGED, ApplyOptions, ObjectChange, visible
from .managed_fields import has_values, owned_part, owns_exactly, without_fields_of

NO_KIND = "the cluster does not serve its kind yet, so the server did not verify it"
NO_NAMESPACE = "its namespace does not exist yet, so the server did not verify it"
# More new objects than this are asked about once for each shape: their creation would say the same once more. In
# check mode all are asked about.
ASKED_ONE_BY_ONE = 50


@dataclass(frozen=True)
class PlannedCreations:
    """What this very plan creates.

    namespaces, kinds  not there yet, so that objects in them cannot be verified
    same_shape              new objects that another new one, of the same shape, speaks for, or a release
    """

    namespaces: frozenset[str]
    kinds: frozenset[tuple[str, str]]
    same_shape: frozenset[Ref]

    @staticmethod
    def of(objects: list[Object], live: dict[Ref, Object], check_all: bool, known: list[Object]) -> PlannedCreations:
        namespaces = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace" and ref_of(o) not in live}
        kinds = {defined for o in objects if o["kind"] == "CustomResourceDefinition" and (defined := _defined(o))}
        new = [obj for obj in objects if ref_of(obj) not in live]
        alike = (
            frozenset()
            if check_all
            else frozenset(map(ref_of, known)).difference(live)
            | (_same_shape(new) if len(new) > ASKED_ONE_BY_ONE else frozenset())
        )
        return PlannedCreations(frozenset(namespaces), frozenset(kinds), alike)


def _defined(definition: Object) -> tuple[str, str] | None:
    """(group, kind) of a CustomResourceDefinition; None for one that the server will refuse."""
    spec = definition.get("spec")
    names = spec.get("names") if isinstance(spec, dict) else None
    return (
        (str(spec.get("group")), str(names.get("kind"))) if isinstance(spec, dict) and isinstance(names, dict) else None
    )


def _same_shape(objects: list[Object]) -> frozenset[Ref]:
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


def comparison_of(
    cluster: Cluster,
    step: Step,
    live: dict[Ref, Object],
    coming: PlannedCreations,
    rules: ApplyOptions,
    earlier: list[Object],
) -> Callable[[Object], tuple[ObjectChange, int]]:
    """The judge of a step's objects. earlier: what its program wrote at its last run."""
    if step.writer is None:
        forced = replace(rules, force=True)
        return lambda obj: _compare(
            cluster, obj, live.get(ref_of(obj)), coming, forced if ref_of(obj) in step.preserve_foreign else rules
        )
    writer = cluster.with_manager(step.writer.manager)
    known = {ref_of(obj): obj for obj in earlier}
    return lambda obj: _compare_values(
        writer,
        obj,
        live.get(ref_of(obj)),
        coming,
        replace(rules, adopt=rules.adopt | {cluster.manager}),
        known.get(ref_of(obj)),
    )


def _compare_values(
    cluster: Cluster,
    wanted: Object,
    live: Object | None,
    coming: PlannedCreations,
    rules: ApplyOptions,
    earlier: Object | None,
) -> tuple[ObjectChange, int]:
    """As _compare, for what an external writer will write, under its name.

    An object is unchanged where all values are there, whoever owns them.
    """
    if live is None or live["metadata"].get("deletionTimestamp"):
        return _compare(cluster, wanted, live, coming, rules)
    wanted = without_fields_of(wanted, live, rules.ignore_managers)
    dropped = without_dropped(live, earlier, wanted)
    if not rules.dry_run_all and dropped == live and has_values(live, wanted):
        return ObjectChange(ref_of(wanted), group_version(wanted)[1], UNCHANGED, wanted, live, live), 0
    change, asked = _dry_run(cluster, wanted, live, replace(rules, force=False, tolerate_missing=False)), 1
    # A program that has changed from updating to applying conflicts with itself: that is no news.
    conflicts = [
        conflict
        for conflict in change.conflicts
        if conflict["manager"] != cluster.manager and conflict["manager"] not in rules.adopt
    ]
    if change.conflicts:
        if conflicts and not rules.force and not rules.tolerate_missing:
            change.conflicts = conflicts
            return change, asked
        change, asked = _dry_run(cluster, wanted, live, replace(rules, force=True)), 2
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


def _compare(
    cluster: Cluster, wanted: Object, live: Object | None, coming: PlannedCreations, rules: ApplyOptions
) -> tuple[ObjectChange, int]:
    """(change, dry runs asked). Only "unchanged" may be said without the server."""
    ref, version = ref_of(wanted), group_version(wanted)[1]
    if live is not None:
        wanted = without_fields_of(wanted, live, rules.ignore_managers)
        if live["metadata"].get("deletionTimestamp"):
            raise Failure(
                "object_terminating",
                f"{ref} is being deleted",
                ref=ref.as_result(version),
                hint="Wait until it is deleted, then run the task again.",
            )
        if rules.adopt and adopt.owners(live, rules.adopt):
            return _adoption(cluster, wanted, live, rules)
        if (
            rules.values_only
            and has_values(live, wanted)
            and has_values(wanted, owned_part(live, cluster.manager) or {})
        ):
            return ObjectChange(ref, version, UNCHANGED, wanted, live, live), 0
        if not rules.dry_run_all and owns_exactly(wanted, live, cluster.manager):
            return ObjectChange(ref, version, UNCHANGED, wanted, live, live), 0
    if cluster.resource_of(wanted) is None:
        if rules.tolerate_missing or (ref.group, ref.kind) in coming.kinds:
            return ObjectChange(ref, version, CREATED, wanted, message=NO_KIND, verified=False), 0
        raise unknown_kind(wanted)
    if ref.namespace in coming.namespaces:
        return ObjectChange(ref, version, CREATED, wanted, message=NO_NAMESPACE, verified=False), 0
    if ref in coming.same_shape:
        return ObjectChange(ref, version, CREATED, wanted, None, wanted, verified=False), 0
    return _dry_run(cluster, wanted, live, rules), 1


def _adoption(cluster: Cluster, wanted: Object, live: Object, rules: ApplyOptions) -> tuple[ObjectChange, int]:
    """The object under its new owner. What only the old ones set, and nobody wants, goes with them."""
    asked = 1
    change = _dry_run(cluster, wanted, live, rules)
    if change.conflicts:
        change.conflicts = [conflict for conflict in change.conflicts if conflict["manager"] not in rules.adopt]
        if change.conflicts:
            return change, asked
        asked += 1
        change = _dry_run(cluster, wanted, live, replace(rules, force=True))
    if change.action == RECREATED:
        return change, asked
    probe = {**wanted, "metadata": {**wanted["metadata"], "name": f"{wanted['metadata']['name'][:50]}-adopt"}}
    try:
        fresh = cluster.apply(probe, dry_run=True)
    except ApiError:
        # A kind whose name is bound to its content cannot be tried under another: then every lost field is shown as it
        # is.
        fresh = change.planned or live
    planned = adopt.predicted(change.planned or live, live, fresh, cluster.manager, rules.adopt)
    message = f"adopted from {', '.join(adopt.owners(live, rules.adopt))}" + (
        "" if visible(planned) != visible(live) else "; no value changes"
    )
    return (
        ObjectChange(
            change.ref, change.version, CONFIGURED, wanted, live, planned, message=message, adopted=rules.adopt
        ),
        asked + 1,
    )


def _dry_run(cluster: Cluster, wanted: Object, live: Object | None, rules: ApplyOptions) -> ObjectChange:
    ref, version = ref_of(wanted), group_version(wanted)[1]
    try:
        answer = cluster.apply(wanted, force=rules.force, dry_run=True)
    except ApiError as error:
        if error.status == 409 and conflicts_of(error):
            if rules.tolerate_missing:
                # What taking the fields over would change is worth seeing, though a real run stops here.
                forced = cluster.apply(wanted, force=True, dry_run=True)
                return ObjectChange(
                    ref, version, CONFIGURED, wanted, live, forced, conflicts=conflicts_of(error), message=error.message
                )
            return ObjectChange(
                ref, version, FAILED, wanted, live, conflicts=conflicts_of(error), message=error.message
            )
        if error.status == 404 and rules.tolerate_missing and live is None:
            return ObjectChange(ref, version, CREATED, wanted, message=NO_NAMESPACE, verified=False)
        if error.status == 500 and "failed calling webhook" in error.message:
            return ObjectChange(
                ref,
                version,
                CONFIGURED if live else CREATED,
                wanted,
                live,
                message="a webhook does not answer, so the server did not verify it",
                verified=False,
            )
        failure = failure_of(error, ref, version)
        if failure.code == "invalid_object":
            failure.hint = field_suggestion.nearest(cluster, wanted, error.message) or failure.hint
        if failure.code == "immutable" and rules.recreate and ref.kind not in NEVER_PRUNED_KINDS and live is not None:
            return ObjectChange(
                ref, version, RECREATED, wanted, live, wanted, message=f"deleted and created again: {failure.reason}"
            )
        raise failure from error
    if live is None:
        # Shown is what is asked for, not what the server adds to it.
        return ObjectChange(ref, version, CREATED, wanted, None, wanted)
    if visible(answer) != visible(live):
        return ObjectChange(ref, version, CONFIGURED, wanted, live, answer)
    if _ownership(answer, cluster.manager) != _ownership(live, cluster.manager):
        return ObjectChange(
            ref, version, CONFIGURED, wanted, live, answer, message="takes ownership of fields; no value changes"
        )
    return ObjectChange(ref, version, UNCHANGED, wanted, live, answer)


def _ownership(obj: Object, manager: str) -> Any:
    return [
        e.get("fieldsV1")
        for e in obj["metadata"].get("managedFields") or []
        if e.get("manager") == manager and e.get("operation") == "Apply"
    ]
