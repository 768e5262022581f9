# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that each say one concern of a host: what one of them says never takes away what another said."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host_policy import MANAGED
from fake_istiod import FakeIstiod

CONCERNS = {
    "traffic_split": ({"versions": {"v1": 1}}, {"versions": {"v1": 9, "v2": 1}}),
    "route": (
        {"rules": [{"match": {"path": "/a"}, "to": "v2"}]},
        {"rules": [{"match": {"path": "/b"}, "direct_response": 404}]},
    ),
    "fault": ({"delay": "2s"}, {"abort": {"grpc": "UNAVAILABLE", "percent": 5}, "match": {"path": "/a"}}),
    "resilience": (
        {"timeout": "2s", "outlier_detection": {"consecutive_5xx_errors": 3}},
        {"retries": {"attempts": 0}, "outlier_detection": {"consecutive_5xx_errors": 4}},
    ),
    "load_balancing": ({"algorithm": "random"}, {"consistent_hash": {"header": "x-user"}}),
}


@pytest.fixture
def say(run, shop):
    def call(concern, check=False, **options):
        return run(concern, check=check, service="frontend", namespace="shop", **options)

    return call


def spec(api, kind):
    obj = api.get(kind, "frontend", "shop")
    return obj and copy.deepcopy(obj["spec"])


@pytest.mark.parametrize("concern", CONCERNS)
def test_create_change_and_delete_each_also_in_check_mode_and_again(shop, say, concern):
    for number, options in enumerate(CONCERNS[concern]):
        before = copy.deepcopy(shop.objects)
        planned = say(concern, check=True, **options)
        assert planned["changed"] and shop.objects == before
        done = say(concern, **options)
        assert done["changed"] and done["diff"] == planned["diff"], number
        again = say(concern, **options)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)
    before = copy.deepcopy(shop.objects)
    assert say(concern, state="absent", check=True)["changed"] and shop.objects == before
    assert say(concern, state="absent")["summary"]["pruned"]
    assert spec(shop, "VirtualService") is None and spec(shop, "DestinationRule") is None
    assert not say(concern, state="absent")["changed"]


@pytest.mark.parametrize("concern", CONCERNS)
def test_a_concern_that_goes_leaves_the_others_as_they_were(shop, say, concern):
    others = [name for name in CONCERNS if name != concern]
    for name in others:
        assert "failed" not in say(name, **CONCERNS[name][0])
    before = spec(shop, "VirtualService"), spec(shop, "DestinationRule")
    assert (
        say(concern, **CONCERNS[concern][0])["changed"]
        and (spec(shop, "VirtualService"), spec(shop, "DestinationRule")) != before
    )
    for name in others:
        assert not say(name, **CONCERNS[name][0])["changed"], name
    assert say(concern, state="absent")["changed"]
    assert (spec(shop, "VirtualService"), spec(shop, "DestinationRule")) == before


def test_all_of_them_go_one_by_one_and_nothing_is_left(shop, say):
    for concern, (options, _other) in CONCERNS.items():
        say(concern, **options)
    for concern in CONCERNS:
        assert say(concern, state="absent")["changed"], concern
    assert spec(shop, "VirtualService") is None and spec(shop, "DestinationRule") is None


def test_routes_wait_until_proxies_have_them(shop, say):
    istiod = FakeIstiod(shop)
    result = say("route", rules=[{"name": "all", "to": "v2"}])
    assert result["verified"] == [
        "proxies in sync: subsets v2 of frontend.shop.svc.cluster.local at 1 proxies of 1 istiods",
        "proxies in sync: route-all of frontend.shop.svc.cluster.local at 1 proxies of 1 istiods",
    ]
    istiod.rejected = {"web-1.shop": "no such thing"}
    refused = say("fault", delay="2s")
    assert refused["failure"]["code"] == "rejected" and "web-1.shop" in refused["msg"]


@pytest.mark.parametrize(
    ("concern", "options", "code"),
    [
        ("route", {"rules": []}, "rules_empty"),
        ("route", {"rules": [{"to": {"service": "nowhere"}}]}, "no_such_host"),
        ("route", {"rules": [{"to": "v3"}]}, "no_pods"),
        ("fault", {"delay": "soon"}, "duration_invalid"),
        ("fault", {"delay": "1s", "expires": "soon"}, "expires_invalid"),
        ("fault", {"delay": "1s", "match": {"nowhere": 1}}, "key_unknown"),
        ("resilience", {}, "resilience_empty"),
        ("resilience", {"timeout": "soon"}, "duration_invalid"),
        ("load_balancing", {}, "load_balancing_empty"),
        ("load_balancing", {"algorithm": "random", "service": "nowhere"}, "no_such_host"),
    ],
)
def test_bad_options_have_a_code_and_write_nothing(shop, run, concern, options, code):
    before = copy.deepcopy(shop.objects)
    result = run(concern, **{"service": "frontend", "namespace": "shop", **options})
    assert result["failure"]["code"] == code and not result["changed"] and shop.objects == before


