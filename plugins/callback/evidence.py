# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
name: evidence
type: notification
short_description: Record what a run planned, changed and measured
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a JSON file and an HTML file at the end of a playbook. They contain the results of all tasks with modules of this collection, failed tasks
    of other modules, versions and times.
  - For each changed object the files contain its diff, with secrets hidden as in the module's result. Unchanged objects are only counted.
  - For a task with C(no_log), the files only show that it ran.
  - If a file cannot be written, the plugin warns. The run does not fail.
requirements:
  - Enable the plugin in C(callbacks_enabled) of ansible.cfg, or in E(ANSIBLE_CALLBACKS_ENABLED).
options:
  folder:
    description:
      - Path of the folder for the two files, on the controller. The plugin creates it if it does not exist. If it is not set, nothing is written.
      - Only the owner can read the files. Their names contain the start time of the run, the playbook and a part of the run's ID.
    type: path
    env:
      - name: SERVICEMESH_EVIDENCE
    ini:
      - section: callback_evidence
        key: folder
"""

import atexit
import json
import os
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.files import atomic_write
from ansible_collections.servicemesh.istio.plugins.plugin_utils import evidence
from ansible_collections.servicemesh.istio.plugins.plugin_utils.evidence_page import page


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "servicemesh.istio.evidence"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run: dict[str, Any] | None = None
        self._calls: list[dict[str, Any]] = []
        self._begun: dict[tuple[str, str], str] = {}
        self._process = os.getpid()
        atexit.register(self._cut_off)

    def set_options(self, *args: Any, **kwargs: Any) -> None:
        super().set_options(*args, **kwargs)
        self.disabled = not self.get_option("folder")

    def v2_playbook_on_start(self, playbook: Any) -> None:
        name = Path(str(playbook._file_name)).name
        self._run = {"run": uuid.uuid4().hex, "playbook": name, "plays": [], "started": now()}
        self._calls = []

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._run is not None:
            self._run["plays"].append(play.get_name())

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._begun[(host.get_name(), task._uuid)] = now()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._add(result, evidence.OK)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._add(result, evidence.FAILED, ignored=ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._add(result, evidence.UNREACHABLE)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._add(result, evidence.SKIPPED)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._add(result, evidence.OK, item=True)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._add(result, evidence.FAILED, item=True)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        self._add(result, evidence.SKIPPED, item=True)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write({host: stats.summarize(host) for host in sorted(stats.processed)}, finished=True)

    def _add(self, task_result: Any, outcome: str, item: bool = False, ignored: bool = False) -> None:
        host, task, result, fields = (part(task_result, name) for name in ("host", "task", "result", "task_fields"))
        # The items of a loop are already recorded.
        if not item and task.loop is not None and result.get("results"):
            return
        module = task.resolved_action or task.action
        if not module.startswith(evidence.PREFIX) and outcome not in evidence.BAD:
            return
        place = (host.get_name(), task._uuid)
        ended = now()
        about = {
            "task": task_result.task_name,
            "role": task._role.get_name() if task._role else "",
            "host": place[0],
            "delegated_to": fields.get("delegate_to") or "",
            "module": module,
            "started": self._begun.get(place, ended),
            "ended": ended,
            # A template that was not evaluated does not show whether the task ran in check mode.
            "check_mode": fields["check_mode"] if isinstance(fields.get("check_mode"), bool) else None,
            "ignored": (
                outcome in evidence.BAD
                and True
                in (
                    ignored,
                    fields.get("ignore_unreachable" if outcome == evidence.UNREACHABLE else "ignore_errors"),
                )
            ),
        }
        self._begun[place] = ended
        try:
            self._calls.append(evidence.call(about, outcome, result))
        except Exception as error:  # a result with an unknown structure is still recorded
            self._calls.append(
                {
                    **about,
                    "item": "",
                    "outcome": outcome,
                    "hidden": False,
                    "message": f"cannot read this result: {error}",
                }
            )

    def _cut_off(self) -> None:
        """Write a report of an unfinished run, if the process ends before the playbook does."""
        if os.getpid() == self._process and not self.disabled:
            self._write({}, finished=False)

    def _write(self, hosts: dict[str, dict[str, int]], finished: bool) -> None:
        if self._run is None:
            return
        run, self._run = {**self._run, "ended": now(), "finished": finished}, None
        try:
            folder = Path(self.get_option("folder"))
            report = evidence.report(run, self._calls, hosts)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = evidence.file_name(report)
            for suffix, text in (("json", json.dumps(report, indent=2) + "\n"), ("html", page(report))):
                atomic_write.write_file(folder / f"{name}.{suffix}", text.encode("utf-8", errors="backslashreplace"))
            self._display.display(f"Evidence of this run: {folder / name}.html and .json")
        except Exception as error:  # a missing report must not change the result of the run
            self._display.warning(f"cannot write the evidence of this run: {error}")


def part(task_result: Any, name: str) -> Any:
    """An attribute of a task's result, by its name since ansible-core 2.19 or by its earlier name."""
    return getattr(task_result, name) if hasattr(task_result, name) else getattr(task_result, f"_{name}")


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
