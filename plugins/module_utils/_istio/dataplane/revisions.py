# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revisions, the tags that point to them, and which of them a namespace and a proxy really use.

A namespace or pod names a revision or a tag in istio.io/rev; the injection webhook of that name decides (istio.io,
Installing multiple
control planes). istio-injection=enabled is answered by the default tag, or by an injector without a revision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from ..._engine.cluster import Cluster, Forbidden
from ..._engine.objects import Object
from ..._engine.planning.applyset import ObjectSet
from ..._failure import Failure, InvalidOption
from .. import webhooks
from ..install.control_plane import TAG, validate_label
from .injection import DEFAULT, INJECTION, REVISION, has_sidecar, injects, is_alive, revision_label, sidecar_image
from .injection_templates import INJECTOR, Injection, charts_values

STATUS = "sidecar.istio.io/status"
# What a pod says of its sidecar's image, against its revision's (istio.io, Resource Annotations).
OWN_IMAGE = ("sidecar.istio.io/proxyImage", "sidecar.istio.io/proxyImageType")


@dataclass(frozen=True)
class Revisions:
    """tags: {tag: revision}; untagged: revisions with an injector of their own; images: {revision: image of the
    sidecars it injects}, where known.
    """

    tags: dict[str, str] = field(default_factory=dict)
    untagged: frozenset[str] = frozenset()
    images: dict[str, str] = field(default_factory=dict)

    def resolve(self, name: str) -> str:
        """The revision behind a revision's or a tag's name; empty where there is none."""
        return self.tags.get(name) or (name if name in self.untagged else "")

    def stale(self, pod: Object, wanted: str) -> bool:
        """Whether a live pod has a sidecar of another revision than the wanted one, or of another version of it.
        wanted: empty where none would inject.
        """
        if not wanted or not is_alive(pod) or not has_sidecar(pod):
            return False
        if revision_of_pod(pod) not in ("", wanted):
            return True
        own = any(key in (pod["metadata"].get("annotations") or {}) for key in OWN_IMAGE)
        return wanted in self.images and not own and sidecar_image(pod) != self.images[wanted]

    def of_namespace(self, labels: dict[str, str]) -> str:
        """The revision that injects into a namespace with these labels; empty where none does."""
        return self.resolve(requested_revision(labels))


def requested_revision(labels: dict[str, str]) -> str:
    """The revision or tag that a namespace with these labels asks for; empty where it asks for none."""
    if not injects(labels):
        return ""
    return DEFAULT if INJECTION in labels else labels[REVISION]


def read_revisions(cluster: Cluster) -> Revisions:
    """Raises ApiError."""
    injectors = webhooks.injectors(cluster)
    found = revisions_of(injectors)
    places = sorted({(suffixed(INJECTOR, found.resolve(name)), namespace) for name, namespace in _places(injectors)})
    configs = cluster.each(
        lambda place: cluster.try_read(lambda: cluster.get("", "ConfigMap", place[1], place[0])), places
    )
    return replace(
        found, images=sidecar_images([config for config in configs if config and not isinstance(config, Forbidden)])
    )


def _places(injectors: list[Object]) -> set[tuple[str, str]]:
    """(revision or tag, its control plane's namespace)"""
    found: set[tuple[str, str]] = set()
    for obj in injectors:
        labels = obj["metadata"].get("labels") or {}
        services = [
            hook["clientConfig"].get("service") for hook in obj.get("webhooks") or [] if hook.get("clientConfig")
        ]
        found.update((labels.get(TAG) or revision_label(obj), service["namespace"]) for service in services if service)
    return found


def suffixed(name: str, revision: str) -> str:
    """The name of what istiod keeps for each revision, such as its ConfigMaps."""
    return name if revision == DEFAULT else f"{name}-{revision}"


def sidecar_images(configs: list[Object]) -> dict[str, str]:
    """{revision: image of the sidecars that it injects} where that can be known, of those of the ConfigMaps that hold a
    template.
    """
    found = {}
    for config in configs:
        name = config["metadata"]["name"]
        revision = DEFAULT if name == INJECTOR else name.removeprefix(f"{INJECTOR}-")
        if suffixed(INJECTOR, revision) == name and (image := _injected(config)):
            found[revision] = image
    return found


def _injected(config: Object) -> str:
    """Empty where that cannot be known."""
    values = charts_values((config.get("data") or {}).get("values"))
    return Injection({}, [], values).proxy_image if values else ""


def revisions_of(injectors: list[Object]) -> Revisions:
    tags, untagged = {}, set()
    for obj in injectors:
        labels = obj["metadata"].get("labels") or {}
        revision = revision_label(obj)
        if labels.get(TAG):
            tags[labels[TAG]] = revision
        else:
            untagged.add(revision)
    return Revisions(tags, frozenset(untagged))


def revision_of_pod(pod: Object) -> str:
    """The revision that injected a pod's sidecar; empty where that is not known."""
    annotations = pod["metadata"].get("annotations") or {}
    if annotations.get("istio.io/rev"):
        return str(annotations["istio.io/rev"])
    try:
        return str(json.loads(annotations[STATUS])["revision"])
    except (LookupError, ValueError, TypeError):
        return ""


@dataclass(frozen=True)
class RevisionTag:
    """A tag as it is asked for."""

    name: str
    revision: str = ""
    namespace: str = "istio-system"

    @property
    def own_set(self) -> ObjectSet:
        return ObjectSet(f"istio-revision-tag-{self.name}", self.namespace)


def validate_tag(tag: RevisionTag) -> None:
    """Raises InvalidOption."""
    for option, value in (("name", tag.name), ("revision", tag.revision)):
        if value:
            validate_label(option, value)


def tag_problems(tag: RevisionTag, live: Revisions) -> list[Failure]:
    """What speaks against a tag, with what is there."""
    if tag.name in live.untagged and tag.name != DEFAULT:
        return [
            InvalidOption(
                "name",
                f"{tag.name} is a revision: a tag cannot have the same name",
                hint="Choose another name.",
                code="tag_is_revision",
            )
        ]
    return [] if tag.revision in live.untagged else [no_such_revision(tag.revision, live)]


def no_such_revision(revision: str, live: Revisions) -> InvalidOption:
    known = ", ".join(sorted(live.untagged)) or "none"
    return InvalidOption(
        "revision",
        f"revision {revision} does not exist",
        hint=f"Install the revision first, or use one of: {known}.",
        code="no_such_revision",
    )


def namespaces_of_tag(tag: str, namespaces: list[Object]) -> list[str]:
    """Names of the namespaces whose pods this tag injects."""
    return sorted(
        str(obj["metadata"]["name"])
        for obj in namespaces
        if requested_revision(obj["metadata"].get("labels") or {}) == tag
    )


def tag_row(tag: str, live: Revisions, namespaces: list[Object]) -> dict[str, Any]:
    return {"name": tag, "revision": live.tags.get(tag, ""), "namespaces": namespaces_of_tag(tag, namespaces)}
