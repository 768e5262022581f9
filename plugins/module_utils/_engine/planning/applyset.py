# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named sets: what one call manages (ApplySet, KEP-3659).

The parent is a ConfigMap; members carry its id as a label. Before an apply the parent names the old and the new
kinds and namespaces, after it the new ones: an interruption costs lists, never a member.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from ..._failure import InvalidOption
from ..cluster import Cluster
from ..objects import Object, Ref, ref_of

PART_OF = "applyset.kubernetes.io/part-of"
SET_ID = "applyset.kubernetes.io/id"
TOOLING = "applyset.kubernetes.io/tooling"
KINDS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
TOOL = "servicemesh.istio/v1"
# ({(group, kind)}, {namespaces}) in which there may be members.
MemberScope = tuple[frozenset[tuple[str, str]], frozenset[str]]
EMPTY: MemberScope = (frozenset(), frozenset())
# Gone with these would be what other people put into them.
NEVER_PRUNED_KINDS = {"Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"}


@dataclass(frozen=True)
class ObjectSet:
    """A set by its name and the namespace of its parent.

    notes  annotations of the parent, as (key, value)
    """

    name: str
    namespace: str
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        digest = hashlib.sha256(f"{self.name}.{self.namespace}.ConfigMap.".encode()).digest()
        return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"

    def member(self, obj: Object) -> Object:
        """The object, marked as a member. Raises InvalidOption where it carries another set's mark."""
        labels = obj["metadata"].get("labels") or {}
        if labels.get(PART_OF, self.id) != self.id:
            raise InvalidOption(
                "set",
                f"{ref_of(obj)} has the label of another set",
                hint=f"Remove the label {PART_OF} from the object.",
            )
        return {**obj, "metadata": {**obj["metadata"], "labels": {**labels, PART_OF: self.id}}}

    def parent(self, refs: set[Ref], also: MemberScope = EMPTY) -> Object:
        """The parent that says where members of these refs are; `also`: where there may be more."""
        places = {(ref.group, ref.kind) for ref in refs} | also[0]
        kinds = sorted(f"{kind}.{group}" if group else kind for group, kind in places)
        namespaces = sorted(({ref.namespace for ref in refs if ref.namespace} | also[1]) - {self.namespace})
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": {SET_ID: self.id},
                "annotations": {
                    TOOLING: TOOL,
                    KINDS: ",".join(kinds),
                    NAMESPACES: ",".join(namespaces),
                    **dict(self.notes),
                },
            },
        }

    def live_parent(self, cluster: Cluster) -> Object | None:
        """Raises InvalidOption where the ConfigMap is somebody else's."""
        parent = cluster.get("", "ConfigMap", self.namespace, self.name)
        if parent is None:
            return None
        metadata = parent["metadata"]
        if (metadata.get("labels") or {}).get(SET_ID) != self.id or (metadata.get("annotations") or {}).get(
            TOOLING
        ) != TOOL:
            raise InvalidOption(
                "set",
                f"ConfigMap {self.namespace}/{self.name} exists and is not a set of this collection",
                hint="Choose another set name.",
            )
        return parent

    def known(self, parent: Object | None) -> MemberScope:
        """({(group, kind)}, {namespaces}) that a parent says may hold members."""
        if parent is None:
            return EMPTY
        annotations = parent["metadata"].get("annotations") or {}
        kinds: set[tuple[str, str]] = set()
        for text in filter(None, annotations.get(KINDS, "").split(",")):
            kind, _dot, group = text.partition(".")
            kinds.add((group, kind))
        return frozenset(kinds), frozenset({self.namespace, *filter(None, annotations.get(NAMESPACES, "").split(","))})

    def members(self, cluster: Cluster, parent: Object | None) -> list[Object]:
        """Live members: marked, written by our manager, and nobody's dependents (a copied label makes no member)."""
        kinds, namespaces = self.known(parent)

        def of(group_kind: tuple[str, str]) -> list[Object]:
            resource = cluster.resource(*group_kind)
            if resource is None:
                return []
            places = sorted(namespaces) if resource.namespaced else [None]
            return [o for place in places for o in cluster.list(*group_kind, place, f"{PART_OF}={self.id}")]

        found = [obj for objects in cluster.each(of, sorted(kinds)) for obj in objects]
        return [obj for obj in found if not obj["metadata"].get("ownerReferences") and _ours(obj, cluster.manager)]


def _ours(obj: Object, manager: str) -> bool:
    return any(entry.get("manager") == manager for entry in obj["metadata"].get("managedFields") or [])


def prune_allowance(limit: str, members: int) -> int:
    """How many of so many members may go. Raises InvalidOption."""
    found = re.match(r"^(\d+)(%?)$", limit.strip())
    if not found or (found[2] and int(found[1]) > 100):
        raise InvalidOption(
            "prune_limit",
            f"{limit!r} is neither a number nor a percentage",
            hint="Use a number such as 10, or a percentage such as 20%.",
        )
    return members * int(found[1]) // 100 if found[2] else int(found[1])
