# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a control plane goes: not while it is used, webhooks first, and with the last one what all share.

A webhook without its istiod refuses pods and changes of Istio's objects, also the removal of their finalizers: so
webhooks go before all else,
users' objects before their definitions, definitions before the namespace, and each is waited for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.module import Run
from ..._engine.objects import Object, ref_of, summarize
from ..._engine.planning.applyset import NEVER_PRUNED_KINDS, PART_OF
from ..._engine.planning.change import PRUNED
from ..._engine.steps import Step
from ..._failure import Failure, InvalidOption
from .. import webhooks
from ..dataplane import revisions
from ..dataplane.injection import has_sidecar, revision_label
from ..install import charts
from ..install.control_plane import TAG, ControlPlane, installed_revisions
from ..install.helm import RELEASE_NAME, RELEASE_NAMESPACE, Helm
from . import leftovers
from .leftovers import DATAPLANE_MODE, belongs_to_mesh, in_mesh

DEFINITION = "CustomResourceDefinition"
# Names in a message, of many.
NAMED = 10


@dataclass(frozen=True)
class MeshUsers:
    """What depends on a revision. pods: {namespace: number of pods with its proxy}; namespaces, tags: those that lead
    to it.
    """

    pods: dict[str, int]
    namespaces: list[str]
    tags: list[str]

    def __bool__(self) -> bool:
        return bool(self.pods or self.namespaces or self.tags)

    def __str__(self) -> str:
        listed = [
            ("pods", sum(self.pods.values()), [f"{place} {count}" for place, count in self.pods.items()]),
            ("namespaces", len(self.namespaces), self.namespaces),
            ("revision tags", len(self.tags), self.tags),
        ]
        return "; ".join(f"{words}: {count} ({summarize(names, NAMED)})" for words, count, names in listed if count)


def find_users(
    revision: str,
    last: bool,
    pods: list[Object],
    namespaces: list[Object],
    injectors: list[Object],
    going: list[Object],
) -> MeshUsers:
    """last: no other revision is left to turn to; going: the workloads and webhooks that go with the revision, for
    these are no users.
    """
    names = {obj["metadata"]["name"] for obj in going if obj["kind"] == "MutatingWebhookConfiguration"}
    tags = revisions.revisions_of([obj for obj in injectors if obj["metadata"]["name"] not in names]).tags
    known = revisions.revisions_of(injectors)
    # A proxy that tells no revision, and one of a node, are anybody's: so they are the last one's.
    proxies = {revision, *([""] if last else [])}
    using = [
        pod
        for pod in pods
        if in_mesh(pod)
        and not belongs_to_mesh(pod, going)
        and (revisions.revision_of_pod(pod) in proxies if has_sidecar(pod) else last)
    ]
    alive = [obj for obj in namespaces if not obj["metadata"].get("deletionTimestamp")]
    leading = [obj for obj in alive if _leads(obj["metadata"].get("labels") or {}, known, revision, last)]
    return MeshUsers(
        dict(sorted(Counter(pod["metadata"]["namespace"] for pod in using).items())),
        sorted(obj["metadata"]["name"] for obj in leading),
        sorted(tag for tag, target in tags.items() if target == revision),
    )


def _leads(labels: dict[str, str], known: revisions.Revisions, revision: str, last: bool) -> bool:
    return known.of_namespace(labels) == revision or (last and labels.get(DATAPLANE_MODE) == "ambient")


def removal_problems(plane: ControlPlane, found: MeshUsers) -> list[Failure]:
    if not found:
        return []
    hint = (
        "Move namespaces and tags to another revision or out of the mesh, and restart their workloads. Or set"
        " delete_in_use."
    )
    return [
        Failure("revision_in_use", f"revision: {plane.revision_name} is in use. {found}", reason=str(found), hint=hint)
    ]


def _users(cluster: Cluster, plane: ControlPlane, releases: list[tuple[str, str]], last: bool) -> MeshUsers:
    """Raises InvalidOption "not_ours" where this removal would not remove the istiod."""
    injectors, deployments, set_id = webhooks.injectors(cluster), cluster.list("apps", "Deployment"), plane.own_set.id
    for obj in deployments:
        labels = obj["metadata"].get("labels") or {}
        if (
            labels.get("app") == "istiod"
            and revision_label(obj) == plane.revision_name
            and not _goes(obj, set_id, releases)
        ):
            hint = (
                "Set namespace and method as for the installation. If another tool installed it, install it with"
                " adopt first."
            )
            raise InvalidOption(
                "revision",
                f"{ref_of(obj)} does not belong to the control plane {plane.revision_name} in {plane.namespace}",
                ref=ref_of(obj).as_result(),
                hint=hint,
                code="not_ours",
            )
    going = [
        obj for obj in [*deployments, *cluster.list("apps", "DaemonSet"), *injectors] if _goes(obj, set_id, releases)
    ]
    return find_users(
        plane.revision_name, last, cluster.list("", "Pod"), cluster.list("", "Namespace"), injectors, going
    )


