# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying a plan out: in order, with what must hold in between, and telling what became of it also where it stops."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine import apply as applying
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.apply import apply
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.change import ApplyOptions
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.plan import plan, plan_removal
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.result import outcome
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.steps import Barrier, Step
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.deadline import Deadline
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from builders import config, definition, deployment, namespace, service
from memory_api import KINDS, nothing

CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"
TELEMETRY = {
    "apiVersion": "telemetry.istio.io/v1",
    "kind": "Telemetry",
    "metadata": {"name": "t", "namespace": "shop"},
    "spec": {"a": 1},
}


@pytest.fixture
def cluster(api):
    return Cluster(api)


def carry_out(cluster, steps, force=False, seconds=5, said=None, **rules):
    """The plan, after it was applied."""
    found = plan(cluster, steps, ApplyOptions(force=force, **rules))
    apply(cluster, found, force, Deadline(seconds), said if said is not None else [])
    return found


def written(api):
    return [path.rpartition("/")[2] for _method, path in api.writes()]


def barrier(api, name="held", seen=None):
    def hold(_cluster, _deadline):
        if seen is not None:
            seen.append(list(written(api)))
        return f"{name} was seen"

    return Barrier(name, hold)


def test_a_barrier_is_held_between_its_step_and_the_next(cluster, api):
    seen, said = [], []
    carry_out(
        cluster,
        [Step("one", [config("a", x="1")], barrier=barrier(api, seen=seen)), Step("two", [config("b", x="1")])],
        said=said,
    )
    assert seen == [["a"]] and written(api) == ["a", "b"] and said == ["held was seen"]


def test_a_barrier_that_cannot_hold_stops_before_the_next_step(cluster, api):
    def hold(_cluster, _deadline):
        raise Failure("proxies_not_synced", "no")

    found = plan(
        cluster,
        [Step("one", [config("a", x="1")], barrier=Barrier("b", hold)), Step("two", [config("b", x="1")])],
        ApplyOptions(),
    )
    with pytest.raises(Failure):
        apply(cluster, found, False, Deadline(5), [])
    assert written(api) == ["a"]
    assert [row["action"] for row in outcome([found], False, failed=True)["objects"]] == ["created", "pending"]


def test_where_nothing_changes_no_barrier_is_held(cluster, api):
    steps = [Step("one", [config("a", x="1")], barrier=barrier(api))]
    carry_out(cluster, steps)
    said = []
    carry_out(cluster, steps, said=said)
    assert said == []


def test_what_an_earlier_run_left_open_is_held_again(cluster, api):
    carry_out(cluster, [Step("one", [config("a", x="1")])])
    said = []
    carry_out(
        cluster, [Step("one", [config("a", x="1")], barrier=barrier(api)), Step("two", [config("b", x="1")])], said=said
    )
    assert said == ["held was seen"], "step one is unchanged, but the run goes on from it"


def test_a_step_that_must_be_ready_is_waited_for(cluster, api):
    api.controllers["Deployment"] = nothing
    threading.Timer(
        0.1,
        lambda: api.feed(
            "Deployment",
            "web",
            "shop",
            status=dict.fromkeys(
                ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "observedGeneration"), 1
            ),
        ),
    ).start()
    carry_out(cluster, [Step("one", [deployment()], wait_ready=True), Step("two", [config("b", x="1")])])
    assert written(api) == ["web", "b"] and api.get("Deployment", "web", "shop")["status"]["readyReplicas"] == 1


def test_stages_of_a_step_follow_each_other(cluster, api):
    api.requests.clear()
    carry_out(cluster, [Step("one", [deployment(), service("front"), namespace("later"), config("a", x="1")])])
    order = written(api)
    assert order[0] == "later" and set(order[1:3]) == {"front", "a"} and order[3] == "web"


def test_a_stage_that_fails_ends_before_the_next_and_tells_of_its_neighbours(cluster, api):
    api.faults[("PATCH", f"{CONFIG_MAPS}/b")] = [ApiError(422, "Invalid", "data: Invalid value")]
    found = plan(cluster, [Step("one", [config("a", x="1"), config("b", x="1"), deployment()])], ApplyOptions())
    with pytest.raises(Failure) as failed:
        apply(cluster, found, False, Deadline(5), [])
    assert failed.value.code == "invalid_object" and failed.value.ref["name"] == "b"
    result = outcome([found], False, failed=True)
    assert {row["ref"]["name"]: row["action"] for row in result["objects"]} == {
        "a": "created",
        "b": "failed",
        "web": "pending",
    }
    assert result["changed"] and [part["after_header"] for part in result["diff"]] == ["ConfigMap shop/a (created)"]
    assert api.get("Deployment", "web", "shop") is None


