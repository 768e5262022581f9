# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods get a sidecar, which have one, and which workloads must be restarted to get it.

Istio's sidecar injection (istio.io, Installing the Sidecar): a namespace says istio-injection or istio.io/rev, a pod
may say
sidecar.istio.io/inject; pods in the host's network are never injected. Sidecars may be native (KEP-753): then they are
init containers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..._engine.objects import Object, Ref, ref_of
from ..._engine.waiting.kstatus import status_of
from ..._failure import InvalidOption

INJECTION = "istio-injection"
REVISION = "istio.io/rev"
# The revision of a control plane without one.
DEFAULT = "default"
POD_INJECT = "sidecar.istio.io/inject"
SIDECAR = "istio-proxy"
RESTARTED_AT = "servicemesh.istio/restartedAt"
# Namespaces in which istiod injects nothing, whatever is asked (pkg/kube/inject/initializer.go).
NEVER_INJECTED = {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}
RESTARTABLE = {"Deployment", "StatefulSet", "DaemonSet"}


@dataclass(frozen=True)
class Enrollment:
    """How a namespace asks for injection. injection: "enabled", "disabled" or ""; revision: a revision or a tag, or
    "".
    """

    name: str
    injection: str = ""
    revision: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def wanted_labels(self) -> dict[str, str]:
        own = {INJECTION: self.injection} if self.injection else {}
        return {**self.labels, **own, **({REVISION: self.revision} if self.revision else {})}


@dataclass
class Workload:
    """A workload some of whose pods lack the sidecar, or have a stale one."""

    ref: Ref
    pods: list[str]
    restartable: bool


def validate_enrollment(enrollment: Enrollment, live: Object | None) -> None:
    """Raises InvalidOption "both_labels": with both labels on a namespace, istio-injection wins and the revision is not
    used.
    """
    if enrollment.injection and enrollment.revision:
        message = (
            f"both injection and revision are set for namespace {enrollment.name}: with both labels, Istio uses"
            f" {INJECTION} and ignores the revision"
        )
        raise InvalidOption("revision", message, hint="Set only one of them.", code="both_labels")
    for key in (INJECTION, REVISION):
        if key in enrollment.labels:
            raise InvalidOption(
                "labels",
                f"{key} cannot be set here: the options injection and revision set it",
                hint="Use those.",
                code="both_labels",
            )
    there = ((live or {}).get("metadata") or {}).get("labels") or {}
    other = INJECTION if enrollment.revision else REVISION if enrollment.injection == "enabled" else ""
    if other in there and not _is_own(live or {}, other):
        message = (
            f"namespace {enrollment.name} has the label {other}={there[other]} from another tool: with both labels, "
            f"Istio uses {INJECTION} and ignores the revision"
        )
        raise InvalidOption(
            "injection" if enrollment.injection else "revision",
            message,
            ref=Ref("", "Namespace", "", enrollment.name).as_result("v1"),
            hint=f"Remove the label first: kubectl label namespace {enrollment.name} {other}-",
            code="both_labels",
        )


def _is_own(namespace: Object, label: str, manager: str = "servicemesh.istio") -> bool:
    for entry in namespace["metadata"].get("managedFields") or []:
        owned = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:labels", {})
        if f"f:{label}" in owned and entry.get("manager") != manager:
            return False
    return True


def namespace_object(enrollment: Enrollment) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": enrollment.name, "labels": enrollment.wanted_labels},
    }


def injects(labels: dict[str, str]) -> bool:
    """Whether a namespace with these labels asks for sidecars."""
    return labels.get(INJECTION) == "enabled" or (INJECTION not in labels and bool(labels.get(REVISION)))


def has_sidecar(pod: Object) -> bool:
    return bool(sidecars(pod))


def sidecar_image(pod: Object) -> str:
    """Empty where the pod has no sidecar."""
    return next((str(container.get("image", "")) for container in sidecars(pod)), "")


def sidecars(pod: Object) -> list[dict[str, Any]]:
    """The pod's containers with a proxy."""
    spec = pod["spec"]
    return [
        container
        for container in (spec.get("containers") or []) + (spec.get("initContainers") or [])
        if container.get("name") == SIDECAR
    ]


def revision_label(obj: Object) -> str:
    """The revision whose part an object is, or that a tag points to."""
    return str((obj["metadata"].get("labels") or {}).get(REVISION, DEFAULT))


def is_gateway(obj: Object) -> bool:
    """Whether a Service or pod is a gateway's: by its labels, or because it asks for the injection of a gateway's
    proxy.
    """
    labels, annotations = obj["metadata"].get("labels") or {}, obj["metadata"].get("annotations") or {}
    if str(labels.get("istio", "")).endswith("gateway") or "gateway.networking.k8s.io/gateway-name" in labels:
        return True
    return "gateway" in str(annotations.get("inject.istio.io/templates", "")).split(",")


