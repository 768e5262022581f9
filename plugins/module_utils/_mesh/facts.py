# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A live mesh as it was read once: lists of objects, what istiods say of their proxies, and what follows from both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from .._engine.cluster import Cluster, Forbidden
from .._engine.objects import Object
from .._engine.planning.applyset import SET_ID
from .._engine.waiting.kstatus import pod_ready
from .._istio import certificates, mesh, version_skew, webhooks
from .._istio.dataplane import injection, revisions
from .._istio.install.control_plane import BASE, CHART, OPERATOR_VERSION, VERSION
from .._istio.uninstall.leftovers import MARK
from .._proxy.istiod import IstiodAnswer, Proxy, ask_istiods

NETWORKING, ADMISSION = "networking.istio.io", "admissionregistration.k8s.io"
ROOT = "istio-ca-root-cert"
# What is asked for only when the lists are known: istiods' words on their proxies, and what is behind webhooks'
# Services that select no pods.
PROXIES, SLICES = "proxies", "slices"


@dataclass(frozen=True)
class Source:
    """One list that is read: of all namespaces, or only of the control plane's own."""

    group: str
    kind: str
    selector: str = ""
    own: bool = False
    metadata: bool = False


SOURCES = {
    "namespaces": Source("", "Namespace"),
    "nodes": Source("", "Node"),
    "pods": Source("", "Pod"),
    "services": Source("", "Service"),
    "istiods": Source("apps", "Deployment", "app=istiod"),
    "replica_sets": Source("apps", "ReplicaSet"),
    "node_agents": Source("apps", "DaemonSet"),
    "budgets": Source("policy", "PodDisruptionBudget", own=True),
    "injectors": Source(ADMISSION, "MutatingWebhookConfiguration", "app=sidecar-injector"),
    "validators": Source(ADMISSION, "ValidatingWebhookConfiguration", "app=istiod"),
    # Without their schemas, which are a megabyte.
    "crds": Source("apiextensions.k8s.io", "CustomResourceDefinition", metadata=True),
    # Of the sets in which the collection notes what it manages.
    "sets": Source("", "ConfigMap", SET_ID),
    # istiod's copies of certificates in every namespace.
    "roots": Source("", "ConfigMap", MARK),
    "mesh_configs": Source("", "ConfigMap", "istio.io/rev", own=True),
    "gateways": Source(NETWORKING, "Gateway"),
    "virtual_services": Source(NETWORKING, "VirtualService"),
    "destination_rules": Source(NETWORKING, "DestinationRule"),
    "service_entries": Source(NETWORKING, "ServiceEntry"),
    "workload_entries": Source(NETWORKING, "WorkloadEntry"),
    "envoy_filters": Source(NETWORKING, "EnvoyFilter"),
    "peer_authentications": Source("security.istio.io", "PeerAuthentication"),
}


