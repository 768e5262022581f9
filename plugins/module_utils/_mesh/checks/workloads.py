# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces, and pods beside the proxies that they have or should have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..._checks.check import Finding
from ..._engine.objects import Object
from ..._istio.dataplane import revisions
from ..._istio.dataplane.injection import INJECTION, REVISION, SIDECAR, Workload, sidecars
from ..._istio.uninstall.leftovers import DATAPLANE_MODE
from ..facts import Facts, is_running, labels_of, object_text
from ..gate import Gate


def _judged(pods: Iterable[Object], gate: Gate) -> list[Object]:
    return [pod for pod in pods if gate.concerns(pod["metadata"]["namespace"])]


def _namespaces(facts: Facts, gate: Gate) -> list[Object]:
    return [obj for obj in facts["namespaces"] if gate.concerns(obj["metadata"]["name"])]


def _workloads(workloads: Iterable[Workload], cause: str) -> list[Finding]:
    return [Finding(str(workload.ref), cause) for workload in workloads]


def namespace_unknown_revision(facts: Facts, gate: Gate) -> list[Finding]:
    found = []
    for obj in _namespaces(facts, gate):
        labels = labels_of(obj)
        name = labels.get(REVISION, "")
        if name and INJECTION not in labels and not facts.known.resolve(name):
            there = ", ".join(sorted({*facts.known.tags, *facts.known.untagged})) or "none"
            found.append(
                Finding(
                    object_text(obj),
                    f"{REVISION}={name} is neither a revision nor a tag, so its pods get no sidecar. Revisions and"
                    f" tags: {there}",
                )
            )
    return found


def namespace_several_labels(facts: Facts, gate: Gate) -> list[Finding]:
    """As analyzer IST0123 counts: a namespace that says no to injection may say more."""
    found = []
    for obj in _namespaces(facts, gate):
        labels = labels_of(obj)
        given = [f"{key}={labels[key]}" for key in (INJECTION, REVISION, DATAPLANE_MODE) if key in labels]
        if len(given) > 1 and labels.get(INJECTION, "enabled") == "enabled":
            found.append(Finding(object_text(obj), f"it has {' and '.join(given)}; the first one is used"))
    return found


def pods_missing_sidecar(facts: Facts, gate: Gate) -> list[Finding]:
    lacking = [pod for pod in _judged(facts.living, gate) if facts.lacks_sidecar(pod)]
    return _workloads(
        (w for w in facts.workloads(lacking) if w.restartable),
        "its pods were created before they were enrolled, or the injection failed",
    )


def _stale(facts: Facts, gate: Gate) -> list[Object]:
    return [pod for pod in _judged(facts.with_sidecar, gate) if facts.is_stale(pod)]


def proxies_stale(facts: Facts, gate: Gate) -> list[Finding]:
    return _workloads(
        (w for w in facts.workloads(_stale(facts, gate)) if w.restartable),
        "its proxies have another revision than new pods get",
    )


def pods_not_restartable(facts: Facts, gate: Gate) -> list[Finding]:
    behind = [*_stale(facts, gate), *(pod for pod in _judged(facts.living, gate) if facts.lacks_sidecar(pod))]
    return _workloads(
        (w for w in facts.workloads(behind) if not w.restartable),
        "its sidecar is stale or missing, and its owner does not replace pods on a restart",
    )


def proxies_orphaned(facts: Facts, gate: Gate) -> list[Finding]:
    """Where istiod runs elsewhere, the revision has an injector and no Deployment."""
    living = {plane["revision"] for plane in facts.planes} | facts.known.untagged
    lost = [
        (pod, revision)
        for pod in _judged(facts.with_sidecar, gate)
        if (revision := revisions.revision_of_pod(pod)) and revision not in living
    ]
    return [
        Finding(object_text(pod), f"the control plane of its proxy, revision {revision}, does not exist")
        for pod, revision in lost
    ]


def _statuses(pod: Object) -> dict[str, dict[str, Any]]:
    status = pod.get("status") or {}
    return {
        entry["name"]: entry
        for entry in (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or [])
    }


def sidecar_not_ready(facts: Facts, gate: Gate) -> list[Finding]:
    running = [pod for pod in _judged(facts.with_sidecar, gate) if is_running(pod)]
    return [
        Finding(object_text(pod), "its proxy is not ready")
        for pod in running
        if _statuses(pod).get(SIDECAR, {}).get("ready") is False
    ]


def image_auto(facts: Facts, gate: Gate) -> list[Finding]:
    never = [pod for pod in _judged(facts.with_sidecar, gate) if any(c.get("image") == "auto" for c in sidecars(pod))]
    return [
        Finding(
            object_text(pod), "the image of its proxy is still auto: no webhook injected the pod when it was created"
        )
        for pod in never
    ]


def job_kept_by_sidecar(facts: Facts, gate: Gate) -> list[Finding]:
    """A native sidecar ends with the Job's own containers (KEP-753), one of old does not."""
    found = []
    for pod in _judged(facts.with_sidecar, gate):
        owned = any(owner.get("kind") == "Job" for owner in pod["metadata"].get("ownerReferences") or [])
        containers = [container["name"] for container in pod["spec"].get("containers") or []]
        ended = {name for name, entry in _statuses(pod).items() if (entry.get("state") or {}).get("terminated")}
        if owned and SIDECAR in containers and set(containers) - ended == {SIDECAR}:
            found.append(Finding(object_text(pod), "its containers have finished, and its proxy keeps the pod running"))
    return found


def root_copy_missing(facts: Facts, gate: Gate) -> list[Finding]:
    places = {pod["metadata"]["namespace"] for pod in _judged(facts.with_sidecar, gate)} - set(facts.root_copies)
    return [
        Finding(f"Namespace {name}", "it has proxies, but no root certificate for them: new pods cannot start")
        for name in sorted(places)
    ]
