# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json

import builders
import pytest

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "server", "image": "web:1"}]}}
SIDECAR = {"name": "istio-proxy", "image": "proxy:1"}


def deployment(name="web"):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": copy.deepcopy(TEMPLATE)},
    }


def replica_set(name, revision, owner="web"):
    owners = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": owner, "controller": True, "uid": "x"}]
    metadata = {
        "name": name,
        "namespace": "shop",
        "ownerReferences": owners,
        "annotations": {"deployment.kubernetes.io/revision": str(revision)},
    }
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": {}}


def pod(name, owner=("ReplicaSet", "web-1"), sidecar="", labels=None, **spec):
    owners = (
        [{"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "controller": True, "uid": "x"}] if owner else []
    )
    containers = [{"name": "server"}, *([SIDECAR] if sidecar == "container" else [])]
    native = {"initContainers": [SIDECAR]} if sidecar == "native" else {}
    metadata = {"name": name, "namespace": "shop", "labels": labels or {}, "ownerReferences": owners}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": containers, **native, **spec},
        "status": {"phase": "Running"},
    }


def put(api, *objects):
    for obj in objects:
        stored = api.put(obj)
        live = api.get(obj["kind"], obj["metadata"]["name"], "shop")
        live["metadata"].update({key: obj["metadata"][key] for key in ("ownerReferences",) if key in obj["metadata"]})
        if "status" in obj:
            live["status"] = obj["status"]
        assert stored


def test_labels_are_set_and_taken_off(run, api):
    assert run("namespace", name="shop", injection="enabled")["changed"]
    assert api.get("Namespace", "shop")["metadata"]["labels"] == {"istio-injection": "enabled"}
    assert not run("namespace", name="shop", injection="enabled")["changed"]
    assert run("namespace", name="shop", revision="canary")["changed"]
    assert api.get("Namespace", "shop")["metadata"]["labels"] == {"istio.io/rev": "canary"}
    assert run("namespace", name="shop", state="absent")["changed"]
    assert not api.get("Namespace", "shop")["metadata"].get("labels")


def test_both_labels_are_refused_before_anything_is_changed(run, api):
    assert run("namespace", name="shop", injection="enabled", revision="canary")["failure"]["code"] == "both_labels"
    api.put(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "shop", "labels": {"istio-injection": "enabled"}},
        },
        manager="kubectl-label",
    )
    before = copy.deepcopy(api.objects)
    result = run("namespace", name="shop", revision="canary")
    assert (
        result["failure"]["code"] == "both_labels" and "kubectl label namespace shop istio-injection-" in result["msg"]
    )
    assert api.objects == before


def test_native_sidecars_count_and_host_network_and_opted_out_pods_are_not_expected(run, api):
    put(api, deployment(), replica_set("web-1", 1), pod("a", sidecar="native"), pod("b", sidecar="container"))
    put(api, pod("c", labels={"sidecar.istio.io/inject": "false"}), pod("d", hostNetwork=True), pod("e"))
    result = run("namespace", name="shop", injection="enabled")
    assert result["pods"] == {"enrolled": 2, "expected": 3, "total": 5}
    assert result["missing_sidecar"] == [
        {"kind": "Deployment", "name": "web", "namespace": "shop", "pods": ["e"], "restartable": True}
    ]


def test_restart_touches_only_workloads_whose_current_pods_lack_the_sidecar(run, api):
    put(
        api,
        deployment(),
        replica_set("web-1", 1),
        pod("a"),
        deployment("done"),
        replica_set("done-1", 1, "done"),
        pod("b", ("ReplicaSet", "done-1"), sidecar="native"),
    )
    put(api, pod("bare", owner=None))
    planned = run("namespace", check=True, name="shop", injection="enabled", restart_missing_sidecar=True)
    assert [row["ref"]["name"] for row in planned["objects"]] == ["shop", "web"]
    assert "annotations" not in api.get("Deployment", "web", "shop")["spec"]["template"]["metadata"]
    done = run("namespace", name="shop", injection="enabled", restart_missing_sidecar=True)
    assert done["changed"]
    assert (
        "servicemesh.istio/restartedAt"
        in api.get("Deployment", "web", "shop")["spec"]["template"]["metadata"]["annotations"]
    )
    assert "annotations" not in api.get("Deployment", "done", "shop")["spec"]["template"]["metadata"]
    assert [row["name"] for row in done["missing_sidecar"] if not row["restartable"]] == ["bare"]


def test_a_restart_under_way_is_not_started_again(run, api):
    put(api, deployment(), replica_set("web-1", 1), replica_set("web-2", 2), pod("old"))
    assert run("namespace", name="shop", injection="enabled", restart_missing_sidecar=True)["missing_sidecar"] == []


def test_a_restart_survives_those_who_apply_the_whole_workload(run, api):
    run("manifests", definition=[deployment()])
    put(api, replica_set("web-1", 1), pod("a"))
    run("namespace", name="shop", injection="enabled", restart_missing_sidecar=True)
    again = run("manifests", definition=[deployment()])
    assert not again["changed"]
    assert (
        "servicemesh.istio/restartedAt"
        in api.get("Deployment", "web", "shop")["spec"]["template"]["metadata"]["annotations"]
    )


@pytest.mark.parametrize("delete", [False, True])
def test_absent_deletes_the_namespace_only_if_told(run, api, delete):
    run("namespace", name="shop", injection="enabled")
    run("namespace", name="shop", state="absent", delete=delete)
    assert (api.get("Namespace", "shop") is None) == delete


def test_workloads_of_another_revision_are_restarted_when_the_tag_has_moved(run, api):
    api.put(builders.injector("1-30-4"))
    api.put(builders.injector("1-31-0"))
    api.put(builders.injector("1-31-0", "stable"))
    put(api, deployment(), deployment("fresh"), replica_set("web-1", 1), replica_set("fresh-1", 1, "fresh"))
    for name, owner, revision in (("a", "web-1", "1-30-4"), ("b", "fresh-1", "1-31-0"), ("bare", "", "1-30-4")):
        made = pod(name, ("ReplicaSet", owner) if owner else None, "native")
        made["metadata"]["annotations"] = {"sidecar.istio.io/status": json.dumps({"revision": revision})}
        put(api, made)
        api.get("Pod", name, "shop")["metadata"]["annotations"] = made["metadata"]["annotations"]
    assert "stale" not in run("namespace", name="shop", revision="stable")
    found = run("namespace", check=True, name="shop", revision="stable", restart_stale_sidecar=True)
    assert [(row["kind"], row["name"], row["restartable"]) for row in found["stale"]] == [
        ("Pod", "bare", False),
        ("Deployment", "web", True),
    ]
    done = run("namespace", name="shop", revision="stable", restart_stale_sidecar=True, wait=False)
    restarted = [row["ref"]["name"] for row in done["objects"] if row["ref"]["kind"] == "Deployment"]
    assert restarted == ["web"] and done["changed"]
