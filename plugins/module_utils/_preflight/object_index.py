# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as one picture: those of files laid over those of a cluster, found by kind, place, label and host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from .._engine.objects import Object, Ref, ref_of
from .._istio.dataplane import injection
from .._traffic.host.host import DOMAIN, full_name
from .schema_guard import misfits

NETWORKING, SECURITY, GATEWAY_API = "networking.istio.io", "security.istio.io", "gateway.networking.k8s.io"
TELEMETRY, EXTENSIONS, ADMISSION = "telemetry.istio.io", "extensions.istio.io", "admissionregistration.k8s.io"
# Our word for a kind -> its group and kind: two groups have a Gateway.
KINDS = {
    **{
        kind: (NETWORKING, kind)
        for kind in (
            "VirtualService",
            "DestinationRule",
            "Gateway",
            "ServiceEntry",
            "Sidecar",
            "WorkloadEntry",
            "WorkloadGroup",
            "EnvoyFilter",
        )
    },
    **{kind: (SECURITY, kind) for kind in ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication")},
    "Telemetry": (TELEMETRY, "Telemetry"),
    "WasmPlugin": (EXTENSIONS, "WasmPlugin"),
    "RouteGateway": (GATEWAY_API, "Gateway"),
    **{kind: (GATEWAY_API, kind) for kind in ("GatewayClass", "HTTPRoute", "GRPCRoute", "ReferenceGrant")},
    **{kind: ("", kind) for kind in ("Namespace", "Node", "Pod", "Secret", "Service", "ServiceAccount")},
    **{kind: ("apps", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet")},
    **{kind: (ADMISSION, kind) for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")},
    "CustomResourceDefinition": ("apiextensions.k8s.io", "CustomResourceDefinition"),
    "ConfigMap": ("", "ConfigMap"),
}
NAMES = {place: name for name, place in KINDS.items()}
# Kinds that live in no namespace.
GLOBAL = {
    "Namespace",
    "Node",
    "GatewayClass",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "CustomResourceDefinition",
}
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
EVERYWHERE, HERE = "*", "."
EXPORT = "networking.istio.io/exportTo"
AMBIENT = "ambient.istio.io/redirection"
Ports = list[dict[str, Any]]


def spec(obj: Object) -> dict[str, Any]:
    return obj.get("spec") or {}


def namespace(obj: Object) -> str:
    return obj["metadata"].get("namespace") or ""


def name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def place_text(obj: Object) -> str:
    """Such as shop/web."""
    return f"{namespace(obj)}/{name(obj)}" if namespace(obj) else name(obj)


def contains(obj: Object, wanted: Mapping[str, Any]) -> bool:
    """Whether an object has all of these labels; any object has none."""
    return wanted.items() <= labels(obj).items()


def quoted(wanted: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))


def overlaps(first: str, second: str) -> bool:
    """Whether some host is meant by both of two names, each of which may begin with a wildcard (Istio's
    host.Name.Matches).
    """
    if first.startswith("*") and second.startswith("*"):
        return first[1:].endswith(second[1:]) or second[1:].endswith(first[1:])
    if first.startswith("*"):
        return second.endswith(first[1:])
    return first.endswith(second[1:]) if second.startswith("*") else first == second


def scopes(obj: Object, export: Iterable[str] | None) -> set[str]:
    """Namespaces that see an object; "*" alone for all."""
    given = [namespace(obj) if part == HERE else part for part in export or [EVERYWHERE]]
    return {EVERYWHERE} if EVERYWHERE in given else set(given)


class World:
    """What is known of a mesh.

    objects   everything, each object once
    asked     those that are asked about; None: all
    complete  whether a cluster was read, so that what is not here does not exist
    refused   {kind: why it may not be read}
    root      namespace of the control plane, whose policies hold for the whole mesh
    mesh      the mesh configuration
    """

    def __init__(
        self,
        objects: Iterable[Object],
        asked: Iterable[Object] | None = None,
        complete: bool = False,
        refused: Mapping[str, str] | None = None,
        root: str = "istio-system",
        mesh: Mapping[str, Any] | None = None,
    ) -> None:
        self._by_kind: dict[str, list[Object]] = defaultdict(list)
        self._by_place: dict[tuple[str, str, str], Object] = {}
        # Fields of another shape than their kind has: nothing else is asked of these.
        self.misshapen: list[Object] = []
        for obj in objects:
            kind = kind_of(obj)
            if kind and next(misfits(kind, obj), None):
                self.misshapen.append(obj)
            elif kind:
                self._by_kind[kind].append(obj)
                self._by_place[(kind, namespace(obj), name(obj))] = obj
        self._asked = None if asked is None else {ref_of(obj) for obj in asked}
        self.complete = complete
        self.refused = dict(refused or {})
        self.root = root
        self.mesh = dict(mesh or {})

    def __getitem__(self, kind: str) -> list[Object]:
        return self._by_kind.get(kind, [])

    def find(self, kind: str, space: str, wanted: str) -> Object | None:
        return self._by_place.get((kind, space, wanted))

    def asks(self, ref: Ref) -> bool:
        """Whether this object is asked about."""
        return self._asked is None or ref in self._asked

    def knows(self, *kinds: str) -> bool:
        """Whether an object of these kinds that is not here does not exist: a cluster was read, or the files hold some
        of one of them.
        """
        return any((self.complete and kind not in self.refused) or bool(self[kind]) for kind in kinds)

    @cached_property
    def pods(self) -> list[Object]:
        """Living pods."""
        return [pod for pod in self["Pod"] if injection.is_alive(pod)]

    @cached_property
    def members(self) -> dict[str, list[Object]]:
        """{namespace: living pods, and pods as the templates of workloads would make them}: what a selector may
        mean.
        """
        found: dict[str, list[Object]] = defaultdict(list)
        for pod in [*self.pods, *self.templates]:
            found[namespace(pod)].append(pod)
        return found

    @cached_property
    def templates(self) -> list[Object]:
        """Pods of the templates of workloads that are to come; those of a live workload are there already, or are to be
        none.
        """
        coming = [
            obj
            for kind in WORKLOADS
            for obj in self[kind]
            if not self.complete or (self._asked is not None and self.asks(ref_of(obj)))
        ]
        return [template(obj) for obj in coming]

    def selected(self, space: str, wanted: Mapping[str, Any]) -> list[Object]:
        """Pods of a namespace, or of all with "*", that have these labels."""
        pods = (
            [pod for own in self.members.values() for pod in own]
            if space == EVERYWHERE
            else self.members.get(space, [])
        )
        return [pod for pod in pods if contains(pod, wanted)]

    @property
    def knows_pods(self) -> bool:
        return self.knows("Pod", *WORKLOADS)

    def namespace_labels(self, space: str) -> dict[str, str]:
        found = self.find("Namespace", "", space)
        return labels(found) if found else {}

    def enrolled(self, pod: Object) -> bool:
        """Whether a pod has a sidecar, or would have one if it were made now."""
        return injection.has_sidecar(pod) or injection.wants_sidecar(
            pod, injection.injects(self.namespace_labels(namespace(pod)))
        )

    def ambient(self, pod: Object) -> bool:
        return annotations_of(pod).get(AMBIENT) == "enabled"

    @cached_property
    def hosts(self) -> dict[tuple[str, str], Ports]:
        """{(namespace that sees it or "*", host): ports} of all Services and ServiceEntries."""
        found: dict[tuple[str, str], Ports] = {}
        for obj in self["ServiceEntry"]:
            for scope in scopes(obj, spec(obj).get("exportTo")):
                for host in spec(obj).get("hosts") or []:
                    found[(scope, full_name(host, namespace(obj)))] = spec(obj).get("ports") or []
        for obj in self["Service"]:
            said = annotations_of(obj).get(EXPORT)
            for scope in scopes(obj, [part.strip() for part in said.split(",")] if said else None):
                ports = [{**port, "number": port.get("port")} for port in spec(obj).get("ports") or []]
                found[(scope, full_name(name(obj), namespace(obj)))] = ports
        return found

    @cached_property
    def _wildcards(self) -> list[tuple[str, str]]:
        return [key for key in self.hosts if key[1].startswith("*")]

    def ports_of(self, host: str, viewer: Object, export: list[str] | None = None) -> Ports | None:
        """Ports of a host as an object names it and its namespace sees it; None where nothing is known by that name."""
        space, full = namespace(viewer), full_name(host, namespace(viewer))
        for scope in [EVERYWHERE, *(space if part == HERE else part for part in export or [space])]:
            if (scope, full) in self.hosts:
                return self.hosts[(scope, full)]
        for scope, pattern in self._wildcards:
            if scope in (EVERYWHERE, space) and host.lstrip("*").endswith(pattern[1:]):
                return self.hosts[(scope, pattern)]
        return None

    def service(self, host: str, space: str) -> Object | None:
        """The Service that a host names."""
        parts = full_name(host, space).split(".")
        return self.find("Service", parts[1], parts[0]) if parts[2:] == ["svc", *DOMAIN.split(".")] else None

    @cached_property
    def rules(self) -> list[tuple[Object, str]]:
        """(DestinationRule, its host in full)"""
        return [(obj, full_name(str(spec(obj).get("host") or ""), namespace(obj))) for obj in self["DestinationRule"]]

    @cached_property
    def subsets(self) -> dict[tuple[str, str], dict[str, Any]]:
        """{(host in full, name): subset}"""
        return {
            (host, str(subset.get("name"))): subset
            for obj, host in self.rules
            for subset in spec(obj).get("subsets") or []
        }


def kind_of(obj: Object) -> str:
    """Our word for the kind of an object; empty for one of which nothing is known."""
    group = str(obj["apiVersion"]).rpartition("/")[0]
    return NAMES.get((group, obj["kind"]), "")


def template(workload: Object) -> Object:
    """A pod as a workload's template would make it."""
    made = spec(workload).get("template") or {}
    metadata = made.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "name": name(workload), "namespace": namespace(workload)},
        "spec": made.get("spec") or {},
    }
