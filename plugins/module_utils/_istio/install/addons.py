# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release's addons (samples/addons): which ones, with which images, joined to each other."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..._engine.files import manifests
from ..._engine.images import Registries, adapted
from ..._engine.objects import Object
from ..._engine.steps import Step
from ..._failure import InvalidOption
from ..._libraries import yaml

HOME = "istio-system"
SET = "istio-addons"
# All of them define the Service "tracing".
TRACING_BACKENDS = ("jaeger", "zipkin", "skywalking")
# Rolls a Deployment whose configuration is read at start only.
CONFIGURATION = "servicemesh.istio/configuration"
TELEMETRY = "mesh-default"


@dataclass(frozen=True)
class Addons:
    """What a user asks for. images: {repository of the release: image}; registries: as in Registries; sampling: per
    cent of requests that are traced.
    """

    names: list[str] = field(default_factory=lambda: ["prometheus", "grafana", "jaeger", "kiali"])
    namespace: str = HOME
    images: dict[str, str] = field(default_factory=dict)
    kiali_config: dict[str, Any] = field(default_factory=dict)
    tracing_provider: str = "jaeger"
    sampling: float | None = None
    registries: dict[str, str] = field(default_factory=dict)
    pull_secrets: list[str] = field(default_factory=list)


def read_addons(folder: Path, addons: Addons) -> dict[str, list[Object]]:
    """{addon: its objects as in the release}. folder: samples/addons. Raises InvalidOption."""
    if not folder.is_dir():
        raise InvalidOption(
            "samples",
            f"{folder} is not a folder on the host where this task runs",
            hint="Use samples/addons of an unpacked release, as the module release returns it.",
        )
    validate_addons(addons, {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")})
    return {name: manifests.read_file(folder / f"{name}.yaml", "samples") for name in addons.names}


def validate_addons(addons: Addons, known: set[str]) -> None:
    """Raises InvalidOption "unknown_addon", "two_tracing_backends"."""
    unknown = [name for name in addons.names if name not in known]
    if unknown:
        raise InvalidOption(
            "names",
            f"{unknown[0]} is not an addon of this release",
            hint=f"Use one of {', '.join(sorted(known))}.",
            code="unknown_addon",
        )
    tracing = _tracing(addons)
    if len(tracing) > 1:
        raise InvalidOption(
            "names",
            f"{' and '.join(tracing)} define the same Service tracing",
            hint="Use only one tracing backend.",
            code="two_tracing_backends",
        )


def _tracing(addons: Addons) -> list[str]:
    """The tracing backends among the names; some are in the release's folder extras."""
    return [name for name in addons.names if name.rpartition("/")[2] in TRACING_BACKENDS]


def addon_steps(addons: Addons, documents: dict[str, list[Object]]) -> list[Step]:
    """One step of all objects. documents: {addon: objects as in the release}."""
    objects = [_adapted(obj, addons) for name in addons.names for obj in documents[name]]
    _join_kiali(objects, addons)
    _roll_with_configuration(objects)
    if addons.sampling is not None and _tracing(addons):
        objects.append(_telemetry(addons))
    return [Step("addons", objects)]


def _adapted(obj: Object, addons: Addons) -> Object:
    result = copy.deepcopy(adapted(obj, partial(_image, addons, Registries.of(addons.registries)), addons.pull_secrets))
    metadata = result["metadata"]
    if metadata.get("namespace") == HOME:
        metadata["namespace"] = addons.namespace
    for subject in result.get("subjects") or []:
        if subject.get("namespace") == HOME:
            subject["namespace"] = addons.namespace
    return result


def _image(addons: Addons, registries: Registries, image: str) -> str:
    """What the user has instead of the image, by its repository with or without its tag, else it from its new
    registry.
    """
    if image in addons.images:
        return addons.images[image]
    repository = image.partition("@")[0]
    if ":" in repository.rpartition("/")[2]:
        repository = repository.rpartition(":")[0]
    return addons.images.get(repository) or registries.rewrite(image)


def _join_kiali(objects: list[Object], addons: Addons) -> None:
    config_map = next(
        (obj for obj in objects if obj["kind"] == "ConfigMap" and obj["metadata"]["name"] == "kiali"), None
    )
    if config_map is None:
        return
    config = yaml.safe_load(config_map["data"]["config.yaml"])
    joined = _merged(config, _kiali_services(addons))
    config_map["data"]["config.yaml"] = yaml.safe_dump(
        _merged(joined, addons.kiali_config), sort_keys=True, default_flow_style=False
    )


def _kiali_services(addons: Addons) -> dict[str, Any]:
    """Kiali's own words for its neighbors (Kiali documentation, external_services)."""
    place = addons.namespace
    services: dict[str, Any] = {
        "prometheus": {"url": f"http://prometheus.{place}:9090"},
        "grafana": {"enabled": "grafana" in addons.names, "internal_url": f"http://grafana.{place}:3000"},
        "tracing": {"enabled": False},
    }
    if "jaeger" in addons.names:
        services["tracing"] = {
            "enabled": True,
            "provider": "jaeger",
            "internal_url": f"http://tracing.{place}:16685/jaeger",
            "use_grpc": True,
        }
    return {"external_services": services, "deployment": {"namespace": place}}


def _merged(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}
    return over


def _roll_with_configuration(objects: list[Object]) -> None:
    maps = {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "ConfigMap"}
    for obj in objects:
        if obj["kind"] != "Deployment":
            continue
        template = obj["spec"]["template"]
        used = [
            volume["configMap"]["name"]
            for volume in template["spec"].get("volumes") or []
            if volume.get("configMap", {}).get("name") in maps
        ]
        # Prometheus has a reloader beside it: a restart would lose its data.
        if used and obj["metadata"]["name"] != "prometheus":
            text = yaml.safe_dump([maps[name].get("data") for name in used], sort_keys=True)
            annotations = template.setdefault("metadata", {}).setdefault("annotations", {})
            annotations[CONFIGURATION] = hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def _telemetry(addons: Addons) -> Object:
    tracing = [{"providers": [{"name": addons.tracing_provider}], "randomSamplingPercentage": addons.sampling}]
    metadata = {"name": TELEMETRY, "namespace": addons.namespace}
    return {
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": metadata,
        "spec": {"tracing": tracing},
    }
