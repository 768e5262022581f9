# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing objects by reference, over any Api."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

from .._cluster.api import APPLY, JSON, Api, ApiError
from .._cluster.discovery import Resource, Resources
from .._failure import Failure
from .objects import Object, Ref, group_version, normalized, ref_of

PAGE = 500
# On a two-core API server four requests at a time were fastest; more only queue there.
REQUESTS_AT_ONCE = 4
# Up to this many objects of one kind and namespace are read one by one.
READ_BY_NAME_LIMIT = 2
# Our name in managedFields.
MANAGER = "servicemesh.istio"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

# Inside the class `list` is a method.
Objects = list[Object]
Refs = list[Ref]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Forbidden:
    """A read for which this account lacks the right, in the server's words."""

    message: str


class Cluster:
    """An Api with discovery and the field manager's name."""

    def __init__(self, api: Api, manager: str = MANAGER) -> None:
        self.api = api
        self.manager = manager
        self.resources = Resources(api)
        self._pool = ThreadPoolExecutor(REQUESTS_AT_ONCE)

    def with_manager(self, manager: str) -> Cluster:
        """The same cluster under another field manager's name."""
        other = copy.copy(self)
        other.manager = manager
        return other

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """function of every item, side by side, results in order. The first error is raised after all have ended."""
        futures = [self._pool.submit(function, item) for item in items]
        for future in futures:
            future.exception()
        return [future.result() for future in futures]

    def try_read(self, read: Callable[[], R]) -> R | Forbidden:
        """What `read` gives, or the server's refusal where it is forbidden. Raises ApiError for every other error."""
        try:
            return read()
        except ApiError as error:
            if error.status != 403:
                raise
            return Forbidden(error.message)

    def sleep(self, seconds: float) -> None:
        """Between two looks at something that cannot be watched."""
        time.sleep(seconds)

    def resource_of(self, obj: Object) -> Resource | None:
        group, version = group_version(obj)
        return self.resources.find(group, obj["kind"], version)

    def placed(self, obj: Object, namespace: str | None) -> Object:
        """A copy as it is sent, in the namespace where it names none and its kind has namespaces."""
        resource = self.resource_of(obj)
        return normalized(obj, namespace if resource is None or resource.namespaced else None)

    def resource(self, group: str, kind: str) -> Resource | None:
        return self.resources.find(group, kind)

    def get(self, group: str, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None where it or its kind is absent."""
        resource = self.resource(group, kind)
        return self._get(resource, namespace, name) if resource else None

    def list(self, group: str, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """Objects of a kind in one namespace or all; none where the kind is not served. Raises ApiError."""
        resource = self.resource(group, kind)
        return list(self._list(resource, namespace, selector)) if resource else []

    def list_where_allowed(self, group: str, kind: str, namespaces: Iterable[str], selector: str = "") -> Objects:
        """Objects of a kind in all namespaces; where that is forbidden, in these. Raises ApiError."""
        found = self.try_read(lambda: self.list(group, kind, None, selector))
        if not isinstance(found, Forbidden):
            return found
        return [obj for namespace in sorted(set(namespaces)) for obj in self.list(group, kind, namespace, selector)]

    def metadata(self, group: str, kind: str, selector: str = "") -> Objects:
        """Objects of a kind with nothing but their metadata: for kinds whose objects are large. Raises ApiError."""
        resource = self.resource(group, kind)
        return list(self._list(resource, None, selector, METADATA_ONLY)) if resource else []

    def live(self, wanted: Objects) -> dict[Ref, Object]:
        """The live objects behind the wanted ones: few by name, more by one paged list per kind and namespace."""
        groups: dict[tuple[Resource, str], list[Ref]] = {}
        for obj in wanted:
            resource = self.resource_of(obj)
            if resource:
                ref = ref_of(obj)
                groups.setdefault((resource, ref.namespace), []).append(ref)
        found: dict[Ref, Object] = {}
        for objects in self.each(lambda item: self._read(item[0][0], item[0][1], item[1]), groups.items()):
            found.update(objects)
        return found

    def _read(self, resource: Resource, namespace: str, refs: Refs) -> dict[Ref, Object]:
        names = {ref.name: ref for ref in refs}
        if len(names) > READ_BY_NAME_LIMIT:
            try:
                return {
                    names[o["metadata"]["name"]]: o
                    for o in self._list(resource, namespace)
                    if o["metadata"]["name"] in names
                }
            except ApiError as error:
                if error.status != 403:
                    raise
        answers = {ref: self._get(resource, namespace, name) for name, ref in names.items()}
        return {ref: obj for ref, obj in answers.items() if obj is not None}

    def _get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        try:
            answer: Object = self.api.request("GET", resource.path(namespace, name))
            return answer
        except ApiError as error:
            if error.absent:
                return None
            raise

    def _list(
        self, resource: Resource, namespace: str | None, selector: str = "", accept: str = JSON
    ) -> Iterator[Object]:
        query = {"limit": str(PAGE)}
        if selector:
            query["labelSelector"] = selector
        while True:
            page = self.api.request("GET", resource.path(namespace), query, accept=accept)
            for item in page.get("items") or []:
                # Items of built-in kinds come without these two.
                item["apiVersion"], item["kind"] = resource.api_version, resource.kind
                yield item
            following = page.get("metadata", {}).get("continue")
            if not following:
                return
            query = {**query, "continue": following}

    def apply(self, obj: Object, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply of the whole object, with strict fields. Raises ApiError, Failure "unknown_kind"."""
        resource = self.resource_of(obj)
        if resource is None:
            raise unknown_kind(obj)
        query = {"fieldManager": self.manager, "fieldValidation": "Strict"}
        if force:
            query["force"] = "true"
        if dry_run:
            query["dryRun"] = "All"
        ref = ref_of(obj)
        answer: Object = self.api.request("PATCH", resource.path(ref.namespace, ref.name), query, obj, APPLY)
        return answer

    def delete(self, obj: Object, dry_run: bool = False) -> bool:
        """Deletes exactly this object (by uid), its dependents in the background. False if it was gone already."""
        ref = ref_of(obj)
        resource = self.resource(ref.group, ref.kind)
        if resource is None:
            return False
        query = {"dryRun": "All"} if dry_run else None
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if obj["metadata"].get("uid"):
            body["preconditions"] = {"uid": obj["metadata"]["uid"]}
        try:
            self.api.request("DELETE", resource.path(ref.namespace, ref.name), query, body)
            return True
        except ApiError as error:
            if error.absent:
                return False
            raise


def unknown_kind(obj: Object) -> Failure:
    ref = ref_of(obj)
    group, version = group_version(obj)
    return Failure(
        "unknown_kind",
        f"{ref}: the cluster does not serve {obj['kind']} in {obj['apiVersion']}",
        ref=ref.as_result(version),
        hint="Correct apiVersion and kind, or install the CRD first.",
    )
