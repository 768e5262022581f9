# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where downloads and renderings are kept: outside of every project, by content."""
from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from .._engine import files


def root() -> Path:
    """$XDG_CACHE_HOME/servicemesh.istio, or ~/.cache/servicemesh.istio."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "servicemesh.istio"


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def kept_sha256(path: Path) -> str:
    """The file's sha256, remembered for as long as its size, times and place on the disk are the same."""
    state = path.stat()
    key = hashlib.sha256(f"{path} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}".encode()).hexdigest()
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
    files.write(path, data)
