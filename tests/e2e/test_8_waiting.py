# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting on real workloads: what heals is waited for, what does not is told with its cause, and the next run mends
it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbook_runner import Lab

pytestmark = pytest.mark.long

NAMESPACE = "proof-waiting"
IMAGE = "localhost/lab/client:stand-in"
IDLE = {"name": "web", "image": IMAGE, "env": [{"name": "STANDIN", "value": "client"}]}


def deployment(container: dict[str, Any], **more: Any) -> dict[str, Any]:
    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **more},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": spec,
    }


@pytest.fixture
def namespace(lab: Lab) -> Iterator[Lab]:
    lab.kubectl("create", "namespace", NAMESPACE)
    yield lab
    lab.kubectl("delete", "namespace", NAMESPACE)


@pytest.mark.parametrize(
    ("container", "more", "code", "words"),
    [
        ({**IDLE, "image": "Not A Name"}, {}, "image_name", "InvalidImageName"),
        (
            {**IDLE, "image": "localhost/lab/nowhere:1", "imagePullPolicy": "Never"},
            {},
            "image_pull",
            "ErrImageNeverPull",
        ),
        (
            {**IDLE, "envFrom": [{"secretRef": {"name": "nowhere"}}]},
            {},
            "container_config",
            'secret "nowhere" not found',
        ),
        ({**IDLE, "command": ["/no/such/program"]}, {}, "container_start", "/no/such/program"),
        ({**IDLE, "args": ["client", "-no-such-flag"]}, {}, "crash", "last log lines"),
        (IDLE, {"serviceAccountName": "nowhere"}, "api_rejected", 'serviceaccount "nowhere" not found'),
    ],
)
def test_what_does_not_heal_is_told_with_its_cause_and_mended_by_the_next_run(
    namespace: Lab, container: dict[str, Any], more: dict[str, Any], code: str, words: str
) -> None:
    result = namespace.module("manifests", definition=[deployment(container, **more)], wait_timeout=600)
    assert result["failure"]["code"] == code and words in result["msg"], result
    assert (
        result["failure"]["ref"]["name"] == "web" and result["changed"] and result["objects"][0]["action"] == "created"
    )
    # Left out, the server would keep the account under the field's older name.
    mended = namespace.module(
        "manifests", definition=[deployment(IDLE, serviceAccountName="default")], wait_timeout=120
    )
    assert "failed" not in mended and mended["objects"][0]["status"] == "Current", mended


def test_a_slow_dependency_still_succeeds(namespace: Lab) -> None:
    def later() -> None:
        namespace.kubectl("-n", NAMESPACE, "create", "configmap", "late", "--from-literal=A=1")

    timer = threading.Timer(6.0, later)
    timer.start()
    result = namespace.module(
        "manifests",
        definition=[deployment({**IDLE, "envFrom": [{"configMapRef": {"name": "late"}}]})],
        wait_timeout=120,
    )
    timer.join()
    assert "failed" not in result and result["objects"][0]["status"] == "Current", result


def test_what_no_node_can_take_is_waited_for_until_the_deadline_and_then_named(namespace: Lab) -> None:
    huge = {**IDLE, "resources": {"requests": {"cpu": "1000"}}}
    result = namespace.module("manifests", definition=[deployment(huge)], wait_timeout=6)
    assert (
        result["failure"]["code"] == "timeout"
        and "Unschedulable" in result["msg"]
        and "Insufficient cpu" in result["msg"]
    )


def test_an_unknown_field_is_told_with_the_nearest_known_one(namespace: Lab) -> None:
    wrong = deployment({**IDLE})
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Never"
    result = namespace.module("manifests", definition=[wrong])
    assert result["failure"]["code"] == "invalid_object" and result["failure"]["hint"].endswith(
        "containers.imagePullPolicy?"
    ), result
    route = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"hosts": ["web"], "htpp": []},
    }
    result = namespace.module("manifests", definition=[route])
    assert result["failure"]["code"] == "invalid_object" and result["failure"]["hint"] == "Did you mean spec.http?", (
        result
    )


def test_a_long_wait_shows_what_it_waits_for_and_ends_in_the_same_result(namespace: Lab, tmp_path: Path) -> None:
    slow = {
        **IDLE,
        "readinessProbe": {"exec": {"command": ["/usr/local/bin/standin", "--no-such-flag"]}, "initialDelaySeconds": 1},
    }
    conditions = [{"kind": "Deployment", "query": "metadata.annotations.late"}]
    task = {
        "servicemesh.istio.manifests": {"definition": [deployment(IDLE)], "wait_for": conditions, "wait_timeout": 60},
        "register": "done",
    }
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    play["vars"] = {"ansible_python_interpreter": "{{ ansible_playbook_python }}", "servicemesh_progress_seconds": 2}
    playbook = tmp_path / "slow.yml"
    playbook.write_text(yaml.safe_dump([play]))
    timer = threading.Timer(
        9.0, lambda: namespace.kubectl("-n", NAMESPACE, "annotate", "deployment", "web", "late=yes")
    )
    timer.start()
    played = namespace.play(playbook, "--diff").ok()
    timer.join()
    assert "s: waiting for Deployment proof-waiting/web: metadata.annotations.late is not true" in played.text
    (result,) = played.of("manifests")
    assert (
        result["changed"]
        and result["summary"]["created"] == 1
        and result["objects"][0]["action"] == "created"
        and result["objects"][0]["status"] == "Current"
    )
    assert len(result["diff"]) == 1 and "waiting" not in result and "_progress" not in str(result)
    never = namespace.module("manifests", definition=[deployment(slow)], wait_timeout=5)
    assert never["failure"]["code"] == "timeout"
