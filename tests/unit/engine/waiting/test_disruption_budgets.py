# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout takes away at once, and what a PodDisruptionBudget has left."""

from __future__ import annotations

import builders
import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting import disruption_budgets
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure


def workload(kind="Deployment", name="web", replicas=2, **strategy):
    obj = {**builders.deployment(name), "kind": kind}
    obj["spec"] = {
        **obj["spec"],
        "replicas": replicas,
        ("strategy" if kind == "Deployment" else "updateStrategy"): strategy,
    }
    return obj


def budget(name="web", allowed=0, expected=2, healthy=2, selector=None):
    spec = {"minAvailable": healthy, "selector": {"matchLabels": {"app": "web"}} if selector is None else selector}
    status = {"disruptionsAllowed": allowed, "expectedPods": expected, "desiredHealthy": healthy}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
        "status": status,
    }


def rolling(**values):
    return {"type": "RollingUpdate", "rollingUpdate": values}


# apps/v1: shares of maxUnavailable are rounded down, of maxSurge up, and where both come to nothing one pod goes.
@pytest.mark.parametrize(
    ("obj", "taken"),
    [
        (workload(replicas=1), 0),
        (workload(replicas=3), 0),
        (workload(replicas=4), 1),
        (workload(replicas=10, **rolling(maxUnavailable="39%")), 3),
        (workload(replicas=10, **rolling(maxUnavailable=0)), 0),
        (workload(replicas=3, **rolling(maxUnavailable=0, maxSurge=0)), 1),
        (workload(replicas=3, **rolling(maxUnavailable="10%", maxSurge="1%")), 0),
        (workload(replicas=2, **rolling(maxUnavailable=5)), 2),
        (workload(replicas=3, type="Recreate"), 3),
        (workload("StatefulSet", replicas=3), 1),
        (workload("StatefulSet", replicas=0), 0),
        (workload("StatefulSet", replicas=3, type="OnDelete"), 0),
        ({**workload("DaemonSet"), "status": {"desiredNumberScheduled": 5}}, 1),
        ({**workload("DaemonSet", **rolling(maxUnavailable="50%")), "status": {"desiredNumberScheduled": 5}}, 2),
    ],
)
def test_what_a_rollout_takes_away(obj, taken):
    assert disruption_budgets.pods_taken_away(obj) == taken


@pytest.mark.parametrize(
    ("budgets", "hopeless"),
    [
        ([], []),
        ([budget(allowed=1)], []),
        ([budget(allowed=0, healthy=1)], [False]),
        ([budget(allowed=0, healthy=2)], [True]),
        ([budget(selector={"matchLabels": {"app": "other"}})], []),
        ([budget(selector={})], [True]),
        ([{**budget(), "spec": {"minAvailable": 1}}], []),
        ([{**budget(), "metadata": {"name": "web", "namespace": "elsewhere"}}], []),
    ],
)
def test_a_budget_that_has_too_little_left(budgets, hopeless):
    assert [
        found.hopeless for found in disruption_budgets.exceeded_budgets([workload("StatefulSet")], budgets)
    ] == hopeless


def test_a_rollout_that_surges_needs_no_budget():
    assert disruption_budgets.exceeded_budgets([workload(replicas=2)], [budget()]) == []


def test_what_waiting_cannot_mend_is_refused_at_once():
    found = disruption_budgets.exceeded_budgets([workload("StatefulSet")], [budget()])
    with pytest.raises(Failure) as refused:
        disruption_budgets.fail_if_exceeded(found)
    assert (
        refused.value.code == "disruption_budget"
        and "the rollout of StatefulSet shop/web removes 1 of its pods at once, PodDisruptionBudget shop/web allows 0"
        in refused.value.message
    )
    disruption_budgets.fail_if_exceeded(
        disruption_budgets.exceeded_budgets([workload("StatefulSet")], [budget(healthy=1)])
    )


def test_batches_are_bounded_and_share_no_budget():
    names = [f"w{number}" for number in range(5)]
    alone = [workload("StatefulSet", name) for name in names]
    assert [[obj["metadata"]["name"] for obj in batch] for batch in disruption_budgets.batches(alone, [], 2)] == [
        ["w0", "w1"],
        ["w2", "w3"],
        ["w4"],
    ]
    both = budget(selector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["w0", "w1"]}]})
    assert [[obj["metadata"]["name"] for obj in batch] for batch in disruption_budgets.batches(alone, [both], 3)] == [
        ["w0", "w2", "w3"],
        ["w1", "w4"],
    ]
