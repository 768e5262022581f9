# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects as plain data: identity, checks and normal form."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._failure import InvalidOption

Object = dict[str, Any]

SECRETS = ("data", "stringData")
# RFC 1123 subdomain, as the API server asks of most names; RBAC and a few others may hold more, so ":" and upper case
# pass.
NAME = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9._:]{0,251}[A-Za-z0-9])?$")


@dataclass(frozen=True, order=True)
class Ref:
    """Names one object. The version is no part of the identity: the same object is served at several."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"

    def as_result(self, version: str = "") -> dict[str, str]:
        return {
            "group": self.group,
            "version": version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
        }


def group_version(obj: Object) -> tuple[str, str]:
    group, _slash, version = str(obj["apiVersion"]).rpartition("/")
    return group, version


def ref_of(obj: Object) -> Ref:
    metadata = obj["metadata"]
    return Ref(group_version(obj)[0], obj["kind"], metadata.get("namespace") or "", metadata["name"])


def summarize(names: list[str], most: int) -> str:
    """The first names in a row, and how many there are more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def flatten(documents: Iterable[Any], option: str) -> list[Object]:
    """Objects of several documents: empty ones dropped, v1 Lists opened. Raises InvalidOption naming document and
    cause.
    """
    objects: list[Object] = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        if isinstance(document, list):
            objects.extend(flatten(document, option))
            continue
        if not isinstance(document, dict):
            raise InvalidOption(
                option, f"document {number} is {type(document).__name__}, not a mapping with apiVersion and kind"
            )
        if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
            objects.extend(flatten(document["items"], option))
            continue
        validate_object(document, f"document {number}", option)
        objects.append(document)
    return objects


def validate_object(obj: Object, place: str, option: str) -> None:
    for key in ("apiVersion", "kind"):
        if not isinstance(obj.get(key), str) or not obj[key]:
            raise InvalidOption(
                option,
                f"{place} has no {key}",
                hint="Every Kubernetes object needs apiVersion, kind and metadata.name.",
            )
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(name := metadata.get("name"), str) or not name:
        raise InvalidOption(
            option,
            f"{place} ({obj['kind']}) has no metadata.name",
            hint="Set metadata.name: generateName is not idempotent.",
        )
    if not NAME.match(name):
        raise InvalidOption(option, f"{place} ({obj['kind']}): {name!r} is not a valid object name")
    for place_of, mapping in (
        *((f"metadata.{field}", metadata.get(field)) for field in ("labels", "annotations")),
        *((field, obj.get(field)) for field in SECRETS if obj["kind"] == "Secret"),
    ):
        if mapping is not None and not isinstance(mapping, dict):
            raise InvalidOption(option, f"{obj['kind']} {name}: {place_of} is {type(mapping).__name__}, not a mapping")
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            if value is not None and not isinstance(value, str):
                raise InvalidOption(
                    option,
                    f"{obj['kind']} {name}: metadata.{field}[{key}] is {value!r}, not a string",
                    hint="Quote it in YAML.",
                )


def normalized(obj: Object, namespace: str | None = None) -> Object:
    """A copy as it is sent: without what only a server writes, Secret.stringData turned into data.

    stringData is owned but never shown by the server, so it can be neither compared nor removed (kubernetes 108008).
    """
    # What follows writes only to these two levels, so the rest may be shared.
    metadata = dict(obj["metadata"])
    wanted = {**obj, "metadata": metadata}
    for field in ("creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink"):
        metadata.pop(field, None)
    if namespace and not metadata.get("namespace"):
        metadata["namespace"] = namespace
    wanted.pop("status", None)
    if wanted["kind"] == "Secret" and wanted["apiVersion"] == "v1" and wanted.get("stringData"):
        data = dict(wanted.get("data") or {})
        for key, value in wanted.pop("stringData").items():
            data[key] = base64.b64encode(str(value).encode("utf-8")).decode("ascii")
        wanted["data"] = data
    return wanted


def duplicates(objects: Iterable[Object]) -> list[Ref]:
    seen: set[Ref] = set()
    twice = []
    for obj in objects:
        ref = ref_of(obj)
        if ref in seen:
            twice.append(ref)
        seen.add(ref)
    return twice
