# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of Istio: what they are called, how they are checked, where they are kept."""

from __future__ import annotations

import hashlib
import http.client
import os
import platform
import re
import shutil
import tempfile
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.urls import open_url

from ..._failure import Failure, InvalidOption
from . import archive, cache

MIRROR = "https://github.com/istio/istio/releases/download"
# Python's names of systems and machines -> those in the names of Istio's release files.
SYSTEMS = {"Linux": "linux", "Darwin": "osx", "Windows": "win"}
MACHINES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "AMD64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "armv7",
}
VERSION = re.compile(r"^\d+\.\d+\.\d+(-[A-Za-z0-9.]+)?$")
DIGEST = re.compile(r"^(sha256:)?([0-9a-fA-F]{64})$")
MARK = ".servicemesh-release"


@dataclass(frozen=True)
class IstioRelease:
    """What a user asks for; os and arch empty: those of this host."""

    version: str
    content: str = "archive"
    os: str = ""
    arch: str = ""
    mirror: str = MIRROR
    url: str = ""
    src: str = ""
    checksum: str = ""
    timeout: int = 60

    @property
    def platform(self) -> str:
        system = self.os or SYSTEMS.get(platform.system(), "")
        machine = self.arch or MACHINES.get(platform.machine(), "")
        if not system or not machine:
            raise InvalidOption(
                "os", f"no release exists for {platform.system()} on {platform.machine()}", hint="Set os and arch."
            )
        return f"{system}-{machine}"

    @property
    def file(self) -> str:
        stem = "istio" if self.content == "archive" else "istioctl"
        return f"{stem}-{self.version}-{self.platform}" + (".zip" if self.platform.startswith("win") else ".tar.gz")

    @property
    def source(self) -> str:
        return self.src or self.url or f"{self.mirror.rstrip('/')}/{self.version}/{self.file}"

    @property
    def program(self) -> str:
        """istioctl's place in the unpacked folder."""
        name = "istioctl.exe" if self.platform.startswith("win") else "istioctl"
        return f"istio-{self.version}/bin/{name}" if self.content == "archive" else name


def validate_release(release: IstioRelease) -> None:
    """Raises InvalidOption."""
    if not VERSION.match(release.version):
        raise InvalidOption(
            "version", f"{release.version!r} is not a valid Istio version", hint="Use a full version, such as 1.31.0."
        )
    if (
        release.checksum
        and not DIGEST.match(release.checksum)
        and "://" not in release.checksum
        and not Path(release.checksum).expanduser().exists()
    ):
        raise InvalidOption(
            "checksum",
            f"{release.checksum!r} is not a valid sha256, URL or file",
            hint="Use 64 hexadecimal digits, with or without the prefix sha256:.",
        )


def release_folder(release: IstioRelease, dest: str = "") -> Path:
    """Where this release is kept, one folder per version, platform and content."""
    root = Path(dest).expanduser() if dest else cache.root() / "releases"
    return root / f"{release.version}-{release.platform}" / release.content


def cached_release(release: IstioRelease, place: Path) -> dict[str, Any] | None:
    """The result for a release that is there, whole, and has the wanted checksum; else None."""
    try:
        digest, sha256 = (place / MARK).read_text(encoding="ascii").split()
        program = place / release.program
        if cache.cached_sha256(program) != sha256 or not os.access(program, os.X_OK):
            return None
    except (OSError, ValueError):
        return None
    pinned = DIGEST.match(release.checksum)
    if pinned and pinned[2].lower() != digest:
        return None
    return release_result(release, place, digest)


def release_result(release: IstioRelease, place: Path, digest: str) -> dict[str, Any]:
    """What the module returns; paths are those of the host where the task runs."""
    top = place / f"istio-{release.version}" if release.content == "archive" else place
    return {
        "version": release.version,
        "path": str(top),
        "istioctl": str(place / release.program),
        "checksum": f"sha256:{digest}",
        "source": release.source,
    }


