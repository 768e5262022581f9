# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where downloads and renderings are kept: outside of every project, by content."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..._engine.files import atomic_write


def root() -> Path:
    """$XDG_CACHE_HOME/servicemesh.istio, or ~/.cache/servicemesh.istio."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "servicemesh.istio"


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def cached_sha256(path: Path) -> str:
    """The file's sha256, remembered for as long as its size, times and place on the disk are the same."""
    state = path.stat()
    key = hashlib.sha256(
        f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}".encode()
    ).hexdigest()
    kept = root() / "digests" / key
    try:
        return kept.read_text(encoding="ascii")
    except OSError:
        digest = sha256(path)
        # A cache that cannot be written costs time only.
        with contextlib.suppress(OSError):
            write_atomically(kept, digest.encode("ascii"))
        return digest


def write_atomically(path: Path, data: bytes) -> None:
    """All or nothing, also when two runs write the same file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic_write.write_file(path, data)


def lock_file(name: str) -> Path:
    """The file by which calls wait for each other that make the same thing, whatever its name. Raises OSError."""
    folder = root() / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / hashlib.sha256(name.encode()).hexdigest()


@contextlib.contextmanager
def exclusive_lock(lock: Path) -> Iterator[None]:
    """No other call on this host is inside meanwhile. The file stays: one that is deleted would let two in. Raises
    OSError.
    """
    with open(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
