# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane as Helm releases, in Istio's order: base, istiod, node agents, gateways."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.images import Registries
from ..._engine.objects import Object
from ..._engine.planning.change import ApplyOptions
from ..._engine.steps import Step
from ..._failure import InvalidOption
from ..._libraries import yaml
from .. import webhooks
from . import images
from .control_plane import (
    PROFILE_GATEWAYS,
    TAG,
    ControlPlane,
    LiveMesh,
    fail_on_overlap,
    newer,
    own_namespace,
    plane_namespaces,
    wants_default_tag,
)
from .helm import (
    CHARTS,
    RELEASE_NAME,
    RELEASE_NAMESPACE,
    Helm,
    HelmRelease,
    HelmRevision,
    Installation,
    Removal,
    helm_revisions,
    last_revision,
)
from .helm_values import refuse_unknown

BASE, CNI, ZTUNNEL = "istio-base", "istio-cni", "ztunnel"
ISTIOD = Path("istio-control", "istio-discovery")
# istioctl's profiles that are Helm's defaults; the other names are the same for both.
PLAIN = {"default", "minimal"}
# On the Secrets of a gateway's release: the revision whose gateways it is one of.
GATEWAY_OF = "servicemesh.istio/gateway-of"
NODE_AGENTS = {CNI: "istio-cni", ZTUNNEL: "ztunnel"}
# What values.gateways says, beside the names of gateways, of those that istiod itself makes.
OWN_GATEWAYS = {"securityContext", "seccompProfile"}


@dataclass(frozen=True)
class Charts:
    """The charts of an unpacked release (manifests/charts)."""

    folder: Path
    version: str
    profiles: frozenset[str] = field(default_factory=frozenset)

    @staticmethod
    def of(folder: Path) -> Charts:
        """Raises InvalidOption."""
        try:
            version = str(yaml.safe_load((folder / "base" / "Chart.yaml").read_text(encoding="utf-8"))["version"])
        except (OSError, yaml.YAMLError, LookupError, TypeError) as error:
            raise InvalidOption(
                "charts", f"{folder} contains no Istio charts on the host where this task runs", hint=CHARTS
            ) from error
        profiles = {path.stem.removeprefix("profile-") for path in (folder / "base" / "files").glob("profile-*.yaml")}
        return Charts(folder, version, frozenset(profiles))

    @property
    def hub(self) -> str:
        """Where their images are, unless something else is said. Raises InvalidOption."""
        try:
            values = yaml.safe_load((self.folder / ISTIOD / "values.yaml").read_text(encoding="utf-8"))
            return str(values["_internal_defaults_do_not_set"]["global"]["hub"])
        except (OSError, yaml.YAMLError, LookupError, TypeError) as error:
            raise InvalidOption(
                "hub", f"is required with registries, because {self.folder} does not define a registry"
            ) from error


def validate_chart_options(plane: ControlPlane, charts: Charts) -> None:
    """Raises InvalidOption for what the charts cannot say."""
    known = charts.profiles | PLAIN
    if plane.profile not in known:
        raise InvalidOption(
            "profile",
            f"{plane.profile!r} is not a profile of the charts",
            hint=f"Use one of {', '.join(sorted(known))}.",
            code="unknown_profile",
        )
    if plane.overlays:
        raise InvalidOption(
            "overlays",
            "not supported with method helm",
            hint="Set the same in values, or install with method istioctl.",
        )
    for name, component in plane.components.items():
        if name not in ("cni", "ztunnel") or set(component) - {"enabled"}:
            raise InvalidOption(
                "components",
                f"{name} has settings that method helm does not support",
                hint=(
                    "With method helm, components supports only cni and ztunnel with enabled. Set everything else in"
                    " values and gateways."
                ),
            )
    refuse_unknown(charts.folder, plane.values)


def with_registries(plane: ControlPlane, charts: Charts) -> ControlPlane:
    """The plane with values that name its registries: since Helm writes, there is no other way. Raises
    InvalidOption.
    """
    registries = Registries.of(plane.registries)
    if not registries:
        return plane
    hub = plane.hub or (plane.values.get("global") or {}).get("hub") or charts.hub
    named = None if plane.gateways is None else images.of_values(plane.gateways, registries)
    return replace(plane, hub=registries.hub(hub), values=images.of_values(plane.values, registries), gateways=named)


