# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import builders
import pytest
from memory_api import ApiError, MemoryApi

RESTARTED = "servicemesh.istio/restartedAt"


def template(revision, tag):
    values = {"global": {"hub": "docker.io/istio", "tag": tag, "proxy": {"image": "proxyv2"}}}
    return {
        **builders.config(f"istio-sidecar-injector-{revision}", "istio-system"),
        "data": {"values": json.dumps(values)},
    }


def running(
    workload,
    revision="1-30-4",
    image="docker.io/istio/proxyv2:1.30.4",
    namespace="shop",
    kind="StatefulSet",
    **annotations,
):
    """A pod of the workload with a sidecar."""
    made = builders.pod(f"{workload}-pod", namespace, sidecar="native")
    made["spec"]["initContainers"] = [{"name": "istio-proxy", "image": image}]
    made["metadata"]["annotations"] = {"sidecar.istio.io/status": json.dumps({"revision": revision}), **annotations}
    made["metadata"]["ownerReferences"] = (
        [{"apiVersion": "apps/v1", "kind": kind, "name": workload, "controller": True, "uid": "x"}] if kind else []
    )
    return made


def workload(name, kind="StatefulSet", namespace="shop", replicas=2):
    obj = {**builders.deployment(name, namespace), "kind": kind}
    obj["spec"] = {**obj["spec"], "replicas": replicas, "serviceName": name}
    obj["status"] = {
        "replicas": replicas,
        "readyReplicas": replicas,
        "updatedReplicas": replicas,
        "currentReplicas": replicas,
        "availableReplicas": replicas,
        "observedGeneration": 1,
    }
    return obj


def budget(allowed, healthy, name="web"):
    spec = {"minAvailable": healthy, "selector": {"matchLabels": {"app": name}}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
        "status": {"disruptionsAllowed": allowed, "expectedPods": 2, "desiredHealthy": healthy},
    }


@pytest.fixture
def api():
    memory = MemoryApi(
        builders.namespace("istio-system"),
        builders.namespace("shop", **{"istio.io/rev": "stable"}),
        builders.injector("1-30-4"),
        builders.injector("1-31-0"),
        builders.injector("1-31-0", "stable"),
        template("1-30-4", "1.30.4"),
        template("1-31-0", "1.31.0"),
    )
    memory.controllers["StatefulSet"] = settled
    return memory


def settled(obj):
    count, generation = obj["spec"]["replicas"], obj["metadata"].get("generation", 1)
    obj["status"] = {
        **{
            key: count
            for key in ("replicas", "readyReplicas", "updatedReplicas", "currentReplicas", "availableReplicas")
        },
        "observedGeneration": generation,
        "currentRevision": "a",
        "updateRevision": "a",
    }


def put(api, *objects):
    for obj in objects:
        api.put(obj)


def restarted(api, *names, kind="StatefulSet"):
    return [
        name
        for name in names
        if RESTARTED in (api.get(kind, name, "shop")["spec"]["template"]["metadata"].get("annotations") or {})
    ]


def test_only_workloads_with_stale_pods_are_restarted(run, api):
    put(
        api,
        workload("old"),
        workload("new"),
        running("old"),
        running("new", "1-31-0", "docker.io/istio/proxyv2:1.31.0"),
        running("job", kind=""),
    )
    planned = run("restart", check=True, namespaces=["shop"])
    assert planned["changed"] and restarted(api, "old", "new") == []
    done = run("restart", namespaces=["shop"])
    assert restarted(api, "old", "new") == ["old"] and builders.actions(done) == builders.actions(planned) == {
        "old": "configured"
    }
    assert [(row["name"], row["restartable"]) for row in done["stale"]] == [("job-pod", False), ("old", True)]


def test_a_pod_of_another_version_of_its_revision_is_stale_and_one_with_its_own_image_is_not(run, api):
    older = "docker.io/istio/proxyv2:1.30.4"
    put(
        api,
        workload("old"),
        workload("own"),
        running("old", "1-31-0", older),
        running("own", "1-31-0", older, **{"sidecar.istio.io/proxyImage": older}),
    )
    assert [row["name"] for row in run("restart", namespaces=["shop"])["stale"]] == ["old"]


def test_stale_against_a_revision_that_the_namespace_does_not_lead_to_yet(run, api):
    put(api, workload("new"), running("new", "1-31-0", "docker.io/istio/proxyv2:1.31.0"))
    assert run("restart", check=True, namespaces=["shop"])["stale"] == []
    assert [row["name"] for row in run("restart", check=True, namespaces=["shop"], revision="1-30-4")["stale"]] == [
        "new"
    ]


def test_gateways_count_unless_told_otherwise(run, api):
    gateway = running("edge")
    gateway["metadata"]["labels"] = {"istio": "ingressgateway"}
    put(api, workload("edge"), gateway)
    assert run("restart", check=True, namespaces=["shop"], gateways=False)["stale"] == []
    assert [row["name"] for row in run("restart", check=True, namespaces=["shop"])["stale"]] == ["edge"]


def test_a_budget_that_no_rollout_can_keep_to_is_refused_before_anything_is_restarted(run, api):
    put(api, workload("aaa"), workload("web"), running("aaa"), running("web"), budget(0, 2))
    result = run("restart", namespaces=["shop"], parallel=1)
    assert result["failure"]["code"] == "disruption_budget" and restarted(api, "aaa", "web") == []


def test_a_restart_waits_until_the_budget_has_room(run, api, monkeypatch):
    put(api, workload("web"), running("web"), budget(0, 1))
    looks = []

    def heal(_self, _seconds):
        assert restarted(api, "web") == []
        looks.append(1)
        api.feed(
            "PodDisruptionBudget",
            "web",
            "shop",
            status={"disruptionsAllowed": 1, "expectedPods": 2, "desiredHealthy": 1},
        )

    monkeypatch.setattr(
        "ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster.Cluster.sleep", heal
    )
    done = run("restart", namespaces=["shop"])
    assert (
        len(looks) == 1
        and restarted(api, "web") == ["web"]
        and done["verified"] == ["disruption budgets allow a restart of web"]
    )


def test_budgets_that_may_not_be_read_are_said_to_be_unknown(run, api):
    put(api, workload("web"), running("web"))
    path = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
    api.faults[("GET", path)] = [ApiError(403, "Forbidden", "no")] * 2
    assert run("restart", namespaces=["shop"])["verified"] == [
        "disruption budgets: unknown, the account may not read them"
    ]


def test_no_more_than_asked_for_are_restarted_at_a_time(run, api):
    names = ["a", "b", "c"]
    put(api, *(workload(name) for name in names), *(running(name) for name in names))
    assert run("restart", check=True, namespaces=["shop"], parallel=1)["summary"]["configured"] == 3
    one_by_one = [f"disruption budgets allow a restart of {name}" for name in names]
    assert run("restart", namespaces=["shop"], parallel=1)["verified"] == one_by_one and restarted(api, *names) == names


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"namespaces": ["nowhere"]}, "no_such_namespace"),
        ({"namespaces": ["shop"], "revision": "1-32-0"}, "no_such_revision"),
        ({"namespaces": ["shop"], "parallel": 0}, "invalid_option"),
    ],
)
def test_what_is_not_there_is_refused(run, api, options, code):
    assert run("restart", **options)["failure"]["code"] == code
