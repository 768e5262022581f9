# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads results of this collection's modules, for what tells of them afterwards: the drift report and the evidence of a
run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import Ref
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.change import UNCHANGED

Result = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def planned(result: Result) -> list[dict[str, Any]]:
    """The rows of a plan; none where the module's objects are of another shape, or where it has none."""
    rows = result.get("objects")
    return rows if isinstance(rows, list) and all(_of_plan(row) for row in rows) else []


def _of_plan(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and "action" in row
        and isinstance(row.get("ref"), dict)
        and {"group", "kind", "namespace", "name"} <= set(row["ref"])
    )


def touched(result: Result) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """(objects, differences): the objects that a plan changes or that others hold fields of, and differences that are
    of no object.

    Each object is {name, ref, action, conflicts, status, message, before, after}; name is "KIND NAMESPACE/NAME", before
    and after are
    YAML of the fields that the plan touches, secrets hidden by the module.
    """
    waiting = (
        [entry for entry in result.get("diff") or [] if isinstance(entry, dict)]
        if isinstance(result.get("diff"), list)
        else []
    )
    rows = []
    for row in planned(result):
        if row["action"] == UNCHANGED and not row.get("conflicts"):
            continue
        ref = row["ref"]
        name = str(Ref(ref["group"], ref["kind"], ref["namespace"], ref["name"]))
        # As _engine/report.py writes it. Two objects may share a name in different groups: both lists are in the plan's
        # order.
        own = next((entry for entry in waiting if entry.get("after_header") == f"{name} ({row['action']})"), None)
        waiting = [entry for entry in waiting if entry is not own]
        rows.append(
            {"name": name, **row, "before": (own or {}).get("before", ""), "after": (own or {}).get("after", "")}
        )
    return rows, waiting


def item_name(item: Any) -> str:
    """A loop's item in a word. Of a mapping only what names it, for the rest may be anything."""
    if isinstance(item, dict):
        return "/".join(str(item[key]) for key in ("namespace", "service", "name") if item.get(key))
    return "" if item is None or isinstance(item, (list, tuple)) else str(item)


def collection_version(root: Path = ROOT) -> str:
    """Of an installed collection by its manifest, of a clone by its galaxy.yml; empty where neither can be read."""
    try:
        if (root / "MANIFEST.json").exists():
            return str(json.loads((root / "MANIFEST.json").read_text(encoding="utf-8"))["collection_info"]["version"])
        return str(yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, LookupError, yaml.YAMLError):
        return ""
