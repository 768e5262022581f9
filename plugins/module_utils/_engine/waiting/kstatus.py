# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is an object done? The words and rules of kstatus (kubernetes-sigs/cli-utils), with its known gaps closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from ..objects import Object, group_version

CURRENT, IN_PROGRESS, FAILED, TERMINATING, NOT_FOUND = "Current", "InProgress", "Failed", "Terminating", "NotFound"


@dataclass(frozen=True)
class Status:
    word: str
    message: str = ""
    code: str = ""

    @property
    def current(self) -> bool:
        return self.word == CURRENT


def status_of(obj: Object | None) -> Status:
    """The status of a live object; NotFound for None."""
    if obj is None:
        return Status(NOT_FOUND, "does not exist")
    if obj["metadata"].get("deletionTimestamp"):
        return Status(TERMINATING, "is being deleted")
    state = obj.get("status") or {}
    observed = state.get("observedGeneration")
    if observed is not None and observed != obj["metadata"].get("generation", observed):
        return Status(IN_PROGRESS, "its controller has not processed the change yet")
    rule = RULES.get((group_version(obj)[0], obj["kind"]), _by_ready_condition)
    return rule(obj, state)


def condition(state: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in state.get("conditions") or [] if c.get("type") == kind), {})


def pod_ready(pod: Object) -> bool:
    """Whether a pod is ready, and not on its way out."""
    return (
        not pod["metadata"].get("deletionTimestamp")
        and condition(pod.get("status") or {}, "Ready").get("status") == "True"
    )


