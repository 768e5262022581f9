# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control planes and the agents on the nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..._checks.check import Finding
from ..._engine.objects import Object
from ..._engine.waiting.disruption_budgets import matching_budgets
from ..._istio import mesh, version_skew
from ..._istio.dataplane import injection
from ..._istio.dataplane.injection import DEFAULT, revision_label
from ..facts import Facts, is_istiod, labels_of, object_text
from ..gate import UPGRADE, Gate, Unknown, control_plane_versions

OURS = "servicemesh.istio"
ENOUGH = 2
# Label of a node agent's DaemonSet's pods -> its value.
NODE_AGENTS = {"cni": ("k8s-app", "istio-cni-node"), "ztunnel": ("app", "ztunnel")}
# Of addons and agents that Istio's own documentation puts beside istiod, by the label app or app.kubernetes.io/name.
COMPANIONS = {
    "istiod",
    "kiali",
    "grafana",
    "prometheus",
    "jaeger",
    "loki",
    "tracing",
    "istio-cni",
    "istio-cni-node",
    "ztunnel",
}


def _pods(facts: Facts) -> Iterator[Object]:
    return (pod for pod in facts.living if is_istiod(pod))


def _count(facts: Facts, obj: Object) -> int:
    """Replicas that a Deployment of istiod wants."""
    return int(obj["spec"].get("replicas", 1))


def _ready(obj: Object) -> int:
    return int((obj.get("status") or {}).get("readyReplicas", 0))


def control_plane_missing(facts: Facts, gate: Gate) -> list[Finding]:
    if any(plane["namespace"] == gate.namespace for plane in facts.planes):
        return []
    others = sorted({plane["namespace"] for plane in facts.planes})
    return [
        Finding(
            f"Namespace {gate.namespace}",
            "it contains no istiod" + (f"; istiod runs in {', '.join(others)}" if others else ""),
        )
    ]


def istiod_unavailable(facts: Facts, _gate: Gate) -> list[Finding]:
    return [Finding(object_text(obj), "it has no ready replica") for obj in facts["istiods"] if not _ready(obj)]


def istiod_incomplete(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), f"{_ready(obj)} of {_count(facts, obj)} replicas are ready")
        for obj in facts["istiods"]
        if 0 < _ready(obj) < _count(facts, obj)
    ]


def istiod_mixed_versions(facts: Facts, _gate: Gate) -> list[Finding]:
    tags: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pod in _pods(facts):
        image = next(
            (c.get("image", "") for c in pod["spec"].get("containers") or [] if c.get("name") == "discovery"), ""
        )
        tags[(pod["metadata"]["namespace"], revision_label(pod))].add(mesh.tag_of(image) or image)
    return [
        Finding(f"revision {revision} in {namespace}", f"its istiod pods have the versions {', '.join(sorted(found))}")
        for (namespace, revision), found in sorted(tags.items())
        if len(found) > 1
    ]


def istiod_single(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), "it has one replica: no pod can start while that replica is replaced")
        for obj in facts["istiods"]
        if _count(facts, obj) < ENOUGH
    ]


def istiod_no_budget(facts: Facts, gate: Gate) -> list[Finding]:
    own = [
        obj
        for obj in facts["istiods"]
        if obj["metadata"]["namespace"] == gate.namespace and _count(facts, obj) >= ENOUGH
    ]
    return [
        Finding(object_text(obj), "it has no PodDisruptionBudget to keep a replica while nodes are drained")
        for obj in own
        if not matching_budgets(obj, facts["budgets"])
    ]


def istiod_budget_blocks(facts: Facts, _gate: Gate) -> list[Finding]:
    blocking = [
        budget
        for obj in facts["istiods"]
        for budget in matching_budgets(obj, facts["budgets"])
        if (budget.get("status") or {}).get("disruptionsAllowed") == 0
    ]
    return [
        Finding(object_text(budget), "it currently allows no disruption: nodes with an istiod cannot be drained")
        for budget in blocking
    ]


def _keepers(obj: Object) -> list[str]:
    """Field managers of an object, less Kubernetes' own controllers."""
    return sorted(
        {
            entry.get("manager", "")
            for entry in obj["metadata"].get("managedFields") or []
            if not str(entry.get("manager", "")).startswith("kube-")
        }
    )


