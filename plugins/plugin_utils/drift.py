# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registered results of runs in check mode, as one report of what differs. Pure: results in, data out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ansible.release import __version__ as ansible_core
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption

from .task_results import collection_version, item_name, planned, touched

# What these modules have is on a host, and no object of a cluster.
OUTSIDE = frozenset({"release"})


def drift(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """{drift, counts, left_out, versions, warnings, calls} of [{role, module, result}], `result` as the task registered
    it, empty where it did not run.

    counts    of all objects and of those that differ: by action, and those with fields that others own
    left_out  roles of which no task ran
    warnings  [{role, module, text}]: what a run that is no check would stop at, among others
    calls     [{role, module, item, changed, objects, differ}], one for each item of a loop
    Raises InvalidOption for a result that failed or that tells nothing of objects, and where no task ran: none may be
    taken for "no drift".
    """
    for number, call in enumerate(calls, 1):
        if (
            not isinstance(call, dict)
            or not {"role", "module", "result"} <= set(call)
            or not isinstance(call["result"], dict)
        ):
            raise InvalidOption("drift", f"call {number} is not a mapping with role, module and result")
    found = [(call, result) for call in calls for result in _single(call["result"])]
    rows = [_row(call, result) for call, result in found]
    ran = {call["role"] for call in calls if call["result"] and not _skipped(call["result"])}
    if not ran:
        raise InvalidOption(
            "drift", "no task ran, so drift is unknown", hint="Check whether tags or switches leave out all of them."
        )
    differ = [row for call in rows for row in call["differ"]]
    return {
        "drift": bool(differ),
        "counts": {
            "objects": sum(row["objects"] for row in rows),
            "differ": len(differ),
            "conflicts": sum(bool(row["conflicts"]) for row in differ),
            "actions": dict(sorted(Counter(row["action"] for row in differ).items())),
        },
        "left_out": list(dict.fromkeys(call["role"] for call in calls if call["role"] not in ran)),
        "versions": {
            "collection": collection_version(),
            "ansible_core": ansible_core,
            "istio": next((str(result["version"]) for _call, result in found if result.get("version")), ""),
        },
        # Ansible keeps those of a loop's items with the loop.
        "warnings": [
            {"role": call["role"], "module": call["module"], "text": str(text)}
            for call in calls
            for text in call["result"].get("warnings") or []
        ],
        "calls": rows,
    }


def _single(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The result, or those of a loop's items; nothing of what did not run."""
    if _failed(result) or not isinstance(result.get("results"), list):
        yield from [result] if result and not _skipped(result) else []
        return
    yield from (item for item in result["results"] if not _skipped(item))


def _skipped(result: dict[str, Any]) -> bool:
    # A loop over nothing ran, and found nothing to do.
    return bool(result.get("skipped")) and not isinstance(result.get("results"), list)


def _failed(result: dict[str, Any]) -> bool:
    return bool(result.get("failed") or result.get("unreachable"))


def _row(call: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    place = f"{call['role']}: {call['module']}"
    if _failed(result):
        raise InvalidOption(
            "drift",
            f"{place} failed, so the drift of its objects is unknown: {result.get('msg', '')}",
            hint="Fix that failure first.",
        )
    objects = planned(result)
    if call["module"] not in OUTSIDE and (
        not isinstance(result.get("objects"), list) or len(objects) != len(result["objects"])
    ):
        raise InvalidOption(
            "drift",
            f"{place} has no objects in its result",
            hint="Use only complete results of modules that return objects.",
        )
    return {
        "role": call["role"],
        "module": call["module"],
        "item": item_name(result.get(str(result.get("ansible_loop_var")))),
        "changed": bool(result.get("changed")),
        "objects": len(objects),
        "differ": touched(result)[0],
    }
