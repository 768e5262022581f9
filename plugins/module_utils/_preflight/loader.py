# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture that checks are made on: objects of files, laid over those of a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._engine.cluster import Cluster, Forbidden
from .._engine.objects import Object, Ref, ref_of
from .._libraries import yaml
from .object_index import GLOBAL, KINDS, WORKLOADS, World, kind_of, name

# Read without their contents: of Secrets nothing else is needed, and definitions are a megabyte.
METADATA = ("Secret", "CustomResourceDefinition")
# Of ConfigMaps only those of control planes.
CONFIG, OF_CONTROL_PLANES = "istio", "istio.io/rev"


@dataclass(frozen=True)
class Picture:
    """What is judged.

    asked   the objects that are asked about
    before  the world without them; None where there is nothing else
    """

    world: World
    asked: list[Object]
    before: World | None = None


def normalize_objects(objects: Iterable[Object], namespace: str) -> list[Object]:
    """The objects without nulls, in a namespace where they name none and their kind has namespaces; of several of one
    name the last.
    """
    found: dict[Ref, Object] = {}
    for obj in map(_without_nulls, objects):
        if kind_of(obj) and kind_of(obj) not in GLOBAL and not obj["metadata"].get("namespace"):
            obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
        if kind_of(obj) == "Pod":
            obj = {"spec": {}, **obj}
        found[ref_of(obj)] = obj
    return list(found.values())


def _without_nulls(value: Any) -> Any:
    """A copy without the fields that are null: for Kubernetes they are not there. In a list a null stays, and is of no
    shape.
    """
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def load_files(objects: list[Object], root: str) -> Picture:
    """Files alone. What is not in them may be elsewhere; the gateway that every mesh has is."""
    own, kinds = {ref_of(obj) for obj in objects}, {kind_of(obj) for obj in objects}
    # Only beside others of their kinds: alone they would make it seem known which there are.
    known = {"Pod": bool(kinds & {"Pod", *WORKLOADS}), "Service": "Service" in kinds}
    usual = [obj for obj in default_gateway(root) if known[obj["kind"]] and ref_of(obj) not in own]
    return Picture(World([*objects, *usual], objects, root=root, mesh=mesh_config_of(objects, root)), objects)


def default_gateway(root: str) -> list[Object]:
    """Pod and Service of an ingress gateway, as istioctl analyze takes them for granted where it sees no cluster."""
    labels = {"istio": "ingressgateway"}
    ports = [
        {"name": name, "port": number, "targetPort": number}
        for name, number in (("http2", 80), ("https", 443), ("tcp", 31400), ("tls", 15443))
    ]
    pod = {"containers": [{"name": "istio-proxy", "image": "proxyv2"}]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "istio-ingressgateway", "namespace": root, "labels": labels},
            "spec": pod,
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "istio-ingressgateway", "namespace": root, "labels": labels},
            "spec": {"selector": labels, "ports": ports},
        },
    ]


def load_cluster(cluster: Cluster, objects: list[Object], given: bool, root: str) -> Picture:
    """The cluster with the objects laid over it; the cluster alone where none are given. Raises ApiError where the
    server cannot be reached.
    """
    found, refused = _lists(cluster, root, objects)
    before = World(found, None, True, refused, root, mesh_config_of(found, root))
    if not given:
        return Picture(before, found)
    statuses = {ref_of(obj): obj["status"] for obj in found if obj.get("status")}
    laid = [
        obj if "status" in obj or ref_of(obj) not in statuses else {**obj, "status": statuses[ref_of(obj)]}
        for obj in objects
    ]
    own = {ref_of(obj) for obj in objects}
    every = [*(obj for obj in found if ref_of(obj) not in own), *laid]
    return Picture(World(every, objects, True, refused, root, mesh_config_of(every, root)), objects, before)


def _lists(cluster: Cluster, root: str, objects: list[Object]) -> tuple[list[Object], dict[str, str]]:
    found = _answers(cluster, set(KINDS) - {"Secret"}, root)
    if _names_secrets([*objects, *(obj for kind in ("Gateway", "RouteGateway") for obj in _given(found.get(kind)))]):
        found["Secret"] = cluster.try_read(lambda: cluster.metadata("", "Secret"))
    return _parted(found)


def load_kinds(cluster: Cluster, kinds: Iterable[str], root: str) -> tuple[list[Object], dict[str, str]]:
    """(live objects of these kinds, {kind: why it may not be read}). Raises ApiError for every other error."""
    return _parted(_answers(cluster, kinds, root))


def _answers(cluster: Cluster, kinds: Iterable[str], root: str) -> dict[str, list[Object] | Forbidden]:
    # Discovery first: all lists need it, and each of several threads would ask for it.
    served = [kind for kind in KINDS if kind in kinds and cluster.resource(*KINDS[kind])]
    return dict(zip(served, cluster.each(lambda kind: cluster.try_read(lambda: _list(cluster, kind, root)), served)))


def _parted(found: dict[str, list[Object] | Forbidden]) -> tuple[list[Object], dict[str, str]]:
    refused = {kind: answer.message for kind, answer in found.items() if isinstance(answer, Forbidden)}
    return [obj for answer in found.values() for obj in _given(answer)], refused


def _given(answer: list[Object] | Forbidden | None) -> list[Object]:
    return answer if isinstance(answer, list) else []


def _list(cluster: Cluster, kind: str, root: str) -> list[Object]:
    group, wanted = KINDS[kind]
    if kind == "ConfigMap":
        return cluster.list(group, wanted, root, OF_CONTROL_PLANES)
    return cluster.metadata(group, wanted) if kind in METADATA else cluster.list(group, wanted)


def _names_secrets(objects: Iterable[Object]) -> bool:
    """Whether a gateway names a Secret: only then is it asked which there are."""
    for obj in objects:
        own: Any = obj.get("spec")
        for server in (
            (own.get("servers") or own.get("listeners") or [])
            if kind_of(obj) in ("Gateway", "RouteGateway") and isinstance(own, dict)
            else ()
        ):
            tls = server.get("tls") if isinstance(server, dict) else None
            if isinstance(tls, dict) and (tls.get("credentialName") or tls.get("certificateRefs")):
                return True
    return False


def mesh_config_of(objects: Iterable[Object], root: str) -> dict[str, Any]:
    """The mesh configuration of the default revision, or of the first other one; empty where none can be read."""
    found: dict[str, dict[str, Any]] = {}
    for obj in objects:
        if (
            kind_of(obj) == "ConfigMap"
            and obj["metadata"].get("namespace") == root
            and (name(obj) == CONFIG or name(obj).startswith(f"{CONFIG}-"))
        ):
            try:
                config = yaml.safe_load((obj.get("data") or {}).get("mesh") or "")
            except (yaml.YAMLError, AttributeError):
                continue
            if isinstance(config, dict):
                found[name(obj)] = config
    return found.get(CONFIG) or next((found[key] for key in sorted(found)), {})
