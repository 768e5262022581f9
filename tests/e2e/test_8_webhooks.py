# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No istiod, no pods; then pods; then all is as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playbook_runner import Lab

pytestmark = pytest.mark.long

PLACE = "proof-webhooks"
ISTIOD = ("-n", "istio-system", "-l", "app=istiod")


@pytest.fixture
def istiod_down(mesh: Lab) -> Iterator[Lab]:
    """istiod has no place to run; nothing of what the site declares is touched."""
    mesh.kubectl("create", "namespace", PLACE)
    mesh.kubectl("label", "namespace", PLACE, "istio-injection=enabled")
    node = mesh.get("nodes")["items"][0]["metadata"]["name"]
    mesh.kubectl("cordon", node)
    mesh.kubectl("delete", "pods", *ISTIOD)
    yield mesh
    mesh.kubectl("uncordon", node)
    mesh.kubectl("wait", "--for=condition=Ready", "pods", "--timeout=120s", *ISTIOD)
    mesh.kubectl("delete", "namespace", PLACE)


def pod(name: str) -> dict:
    spec = {"containers": [{"name": "client", "image": "localhost/lab/client:stand-in"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": PLACE}, "spec": spec}


def test_pods_start_while_istiod_is_down_and_then_all_is_as_it_was(istiod_down: Lab) -> None:
    lab = istiod_down
    refused = lab.module("manifests", definition=pod("refused"), wait=False)
    assert refused["failure"]["code"] == "webhook_unavailable", refused["msg"]

    opened = lab.play("playbooks/webhooks.yml", "-e", "webhooks_state=open").ok()
    assert any(
        name.startswith("MutatingWebhookConfiguration")
        for result in opened.of("webhooks")
        for name in result["webhooks"]
    )
    assert lab.module("manifests", definition=pod("taken"), wait=False)["changed"]
    assert "webhook_unanswered" in lab.play("playbooks/webhooks.yml", "-e", "webhooks_state=closed").text

    lab.kubectl("uncordon", lab.get("nodes")["items"][0]["metadata"]["name"])
    lab.kubectl("wait", "--for=condition=Ready", "pods", "--timeout=120s", *ISTIOD)
    lab.play("playbooks/webhooks.yml", "-e", "webhooks_state=closed").ok()
    assert lab.site().ok().changed == []
    injected = lab.module("manifests", definition=pod("injected"), wait_timeout=120)
    assert injected["changed"]
    containers = lab.get("pod", "injected", "-n", PLACE)["spec"]
    assert "istio-proxy" in [
        container["name"] for container in containers.get("initContainers", []) + containers["containers"]
    ]