def _goes(obj: Object, set_id: str, releases: list[tuple[str, str]]) -> bool:
    """releases: those of Helm that go; none where the set goes."""
    metadata = obj["metadata"]
    mark = metadata.get("annotations") or {}
    if not releases:
        return (metadata.get("labels") or {}).get(PART_OF) == set_id
    return (mark.get(RELEASE_NAME, ""), mark.get(RELEASE_NAMESPACE, "")) in releases


def _tag_objects(cluster: Cluster, tag: str) -> list[Object]:
    """Whoever made them."""
    kinds = [
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("", "Service"),
    ]
    return [obj for kind in kinds for obj in cluster.list(*kind, selector=f"{TAG}={tag}")]


def instances(cluster: Cluster, definitions: list[Object]) -> list[Object]:
    """All objects of these definitions' kinds."""
    kinds = [(obj["spec"]["group"], obj["spec"]["names"]["kind"]) for obj in definitions]
    return [obj for objects in cluster.each(lambda kind: cluster.list(*kind), kinds) for obj in objects]


def remove_control_plane(run: Run, plane: ControlPlane) -> dict[str, Any]:
    """This revision; with the last one also what all share, and what istiod itself wrote. Raises Failure
    "revision_in_use", InvalidOption.
    """
    options, cluster, by_helm = run.options, run.cluster, run.options["method"] == "helm"
    there = installed_revisions(cluster, plane)
    others = sorted(there - {plane.revision_name})
    for option in ("delete_crds", "delete_namespace", "purge"):
        if options[option] and others:
            raise InvalidOption(
                option,
                f"revision {others[0]} still exists and needs the objects that would be deleted",
                hint="Remove that revision first, or omit this option.",
            )
    if not by_helm:
        charts.require_not_helm(cluster, plane)
    releases = charts.live_releases(cluster, plane, last=not others) if by_helm else []
    if plane.revision_name in there:
        found = _users(cluster, plane, releases, last=not others)
        if not options["delete_in_use"]:
            run.fail_or_warn(removal_problems(plane, found))
        for tag in found.tags:
            run.remove(_tag_objects(cluster, tag), revisions.RevisionTag(tag, namespace=plane.namespace).own_set)
    if by_helm:
        run.apply(
            charts.removal_steps(cluster, Helm(options["helm"]), releases), run.apply_options(namespace=plane.namespace)
        )
    else:
        run.remove([], plane.own_set)
    return run.outcome() if others else _remove_shared(run, plane, by_helm)


def _remove_shared(run: Run, plane: ControlPlane, by_helm: bool) -> dict[str, Any]:
    options, cluster, base = run.options, run.cluster, plane.base_set()
    definitions = _definitions(cluster, plane, by_helm) if options["delete_crds"] else []
    theirs = instances(cluster, definitions)
    if theirs:
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(obj["kind"] for obj in theirs).items()))
        run.module.warn(f"delete_crds: deleting the CRDs deletes all objects of their kinds: {counts}")
        run.remove(theirs)
    gone = {
        kind for kind, option in ((DEFINITION, "delete_crds"), ("Namespace", "delete_namespace")) if options[option]
    }
    run.remove(definitions, base, kept=frozenset(NEVER_PRUNED_KINDS - gone))
    run.remove(leftovers.of_istiod(cluster, run.deadline, run.check_mode))
    doomed = [
        change.before
        for the_plan in run.plans
        for change in the_plan.changes
        if change.action == PRUNED and change.before
    ]
    left = leftovers.list_candidates(leftovers.find_leftovers(cluster, plane.namespace), cluster.manager, doomed)
    if options["purge"]:
        _purge(run, [row for row in left if row.own])
        left = [row for row in left if not row.own]
    return {**run.outcome(), "leftovers": [row.row for row in left]}


def _definitions(cluster: Cluster, plane: ControlPlane, by_helm: bool) -> list[Object]:
    base = plane.base_set()
    own = [obj for obj in base.members(cluster, base.live_parent(cluster)) if obj["kind"] == DEFINITION]
    return own + (charts.crd_objects(cluster) if by_helm else [])


def _purge(run: Run, rows: list[leftovers.Leftover]) -> None:
    run.remove([row.obj for row in rows if row.ref.kind != "Namespace"])
    labeled = {row.ref: row.obj for row in rows if row.ref.kind == "Namespace"}
    if labeled:
        run.apply(
            [Step("labels", [leftovers.unlabeled(obj, run.cluster.manager) for obj in labeled.values()])],
            run.apply_options(),
        )
