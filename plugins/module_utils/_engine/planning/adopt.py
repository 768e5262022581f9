# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking over what another tool made: its entries in managedFields become ours, so that nothing is deleted or
restarted.

Forcing an apply alone would leave the old owner's other fields behind, which nobody could remove any more. The way is
that of
client-go's csaupgrade, for entries of server-side apply too: one JSON patch of managedFields under the resourceVersion
that was seen.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from ..._cluster.api import JSON_PATCH, ApiError
from ..._failure import not_none
from ..cluster import Cluster
from ..objects import Object, ref_of
from .managed_fields import managed_entry

# Tools whose objects are taken over unless the user names others. Controllers are not among them: they would fight
# back.
TOOLS = (
    "kubectl",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-edit",
    "kubectl-patch",
    "kubectl-replace",
    "kubectl-set",
    "kubectl-label",
    "kubectl-annotate",
    "before-first-apply",
    "helm",
    "istio-operator",
    "istioctl",
    "ansible",
    "OpenAPI-Generator",
)
Fields = dict[str, Any]
TRIES = 5


def retry_on_conflict(cluster: Cluster, live: Object, move: Callable[[Object], Object]) -> Object:
    """move(live), repeated with the newest object where its controllers have written to it meanwhile."""
    ref = ref_of(live)
    for attempt in range(TRIES):
        try:
            return move(live)
        except ApiError as error:
            if error.status != 409 or attempt == TRIES - 1:
                raise
            live = cluster.get(ref.group, ref.kind, ref.namespace, ref.name) or live
    return live


def owners(live: Object, tools: frozenset[str]) -> list[str]:
    """Names of those of the tools that own fields of the object, in order."""
    return sorted({item["manager"] for item in _taken(live, tools)})


def _taken(live: Object, tools: frozenset[str]) -> list[dict[str, Any]]:
    entries = live["metadata"].get("managedFields") or []
    return [item for item in entries if item.get("manager") in tools and not item.get("subresource")]


def migrated(live: Object, wanted: Object, manager: str, tools: frozenset[str], operation: str = "Apply") -> Object:
    """The live object with the tools' fields in the manager's own entry."""
    taken = _taken(live, tools)
    own = managed_entry(live, manager, operation)
    rest = [item for item in live["metadata"].get("managedFields") or [] if item not in taken and item is not own]
    fields: Fields = {}
    for item in [own, *taken]:
        fields = union(fields, (item or {}).get("fieldsV1") or {})
    mine = {
        "manager": manager,
        "operation": operation,
        "apiVersion": wanted["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**live, "metadata": {**live["metadata"], "managedFields": [*rest, mine]}}


def migrate(cluster: Cluster, live: Object, wanted: Object, tools: frozenset[str], operation: str = "Apply") -> Object:
    """Writes the new owner, the cluster's manager. Raises ApiError, of status 409 where the object has moved
    meanwhile.
    """
    after = migrated(live, wanted, cluster.manager, tools, operation)
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": after["metadata"]["managedFields"]},
        # Replaced, not tested: so the server itself compares it, and answers 409.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]
    ref = ref_of(wanted)
    resource = not_none(cluster.resource_of(wanted))
    answer: Object = cluster.api.request(
        "PATCH", resource.path(ref.namespace, ref.name), {"fieldManager": cluster.manager}, patch, JSON_PATCH
    )
    return answer


def union(one: Fields, two: Fields) -> Fields:
    """Both sets of fields (fieldsV1)."""
    result = dict(one)
    for key, value in two.items():
        result[key] = union(result[key], value) if key in result else value
    return result


def minus(one: Fields, two: Fields) -> Fields:
    """The leaves of one that are not in two."""
    result: Fields = {}
    for key, value in one.items():
        if key == ".":
            continue
        if key not in two:
            result[key] = value
        elif [name for name in value if name != "."]:
            rest = minus(value, two[key])
            if rest:
                result[key] = rest
    return result


def predicted(answer: Object, live: Object, fresh: Object, manager: str, tools: frozenset[str]) -> Object:
    """The object as it will be: `answer` of a forced dry run, less what only the tools owned and nobody wants any more.

    fresh: what the server makes of the wanted object alone, for a field that nobody sets falls back to its default.
    """
    lost: Fields = {}
    for item in _taken(live, tools):
        lost = union(lost, item.get("fieldsV1") or {})
    for item in answer["metadata"].get("managedFields") or []:
        if item.get("manager") not in tools:
            lost = minus(lost, item.get("fieldsV1") or {})
    result = copy.deepcopy(answer)
    _fall_back(result, lost, fresh)
    return result


def _fall_back(obj: Any, fields: Fields, fresh: Any) -> None:
    for key, sub in fields.items():
        kind, _colon, text = key.partition(":")
        whole = not [name for name in sub if name != "."]
        if kind == "f" and isinstance(obj, dict) and text in obj:
            default = fresh.get(text) if isinstance(fresh, dict) else None
            if not whole and isinstance(obj[text], (dict, list)):
                _fall_back(obj[text], sub, default)
            if default is None and (whole or not obj[text]):
                del obj[text]
            elif whole:
                obj[text] = default
        elif kind in ("k", "v") and isinstance(obj, list):
            _fall_back_item(obj, kind, json.loads(text), sub, fresh)


def _fall_back_item(items: list[Any], kind: str, name: Any, sub: Fields, fresh: Any) -> None:
    def named(item: Any) -> bool:
        return (
            item == name
            if kind == "v"
            else isinstance(item, dict) and all(item.get(key) == value for key, value in name.items())
        )

    default = next((item for item in fresh if named(item)), None) if isinstance(fresh, list) else None
    for item in [item for item in items if named(item)]:
        if default is None and (kind == "v" or "." in sub):
            items.remove(item)
        elif kind == "k":
            _fall_back(item, sub, default)
