# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of every module that writes. changed, diff, summary and objects are read off one plan."""

from __future__ import annotations

from typing import Any

from .._failure import Failure
from .._libraries import SafeDumper, yaml
from . import checkpoint
from .objects import Object, ref_of
from .planning.change import CONFIGURED, CREATED, FAILED, PRUNED, RECREATED, UNCHANGED, ObjectChange, visible
from .planning.plan import Plan

PENDING = "pending"
HIDDEN = "(hidden)"
HIDDEN_NEW = "(hidden, another value)"


def outcome(plans: list[Plan], check_mode: bool, failed: bool = False) -> dict[str, Any]:
    """{changed, summary, objects, diff} of all plans of one call. After a failure, what was not reached is "pending"
    and counts for nothing.
    """
    changes = [change for plan in plans for change in plan.changes]
    rows = [
        {
            "ref": c.result,
            "action": _action(c, failed),
            "conflicts": c.conflicts,
            "status": c.status,
            "message": c.message,
        }
        for c in changes
    ]
    summary = {
        word: sum(row["action"] == word for row in rows)
        for word in (CREATED, CONFIGURED, RECREATED, UNCHANGED, PRUNED, FAILED)
    }
    done = any(c.done and c.changes for c in changes)
    return {
        "changed": done if failed or not check_mode else any(not plan.empty for plan in plans),
        "summary": {**summary, "dry_runs": sum(plan.dry_runs for plan in plans)},
        "objects": rows,
        "diff": [difference(c) for c in changes if c.changes and (c.done or not failed)],
    }


def _action(change: ObjectChange, failed: bool) -> str:
    return PENDING if failed and change.changes and not change.done else change.action


def difference(change: ObjectChange) -> dict[str, str]:
    """{before, after, before_header, after_header}: YAML of only those fields that the plan touches, secrets hidden."""
    before = visible(change.before) if change.before else None
    after = visible(change.planned or change.wanted or {}) if change.action != PRUNED else None
    before, after = (readable(side) if side else side for side in (before, after))
    before, after = hide_secrets(change.ref.kind, before, after)
    if before is not None and after is not None:
        before, after = touched(before, after)
    header = str(change.ref)
    return {
        "before": _text(before),
        "after": _text(after),
        "before_header": header if before is not None else f"{header} (absent)",
        "after_header": f"{header} ({change.action})",
    }


def readable(obj: Object) -> Object:
    """A checkpoint with the names of what it keeps in place of their packed content."""
    if (obj["metadata"].get("labels") or {}).get(checkpoint.LABEL) != "true":
        return obj
    try:
        names = [
            str(ref_of(one))
            for one in checkpoint.read_checkpoint({"apiVersion": "v1", "kind": "ConfigMap", **obj}).objects
        ]
    except Failure:
        return obj
    return {**obj, "data": {**obj["data"], checkpoint.CONTENT: names}}


def _text(part: Any) -> str:
    return (
        ""
        if part is None or part == {}
        else yaml.dump(part, Dumper=SafeDumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=160)
    )


def touched(before: Any, after: Any) -> tuple[Any, Any]:
    """Both sides, cut down to what differs; list items keep their name."""
    if isinstance(before, dict) and isinstance(after, dict):
        left: dict[str, Any] = {}
        right: dict[str, Any] = {}
        for key in sorted({*before, *after}, key=str):
            if before.get(key) == after.get(key) and key in before and key in after:
                continue
            if key in before and key in after:
                left[key], right[key] = touched(before[key], after[key])
            elif key in before:
                left[key] = before[key]
            else:
                right[key] = after[key]
        return left, right
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(_named(a, touched(a, b)[0]), _named(b, touched(a, b)[1])) for a, b in zip(before, after) if a != b]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return before, after


def _named(item: Any, part: Any) -> Any:
    if isinstance(item, dict) and isinstance(part, dict) and "name" in item:
        return {"name": item["name"], **part}
    return part


def hide_secrets(kind: str, before: Object | None, after: Object | None) -> tuple[Object | None, Object | None]:
    """Both sides, of a Secret with words in place of its values, which say only whether a value differs."""
    if kind != "Secret":
        return before, after
    old, new = (before or {}).get("data") or {}, (after or {}).get("data") or {}
    if before is not None:
        before = {**before, "data": {key: HIDDEN for key in old}}
    if after is not None:
        after = {
            **after,
            "data": {key: HIDDEN_NEW if old.get(key, value) != value else HIDDEN for key, value in new.items()},
        }
    return before, after
