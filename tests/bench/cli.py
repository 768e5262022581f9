# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench's command line: brings up its own lab, measures, writes the page and the picture, takes the lab down."""
from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import cli as lab
from lab.shell import LabError, say

from . import breakdown, cases, page, picture, rivals
from .cases import Result
from .contenders import EMPTY, OURS, ROOT, Ground

CASES = ("install", "plane", "create", "objects", "growth")
# The page begins with what people do most.
SHOWN = ("plane", "objects", "create", "install", "growth")


@dataclass(frozen=True)
class Size:
    """How often and how much."""

    rounds: int
    objects: int
    growth: list[int]


FULL = Size(5, 1000, [100, 1000, 3000, 10000])
QUICK = Size(1, 50, [20, 50, 100, 200])


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench", description="Measures this collection beside others, on a lab cluster of its own.")
    parser.add_argument("--quick", action="store_true", help="one run, few objects: whether the bench works, no measurement; the page goes to a temporary folder")
    parser.add_argument("--rounds", type=int, help=f"runs of each contender (default {FULL.rounds})")
    parser.add_argument("--cases", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--output", type=Path, help="folder of bench.md and bench.svg (default docs)")
    options = parser.parse_args()
    chosen = options.cases.split(",")
    if set(chosen) - set(CASES):
        parser.error(f"--cases: some of {','.join(CASES)}")
    size = QUICK if options.quick else FULL
    size = Size(options.rounds or size.rounds, size.objects, size.growth)
    whole = not options.quick and chosen == list(CASES)
    output = options.output or (ROOT / "docs" if whole else Path(tempfile.mkdtemp(prefix="bench-")))
    load = os.getloadavg()[0]
    try:
        lab.up()
        try:
            return _bench(size, chosen, output, load)
        finally:
            if not options.keep:
                lab.down()
    except LabError as error:
        say(f"bench: {error}")
        return 1


def _bench(size: Size, chosen: list[str], output: Path, load: float) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ground = Ground.of_lab(Path(folder), rivals.environment())
        results, breakdowns = _measure(ground, size, chosen)
        output.mkdir(parents=True, exist_ok=True)
        grown = results.get("growth")
        if grown and not grown.failed:
            (output / "bench.svg").write_text(_picture(grown), encoding="utf-8")
        text = page.text([results[name] for name in SHOWN if name in results], breakdowns, ground, size.rounds, load, "bench.svg")
        (output / "bench.md").write_text(text, encoding="utf-8")
    for result in results.values():
        for goal in result.goals:
            say(f"bench: {result.title}: {goal.text}: " + ("failed" if goal.value is None else f"{goal.value:.3g}, {'met' if goal.met else 'NOT MET'}"))
    say(f"bench: written to {output}/bench.md")
    failed = [f"{result.title}: {series.name}: {series.wrong}" for result in results.values() for series in result.series if series.wrong]
    for line in failed:
        say(f"bench: FAILED: {line}")
    return 1 if failed else 0


def _measure(ground: Ground, size: Size, chosen: list[str]) -> tuple[dict[str, Result], list[breakdown.Breakdown]]:
    results: dict[str, Result] = {}
    breakdowns: list[breakdown.Breakdown] = []
    plane = cases.ControlPlane(ground)
    # Install first, while nothing depends on the control plane; it leaves one behind.
    if "install" in chosen:
        results["install"] = cases.fresh_install(ground, size.rounds)
    cases.ready_for_objects(plane)
    if "plane" in chosen:
        results["plane"] = cases.same_control_plane(ground, size.rounds)
        breakdowns += _breakdown(ground, "control plane", plane.ours, results["plane"], results, size)
    if "create" in chosen:
        results["create"] = cases.created(ground, size.rounds, size.objects)
    if "objects" in chosen:
        results["objects"] = cases.same_objects(ground, size.rounds, size.objects)
        breakdowns += _breakdown(ground, f"{size.objects:,} objects", ground.path(f"bench-{size.objects}.yml"), results["objects"], results, size)
    if "growth" in chosen:
        results["growth"] = cases.growth(ground, size.rounds, size.growth)
        most = size.growth[-1]
        breakdowns += _breakdown(ground, f"{most:,} objects", ground.path(f"bench-{most}.yml"), results["growth"], results, size, str(most))
    return results, breakdowns


def _breakdown(
    ground: Ground, title: str, playbook: Path, result: Result, results: dict[str, Result], size: Size, name: str = OURS
) -> list[breakdown.Breakdown]:
    """Needs the empty module of the control plane's case to compare with; without good figures there is nothing to break down."""
    if "plane" not in results or result.of(name).wrong or results["plane"].of(EMPTY).wrong:
        return []
    return [breakdown.of(ground, title, playbook, result.of(name).median, results["plane"].of(EMPTY).median, size.rounds)]


def _picture(result: Result) -> str:
    times = [(int(series.name), series.median) for series in result.series]
    memory = [(int(series.name), series.peak) for series in result.series]
    panels = [picture.Panel("time of the whole command", "s", times), picture.Panel("memory of the largest process", "MiB", memory, cases.MEMORY_GOAL)]
    return picture.svg(panels, "Nothing to change: time and memory over the number of objects")
