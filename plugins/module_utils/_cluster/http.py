# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that speaks HTTP to an API server."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from . import tunnel
from .api import JSON, ApiError

try:
    import urllib3
except ImportError:  # reported by connection.connect, which every module goes through
    urllib3 = None  # type: ignore[assignment]

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 60.0


class HttpApi:
    """One pooled connection set to one API server.

    configuration  kubernetes.client.Configuration: host, certificates, tokens, proxy; its refresh hook keeps tokens
                   fresh
    """

    def __init__(
        self, configuration: Any, name: str = "", headers: list[tuple[str, str]] | None = None, connections: int = 8
    ) -> None:
        self.name = name
        self.server = configuration.host.rstrip("/")
        self._configuration = configuration
        self._headers = headers or []
        self._connections = connections
        self._pool = self._open_pool(connections)

    def _open_pool(self, connections: int) -> Any:
        c = self._configuration
        options: dict[str, Any] = {
            "maxsize": connections,
            "block": False,
            "cert_reqs": "CERT_REQUIRED" if c.verify_ssl else "CERT_NONE",
            "ca_certs": c.ssl_ca_cert,
            "cert_file": c.cert_file,
            "key_file": c.key_file,
            "retries": False,
        }
        if getattr(c, "tls_server_name", None):
            options["server_hostname"] = c.tls_server_name
        if not c.verify_ssl:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if proxy_of(c):
            return urllib3.ProxyManager(c.proxy, proxy_headers=c.proxy_headers, **options)
        return urllib3.PoolManager(**options)

    def _request_headers(self, accept: str, content_type: str | None) -> Any:
        # By the library's own word, for it has changed the name under which it keeps a token.
        token = self._configuration.auth_settings().get("BearerToken", {}).get("value")
        headers = urllib3.HTTPHeaderDict(
            {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": "servicemesh.istio"}
        )
        for name, value in self._headers:
            headers.add(name, value)
        if token:
            headers["Authorization"] = token
        elif self._configuration.username:
            headers.update(
                urllib3.make_headers(basic_auth=f"{self._configuration.username}:{self._configuration.password}")
            )
        if content_type:
            headers["Content-Type"] = content_type
        return headers

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: bytes | None,
        headers: Any,
        timeout: float,
        stream: bool,
    ) -> Any:
        url = f"{self.server}{quote(path, safe='/:.-_~%')}" + (f"?{urlencode(query)}" if query else "")
        try:
            return self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=timeout),
                preload_content=not stream,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{method} {self.server}{path}: {error}") from error

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        # UTF-8 and not ASCII escapes: apply bodies are read as YAML, which has no surrogate pairs.
        payload = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8")
        response = self._send(
            method,
            path,
            query,
            payload,
            self._request_headers(accept, content_type if payload else None),
            READ_TIMEOUT,
            stream=False,
        )
        return _answer(response.status, response.headers, response.data)

    def watch(self, path: str, query: dict[str, str], timeout: float) -> Iterator[dict[str, Any]]:
        query = {**query, "watch": "1", "timeoutSeconds": str(max(1, int(timeout)))}
        response = self._send("GET", path, query, None, self._request_headers(JSON, None), timeout + 5, stream=True)
        try:
            if response.status >= 400:
                _answer(response.status, response.headers, response.read())
            rest = b""
            for chunk in response.stream(65536, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise error_from_status(event["object"])
                    yield event
        except urllib3.exceptions.ReadTimeoutError:
            return
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, "Unreachable", f"watch {self.server}{path}: {error}") from error
        finally:
            response.close()

    def tunnel(self, namespace: str, pod: str, port: int) -> socket.socket:
        return tunnel.open_tunnel(self._configuration, self._headers, namespace, pod, port)

    def kubeconfig(self, folder: Path) -> Path:
        c = self._configuration
        cluster = {
            "server": self.server,
            "proxy-url": proxy_of(c),
            "tls-server-name": getattr(c, "tls_server_name", None),
        }
        cluster.update({"certificate-authority": c.ssl_ca_cert} if c.verify_ssl else {"insecure-skip-tls-verify": True})
        token = self._configuration.auth_settings().get("BearerToken", {}).get("value") or ""
        user = {
            "token": token.removeprefix("Bearer "),
            "client-certificate": c.cert_file,
            "client-key": c.key_file,
            "username": c.username,
            "password": c.password,
        }
        if token.startswith("Basic "):
            # The library keeps a kubeconfig's user and password in this form.
            name, _colon, password = base64.b64decode(token.removeprefix("Basic ")).decode("utf-8").partition(":")
            user.update({"token": None, "username": name, "password": password})
        users = [value for name, value in self._headers if name == "Impersonate-User"]
        user.update(
            {
                "as": users[0] if users else None,
                "as-groups": [value for name, value in self._headers if name == "Impersonate-Group"],
            }
        )
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "this",
            "contexts": [{"name": "this", "context": {"cluster": "this", "user": "this"}}],
            "clusters": [{"name": "this", "cluster": _given(cluster)}],
            "users": [{"name": "this", "user": _given(user)}],
        }
        path = folder / "kubeconfig"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file)
        return path

    def detach(self, folder: Path) -> None:
        for name in ("ssl_ca_cert", "cert_file", "key_file"):
            source = getattr(self._configuration, name)
            # The library keeps what a kubeconfig holds inline in temporary files, which end with the process that read
            # it.
            if source and Path(source).parent == Path(tempfile.gettempdir()):
                setattr(self._configuration, name, shutil.copy(source, folder / name))
        self._pool.clear()
        self._pool = self._open_pool(self._connections)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def proxy_of(configuration: Any) -> str | None:
    """The proxy on the way to the server, by the rules of the kubernetes library."""
    if configuration.proxy and configuration.no_proxy:
        # Here, for few have a proxy and the import is slow.
        from requests.utils import should_bypass_proxies

        if should_bypass_proxies(configuration.host, no_proxy=configuration.no_proxy):
            return None
    return configuration.proxy or None


def error_from_status(status: dict[str, Any], code: int = 500, retry_after: float | None = None) -> ApiError:
    """A Kubernetes Status object as an error."""
    return ApiError(
        int(status.get("code") or code),
        str(status.get("reason") or ""),
        str(status.get("message") or f"HTTP {code}"),
        status.get("details") or {},
        retry_after,
    )


def _answer(code: int, headers: Any, data: bytes) -> Any:
    text = data.decode("utf-8", errors="replace")
    try:
        content = json.loads(text)
    except ValueError:
        content = text
    if code < 300:
        return content
    retry_after = headers.get("Retry-After")
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    if isinstance(content, dict) and content.get("kind") == "Status":
        raise error_from_status(content, code, seconds)
    raise ApiError(code, "NotFound" if code == 404 else "", text.strip()[:500] or f"HTTP {code}", None, seconds)
