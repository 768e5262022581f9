# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects as short as a test wants them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]
SIDECAR = {"name": "istio-proxy", "image": "proxy:1"}
READY = {"type": "Ready", "status": "True"}


def config(name: str = "one", namespace: str = "shop", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def namespace(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def service(name: str, namespace: str = "shop", ports: Sequence[int | Object] = (80,), **spec: Any) -> Object:
    """ports: numbers, or as a Service has them."""
    named = "http-{}" if len(ports) > 1 else "http"
    listed = [port if isinstance(port, dict) else {"name": named.format(port), "port": port} for port in ports]
    full = {"selector": {"app": name}, "ports": listed, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": full}


def pod(
    name: str, namespace: str = "shop", labels: dict[str, str] | None = None, sidecar: str = "", **status: Any
) -> Object:
    """sidecar: "container", "native" (an init container) or none; ready unless `status` says otherwise."""
    containers = [{"name": "server", "image": "web:1"}, *([SIDECAR] if sidecar == "container" else [])]
    spec = {"containers": containers, **({"initContainers": [SIDECAR]} if sidecar == "native" else {})}
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec,
        "status": {"phase": "Running", "conditions": [READY], **status},
    }


def deployment(
    name: str = "web", namespace: str = "shop", image: str = "web:1", labels: dict[str, str] | None = None
) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "server", "image": image}]}}
    metadata = {"name": name, "namespace": namespace, "labels": labels or {"app": name}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def injector(revision: str, tag: str = "") -> Object:
    """The injection webhook of a revision, or of a tag that points to it."""
    labels = {"app": "sidecar-injector", "istio.io/rev": revision, **({"istio.io/tag": tag} if tag else {})}
    hooks = [
        {
            "name": "rev.namespace.sidecar-injector.istio.io",
            "clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}},
        }
    ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": tag or revision, "labels": labels},
        "webhooks": hooks,
    }


def definition(plural: str, kind: str, group: str) -> Object:
    names = {"plural": plural, "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names},
    }


def istio(kind: str, name: str, namespace: str = "shop", group: str = "networking.istio.io", **fields: Any) -> Object:
    """fields: of the spec, or what only a server writes into metadata."""
    servers = {key: fields.pop(key) for key in ("ownerReferences", "deletionTimestamp", "finalizers") if key in fields}
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **servers}
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "spec": fields}


def secret(name: str, namespace: str, values: dict[str, str]) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "data": data,
    }


def actions(result: dict[str, Any]) -> dict[str, str]:
    """{name: action} of a module's result."""
    return {row["ref"]["name"]: row["action"] for row in result["objects"]}
