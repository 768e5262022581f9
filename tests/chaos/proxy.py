# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands between a module and the API server, and does wrong where it is told to."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# Of what a module sends, by its stages; searched in "METHOD /path?query".
STAGES = {
    "discovery": r"^GET /apis?$",
    "list": r"^GET \S+\?limit=",
    "dry run": r"^PATCH \S+dryRun=All",
    "apply": r"^PATCH (?!\S+dryRun=All)",
    "watch": r"^GET \S+watch=1",
}
PASS, RESET, LOSE, STALL = "pass", "reset", "lose", "stall"
# As the API server words them: the first by priority and fairness, in plain text.
REFUSALS = {
    429: "Too many requests, please try again later.\n",
    503: {"reason": "ServiceUnavailable", "message": "the server is currently unable to handle the request"},
    401: {"reason": "Unauthorized", "message": "Unauthorized"},
}
UPSTREAM_TIMEOUT = 120
FOR_EVER = 10**9


@dataclass
class Rule:
    """What is done to the requests that match, from the n-th on, so many times.

    act     pass, a status, reset (the connection), lose (the answer, after the server has had the request), stall (for
            `seconds`, then pass)
    before  called before the act
    after   called when the server has answered, before the answer is passed on
    token   only requests with this bearer token count
    """

    act: str | int
    pattern: str
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    before: Callable[[], Any] | None = None
    after: Callable[[], Any] | None = None
    token: str = ""
    matched: int = 0

    def acts(self, request: str, token: str) -> bool:
        if not re.search(self.pattern, request) or (self.token and self.token != token):
            return False
        self.matched += 1
        return self.nth <= self.matched < self.nth + self.times

    @property
    def hits(self) -> int:
        return max(0, min(self.matched - self.nth + 1, self.times))


