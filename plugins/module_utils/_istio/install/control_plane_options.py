# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a control plane is rendered from: the options of every module that renders one, and what they mean."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from ..._failure import InvalidOption
from . import images
from .control_plane import ControlPlane, validate_control_plane

GATEWAY = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str"},
    "egress": {"type": "bool", "default": False},
    "service_type": {"type": "str", "choices": ["LoadBalancer", "NodePort", "ClusterIP"]},
    "k8s": {"type": "dict", "default": {}},
    "values": {"type": "dict", "default": {}},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "method": {"type": "str", "choices": ["istioctl", "helm"], "default": "istioctl"},
    "istioctl": {"type": "path"},
    "helm": {"type": "str"},
    "charts": {"type": "path"},
    "gateways": {"type": "list", "elements": "dict", "options": GATEWAY},
    "profile": {"type": "str", "default": "default"},
    "istio_namespace": {"type": "str", "default": "istio-system"},
    "revision": {"type": "str", "default": ""},
    "values": {"type": "dict", "default": {}},
    "mesh_config": {"type": "dict", "default": {}},
    "components": {"type": "dict", "default": {}},
    "overlays": {"type": "dict", "default": {}},
    "hub": {"type": "str"},
    "tag": {"type": "str"},
    "compatibility_version": {"type": "str"},
    **images.REGISTRY_ARGUMENTS,
}


def control_plane_of(options: dict[str, Any]) -> ControlPlane:
    """The control plane that the options describe. Raises InvalidOption."""
    named = {field.name: options[field.name] for field in fields(ControlPlane) if field.name in options}
    found = ControlPlane(**{**named, "namespace": options["istio_namespace"]})
    validate_control_plane(found)
    return replace(found, values=images.with_pull_secrets(found.values, options["pull_secrets"]))


def require_charts(options: dict[str, Any]) -> None:
    """Raises InvalidOption if method helm has no charts."""
    if options["method"] == "helm" and not options["charts"]:
        raise InvalidOption(
            "charts",
            "is required with method helm",
            hint="The module release downloads them: manifests/charts in its path.",
        )
