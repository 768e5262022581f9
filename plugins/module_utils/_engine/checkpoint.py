# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What some objects are now, kept in the cluster so that they can be put back.

Kept is what was declared of them: the fields that an apply, or one of the tools that adopt knows, has set. What
controllers and servers fill in
is theirs. Written once, a checkpoint is not overwritten, so that a run that was cut off and begun again goes back to
the true beginning.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from .._failure import Failure, InvalidOption
from .cluster import Cluster
from .objects import Object, Ref, group_version, ref_of
from .planning.adopt import TOOLS, union
from .planning.applyset import NEVER_PRUNED_KINDS
from .planning.managed_fields import managed_entry, select_owned
from .steps import Step

LABEL = "servicemesh.istio/checkpoint"
CONTENT, NOTES, CHOICES = "content", "notes", "choices"
# A ConfigMap holds 1 MiB with all its keys (kubernetes.io, ConfigMaps).
LARGEST = 1_000_000


@dataclass(frozen=True)
class ObjectSelector:
    """Objects by kind, and by name or label in one namespace, or in all."""

    api_version: str
    kind: str
    namespace: str = ""
    name: str = ""
    selector: str = ""

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


@dataclass(frozen=True)
class Checkpoint:
    """name, namespace: of the ConfigMap. notes: what else is to be known later, text by name."""

    name: str
    namespace: str
    selectors: list[ObjectSelector] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def live(self, cluster: Cluster) -> Object | None:
        """Raises InvalidOption where the ConfigMap is somebody else's, ApiError."""
        found = cluster.get("", "ConfigMap", self.namespace, self.name)
        if found and (found["metadata"].get("labels") or {}).get(LABEL) != "true":
            raise InvalidOption(
                "name",
                f"ConfigMap {self.namespace}/{self.name} exists and is not a checkpoint",
                hint="Choose another name.",
            )
        return found

    def as_config_map(self, objects: list[Object], yield_to: frozenset[str]) -> Object:
        """The ConfigMap. yield_to: managers whose fields are not kept. Raises InvalidOption, Failure "too_large"."""
        secret = next((obj for obj in objects if obj["kind"] == "Secret"), None)
        if secret:
            raise InvalidOption(
                "objects",
                f"{ref_of(secret)} cannot be stored: everyone who can read the ConfigMap could read it",
                hint="Remove Secrets from the objects.",
                ref=ref_of(secret).as_result("v1"),
            )
        content = [part for obj in objects if (part := declared(obj, yield_to))]
        # Without a time in it, so that equal content is equal text.
        packed = base64.b64encode(gzip.compress(json.dumps(content, sort_keys=True).encode(), mtime=0)).decode()
        if len(packed) > LARGEST:
            raise Failure(
                "too_large",
                f"objects: {len(content)} objects need {len(packed)} bytes, and a ConfigMap can hold {LARGEST}",
                hint="Store fewer objects in one checkpoint.",
            )
        metadata = {"name": self.name, "namespace": self.namespace, "labels": {LABEL: "true"}}
        data = {
            CONTENT: packed,
            NOTES: json.dumps(self.notes, sort_keys=True),
            CHOICES: json.dumps([asdict(choice) for choice in self.selectors]),
        }
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def declared(live: Object, yield_to: frozenset[str] = frozenset()) -> Object | None:
    """What was applied, or set by a tool, of a live object; None where that is nothing.

    An empty value that the server does not keep is null in it: applied, that owns the field as before.
    """
    fields: dict[str, Any] = {}
    for item in live["metadata"].get("managedFields") or []:
        own = item.get("operation") == "Apply" or item.get("manager") in TOOLS
        if own and not item.get("subresource") and item.get("manager") not in yield_to:
            fields = union(fields, item.get("fieldsV1") or {})
    if not fields:
        return None
    part = select_owned(fields, live)
    metadata = {
        "name": live["metadata"]["name"],
        **({"namespace": live["metadata"]["namespace"]} if live["metadata"].get("namespace") else {}),
    }
    return {
        **part,
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {**(part.get("metadata") or {}), **metadata},
    }


def selected_objects(cluster: Cluster, choices: list[ObjectSelector]) -> list[Object]:
    """The live objects of the choices. Raises ApiError."""
    found: dict[Ref, Object] = {}
    for choice in choices:
        if choice.name:
            one = cluster.get(choice.group, choice.kind, choice.namespace, choice.name)
            objects = [one] if one else []
        else:
            objects = cluster.list(choice.group, choice.kind, choice.namespace or None, choice.selector)
        found.update((ref_of(obj), obj) for obj in objects)
    return [found[ref] for ref in sorted(found)]


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint as it was read."""

    selectors: list[ObjectSelector]
    notes: dict[str, str]
    objects: list[Object]


EMPTY = Snapshot([], {}, [])


def read_checkpoint(live: Object) -> Snapshot:
    """Raises Failure "broken_checkpoint"."""
    try:
        data = live["data"]
        objects = json.loads(gzip.decompress(base64.b64decode(data[CONTENT])))
        return Snapshot(
            [ObjectSelector(**choice) for choice in json.loads(data[CHOICES])], json.loads(data[NOTES]), objects
        )
    except (LookupError, ValueError, TypeError, OSError, EOFError) as error:
        ref = ref_of(live)
        raise Failure(
            "broken_checkpoint",
            f"{ref} is not a valid checkpoint: {error}",
            ref=ref.as_result("v1"),
            hint="The ConfigMap was edited. Delete it, and restore its objects manually.",
        ) from error


def restore_steps(kept: Snapshot, now: list[Object], manager: str) -> list[Step]:
    """Everything as it was: the kept objects until they are ready, then those away that this manager has made since.
    now: what the choices find.
    """
    known = {ref_of(obj) for obj in kept.objects}
    made = [
        obj
        for obj in now
        if ref_of(obj) not in known and obj["kind"] not in NEVER_PRUNED_KINDS and managed_entry(obj, manager)
    ]
    return [Step("as they were", kept.objects, wait_ready=True), Step("made since", deleted=made)]


def result_refs(objects: list[Object]) -> list[dict[str, str]]:
    return [ref_of(obj).as_result(group_version(obj)[1]) for obj in objects]