def _deployment(obj: Object, state: dict[str, Any]) -> Status:
    if obj["spec"].get("paused"):
        return Status(CURRENT, "is paused")
    progressing = condition(state, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Status(FAILED, progressing.get("message", ""), "progress_deadline")
    wanted = obj["spec"].get("replicas", 1)
    if state.get("observedGeneration") is None:
        return Status(IN_PROGRESS, "its controller has not processed it yet")
    counts = {key: state.get(f"{key}Replicas", 0) for key in ("updated", "ready", "available")}
    if counts["updated"] < wanted:
        return Status(IN_PROGRESS, f"{counts['updated']} of {wanted} replicas updated")
    if state.get("replicas", 0) > counts["updated"]:
        return Status(IN_PROGRESS, f"{state['replicas'] - counts['updated']} old replicas still there")
    for key in ("available", "ready"):
        if counts[key] < wanted:
            return Status(IN_PROGRESS, f"{counts[key]} of {wanted} replicas {key}")
    return Status(CURRENT, f"{wanted} of {wanted} replicas ready")


def _stateful_set(obj: Object, state: dict[str, Any]) -> Status:
    strategy = obj["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return Status(CURRENT, "is updated on deletion")
    if state.get("observedGeneration") is None:
        return Status(IN_PROGRESS, "its controller has not processed it yet")
    wanted = obj["spec"].get("replicas", 1)
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    for key in ("replicas", "readyReplicas"):
        if state.get(key, 0) != wanted:
            return Status(IN_PROGRESS, f"{state.get(key, 0)} of {wanted} {key}")
    if partition:
        updated = state.get("updatedReplicas", 0)
        return (
            Status(CURRENT)
            if updated >= wanted - partition
            else Status(IN_PROGRESS, f"{updated} of {wanted - partition} replicas updated")
        )
    if state.get("currentRevision") != state.get("updateRevision"):
        return Status(IN_PROGRESS, "replicas of the old revision still there")
    return Status(CURRENT, f"{wanted} of {wanted} replicas ready")


def _daemon_set(obj: Object, state: dict[str, Any]) -> Status:
    if state.get("observedGeneration") is None:
        return Status(IN_PROGRESS, "its controller has not processed it yet")
    wanted = state.get("desiredNumberScheduled", 0)
    for key in ("updatedNumberScheduled", "numberAvailable", "numberReady"):
        if state.get(key, 0) < wanted:
            return Status(IN_PROGRESS, f"{state.get(key, 0)} of {wanted} {key}")
    return Status(CURRENT, f"{wanted} of {wanted} pods ready")


def _replica_set(obj: Object, state: dict[str, Any]) -> Status:
    wanted, ready = obj["spec"].get("replicas", 1), state.get("readyReplicas", 0)
    return Status(CURRENT) if ready >= wanted else Status(IN_PROGRESS, f"{ready} of {wanted} replicas ready")


def _pod(obj: Object, state: dict[str, Any]) -> Status:
    phase = state.get("phase")
    if phase == "Succeeded":
        return Status(CURRENT, "has succeeded")
    if phase == "Failed":
        return Status(FAILED, state.get("message") or "has failed", "pod_failed")
    ready = condition(state, "Ready")
    return (
        Status(CURRENT)
        if ready.get("status") == "True"
        else Status(IN_PROGRESS, ready.get("message") or f"phase {phase}")
    )


def _job(obj: Object, state: dict[str, Any]) -> Status:
    failed = condition(state, "Failed")
    if failed.get("status") == "True":
        return Status(FAILED, failed.get("message", ""), "job_failed")
    if condition(state, "Complete").get("status") == "True" or obj["spec"].get("suspend"):
        return Status(CURRENT)
    return Status(IN_PROGRESS, "has not completed")


def _definition(obj: Object, state: dict[str, Any]) -> Status:
    accepted = condition(state, "NamesAccepted")
    if accepted.get("status") == "False":
        return Status(FAILED, accepted.get("message", ""), "names_not_accepted")
    if condition(state, "Established").get("status") == "True":
        return Status(CURRENT)
    return Status(IN_PROGRESS, "is not established yet")


def _claim(obj: Object, state: dict[str, Any]) -> Status:
    phase = state.get("phase")
    if phase == "Lost":
        return Status(FAILED, "has lost its volume", "volume_lost")
    # A claim that waits for its first consumer binds when a pod uses it; the pod tells whether that works.
    return Status(CURRENT, f"phase {phase}")


def _namespace(obj: Object, state: dict[str, Any]) -> Status:
    phase = state.get("phase", "Active")
    return Status(CURRENT) if phase == "Active" else Status(TERMINATING, f"phase {phase}")


def _by_ready_condition(obj: Object, state: dict[str, Any]) -> Status:
    if condition(state, "Stalled").get("status") == "True":
        return Status(FAILED, condition(state, "Stalled").get("message", ""), "stalled")
    if condition(state, "Reconciling").get("status") == "True":
        return Status(IN_PROGRESS, condition(state, "Reconciling").get("message", ""))
    ready = condition(state, "Ready")
    if ready and ready.get("status") != "True":
        return Status(IN_PROGRESS, ready.get("message", ""))
    return Status(CURRENT)


def _volume(obj: Object, state: dict[str, Any]) -> Status:
    return (
        Status(FAILED, state.get("message") or "has failed", "volume_failed")
        if state.get("phase") == "Failed"
        else Status(CURRENT)
    )


def _api_service(obj: Object, state: dict[str, Any]) -> Status:
    available = condition(state, "Available")
    return (
        Status(CURRENT)
        if available.get("status") == "True"
        else Status(IN_PROGRESS, available.get("message") or "is not available yet")
    )


def _gateway(obj: Object, state: dict[str, Any]) -> Status:
    """A Gateway of the Gateway API; one without an address is done: not every cluster gives addresses."""
    accepted, programmed = condition(state, "Accepted"), condition(state, "Programmed")
    if accepted.get("status") == "False":
        return Status(FAILED, accepted.get("message", ""), "not_accepted")
    if accepted.get("status") != "True":
        return Status(IN_PROGRESS, accepted.get("message") or "no controller has accepted it yet")
    if programmed.get("status") == "True" or programmed.get("reason") == "AddressNotAssigned":
        return Status(CURRENT)
    return Status(IN_PROGRESS, programmed.get("message") or "is not programmed yet")


def _route(obj: Object, state: dict[str, Any]) -> Status:
    """A route of the Gateway API: every parent that has a controller must have accepted it."""
    for parent in state.get("parents") or []:
        for kind in ("Accepted", "ResolvedRefs"):
            found = condition(parent, kind)
            if found.get("status") == "False":
                return Status(
                    IN_PROGRESS,
                    f"{kind} is False at {(parent.get('parentRef') or {}).get('name', '')}: {found.get('message', '')}",
                )
    return Status(CURRENT) if state.get("parents") else Status(IN_PROGRESS, "no parent has accepted it yet")


GATEWAY_API = "gateway.networking.k8s.io"
# (group, kind) -> rule. Of what is not here, the Ready condition decides; without one it is done: ConfigMap, Service,
# PodDisruptionBudget,
# HorizontalPodAutoscaler, Ingress, CronJob, access rules, webhooks, and Istio's kinds, whose effect only the proxies
# can tell.
RULES: dict[tuple[str, str], Callable[[Object, dict[str, Any]], Status]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "ReplicationController"): _replica_set,
    ("", "Pod"): _pod,
    ("batch", "Job"): _job,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("", "Namespace"): _namespace,
    (GATEWAY_API, "Gateway"): _gateway,
    (GATEWAY_API, "HTTPRoute"): _route,
    (GATEWAY_API, "GRPCRoute"): _route,
    (GATEWAY_API, "TLSRoute"): _route,
    (GATEWAY_API, "TCPRoute"): _route,
}
WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"}