def wants_sidecar(pod: Object, namespace_injects: bool) -> bool:
    """Whether injection would take this pod if it were made now."""
    if pod["spec"].get("hostNetwork"):
        return False
    labels, annotations = pod["metadata"].get("labels") or {}, pod["metadata"].get("annotations") or {}
    said = labels.get(POD_INJECT, annotations.get(POD_INJECT))
    if said == "false":
        return False
    return namespace_injects or said == "true"


def is_alive(pod: Object) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and (pod.get("status") or {}).get("phase") not in (
        "Succeeded",
        "Failed",
    )


def sidecar_counts(pods: Iterable[Object], namespace_injects: bool) -> dict[str, int]:
    """{enrolled, expected, total}: live pods with a sidecar, those that should have one, and all."""
    living = [pod for pod in pods if is_alive(pod)]
    return {
        "enrolled": sum(has_sidecar(pod) for pod in living),
        "expected": sum(wants_sidecar(pod, namespace_injects) for pod in living),
        "total": len(living),
    }


def missing_sidecar(pods: Iterable[Object], replica_sets: Iterable[Object], namespace_injects: bool) -> list[Workload]:
    """Workloads with live pods that should have a sidecar and have none, and bare pods of that kind."""
    return workloads_of(
        [pod for pod in pods if is_alive(pod) and not has_sidecar(pod) and wants_sidecar(pod, namespace_injects)],
        replica_sets,
    )


def workloads_of(pods: Iterable[Object], replica_sets: Iterable[Object]) -> list[Workload]:
    """The workloads behind the pods; a bare pod is its own.

    A pod of an older template of its workload is on its way out and does not count.
    """
    sets = {obj["metadata"]["name"]: obj for obj in replica_sets}
    newest = _newest(sets.values())
    found: dict[Ref, Workload] = {}
    for pod in pods:
        owner = _owner(pod, sets)
        if owner.kind == "Deployment" and _set_of(pod) != newest.get(owner.name):
            continue
        workload = found.setdefault(owner, Workload(owner, [], owner.kind in RESTARTABLE))
        workload.pods.append(pod["metadata"]["name"])
    return [found[ref] for ref in sorted(found)]


def _newest(replica_sets: Iterable[Object]) -> dict[str, str]:
    """{Deployment: name of its newest ReplicaSet}"""
    best: dict[str, tuple[int, str]] = {}
    for obj in replica_sets:
        controller = _controller(obj)
        if controller:
            revision = int((obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", 0))
            best[controller["name"]] = max(best.get(controller["name"], (0, "")), (revision, obj["metadata"]["name"]))
    return {name: value[1] for name, value in best.items()}


def _controller(obj: Object) -> dict[str, Any] | None:
    return next((ref for ref in obj["metadata"].get("ownerReferences") or [] if ref.get("controller")), None)


def _set_of(pod: Object) -> str:
    controller = _controller(pod)
    return controller["name"] if controller else ""


def _owner(pod: Object, sets: dict[str, Object]) -> Ref:
    namespace = pod["metadata"]["namespace"]
    controller = _controller(pod)
    if controller is None:
        return Ref("", "Pod", namespace, pod["metadata"]["name"])
    above = (
        _controller(sets[controller["name"]])
        if controller["kind"] == "ReplicaSet" and controller["name"] in sets
        else None
    )
    owner = above or controller
    group = owner["apiVersion"].rpartition("/")[0]
    return Ref(group, owner["kind"], namespace, owner["name"])


def restart_patch(ref: Ref, when: str) -> Object:
    """The one field that makes a workload's controller replace its pods, as kubectl rollout restart does."""
    template = {"metadata": {"annotations": {RESTARTED_AT: when}}}
    return {
        "apiVersion": "apps/v1",
        "kind": ref.kind,
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": {"template": template},
    }


def unfinished_restarts(workloads: Iterable[Object]) -> list[Object]:
    """The restarts, as they were written, of workloads whose pods have not all been replaced yet."""
    found = []
    for obj in workloads:
        when = ((obj["spec"]["template"].get("metadata") or {}).get("annotations") or {}).get(RESTARTED_AT)
        if when and not status_of(obj).current:
            found.append(restart_patch(ref_of(obj), when))
    return found


def workload_row(workload: Workload) -> dict[str, Any]:
    return {
        "kind": workload.ref.kind,
        "name": workload.ref.name,
        "namespace": workload.ref.namespace,
        "pods": workload.pods,
        "restartable": workload.restartable,
    }
