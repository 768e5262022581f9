# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who still calls without TLS: from the access logs of the proxies that are called."""
from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .._cluster.api import ApiError
from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._engine.selectors import written
from .._istio.injection import SIDECAR, has_sidecar

# Istio's default text format: cluster, local address to the workload, address called, address of the caller, name asked for by TLS.
TEXT = re.compile(r"\binbound\|\d+\|\S*\s+\S+\s+\S+\s+(?P<caller>\S+):\d+\s+(?P<name>\S+)")
MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Seen:
    """What the logs of some pods say.

    callers  pods (NAMESPACE/NAME) or addresses that called without TLS
    silent   pods whose logs tell of no call, with TLS or without
    """

    callers: tuple[str, ...]
    silent: tuple[str, ...]


def look(cluster: Cluster, namespace: str, labels: dict[str, Any], seconds: int) -> Seen:
    """Calls of the last seconds to the pods with a sidecar. Raises ApiError where pods may not be listed."""
    pods = [pod for pod in cluster.list("", "Pod", namespace, written(labels)) if has_sidecar(pod) and not pod["metadata"].get("deletionTimestamp")]
    heard = cluster.each(lambda pod: calls(_log(cluster, pod, seconds)), pods)
    addresses = sorted({address for plain, _encrypted in heard for address in plain})
    return Seen(tuple(_named(cluster, addresses)), tuple(pod["metadata"]["name"] for pod, (plain, encrypted) in zip(pods, heard) if not plain and not encrypted))


def _log(cluster: Cluster, pod: Object, seconds: int) -> str:
    query = {"container": SIDECAR, "sinceSeconds": str(seconds), "limitBytes": str(MOST_BYTES)}
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/log"
    try:
        answer = cluster.api.request("GET", path, query, accept="*/*")
    except ApiError as error:
        # Whose log cannot be read tells nothing.
        if error.status not in (400, 403, 404):
            raise
        return ""
    # One line of JSON comes as what it says.
    return answer if isinstance(answer, str) else json.dumps(answer)


def calls(log: str) -> tuple[set[str], int]:
    """(addresses of callers without TLS, number of calls with it) of an access log in Istio's JSON or text form."""
    plain: set[str] = set()
    encrypted = 0
    for line in log.splitlines():
        caller, name = _call(line)
        if not caller:
            continue
        if name in ("", "-"):
            plain.add(caller)
        else:
            encrypted += 1
    return plain, encrypted


def _call(line: str) -> tuple[str, str]:
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return "", ""
        if not str(entry.get("upstream_cluster") or "").startswith("inbound|"):
            return "", ""
        return str(entry.get("downstream_remote_address") or "").rpartition(":")[0].strip("[]"), str(entry.get("requested_server_name") or "")
    found = TEXT.search(line)
    return (found["caller"].strip("[]"), found["name"].strip('"')) if found else ("", "")


def _named(cluster: Cluster, addresses: list[str]) -> list[str]:
    if not addresses:
        return []
    pods: dict[str, str] = {}
    for pod in cluster.list("", "Pod"):
        if not (pod.get("spec") or {}).get("hostNetwork"):
            pods.update({item["ip"]: f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for item in (pod.get("status") or {}).get("podIPs") or []})
    return [pods.get(address, address) for address in addresses]
