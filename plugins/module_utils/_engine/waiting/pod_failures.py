# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a workload will not become ready: what its pods say, and how long each reason deserves patience."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ..._cluster.api import ApiError
from ..cluster import Cluster
from ..objects import Object
from ..selectors import label_selector

IMMEDIATE = 0.0
# A Secret or ConfigMap may come later in the same run.
TRANSIENT_GRACE_SECONDS = 15.0
# A registry may hiccup; backed-off pulls show within 20 s.
PULL_GRACE_SECONDS = 30.0
CRASHES = 3
NEVER = None

# Reason of a waiting container -> (failure code, seconds for which it may be seen before it counts).
# Reasons: kubelet's container states. Times: what a broken Deployment was seen to show, and when.
REASONS: dict[str, tuple[str, float | None]] = {
    "InvalidImageName": ("image_name", IMMEDIATE),
    "ErrImageNeverPull": ("image_pull", IMMEDIATE),
    "CreateContainerConfigError": ("container_config", TRANSIENT_GRACE_SECONDS),
    "CreateContainerError": ("container_start", TRANSIENT_GRACE_SECONDS),
    "RunContainerError": ("container_start", TRANSIENT_GRACE_SECONDS),
    "ErrImagePull": ("image_pull", PULL_GRACE_SECONDS),
    "ImagePullBackOff": ("image_pull", PULL_GRACE_SECONDS),
    "RegistryUnavailable": ("image_pull", NEVER),
    "FailedCreate": ("api_rejected", TRANSIENT_GRACE_SECONDS),
    "Unschedulable": ("unschedulable", NEVER),
}
CRASH_REASONS = {"CrashLoopBackOff", "Error", "OOMKilled", "StartError", "ContainerCannotRun", "Completed"}


@dataclass(frozen=True)
class PodFailure:
    """One thing that is wrong with a workload. `patience` in seconds; None: it may heal at any time."""

    pod: str
    container: str
    reason: str
    message: str
    code: str
    grace_seconds: float | None
    restarts: int = 0

    def __str__(self) -> str:
        place = f"pod {self.pod}" if self.pod else "no pod"
        container = f", container {self.container}" if self.container else ""
        return f"{place}{container}: {self.reason}" + (f" ({self.message})" if self.message else "")


class FailureTracker:
    """Remembers since when each fault has been seen, also from one slice of a wait to the next (`seen`: what `export`
    gave).
    """

    def __init__(self, seen: list[list[Any]] | None = None, clock: Any = time.time) -> None:
        self._clock = clock
        self._since: dict[tuple[str, str, str], float] = {
            (pod, container, code): since for pod, container, code, since in seen or []
        }

    def export(self) -> list[list[Any]]:
        return [[*key, since] for key, since in self._since.items()]

    def exhausted(self, fault: PodFailure) -> bool:
        # One fault of a pod's container stays one while its reason changes between pull error and back-off.
        first = self._since.setdefault((fault.pod, fault.container, fault.code), self._clock())
        return fault.grace_seconds is not None and self._clock() - first >= fault.grace_seconds


def find_failures(cluster: Cluster, workload: Object) -> list[PodFailure]:
    """Faults of a workload's pods of the current template, worst (least patience) first; only the workload's own where
    pods may not be listed.
    """
    try:
        found = _creation_failures(_pod_owner(cluster, workload))
        pods = current_pods(cluster, workload)
    except ApiError as error:
        if error.status != 403:
            raise
        return _creation_failures(workload)
    for pod in pods:
        found.extend(failures_of_pod(pod))
    return sorted(found, key=lambda fault: float("inf") if fault.grace_seconds is None else fault.grace_seconds)


def _pod_owner(cluster: Cluster, workload: Object) -> Object:
    """What makes the pods: of a Deployment its newest ReplicaSet, for its own condition also tells of the older
    ones.
    """
    return (_newest(cluster, workload) or workload) if workload["kind"] == "Deployment" else workload


