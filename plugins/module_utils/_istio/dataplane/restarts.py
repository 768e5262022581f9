# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which workloads must be restarted so that their pods get the sidecar that they should have, and in which order that
is safe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.objects import Object, Ref, ref_of
from ..._engine.steps import Step
from ..._engine.waiting import disruption_budgets
from . import injection, revisions

# Apart from the collection's own manager: whoever applies the workload as a whole must not take the restart back.
MANAGER = "servicemesh.istio.restart"
PARALLEL = 4


@dataclass(frozen=True)
class NamespacePods:
    """What its pods are like.

    missing_sidecar     workloads with pods that should have a sidecar and have none
    stale       workloads with pods of another revision or version than what would be injected now
    unfinished  restarts of ours, as they were written, whose pods have not all been replaced yet
    pods        {enrolled, expected, total}
    """

    name: str
    missing_sidecar: list[injection.Workload] = field(default_factory=list)
    stale: list[injection.Workload] = field(default_factory=list)
    unfinished: list[Object] = field(default_factory=list)
    workloads: dict[Ref, Object] = field(default_factory=dict)
    pods: dict[str, int] = field(default_factory=dict)


def inspect_namespace(
    cluster: Cluster,
    name: str,
    labels: dict[str, str],
    known: revisions.Revisions | None,
    revision: str = "",
    gateways: bool = True,
) -> NamespacePods:
    """The namespace with these labels.

    known: the revisions, where stale pods are asked for. revision: the one that pods should have instead of that of the
    labels.
    gateways: whether their pods count. Raises ApiError.
    """
    pods = [pod for pod in cluster.list("", "Pod", name) if gateways or not injection.is_gateway(pod)]
    sets = cluster.list("apps", "ReplicaSet", name)
    workloads = {ref_of(obj): obj for kind in sorted(injection.RESTARTABLE) for obj in cluster.list("apps", kind, name)}
    injects = injection.injects(labels)
    stale = []
    if known:
        wanted = revision or known.of_namespace(labels)
        stale = [pod for pod in pods if known.stale(pod, wanted)]
    return NamespacePods(
        name,
        injection.missing_sidecar(pods, sets, injects),
        injection.workloads_of(stale, sets),
        injection.unfinished_restarts(workloads.values()),
        workloads,
        injection.sidecar_counts(pods, injects),
    )


def restart_steps(
    cluster: Cluster, namespaces: list[NamespacePods], chosen: list[injection.Workload], parallel: int = PARALLEL
) -> list[Step]:
    """Restarts of the chosen workloads, a batch at a time, each within its pods' budgets. What an interrupted run has
    begun comes first.
    """
    begun = {ref_of(obj): obj for namespace in namespaces for obj in namespace.unfinished}
    refs = list(begun) + [workload.ref for workload in chosen if workload.restartable and workload.ref not in begun]
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    live = {ref: obj for namespace in namespaces for ref, obj in namespace.workloads.items()}
    there = [live[ref] for ref in dict.fromkeys(refs) if ref in live]
    known = disruption_budgets.list_budgets(cluster, {namespace.name for namespace in namespaces}) or []
    disruption_budgets.fail_if_exceeded(
        disruption_budgets.exceeded_budgets([obj for obj in there if ref_of(obj) not in begun], known)
    )
    found = []
    for batch in disruption_budgets.batches(there, known, parallel):
        batch_refs = [ref_of(obj) for obj in batch]
        new = [ref for ref in batch_refs if ref not in begun]
        if new:
            found.append(Step("disruption budgets", barrier=disruption_budgets.within_budgets(new)))
        found.append(
            Step(
                "restart", [begun.get(ref) or injection.restart_patch(ref, now) for ref in batch_refs], wait_ready=True
            )
        )
    return found


def restart_rows(workloads: list[injection.Workload]) -> list[dict[str, Any]]:
    return [injection.workload_row(workload) for workload in workloads]
