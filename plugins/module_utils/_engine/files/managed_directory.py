# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder made equal to wanted texts. Its index names the files that are its own: no other one is ever replaced or
deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..._failure import Failure, InvalidOption
from ..planning.change import CONFIGURED, CREATED, PRUNED, UNCHANGED
from . import atomic_write
from .atomic_write import PRIVATE

INDEX = "index.yaml"
# A part of a file's name: nothing that is hidden, leads upwards or begins at the root.
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
PUBLIC = 0o666


@dataclass(frozen=True)
class FileChange:
    """What is to become of one file. before, after: its text; None where there is none.

    private  for its owner's eyes only
    """

    name: str
    action: str
    before: str | None
    after: str | None
    private: bool = False

    @property
    def changes(self) -> bool:
        return self.action != UNCHANGED


def safe_path(root: Path, name: str) -> Path:
    """The file's path. Raises Failure "unsafe_path" for a name that could lead out of the folder, also by a link."""
    path = root
    for part in name.split("/"):
        path = path / part
        if not PART.fullmatch(part) or path.is_symlink():
            raise Failure(
                "unsafe_path",
                f"{root}: {name!r} is outside the folder",
                hint="Nothing was written or deleted. Use another folder.",
            )
    return path


def read_file(root: Path, name: str) -> str | None:
    """The file's text; None where there is no such file. Raises Failure "unsafe_path", OSError."""
    try:
        return safe_path(root, name).read_bytes().decode("utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None


def require_empty(root: Path, option: str) -> None:
    """For a folder without an index. Raises InvalidOption where it holds anything; what is hidden, such as .git, does
    not count.
    """
    if root.exists() and not root.is_dir():
        raise InvalidOption(option, f"{root} is not a folder on the host where this task runs")
    found = sorted(path.name for path in root.iterdir() if not path.name.startswith(".")) if root.exists() else []
    if found:
        raise InvalidOption(
            option,
            f"{root} contains {found[0]}, but no {INDEX} of this collection",
            hint="Use an empty folder, or a folder that does not exist yet.",
            code="not_ours",
        )


def plan_files(
    root: Path, wanted: dict[str, str], owned: Collection[str], private: Collection[str] = ()
) -> list[FileChange]:
    """In order of name. owned: names that the folder's index has; private: folders whose files are for their owner
    only.

    Raises Failure "unsafe_path", "not_ours" for a file in the way that the index does not name.
    """
    found = []
    for name in sorted({*wanted, *owned}):
        before, after, hidden = read_file(root, name), wanted.get(name), name.partition("/")[0] in private
        if after is not None and before is not None and name not in owned:
            raise Failure(
                "not_ours",
                f"{safe_path(root, name)} already exists and was not written by this collection",
                hint="Move it, or use another folder.",
            )
        if after is None:
            if before is not None:
                found.append(FileChange(name, PRUNED, before, None, hidden))
        elif before is None:
            found.append(FileChange(name, CREATED, None, after, hidden))
        else:
            same = before == after and not (hidden and stat.S_IMODE(safe_path(root, name).stat().st_mode) & ~PRIVATE)
            found.append(FileChange(name, UNCHANGED if same else CONFIGURED, before, after, hidden))
    return found


def apply_files(root: Path, changes: list[FileChange]) -> None:
    """Each file all or nothing; folders that are empty then go, too. Raises Failure "unsafe_path", OSError."""
    for change in changes:
        path = safe_path(root, change.name)
        if change.after is not None and change.changes:
            write_text(path, change.after, PRIVATE if change.private else PUBLIC & ~_umask())
        elif change.action == PRUNED:
            path.unlink(missing_ok=True)
            _drop_empty(path.parent, root)


def write_text(path: Path, text: str, mode: int) -> None:
    """All or nothing, and on the disk before it takes the old one's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write.write_file(path, text.encode("utf-8"), mode, durable=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _drop_empty(folder: Path, root: Path) -> None:
    while folder != root:
        with contextlib.suppress(OSError):
            folder.rmdir()
        folder = folder.parent
