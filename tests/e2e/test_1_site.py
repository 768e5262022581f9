# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: from an empty cluster to a running mesh. The tests of this file stand on each other, in order; the way
back is the last of all files.
"""

from __future__ import annotations

import pytest
from playbook_runner import Lab, objects

DEMO = "online-boutique"
WORKLOADS = 12


def pods(lab: Lab) -> dict[str, int]:
    """{uid: restarts} of all pods of the mesh."""
    found = {}
    for namespace in ("istio-system", DEMO):
        for pod in lab.get("pods", "-n", namespace)["items"]:
            statuses = pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
            found[pod["metadata"]["uid"]] = sum(status["restartCount"] for status in statuses)
    return found


@pytest.fixture(scope="module")
def empty(lab: Lab) -> Lab:
    lab.site("-e", "control_plane_delete_in_use=true", playbook="teardown").ok()
    lab.sweep()
    return lab


def test_check_mode_on_an_empty_cluster_lists_everything_and_writes_nothing(empty: Lab) -> None:
    before = objects(empty)
    played = empty.site("--check", "--diff").ok()
    assert objects(empty) == before
    summaries = [
        result["summary"]
        for module in ("control_plane", "namespace", "manifests", "addons", "traffic")
        for result in played.of(module)
    ]
    assert all(summary["created"] > 0 and summary["configured"] == 0 for summary in summaries)
    names = {
        row["ref"]["name"]
        for module in ("control_plane", "manifests", "traffic")
        for result in played.of(module)
        for row in result["objects"]
    }
    assert {
        "istiod",
        "istio-ingressgateway",
        "frontend",
        "frontend-v2",
        "loadgenerator",
        "ingress",
        "frontend-any-host",
    } <= names


def test_site_installs_everything(empty: Lab) -> None:
    played = empty.site().ok()
    assert played.changed
    summary = next(
        row["result"]["msg"]
        for row in reversed(played.rows)
        if row["task"] == "Show the summary" and "msg" in row["result"]
    )
    text = "\n".join(summary)
    assert "Istio 1.31.0, revision default, 1/1 istiod ready" in text
    assert f"{DEMO}: 13/13 pods enrolled" in text
    assert "configured: v1 90, v2 10" in text and "of 200 requests via http://" in text and ", 0 failed" in text


def test_istiod_gateway_demo_and_addons_are_ready(empty: Lab) -> None:
    for namespace, names in (
        ("istio-system", {"istiod", "istio-ingressgateway", "prometheus", "grafana", "jaeger", "kiali"}),
        (DEMO, {"frontend", "frontend-v2", "redis-cart", "loadgenerator", "checkoutservice"}),
    ):
        found = {item["metadata"]["name"]: item for item in empty.get("deployments", "-n", namespace)["items"]}
        assert names <= set(found)
        assert all(item["status"].get("readyReplicas") == item["spec"]["replicas"] for item in found.values())


def test_every_demo_pod_has_its_sidecar_and_is_ready(empty: Lab) -> None:
    items = empty.get("pods", "-n", DEMO)["items"]
    assert len({item["metadata"]["labels"]["app"] for item in items}) == WORKLOADS
    for item in items:
        names = [container["name"] for container in item["spec"]["containers"] + item["spec"].get("initContainers", [])]
        assert "istio-proxy" in names
        assert {c["type"]: c["status"] for c in item["status"]["conditions"]}["Ready"] == "True"


def test_a_second_run_changes_and_restarts_nothing(empty: Lab) -> None:
    versions, before = objects(empty), pods(empty)
    played = empty.site().ok()
    assert played.changed == []
    assert objects(empty) == versions
    assert pods(empty) == before
    asked = {
        module: sum(result["summary"]["dry_runs"] for result in played.of(module))
        for module in ("control_plane", "manifests", "namespace", "addons", "traffic")
    }
    assert set(asked.values()) == {0}, f"unchanged objects should need no dry run: {asked}"


def test_check_mode_on_the_converged_mesh_has_no_diff(empty: Lab) -> None:
    played = empty.site("--check", "--diff").ok()
    assert played.changed == []
    assert played.diffs == []


def test_one_field_edited_by_hand_is_exactly_the_diff_and_is_put_back_when_told(empty: Lab) -> None:
    empty.kubectl("-n", DEMO, "set", "env", "deployment/currencyservice", "DISABLE_PROFILER=0")
    seen = empty.site("--check", "--diff").ok()
    assert [(entry["before_header"], entry["before"].split(), entry["after"].split()) for entry in seen.diffs] == [
        (
            f"Deployment {DEMO}/currencyservice",
            *(
                f"spec: template: spec: containers: - env: - name: DISABLE_PROFILER value: '{value}' name: server".split()
                for value in "01"
            ),
        )
    ]
    assert "kubectl" in str(seen.of("manifests")[0]["warnings"])
    refused = empty.site("--tags", "demo")
    assert refused.of("manifests")[0]["failure"]["code"] == "conflict" and "DISABLE_PROFILER" in refused.text
    empty.site("--tags", "demo", "-e", "demo_force_conflicts=true").ok()
    assert empty.site("--tags", "demo").ok().changed == []