def _newest(cluster: Cluster, deployment: Object) -> Object | None:
    revision = (deployment["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
    for replica_set in cluster.list("apps", "ReplicaSet", deployment["metadata"]["namespace"], _selector(deployment)):
        own = (replica_set["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
        if own == revision and _owned_by(replica_set, deployment):
            return replica_set
    return None


def _selector(workload: Object) -> str:
    labels = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    return label_selector(labels)


def _creation_failures(workload: Object) -> list[PodFailure]:
    """What keeps pods from being made at all: quota, a missing ServiceAccount, an admission policy, a webhook."""
    found = []
    for condition in (workload.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            message = condition.get("message", "")
            code, patience = REASONS["FailedCreate"]
            if "failed calling webhook" in message:
                code, patience = "webhook_unavailable", NEVER
            found.append(PodFailure("", "", condition.get("reason", ""), message, code, patience))
    return found


def current_pods(cluster: Cluster, workload: Object) -> list[Object]:
    """Pods of the workload's newest template only, so that an old rollout's ruins do not count."""
    if workload["kind"] == "Pod":
        return [workload]
    selector = _selector(workload)
    if not selector:
        return []
    pods = cluster.list("", "Pod", workload["metadata"]["namespace"], selector)
    owner = _template_owner(cluster, workload)
    if owner is None:
        return []
    label, value = owner
    return [pod for pod in pods if not label or (pod["metadata"].get("labels") or {}).get(label) == value]


def _template_owner(cluster: Cluster, workload: Object) -> tuple[str, str] | None:
    """(label, value) that marks pods of the newest template; ("", "") where there is none to tell; None: no pods
    yet.
    """
    if workload["kind"] == "Deployment":
        newest = _newest(cluster, workload)
        return (
            ("pod-template-hash", (newest["metadata"].get("labels") or {}).get("pod-template-hash", ""))
            if newest
            else None
        )
    if workload["kind"] == "StatefulSet":
        return "controller-revision-hash", (workload.get("status") or {}).get("updateRevision", "")
    if workload["kind"] == "DaemonSet":
        return "pod-template-generation", str(workload["metadata"].get("generation", ""))
    return "", ""


def _owned_by(obj: Object, owner: Object) -> bool:
    return any(ref.get("uid") == owner["metadata"]["uid"] for ref in obj["metadata"].get("ownerReferences") or [])


def failures_of_pod(pod: Object) -> list[PodFailure]:
    name, state = pod["metadata"]["name"], pod.get("status") or {}
    found = []
    for condition in state.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            found.append(PodFailure(name, "", "Unschedulable", condition.get("message", ""), *REASONS["Unschedulable"]))
    for container in (state.get("initContainerStatuses") or []) + (state.get("containerStatuses") or []):
        fault = failure_of_container(name, container)
        if fault:
            found.append(fault)
    return found


def failure_of_container(pod: str, container: dict[str, Any]) -> PodFailure | None:
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended = (
        (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    )
    reason, restarts = waiting.get("reason", ""), container.get("restartCount", 0)
    if reason in REASONS:
        code, patience = REASONS[reason]
        return PodFailure(pod, container["name"], reason, waiting.get("message", ""), code, patience, restarts)
    crashed = ended.get("exitCode") not in (None, 0) or (restarts and reason == "CrashLoopBackOff")
    if crashed and not container.get("ready") and (reason in CRASH_REASONS or ended.get("reason") in CRASH_REASONS):
        text = f"exit code {ended.get('exitCode')}, {restarts} restarts" + (
            f": {ended['message'].strip()}" if ended.get("message") else ""
        )
        return PodFailure(
            pod,
            container["name"],
            ended.get("reason") or reason,
            text,
            "crash",
            IMMEDIATE if restarts >= CRASHES else NEVER,
            restarts,
        )
    return None


def last_lines(cluster: Cluster, namespace: str, fault: PodFailure, count: int = 10) -> list[str]:
    """The container's last log lines, of its previous run if it crashed; none where there is no log."""
    if fault.code != "crash":
        return []
    for previous in ("true", "false"):
        query = {"container": fault.container, "tailLines": str(count), "previous": previous}
        try:
            text = cluster.api.request(
                "GET", f"/api/v1/namespaces/{namespace}/pods/{fault.pod}/log", query, accept="*/*"
            )
        except ApiError:
            continue  # the log is an extra: its absence must not hide the fault
        # The kubelet answers 200 with this where the container has been removed.
        if text and "unable to retrieve container logs" not in str(text):
            return str(text).strip().splitlines()
    return []
