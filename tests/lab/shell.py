# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running programs, telling steps, failing with a cause."""
from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path


class LabError(Exception):
    """What is wrong and what to do about it, in one sentence or two."""


def run(*argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, text: str | None = None, timeout: float | None = None) -> str:
    """Standard output. Raises LabError with the end of what the program said."""
    try:
        done = subprocess.run([str(a) for a in argv], cwd=cwd, env=env, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{argv[0]} took longer than {timeout:g} s") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise LabError(f"{' '.join(str(a) for a in argv[:4])} failed with exit status {done.returncode}:\n{tail}")
    return done.stdout


def works(*argv: str | Path, timeout: float = 20) -> bool:
    """Whether the program ends with 0."""
    try:
        return subprocess.run([str(a) for a in argv], capture_output=True, timeout=timeout, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Tells a step and its seconds, on standard error."""
    start = time.monotonic()
    say(f"lab: {name} ...")
    yield
    say(f"lab: {name}: {time.monotonic() - start:.1f} s")
