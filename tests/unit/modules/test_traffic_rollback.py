# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last change of a host's policy is taken back, by the same steps, and again."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from builders import config, service
from fake_istiod import FakeIstiod

HOST = {"service": "frontend", "namespace": "shop"}
API = "/apis/networking.istio.io/v1/namespaces/shop"
KEPT = "/api/v1/namespaces/shop/configmaps/servicemesh-rollback-frontend"


@pytest.fixture
def say(run, shop):
    def call(module="traffic_split", check=False, **options):
        return run(module, check=check, **HOST, **options)

    return call


def policy(api):
    return {
        kind: copy.deepcopy((api.get(kind, "frontend", "shop") or {}).get("spec"))
        for kind in ("VirtualService", "DestinationRule")
    }


def test_back_and_forth_again_also_in_check_mode(shop, say):
    say(versions={"v1": 1})
    one = policy(shop)
    say(versions={"v1": 1, "v2": 9})
    two = policy(shop)
    before = copy.deepcopy(shop.objects)
    planned = say("traffic_rollback", check=True)
    assert planned["changed"] and shop.objects == before
    for was in (one, two, one):
        done = say("traffic_rollback")
        assert done["changed"] and policy(shop) == was
    assert not say(versions={"v1": 1})["changed"], "it is just what that module asks for"


def test_the_plan_of_check_mode_is_what_is_done(shop, say):
    say(versions={"v1": 1})
    say("resilience", timeout="1s", outlier_detection={"consecutive_5xx_errors": 3})
    planned = say("traffic_rollback", check=True)
    assert say("traffic_rollback")["diff"] == planned["diff"]


def test_a_policy_that_came_goes_and_one_that_went_comes(shop, say):
    say(versions={"v1": 1})
    there = policy(shop)
    assert say("traffic_rollback")["changed"] and policy(shop) == {"VirtualService": None, "DestinationRule": None}
    assert say("traffic_rollback")["changed"] and policy(shop) == there
    say(state="absent")
    assert say("traffic_rollback")["changed"] and policy(shop) == there


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("route", {"rules": [{"match": {"path": "/a"}, "to": "v2"}]}),
        ("fault", {"delay": "2s"}),
        ("resilience", {"timeout": "2s", "outlier_detection": {"consecutive_5xx_errors": 3}}),
        ("load_balancing", {"algorithm": "random"}),
    ],
)
def test_of_every_concern_only_the_last_change_is_taken_back(shop, say, module, options):
    say(versions={"v1": 1})
    before = policy(shop)
    say(module, **options)
    after = policy(shop)
    assert before != after
    say("traffic_rollback")
    assert policy(shop) == before
    say("traffic_rollback")
    assert policy(shop) == after


def test_a_run_that_changes_nothing_forgets_nothing(shop, say):
    say(versions={"v1": 1})
    one = policy(shop)
    say(versions={"v2": 1})
    assert not say(versions={"v2": 1})["changed"]
    shop.get("VirtualService", "frontend", "shop")["spec"]["http"][0]["timeout"] = "9s"
    assert say(versions={"v2": 1}, force_conflicts=True, compare="dry_run")["changed"], (
        "what was edited by hand is set right, which is no change of the policy"
    )
    say("traffic_rollback")
    assert policy(shop) == one


def test_what_is_kept_may_be_deleted_and_comes_with_the_next_change(shop, say):
    say(versions={"v1": 1})
    shop.drop("ConfigMap", "servicemesh-rollback-frontend", "shop")
    assert (
        not say(versions={"v1": 1})["changed"] and say("traffic_rollback")["failure"]["code"] == "nothing_to_roll_back"
    )
    assert say(versions={"v2": 1})["changed"] and say("traffic_rollback")["changed"]


def test_the_way_back_is_by_the_same_steps(shop, say):
    FakeIstiod(shop)
    say(versions={"v1": 1})
    say(versions={"v2": 1})
    shop.requests.clear()
    done = say("traffic_rollback")
    told = []
    for method, path in shop.requests:
        word = "asked" if method == "ASK" else f"{method} {path}"
        if (method == "ASK" or (method, path) in shop.writes()) and told[-1:] != [word]:
            told.append(word)
    rule, routes = f"PATCH {API}/destinationrules/frontend", f"PATCH {API}/virtualservices/frontend"
    assert told == [rule, "asked", routes, "asked", rule, f"PATCH {KEPT}"] and len(done["verified"]) == 2


