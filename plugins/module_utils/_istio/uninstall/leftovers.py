# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is still there of Istio when the last control plane is gone, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..._engine.cluster import Cluster, Forbidden
from ..._engine.objects import Object, Ref, ref_of
from ..._engine.planning.managed_fields import owned_part
from ..._engine.selectors import selects
from ..._engine.waiting.deadline import Deadline
from ..dataplane.injection import INJECTION, REVISION, has_sidecar, is_alive
from ..install.control_plane import TAG

# In every namespace, for its pods: the root certificate, and since 1.31 the revoked certificates
# (istio.io/istio pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go).
COPIES = {"istio-ca-root-cert", "istio-ca-crl"}
MARK = "istio.io/config=true"
# Of client-go's leader election, where the lock is a ConfigMap.
LEADER = "control-plane.alpha.kubernetes.io/leader"
DATAPLANE_MODE = "istio.io/dataplane-mode"
MESH_LABELS = (INJECTION, REVISION, DATAPLANE_MODE)
# On pods whose traffic a node's ztunnel takes.
REDIRECTED = "ambient.istio.io/redirection"


def of_istiod(cluster: Cluster, deadline: Deadline, check_mode: bool) -> list[Object]:
    """Copies of certificates, once no istiod is left that would write them anew."""
    while not check_mode and not deadline.over and cluster.list("", "Pod", selector="app=istiod"):
        cluster.sleep(0.5)
    copies = cluster.list("", "ConfigMap", selector=MARK)
    return [obj for obj in copies if obj["metadata"]["name"] in COPIES and not obj["metadata"].get("deletionTimestamp")]


@dataclass(frozen=True)
class Leftover:
    """own: Istio's, or a label that this collection set: purge takes it."""

    obj: Object
    why: str
    own: bool

    @property
    def ref(self) -> Ref:
        return ref_of(self.obj)

    @property
    def row(self) -> dict[str, str]:
        return {"ref": str(self.ref), "why": self.why}


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _istiods_role(obj: Object) -> bool:
    return _labels(obj).get("app") in ("istiod", "istio-reader") and _name(obj).startswith(("istiod-", "istio-reader-"))


@dataclass(frozen=True)
class LeftoverRule:
    """What stays, of one kind.

    own       Istio's own: purge takes it
    selector  labels that it has
    home      only in the control plane's namespace
    holds     what else tells it
    """

    group: str
    kind: str
    why: str
    own: bool
    selector: str = ""
    home: bool = False
    holds: Callable[[Object], bool] = lambda _obj: True


ADMISSION, RBAC = "admissionregistration.k8s.io", "rbac.authorization.k8s.io"
ELECTION = "lease for istiod's leader election"
RULES = (
    LeftoverRule(
        ADMISSION,
        "MutatingWebhookConfiguration",
        "no istiod answers it, so the pods that it selects cannot be created",
        True,
        "app=sidecar-injector",
    ),
    LeftoverRule(
        ADMISSION,
        "ValidatingWebhookConfiguration",
        "no istiod answers it, so Istio objects cannot be changed",
        True,
        "app=istiod",
    ),
    LeftoverRule("", "Service", "revision tag without an istiod", True, TAG),
    LeftoverRule(
        "",
        "ConfigMap",
        "istiod's copy of the root certificates for the pods of the namespace",
        True,
        MARK,
        holds=lambda obj: _name(obj) in COPIES,
    ),
    LeftoverRule(
        "",
        "ConfigMap",
        ELECTION,
        True,
        home=True,
        holds=lambda obj: _name(obj).startswith("istio-") and LEADER in (obj["metadata"].get("annotations") or {}),
    ),
    LeftoverRule(
        "coordination.k8s.io", "Lease", ELECTION, True, home=True, holds=lambda obj: _name(obj).startswith("istio-")
    ),
    LeftoverRule(
        "",
        "Secret",
        "key of istiod's self-signed CA, which the next control plane would use",
        True,
        home=True,
        holds=lambda obj: _name(obj) == "istio-ca-secret",
    ),
    LeftoverRule(
        "",
        "Secret",
        "CA that was provided to istiod: it belongs to its owner",
        False,
        home=True,
        holds=lambda obj: _name(obj) == "cacerts",
    ),
    LeftoverRule(
        "",
        "Secret",
        "access to another cluster that was provided to istiod: it belongs to its owner",
        False,
        "istio/multiCluster=true",
    ),
    LeftoverRule(RBAC, "ClusterRole", "RBAC of an istiod", True, holds=_istiods_role),
    LeftoverRule(RBAC, "ClusterRoleBinding", "RBAC of an istiod", True, holds=_istiods_role),
    LeftoverRule(
        "gateway.networking.k8s.io",
        "GatewayClass",
        "created by istiod, and no longer served",
        True,
        holds=lambda obj: str((obj.get("spec") or {}).get("controllerName", "")).startswith("istio.io/"),
    ),
    LeftoverRule(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        (
            "deleting it deletes all objects of its kind: only delete_crds deletes it, if this collection or Helm"
            " created it"
        ),
        False,
        holds=lambda obj: str(obj["spec"]["group"]).endswith(".istio.io"),
    ),
)