def test_a_conflict_that_came_after_the_plan_is_told(cluster, api):
    found = plan(cluster, [Step("one", [config("a", x="1")])], ApplyOptions())
    api.put(config("a", x="theirs"), manager="kiali")
    with pytest.raises(Failure):
        apply(cluster, found, False, Deadline(5), [])
    (change,) = found.changes
    assert change.action == "failed" and change.conflicts == [{"field": ".data.x", "manager": "kiali"}]


def test_deletions_of_a_step_come_after_its_barrier(cluster, api):
    carry_out(cluster, [Step("one", [config("old", x="1")])])
    api.requests.clear()
    seen = []
    carry_out(cluster, [Step("one", [config("new", x="1")], barrier=barrier(api, seen=seen), deleted=[config("old")])])
    assert seen == [["new"]] and api.writes()[-1] == ("DELETE", f"{CONFIG_MAPS}/old")


def test_only_the_very_object_that_was_planned_is_deleted(cluster, api):
    carry_out(cluster, [Step("one", [config("a", x="1")])])
    found = plan_removal(cluster, [config("a")])
    api.drop("ConfigMap", "a", "shop")
    api.put(config("a", x="made anew by somebody"))
    with pytest.raises(Failure):
        apply(cluster, found, False, Deadline(5), [])
    assert api.get("ConfigMap", "a", "shop")["data"] == {"x": "made anew by somebody"}


def test_what_is_gone_already_is_deleted(cluster, api):
    carry_out(cluster, [Step("one", [config("a", x="1")])])
    found = plan_removal(cluster, [config("a")])
    api.drop("ConfigMap", "a", "shop")
    apply(cluster, found, False, Deadline(5), [])
    assert found.changes[0].done


def test_a_kind_is_used_as_soon_as_its_definition_is_served(cluster, api):
    api.kinds = [kind for kind in KINDS if kind.kind != "Telemetry"]

    def serve_soon(obj):
        obj["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        threading.Timer(0.05, lambda: setattr(api, "kinds", KINDS)).start()

    api.controllers["CustomResourceDefinition"] = serve_soon
    carry_out(cluster, [Step("one", [TELEMETRY, definition("telemetries", "Telemetry", "telemetry.istio.io")])])
    assert api.get("Telemetry", "t", "shop")


def test_no_object_is_sent_before_its_definition_is_established(cluster, api):
    api.kinds = [kind for kind in KINDS if kind.kind != "Telemetry"]
    api.controllers["CustomResourceDefinition"] = nothing
    with pytest.raises(Failure) as failed:
        carry_out(
            cluster,
            [Step("one", [TELEMETRY, definition("telemetries", "Telemetry", "telemetry.istio.io")])],
            seconds=0.2,
        )
    assert failed.value.code == "timeout" and "is not established yet" in failed.value.message


def test_a_kind_that_never_comes_is_told(cluster, api, monkeypatch):
    monkeypatch.setattr(applying, "SERVED_WITHIN", 0.2)
    api.kinds = [kind for kind in KINDS if kind.kind != "Telemetry"]
    with pytest.raises(Failure) as failed:
        carry_out(cluster, [Step("one", [TELEMETRY])], tolerate_missing=True)
    assert failed.value.code == "unknown_kind"


def test_adopting_reads_again_what_a_controller_has_moved_meanwhile(cluster, api):
    api.put(config("a", x="1", y="2"), manager="helm")
    found = plan(cluster, [Step("one", [config("a", x="1")])], ApplyOptions(adopt=frozenset({"helm"})))
    api.feed("ConfigMap", "a", "shop", metadata={"labels": {"touched": "yes"}})
    apply(cluster, found, False, Deadline(5), [])
    live = api.get("ConfigMap", "a", "shop")
    assert live["data"] == {"x": "1"} and {entry["manager"] for entry in live["metadata"]["managedFields"]} == {
        "servicemesh.istio"
    }


def test_recreating_deletes_before_it_makes_anew(cluster, api):
    carry_out(cluster, [Step("one", [deployment()])])
    before = api.get("Deployment", "web", "shop")["metadata"]["uid"]
    path = "/apis/apps/v1/namespaces/shop/deployments/web"
    api.faults[("PATCH", f"{path}?dryRun")] = [ApiError(422, "Invalid", "spec.selector: field is immutable")] * 2
    with pytest.raises(Failure) as refused:
        plan(cluster, [Step("one", [deployment(image="web:2")])], ApplyOptions())
    assert refused.value.code == "immutable"
    api.requests.clear()
    found = carry_out(cluster, [Step("one", [deployment(image="web:2")])], recreate=True)
    assert [change.action for change in found.changes] == ["recreated"] and [
        method for method, _path in api.writes()
    ] == ["DELETE", "PATCH"]
    assert api.get("Deployment", "web", "shop")["metadata"]["uid"] != before
