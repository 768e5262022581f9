# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that a mesh needs, those that istiod injects included, and the registries from which they are to come
instead.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..._engine.images import Reference, Registries, Use, adapted, parse_reference, uses
from ..._engine.objects import Object
from ..._failure import InvalidOption
from ..dataplane.injection_templates import LINE, Injection, charts_values

# What a gateway's pod names where injection is to say it.
AUTO, ASKED = "auto", "inject.istio.io/templates"
# Keys of ConfigMaps under which a control plane keeps its charts' values.
VALUES, CONFIG = ("values", "merged-values", "original-values"), "config"
REGISTRY_ARGUMENTS: dict[str, dict[str, Any]] = {
    "registries": {"type": "dict", "default": {}},
    "pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
}


def renamed(registries: Registries, image: str) -> str:
    return image if image == AUTO else registries.rewrite(image)


def of_pods(obj: Object, registries: Registries, pull_secrets: Collection[str] = ()) -> Object:
    """The object whose pods take their images from these registries, and name these Secrets."""
    return adapted(obj, partial(renamed, registries), pull_secrets) if registries or pull_secrets else obj


def of_control_plane(obj: Object, registries: Registries) -> Object:
    """A rendered object, with what istiod will inject and deploy by it."""
    if not registries or obj["kind"] != "ConfigMap":
        return of_pods(obj, registries)
    data = dict(obj.get("data") or {})
    for key in VALUES:
        values = charts_values(data.get(key))
        if values is not None:
            data[key] = json.dumps(of_values(values, registries), indent=2, sort_keys=True, ensure_ascii=False)
            if CONFIG in data:
                data[CONFIG] = _of_template(data[CONFIG], registries)
    return {**obj, "data": data}


def of_values(values: Any, registries: Registries) -> Any:
    """The charts' values: each hub, each whole image, containers, injection templates. Raises InvalidOption.

    An image without a slash is a name below the hub, unless a container has it.
    """
    if isinstance(values, list):
        return [of_values(item, registries) for item in values]
    if not isinstance(values, dict):
        return values
    result = {}
    for key, value in values.items():
        if key == "hub" and isinstance(value, str) and value:
            value = registries.hub(value)
        elif key == "image" and isinstance(value, str) and ("/" in value or "name" in values):
            value = renamed(registries, value)
        elif key == "templates" and isinstance(value, dict):
            value = {name: _of_template(text, registries) for name, text in value.items()}
        else:
            value = of_values(value, registries)
        result[key] = value
    return result


def _of_template(text: Any, registries: Registries) -> Any:
    """An injection template, or several in one text, with the images that stand in it as such."""

    def line(found: Any) -> str:
        plain = found["image"].strip("\"'")
        new = plain if "{{" in plain else renamed(registries, plain)
        return str(found["before"] + found["image"].replace(plain, new) + found["after"])

    return LINE.sub(line, text) if isinstance(text, str) else text


def with_pull_secrets(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The charts' values that name these Secrets, beside those that they name already."""
    own = values.get("global") or {}
    known = own.get("imagePullSecrets") or []
    more = [name for name in names if name not in known]
    return {**values, "global": {**own, "imagePullSecrets": [*known, *more]}} if more else values


def beyond(objects: Iterable[Object], registries: Registries) -> list[Use]:
    """Uses of images that should have come from another registry."""
    return [use for use in uses(objects) if renamed(registries, use.image) != use.image]


@dataclass
class Images:
    """Images with what uses them, and users of images that cannot be told."""

    used: dict[Reference, set[str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def add(self, image: str, user: str) -> None:
        try:
            self.used.setdefault(parse_reference(image), set()).add(user)
        except ValueError as error:
            self.unknown.add(f"{user}: {error}")

    def add_objects(self, objects: Iterable[Object], injected: Injection | None = None) -> None:
        """injected: what takes the place of the image auto."""
        for use in uses(objects):
            if use.image != AUTO:
                self.add(use.image, str(use))
            elif injected:
                self._add_injected(use, injected)
            else:
                self.unknown.add(f"{use}: injection sets its image, and no control plane is set")

    def _add_injected(self, use: Use, injected: Injection) -> None:
        asked = ((use.template.get("metadata") or {}).get("annotations") or {}).get(ASKED, "")
        for name in [part.strip() for part in asked.split(",") if part.strip()] or injected.default:
            for image in injected.images(name)[0]:
                self.add(image, f"{use}, by injection template {name}")

    def add_injection(self, injected: Injection, asked: Iterable[str]) -> None:
        """asked: templates on request that pods will ask for. Raises InvalidOption for one that is not there."""
        for name in asked:
            if name not in injected.templates:
                hint = f"Use one of {', '.join(sorted(injected.templates))}."
                raise InvalidOption(
                    "injection_templates", f"{name} is not an injection template of the control plane", hint=hint
                )
        for name in injected.used(asked):
            images, unknown = injected.images(name)
            for image in images:
                self.add(image, f"injection template {name}")
            self.unknown |= {f"injection template {name}: {line}" for line in unknown}

    def rows(self) -> list[dict[str, Any]]:
        """Each image once, in order of name."""
        parts = ("registry", "repository", "tag", "digest")
        return [
            {"image": str(image), **{part: getattr(image, part) for part in parts}, "used_by": sorted(users)}
            for image, users in sorted(self.used.items())
        ]

    def plan(self, registries: Registries) -> list[dict[str, str]]:
        """Which image is to be copied to which name: a digest says what is copied, a tag where it goes. Raises
        InvalidOption "same_target".
        """
        found: dict[str, tuple[str, str]] = {}
        for image in sorted(self.used):
            new = parse_reference(registries.rewrite(str(image)))
            if new.name == image.name:
                continue
            target = f"{new.name}:{new.tag}" if new.tag else str(new)
            source = f"{image.name}@{image.digest}" if image.digest else str(image)
            name, other = found.get(target, (image.name, source))
            if name != image.name:
                hint = "Map their registries to different targets."
                raise InvalidOption(
                    "registries",
                    f"{other} and {source} would both be copied to {target}",
                    hint=hint,
                    code="same_target",
                )
            found[target] = (image.name, source)
        return [
            {"source": source, "target": target}
            for target, (_name, source) in sorted(found.items(), key=lambda item: item[1])
        ]
