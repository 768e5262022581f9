# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: what would change, found with as few questions as possible, and refused before anything is written."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine import cluster as clusters
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import Ref
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning import diff
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.api_errors import failure_of
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.change import ApplyOptions
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.plan import plan, plan_removal
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.steps import Step
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure, InvalidOption
from builders import config, definition, deployment, namespace, service

CONFIG_MAPS = "/api/v1/namespaces/shop/configmaps"
TELEMETRY = {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": "t", "namespace": "shop"}}


@pytest.fixture
def cluster(api):
    return Cluster(api)


@pytest.fixture
def planned(cluster):
    return lambda *objects, **rules: plan(cluster, [Step("objects", list(objects))], ApplyOptions(**rules))


def actions(result):
    return {change.ref.name: change.action for change in result.changes}


def have(cluster, *objects):
    for obj in objects:
        cluster.apply(obj)
    cluster.api.requests.clear()


def test_what_is_as_wanted_is_found_in_lists_alone(cluster, planned):
    have(cluster, config("a", x="1"), config("b", x="1"), config("c", x="1"))
    result = planned(config("a", x="1"), config("b", x="1"), config("c", x="1"))
    assert result.empty and result.dry_runs == 0
    assert [request for request in cluster.api.requests if request[1].startswith(CONFIG_MAPS)] == [("GET", CONFIG_MAPS)]


def test_few_objects_are_read_by_name(cluster, planned):
    have(cluster, config("a", x="1"), config("b", x="1"))
    assert planned(config("a", x="1"), config("b", x="1")).empty
    assert ("GET", CONFIG_MAPS) not in cluster.api.requests and ("GET", f"{CONFIG_MAPS}/a") in cluster.api.requests


def test_who_may_not_list_reads_by_name(cluster, planned):
    have(cluster, config("a", x="1"), config("b", x="1"), config("c", x="1"))
    cluster.api.faults[("GET", CONFIG_MAPS)] = [ApiError(403, "Forbidden", "may not list")]
    result = planned(config("a", x="1"), config("b", x="2"), config("c", x="1"))
    assert actions(result) == {"a": "unchanged", "b": "configured", "c": "unchanged"}


def test_long_lists_come_in_pages(cluster, planned, monkeypatch):
    monkeypatch.setattr(clusters, "PAGE", 2)
    names = [f"n{number}" for number in range(5)]
    have(cluster, *(config(name, x="1") for name in names))
    assert planned(*(config(name, x="1") for name in names)).empty
    assert cluster.api.requests.count(("GET", CONFIG_MAPS)) == 3


def test_only_what_differs_is_asked_about(cluster, planned):
    have(cluster, config("a", x="1"), config("b", x="1"), config("c", x="1"))
    result = planned(config("a", x="1"), config("b", x="2"), config("c", x="1"), config("d", x="1"))
    assert (
        actions(result) == {"a": "unchanged", "b": "configured", "c": "unchanged", "d": "created"}
        and result.dry_runs == 2
    )
    assert cluster.api.writes() == []


def test_asking_about_every_object_gives_the_same_plan(cluster, planned):
    have(cluster, config("a", x="1"), config("b", x="1"))
    wanted = (config("a", x="1"), config("b", x="2"))
    assert actions(planned(*wanted, dry_run_all=True)) == actions(planned(*wanted))
    assert planned(*wanted, dry_run_all=True).dry_runs == 2


def test_of_many_new_objects_one_of_each_shape_is_asked_about(cluster, planned, monkeypatch):
    monkeypatch.setattr(diff, "ASKED_ONE_BY_ONE", 3)
    new = [config(f"n{number}", x=str(number)) for number in range(4)] + [config("other", y="1")]
    result = planned(*new)
    assert result.dry_runs == 2 and set(actions(result).values()) == {"created"} and result.unverified == {}
    assert planned(*new, tolerate_missing=True).dry_runs == 5, "in check mode nothing else would find a mistake"


def test_somebody_elses_change_of_our_field_is_drift(cluster, planned):
    have(cluster, config("a", x="1"))
    cluster.api.put(config("a", x="theirs"), manager="kubectl-edit")
    with pytest.raises(Failure) as refused:
        planned(config("a", x="1"))
    assert refused.value.code == "conflict" and "kubectl-edit" in refused.value.message
    assert actions(planned(config("a", x="1"), force=True)) == {"a": "configured"}


def test_new_objects_of_a_release_need_no_dry_run_and_in_check_mode_have_one(cluster):
    have(cluster, config("a", x="1"))
    steps = [
        Step("base", [config("a", x="2"), config("b", x="1")], skip_dry_run=True),
        Step("rest", [config("c", x="1")]),
    ]
    result = plan(cluster, steps, ApplyOptions())
    assert actions(result) == {"a": "configured", "b": "created", "c": "created"} and result.dry_runs == 2
    assert (
        plan(cluster, steps, ApplyOptions(tolerate_missing=True)).dry_runs
        == 3
        == plan(cluster, steps, ApplyOptions(dry_run_all=True)).dry_runs
    )


def test_a_field_that_is_wanted_and_somebody_elses_alike_gets_a_second_owner(cluster, planned):
    cluster.api.put(config("a", x="1"), manager="somebody")
    (change,) = planned(config("a", x="1")).changes
    assert change.action == "configured" and "takes ownership" in change.message


def test_fields_that_are_left_to_a_manager_are_no_conflict(cluster, planned):
    cluster.api.put(config("a", x="theirs"), manager="pilot-discovery")
    have(cluster, config("a", y="1"))
    assert planned(config("a", x="ours", y="1"), ignore_managers=frozenset({"pilot-discovery"})).empty


def test_every_conflict_is_told_at_once(cluster, planned):
    for name, manager in (("a", "kiali"), ("b", "helm")):
        cluster.api.put(config(name, x="theirs"), manager=manager)
    with pytest.raises(Failure) as refused:
        planned(config("a", x="1"), config("b", x="1"))
    assert (
        "ConfigMap shop/a .data.x is owned by kiali" in refused.value.message
        and "ConfigMap shop/b .data.x is owned by helm" in refused.value.message
    )


def test_a_conflict_is_planned_as_if_forced_where_a_plan_is_all_that_is_wanted(cluster, planned):
    cluster.api.put(config("a", x="theirs"), manager="kiali")
    result = planned(config("a", x="1"), tolerate_missing=True)
    (change,) = result.changes
    assert (
        change.action == "configured" and change.planned["data"] == {"x": "1"} and "owned by kiali" in result.conflicts
    )


def test_what_waits_for_a_namespace_of_the_same_plan_is_created_unverified(planned):
    result = planned(namespace("later"), config("a", "later", x="1"))
    change = next(change for change in result.changes if change.ref.name == "a")
    assert (change.action, change.verified, result.dry_runs) == ("created", False, 1)
    assert list(result.unverified) == [diff.NO_NAMESPACE]


def test_what_waits_for_a_definition_of_the_same_plan_is_created_unverified(cluster, planned):
    cluster.api.kinds = [kind for kind in cluster.api.kinds if kind.kind != "Telemetry"]
    result = planned(definition("telemetries", "Telemetry", "telemetry.istio.io"), TELEMETRY)
    assert actions(result) == {"telemetries.telemetry.istio.io": "created", "t": "created"} and list(
        result.unverified
    ) == [diff.NO_KIND]


def test_a_kind_that_nobody_serves_is_refused(cluster, planned):
    cluster.api.kinds = [kind for kind in cluster.api.kinds if kind.kind != "Telemetry"]
    with pytest.raises(Failure) as refused:
        planned(TELEMETRY)
    assert refused.value.code == "unknown_kind" and "telemetry.istio.io/v1" in refused.value.message
    assert actions(planned(TELEMETRY, tolerate_missing=True)) == {"t": "created"}


def test_an_object_that_is_being_deleted_is_waited_for(cluster, planned):
    have(cluster, config("a", x="1"))
    cluster.api.feed("ConfigMap", "a", "shop", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    with pytest.raises(Failure) as refused:
        planned(config("a", x="1"))
    assert refused.value.code == "object_terminating"


def test_a_webhook_that_does_not_answer_leaves_an_object_unverified(cluster, planned):
    cluster.api.faults[("PATCH", f"{CONFIG_MAPS}/a?dryRun")] = [
        ApiError(500, "InternalError", 'failed calling webhook "x"')
    ]
    (change,) = planned(config("a", x="1")).changes
    assert (change.action, change.verified) == ("created", False) and "webhook" in change.message


def test_objects_are_placed_where_their_kind_belongs(planned):
    bare = config("a", x="1")
    del bare["metadata"]["namespace"]
    with pytest.raises(InvalidOption, match="has no namespace"):
        planned(bare)
    (change,) = planned(bare, namespace="shop").changes
    assert change.ref.namespace == "shop"
    assert actions(planned(namespace("later"), namespace="shop")) == {"later": "created"}
    wrong = namespace("later")
    wrong["metadata"]["namespace"] = "shop"
    with pytest.raises(InvalidOption) as refused:
        planned(wrong)
    assert refused.value.code == "wrong_scope"


def test_one_object_may_be_in_two_steps_but_not_twice_in_one(cluster):
    with pytest.raises(InvalidOption, match="duplicate object"):
        plan(cluster, [Step("one", [config("a"), config("a")])], ApplyOptions())
    assert (
        len(
            plan(
                cluster, [Step("one", [config("a", x="1")]), Step("two", [config("a", x="2")])], ApplyOptions()
            ).changes
        )
        == 2
    )


def test_stages_go_by_kind(planned):
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "hook"},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "account", "namespace": "shop"}}
    (step,) = planned(
        hook,
        TELEMETRY,
        deployment(),
        service("web"),
        config("map"),
        account,
        definition("things", "Thing", "example.com"),
        namespace("later"),
    ).steps
    kinds = [sorted(change.ref.kind for change in stage) for stage in step.stages]
    assert kinds == [
        ["Namespace"],
        ["CustomResourceDefinition"],
        ["ServiceAccount"],
        ["ConfigMap", "Service"],
        ["Deployment"],
        ["Telemetry"],
        ["MutatingWebhookConfiguration"],
    ]