def _refuse_others(steps: list[Step], plane: ControlPlane) -> None:
    for use in images.beyond([obj for step in steps for obj in step.objects], Registries.of(plane.registries)):
        raise InvalidOption(
            "registries",
            f"no value sets the image {use.image} of {use}",
            hint="Set its image in values, or install with method istioctl.",
        )


def istiod_name(plane: ControlPlane) -> str:
    return f"istiod-{plane.revision}" if plane.revision else "istiod"


def base(plane: ControlPlane, charts: Charts, live: dict[str, Any] | None, default: bool) -> HelmRelease:
    """live: the values of the base that is there. It is all revisions': only the one with the default tag says more
    than that.
    """
    values = live
    if values is None or default:
        own: dict[str, Any] = {key: plane.values[key] for key in ("base", "global") if key in plane.values}
        values = merge_values(
            own,
            {"global": {"istioNamespace": plane.namespace}, "defaultRevision": plane.revision_name if default else ""},
        )
    return HelmRelease(BASE, plane.namespace, charts.folder / "base", values)


def istiod(plane: ControlPlane, charts: Charts, default: bool) -> HelmRelease:
    values = _values(plane, set(plane.values) - {"gateways"})
    own = {key: value for key, value in (plane.values.get("gateways") or {}).items() if key in OWN_GATEWAYS}
    if own:
        values["gateways"] = own
    if plane.compatibility_version:
        values["compatibilityVersion"] = plane.compatibility_version
    if plane.mesh_config:
        values = merge_values(values, {"meshConfig": plane.mesh_config})
    if plane.revision:
        values["revision"] = plane.revision
        if default:
            values["revisionTags"] = sorted({"default", *(values.get("revisionTags") or [])})
    if plane.components.get("cni", {}).get("enabled"):
        values = merge_values(values, {"pilot": {"cni": {"enabled": True}}})
    return HelmRelease(istiod_name(plane), plane.namespace, charts.folder / ISTIOD, values)


def node_agents(plane: ControlPlane, charts: Charts) -> list[HelmRelease]:
    """CNI and ztunnel, one of each in a cluster."""
    ambient = plane.profile == "ambient"
    found = []
    for name, chart in NODE_AGENTS.items():
        key = "cni" if name == CNI else name
        if plane.components.get(key, {}).get("enabled", ambient):
            found.append(HelmRelease(name, plane.namespace, charts.folder / chart, _values(plane, {key, "global"})))
    return found


# What values.gateways says for istioctl's gateway charts -> where Helm's gateway chart has it.
GATEWAY_VALUES = {
    "type": ("service", "type"),
    "ports": ("service", "ports"),
    "serviceAnnotations": ("service", "annotations"),
    "loadBalancerIP": ("service", "loadBalancerIP"),
    "loadBalancerSourceRanges": ("service", "loadBalancerSourceRanges"),
    "externalTrafficPolicy": ("service", "externalTrafficPolicy"),
    "autoscaleEnabled": ("autoscaling", "enabled"),
    "autoscaleMin": ("autoscaling", "minReplicas"),
    "autoscaleMax": ("autoscaling", "maxReplicas"),
    "resources": ("resources",),
    "nodeSelector": ("nodeSelector",),
    "tolerations": ("tolerations",),
    "podAnnotations": ("podAnnotations",),
    "env": ("env",),
}


def _gateway_values(plane: ControlPlane, name: str) -> dict[str, Any]:
    """What the control plane's values say of a gateway, so that one file of variables serves both methods."""
    values: dict[str, Any] = {"revision": plane.revision} if plane.revision else {}
    policy = (plane.values.get("global") or {}).get("imagePullPolicy")
    if policy:
        values["imagePullPolicy"] = policy
    for key, value in ((plane.values.get("gateways") or {}).get(name) or {}).items():
        if key not in GATEWAY_VALUES:
            raise InvalidOption(
                "values",
                f"gateways.{name}.{key} is not supported by the Helm chart gateway",
                hint=f"Set it in values of the gateway. Supported keys: {', '.join(sorted(GATEWAY_VALUES))}.",
            )
        for part in reversed(GATEWAY_VALUES[key]):
            value = {part: value}
        values = merge_values(values, value)
    return values