def object_text(obj: Object) -> str:
    """Such as "Pod shop/web-1"."""
    metadata = obj["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{obj['kind']} {place}{metadata['name']}"


def labels_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def is_ready(pod: Object) -> bool:
    return injection.is_alive(pod) and pod_ready(pod)


def is_running(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Running")


def is_istiod(pod: Object) -> bool:
    return labels_of(pod).get("app") == "istiod"


def selected(obj: Object, selector: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels_of(obj).items()


@dataclass(frozen=True)
class Facts:
    """What was read.

    kubernetes  the server's version, such as v1.36.3
    served      (group, kind) of Istio's groups that the server serves
    objects     {name of a source: objects}
    refused     {name of a source: why it may not be read}
    answers     of every ready istiod
    slices      EndpointSlices of the namespaces of webhooks' Services that select no pods
    """

    namespace: str
    kubernetes: str
    served: frozenset[tuple[str, str]]
    objects: dict[str, list[Object]]
    refused: dict[str, str] = field(default_factory=dict)
    answers: tuple[IstiodAnswer, ...] = ()
    slices: tuple[Object, ...] = ()
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    def __getitem__(self, source: str) -> list[Object]:
        return self.objects[source]

    @cached_property
    def planes(self) -> list[dict[str, Any]]:
        """Control planes as rows of mesh_info, each with its parsed `number`, None where its version is not known."""
        return [
            {**plane, "number": version_skew.parse_version(plane["version"])}
            for plane in mesh.control_plane_rows(self["istiods"])
        ]

    @cached_property
    def known(self) -> revisions.Revisions:
        return replace(
            revisions.revisions_of(self["injectors"]),
            images=revisions.sidecar_images(self.objects.get("mesh_configs", [])),
        )

    def is_stale(self, pod: Object) -> bool:
        """Whether a living pod's sidecar is of another revision or version than what would be injected now."""
        return self.known.stale(pod, self.injects_now(pod))

    @cached_property
    def namespace_labels(self) -> dict[str, dict[str, str]]:
        return {obj["metadata"]["name"]: labels_of(obj) for obj in self["namespaces"]}

    @cached_property
    def living(self) -> list[Object]:
        return [pod for pod in self["pods"] if injection.is_alive(pod)]

    @cached_property
    def living_in(self) -> dict[str, list[Object]]:
        """By namespace."""
        found: dict[str, list[Object]] = defaultdict(list)
        for pod in self.living:
            found[pod["metadata"]["namespace"]].append(pod)
        return found

    @cached_property
    def with_sidecar(self) -> list[Object]:
        """Living pods with a proxy, those of gateways included."""
        return [pod for pod in self.living if injection.has_sidecar(pod)]

    def injects_now(self, pod: Object) -> str:
        """The revision that would inject this pod if it were made now, by the webhooks' own selectors; empty where none
        does.
        """
        namespace = pod["metadata"]["namespace"]
        if namespace in injection.NEVER_INJECTED or not injection.wants_sidecar(pod, True):
            return ""
        place = {"kubernetes.io/metadata.name": namespace, **self.namespace_labels.get(namespace, {})}
        return next(
            (
                injection.revision_label(obj)
                for obj in self["injectors"]
                if webhooks.injects_pod(obj, place, labels_of(pod))
            ),
            "",
        )

    def lacks_sidecar(self, pod: Object) -> bool:
        """Whether a living pod should have a sidecar, by its namespace's labels, its own or the webhooks, and has
        none.
        """
        namespace = pod["metadata"]["namespace"]
        if injection.has_sidecar(pod) or namespace in injection.NEVER_INJECTED:
            return False
        asks = injection.injects(self.namespace_labels.get(namespace, {}))
        return injection.wants_sidecar(pod, asks or bool(self.injects_now(pod)))

    def revision_of(self, pod: Object) -> str:
        """The revision of a pod's proxy; one that no webhook injected says it by its label. Empty where that is not
        known.
        """
        return revisions.revision_of_pod(pod) or self.known.resolve(labels_of(pod).get(injection.REVISION, ""))

    def plane_of(self, pod: Object) -> version_skew.Version | None:
        """The version of the control plane of a pod's proxy."""
        revision = self.revision_of(pod)
        return max(
            (plane["number"] for plane in self.planes if plane["revision"] == revision and plane["number"]),
            default=None,
        )

    @cached_property
    def connected(self) -> dict[str, Proxy]:
        """{POD.NAMESPACE: proxy} of all that an istiod lists."""
        return {proxy.id: proxy for answer in self.answers for proxy in answer.proxies}

    def version_of(self, pod: Object) -> version_skew.Version | None:
        """The version of a pod's proxy: what it told its istiod, else the tag of its image."""
        proxy = self.connected.get(proxy_id(pod))
        return version_skew.parse_version(proxy.version if proxy else "") or version_skew.parse_version(
            mesh.tag_of(injection.sidecar_image(pod))
        )

    @cached_property
    def silent(self) -> str:
        """Why not every istiod has said what it knows of its proxies; empty where each has. One that is on its way out
        may still have some.
        """
        if not self.answers:
            return "no istiod is ready"
        unready = [
            f"istiod {p['metadata']['namespace']}/{p['metadata']['name']} is running but not ready"
            for p in self["pods"]
            if is_istiod(p) and is_running(p) and not is_ready(p)
        ]
        refused = [
            f"cannot read the proxy status from istiod {answer.istiod}: {answer.refused}"
            for answer in self.answers
            if answer.refused
        ]
        return next(iter([*refused, *unready]), "")

    def workloads(self, pods: Iterable[Object]) -> list[injection.Workload]:
        """The workloads behind the pods, by namespace."""
        places: dict[str, list[Object]] = defaultdict(list)
        for pod in pods:
            places[pod["metadata"]["namespace"]].append(pod)
        sets: dict[str, list[Object]] = defaultdict(list)
        for obj in self["replica_sets"]:
            sets[obj["metadata"]["namespace"]].append(obj)
        return [workload for place in sorted(places) for workload in injection.workloads_of(places[place], sets[place])]

    @cached_property
    def gateway_services(self) -> list[Object]:
        """Services of gateways, by their own labels or those of the pods that they select."""
        pods = {name: [pod for pod in own if injection.is_gateway(pod)] for name, own in self.living_in.items()}
        return [
            obj
            for obj in self["services"]
            if injection.is_gateway(obj)
            or any(
                selected(pod, obj["spec"].get("selector") or {}) for pod in pods.get(obj["metadata"]["namespace"], ())
            )
        ]

    def ready_behind(self, service: Object) -> int | None:
        """Ready endpoints of a Service; None where a name outside the cluster is behind it, or what may not be read."""
        spec, metadata = service["spec"], service["metadata"]
        if spec.get("selector"):
            return sum(
                selected(pod, spec["selector"]) and is_ready(pod) for pod in self.living_in[metadata["namespace"]]
            )
        if spec.get("type") == "ExternalName" or SLICES in self.refused:
            return None
        own = [
            obj
            for obj in self.slices
            if obj["metadata"]["namespace"] == metadata["namespace"]
            and labels_of(obj).get("kubernetes.io/service-name") == metadata["name"]
        ]
        # A missing condition counts as ready (KEP-752).
        return sum(
            (endpoint.get("conditions") or {}).get("ready") is not False
            for obj in own
            for endpoint in obj.get("endpoints") or []
        )

    def service(self, namespace: str, name: str) -> Object | None:
        return self._services.get((namespace, name))

    @cached_property
    def _services(self) -> dict[tuple[str, str], Object]:
        return {(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in self["services"]}

    @cached_property
    def root_copies(self) -> dict[str, str]:
        """{namespace: the root certificates in PEM that its proxies trust}"""
        found = {}
        for obj in self["roots"]:
            if obj["metadata"]["name"] == ROOT:
                found[obj["metadata"]["namespace"]] = str((obj.get("data") or {}).get("root-cert.pem", ""))
        return found

    @cached_property
    def roots(self) -> list[certificates.Certificate]:
        """The mesh's root certificates, as the control plane's namespace has them. Raises ValueError."""
        return certificates.of_pem(self.root_copies.get(self.namespace, ""))

    @cached_property
    def base(self) -> version_skew.Version | None:
        """The version of the Istio CRDs: what the collection noted when it installed them, else the oldest that they
        carry.
        """
        noted = [
            version_skew.parse_version((obj["metadata"].get("annotations") or {}).get(VERSION, ""))
            for obj in self["sets"]
        ]
        carried = [version for obj in self["crds"] if is_istios(obj) and (version := definition_version(obj))]
        return next(filter(None, noted), None) or min(carried, default=None)


def is_istios(definition: Object) -> bool:
    """Whether a CustomResourceDefinition is of Istio's own base."""
    return str(definition["metadata"]["name"]).partition(".")[2] in version_skew.KINDS


def definition_version(definition: Object) -> version_skew.Version | None:
    """What istioctl or a chart wrote on it; the charts inside istioctl all say 1.0.0."""
    labels = labels_of(definition)
    chart = version_skew.parse_version(labels.get(CHART, "").removeprefix(BASE))
    return version_skew.parse_version(labels.get(OPERATOR_VERSION, "")) or (
        chart if chart != version_skew.Version(1, 0) else None
    )


def proxy_id(pod: Object) -> str:
    return f"{pod['metadata']['name']}.{pod['metadata']['namespace']}"


def read_facts(cluster: Cluster, namespace: str, sources: Iterable[str], needed: frozenset[str] = frozenset()) -> Facts:
    """Each source once, side by side; then istiods, if PROXIES is among the sources.

    needed: sources without which nothing can be said: where these are forbidden, ApiError is raised. All others become
    `refused`.
    Raises ApiError where the server cannot be reached.
    """
    # Discovery first: all lists need it, and each of several threads would ask for it.
    served = frozenset((group, kind) for group in version_skew.KINDS for kind in cluster.resources.kinds(group))
    names = [name for name in SOURCES if name in set(sources)]

    def one(name: str) -> list[Object] | Forbidden:
        return (
            _list(cluster, SOURCES[name], namespace)
            if name in needed
            else cluster.try_read(lambda: _list(cluster, SOURCES[name], namespace))
        )

    version, *lists = cluster.each(
        lambda name: one(name) if name else cluster.api.request("GET", "/version").get("gitVersion", ""), ["", *names]
    )
    answers = dict(zip(names, lists))
    objects = {name: answer for name, answer in answers.items() if not isinstance(answer, Forbidden)}
    facts = Facts(
        namespace,
        str(version),
        served,
        objects,
        {name: answer.message for name, answer in answers.items() if isinstance(answer, Forbidden)},
    )
    return _with_dependent_reads(cluster, facts, PROXIES in set(sources))


def _list(cluster: Cluster, source: Source, namespace: str) -> list[Object]:
    if source.metadata:
        return cluster.metadata(source.group, source.kind, source.selector)
    return cluster.list(source.group, source.kind, namespace if source.own else None, source.selector)


def _with_dependent_reads(cluster: Cluster, facts: Facts, proxies: bool) -> Facts:
    """What can be asked for only when the lists are known."""
    refused = dict(facts.refused)
    answers: list[IstiodAnswer] = []
    if proxies and "pods" in facts.objects:
        answers = ask_istiods(cluster, [pod for pod in facts["pods"] if is_istiod(pod) and is_ready(pod)])
    elif proxies:
        refused[PROXIES] = refused["pods"]
    places = sorted({obj["metadata"]["namespace"] for obj in unselecting(facts)})
    slices = cluster.each(
        lambda place: cluster.try_read(lambda: cluster.list("discovery.k8s.io", "EndpointSlice", place)), places
    )
    for answer in slices:
        if isinstance(answer, Forbidden):
            refused[SLICES] = answer.message
    found = tuple(obj for answer in slices if not isinstance(answer, Forbidden) for obj in answer)
    return replace(facts, refused=refused, answers=tuple(answers), slices=found)


def unselecting(facts: Facts) -> list[Object]:
    """Services of webhooks that select no pods, such as that of a control plane elsewhere."""
    configurations = [obj for source in ("injectors", "validators") for obj in facts.objects.get(source, ())]
    named = {webhooks.service_of(hook) for obj in configurations for hook in obj.get("webhooks") or []}
    return [
        obj
        for obj in facts.objects.get("services", ())
        if (obj["metadata"]["namespace"], obj["metadata"]["name"]) in named and not obj["spec"].get("selector")
    ]