def test_one_that_was_cut_off_is_undone_by_the_next(shop, say):
    say(versions={"v1": 1})
    one = policy(shop)
    say(versions={"v2": 1})
    shop.faults[("PATCH", f"{API}/virtualservices/frontend")] = [ApiError(500, "InternalError", "down")]
    assert say("traffic_rollback")["failed"]
    assert say("traffic_rollback")["changed"] and policy(shop) == one


def test_one_whose_last_wait_failed_waits_again(shop, say):
    istiod = FakeIstiod(shop)
    say("resilience", timeout="2s")
    one = policy(shop)
    say("resilience", timeout="1s")
    istiod.behind = {"web-1.shop"}
    for _run in range(2):
        assert say("traffic_rollback", wait_timeout=1)["failure"]["code"] == "proxies_not_synced"
    istiod.behind = set()
    done = say("traffic_rollback")
    assert done["changed"] and done["verified"] and policy(shop) == one
    assert say("traffic_rollback")["failure"]["code"] == "nothing_to_roll_back"


def test_a_change_that_was_cut_off_goes_back_to_where_it_began(shop, say):
    say("resilience", timeout="1s", outlier_detection={"consecutive_5xx_errors": 3})
    one = policy(shop)
    shop.faults[("PATCH", f"{API}/virtualservices/frontend")] = [ApiError(500, "InternalError", "down")]
    changed = {"timeout": "2s", "outlier_detection": {"consecutive_5xx_errors": 4}}
    assert say("resilience", **changed)["failed"] and policy(shop) != one
    say("resilience", **changed)
    say("traffic_rollback")
    assert policy(shop) == one


def test_a_policy_whose_pods_are_gone_is_not_brought_back(shop, say):
    say(versions={"v1": 1})
    say(versions={"v2": 1})
    shop.drop("Pod", "frontend-v1", "shop")
    two = policy(shop)
    assert say("traffic_rollback")["failure"]["code"] == "no_pods" and policy(shop) == two


def test_where_nothing_is_known_there_is_nothing_to_roll_back(shop, say):
    refused = say("traffic_rollback")
    assert refused["failure"]["code"] == "nothing_to_roll_back" and shop.writes() == []
    assert "nothing_to_roll_back" in str(say("traffic_rollback", check=True)["warnings"])


def test_a_config_map_of_somebody_else_is_left_alone(shop, say):
    shop.put(config("servicemesh-rollback-frontend", mine="yes"))
    assert say(versions={"v1": 1})["failed"] and shop.get("ConfigMap", "servicemesh-rollback-frontend", "shop")[
        "data"
    ] == {"mine": "yes"}


def test_the_diff_names_what_is_kept_and_shows_no_packed_text(shop, say):
    say(versions={"v1": 1})
    kept = next(entry for entry in say(versions={"v2": 1})["diff"] if "rollback" in entry["after_header"])
    assert "VirtualService shop/frontend" in kept["after"] and "H4s" not in kept["after"]


def test_routes_of_others_are_left_where_they_are(shop, say):
    say(versions={"v1": 1})
    theirs = {
        "name": "theirs",
        "match": [{"uri": {"prefix": "/theirs"}}],
        "route": [{"destination": {"host": "frontend"}}],
    }
    live = copy.deepcopy(shop.get("VirtualService", "frontend", "shop"))
    live["spec"]["http"].insert(0, theirs)
    shop.put(
        {
            "apiVersion": live["apiVersion"],
            "kind": live["kind"],
            "metadata": {"name": "frontend", "namespace": "shop"},
            "spec": live["spec"],
        },
        manager="kubectl-edit",
    )
    say(versions={"v2": 1})
    say("traffic_rollback")
    assert [http["name"].rpartition("-")[0] or http["name"] for http in policy(shop)["VirtualService"]["http"]] == [
        "theirs",
        "split-v1-1",
    ]


def test_the_whole_policy_of_a_mesh_is_kept_host_by_host(shop, run, say):
    shop.put(service("cart"))
    whole = {"shop": {"frontend": {"split": {"versions": {"v1": 1}}}, "cart": {"resilience": {"timeout": "1s"}}}}
    run("traffic", policy=whole)
    run("traffic", policy={"shop": {"frontend": {"split": {"versions": {"v2": 1}}}}}, prune=True)
    say("traffic_rollback")
    assert (
        policy(shop)["VirtualService"]["http"][0]["name"].startswith("split-v1-1-")
        and shop.get("VirtualService", "cart", "shop") is None
    )
    assert run("traffic_rollback", service="cart", namespace="shop")["changed"] and shop.get(
        "VirtualService", "cart", "shop"
    )
    assert run("traffic", policy=whole)["changed"] is False