def gateways(plane: ControlPlane, charts: Charts) -> list[HelmRelease]:
    """Raises InvalidOption."""
    found = []
    for gateway in wanted_gateways(plane):
        values = _gateway_values(plane, gateway["name"])
        if gateway.get("service_type"):
            values = merge_values(values, {"service": {"type": gateway["service_type"]}})
        place = gateway.get("namespace") or plane.namespace
        found.append(
            HelmRelease(
                gateway["name"],
                place,
                charts.folder / "gateway",
                merge_values(values, gateway.get("values") or {}),
                {GATEWAY_OF: plane.revision_name},
            )
        )
    return found


def own_gateways(cluster: Cluster, plane: ControlPlane) -> list[tuple[str, str]]:
    """(name, namespace) of the gateway releases that are this revision's now."""
    places = {plane.namespace, *(entry.get("namespace") or plane.namespace for entry in wanted_gateways(plane))}
    secrets = cluster.list_where_allowed("", "Secret", places, f"owner=helm,{GATEWAY_OF}={plane.revision_name}")
    found = sorted({(secret["metadata"]["labels"]["name"], secret["metadata"]["namespace"]) for secret in secrets})
    return [
        (name, place)
        for name, place in found
        if _gateway_of(last_revision(cluster, name, place)) == plane.revision_name
    ]


def _gateway_of(last: HelmRevision | None) -> str:
    """The revision whose gateway a release is; empty where none is known."""
    return str((last.secret["metadata"].get("labels") or {}).get(GATEWAY_OF, "")) if last else ""


def wanted_gateways(plane: ControlPlane) -> list[dict[str, Any]]:
    """What was asked for, or what istioctl's profile of this name has."""
    if plane.gateways is not None:
        return plane.gateways
    kinds = {"default": [False], "demo": [False, True]}.get(plane.profile, [])
    return [{"name": PROFILE_GATEWAYS[egress]} for egress in kinds]


def chart_steps(
    cluster: Cluster, plane: ControlPlane, helm: Helm, charts: Charts, live: LiveMesh, rules: ApplyOptions
) -> list[Step]:
    """Namespaces, then one step for each release. Raises InvalidOption, Failure "webhook_overlap", ApiError."""
    kubernetes = str(cluster.api.request("GET", "/version").get("gitVersion", ""))
    default = wants_default_tag(plane, live)
    plane = with_registries(plane, charts)

    def step(release: HelmRelease) -> Step:
        return Installation(
            helm, release, last_revision(cluster, release.name, release.namespace), kubernetes, rules
        ).step(ready=True)

    steps = [
        Step("namespace", plane_namespaces(plane, live) + _gateway_namespaces(cluster, plane), set=plane.base_set())
    ]
    known = last_revision(cluster, BASE, plane.namespace)
    if known is None or not newer(known.chart_version, charts.version):
        steps.append(
            Installation(
                helm, base(plane, charts, known.values if known else None, default), known, kubernetes, rules
            ).step()
        )
    core = step(istiod(plane, charts, default))
    hooks = [obj for obj in core.objects if obj["kind"] == "MutatingWebhookConfiguration"]
    replaced = _replaced_tag(cluster, plane, live) if rules.adopt else []
    gone = {obj["metadata"]["name"] for obj in replaced}
    fail_on_overlap(
        hooks, replace(live, injectors=[obj for obj in live.injectors if obj["metadata"]["name"] not in gone])
    )
    steps.append(
        replace(core, barrier=webhooks.webhooks_armed([obj["metadata"]["name"] for obj in hooks]) if hooks else None)
    )
    if replaced:
        steps.append(Step("default tag", deleted=replaced))
    steps += [step(release) for release in node_agents(plane, charts)]
    if not plane.leave_gateways:
        wanted = gateways(plane, charts)
        surplus = set(own_gateways(cluster, plane)) - {(release.name, release.namespace) for release in wanted}
        steps += [step(release) for release in wanted] + [
            Removal(helm, *place, helm_revisions(cluster, *place)).step() for place in sorted(surplus)
        ]
    _refuse_others(steps, plane)
    return steps


def render_charts(plane: ControlPlane, helm: Helm, charts: Charts, kubernetes: str) -> list[Object]:
    """All objects of a first install. kubernetes: a version, or empty for the one that Helm takes. Raises
    InvalidOption.
    """
    releases = [
        base(plane, charts, None, True),
        istiod(plane, charts, True),
        *node_agents(plane, charts),
        *gateways(plane, charts),
    ]
    return [obj for release in releases for obj in helm.render(release, kubernetes, upgrade=False)]


