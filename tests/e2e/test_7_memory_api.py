# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API in memory, on which unit tests rest, says what the real one says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playbook_runner import Lab

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit"))

from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import APPLY, ApiError  # noqa: E402
from memory_api import MemoryApi  # noqa: E402

pytestmark = pytest.mark.long

NAMESPACE = "proof-memory"
CONFIG = f"/api/v1/namespaces/{NAMESPACE}/configmaps/one"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/one"


def config(labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": "one", "namespace": NAMESPACE, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **({"data": data} if data else {})}


def deployment(*names: str, **values: str) -> dict[str, Any]:
    containers = [
        {
            "name": name,
            "image": "localhost/lab/client:stand-in",
            "env": [{"name": key, "value": value} for key, value in values.items()],
        }
        for name in names
    ]
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "one", "namespace": NAMESPACE},
        "spec": spec,
    }


def in_pods(**fields: Any) -> dict[str, Any]:
    """Some fields of the pods alone."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "one", "namespace": NAMESPACE},
        "spec": {"template": {"spec": fields}} if fields else {},
    }


# (method, path, body, manager, force)
STORY: list[tuple[str, str, dict[str, Any] | None, str, bool]] = [
    ("GET", CONFIG, None, "", False),
    ("PATCH", CONFIG, config(a="1", b="2"), "one", False),
    ("PATCH", CONFIG, config(a="1", b="2"), "one", False),
    ("PATCH", CONFIG, config(a="3"), "two", False),
    ("PATCH", CONFIG, config(c="3"), "two", False),
    ("PATCH", CONFIG, config(a="3", c="3"), "two", True),
    ("PATCH", CONFIG, config(b="2"), "one", False),
    ("PATCH", CONFIG, config({"x": "y"}), "one", False),
    (
        "PATCH",
        CONFIG.replace(NAMESPACE, "proof-nowhere"),
        {**config(a="1"), "metadata": {"name": "one", "namespace": "proof-nowhere"}},
        "one",
        False,
    ),
    ("PATCH", DEPLOYMENT, deployment("first", "second", A="1", B="2"), "one", False),
    ("PATCH", DEPLOYMENT, deployment("first", A="1"), "one", False),
    ("PATCH", DEPLOYMENT, deployment("first", A="2"), "two", False),
    ("PATCH", DEPLOYMENT, deployment("second", "first", A="1"), "two", False),
    ("PATCH", DEPLOYMENT, deployment("third", "second", A="1"), "three", False),
    ("PATCH", DEPLOYMENT, deployment("fourth", "first", "third", A="1"), "four", False),
    ("PATCH", DEPLOYMENT, in_pods(dnsConfig={"nameservers": ["192.0.2.1"]}), "five", False),
    ("PATCH", DEPLOYMENT, in_pods(), "five", False),
    ("DELETE", CONFIG, {"preconditions": {"uid": "another"}}, "", False),
    ("DELETE", CONFIG, None, "", False),
    ("DELETE", CONFIG, None, "", False),
    ("GET", "/apis/nowhere.example.com/v1/things/one", None, "", False),
]


def tell(api: Any) -> list[Any]:
    """What came of each request: status and conflicts of a refusal, or the parts of the object that somebody set, with
    their owners.
    """
    said = []
    for method, path, body, manager, force in STORY:
        query = {"fieldManager": manager, **({"force": "true"} if force else {})} if method == "PATCH" else {}
        try:
            answer = (
                api.request(method, path, query, body, APPLY)
                if method == "PATCH"
                else api.request(method, path, query or None, body)
            )
            said.append(_part(answer) if method != "DELETE" else "deleted")
        except ApiError as error:
            causes = sorted(
                (cause.get("field"), cause.get("message", "").split(" using ")[0])
                for cause in error.causes
                if cause.get("reason") == "FieldManagerConflict"
            )
            said.append((error.status, error.reason, causes))
    return said


def _part(obj: dict[str, Any]) -> Any:
    owners = {
        entry["manager"]: json.dumps(entry["fieldsV1"], sort_keys=True)
        for entry in obj["metadata"]["managedFields"]
        if entry["manager"] in ("one", "two")
    }
    containers = [
        {key: c.get(key) for key in ("name", "image", "env")}
        for c in obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    ]
    return {
        "labels": obj["metadata"].get("labels"),
        "data": obj.get("data"),
        "containers": containers,
        "managers": sorted(owners),
    }


@pytest.fixture
def namespace(mesh: Lab) -> Iterator[Lab]:
    mesh.kubectl("create", "namespace", NAMESPACE)
    yield mesh
    mesh.kubectl("delete", "namespace", NAMESPACE)


def test_a_story_of_applies_conflicts_and_deletes_goes_the_same_way(namespace: Lab, api: Any) -> None:
    memory = MemoryApi({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    real, kept = tell(api), tell(memory)
    for request, theirs, ours in zip(STORY, real, kept):
        assert ours == theirs, request[:3]
    assert len({json.dumps(item, sort_keys=True, default=str) for item in real}) > 8, "the story must tell things apart"
