# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What istiod says of its proxies, and what a proxy says of itself: endpoints that answer local callers only, and so
are asked through a tunnel.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._cluster.api import Api, ApiError
from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._engine.waiting.kstatus import pod_ready
from .._istio.dataplane.injection import revision_label
from .socket_http import Connection

PORT = 8080
ADMIN_PORT = 15000
# A proxy that stands still answers nothing at all.
ADMIN_TIMEOUT = 5.0


def get(api: Api, namespace: str, pod: str, port: int, path: str, timeout: float | None = None) -> Any:
    """Answer's JSON (text where it is not JSON) of a pod's local HTTP port. Raises ApiError."""
    return _ask("GET", api, namespace, pod, port, path, timeout)


def post(api: Api, namespace: str, pod: str, port: int, path: str, timeout: float | None = None) -> Any:
    """The same for what is asked by POST, without a body. Never asked twice. Raises ApiError."""
    return _ask("POST", api, namespace, pod, port, path, timeout)


def _ask(method: str, api: Api, namespace: str, pod: str, port: int, path: str, timeout: float | None) -> Any:
    opened = api.tunnel(namespace, pod, port)
    if timeout is not None:
        opened.settimeout(timeout)
    connection = Connection("localhost", opened)
    try:
        connection.request(method, path, headers={"Connection": "close"})
        response = connection.getresponse()
        text = response.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise ApiError(0, "Tunnel", f"{path} of pod {namespace}/{pod}: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise ApiError(response.status, "", f"{path} of pod {namespace}/{pod}: HTTP {response.status} {text[:200]}")
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Proxy:
    """One connected proxy as its istiod sees it.

    rejected  what it said when it refused configuration
    version   Istio's, as it says it
    behind    what it was sent and has not acknowledged: Envoy's names, such as RouteConfiguration
    """

    id: str
    synced: bool
    rejected: str = ""
    version: str = ""
    behind: tuple[str, ...] = ()

    @property
    def pod(self) -> str:
        return self.id.rpartition(".")[0]

    @property
    def namespace(self) -> str:
        return self.id.rpartition(".")[2]


class Istiod:
    """One running istiod."""

    def __init__(self, cluster: Cluster, pod: Object) -> None:
        self._cluster = cluster
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.revision = revision_label(pod)

    def ask(self, path: str) -> Any:
        return get(self._cluster.api, self.namespace, self.name, PORT, path)

    def proxies(self) -> list[Proxy]:
        """Every proxy that is connected to this istiod."""
        return [_proxy(entry) for entry in self.ask("/debug/syncz") or []]


@dataclass(frozen=True)
class IstiodAnswer:
    """The proxies of one istiod.

    istiod   NAMESPACE/NAME of its pod
    refused  why it cannot be asked; empty where it answered
    """

    istiod: str
    revision: str
    proxies: tuple[Proxy, ...] = ()
    refused: str = ""


def ask_istiods(cluster: Cluster, pods: Iterable[Object]) -> list[IstiodAnswer]:
    """The answers of these istiods, side by side."""
    return cluster.each(lambda pod: _answer(Istiod(cluster, pod)), pods)


def _answer(one: Istiod) -> IstiodAnswer:
    try:
        return IstiodAnswer(f"{one.namespace}/{one.name}", one.revision, tuple(one.proxies()))
    except ApiError as error:
        return IstiodAnswer(f"{one.namespace}/{one.name}", one.revision, refused=error.message)


def config_dump(cluster: Cluster, proxy: Proxy) -> dict[str, Any]:
    """What a proxy has, in its own words. Raises ApiError.

    Never istiod's /debug/config_dump: it makes the proxy's routes anew from what the proxy was last sent and keeps them
    in istiod's
    own cache, so that one question at the moment of a change can have istiod send the old routes to all (seen with
    Istio 1.31).
    """
    answer = get(cluster.api, proxy.namespace, proxy.pod, ADMIN_PORT, "/config_dump", ADMIN_TIMEOUT)
    return answer if isinstance(answer, dict) else {}


def _proxy(entry: dict[str, Any]) -> Proxy:
    # Endpoints are pushed all the time and carry no policy.
    states = {
        kind: state
        for kind, state in (entry.get("resources") or {}).items()
        if not kind.endswith("ClusterLoadAssignment")
    }
    rejected = next((state["lastError"] for state in states.values() if state.get("lastError")), "")
    behind = tuple(
        sorted(
            kind.rpartition(".")[2] for kind, state in states.items() if state.get("sent", "") != state.get("acked", "")
        )
    )
    return Proxy(entry["proxy"], not behind, rejected, entry.get("istio_version") or "", behind)


def ready_istiods(cluster: Cluster) -> list[Istiod]:
    """Every ready istiod of every revision."""
    pods = cluster.list("", "Pod", None, "app=istiod")
    return [Istiod(cluster, pod) for pod in pods if pod_ready(pod)]
