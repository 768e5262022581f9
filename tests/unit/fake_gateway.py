# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HTTP server in a thread that answers, fails and hangs as a test has it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANG_UP, RESET, LEAVE = "hang up", "reset", "leave"
Answer = tuple[int, str]


class Gateway:
    """say(number) gives (status, body), HANG_UP or RESET in place of an answer, or LEAVE to answer 200 and then close
    without a word.

    number  of the probe in the background, else the request's place in the order in which they came
    seen    (path, headers) of each request
    wires   (number, address of the client)
    """

    def __init__(self) -> None:
        self.say: Callable[[int], Answer | str] = lambda number: (200, "v2" if number % 5 == 0 else "v1")
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.wires: list[tuple[int, tuple[str, int]]] = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with lock:
                    outer.seen.append((self.path, dict(self.headers)))
                    number = int(self.headers.get("X-Probe-Number", len(outer.seen)))
                    outer.wires.append((number, self.client_address))
                answer = outer.say(number)
                self.close_connection = self.close_connection or isinstance(answer, str)
                if answer == RESET:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif answer != HANG_UP:
                    self.answer(*((200, "v1") if isinstance(answer, str) else answer))

            def answer(self, status: int, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Server", "banner-" + text)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
                # Without the orderly end that would come before a reset.
                self.close_request(request)

            def handle_error(self, *_args: object) -> None:
                """A client that has given up is no news."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def numbers(self) -> list[int]:
        return [number for number, _address in self.wires]

    @property
    def clients(self) -> set[tuple[str, int]]:
        return {address for _number, address in self.wires}
