# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy's admin endpoint for the levels of its log, which answers as Envoy 1.40 was seen to."""

from __future__ import annotations

import socket
import threading
from urllib.parse import parse_qsl, urlsplit

from memory_api import MemoryApi


class FakeProxy:
    """`requests` of the API get an ("ASK", path) for each question.

    levels  {logger: level}
    asked   "METHOD PATH" of all questions
    deaf    it takes no change, and says nothing of that
    gone    it closes each connection that would change it
    """

    def __init__(self, api: MemoryApi, pod: str, namespace: str = "shop") -> None:
        self.api = api
        self.levels = {"admin": "warning", "http": "warning", "misc": "error", "router": "warning"}
        self.asked: list[str] = []
        self.deaf = self.gone = False
        api.tunnels[(namespace, pod, 15000)] = self.connect

    def connect(self) -> socket.socket:
        near, far = socket.socketpair()
        threading.Thread(target=self._serve, args=(far,), daemon=True).start()
        return near

    def _serve(self, far: socket.socket) -> None:
        with far:
            method, target = far.recv(65536).decode().split()[:2]
            self.asked.append(f"{method} {target}")
            self.api.requests.append(("ASK", target))
            if self.gone and "?" in target:
                return
            status, text = self._answer(method, target)
            far.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())

    def _answer(self, method: str, target: str) -> tuple[str, str]:
        path = urlsplit(target)
        if method != "POST":
            return "405 Method Not Allowed", "Method GET not allowed, POST required."
        if path.path != "/logging":
            return "404 Not Found", "invalid path."
        wanted = dict(part.split(":") for part in dict(parse_qsl(path.query)).get("paths", "").split(",") if part)
        if set(wanted) - set(self.levels):
            return "400 Bad Request", "error: unknown logger name\n"
        if not self.deaf:
            self.levels.update(wanted)
        return (
            "200 OK",
            "active loggers:\n" + "".join(f"  {name}: {level}\n" for name, level in self.levels.items()) + "\n",
        )
