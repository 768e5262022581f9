# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a rollout keeps to the PodDisruptionBudgets of its pods.

A budget binds evictions alone, and a rollout takes pods away all the same (kubernetes.io, Disruptions). Here a rollout
that would take more
pods away at once than a budget has left waits for unhealthy pods, and is refused where waiting cannot help.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..._failure import Failure
from ..cluster import Cluster, Forbidden
from ..objects import Object, Ref, ref_of
from ..selectors import selects
from ..steps import Barrier
from .deadline import Deadline, StillWaiting

# Kubernetes' own defaults of apps/v1: of a Deployment, of a DaemonSet and a StatefulSet.
DEPLOYMENT_UNAVAILABLE, OTHERS_UNAVAILABLE = "25%", 1


@dataclass(frozen=True)
class ExceededBudget:
    """A budget that a rollout would break now. hopeless: also with all pods healthy."""

    workload: Ref
    budget: Ref
    takes: int
    allowed: int
    hopeless: bool

    def __str__(self) -> str:
        return (
            f"the rollout of {self.workload} removes {self.takes} of its pods at once, {self.budget} allows"
            f" {self.allowed}"
        )


def pods_taken_away(workload: Object) -> int:
    """How many ready pods a rollout of this Deployment, StatefulSet or DaemonSet takes away at once, before others are
    ready.
    """
    spec, kind = workload["spec"], workload["kind"]
    strategy = spec.get("strategy" if kind == "Deployment" else "updateStrategy") or {}
    replicas = (
        int((workload.get("status") or {}).get("desiredNumberScheduled", 0))
        if kind == "DaemonSet"
        else int(spec.get("replicas", 1))
    )
    if strategy.get("type") == "Recreate":
        return replicas
    if strategy.get("type") == "OnDelete":
        return 0
    rolling = strategy.get("rollingUpdate") or {}
    unavailable = _count(
        rolling.get("maxUnavailable", DEPLOYMENT_UNAVAILABLE if kind == "Deployment" else OTHERS_UNAVAILABLE), replicas
    )
    if (
        kind == "Deployment"
        and unavailable == 0
        and _count(rolling.get("maxSurge", DEPLOYMENT_UNAVAILABLE), replicas, up=True) == 0
    ):
        # Kubernetes makes it one where both come to nothing.
        unavailable = 1
    return min(unavailable, replicas)


def _count(value: Any, replicas: int, up: bool = False) -> int:
    """A number, or a share of the replicas; shares of maxUnavailable are rounded down, of maxSurge up (apps/v1)."""
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    return -(-int(text[:-1]) * replicas // 100) if up else int(text[:-1]) * replicas // 100


def exceeded_budgets(workloads: list[Object], known: list[Object]) -> list[ExceededBudget]:
    """known: live PodDisruptionBudgets (policy/v1)."""
    found = []
    for workload in workloads:
        takes = pods_taken_away(workload)
        for budget in affected_budgets(workload, known):
            status = budget.get("status") or {}
            allowed = int(status.get("disruptionsAllowed", 0))
            most = int(status.get("expectedPods", 0)) - int(status.get("desiredHealthy", 0))
            if takes > allowed:
                found.append(ExceededBudget(ref_of(workload), ref_of(budget), takes, allowed, takes > most))
    return found


def within_budgets(workloads: list[Ref]) -> Barrier:
    """Holds when a rollout of all these workloads would keep to the budgets of their pods. Raises Failure
    "disruption_budget".
    """

    def hold(cluster: Cluster, deadline: Deadline) -> str:
        while True:
            live = [obj for ref in workloads if (obj := cluster.get(ref.group, ref.kind, ref.namespace, ref.name))]
            known = list_budgets(cluster, {ref.namespace for ref in workloads})
            if known is None:
                return "disruption budgets: unknown, the account may not read them"
            found = exceeded_budgets(live, known)
            if not found:
                return f"disruption budgets allow a restart of {', '.join(ref.name for ref in workloads)}"
            fail_if_exceeded(found, deadline)
            if deadline.slice_over:
                raise StillWaiting(f"waiting for healthy pods: {found[0]}")
            cluster.sleep(1.0)

    return Barrier("disruption budgets", hold)


def list_budgets(cluster: Cluster, namespaces: set[str]) -> list[Object] | None:
    """The PodDisruptionBudgets of the namespaces; None where they may not be read. Raises ApiError."""
    found = cluster.try_read(
        lambda: [
            obj for namespace in sorted(namespaces) for obj in cluster.list("policy", "PodDisruptionBudget", namespace)
        ]
    )
    return None if isinstance(found, Forbidden) else found


def affected_budgets(workload: Object, known: list[Object]) -> list[Object]:
    """Those of the budgets that a rollout of the workload could break."""
    return matching_budgets(workload, known) if pods_taken_away(workload) else []


def matching_budgets(workload: Object, known: list[Object]) -> list[Object]:
    """Those of the budgets that hold for the workload's pods."""
    labels = (workload["spec"]["template"].get("metadata") or {}).get("labels") or {}
    # An unset selector takes nothing, an empty one everything (policy/v1).
    near = [budget for budget in known if budget["metadata"]["namespace"] == workload["metadata"]["namespace"]]
    return [
        budget
        for budget in near
        if budget["spec"].get("selector") is not None and selects(budget["spec"]["selector"], labels)
    ]


def batches(workloads: list[Object], known: list[Object], most: int) -> list[list[Object]]:
    """The workloads in order, at most so many at a time, and no two at a time of which both use up the same budget."""
    found: list[tuple[list[Object], set[Ref]]] = []
    for workload in workloads:
        own = {ref_of(budget) for budget in affected_budgets(workload, known)}
        batch = next((entry for entry in found if len(entry[0]) < most and not own & entry[1]), None)
        if batch is None:
            batch = ([], set())
            found.append(batch)
        batch[0].append(workload)
        batch[1].update(own)
    return [batch for batch, _budgets in found]


def fail_if_exceeded(found: list[ExceededBudget], deadline: Deadline | None = None) -> None:
    """Raises Failure "disruption_budget" for what waiting cannot mend, or has not mended within the deadline."""
    bad = [entry for entry in found if entry.hopeless] or (found if deadline and deadline.over else [])
    if bad:
        text = "; ".join(map(str, bad))
        hint = (
            "Set maxUnavailable to 0, increase the replicas, or relax the PodDisruptionBudget."
            if bad[0].hopeless
            else "Some of its pods are not healthy. Find the cause, or increase wait_timeout."
        )
        raise Failure(
            "disruption_budget",
            f"A restart would violate a PodDisruptionBudget: {text}",
            ref=bad[0].workload.as_result("v1"),
            reason=text,
            hint=hint,
        )