class Proxy:
    """https://127.0.0.1:<port>, with a certificate of its own; `requests` has all that came, in order."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.requests: list[str] = []
        self.rules: list[Rule] = []
        self.upstream, self.credentials = _upstream(kubeconfig, folder)
        self._folder = folder
        self._lock = threading.Lock()
        self._authority, certificate = _certificate(folder)
        handler = type("BoundHandler", (Handler,), {"proxy": self})
        self._server = Server(("127.0.0.1", 0), handler)
        self._server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.context.load_cert_chain(certificate)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def on(self, act: str | int, pattern: str, **how: Any) -> Rule:
        """A further rule; the first that matches acts."""
        rule = Rule(act, pattern, **how)
        with self._lock:
            self.rules.append(rule)
        return rule

    def clear(self) -> None:
        with self._lock:
            self.rules.clear()
            self.requests.clear()

    def kubeconfig(self, token: str = "") -> str:
        """Path of a kubeconfig whose server is the proxy; its client certificate to the server is the proxy's own."""
        path = self._folder / f"kubeconfig-{token or 'none'}"
        server = f"https://127.0.0.1:{self._server.server_address[1]}"
        clusters = [
            {
                "name": "faulty",
                "cluster": {"server": server, "certificate-authority-data": base64.b64encode(self._authority).decode()},
            }
        ]
        users = [{"name": "someone", "user": {"token": token} if token else {}}]
        contexts = [{"name": "faulty", "context": {"cluster": "faulty", "user": "someone"}}]
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": clusters,
                    "users": users,
                    "contexts": contexts,
                    "current-context": "faulty",
                }
            )
        )
        return str(path)

    def rule_for(self, request: str, token: str) -> Rule:
        with self._lock:
            self.requests.append(request)
            # Every rule counts, also one that another one comes before.
            acting = [rule for rule in self.rules if rule.acts(request, token)]
        return acting[0] if acting else Rule(PASS, "")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread: a client that never speaks must not hold the others up.
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    connection: ssl.SSLSocket

    def setup(self) -> None:
        super().setup()
        self.upstream: http.client.HTTPSConnection | None = None

    def finish(self) -> None:
        if self.upstream:
            self.upstream.close()
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests say what they saw themselves."""

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = self.proxy.rule_for(
            f"{self.command} {self.path}", (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        )
        if rule.before:
            rule.before()
        if rule.act == STALL:
            time.sleep(rule.seconds)
        if isinstance(rule.act, int):
            self._refuse(rule.act, rule.seconds)
        elif rule.act == RESET:
            self._reset()
        else:
            self._forward(body, rule)

    do_GET = do_PATCH = do_DELETE = do_POST = do_PUT = do

    def _refuse(self, status: int, retry_after: float) -> None:
        answer = REFUSALS[status]
        text = (
            answer
            if isinstance(answer, str)
            else json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, **answer})
        )
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(text)))
        if retry_after:
            self.send_header("Retry-After", f"{retry_after:g}")
        self.end_headers()
        self.wfile.write(text.encode())

    def _reset(self) -> None:
        """RST, as from a load balancer that lost its backend."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _forward(self, body: bytes, rule: Rule) -> None:
        headers = {
            key: value
            for key, value in self.headers.items()
            if key.lower() not in ("host", "connection", "authorization", "content-length")
        }
        try:
            if self.upstream is None:
                self.upstream = http.client.HTTPSConnection(
                    self.proxy.upstream, context=self.proxy.credentials, timeout=UPSTREAM_TIMEOUT
                )
            self.upstream.request(self.command, self.path, body or None, headers)
            answer = self.upstream.getresponse()
            streamed = "watch=1" in self.path
            content = b"" if streamed else answer.read()
        except (OSError, http.client.HTTPException):
            # What the server does to us, we do to our client.
            self._reset()
            return
        if rule.after:
            rule.after()
        if rule.act == LOSE:
            self._reset()
            return
        self.send_response(answer.status)
        for key in ("Content-Type", "Content-Encoding", "Retry-After"):
            if answer.headers.get(key):
                self.send_header(key, answer.headers[key])
        self.send_header(*(("Transfer-Encoding", "chunked") if streamed else ("Content-Length", str(len(content)))))
        self.end_headers()
        if streamed:
            self._stream(answer)
        else:
            self.wfile.write(content)

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        try:
            while chunk := answer.read1(65536):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, http.client.HTTPException):
            self._reset()


def _upstream(kubeconfig: Path, folder: Path) -> tuple[str, ssl.SSLContext]:
    """(host:port, TLS with the kubeconfig's client certificate) of the real API server."""
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    for key, source in (
        ("authority", cluster["certificate-authority-data"]),
        ("certificate", user["client-certificate-data"]),
        ("key", user["client-key-data"]),
    ):
        (folder / key).write_bytes(base64.b64decode(source))
        (folder / key).chmod(0o600)
    context = ssl.create_default_context(cafile=str(folder / "authority"))
    context.load_cert_chain(folder / "certificate", folder / "key")
    return urlsplit(cluster["server"]).netloc, context


def _certificate(folder: Path) -> tuple[bytes, Path]:
    """(PEM of an authority, file with the certificate that it gave 127.0.0.1 and the key)."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        for name in ("faulty authority", "faulty API server")
    )
    now = datetime.datetime.now(datetime.timezone.utc)

    def signed(name: x509.Name, public: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
        )
        builder = builder.not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(
            now + datetime.timedelta(days=1)
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        for extension in (*extensions, x509.SubjectKeyIdentifier.from_public_key(public), identifier):
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(authority_key, hashes.SHA256())

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority = signed(issuer, authority_key.public_key(), x509.BasicConstraints(True, None), usage)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = signed(subject, key.public_key(), x509.BasicConstraints(False, None), address)
    pem = serialization.Encoding.PEM
    path = folder / "proxy.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + own.public_bytes(pem))
    path.chmod(0o600)
    return authority.public_bytes(pem), path
