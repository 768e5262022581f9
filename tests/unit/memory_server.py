# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API in memory behind HTTP, for tests in which the truth is a real ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from collection import ROOT
from memory_api import MemoryApi


@contextmanager
def serve(api: MemoryApi) -> Iterator[str]:
    """Yields the server's URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path, query = unquote(parts.path), dict(parse_qsl(parts.query))
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                if "watch" in query:
                    self._watch(path, query)
                    return
                body = json.loads(text) if text else None
                content, code = (
                    api.request(
                        self.command,
                        path,
                        query,
                        body,
                        self.headers.get("Content-Type") or "",
                        self.headers.get("Accept") or "",
                    ),
                    200,
                )
            except ApiError as error:
                status = {
                    "kind": "Status",
                    "code": error.status,
                    "reason": error.reason,
                    "message": error.message,
                    "details": error.details,
                }
                content, code = status, error.status
            answer = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_PATCH = do_DELETE = do_GET

        def _watch(self, path: str, query: dict[str, str]) -> None:
            self.close_connection = True
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            for event in api.watch(path, query, float(query["timeoutSeconds"])):
                self.wfile.write(json.dumps(event).encode() + b"\n")
                self.wfile.flush()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def kubeconfig(folder: Path, server: str) -> Path:
    content = {"apiVersion": "v1", "kind": "Config", "current-context": "memory", "users": [{"name": "me", "user": {}}]}
    content["contexts"] = [{"name": "memory", "context": {"cluster": "memory", "user": "me"}}]
    content["clusters"] = [{"name": "memory", "cluster": {"server": server}}]
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


def environment(folder: Path) -> dict[str, str]:
    """Of a shell in this folder that knows the collection, its kubeconfig and no other cluster."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("K8S_AUTH_", "ANSIBLE_", "SERVICEMESH_"))
    }
    own = {"KUBECONFIG": str(folder / "kubeconfig"), "XDG_CACHE_HOME": str(folder / "cache"), "no_proxy": "127.0.0.1"}
    ansible = {
        "COLLECTIONS_PATH": str(ROOT / ".collections"),
        "NOCOLOR": "1",
        "LOCALHOST_WARNING": "0",
        "INVENTORY_UNPARSED_WARNING": "0",
    }
    return {**kept, **own, **{f"ANSIBLE_{name}": value for name, value in ansible.items()}}


def playbook_command(playbook: str | Path, *arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook), *arguments]


def play(folder: Path, playbook: str | Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """ansible-playbook in this folder, on the cluster of its kubeconfig and on no other; `more` are variables of its
    environment.
    """
    return subprocess.run(
        playbook_command(playbook, *arguments),
        cwd=folder,
        env={**environment(folder), **more},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
