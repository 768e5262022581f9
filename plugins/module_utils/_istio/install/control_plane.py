# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane as ordered steps: what istioctl renders, and what its install does beyond that.

Beyond the manifests (istio.io/istio operator/pkg/install): the namespace, the objects of the default revision tag, and
the check that no two webhooks inject the same pod.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.images import Registries
from ..._engine.objects import Object
from ..._engine.planning.applyset import PART_OF, SET_ID, ObjectSet
from ..._engine.steps import Step
from ..._failure import Failure, InvalidOption
from .. import version_skew, webhooks
from ..dataplane.injection import revision_label
from . import images

# Whether a gateway is for egress -> IstioOperator's list of such, and the name of the one that profiles have.
COMPONENT_LISTS = {False: "ingressGateways", True: "egressGateways"}
PROFILE_GATEWAYS = {False: "istio-ingressgateway", True: "istio-egressgateway"}
GATEWAY_COMPONENTS = {"IngressGateways", "EgressGateways"}
WEBHOOK_KINDS = {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
# istiod fills in caBundle, and failurePolicy of its validators: these fields are its own.
ISTIOD_MANAGER = "pilot-discovery"
COMPONENT, MANAGED, OPERATOR_VERSION = (
    "operator.istio.io/component",
    "operator.istio.io/managed",
    "operator.istio.io/version",
)
RESOURCE = "install.operator.istio.io/owning-resource"
OWNER, NOT_PRUNED = (
    "install.operator.istio.io/owning-resource-namespace",
    "install.operator.istio.io/owning-resource-not-pruned",
)
# Charts that istioctl renders -> its components.
COMPONENTS = {
    "base": "Base",
    "istiod": "Pilot",
    "istio-ingress": "IngressGateways",
    "istio-egress": "EgressGateways",
    "cni": "Cni",
    "ztunnel": "Ztunnel",
}
TAG = "istio.io/tag"
# Charts whose objects are the same for every revision.
CHART, BASE = "helm.sh/chart", "base-"
SETS = "istio-control-plane-"
# On the parent of the base set: the newest Istio whose base was installed.
VERSION = "servicemesh.istio/version"


@dataclass(frozen=True)
class ControlPlane:
    """What a user asks for. values, mesh_config: as in IstioOperator; overlays: {component: [k8s overlay]}; registries:
    as in Registries.
    """

    profile: str = "default"
    namespace: str = "istio-system"
    revision: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    mesh_config: dict[str, Any] = field(default_factory=dict)
    components: dict[str, Any] = field(default_factory=dict)
    overlays: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    hub: str | None = None
    tag: str | None = None
    compatibility_version: str | None = None
    gateways: list[dict[str, Any]] | None = None
    default_tag: bool | None = None
    leave_gateways: bool = False
    registries: dict[str, str] = field(default_factory=dict)

    @property
    def revision_name(self) -> str:
        return self.revision or "default"

    @property
    def set_name(self) -> str:
        return f"{SETS}{self.revision_name}"

    @property
    def own_set(self) -> ObjectSet:
        return ObjectSet(self.set_name, self.namespace)

    def spared(self, member: Object) -> bool:
        """Whether a member of the set stays that is not wanted."""
        return self.leave_gateways and is_gateways(member)

    def base_set(self, version: str = "") -> ObjectSet:
        """What all revisions share: it belongs to none of them."""
        return ObjectSet("istio-base", self.namespace, ((VERSION, version),) if version else ())


@dataclass(frozen=True)
class LiveMesh:
    """The few live objects that a control plane must build on."""

    namespace: Object | None = None
    # Of the set that this run may prune.
    set_id: str = ""
    # The base set's parent.
    base: Object | None = None
    injectors: list[Object] = field(default_factory=list)

    @property
    def default_revision(self) -> str | None:
        """The revision that the live default tag points to."""
        for injector in self.injectors:
            labels = injector["metadata"].get("labels") or {}
            if labels.get(TAG) == "default":
                return str(labels.get("istio.io/rev", ""))
        return None

    def has_newer_base(self, version: str) -> bool:
        """Definitions are for the newest revision, and fit the older ones."""
        return newer(self.base_version, version)

    @property
    def base_version(self) -> str:
        """The newest Istio whose base was installed; empty where none is known."""
        return str(((self.base or {}).get("metadata", {}).get("annotations") or {}).get(VERSION, ""))


def newer(one: str, two: str) -> bool:
    """Whether one version is newer than the other; an empty one is older than all."""
    oldest = version_skew.Version(0, 0)
    return (version_skew.parse_version(one) or oldest) > (version_skew.parse_version(two) or oldest)


def installed_revisions(cluster: Cluster, plane: ControlPlane) -> set[str]:
    """Revisions that are there, whoever installed them."""
    return {revision_label(obj) for obj in cluster.list("apps", "Deployment", selector="app=istiod")} | {
        obj["metadata"]["name"].removeprefix(SETS)
        for obj in cluster.list("", "ConfigMap", plane.namespace, SET_ID)
        if obj["metadata"]["name"].startswith(SETS)
    }


def read_live_mesh(cluster: Cluster, plane: ControlPlane) -> LiveMesh:
    """Raises ApiError."""
    return LiveMesh(
        namespace=cluster.get("", "Namespace", "", plane.namespace),
        set_id=plane.own_set.id,
        base=plane.base_set().live_parent(cluster),
        injectors=webhooks.injectors(cluster),
    )


# DNS label (RFC 1123): revisions become parts of names and labels.
LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")


def validate_label(option: str, value: str, part: str = "") -> None:
    """part: of the option, where it has several. Raises InvalidOption."""
    if not LABEL.match(value):
        raise InvalidOption(
            option,
            f"{part}{value!r} is not a valid DNS label",
            hint="Use lower case letters, digits and dashes, such as 1-31-0.",
        )


def validate_control_plane(plane: ControlPlane) -> None:
    """Raises InvalidOption for what no rendering would make valid."""
    if plane.revision:
        validate_label("revision", plane.revision)
    validate_label("istio_namespace", plane.namespace)
    for gateway in plane.gateways or []:
        for part in ("name", "namespace"):
            if gateway.get(part):
                validate_label("gateways", gateway[part], f"{part} ")
    names = [(gateway["name"], gateway.get("namespace") or plane.namespace) for gateway in plane.gateways or []]
    twice = [name for name, place in names if names.count((name, place)) > 1]
    if twice:
        raise InvalidOption("gateways", f"duplicate entry {twice[0]}")
    for component in COMPONENT_LISTS.values():
        if plane.gateways is not None and component in plane.components:
            raise InvalidOption("gateways", f"components also sets {component}", hint="Set them in one place only.")


def istio_operator(plane: ControlPlane) -> dict[str, Any]:
    """The IstioOperator document that istioctl renders."""
    values = dict(plane.values)
    if plane.revision:
        values["revision"] = plane.revision
    if plane.namespace != "istio-system":
        values["global"] = {**(values.get("global") or {}), "istioNamespace": plane.namespace}
    if plane.compatibility_version:
        values["compatibilityVersion"] = plane.compatibility_version
    components = {
        name: dict(component) if isinstance(component, dict) else component
        for name, component in plane.components.items()
    }
    components.update(_gateway_components(plane))
    for name, overlays in plane.overlays.items():
        component = dict(components.get(name) or {})
        component["k8s"] = {**(component.get("k8s") or {}), "overlays": overlays}
        components[name] = component
    spec: dict[str, Any] = {"profile": plane.profile, "values": values}
    for key, value in (
        ("meshConfig", plane.mesh_config),
        ("components", components),
        ("hub", plane.hub),
        ("tag", plane.tag),
        ("revision", plane.revision),
    ):
        if value:
            spec[key] = value
    return {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "metadata": {"namespace": plane.namespace},
        "spec": spec,
    }


def _gateway_components(plane: ControlPlane) -> dict[str, list[dict[str, Any]]]:
    """IstioOperator's lists of just these gateways; what a profile has under another name is switched off."""
    if plane.gateways is None:
        return {}
    found: dict[str, list[dict[str, Any]]] = {component: [] for component in COMPONENT_LISTS.values()}
    for gateway in plane.gateways:
        name, kubernetes = gateway["name"], dict(gateway.get("k8s") or {})
        if gateway.get("service_type"):
            kubernetes["service"] = {**(kubernetes.get("service") or {}), "type": gateway["service_type"]}
        entry: dict[str, Any] = {
            "name": name,
            "enabled": True,
            "namespace": gateway.get("namespace") or plane.namespace,
        }
        entry["label"] = {"app": name, "istio": name.removeprefix("istio-")}
        found[COMPONENT_LISTS[bool(gateway.get("egress"))]].append(
            {**entry, **({"k8s": kubernetes} if kubernetes else {})}
        )
    for egress, component in COMPONENT_LISTS.items():
        usual = PROFILE_GATEWAYS[egress]
        if not any(entry["name"] == usual for entry in found[component]):
            found[component].append({"name": usual, "enabled": False})
    return found


def tag_operator(plane: ControlPlane, tag: str = "default") -> dict[str, Any]:
    """The IstioOperator whose rendering holds a revision tag's objects, and nothing else that is used."""
    injector = (plane.values.get("sidecarInjectorWebhook") or {}).get("enableNamespacesByDefault", False)
    values = {
        "revision": plane.revision,
        "revisionTags": [tag],
        "defaultRevision": plane.revision_name if tag == "default" else "",
        "sidecarInjectorWebhook": {"enableNamespacesByDefault": injector},
        "global": {"istioNamespace": plane.namespace},
    }
    remote = (plane.values.get("istiodRemote") or {}).get("injectionURL")
    if remote:
        values["istiodRemote"] = {"injectionURL": remote}
    spec = {"profile": "empty", "components": {"base": {"enabled": True}, "pilot": {"enabled": True}}, "values": values}
    return {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "metadata": {"namespace": plane.namespace},
        "spec": spec,
    }


def wants_default_tag(plane: ControlPlane, live: LiveMesh) -> bool:
    """As istioctl decides: always for an install without a revision, else only where no default tag is there yet.

    A tag that points to this very revision stays, so that a second run wants the same as the first.
    """
    if plane.default_tag is not None:
        return plane.default_tag
    if (plane.values.get("global") or {}).get("operatorManageWebhooks"):
        return False
    return not plane.revision or live.default_revision in (None, plane.revision_name)


def tag_objects(rendered: list[Object], plane: ControlPlane, tag: str = "default") -> list[Object]:
    """A tag's webhook and Service, and of the default tag also the validator of objects without a revision."""
    found = []
    for obj in rendered:
        labels = obj["metadata"].setdefault("labels", {})
        if obj["kind"] == "ValidatingWebhookConfiguration" and obj["metadata"]["name"] == "istiod-default-validator":
            labels[TAG] = "default"
            labels["istio.io/rev"] = plane.revision_name
            # istioctl takes it for one of istiod's.
            labels[RESOURCE] = "unknown"
            labels[CHART] = re.sub(f"^{BASE}", "istiod-", str(labels.get(CHART, "")))
            for webhook in obj["webhooks"]:
                # Objects of a revision are for that revision's validator.
                webhook["objectSelector"] = {"matchExpressions": [{"key": "istio.io/rev", "operator": "DoesNotExist"}]}
            found.append(obj)
        elif labels.get(TAG) == tag and obj["kind"] == "Service":
            # As istioctl writes it: pods of that very revision.
            obj["spec"] = {
                **(obj.get("spec") or {}),
                "selector": {"app": "istiod", "istio.io/rev": plane.revision_name},
            }
            found.append(obj)
        elif labels.get(TAG) == tag and obj["kind"] == "MutatingWebhookConfiguration":
            found.append(obj)
    return found


def control_plane_steps(
    plane: ControlPlane, rendered: list[Object], tag: list[Object], live: LiveMesh, version: str = ""
) -> list[Step]:
    """Namespace and base, control plane until Ready, webhooks until armed, gateways until Ready. version: Istio's.

    Raises Failure "webhook_overlap" where two webhooks would inject the same pod.
    """
    registries = Registries.of(plane.registries)
    rendered = [_marked(images.of_control_plane(obj, registries), plane, version) for obj in rendered]
    tag = [_marked(obj, plane, version, {NOT_PRUNED: "true"}) for obj in tag]
    if tag and not plane.revision:
        rendered = [webhooks.deactivated(obj) if _default_injector(obj) else obj for obj in rendered]
    hooks = [obj for obj in rendered + tag if obj["kind"] in WEBHOOK_KINDS]
    fail_on_overlap(hooks, live)
    gateways = [obj for obj in rendered if is_gateways(obj)]
    core = [obj for obj in rendered + tag if obj["kind"] not in WEBHOOK_KINDS and not is_gateways(obj)]
    base = [obj for obj in core if _is_base(obj)]
    core = [obj for obj in core if not _is_base(obj)]
    shared = plane.base_set(live.base_version if live.has_newer_base(version) else version)
    steps = [Step("namespace", plane_namespaces(plane, live), set=shared)]
    if not live.has_newer_base(version):
        steps.append(Step("base", base, set=shared, skip_dry_run=True))
    steps.append(Step("control plane", core, wait_ready=True))
    steps.append(
        Step(
            "webhooks",
            hooks,
            barrier=(
                webhooks.webhooks_armed(
                    [o["metadata"]["name"] for o in hooks if o["kind"] == "MutatingWebhookConfiguration"]
                )
                if hooks
                else None
            ),
        )
    )
    if gateways and not plane.leave_gateways:
        steps.append(Step("gateways", gateways, wait_ready=True))
    return steps


def is_gateways(obj: Object) -> bool:
    """Whether a rendered or live object belongs to a gateway."""
    return _component(obj) in GATEWAY_COMPONENTS


def _marked(obj: Object, plane: ControlPlane, version: str, more: dict[str, str] | None = None) -> Object:
    """With the labels of istioctl's own installs, so that istioctl knows the objects as its own (operator/pkg/install,
    getOwnerLabels).

    What all revisions share is given no revision, which istioctl would rewrite with each.
    """
    labels = obj["metadata"].get("labels") or {}
    own = {
        MANAGED: "Reconcile",
        OWNER: plane.namespace,
        **({OPERATOR_VERSION: version} if version else {}),
        **(more or {}),
    }
    component = COMPONENTS.get(re.sub(r"-\d.*$", "", str(labels.get(CHART, ""))))
    if component:
        own[COMPONENT] = component
    if not _is_base(obj):
        own["istio.io/rev"] = plane.revision_name
    return {**obj, "metadata": {**obj["metadata"], "labels": {**labels, **own}}}


def _component(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get(COMPONENT, ""))


def _is_base(obj: Object) -> bool:
    return str((obj["metadata"].get("labels") or {}).get(CHART, "")).startswith(BASE)


def _default_injector(obj: Object) -> bool:
    return obj["kind"] == "MutatingWebhookConfiguration" and str(obj["metadata"]["name"]).startswith(
        "istio-sidecar-injector"
    )


def plane_namespaces(plane: ControlPlane, live: LiveMesh) -> list[Object]:
    """The plane's namespace, which says its network."""
    network = (plane.values.get("global") or {}).get("network")
    return own_namespace(plane.namespace, live.namespace, {"topology.istio.io/network": network} if network else {})


def own_namespace(name: str, live: Object | None, labels: dict[str, str] | None = None) -> list[Object]:
    """The namespace, unless somebody else made it: then it is theirs."""
    if live is not None and not (live["metadata"].get("labels") or {}).get(PART_OF):
        return []
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}]


def fail_on_overlap(hooks: list[Object], live: LiveMesh) -> None:
    ours = {obj["metadata"]["name"] for obj in hooks}
    wanted = [obj for obj in hooks if obj["kind"] == "MutatingWebhookConfiguration"]
    # What this run prunes is no other: a default tag that is no longer wanted, say.
    others = [
        obj
        for obj in live.injectors
        if obj["metadata"]["name"] not in ours and (obj["metadata"].get("labels") or {}).get(PART_OF) != live.set_id
    ]
    found = webhooks.overlap(wanted, others)
    if found:
        raise Failure(
            "webhook_overlap",
            (
                f"{found.first} and {found.second} would both inject pods with labels {found.pod} in namespaces with"
                f" labels {found.namespace}"
            ),
            hint="Set revision for this control plane, or remove the other one first.",
        )
