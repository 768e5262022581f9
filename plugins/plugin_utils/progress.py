# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows progress while a module waits.

A module cannot print while it runs. So it is run in slices, under one deadline: the first plans, applies and begins to
wait; each
further one finds all of that done and goes on waiting; in between a line says what is waited for. The result is the one
that a single
run would have given. With `async` or in check mode the module runs once, as any other.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

SLICE = 10.0
# Most calls are done by then, and a second slice plans anew.
FIRST_SLICE = 15.0
# A task or play may choose another, in seconds.
SLICE_VARIABLE = "servicemesh_progress_seconds"
CHANGES = ("created", "configured", "recreated", "pruned")


class ActionModule(ActionBase):
    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.async_val or self._task.check_mode or not boolean(arguments.get("wait", True), strict=False):
            return {
                **result,
                **self._execute_module(
                    module_args=arguments, task_vars=task_vars, wrap_async=bool(self._task.async_val)
                ),
            }
        return {**result, **self._in_slices(arguments, task_vars)}

    def _in_slices(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        begun = time.time()
        seen: list[Any] = []
        answers: list[dict[str, Any]] = []
        while True:
            usual = SLICE if answers else FIRST_SLICE
            progress = {
                "seconds": float(task_vars.get(SLICE_VARIABLE, usual)),
                "elapsed": time.time() - begun if answers else 0.0,
                "seen": seen,
            }
            answer = self._execute_module(module_args={**arguments, "_progress": progress}, task_vars=task_vars)
            (answer.get("invocation") or {}).get("module_args", {}).pop("_progress", None)
            waiting = answer.pop("waiting", None)
            answers.append(answer)
            if waiting is None or answer.get("failed"):
                return together(answers)
            seen = waiting["seen"]
            if not self._task.no_log:
                self._display.display(line(task_vars, time.time() - begun, waiting["text"]))


def line(task_vars: dict[str, Any], seconds: float, text: str) -> str:
    """What is shown in between; with the host's name where others wait at the same time."""
    host = f"{task_vars.get('inventory_hostname')}, " if len(task_vars.get("ansible_play_batch") or []) > 1 else ""
    return f"  {host}{seconds:.0f} s: {text}"


def together(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """One result of all slices: what the first ones changed stays told, what was found last is what holds."""
    last = answers[-1]
    if len(answers) == 1 or not any("objects" in answer for answer in answers):
        return last
    objects: dict[tuple[str, ...], dict[str, Any]] = {}
    for answer in answers:
        for row in answer.get("objects") or []:
            key = tuple(row["ref"].get(part, "") for part in ("group", "kind", "namespace", "name"))
            known = objects.get(key)
            if known and known["action"] in CHANGES and row["action"] == "unchanged":
                row = {**row, "action": known["action"], "message": row["message"] or known["message"]}
            objects[key] = row
    rows = list(objects.values())
    summary = {word: sum(row["action"] == word for row in rows) for word in answers[0].get("summary") or {}}
    summary["dry_runs"] = sum((answer.get("summary") or {}).get("dry_runs", 0) for answer in answers)
    duration: dict[str, float] = {}
    for answer in answers:
        for phase, seconds in (answer.get("duration") or {}).items():
            duration[phase] = round(duration.get(phase, 0.0) + seconds, 3)
    return {
        **answers[0],
        **last,
        "changed": any(answer.get("changed") for answer in answers),
        "objects": rows,
        "summary": summary,
        "diff": [entry for answer in answers for entry in answer.get("diff") or []],
        "verified": [text for answer in answers for text in answer.get("verified") or []],
        "duration": duration,
        # As they were found: a later slice finds them mended.
        **{
            name: answers[0][name]
            for name in ("missing_sidecar", "stale", "tag", "findings", "forbidden_kinds")
            if name in answers[0]
        },
    }
