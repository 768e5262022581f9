# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release archives of Istio, in the official layout, made from what was built; served on loopback."""
from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from . import images, programs, settings, store
from .shell import LabError, run, works

FOLDERS = ("manifests", "samples", "tools")
SERVER_IMAGE = "localhost/lab/files:stand-in"


def folder() -> Path:
    return settings.CACHE / "releases"


def url() -> str:
    return f"http://127.0.0.1:{settings.PORT}"


def built(version: str) -> bool:
    """Whether the archives are served, as today's programs and sources make them."""
    mark = folder() / version / ".key"
    return mark.exists() and mark.read_text(encoding="ascii") == _key(version)


def _key(version: str) -> str:
    pinned = settings.HERE / "go" / settings.ISTIO[version] / "go.mod"
    return store.key(programs.PROGRAMS[f"istioctl-{version}"].identity, pinned, "charts with their version")


def build(version: str) -> None:
    """istio-VERSION-linux-amd64.tar.gz and istioctl-VERSION-linux-amd64.tar.gz, each with its .sha256."""
    istioctl, source = programs.build(f"istioctl-{version}"), programs.source(version)
    key = _key(version)
    top = f"istio-{version}"

    def whole(target: Path) -> None:
        with _archive(target) as tar:
            _add(tar, istioctl, f"{top}/bin/istioctl", 0o755)
            for name in FOLDERS:
                for path in sorted(p for p in (source / name).rglob("*") if p.is_file()):
                    _add(tar, path, f"{top}/{path.relative_to(source)}", 0o755 if path.suffix == ".sh" else 0o644, _stamped(path, version))

    def alone(target: Path) -> None:
        with _archive(target) as tar:
            _add(tar, istioctl, "istioctl", 0o755)

    for name, make in ((f"istio-{version}-linux-amd64.tar.gz", whole), (f"istioctl-{version}-linux-amd64.tar.gz", alone)):
        kept = store.kept(settings.CACHE / "archives" / key / name, make)
        served = folder() / version / name
        served.parent.mkdir(parents=True, exist_ok=True)
        if not served.exists() or not served.samefile(kept):
            served.unlink(missing_ok=True)
            served.hardlink_to(kept)
        digest = hashlib.sha256(kept.read_bytes()).hexdigest()
        served.with_name(f"{name}.sha256").write_text(f"{digest}  {name}\n", encoding="ascii")
    (folder() / version / ".key").write_text(key, encoding="ascii")


def _stamped(path: Path, version: str) -> bytes:
    """A file's content. In the module's sources charts bear no version: a release's have its own, and name its images."""
    content = path.read_bytes()
    if "charts" not in path.parts or path.name not in ("Chart.yaml", "values.yaml"):
        return content
    for before, after in (
        (b"ersion: 1.0.0\n", f"ersion: {version}\n"),
        (b" hub: registry.istio.io/testing\n", " hub: docker.io/istio\n"),
        (b" tag: latest\n", f" tag: {version}\n"),
    ):
        content = content.replace(before, after.encode())
    return content


def _archive(target: Path) -> tarfile.TarFile:
    # A fixed time in gzip's and in each member's header: the same input makes the same archive.
    return tarfile.open(fileobj=gzip.GzipFile(target, "wb", compresslevel=1, mtime=0), mode="w")


def _add(tar: tarfile.TarFile, path: Path, name: str, mode: int, content: bytes | None = None) -> None:
    data = path.read_bytes() if content is None else content
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))


def served() -> bool:
    try:
        with urllib.request.urlopen(f"{url()}/{settings.DEFAULT_ISTIO}/istioctl-{settings.DEFAULT_ISTIO}-linux-amd64.tar.gz.sha256", timeout=3) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def serve() -> None:
    """A container that comes back with the engine. Raises LabError where the port is taken by something else."""
    if served():
        return
    text = "FROM scratch\nCOPY standin /usr/local/bin/standin\nENTRYPOINT [\"/usr/local/bin/standin\", \"files\", \"-dir\", \"/srv\", \"-listen\", \":8080\"]\n"
    images.Image(SERVER_IMAGE, text, {"standin": programs.PROGRAMS["standin"]}).build()
    name = f"{settings.NAME}-releases"
    works("docker", "rm", "-f", name)
    run(
        "docker", "run", "-d", "--name", name, "--restart", "unless-stopped", "-p", f"127.0.0.1:{settings.PORT}:8080", "-v", f"{folder()}:/srv:ro", SERVER_IMAGE
    )
    for _ in range(20):
        if served():
            return
        works("sleep", "0.25")
    raise LabError(f"{url()} does not serve the release archives; is port {settings.PORT} taken? LAB_PORT chooses another.")


def stop() -> None:
    works("docker", "rm", "-f", f"{settings.NAME}-releases")
