# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the faults are made on, and what is seen of it."""

from __future__ import annotations

from typing import Any

from playbook_runner import Lab

Object = dict[str, Any]
IMAGE = "localhost/lab/client:stand-in"


def config(name: str, namespace: str, labels: dict[str, str] | None = None, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {"faults": "yes"}},
        "data": data,
    }


def deployment(name: str, namespace: str, replicas: int = 1) -> Object:
    container = {
        "name": "web",
        "image": IMAGE,
        "env": [{"name": "STANDIN", "value": "client"}],
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}},
    }
    pod = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def some(namespace: str) -> list[Object]:
    """Enough of one kind to be listed, and something to wait for."""
    return [*(config(f"words-{letter}", namespace, text=letter) for letter in "abcd"), deployment("web", namespace)]


def definition(group: str, kind: str, plural: str) -> Object:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
        "versions": [version],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": spec,
    }


def actions(result: dict[str, Any]) -> dict[str, str]:
    """{name: action} of a result."""
    return {row["ref"]["name"]: row["action"] for row in result["objects"]}


def code(result: dict[str, Any]) -> str:
    """The failure's code; "" where there is none."""
    assert bool(result.get("failed")) == ("failure" in result), result
    return result["failure"]["code"] if "failure" in result else ""


def problem(result: dict[str, Any]) -> str:
    """What a failed assertion shows of a result."""
    return f"{result.get('failure')} {result.get('msg')} {result.get('summary')} {result.get('diff')}"


def names(lab: Lab, namespace: str, kinds: str = "configmaps,deployments") -> set[str]:
    """Names of the live objects, less what Kubernetes puts into every namespace."""
    return {item["metadata"]["name"] for item in lab.get(kinds, "-n", namespace)["items"]} - {"kube-root-ca.crt"}


def converges(lab: Lab, options: dict[str, Any]) -> None:
    """The run after a fault does what was left, and the one after that nothing."""
    mended = lab.module("manifests", **options)
    assert code(mended) == "", problem(mended)
    again = lab.module("manifests", **options)
    assert (code(again), again["changed"], again["diff"], again["summary"]["dry_runs"]) == ("", False, [], 0), problem(
        again
    )