def ensure_release(release: IstioRelease, place: Path) -> tuple[dict[str, Any], bool]:
    """(result, whether it had to be fetched). Of many tasks on one host that want the same release one fetches it, and
    the others wait.
    """
    with cache.exclusive_lock(cache.lock_file(str(place.absolute()))):
        found = cached_release(release, place)
        return (found, False) if found else (fetch_release(release, place), True)


def fetch_release(release: IstioRelease, place: Path) -> dict[str, Any]:
    """Downloads (or reads), verifies and unpacks. Raises Failure "download", "checksum", "unsafe_archive",
    "wrong_archive", ...
    """
    if release.src and not Path(release.src).expanduser().is_file():
        raise InvalidOption("src", f"{release.src} is not a file on the host where this task runs")
    place.parent.mkdir(parents=True, exist_ok=True)
    wanted = _wanted_digest(release)
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=".download.")
    os.close(descriptor)
    download = Path(name)
    try:
        digest = _copy(release.source, download, release.timeout)
        if digest != wanted:
            raise Failure(
                "checksum",
                f"{release.source} has sha256 {digest}, expected {wanted}",
                reason="checksum mismatch",
                hint=(
                    "The file is damaged or was replaced, or the checksum belongs to another file. The file was not"
                    " stored."
                ),
            )
        staging = place.with_name(f".{place.name}.new")
        archive.unpack(download, staging)
        program = staging / release.program
        if not program.is_file():
            shutil.rmtree(staging)
            raise Failure(
                "wrong_archive",
                f"{release.source} does not contain {release.program}",
                hint="Check that version, content, os and arch match the file.",
            )
        program.chmod(0o755)
        (staging / MARK).write_text(f"{digest} {cache.sha256(program)}\n", encoding="ascii")
        if place.exists():
            shutil.rmtree(place)
        os.replace(staging, place)
    finally:
        download.unlink(missing_ok=True)
    return release_result(release, place, digest)


def _wanted_digest(release: IstioRelease) -> str:
    pinned = DIGEST.match(release.checksum)
    if pinned:
        return pinned[2].lower()
    published = release.checksum or f"{release.source}.sha256"
    try:
        text = _read(published, release.timeout).decode("ascii", errors="replace")
    except Failure as failure:
        hint = "Set the option checksum, or put the .sha256 file next to the file." if release.src else failure.hint
        raise Failure(
            "checksum_missing" if release.src else failure.code,
            f"no checksum found: {failure.message}",
            reason=failure.reason,
            hint=hint,
        ) from failure
    match = re.search(r"\b[0-9a-fA-F]{64}\b", text)
    if not match:
        raise Failure("checksum_missing", f"{published} does not contain a sha256", hint="Set the option checksum.")
    return match[0].lower()


def _open(source: str, timeout: int) -> Any:
    if "://" not in source:
        try:
            return open(Path(source).expanduser(), "rb")
        except OSError as error:
            raise InvalidOption(
                "src", f"cannot read {source} on the host where this task runs: {error.strerror}"
            ) from error
    try:
        return open_url(source, timeout=timeout, http_agent="servicemesh.istio")
    except urllib.error.HTTPError as error:
        hint = "Check version, os and arch, or set mirror." if error.code == 404 else "Try again later, or set mirror."
        raise Failure(
            "download", f"{source}: HTTP {error.code} {error.reason}", reason=str(error), hint=hint
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Failure(
            "download",
            f"cannot download {source}: {error}",
            reason=str(error),
            hint="Check the network and proxy of the host where this task runs, or set mirror, url or src.",
        ) from error


def _read(source: str, timeout: int) -> bytes:
    with _open(source, timeout) as handle:
        return b"".join(_chunks(handle, source))[: 1 << 16]


def _copy(source: str, target: Path, timeout: int) -> str:
    digest = hashlib.sha256()
    with _open(source, timeout) as handle, open(target, "wb") as output:
        for chunk in _chunks(handle, source):
            digest.update(chunk)
            output.write(chunk)
    return digest.hexdigest()


def _chunks(handle: Any, source: str) -> Iterator[bytes]:
    try:
        while chunk := handle.read(1 << 20):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise Failure(
            "download", f"download of {source} failed: {error}", reason=str(error), hint="Run again."
        ) from error
