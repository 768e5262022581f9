# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API that asks again where asking again is safe.

Which answers may be repeated: Kubernetes API priority and fairness (429 with Retry-After), 503 and 504, a webhook
that does not answer yet (500), a connection that broke, and a refusal by a server that came back a moment ago.
Server-side apply is idempotent, so a lost answer may be asked for again.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .api import JSON, Api, ApiError

FIRST_CONTACT_TRIES = 2
LONGEST_PAUSE = 5.0
# A server that has just started answers before it has read its roles, and so forbids what is allowed.
STARTS_WITHIN = 30.0


def repeatable(error: ApiError) -> bool:
    if error.status in (0, 429, 503, 504):
        return True
    return error.status == 500 and "failed calling webhook" in error.message


class RetryingApi:
    """Wraps an Api; until the server has answered once, gives up after two tries: a wrong address should be told at
    once.
    """

    def __init__(self, api: Api, patience: float, clock: Any = time) -> None:
        self.name = api.name
        self.server = api.server
        self.retries = 0
        self._api = api
        self._patience = patience
        self._clock = clock
        self._answered = False
        self._away = float("-inf")

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        give_up = self._clock.monotonic() + self._patience
        tries = 0
        while True:
            try:
                answer = self._api.request(method, path, query, body, content_type, accept)
                self._answered = True
                return answer
            except ApiError as error:
                tries += 1
                self._answered = self._answered or error.status > 0
                self._note(error)
                pause = error.retry_after or min(LONGEST_PAUSE, 0.2 * 2**tries) * random.uniform(0.75, 1.25)
                exhausted = self._clock.monotonic() + pause > give_up
                if (
                    not (repeatable(error) or self._just_started(error))
                    or exhausted
                    or (not self._answered and tries >= FIRST_CONTACT_TRIES)
                ):
                    raise
                self.retries += 1
                self._clock.sleep(pause)

    def _note(self, error: ApiError) -> None:
        if error.status in (0, 503):
            self._away = self._clock.monotonic()

    def _just_started(self, error: ApiError) -> bool:
        ending = any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)
        return error.status == 403 and not ending and self._clock.monotonic() - self._away < STARTS_WITHIN

    def watch(self, path: str, query: dict[str, str], timeout: float) -> Iterator[dict[str, Any]]:
        try:
            yield from self._api.watch(path, query, timeout)
        except ApiError as error:
            self._note(error)
            raise

    def kubeconfig(self, folder: Path) -> Path:
        return self._api.kubeconfig(folder)

    def detach(self, folder: Path) -> None:
        self._api.detach(folder)

    def tunnel(self, namespace: str, pod: str, port: int) -> socket.socket:
        return self._api.tunnel(namespace, pod, port)
