# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of objects: what a reference to one means, where pods name them, and from which registry they are to come
instead.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Callable

from .._failure import InvalidOption
from .objects import Object, Ref, ref_of

# Grammar and defaults of github.com/distribution/reference.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
PATH = rf"{_PART}(?:/{_PART})*"
DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}"
REFERENCE = re.compile(
    rf"(?:(?P<host>{HOST})/)?(?P<path>{PATH})(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>{DIGEST}))?"
)
PLACE = re.compile(rf"(?P<host>{HOST})(?:/{PATH})?")
DOCKER, LIBRARY, LATEST = "docker.io", "library/", "latest"
EVERY = "*"
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, order=True)
class Reference:
    """One image in full. digest: with its algorithm, such as sha256:..."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return self.named(self.name)

    def named(self, name: str) -> str:
        """The same tag and digest under another name."""
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _is_registry(host: str) -> bool:
    return host == "localhost" or any(sign in host for sign in ".:") or host != host.lower()


def parse_reference(image: str) -> Reference:
    """With Docker's defaults: registry docker.io, library/ before a bare name, tag latest where there is no digest.
    Raises ValueError.
    """
    found = REFERENCE.fullmatch(image)
    if not found:
        raise ValueError(f"{image!r} is not a valid image name")
    host, path, tag, digest = found.group("host", "path", "tag", "digest")
    if host and not _is_registry(host):
        host, path = "", f"{host}/{path}"
    registry = DOCKER if host in (None, "", f"index.{DOCKER}") else host
    if registry == DOCKER and "/" not in path:
        path = LIBRARY + path
    return Reference(registry, path, tag or ("" if digest else LATEST), digest or "")


@dataclass(frozen=True)
class Registries:
    """Where images come from instead. targets: {registry, with or without the beginning of a path: the same}; "*" is
    every other one.
    """

    targets: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(option: dict[str, Any]) -> Registries:
        """Raises InvalidOption."""
        return Registries({key if key == EVERY else _place(key): _place(target) for key, target in option.items()})

    def __bool__(self) -> bool:
        return bool(self.targets)

    def rewrite(self, image: str) -> str:
        """The image under its new name. One that is there already, that no registry is named for, or that is no image
        stays as it is.
        """
        try:
            reference = parse_reference(image)
        except ValueError:
            return image
        name = self._name(reference.name)
        return image if name == reference.name else reference.named(name)

    def hub(self, hub: str) -> str:
        """A registry with a path, under which images are, under its new name. Raises InvalidOption where its images
        would part.
        """
        try:
            name = parse_reference(f"{hub}/image").name.rpartition("/")[0]
        except ValueError:
            return hub
        below = [key for key in self.targets if key.startswith(f"{name}/")]
        if below:
            raise InvalidOption(
                "registries",
                f"{below[0]} is only a part of {name}: pods use the whole registry name",
                hint=f"Name {name}.",
            )
        found = self._name(f"{name}/image").rpartition("/")[0]
        return hub if found == name else found

    def _name(self, name: str) -> str:
        if any(_within(name, target) for target in self.targets.values()):
            return name
        for key in sorted(self.targets, key=len, reverse=True):
            if _within(name, key):
                return self.targets[key] + name[len(key) :]
        return f"{self.targets[EVERY]}/{name.partition('/')[2]}" if EVERY in self.targets else name


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}/")


def _place(text: Any) -> str:
    found = PLACE.fullmatch(text.rstrip("/")) if isinstance(text, str) else None
    if not found or not _is_registry(found["host"]):
        hint = (
            "Use the form mirror.example.com or mirror.example.com:5000/istio, without scheme and tag. The key *"
            " matches all registries."
        )
        raise InvalidOption("registries", f"{text!r} is not a valid registry", hint=hint)
    return found[0]


@dataclass(frozen=True)
class Use:
    """A place where an image is named. template: the pod's metadata and spec."""

    image: str
    ref: Ref
    place: str
    template: Object

    def __str__(self) -> str:
        return f"{self.ref}, {self.place}"


def templates(obj: Object) -> Iterator[Object]:
    """What pods are made from: a Pod itself, and the templates of all that makes pods, however deep and whatever their
    kind.
    """
    if obj.get("kind") == "Pod" and isinstance(obj.get("spec"), dict):
        yield obj
    yield from _templates(obj)


def _templates(value: Any) -> Iterator[Object]:
    if isinstance(value, list):
        for item in value:
            yield from _templates(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if (
                key == "template"
                and isinstance(inner, dict)
                and isinstance(inner.get("spec"), dict)
                and isinstance(inner["spec"].get("containers"), list)
            ):
                yield inner
            else:
                yield from _templates(inner)


def _named(template: Object) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(place, mapping, key) of each image of a pod: those of its containers, and those that are its volumes
    (KEP-4639).
    """
    for kind in CONTAINERS:
        for container in template["spec"].get(kind) or []:
            if isinstance(container, dict) and isinstance(container.get("image"), str):
                yield f"container {container.get('name', '')}", container, "image"
    for volume in template["spec"].get("volumes") or []:
        source = volume.get("image") if isinstance(volume, dict) else None
        if isinstance(source, dict) and isinstance(source.get("reference"), str):
            yield f"volume {volume.get('name', '')}", source, "reference"


def uses(objects: Iterable[Object]) -> list[Use]:
    found = []
    for obj in objects:
        for template in templates(obj):
            found += [Use(holder[key], ref_of(obj), place, template) for place, holder, key in _named(template)]
    return found


def adapted(obj: Object, change: Callable[[str], str], pull_secrets: Iterable[str] = ()) -> Object:
    """The object whose pods have other images and name these Secrets beside their own; itself where that is the
    same.
    """
    result = copy.deepcopy(obj) if next(templates(obj), None) is not None else obj
    for template in templates(result):
        for _place_of, holder, key in _named(template):
            holder[key] = change(holder[key])
        own = template["spec"].get("imagePullSecrets") or []
        more = [{"name": name} for name in pull_secrets if {"name": name} not in own]
        if more:
            template["spec"]["imagePullSecrets"] = [*own, *more]
    return result
