# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of ours that stays after the module has ended, is found again by name, and is ended by its id."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from .._failure import Failure
from .._istio.binaries import cache

# Seconds between two looks at a process that is to end.
BETWEEN_LOOKS = 0.1


@dataclass(frozen=True)
class ProcessPlace:
    """Where the process of one kind and name keeps its files: a folder of its own that nobody else may read."""

    kind: str
    name: str

    @property
    def folder(self) -> Path:
        return cache.root() / self.kind / self.name

    @property
    def record(self) -> Path:
        return self.folder / "process.json"

    def emptied(self, name: str) -> Path:
        """A private folder of this name in it, with nothing of an earlier process. Raises OSError."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return private_folder(self.folder / name)


@dataclass(frozen=True)
class Process:
    """about: what was said of it at its start, no secret among it; born: when it began, in the kernel's ticks."""

    pid: int
    born: str
    about: dict[str, Any]

    @property
    def alive(self) -> bool:
        """A process id alone may be another's by now."""
        return _birth(self.pid) == self.born


def find_process(place: ProcessPlace) -> Process | None:
    """The last process of this name, whether it is alive or not; None where there was none, or its record is no
    good.
    """
    try:
        kept = json.loads(place.record.read_text(encoding="utf-8"))
        return Process(int(kept["pid"]), str(kept["born"]), dict(kept["about"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _birth(pid: int) -> str | None:
    """When a process began, None where it has ended; a zombie has, once its last thread has let go of the files.
    Without /proc, "" where it runs.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return ""
    # As proc(5) has them, less the first two: state, number of threads, start.
    state, threads, born = fields[0], int(fields[17]), fields[19]
    return None if state in "ZX" and threads <= 1 else born


def private_folder(folder: Path) -> Path:
    """The folder, made if need be, open to its owner alone. Raises OSError where it is somebody else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


@contextlib.contextmanager
def exclusive_access(place: ProcessPlace) -> Iterator[None]:
    """No other call on this host starts or ends the process of this name meanwhile."""
    with cache.exclusive_lock(private_folder(place.folder) / "lock"):
        yield


def start_process(
    place: ProcessPlace,
    about: dict[str, Any],
    prepare: Callable[[], None],
    work: Callable[[], None],
    kept: frozenset[int] = frozenset(),
) -> Process:
    """A new process that does the work until it is done or ended. It has the caller's memory, and of its open files
    only the kept ones.

    prepare  runs in it while the caller still waits; where this raises, nothing is left
    Raises Failure "not_started".
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                _run(place, about, prepare, work, kept, writer)
        finally:
            # Whatever happens, the child must not go on in the caller's code.
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, "rb") as pipe:
        answer = json.loads(pipe.read() or b'{"error": "it ended before it could answer"}')
    if "error" in answer:
        raise Failure(
            "not_started",
            f"cannot start the background process: {answer['error']}",
            reason=answer["error"],
            hint="Check that the cache folder is writable. XDG_CACHE_HOME sets another folder.",
        )
    return Process(answer["pid"], answer["born"], about)


def _run(
    place: ProcessPlace,
    about: dict[str, Any],
    prepare: Callable[[], None],
    work: Callable[[], None],
    kept: frozenset[int],
    writer: int,
) -> None:
    try:
        _become_daemon(kept | {writer})
        private_folder(place.folder)
        prepare()
        answer = {"pid": os.getpid(), "born": _birth(os.getpid())}
        # By the process itself, so that it is found again also where its caller is killed now.
        cache.write_atomically(place.record, json.dumps({**answer, "about": about}).encode())
    except Exception as error:
        os.write(writer, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return
    os.write(writer, json.dumps(answer).encode())
    os.close(writer)
    gc.enable()
    work()


def _become_daemon(kept: frozenset[int]) -> None:
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    # Ansible waits until its pipes are closed, and a server until its connections are. The numbers stay taken: objects
    # that hold them may close them later.
    for descriptor in {0, 1, 2, *_open_files()} - kept - {null}:
        os.dup2(null, descriptor)
    os.close(null)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout = sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8")


def _open_files() -> list[int]:
    found = [int(name) for name in os.listdir("/dev/fd")]
    # One of them was the listing's own.
    return [descriptor for descriptor in found if _is_open(descriptor)]


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
        return True
    except OSError:
        return False


def stop_process(process: Process, patience: float) -> None:
    """Ends it, and waits until it has ended: by request, and by force after `patience` seconds. Does nothing to a
    process that is not ours.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + patience
        if process.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        while process.alive and time.monotonic() < end:
            time.sleep(BETWEEN_LOOKS)
