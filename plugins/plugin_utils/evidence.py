# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run planned, did and measured, as one structure. Pure: results in, data out. The JSON file is it, and the page
is made of it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections import Counter
from typing import Any

from ansible.release import __version__ as ansible_core
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.change import UNCHANGED

from .task_results import collection_version, item_name, planned, touched

# Of the report's own form: raised where a reader must read otherwise.
FORMAT = 1
PREFIX = "servicemesh.istio."
OK, CHANGED, FAILED, UNREACHABLE, SKIPPED = "ok", "changed", "failed", "unreachable", "skipped"
BAD = (FAILED, UNREACHABLE)
# Parts of a result that have a place of their own here.
PLACED = {"changed", "summary", "diff", "verified", "duration", "failure", "msg", "warnings"}
# What Ansible adds, and what a module prints that ends in no result.
AROUND = {
    *(
        "invocation",
        "deprecations",
        "exception",
        "failed",
        "skipped",
        "skip_reason",
        "false_condition",
        "unreachable",
        "attempts",
        "retries",
    ),
    *("module_stdout", "module_stderr", "stdout", "stdout_lines", "stderr", "stderr_lines", "rc"),
}


def call(about: dict[str, Any], outcome: str, result: dict[str, Any]) -> dict[str, Any]:
    """One task's result, or that of a loop's item, as Ansible hands it to callbacks.

    about    {task, role, host, delegated_to, module, started, ended, check_mode, ignored}
    outcome  ok, failed, unreachable or skipped; ok becomes changed where the result says so
    Of a no_log task only that it ran; of another collection's task only how it ended.
    """
    ours = about["module"].startswith(PREFIX)
    row = {
        **about,
        "item": "",
        "outcome": CHANGED if outcome == OK and result.get("changed") else outcome,
        "hidden": "censored" in result,
    }
    if row["hidden"]:
        return plain(row)
    row["item"] = item_name(result.get("_ansible_item_label", result.get(str(result.get("ansible_loop_var")))))
    row["message"] = str(result.get("msg") or "") if outcome in BAD else str(result.get("skip_reason") or "")
    if not ours:
        return plain(row)
    objects, rest = touched(result)
    row.update(
        failure=result.get("failure"),
        summary=result.get("summary") or {},
        touched=objects,
        unchanged=sum(obj["action"] == UNCHANGED for obj in planned(result)),
        diff=rest,
        verified=result.get("verified") or [],
        warnings=[str(text) for text in result.get("warnings") or []],
        duration=result.get("duration") or {},
        found=found(result),
    )
    return plain(row)


def found(result: dict[str, Any]) -> dict[str, Any]:
    """What a module tells beside its plan: a probe's figures, a mesh's parts, a version. Whatever it is called, so that
    no module is forgotten.
    """
    told = (
        PLACED
        | AROUND
        | {"item", str(result.get("ansible_loop_var"))}
        | ({"objects"} if planned(result) or not result.get("objects") else set())
    )
    return {key: value for key, value in result.items() if key not in told and not key.startswith(("_", "ansible_"))}


def report(run: dict[str, Any], calls: list[dict[str, Any]], hosts: dict[str, dict[str, int]]) -> dict[str, Any]:
    """The whole, with the digest of all the rest as its last part.

    run    {run, playbook, plays, started, ended, finished}; finished is false for a run that was cut off
    hosts  {name: {ok, changed, failures, unreachable, skipped, rescued, ignored}}, Ansible's own counts
    """
    shown = [row for row in calls if "found" in row]
    # What was only looked at is no deed.
    objects: dict[str, Counter[str]] = {"done": Counter(), "planned": Counter()}
    for row in shown:
        objects["planned" if row["check_mode"] else "done"].update(
            {word: number for word, number in row["summary"].items() if word != "dry_runs" and number}
        )
    content = plain(
        {
            "report": f"{PREFIX}evidence",
            "format": FORMAT,
            **run,
            "check_mode": bool(shown) and all(row["check_mode"] for row in shown),
            "exit_status": exit_status(hosts) if run["finished"] else None,
            "versions": {
                "collection": collection_version(),
                "ansible_core": ansible_core,
                "python": platform.python_version(),
                "istio": sorted(
                    {row["found"]["version"] for row in shown if isinstance(row["found"].get("version"), str)}
                ),
            },
            "clusters": clusters(shown),
            "counts": {
                "calls": len(calls),
                "outcomes": dict(sorted(Counter(row["outcome"] for row in calls).items())),
                "objects": objects,
            },
            "calls": calls,
            "hosts": hosts,
        }
    )
    return {**content, "sha256": digest(content)}


def clusters(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """[{host, name, server, kubernetes, control_planes}] as mesh_info found them last, one for each host and server."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for row in calls:
        cluster = row["found"].get("cluster")
        if isinstance(cluster, dict) and "server" in cluster:
            known = {
                "name": cluster.get("name", ""),
                "server": cluster["server"],
                "kubernetes": cluster.get("version", ""),
            }
            seen[(row["host"], cluster["server"])] = {
                "host": row["host"],
                **known,
                "control_planes": row["found"].get("control_planes") or [],
            }
    return list(seen.values())


def exit_status(hosts: dict[str, dict[str, int]]) -> int:
    """As ansible-playbook ends: 4 where a host could not be reached, else 2 where a task failed, else 0."""
    if any(counts.get("unreachable") for counts in hosts.values()):
        return 4
    return 2 if any(counts.get("failures") for counts in hosts.values()) else 0


def digest(content: dict[str, Any]) -> str:
    """sha256 of the report less its digest: keys in order, no spaces, ASCII. It shows an edit, and is no signature:
    whoever edits can count anew.
    """
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_name(content: dict[str, Any]) -> str:
    """Of the files, less the suffix: begin, playbook, and a part of the run's id, so that no run takes another one's
    name.
    """
    begin = re.sub(r"[-:]|\.\d+", "", content["started"])
    playbook = re.sub(r"[^A-Za-z0-9._-]+", "-", content["playbook"].rpartition(".")[0] or content["playbook"])
    return f"{begin}-{playbook}-{content['run'][:8]}"


def plain(value: Any) -> Any:
    """Only what JSON has: no tagged text, no class of Ansible's."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)
