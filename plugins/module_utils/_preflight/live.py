# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture that checks are made on: objects of files, laid over those of a cluster."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from .._engine.cluster import Cluster, Refused
from .._engine.objects import Object, Ref, ref_of
from .world import GLOBAL, KINDS, World, kind_of, name

# Read without their contents: of Secrets nothing else is needed, and definitions are a megabyte.
METADATA = ("Secret", "CustomResourceDefinition")
CONFIG, INJECTORS = "istio", "istio.io/rev"


def placed(objects: Iterable[Object], namespace: str) -> list[Object]:
    """The objects, in a namespace where they name none and their kind has namespaces; of several versions of one the last."""
    found: dict[Ref, Object] = {}
    for obj in objects:
        if kind_of(obj) and kind_of(obj) not in GLOBAL and not obj["metadata"].get("namespace") and namespace:
            obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
        found[ref_of(obj)] = obj
    return list(found.values())


def offline(objects: list[Object], root: str) -> World:
    """Files alone. What is not in them may be elsewhere."""
    return World(objects, root=root, mesh=mesh_of(objects, root))


def read(cluster: Cluster, objects: list[Object], root: str) -> tuple[World, World | None]:
    """(the cluster with the objects laid over it, the cluster as it is; None without objects). Raises ApiError where the server cannot be reached."""
    live, refused = _lists(cluster, root, objects)
    own = {ref_of(obj) for obj in objects}
    rest = [obj for obj in live if ref_of(obj) not in own]
    with_status = {ref_of(obj): obj["status"] for obj in live if obj.get("status")}
    laid = [{**obj, "status": with_status[ref_of(obj)]} if ref_of(obj) in with_status and "status" not in obj else obj for obj in objects]
    whole = World([*rest, *laid], objects if objects else None, True, refused, root, mesh_of([*rest, *laid], root))
    return whole, World(live, None, True, refused, root, mesh_of(live, root)) if objects else None


def _lists(cluster: Cluster, root: str, objects: list[Object]) -> tuple[list[Object], dict[str, str]]:
    # Discovery first: all lists need it, and each of several threads would ask for it.
    served = [kind for kind, (group, wanted) in KINDS.items() if kind not in ("Secret", "ConfigMap") and cluster.resource(group, wanted)]
    found = dict(zip(served, cluster.each(lambda kind: cluster.permitted(lambda: _list(cluster, kind)), served)))
    found["ConfigMap"] = cluster.permitted(lambda: cluster.list("", "ConfigMap", root, INJECTORS))
    if _names_secrets([*objects, *(obj for kind in ("Gateway", "RouteGateway") for obj in _given(found.get(kind)))]):
        found["Secret"] = cluster.permitted(lambda: cluster.metadata("", "Secret"))
    refused = {kind: answer.message for kind, answer in found.items() if isinstance(answer, Refused)}
    return [obj for answer in found.values() for obj in _given(answer)], refused


def _given(answer: list[Object] | Refused | None) -> list[Object]:
    return answer if isinstance(answer, list) else []


def _list(cluster: Cluster, kind: str) -> list[Object]:
    group, wanted = KINDS[kind]
    return cluster.metadata(group, wanted) if kind in METADATA else cluster.list(group, wanted)


def _names_secrets(objects: Iterable[Object]) -> bool:
    """Whether a gateway names a Secret: only then is it asked which there are."""
    for obj in objects:
        own: Any = obj.get("spec")
        for server in (own.get("servers") or own.get("listeners") or []) if kind_of(obj) in ("Gateway", "RouteGateway") and isinstance(own, dict) else ():
            tls = server.get("tls") if isinstance(server, dict) else None
            if isinstance(tls, dict) and (tls.get("credentialName") or tls.get("certificateRefs")):
                return True
    return False


def mesh_of(objects: Iterable[Object], root: str) -> dict[str, Any]:
    """The mesh configuration of the default revision, or of the first other one; empty where none can be read."""
    found: dict[str, dict[str, Any]] = {}
    for obj in objects:
        if kind_of(obj) == "ConfigMap" and obj["metadata"].get("namespace") == root and (name(obj) == CONFIG or name(obj).startswith(f"{CONFIG}-")):
            try:
                config = yaml.safe_load((obj.get("data") or {}).get("mesh") or "")
            except (yaml.YAMLError, AttributeError):
                continue
            if isinstance(config, dict):
                found[name(obj)] = config
    return found.get(CONFIG) or next((found[key] for key in sorted(found)), {})
