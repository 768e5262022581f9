# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of releases, good and bad, and a mirror that serves them."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "1.31.0"
PROGRAM = f"istio-{VERSION}/bin/istioctl"
SCRIPT = b"#!/bin/sh\necho istioctl\n"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    return info


def tar(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    """A .tar.gz of files (name, content) and of members as they are."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size, info.mode = len(member[1]), 0o755
            archive.addfile(info, io.BytesIO(member[1]))
    # Without the time of day the same members are the same bytes.
    return gzip.compress(target.getvalue(), mtime=0)


def good(script: bytes = SCRIPT) -> bytes:
    return tar((PROGRAM, script), (f"istio-{VERSION}/samples/README.md", b"samples\n"))


def zipped(*members: tuple[str, bytes], links: tuple[str, ...] = (), plain: tuple[str, ...] = ()) -> bytes:
    """A .zip of programs; of links, whose content is their target; and of plain files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (
                stat.S_IFLNK | 0o777 if name in links else stat.S_IFREG | (0o644 if name in plain else 0o755)
            ) << 16
            archive.writestr(info, content)
    return target.getvalue()


class Mirror:
    """A server of the given files. `asked` lists the paths of all requests; `broken` are paths whose answer breaks
    off.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self.url = ""

    def add(self, file: str, content: bytes) -> None:
        """A release's file, with its checksum beside it."""
        self.files[f"/{VERSION}/{file}"] = content
        self.files[f"/{VERSION}/{file}.sha256"] = f"{digest(content)}  {file}\n".encode()


@contextlib.contextmanager
def mirror() -> Iterator[Mirror]:
    served = Mirror({})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            content = served.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in served.broken else content)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def tree(folder: Path) -> list[str]:
    """Names of everything below a folder, hidden files included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