def foreign_control_plane(facts: Facts, gate: Gate) -> list[Finding]:
    same = [
        obj
        for obj in facts["istiods"]
        if revision_label(obj) == (gate.revision or DEFAULT) and OURS not in _keepers(obj)
    ]
    return [
        Finding(
            object_text(obj),
            f"revision {revision_label(obj)} already exists and is managed by"
            f" {', '.join(_keepers(obj)) or 'another tool'}",
        )
        for obj in same
    ]


def revision_is_tag(facts: Facts, gate: Gate) -> list[Finding]:
    if gate.revision not in facts.known.tags:
        return []
    return [
        Finding(
            f"tag {gate.revision}",
            f"it points to {facts.known.tags[gate.revision]}: a revision cannot have the same name",
        )
    ]


def revision_unused(facts: Facts, _gate: Gate) -> list[Finding]:
    if len(facts.planes) < ENOUGH:
        return []
    asked = {facts.known.of_namespace(labels) for labels in facts.namespace_labels.values()}
    used = {*facts.known.tags.values(), *asked, *(facts.revision_of(pod) for pod in facts.with_sidecar)}
    return [
        Finding(
            f"revision {plane['revision']}", f"no tag, no namespace and no proxy uses its version {plane['version']}"
        )
        for plane in facts.planes
        if plane["revision"] not in used
    ]


def foreign_workloads(facts: Facts, gate: Gate) -> list[Finding]:
    others = [
        pod
        for pod in facts.living
        if pod["metadata"]["namespace"] == gate.namespace
        and not injection.is_gateway(pod)
        and not _belongs(labels_of(pod))
    ]
    return [Finding(str(workload.ref), "it does not belong to Istio") for workload in facts.workloads(others)]


def _belongs(labels: dict[str, str]) -> bool:
    return labels.get("app.kubernetes.io/part-of") == "istio" or bool(
        {labels.get("app"), labels.get("app.kubernetes.io/name"), labels.get("k8s-app")} & COMPANIONS
    )


def _agents(facts: Facts, kind: str) -> list[tuple[Object, version_skew.Version | None]]:
    label, value = NODE_AGENTS[kind]
    found = []
    for obj in facts["node_agents"]:
        template: dict[str, Any] = obj["spec"]["template"]
        if ((template.get("metadata") or {}).get("labels") or {}).get(label) == value:
            numbers = [
                version_skew.parse_version(mesh.tag_of(c.get("image", ""))) for c in template["spec"]["containers"]
            ]
            found.append((obj, next(filter(None, numbers), None)))
    return found


def node_agents_not_ready(facts: Facts, _gate: Gate) -> list[Finding]:
    found = []
    for kind in NODE_AGENTS:
        for obj, _number in _agents(facts, kind):
            status = obj.get("status") or {}
            ready, all_nodes = status.get("numberReady", 0), status.get("desiredNumberScheduled", 0)
            if ready < all_nodes:
                found.append(Finding(object_text(obj), f"it is ready on {ready} of {all_nodes} nodes"))
    return found


def agent_skew(kind: str) -> Any:
    """Judges node agents of a kind against every control plane, and before an upgrade also against the one that
    comes.
    """

    def judge(facts: Facts, gate: Gate) -> list[Finding]:
        agents = _agents(facts, kind)
        planes = (
            [*control_plane_versions(facts), *([gate.number] if gate.phase == UPGRADE and gate.number else [])]
            if agents
            else []
        )
        unsaid = [obj for obj, number in agents if number is None]
        if unsaid:
            raise Unknown(f"the version of {object_text(unsaid[0])} is not known")
        broken = [
            (obj, number, plane, version_skew.NODE_AGENT.broken(number, plane))
            for obj, number in agents
            if number
            for plane in planes
        ]
        return [
            Finding(
                object_text(obj),
                f"its version {number} is too far {'behind' if where == 'behind' else 'ahead of'} control plane"
                f" {plane}: {version_skew.NODE_AGENT.text}",
            )
            for obj, number, plane, where in broken
            if where
        ]

    return judge
