# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps that depend on each other, run side by side, each with its number, its start and how long it takes."""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from . import settings
from .shell import accept_programs, ended_together, say

HEARTBEAT_SECONDS = 60


@dataclass(frozen=True)
class Step:
    """`seconds`: how long it takes on two cores, until a run on this machine is recorded."""

    name: str
    run: Callable[[], object]
    after: tuple[str, ...] = ()
    needed: bool = True
    seconds: float = 5


def execute(steps: Sequence[Step], record: Path | None = None) -> None:
    """Runs the needed steps, each as soon as the steps before it are done. Raises the first LabError after ending the other steps."""
    record = record or settings.CACHE / "durations.json"
    durations = _read(record)
    waiting = {step.name: step for step in steps if step.needed}
    before = {name: {needed for needed in _before(step, steps) if needed in waiting} for name, step in waiting.items()}
    total, started, stopped = len(waiting), 0, threading.Event()
    running: dict[Future[float], Step] = {}
    lines: dict[str, tuple[str, float, float]] = {}
    beat = threading.Thread(target=_heartbeat, args=(lines, stopped), daemon=True)
    beat.start()
    try:
        # The pool waits for its steps when it is left, and they end when their programs do.
        with ThreadPoolExecutor(max_workers=max(total, 1)) as pool, ended_together():
            while waiting or running:
                for name in [name for name in waiting if not before[name]]:
                    step, started = waiting.pop(name), started + 1
                    expected = durations.get(name, step.seconds)
                    label = f"lab: step {started} of {total}: {name}"
                    say(f"{label}: started at {time.strftime('%H:%M:%S')}, takes about {expected:.0f} s")
                    lines[name] = (label, time.monotonic(), expected)
                    running[pool.submit(_timed, step)] = step
                done, _rest = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    step = running.pop(future)
                    label = lines.pop(step.name)[0]
                    durations[step.name] = future.result()
                    say(f"{label}: done in {durations[step.name]:.0f} s")
                    for names in before.values():
                        names.discard(step.name)
                record.parent.mkdir(parents=True, exist_ok=True)
                record.write_text(json.dumps(durations, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    finally:
        stopped.set()
        accept_programs()


def _timed(step: Step) -> float:
    start = time.monotonic()
    step.run()
    return time.monotonic() - start


def _before(step: Step, steps: Sequence[Step]) -> set[str]:
    """Names of all steps before it, also through steps that are not needed."""
    by_name = {entry.name: entry for entry in steps}
    found: set[str] = set()
    left = list(step.after)
    while left:
        name = left.pop()
        if name in by_name and name not in found:
            found.add(name)
            left += by_name[name].after
    return found


def _heartbeat(lines: dict[str, tuple[str, float, float]], stopped: threading.Event) -> None:
    while not stopped.wait(HEARTBEAT_SECONDS):
        for label, start, expected in list(lines.values()):
            seconds = time.monotonic() - start
            if seconds >= HEARTBEAT_SECONDS / 2:
                say(f"{label}: {seconds:.0f} s of about {expected:.0f} s")


def _read(record: Path) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in json.loads(record.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        return {}