def test_a_fault_without_what_it_does_is_refused_by_its_arguments(say):
    assert "delay, abort" in say("fault")["msg"]


def test_a_fault_that_is_over_is_said_and_not_written(shop, say):
    result = say("fault", delay="2s", expires="2020-01-01T00:00:00Z")
    assert "expired at 2020-01-01T00:00:00Z" in str(result["warnings"])
    assert "fault" not in spec(shop, "VirtualService")["http"][0]


def test_a_removal_that_was_cut_off_waits_for_its_routes_before_subsets_go(shop, say):
    istiod = FakeIstiod(shop)
    say("traffic_split", versions={"v1": 9, "v2": 1})
    istiod.behind = {"web-1.shop"}
    for _run in range(2):
        assert say("traffic_split", state="absent", wait_timeout=1)["failure"]["code"] == "proxies_not_synced"
        assert spec(shop, "VirtualService") is None and spec(shop, "DestinationRule")["subsets"]
    istiod.behind = set()
    assert say("traffic_split", state="absent")["summary"]["pruned"] and spec(shop, "DestinationRule") is None


THEIRS = {"trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}


@pytest.mark.parametrize("host", [{"host": "frontend.shop.svc.cluster.local"}, {}])
def test_a_rule_that_others_have_a_part_in_stays_with_it(shop, say, host):
    def theirs():
        shop.put(
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "DestinationRule",
                "metadata": {"name": "frontend", "namespace": "shop"},
                "spec": {**host, **THEIRS},
            },
            manager="kubectl",
        )

    if host:
        theirs()
    say("traffic_split", versions={"v1": 1})
    if not host:
        theirs()
    planned = say("traffic_split", state="absent", check=True)
    done = say("traffic_split", state="absent")
    rule = shop.get("DestinationRule", "frontend", "shop")
    assert done["diff"] == planned["diff"] and spec(shop, "VirtualService") is None
    assert rule["spec"] == {"host": "frontend.shop.svc.cluster.local", **THEIRS} and not rule["metadata"].get("labels")
    assert not say("traffic_split", state="absent")["changed"]


def test_a_rule_that_others_have_a_part_in_goes_where_it_is_forced(shop, say):
    say("traffic_split", versions={"v1": 1})
    shop.put(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "frontend", "namespace": "shop"},
            "spec": THEIRS,
        },
        manager="kubectl",
    )
    assert (
        say("traffic_split", state="absent", force_conflicts=True)["changed"] and spec(shop, "DestinationRule") is None
    )


def rule_of(name, host="frontend", **more):
    metadata = {"name": name, "namespace": "shop", **more}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": metadata,
        "spec": {"host": host, **THEIRS},
    }


@pytest.mark.parametrize("concern", ["traffic_split", "load_balancing"])
@pytest.mark.parametrize(
    "rule",
    [rule_of("other"), rule_of("frontend", labels=MANAGED), rule_of("frontend", "api.example.com", labels=MANAGED)],
)
def test_a_rule_in_the_place_of_the_hosts_is_refused_and_left_alone(shop, say, rule, concern):
    shop.put(rule, manager="servicemesh.istio" if "labels" in rule["metadata"] else "kubectl")
    refused = say(concern, force_conflicts=True, **CONCERNS[concern][0])
    assert (
        refused["failure"]["code"] == "rule_taken"
        and rule["metadata"]["name"] in refused["msg"]
        and shop.writes() == []
    )
    assert say("fault", delay="2s")["changed"], "what needs no such rule is no matter"
    assert say("fault", state="absent")["changed"] and not say(concern, state="absent")["changed"]
    assert shop.get("DestinationRule", rule["metadata"]["name"], "shop")["spec"] == rule["spec"]


def test_a_rule_of_another_host_is_no_matter(shop, say):
    shop.put(rule_of("cart", "cart"))
    assert (
        say("traffic_split", versions={"v1": 1})["changed"] and not say("traffic_split", versions={"v1": 1})["changed"]
    )