def test_removal_goes_the_other_way_and_leaves_out_what_is_gone(cluster):
    have(cluster, config("map", x="1"), deployment())
    result = plan_removal(cluster, [config("map"), config("gone"), deployment()])
    assert [[change.ref.kind for change in step.deletions] for step in result.steps] == [["Deployment"], ["ConfigMap"]]


def test_removal_of_a_kind_that_nobody_serves_is_done_already(cluster):
    cluster.api.kinds = [kind for kind in cluster.api.kinds if kind.kind != "Telemetry"]
    assert plan_removal(cluster, [TELEMETRY]).empty


# The server's words, from real refusals.
@pytest.mark.parametrize(
    ("status", "reason", "message", "causes", "code"),
    [
        (0, "Unreachable", "connection refused", [], "unreachable"),
        (429, "TooManyRequests", "slow down", [], "unreachable"),
        (503, "ServiceUnavailable", "", [], "unreachable"),
        (504, "Timeout", "", [], "unreachable"),
        (401, "Unauthorized", "Unauthorized", [], "unauthorized"),
        (403, "Forbidden", 'configmaps is forbidden: User "x" cannot patch', [], "forbidden"),
        (403, "Forbidden", "being terminated", [{"reason": "NamespaceTerminating"}], "object_terminating"),
        (404, "NotFound", 'namespaces "later" not found', [], "namespace_missing"),
        (422, "Invalid", "spec.selector: field is immutable", [], "immutable"),
        (422, "Invalid", "cannot change roleRef", [], "immutable"),
        (422, "Invalid", "spec.ports: Required value", [], "invalid_object"),
        (400, "BadRequest", 'strict decoding error: unknown field "spec.x"', [], "invalid_object"),
        (500, "InternalError", 'failed calling webhook "validation.istio.io"', [], "webhook_unavailable"),
        (500, "InternalError", "failed to create typed patch object", [], "invalid_object"),
        (404, "NotFound", "404 page not found", [], "unknown_kind"),
        (404, "NotFound", "the server could not find the requested resource", [], "unknown_kind"),
        (409, "Conflict", "the object has been modified", [], "resource_version_conflict"),
        (
            409,
            "Conflict",
            "Apply failed with 1 conflict",
            [{"reason": "FieldManagerConflict", "message": 'conflict with "x"', "field": ".a"}],
            "conflict",
        ),
        (405, "MethodNotAllowed", "", [], "api_rejected"),
    ],
)
def test_each_refusal_has_its_code_and_names_the_object(status, reason, message, causes, code):
    kind = {"kind": "namespaces"} if message.startswith("namespaces") else {}
    failure = failure_of(
        ApiError(status, reason, message, {"causes": causes, **kind}), Ref("", "ConfigMap", "shop", "a"), "v1"
    )
    assert (
        failure.code == code
        and failure.message.startswith("ConfigMap shop/a: ")
        and failure.ref["name"] == "a"
        and failure.ref["version"] == "v1"
    )


def test_by_value_what_has_every_value_is_left_to_its_owners(cluster, planned):
    cluster.api.put(config("theirs", x="1", y="2"))
    have(cluster, config("ours", x="1", y="2"))
    cluster.api.put(config("ours", z="3"), manager="other")
    assert actions(planned(config("theirs", x="1"), config("ours", x="1", y="2", z="3"), values_only=True)) == {
        "theirs": "unchanged",
        "ours": "unchanged",
    }
    assert actions(planned(config("theirs", x="1"))) == {"theirs": "configured"}, "else its fields become ours, too"
    assert actions(planned(config("theirs", x="2"), config("ours", x="1"), values_only=True, force=True)) == {
        "theirs": "configured",
        "ours": "configured",
    }
