# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of many hosts in one variable."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.steps import Step
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic import bulk_policy
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.step_names import StepName
from builders import pod, service
from fake_istiod import FakeIstiod

SPLIT = {"split": {"versions": {"v1": 9, "v2": 1}}}
LIMITS = {
    "resilience": {"timeout": "2s", "outlier_detection": {"consecutive_5xx_errors": 3}},
    "load_balancing": {"algorithm": "random"},
}


@pytest.fixture
def shop(api):
    for name in ("frontend", "cart"):
        api.put(service(name))
        for version in ("v1", "v2"):
            api.put(pod(f"{name}-{version}", labels={"app": name, "version": version}))
    return api


@pytest.fixture
def traffic(run, shop):
    def call(policy, check=False, **options):
        return run("traffic", check=check, policy={"shop": policy}, **options)

    return call


def names(api):
    return sorted(
        (kind, name)
        for _group, kind, namespace, name in api.objects
        if namespace == "shop" and kind in ("VirtualService", "DestinationRule")
    )


BOTH = [
    ("DestinationRule", "cart"),
    ("DestinationRule", "frontend"),
    ("VirtualService", "cart"),
    ("VirtualService", "frontend"),
]


def test_create_change_prune_and_delete_each_also_in_check_mode_and_again(shop, traffic):
    for policy, there in (
        ({"frontend": SPLIT, "cart": LIMITS}, BOTH),
        ({"cart": LIMITS}, [BOTH[0], BOTH[2]]),
        ({}, []),
    ):
        before = copy.deepcopy(shop.objects)
        planned = traffic(policy, check=True, prune=True)
        assert planned["changed"] and shop.objects == before
        done = traffic(policy, prune=True)
        assert done["changed"] and done["diff"] == planned["diff"] and names(shop) == there
        again = traffic(policy, prune=True)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)


def test_without_prune_what_left_the_policy_stays(shop, traffic):
    traffic({"frontend": SPLIT, "cart": LIMITS})
    assert not traffic({"frontend": SPLIT})["changed"] and names(shop) == BOTH
    assert traffic({"frontend": SPLIT, "cart": {}})["changed"] and names(shop) == [
        BOTH[1],
        BOTH[3],
    ], "said to have none"


def test_a_concern_that_left_goes_and_what_a_single_module_said_too(shop, traffic, run):
    traffic({"frontend": {**SPLIT, **LIMITS}})
    run("fault", service="frontend", namespace="shop", delay="2s")
    assert traffic({"frontend": SPLIT})["changed"]
    obj = shop.get("VirtualService", "frontend", "shop")
    assert "fault" not in obj["spec"]["http"][0] and "timeout" not in obj["spec"]["http"][0]
    assert not run("traffic_split", service="frontend", namespace="shop", **SPLIT["split"])["changed"], (
        "both say the same in the same words"
    )


def test_a_host_stays_in_its_set_whatever_single_modules_say(shop, traffic, run):
    traffic({"frontend": SPLIT})
    run("fault", service="frontend", namespace="shop", delay="2s")
    run("traffic_split", service="cart", namespace="shop", **SPLIT["split"])
    assert traffic({"cart": {}}, set="another", prune=True, check=True)["summary"]["pruned"] != 0, "said to have none"
    assert traffic({}, set="another", prune=True)["changed"] is False
    assert traffic({}, prune=True)["summary"]["pruned"] == 2 and names(shop) == [BOTH[0], BOTH[2]]


def test_prune_leaves_alone_what_is_not_ours_and_other_namespaces(shop, traffic, api):
    theirs = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "theirs", "namespace": "shop"},
        "spec": {"hosts": ["theirs"], "http": []},
    }
    api.put(theirs)
    traffic({"frontend": SPLIT})
    assert traffic({}, prune=True)["summary"]["pruned"] == 2 and names(shop) == [("VirtualService", "theirs")]


def test_any_host_goes_with_its_twin(shop, traffic, api):
    api.put(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "ingress", "namespace": "shop"},
            "spec": {},
        }
    )
    everywhere = {"split": {"versions": {"v1": 1}, "gateways": ["shop/ingress"], "gateway_hosts": ["*"]}}
    traffic({"frontend": everywhere})
    assert names(shop) == [("DestinationRule", "frontend"), ("VirtualService", "frontend-any-host")]
    assert traffic({}, prune=True)["summary"]["pruned"] == 2 and names(shop) == []


def test_subsets_of_all_hosts_come_before_routes_and_proxies_are_asked_in_between(shop, traffic):
    FakeIstiod(shop)
    shop.requests.clear()
    result = traffic({"frontend": SPLIT, "cart": SPLIT})
    told = []
    for method, path in shop.requests:
        word = "asked" if method == "ASK" else path.rsplit("/", 2)[1]
        if (method == "ASK" or (method, path) in shop.writes()) and told[-1:] != [word]:
            told.append(word)
    assert told == ["configmaps", "destinationrules", "asked", "virtualservices", "asked"]
    assert len(result["verified"]) == 2 and all(one.count("in sync") == 2 for one in result["verified"])


@pytest.mark.parametrize(
    ("policy", "code", "named"),
    [
        ({"frontend": {"spilt": {}}}, "unknown_feature", "policy.shop.frontend"),
        ({"frontend": {"split": {"version": {"v1": 1}}}}, "options_invalid", "version"),
        ({"frontend": {"split": {}}}, "options_invalid", "versions"),
        ({"frontend": {"split": {"versions": {"v1": -1}}}}, "weight_negative", "policy.shop.frontend.split.versions"),
        ({"frontend": {"split": {"versions": {"v3": 1}}}}, "no_pods", "v3"),
        ({"frontend": SPLIT, "frontend.shop.svc.cluster.local": SPLIT}, "host_twice", "policy.shop.frontend"),
        (
            {"frontend": SPLIT, "cart": {"fault": {"delay": "soon"}}},
            "duration_invalid",
            "policy.shop.cart.fault.delay.by",
        ),
        ({"frontend": []}, "options_invalid", "policy.shop.frontend"),
        ({"nowhere": SPLIT}, "no_such_host", "nowhere"),
    ],
)
def test_what_cannot_be_meant_is_named_and_nothing_is_written(shop, traffic, policy, code, named):
    before = copy.deepcopy(shop.objects)
    refused = traffic(policy)
    assert refused["failure"]["code"] == code and named in refused["msg"] and shop.objects == before


def test_no_step_of_a_host_is_lost_among_those_of_many():
    known, unknown = Step(StepName.SUBSETS, [{"kind": "one"}]), Step("afterwards", [{"kind": "two"}])
    assert [step.name for step in bulk_policy.merge_steps([[known], [known]])] == ["subsets"]
    with pytest.raises(ValueError, match="afterwards"):
        bulk_policy.merge_steps([[known], [unknown]])
