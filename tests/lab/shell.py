# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs programs, prints steps, fails with a cause."""
from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

_running: set[subprocess.Popen[str]] = set()
_lock = threading.Lock()
_ended = threading.Event()


class LabError(Exception):
    """What is wrong and what to do about it, in one sentence or two."""


def run(
    *argv: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    text: str | None = None,
    stdin: IO[bytes] | None = None,
    timeout: float | None = None,
) -> str:
    """Standard output. `text` or the file `stdin` is what the program reads. Raises LabError with the end of what it printed."""
    command = [str(a) for a in argv]
    pipe = subprocess.PIPE
    source = pipe if text else stdin or subprocess.DEVNULL
    with _lock:
        if _ended.is_set():
            raise LabError("ended, since another step failed")
        try:
            process = subprocess.Popen(command, cwd=cwd, env=env, stdin=source, stdout=pipe, stderr=pipe, text=True)
        except FileNotFoundError as error:
            raise LabError(f"{argv[0]} is not installed") from error
        _running.add(process)
    try:
        stdout, stderr = process.communicate(text, timeout)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise LabError(f"{argv[0]} took longer than {timeout:g} s") from error
    finally:
        with _lock:
            _running.discard(process)
    if process.returncode:
        tail = "\n".join((stdout + stderr).strip().splitlines()[-15:])
        raise LabError(f"{' '.join(command[:4])} failed with exit status {process.returncode}:\n{tail}")
    return stdout


def accept_programs() -> None:
    _ended.clear()


@contextlib.contextmanager
def ended_together() -> Iterator[None]:
    """If the block fails, the programs that run() has started meanwhile are ended, and no other is started until accept_programs()."""
    try:
        yield
    except BaseException:
        _ended.set()
        with _lock:
            for process in _running:
                process.terminate()
        raise


def bound(*argv: str | Path) -> list[str | Path]:
    """The command, ended by the kernel when this process ends, so that a killed run leaves no build behind."""
    return ["setpriv", "--pdeathsig", "TERM", *argv] if shutil.which("setpriv") else list(argv)


def works(*argv: str | Path, timeout: float = 20) -> bool:
    """Whether the program exits with 0."""
    try:
        return subprocess.run([str(a) for a in argv], capture_output=True, timeout=timeout, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Prints a step and its seconds on standard error."""
    start = time.monotonic()
    say(f"lab: {name} ...")
    yield
    say(f"lab: {name}: {time.monotonic() - start:.1f} s")
