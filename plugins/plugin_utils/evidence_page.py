# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of a run as one page. Nothing is loaded, nothing is run, and nothing of the cluster is markup."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import jinja2
import yaml

from .evidence import BAD, SKIPPED, UNCHANGED

TEMPLATE = Path(__file__).with_name("evidence.html.j2")
# Lines of one difference or value that the page shows; the JSON file has all.
SHOWN = 300
KINDS = {"+": "added", "-": "removed", "@": "place"}
# {exit status: what it means}; None is a run that was cut off.
VERDICTS = {0: "succeeded", 2: "failed", 4: "failed: a host could not be reached", None: "was interrupted"}


def page(report: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.ChainableUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(lines=lines, text=text, in_words=in_words)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        report=report, verdict=VERDICTS[report["exit_status"]], bad=BAD
    )


def lines(before: str, after: str) -> list[tuple[str, str]]:
    """[(kind, line)] of a unified difference; kind is added, removed, place, or empty for what stays. The last one
    tells what is not shown.
    """
    unified = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))[2:]
    return _bounded([(KINDS.get(line[:1], ""), line) for line in unified])


def text(value: Any) -> list[tuple[str, str]]:
    """A value as lines of YAML."""
    dumped = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return _bounded([("", line) for line in dumped.splitlines()])


def _bounded(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return (
        rows
        if len(rows) <= SHOWN
        else [*rows[:SHOWN], ("place", f"{len(rows) - SHOWN} more lines are in the JSON file")]
    )


def in_words(call: dict[str, Any]) -> str:
    """A call in a line: what became of objects, else the single values that the module found."""
    if call["hidden"]:
        return "hidden: no_log"
    if call["outcome"] in (*BAD, SKIPPED) or "found" not in call:
        return str(call["message"])
    counts = {
        **{word: number for word, number in call["summary"].items() if word != "dry_runs"},
        UNCHANGED: call["unchanged"],
    }
    told = [f"{number} {word}" for word, number in counts.items() if number]
    return ", ".join(
        told
        or [
            f"{key} {value}"
            for key, value in call["found"].items()
            if isinstance(value, (str, int, float)) and value != ""
        ]
    )
