# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who still calls without TLS: from the access logs of the proxies that are called, and from what they count where
their logs say nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._cluster.api import ApiError
from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._engine.selectors import label_selector
from .._istio.dataplane.injection import NEVER_INJECTED, SIDECAR, has_sidecar, is_alive
from .._istio.uninstall.leftovers import in_mesh
from .istiod import ADMIN_PORT, ADMIN_TIMEOUT, get

# Istio's default text format: cluster, local address to the workload, address called, address of the caller, name asked
# for by TLS.
TEXT = re.compile(r"\binbound\|(?P<port>\d+)\|\S*\s+\S+\s+\S+\s+(?P<caller>\S+):\d+\s+(?P<name>\S+)")
METRICS = ("istio_requests_total{", "istio_tcp_connections_opened_total{")
METRICS_PATH = "/stats/prometheus?filter=istio_"
SECURITY = re.compile(r'connection_security_policy="(\w+)"')
# Of each pod, the newest: with a limit in bytes a server leaves those out.
MOST_LINES = 5000


@dataclass(frozen=True)
class PlaintextCallers:
    """What the logs of some pods say.

    callers  pods (NAMESPACE/NAME) or addresses that called without TLS
    counted  {pod: calls without TLS that its proxy has counted since it began}, of pods whose logs tell of none, or
             hold more than is read
    plain    pods of the cluster (NAMESPACE/NAME) that can call in no other way, for they have no sidecar; only looked
             for where some are silent
    silent   pods whose logs tell of no call, with TLS or without, or hold more than is read, and that count none either
    """

    callers: tuple[str, ...]
    counted: dict[str, int]
    silent: tuple[str, ...]
    plain: tuple[str, ...] = ()


def find_plaintext_callers(
    cluster: Cluster,
    namespace: str,
    labels: dict[str, Any],
    seconds: int,
    asks: Callable[[str], bool] = lambda _port: True,
) -> PlaintextCallers:
    """Calls of the last seconds to the pods with a sidecar. asks: whether TLS is to be a must at a port of theirs.

    Raises ApiError where pods may not be listed.
    """
    pods = [
        pod
        for pod in cluster.list("", "Pod", namespace, label_selector(labels))
        if has_sidecar(pod) and not pod["metadata"].get("deletionTimestamp")
    ]
    logs = cluster.each(lambda pod: _log(cluster, pod, seconds), pods)
    heard = [parse_access_log(log, asks) for log in logs]
    addresses = sorted({address for plain, _encrypted in heard for address in plain})
    mute = [
        pod
        for pod, log, (plain, encrypted) in zip(pods, logs, heard)
        if not plain and (not encrypted or log.count("\n") >= MOST_LINES)
    ]
    counts = dict(
        zip(
            (pod["metadata"]["name"] for pod in mute),
            cluster.each(lambda pod: parse_metrics(_metrics(cluster, pod)), mute),
        )
    )
    silent = tuple(name for name, both in counts.items() if not any(both))
    return PlaintextCallers(
        tuple(_named(cluster, addresses)),
        {name: plain for name, (plain, _encrypted) in counts.items() if plain},
        silent,
        _plain(cluster) if silent else (),
    )


def _plain(cluster: Cluster) -> tuple[str, ...]:
    pods = [
        pod
        for pod in cluster.list("", "Pod")
        if is_alive(pod) and not in_mesh(pod) and pod["metadata"]["namespace"] not in NEVER_INJECTED
    ]
    return tuple(sorted(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods))


def _metrics(cluster: Cluster, pod: Object) -> str:
    try:
        return str(
            get(
                cluster.api,
                pod["metadata"]["namespace"],
                pod["metadata"]["name"],
                ADMIN_PORT,
                METRICS_PATH,
                ADMIN_TIMEOUT,
            )
        )
    except ApiError:
        # Who cannot be asked has counted nothing that we know of.
        return ""


def parse_metrics(metrics: str) -> tuple[int, int]:
    """(calls without TLS, calls with it) that a proxy took, as its metrics have them (istio.io, Istio Standard
    Metrics).
    """
    found = {"none": 0, "mutual_tls": 0}
    for line in metrics.splitlines():
        security = SECURITY.search(line)
        if line.startswith(METRICS) and 'reporter="destination"' in line and security and security[1] in found:
            found[security[1]] += int(float(line.rpartition(" ")[2]))
    return found["none"], found["mutual_tls"]


def _log(cluster: Cluster, pod: Object, seconds: int) -> str:
    query = {"container": SIDECAR, "sinceSeconds": str(seconds), "tailLines": str(MOST_LINES)}
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


def parse_access_log(log: str, asks: Callable[[str], bool] = lambda _port: True) -> tuple[set[str], int]:
    """(addresses of callers without TLS at the ports that matter, number of other calls) of an access log in Istio's
    JSON or text form.
    """
    plain: set[str] = set()
    encrypted = 0
    for line in log.splitlines():
        caller, name, port = _call(line)
        if not caller:
            continue
        if name in ("", "-") and asks(port):
            plain.add(caller)
        else:
            encrypted += 1
    return plain, encrypted


def _call(line: str) -> tuple[str, str, str]:
    """Who called, the name that was asked for by TLS, and the port."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return "", "", ""
        cluster = str(entry.get("upstream_cluster") or "")
        if not cluster.startswith("inbound|"):
            return "", "", ""
        return (
            str(entry.get("downstream_remote_address") or "").rpartition(":")[0].strip("[]"),
            str(entry.get("requested_server_name") or ""),
            cluster.split("|")[1],
        )
    found = TEXT.search(line)
    return (found["caller"].strip("[]"), found["name"].strip('"'), found["port"]) if found else ("", "", "")


def _named(cluster: Cluster, addresses: list[str]) -> list[str]:
    if not addresses:
        return []
    pods: dict[str, str] = {}
    for pod in cluster.list("", "Pod"):
        if not (pod.get("spec") or {}).get("hostNetwork"):
            pods.update(
                {
                    item["ip"]: f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                    for item in (pod.get("status") or {}).get("podIPs") or []
                }
            )
    return [pods.get(address, address) for address in addresses]
