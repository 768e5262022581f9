# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacking what came from elsewhere: nothing is written outside of the folder, and nothing is left of a bad
archive.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ..._failure import Failure


def unpack(archive: Path, target: Path) -> None:
    """Unpacks a .tar.gz or .zip so that `target` appears whole or not at all.

    Raises Failure "unsafe_archive" naming the member that leaves the folder, "broken_archive".
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, half)
        else:
            _unpack_tar(archive, half)
        half.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(half, target)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _unpack_tar(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                _check_name(member.name)
                _extract(tar, member, folder)
    except getattr(tarfile, "FilterError", ()) as error:
        raise _unsafe(error.tarinfo.name, str(error)) from error
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise Failure("broken_archive", f"cannot unpack {archive.name}: {error}", hint="Download it again.") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        # The filter refuses links that leave the folder, also through other links, and devices.
        tar.extract(member, folder, filter="data")
    elif member.isdir():
        (folder / member.name).mkdir(parents=True, exist_ok=True)
    elif member.isreg() and (source := tar.extractfile(member)):
        # Pythons before PEP 706 (Debian 12 has one): where no link is ever made, none can lead out of the folder.
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)
        path.chmod(0o755 if member.mode & 0o111 else 0o644)
    else:
        raise _unsafe(member.name, "is neither a file nor a folder")


def _unpack_zip(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as handle:
            for info in handle.infolist():
                _check_name(info.filename)
                mode = info.external_attr >> 16
                if stat.S_ISLNK(mode):
                    raise _unsafe(info.filename, "is a link")
                path = Path(handle.extract(info, folder))
                if mode & 0o111 and path.is_file():
                    path.chmod(0o755)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise Failure("broken_archive", f"cannot unpack {archive.name}: {error}", hint="Download it again.") from error


def _check_name(name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise _unsafe(name, "is outside the folder")


def _unsafe(member: str, why: str) -> Failure:
    return Failure(
        "unsafe_archive",
        f"The archive's member {member!r} {why}",
        reason=why,
        hint="This is not an Istio release: check its source. The archive was not stored.",
    )
