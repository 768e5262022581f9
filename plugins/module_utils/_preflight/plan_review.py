# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight of what a module is about to write: together with the cluster, before anything is written."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .._checks.check import ERROR, Check, FieldFinding
from .._engine.cluster import Cluster
from .._engine.module import Review, Run
from .._engine.objects import Object, Ref, ref_of
from .._engine.planning.change import PRUNED
from .._engine.planning.plan import Plan
from .._failure import Failure
from . import check_dependencies, loader, registry
from .findings import Judge
from .object_index import KINDS, World, kind_of

FAIL, WARN, SKIP = "fail", "warn", "skip"
ARGUMENTS: dict[str, dict[str, Any]] = {"preflight": {"type": "str", "choices": [FAIL, WARN, SKIP], "default": FAIL}}
# Where a control plane is, unless somebody has said otherwise; of one elsewhere the configuration is not known.
ROOT = "istio-system"
SEVERITIES = {check.code: check.severity for check in registry.CHECKS}
HINT = "Fix the errors first, or set preflight: warn to apply the change anyway."
# Kinds of which a change is one of policy: what else a module keeps for itself says nothing to a proxy.
POLICY = frozenset(KINDS) - {"ConfigMap", "Secret"}


@dataclass(frozen=True)
class PolicyDiff:
    """What a plan makes of a mesh.

    was  objects that it changes or deletes, as they are
    now  objects that it wants, as they will be when its last step is done
    """

    was: dict[Ref, Object]
    now: dict[Ref, Object]

    @staticmethod
    def of(plan: Plan) -> PolicyDiff | None:
        """None where the plan changes no policy."""
        was: dict[Ref, Object] = {}
        now: dict[Ref, Object] = {}
        changes = [change for change in plan.changes if kind_of(change.wanted or change.live or {}) in POLICY]
        for change in changes:
            if change.before is not None:
                was[change.ref] = change.before
            if change.action == PRUNED:
                now.pop(change.ref, None)
            else:
                now[change.ref] = change.planned or change.wanted or {}
        return PolicyDiff(was, now) if any(change.changes for change in changes) else None


def review_plan(run: Run, plan: Plan) -> None:
    """Adds `findings` and `unread` to what the run tells. Raises Failure "preflight_failed" where errors come of the
    plan, in check mode only warns.
    """
    change = PolicyDiff.of(plan) if run.options["preflight"] != SKIP else None
    if change is None:
        return
    rows, new, unread = run.timed("preflight", lambda: review_diff(run.cluster, change))
    run.extra_result.update(findings=rows, forbidden_kinds=unread)
    errors = [row for row in new if row["severity"] == ERROR]
    if not errors:
        return
    many = f"{len(errors)} errors" if len(errors) > 1 else "An error"
    message = "\n".join(
        [
            f"{many} would result from this change. Nothing is written:",
            *(f"- {registry.finding_text(row)}" for row in errors),
        ]
    )
    failure = Failure(
        "preflight_failed",
        message,
        ref=errors[0]["ref"],
        reason=", ".join(sorted({row["code"] for row in errors})),
        hint=HINT,
    )
    if run.options["preflight"] == FAIL:
        run.fail_or_warn([failure])
    else:
        run.module.warn(
            f"{failure.code}: " + "\n".join([f"{many} would result from this change:", *message.splitlines()[1:]])
        )


REVIEW = Review(ARGUMENTS, review_plan)


def review_diff(
    cluster: Cluster, change: PolicyDiff
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, str]]:
    """(rows of what is found on the wanted objects and of what comes of them elsewhere, those of them that are new,
    kinds that may not be read).

    Raises ApiError.
    """
    asked = check_dependencies.review_scope([*change.was.values(), *change.now.values()], SEVERITIES)
    found, refused = loader.load_kinds(cluster, asked.kinds, ROOT)
    # What was not read is as unknown as what may not be.
    unknown = {**dict.fromkeys(set(KINDS) - asked.kinds, "not read"), **refused}
    whole, alone = BeforeAndAfter(change, found, unknown), BeforeAndAfter(change, [], unknown)
    rows: list[dict[str, Any]] = []
    new: list[dict[str, Any]] = []
    for check in registry.CHECKS:
        # Of what cannot be read whole nothing is said.
        if check.code not in asked.codes or asked.codes[check.code] & set(refused):
            continue
        sight = whole if asked.codes[check.code] else alone
        for finding, fresh in _new_findings(check, sight):
            row = registry.finding_row(check, finding)
            rows += [row] if fresh or sight.after.asks(finding.ref) else []
            new += [row] if fresh else []
    return registry.by_severity(rows), registry.by_severity(new), refused


class BeforeAndAfter:
    """The mesh before and after a change; what is before is seldom asked for.

    found    live objects, those of the change among them or not
    unknown  {kind: why nothing is known to be missing of it}
    """

    def __init__(self, change: PolicyDiff, found: list[Object], unknown: dict[str, str]) -> None:
        self._change = change
        self._others = [obj for obj in found if ref_of(obj) not in change.was and ref_of(obj) not in change.now]
        self._unknown = unknown
        self._mesh = loader.mesh_config_of(found, ROOT)

    @cached_property
    def before(self) -> World:
        return World(
            [*self._others, *loader.normalize_objects(self._change.was.values(), "")],
            None,
            True,
            self._unknown,
            ROOT,
            self._mesh,
        )

    @cached_property
    def after(self) -> World:
        was = self._change.was
        now = [
            {**obj, "status": was[ref]["status"]} if "status" not in obj and "status" in was.get(ref, {}) else obj
            for ref, obj in self._change.now.items()
        ]
        wanted = loader.normalize_objects(now, "")
        return World([*self._others, *wanted], wanted, True, self._unknown, ROOT, self._mesh)


def _new_findings(check: Check[Judge], sight: BeforeAndAfter) -> list[tuple[FieldFinding, bool]]:
    """(finding, whether it was not there before). What stands in a list may have another place in it now."""
    found = registry.findings_of(check, sight.after)
    known = Counter(map(_key, registry.findings_of(check, sight.before))) if found else Counter()
    told = []
    for finding in found:
        key = _key(finding)
        told.append((finding, known[key] <= 0))
        known[key] -= 1
    return told


def _key(finding: FieldFinding) -> tuple[Ref, str, str]:
    return finding.ref, re.sub(r"\[\d+\]", "[]", finding.field), finding.message
