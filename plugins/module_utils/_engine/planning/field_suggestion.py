# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nearest field that a kind does have, for one that it has not: read from the server's own schema, and only after
its refusal.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

from ..._cluster.api import ApiError
from ..cluster import Cluster
from ..objects import Object, group_version

# structured-merge-diff's words, and those of strict decoding.
UNKNOWN_FIELD = re.compile(r"\.([A-Za-z0-9_.\[\]\"=,:-]+): field not declared in schema|unknown field \"([^\"]+)\"")


def nearest(cluster: Cluster, obj: Object, message: str) -> str:
    """A sentence such as «Did you mean spec.replicas?»; empty where the message is about something else, or nothing is
    near.
    """
    found = UNKNOWN_FIELD.search(message)
    if not found:
        return ""
    # Indices and keys of list items are no part of a schema.
    path = [part for part in re.sub(r"\[[^\]]*\]", "", found[1] or found[2]).split(".") if part]
    try:
        names = _fields(cluster, obj, path[:-1])
    except ApiError:
        return ""
    near = difflib.get_close_matches(path[-1], names, n=1)
    place = ".".join(path[:-1])
    if near:
        return f"Did you mean {place + '.' if place else ''}{near[0]}?"
    return f"Fields of {place or obj['kind']}: {', '.join(sorted(names))}." if names else ""


def _fields(cluster: Cluster, obj: Object, path: list[str]) -> list[str]:
    group, version = group_version(obj)
    place = f"apis/{group}/{version}" if group else f"api/{version}"
    schemas: dict[str, Any] = cluster.api.request("GET", f"/openapi/v3/{place}")["components"]["schemas"]
    wanted = {"group": group, "version": version, "kind": obj["kind"]}
    schema: dict[str, Any] = next(
        (s for s in schemas.values() if wanted in (s.get("x-kubernetes-group-version-kind") or [])), {}
    )
    for name in path:
        schema = _resolved((_resolved(schema, schemas).get("properties") or {}).get(name) or {}, schemas)
        schema = schema.get("items") or schema
    return list(_resolved(schema, schemas).get("properties") or {})


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    parts = [schema, *(schema.get("allOf") or [])]
    reference = next((part["$ref"] for part in parts if "$ref" in part), "")
    return schemas.get(reference.rpartition("/")[2], schema) if reference else schema