@dataclass(frozen=True)
class LiveObjects:
    """What the list is made from. objects: those that each rule listed; unknown: those rules that may not be listed,
    with the server's words.
    """

    objects: list[tuple[LeftoverRule, list[Object]]] = field(default_factory=list)
    namespaces: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    unknown: list[tuple[LeftoverRule, str]] = field(default_factory=list)


def list_candidates(live: LiveObjects, manager: str, doomed: Iterable[Object] = ()) -> list[Leftover]:
    """All that is left, less what is doomed (deleted already, or to be) with what belongs to it. manager: whose labels
    are ours to take off.
    """
    doomed = list(doomed)
    refs = {ref_of(obj) for obj in doomed}
    places = {ref.name for ref in refs if ref.kind == "Namespace"}
    found = [Leftover(obj, rule.why, rule.own) for rule, objects in live.objects for obj in objects if rule.holds(obj)]
    found += [label for obj in live.namespaces for label in _of_namespace(obj, manager)]
    found += _of_pods([pod for pod in live.pods if not belongs_to_mesh(pod, doomed)])
    found = [
        row
        for row in found
        if row.ref not in refs and row.ref.namespace not in places and not row.obj["metadata"].get("deletionTimestamp")
    ]
    unknown = [
        Leftover(
            {"apiVersion": f"{rule.group}/v1".lstrip("/"), "kind": rule.kind, "metadata": {"name": "*"}},
            f"unknown: {words}",
            False,
        )
        for rule, words in live.unknown
    ]
    return found + unknown


def _of_namespace(obj: Object, manager: str) -> list[Leftover]:
    own = own_labels(obj, manager)
    found = [(label, _labels(obj)[label]) for label in MESH_LABELS if label in _labels(obj)]
    return [Leftover(obj, f"it has the label {label}={value}", label in own) for label, value in found]


def own_labels(obj: Object, manager: str) -> set[str]:
    """Those of Istio's labels that the manager set."""
    part = (owned_part(obj, manager) or {}).get("metadata") or {}
    return set(part.get("labels") or {}) & set(MESH_LABELS)


def unlabeled(obj: Object, manager: str) -> Object:
    """The Namespace as the manager wants it from now on: as before, less Istio's labels."""
    part = (owned_part(obj, manager) or {}).get("metadata") or {}
    words = {key: dict(part[key] or {}) for key in ("labels", "annotations") if key in part}
    words["labels"] = {key: value for key, value in words.get("labels", {}).items() if key not in MESH_LABELS}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _name(obj), **words}}


def in_mesh(pod: Object) -> bool:
    """Whether a live pod's traffic goes through a proxy of Istio's."""
    return is_alive(pod) and (
        has_sidecar(pod) or (pod["metadata"].get("annotations") or {}).get(REDIRECTED) == "enabled"
    )


def belongs_to_mesh(pod: Object, workloads: Iterable[Object]) -> bool:
    """Whether one of these Deployments and DaemonSets selects the pod."""
    namespace = pod["metadata"]["namespace"]
    near = (
        obj
        for obj in workloads
        if obj["kind"] in ("Deployment", "DaemonSet") and obj["metadata"]["namespace"] == namespace
    )
    return any(selects(obj["spec"].get("selector"), _labels(pod)) for obj in near)


def _of_pods(pods: list[Object]) -> list[Leftover]:
    """One row for each namespace, with its first pod."""
    first: dict[str, list[Object]] = {}
    for pod in pods:
        if in_mesh(pod):
            first.setdefault(pod["metadata"]["namespace"], []).append(pod)
    return [
        Leftover(
            found[0],
            (
                "no istiod serves its proxy until its workload is restarted. Number of such pods in this namespace:"
                f" {len(found)}"
            ),
            False,
        )
        for _place, found in sorted(first.items())
    ]


def find_leftovers(cluster: Cluster, home: str) -> LiveObjects:
    """home: the control plane's namespace. Raises ApiError."""
    answers = list(
        zip(
            RULES,
            cluster.each(
                lambda rule: cluster.try_read(
                    lambda: cluster.list(rule.group, rule.kind, home if rule.home else None, rule.selector)
                ),
                RULES,
            ),
        )
    )
    return LiveObjects(
        objects=[(rule, answer) for rule, answer in answers if not isinstance(answer, Forbidden)],
        namespaces=cluster.list("", "Namespace"),
        pods=cluster.list("", "Pod"),
        unknown=[(rule, answer.message) for rule, answer in answers if isinstance(answer, Forbidden)],
    )
