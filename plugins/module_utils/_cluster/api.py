# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine asks of an API server: two verbs and one error.

Two things implement it: `http.HttpApi` (a real cluster) and the in-memory API of the unit tests.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"


class ApiError(Exception):
    """The server's refusal (a Kubernetes Status), or a transport that failed (status 0).

    Never means "absent" unless `absent` says so: a server that cannot be reached knows nothing.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.retry_after = retry_after

    @property
    def absent(self) -> bool:
        return self.status == 404

    @property
    def causes(self) -> list[dict[str, Any]]:
        return list(self.details.get("causes") or [])


class Api(Protocol):
    """Blocking calls, safe to use from several threads."""

    name: str  # of the cluster, as people know it (the context)
    server: str  # URL

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """Answer's JSON (text where it is not JSON). `body` is data, sent as UTF-8 JSON. Raises ApiError."""

    def watch(self, path: str, query: dict[str, str], timeout: float) -> Iterator[dict[str, Any]]:
        """Events {type, object} as they come, for at most `timeout` seconds. Raises ApiError (410 as status too)."""

    def tunnel(self, namespace: str, pod: str, port: int) -> socket.socket:
        """A connection to a port inside a pod, as kubectl port-forward makes it. Raises ApiError."""

    def kubeconfig(self, folder: Path) -> Path:
        """A file in the private folder with which another program reaches the same cluster with the same rights."""

    def detach(self, folder: Path) -> None:
        """Frees the API from the process that opened it: new connections, credentials that end with that process copied
        into `folder`.
        """
