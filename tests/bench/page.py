# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page with the figures, in Markdown."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from lab import settings

from .breakdown import Breakdown
from .cases import Goal, Result
from .competitors import OURS, Ground, other_versions
from .measuring import Series, ratio

HEAD = """<!--
SPDX-FileCopyrightText: The servicemesh.istio authors
SPDX-License-Identifier: GPL-3.0-or-later
-->
# Speed

This page compares the speed of this collection with that of other tools. `make bench` writes it.

- {rounds}. The tools take turns (A B A B …), so that a slow phase of the machine affects all of them.
- Times are wall times of whole commands. They include the start of `ansible-playbook`.
- A ratio is the median of the ratios of all rounds. Each ratio compares two runs of the same round.
- Processor time is the sum over all processes of the command. Memory is that of its largest process. The API server is not included.
- After each run, the result in the cluster is checked. If it is wrong, the row shows **failed** and no figures.

"""

ONE_ROUND = "There is one run of each command: **this is a trial of the bench, not a measurement**"


def text(
    results: list[Result],
    breakdowns: list[Breakdown],
    broken: list[str],
    ground: Ground,
    rounds: int,
    load: float,
    picture: str,
) -> str:
    parts = [
        HEAD.format(rounds=f"There are {rounds} runs of each command" if rounds > 1 else ONE_ROUND),
        _machine(ground, load),
    ]
    parts += [_growth(result, picture) if _is_growth(result) else _case(result) for result in results]
    parts += [f"**failed**: {line.splitlines()[0]}\n" for line in broken]
    if breakdowns:
        parts.append(_breakdowns(breakdowns))
    return "\n".join(parts)


def _is_growth(result: Result) -> bool:
    return result.series[0].name.isdigit()


def _machine(ground: Ground, load: float) -> str:
    memory = int(Path("/proc/meminfo").read_text(encoding="ascii").split()[1]) / 2**20
    theirs = other_versions(ground.rival)
    own = {name: importlib.metadata.version(name) for name in ("ansible-core", "kubernetes")}
    images = "built locally, upstream Envoy" if ground.built else "official ones"
    rows = [
        (
            "machine",
            (
                f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB of memory, {platform.system()}"
                f" {platform.machine()}; load {load:.1f} at the start, before the bench"
            ),
        ),
        ("cluster", f"kind, one node, Kubernetes {settings.KUBERNETES}, on the same machine; images {images}"),
        ("Istio", f"{settings.DEFAULT_ISTIO}, default profile, values of `tests/lab/vars.yml`"),
        (
            "servicemesh.istio",
            f"Python {platform.python_version()}, ansible-core {own['ansible-core']}, kubernetes {own['kubernetes']}",
        ),
        (
            "kubernetes.core",
            (
                f"{theirs['kubernetes.core']}, same Python, ansible-core {theirs['ansible-core']}, kubernetes"
                f" {theirs['kubernetes']}"
            ),
        ),
        ("kubectl", settings.KUBERNETES),
    ]
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def _case(result: Result) -> str:
    lines = [
        f"## {result.title}\n",
        "| | median | min – max | processor | memory | servicemesh.istio takes | goal | |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    ours = result.of(OURS)
    for series in result.series:
        goal = next((g for g in result.goals if g.against == series.name), None)
        share = "" if series is ours or series.wrong or ours.wrong else f"{ratio(ours, series):.2f} ×"
        lines.append(f"| {series.name} | {_figures(series)} | {share} | {_goal(goal)} |")
    return "\n".join(lines) + "\n"


def _growth(result: Result, picture: str) -> str:
    lines = [
        f"## {result.title}\n",
        f"![Time and memory over the number of objects]({picture})\n",
        "| objects | median | min – max | processor | memory |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [f"| {int(series.name):,} | {_figures(series)} |" for series in result.series]
    lines += ["", "| goal | measured | |", "|---|---:|---|"]
    lines += [
        f"| {goal.text} | {'–' if goal.value is None else f'{goal.value:.3g}'} | {verdict(goal)} |"
        for goal in result.goals
    ]
    return "\n".join(lines) + "\n"


def _figures(series: Series) -> str:
    if series.wrong:
        return f"**failed**: {series.wrong} | – | – | –"
    return (
        f"{series.median:.2f} s | {min(series.seconds):.2f} – {max(series.seconds):.2f} s | {series.cpu:.2f} s |"
        f" {series.peak:.0f} MiB"
    )


def _goal(goal: Goal | None) -> str:
    return f"{goal.text} | {verdict(goal)}" if goal else " | "


def verdict(goal: Goal) -> str:
    if goal.value is None:
        return "**failed**"
    return "met" if goal.met else "**not met**"


def _breakdowns(breakdowns: list[Breakdown]) -> str:
    lines = [
        "## Where the time goes\n",
        (
            "Each packed module was run again on its own, so that its imports come from the same archive as in a real"
            " run.\n"
        ),
        "- Ansible itself: the command with an empty module, without the process of that module.",
        "- Imports: measured by `python -X importtime`, which makes them slightly slower.",
        "- Render, plan, apply, wait: `duration` in the module's result.",
        "- Other time in the module: the start of Python, reading and parsing the input, writing the result.",
        (
            "- Other time outside the module: packing this module and reading its result, beyond the time for an empty"
            " module.\n"
        ),
        "| seconds | " + " | ".join(b.title for b in breakdowns) + " |",
        "|---|" + "---:|" * len(breakdowns),
    ]
    rows: dict[str, list[float]] = {
        "whole command": [b.total for b in breakdowns],
        "Ansible itself": [b.ansible for b in breakdowns],
    }
    rows["imports"] = [b.importing for b in breakdowns]
    for phase in ("render", "plan", "apply", "wait"):
        rows[phase] = [b.phases.get(phase, 0.0) for b in breakdowns]
    rows["other time in the module"] = [b.inside for b in breakdowns]
    rows["other time outside the module"] = [b.outside for b in breakdowns]
    lines += [f"| {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |" for name, values in rows.items()]
    lines += [
        "",
        "| imports, by package | " + " | ".join(b.title for b in breakdowns) + " |",
        "|---|" + "---:|" * len(breakdowns),
    ]
    packages = list(dict.fromkeys(name for b in breakdowns for name in b.imports))
    lines += [
        f"| {name} | " + " | ".join(f"{b.imports.get(name, 0.0):.3f}" for b in breakdowns) + " |" for name in packages
    ]
    lines += [
        "",
        "Size of the packed module: " + ", ".join(f"{b.payload / 1024:.0f} KiB ({b.title})" for b in breakdowns) + ".",
    ]
    return "\n".join(lines) + "\n"
