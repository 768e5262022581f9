# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
name: evidence
type: notification
short_description: Write a report of what a run planned, changed and measured
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes one JSON file and one HTML file at the end of a playbook, with the results of all tasks of this collection's modules, versions and times,
    and with failed tasks of other modules.
  - Changed objects are listed with their differences. Secrets are hidden as in the result of the module. Unchanged objects are counted.
  - For a task with C(no_log), the report contains only that it ran.
  - A file that cannot be written causes a warning, and never fails the run.
requirements:
  - Enabled by name in C(callbacks_enabled) of ansible.cfg, or in E(ANSIBLE_CALLBACKS_ENABLED).
options:
  folder:
    description:
      - Folder on the controller for the two files. It is created if it does not exist. If it is not set, nothing is written.
      - Only the owner can read the files. Their names contain the start time of the run, the name of the playbook and a part of the ID of the run.
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
        # A loop's items have been told one by one.
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
            # As a template it says nothing of what came of it.
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
        except Exception as error:  # a result of no known shape: that there was one is told all the same
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
        """At the end of the process: a run that ended before its playbook did leaves a report that says so."""
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
        except Exception as error:  # whatever it is, the run itself has ended as it has
            self._display.warning(f"cannot write the evidence of this run: {error}")


def part(task_result: Any, name: str) -> Any:
    """Of a task's result, by the name that ansible-core has for it from 2.19 on, and by the one before."""
    return getattr(task_result, name) if hasattr(task_result, name) else getattr(task_result, f"_{name}")


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