def _replaced_tag(cluster: Cluster, plane: ControlPlane, live: LiveMesh) -> list[Object]:
    """The default tag's objects as istioctl makes them for an install without a revision: the chart's own injector
    takes their place.
    """
    if plane.revision:
        return []
    hooks = [
        obj
        for obj in live.injectors
        if obj["metadata"]["labels"].get(TAG) == "default"
        and obj["metadata"]["labels"].get("istio.io/rev") == plane.revision_name
    ]
    services = (
        cluster.list("", "Service", plane.namespace, f"{TAG}=default,istio.io/rev={plane.revision_name}")
        if hooks
        else []
    )
    return hooks + services


def surplus_releases(cluster: Cluster, rendered: list[Object]) -> list[Object]:
    """What Helm keeps of the releases whose objects are taken over, and those of their objects that are wanted no
    more.
    """
    wanted = {(obj["kind"], obj["metadata"]["name"]) for obj in rendered}
    live = cluster.live([obj for obj in rendered if cluster.resource_of(obj)]).values()
    marks = [obj["metadata"].get("annotations") or {} for obj in live]
    names = sorted(
        {
            (mark[RELEASE_NAME], mark[RELEASE_NAMESPACE])
            for mark in marks
            if RELEASE_NAME in mark and RELEASE_NAMESPACE in mark
        }
    )
    found = []
    for name, namespace in names:
        known = helm_revisions(cluster, name, namespace)
        surplus = [
            obj
            for obj in (known[-1].deletable if known else [])
            if (obj["kind"], obj["metadata"]["name"]) not in wanted
        ]
        found += [cluster.placed(obj, namespace) for obj in surplus]
        found += [revision.secret for revision in known]
    return found


def _gateway_namespaces(cluster: Cluster, plane: ControlPlane) -> list[Object]:
    names = sorted(
        {entry["namespace"] for entry in wanted_gateways(plane) if entry.get("namespace")} - {plane.namespace}
    )
    found = [(name, cluster.get("", "Namespace", "", name)) for name in names]
    return [obj for name, live in found for obj in own_namespace(name, live)]


def live_releases(cluster: Cluster, plane: ControlPlane, last: bool) -> list[tuple[str, str]]:
    """(name, namespace) in the order in which they go: gateways, istiod, and with the last revision also what all
    share.
    """
    named = {(entry["name"], entry.get("namespace") or plane.namespace) for entry in wanted_gateways(plane)}
    # One that another revision has taken over is its own.
    named = {place for place in named if _gateway_of(last_revision(cluster, *place)) in ("", plane.revision_name)}
    names = sorted(named | set(own_gateways(cluster, plane)))
    names.append((istiod_name(plane), plane.namespace))
    if last:
        names += [(name, plane.namespace) for name in (ZTUNNEL, CNI, BASE)]
    return names


def removal_steps(cluster: Cluster, helm: Helm, names: list[tuple[str, str]]) -> list[Step]:
    return [
        Removal(helm, name, namespace, helm_revisions(cluster, name, namespace)).step() for name, namespace in names
    ]


def require_not_helm(cluster: Cluster, plane: ControlPlane) -> None:
    """Raises InvalidOption "wrong_method" where Helm keeps this control plane."""
    name = istiod_name(plane)
    if helm_revisions(cluster, name, plane.namespace):
        raise InvalidOption(
            "method",
            f"{plane.namespace}/{name} is a Helm release",
            hint="Remove it with method helm.",
            code="wrong_method",
        )


def crd_objects(cluster: Cluster) -> list[Object]:
    """CustomResourceDefinitions that the base release made: Helm keeps them."""
    live = cluster.list("apiextensions.k8s.io", "CustomResourceDefinition")
    return [obj for obj in live if (obj["metadata"].get("annotations") or {}).get(RELEASE_NAME) == BASE]


def _values(plane: ControlPlane, keys: set[str]) -> dict[str, Any]:
    """These of the plane's values, with what a chart is told of the plane besides."""
    images = {key: value for key, value in (("hub", plane.hub), ("tag", plane.tag)) if value}
    profile = {} if plane.profile in PLAIN else {"profile": plane.profile}
    own = {key: value for key, value in plane.values.items() if key in keys}
    return merge_values(own, {"global": {"istioNamespace": plane.namespace, **images}, **profile})


def merge_values(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """A new mapping in which the second's values win."""
    result = copy.deepcopy(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge_values(result[key], value) if both else copy.deepcopy(value)
    return result
