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

from . import breakdown, cases, page, picture
from .cases import Result
from .competitors import EMPTY, OURS, ROOT, Ground, other_environment

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
    parser = argparse.ArgumentParser(
        prog="tests/bench", description="Measures this collection beside others, on a lab cluster of its own."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one run, few objects: whether the bench works, no measurement; the page goes to a temporary folder",
    )
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
        ground = Ground.of_lab(Path(folder), other_environment())
        session = Session(ground, size)
        for name in [name for name in CASES if name in chosen]:
            session.attempt(name)
        output.mkdir(parents=True, exist_ok=True)
        grown = session.results.get("growth")
        if grown and not grown.failed:
            (output / "bench.svg").write_text(_picture(grown), encoding="utf-8")
        results = [session.results[name] for name in SHOWN if name in session.results]
        text = page.text(results, session.breakdowns, session.broken, ground, size.rounds, load, "bench.svg")
        (output / "bench.md").write_text(text, encoding="utf-8")
    for result in results:
        for goal in result.goals:
            say(
                f"bench: {result.title}: {goal.text}: "
                + ("failed" if goal.value is None else f"{goal.value:.3g}, {'met' if goal.met else 'NOT MET'}")
            )
    say(f"bench: written to {output}/bench.md")
    failed = session.broken + [
        f"{result.title}: {series.name}: {series.wrong}"
        for result in results
        for series in result.series
        if series.wrong
    ]
    for line in failed:
        say(f"bench: FAILED: {line}")
    return 1 if failed else 0


class Session:
    """The cases, one after the other; one that breaks takes no other with it."""

    def __init__(self, ground: Ground, size: Size) -> None:
        self.ground, self.size = ground, size
        self.plane = cases.ControlPlane(ground)
        self.results: dict[str, Result] = {}
        self.breakdowns: list[breakdown.Breakdown] = []
        self.broken: list[str] = []
        self.ansible: float | None = None

    def attempt(self, name: str) -> None:
        try:
            if name != "install":
                cases.at_rest(self.plane)
            {
                "install": self.install,
                "plane": self.same_plane,
                "create": self.create,
                "objects": self.objects,
                "growth": self.growth,
            }[name]()
        except LabError as error:
            self.broken.append(f"case {name} broke off: {error}")
            say(f"bench: FAILED: {self.broken[-1]}")

    def install(self) -> None:
        self.results["install"] = cases.fresh_install(self.plane, self.size.rounds)

    def same_plane(self) -> None:
        self.results["plane"] = cases.same_control_plane(self.plane, self.size.rounds)
        cases.at_rest(self.plane)
        empty = self.results["plane"].of(EMPTY)
        if not empty.wrong:
            self.ansible = breakdown.ansible_itself(self.ground, self.plane.empty, empty.median, self.size.rounds)
        self._break_down("control plane", self.plane.ours, self.results["plane"])

    def create(self) -> None:
        self.results["create"] = cases.created(self.ground, self.size.rounds, self.size.objects)

    def objects(self) -> None:
        self.results["objects"] = cases.same_objects(self.ground, self.size.rounds, self.size.objects)
        self._break_down(
            f"{self.size.objects:,} objects",
            self.ground.path(f"bench-{self.size.objects}.yml"),
            self.results["objects"],
        )

    def growth(self) -> None:
        most = self.size.growth[-1]
        self.results["growth"] = cases.growth(self.ground, self.size.rounds, self.size.growth)
        self._break_down(f"{most:,} objects", self.ground.path(f"bench-{most}.yml"), self.results["growth"], str(most))

    def _break_down(self, title: str, playbook: Path, result: Result, name: str = OURS) -> None:
        """Beside the empty module of the control plane's case; without good figures there is nothing to break down."""
        if self.ansible is not None and not result.of(name).wrong:
            self.breakdowns.append(
                breakdown.of(self.ground, title, playbook, result.of(name).median, self.ansible, self.size.rounds)
            )


def _picture(result: Result) -> str:
    times = [(int(series.name), series.median) for series in result.series]
    memory = [(int(series.name), series.peak) for series in result.series]
    panels = [
        picture.Panel("time of the whole command", "s", times),
        picture.Panel("memory of the largest process", "MiB", memory, cases.MEMORY_GOAL),
    ]
    return picture.svg(panels, "Nothing to change: time and memory over the number of objects")
