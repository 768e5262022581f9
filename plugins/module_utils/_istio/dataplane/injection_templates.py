# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The injection templates of a rendered control plane, as far as they name images.

How istiod fills them in: istio.io/istio pkg/kube/inject/inject.go (ProxyImage, ProxyInitImage, AgentgatewayImage,
imageURL).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..._engine.objects import Object
from ..._libraries import yaml

INJECTOR, MESH = "istio-sidecar-injector", "istio"
# Templates that a pod or a gateway gets only where it asks for them by name.
ON_REQUEST = frozenset({"grpc-simple", "grpc-agent", "agentgateway", "agentgateway-waypoint"})
# What istiod computes -> where the values name the image, the name where they do not, and whether the mesh
# configuration has a say on its type.
COMPUTED = {
    ".ProxyImage": ("proxy", "proxyv2", True),
    ".ProxyInitImage": ("proxy_init", "proxyv2", False),
    ".AgentgatewayImage": ("", "agentgateway", False),
}
# Endings of a tag that another type of image takes the place of.
IMAGE_TYPES = ("-distroless", "-debug")
LINE = re.compile(r"^(?P<before>[ \t]*(?:- )?image:[ \t]*)(?P<image>\S.*?)(?P<after>[ \t]*(?: #.*)?)$", re.MULTILINE)
EXPRESSION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
VALUE = re.compile(r"(?P<annotation>annotation \S+ `\S+` )?\.Values\.(?P<path>[\w.]+)")


@dataclass(frozen=True)
class Injection:
    """What istiod injects. templates: {name: text}; default: those of pods that ask for none; values: the charts'
    own.
    """

    templates: dict[str, str]
    default: list[str]
    values: dict[str, Any]
    image_type: str = ""

    @property
    def own(self) -> set[str]:
        """Templates that the user wrote."""
        return set((self.values.get("sidecarInjectorWebhook") or {}).get("templates") or {})

    def used(self, asked: Iterable[str]) -> list[str]:
        """The templates less those on request that nobody has asked for."""
        return sorted(set(self.templates) - (ON_REQUEST - set(asked) - set(self.default) - self.own))

    def images(self, template: str) -> tuple[list[str], list[str]]:
        """(images, lines of which it cannot be told) of one template."""
        found: list[str] = []
        unknown: list[str] = []
        otherwise = True
        for line in LINE.finditer(self.templates.get(template, "")):
            text = line["image"].strip("\"'")
            image = EXPRESSION.sub(lambda part: self._filled(part[1]), text)
            if self._is_condition(text):
                # In the templates: where it holds a slash it is a whole image, else the next line counts.
                otherwise = "/" not in image
                found += [] if otherwise else [image]
            elif not otherwise:
                otherwise = True
            elif image and "{{" not in image:
                found.append(image)
            else:
                unknown.append(text)
        return found, unknown

    @staticmethod
    def _is_condition(text: str) -> bool:
        whole = EXPRESSION.fullmatch(text)
        return bool(whole and (VALUE.match(whole[1]) or {"annotation": None})["annotation"])

    @property
    def proxy_image(self) -> str:
        """The image of sidecars; empty where the values do not say it."""
        name = self._at("global.proxy.image")
        if "/" in name or not name:
            return name
        return self._computed(*COMPUTED[".ProxyImage"]) if self._at("global.hub") and self._at("global.tag") else ""

    def _filled(self, expression: str) -> str:
        """What takes the expression's place; itself where that is not known."""
        bare = expression.partition("|")[0].strip()
        if bare in COMPUTED:
            return self._computed(*COMPUTED[bare])
        value = VALUE.fullmatch(bare)
        return f"{{{{ {expression} }}}}" if not value else self._at(value["path"])

    def _at(self, path: str) -> str:
        found: Any = self.values
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        return "" if found is None else str(found)

    def _computed(self, key: str, usual: str, by_mesh: bool) -> str:
        tag, kind = self._at("global.tag"), (self.image_type if by_mesh else "") or self._at("global.variant")
        if kind:
            tag = next((tag[: -len(known)] for known in IMAGE_TYPES if tag.endswith(known)), tag)
            tag += "" if kind == "default" else f"-{kind}"
        name = self._at(f"global.{key}.image") if key else ""
        return f"{self._at('global.hub')}/{name or usual}:{tag}"


def charts_values(text: Any) -> dict[str, Any] | None:
    """The charts' values, where a ConfigMap's text is such."""
    try:
        values = json.loads(text)
    except (TypeError, ValueError):
        return None
    return values if isinstance(values, dict) and isinstance(values.get("global"), dict) else None


def injection(objects: Iterable[Object]) -> Injection | None:
    """What the istiod of a rendered control plane will inject by; None where it injects nothing."""
    maps = {obj["metadata"]["name"]: obj.get("data") or {} for obj in objects if obj["kind"] == "ConfigMap"}
    name = next((name for name in sorted(maps) if name.startswith(INJECTOR) and "config" in maps[name]), "")
    values = charts_values(maps.get(name, {}).get("values"))
    if values is None:
        return None
    config = yaml.safe_load(maps[name]["config"]) or {}
    mesh = yaml.safe_load(maps.get(name.replace(INJECTOR, MESH, 1), {}).get("mesh") or "{}") or {}
    image_type = ((mesh.get("defaultConfig") or {}).get("image") or {}).get("imageType") or ""
    return Injection(config.get("templates") or {}, config.get("defaultTemplates") or [], values, image_type)
