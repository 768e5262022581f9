# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs commands and measures them: wall time of the whole command, peak memory of its largest process."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from lab.shell import say

# Share of all cores. A lab that does nothing takes about a tenth of two.
IDLE = 0.6


@dataclass(frozen=True)
class Ran:
    """seconds: wall time; cpu: seconds of processor; peak: MiB of the largest process. The last two of the command and
    its descendants.
    """

    seconds: float
    cpu: float
    peak: float
    status: int
    text: str
    wrong: str = ""


def run(argv: list[str], environment: Mapping[str, str], cwd: Path) -> Ran:
    """Output goes to a file: a pipe would have to be drained while the clock runs."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        child = subprocess.Popen(
            argv, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _pid, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return Ran(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
            child.returncode,
            output.read().decode(errors="replace"),
        )


@dataclass
class Contender:
    """One of those that are measured side by side.

    before  untimed, ahead of each run: puts the cluster into the state that the case is about
    check   what is wrong with a run, or nothing; looks at the cluster too, untimed
    """

    name: str
    run: Callable[[], Ran]
    check: Callable[[Ran], str]
    before: Callable[[], None] = lambda: None


@dataclass
class Series:
    """The runs of one contender in one case, in order."""

    name: str
    runs: list[Ran] = field(default_factory=list)

    @property
    def wrong(self) -> str:
        """Why the figures mean nothing, or nothing."""
        return next((run.wrong for run in self.runs if run.wrong), "" if self.runs else "it was not run")

    @property
    def seconds(self) -> list[float]:
        return [run.seconds for run in self.runs]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def cpu(self) -> float:
        return median(run.cpu for run in self.runs)

    @property
    def peak(self) -> float:
        return max(run.peak for run in self.runs)


def ratio(one: Series, other: Series) -> float:
    """Median of the ratios of the pairs: both runs of a pair were made one after the other, so a drift of the machine
    hits both.
    """
    return median(a / b for a, b in zip(one.seconds, other.seconds))


def side_by_side(title: str, contenders: list[Contender], rounds: int) -> list[Series]:
    """A B A B ...; a contender whose result is not as intended is not run again."""
    series = {contender.name: Series(contender.name) for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            mine = series[contender.name]
            if any(run.wrong for run in mine.runs):
                continue
            contender.before()
            ran = contender.run()
            wrong = contender.check(ran)
            mine.runs.append(replace(ran, text="", wrong=wrong))
            say(
                f"bench: {title}, round {number + 1}, {contender.name}: {ran.seconds:.2f} s, {ran.cpu:.2f} s of"
                f" processor, {ran.peak:.0f} MiB" + (f" FAILED: {wrong}" if wrong else "")
            )
            if wrong:
                say("\n".join(ran.text.strip().splitlines()[-25:]))
    return list(series.values())


def settle(longest: float = 15.0) -> None:
    """Returns once the machine was mostly idle for half a second, so that the end of one thing is not measured with the
    next.
    """
    give_up = time.monotonic() + longest
    while True:
        before = _ticks()
        time.sleep(0.5)
        after = _ticks()
        if (after[1] - before[1]) >= IDLE * (after[0] - before[0]) or time.monotonic() >= give_up:
            return


def _ticks() -> tuple[int, int]:
    """(all, idle) ticks of all cores since the start of the machine."""
    numbers = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return sum(numbers), numbers[3] + numbers[4]
