# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files cached by the content they were made from. An incomplete file never gets its final name."""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import settings
from .shell import say

_threads: dict[Path, threading.Lock] = {}


def key(*inputs: str | bytes | Path) -> str:
    """Twelve hex digits of the inputs; a Path stands for its content, a folder for that of all files in it."""
    digest = hashlib.sha256()
    for item in inputs:
        for part in _parts(item):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


def _parts(item: str | bytes | Path) -> Iterator[bytes]:
    if isinstance(item, Path) and item.is_dir():
        for path in sorted(p for p in item.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            yield str(path.relative_to(item)).encode()
            yield path.read_bytes()
    elif isinstance(item, Path):
        yield item.read_bytes()
    else:
        yield item.encode() if isinstance(item, str) else item


@dataclass(frozen=True)
class Made:
    """A file or folder that locate() finds or makes. Its identity tells what it is made from, and is known before."""

    identity: str
    locate: Callable[[], Path]


def kept(path: Path, make: Callable[[Path], None]) -> Path:
    """The file at `path`. If it is missing, make() writes it under another name, and it is renamed when it is complete."""
    if not used(path):
        with locked(path.parent, path.name):
            if not path.exists():
                half = path.with_name(f".{path.name}.half")
                remove(half)
                make(half)
                half.replace(path)
    return path


def used(path: Path) -> bool:
    """Whether the file is there. Its time of last use keeps it from being pruned."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)
        return True
    return False


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def prune(folder: Path, days: float) -> list[str]:
    """Deletes the entries of the folder that no run has used for so many days. Returns their names."""
    limit = time.time() - days * 86400
    entries = [path for path in folder.glob("*") if not path.name.endswith(".lock")] if folder.is_dir() else []
    old = [path for path in entries if path.lstat().st_mtime < limit]
    for path in old:
        remove(path)
    return sorted(path.name for path in old)


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """A folder on the cache's own disk, deleted afterwards."""
    place = settings.CACHE / "tmp"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@contextlib.contextmanager
def locked(folder: Path, name: str = "") -> Iterator[None]:
    """One process, and one thread of it, at a time. A second process waits and says so."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{name}.lock"
    with _threads.setdefault(path, threading.Lock()), open(path, "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"lab: waiting for another run to finish with {name or folder.name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
