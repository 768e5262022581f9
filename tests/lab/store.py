# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files kept by the content they were made from. What is half-written never gets its name."""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from .shell import step


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


def kept(path: Path, make: Callable[[Path], None], what: str = "") -> Path:
    """The file at `path`, made under another name and then renamed where it is missing."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    if half.is_dir():
        shutil.rmtree(half)
    half.unlink(missing_ok=True)
    with step(what or path.name):
        make(half)
        half.replace(path)
    return path


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One run at a time; a second one waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
