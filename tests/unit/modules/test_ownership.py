# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's routes for a host: they survive, or are refused by name, or are taken over, or replaced when it is
said.
"""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from builders import istio
from fake_istiod import FakeIstiod

HOST = {"service": "frontend", "namespace": "shop"}
FULL = "frontend.shop.svc.cluster.local"
ROUTES = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/frontend"
THEIRS = {
    "name": "theirs",
    "match": [{"uri": {"prefix": "/theirs"}}],
    "route": [{"destination": {"host": "frontend"}}],
    "timeout": "3s",
}
ALL = {"name": "all", "route": [{"destination": {"host": "frontend"}}]}
RULES = {"rules": [{"name": "a", "match": {"path": "/a"}, "to": "v1"}]}


@pytest.fixture
def say(run, shop):
    return lambda module="traffic_split", check=False, **options: run(module, check=check, **HOST, **options)


def http(api, name="frontend"):
    return api.get("VirtualService", name, "shop")["spec"]["http"]


def names(api, name="frontend"):
    """Without digests."""
    return [one["name"].rpartition("-")[0] or one["name"] for one in http(api, name)]


def write_in(api, *before, behind=(), manager="kubectl-edit"):
    """Somebody edits the live object of ours, as kubectl edit does: the field is theirs then."""
    live = copy.deepcopy(api.get("VirtualService", "frontend", "shop"))
    live["spec"]["http"] = [*before, *live["spec"]["http"], *behind]
    api.put(
        {key: live[key] for key in ("apiVersion", "kind", "spec")}
        | {"metadata": {"name": "frontend", "namespace": "shop"}},
        manager=manager,
    )


def by_hand(api, *routes, name="by-hand", manager="kubectl", **more):
    metadata = more.pop("metadata", {})
    obj = istio("VirtualService", name, hosts=more.pop("hosts", ["frontend"]), http=list(routes or [THEIRS]), **more)
    obj["metadata"].update(metadata)
    api.put(obj, manager=manager)


def test_a_route_of_somebody_else_survives_in_its_place(shop, say):
    say(versions={"v1": 1})
    write_in(shop, THEIRS)
    done = say(versions={"v1": 1, "v2": 1})
    assert "failed" not in done and http(shop)[0] == THEIRS and names(shop) == ["theirs", "split-v1-1-v2-1"]
    assert not say(versions={"v1": 1, "v2": 1})["changed"]
    say("route", **RULES)
    assert names(shop) == ["theirs", "route-a", "split-v1-1-v2-1"] and http(shop)[0] == THEIRS
    assert say("route", state="absent")["changed"] and names(shop) == ["theirs", "split-v1-1-v2-1"]


def test_what_was_written_behind_a_rule_stays_before_the_rest(shop, say):
    say("route", **RULES)
    live = http(shop)
    write_in(shop)
    shop.get("VirtualService", "frontend", "shop")["spec"]["http"] = [live[0], THEIRS, live[1]]
    assert "failed" not in say("resilience", timeout="1s") and names(shop) == ["route-a", "theirs", "default"]
    assert http(shop)[1] == THEIRS and http(shop)[0]["timeout"] == "1s"


def test_with_the_last_concern_only_theirs_and_the_rest_are_left(shop, say):
    say(versions={"v1": 1})
    write_in(shop, THEIRS)
    before = copy.deepcopy(shop.objects)
    planned = say(state="absent", check=True)
    assert planned["changed"] and shop.objects == before
    assert (
        say(state="absent")["diff"] == planned["diff"]
        and names(shop) == ["theirs", "default"]
        and http(shop)[0] == THEIRS
    )
    assert shop.get("DestinationRule", "frontend", "shop") is None
    assert not say(state="absent")["changed"]
    say(versions={"v2": 1})
    assert names(shop) == ["theirs", "split-v2-1"]
    shop.get("VirtualService", "frontend", "shop")["spec"]["http"].pop(0)
    assert say(state="absent")["changed"] and shop.get("VirtualService", "frontend", "shop") is None


def test_a_subset_that_they_lead_to_stays(shop, say):
    say(versions={"v1": 1, "v2": 1})
    write_in(shop, {**THEIRS, "route": [{"destination": {"host": FULL, "subset": "v2"}}]})
    say(state="absent")
    assert [subset["name"] for subset in shop.get("DestinationRule", "frontend", "shop")["spec"]["subsets"]] == ["v2"]


def test_what_somebody_changed_of_ours_is_a_conflict_as_before(shop, say):
    say(versions={"v1": 1})
    write_in(shop, THEIRS)
    shop.get("VirtualService", "frontend", "shop")["spec"]["http"][1]["timeout"] = "1s"
    refused = say(versions={"v2": 1})
    assert refused["failure"]["code"] == "conflict" and "kubectl-edit" in refused["msg"]
    assert "failed" not in say(versions={"v2": 1}, force_conflicts=True) and names(shop) == ["theirs", "split-v2-1"]


def test_a_field_of_ours_that_a_controller_keeps_is_a_conflict_that_names_it(shop, say):
    say(versions={"v1": 1})
    write_in(shop, THEIRS, manager="rollouts-controller")
    refused = say(versions={"v2": 1})
    assert refused["failure"]["code"] == "conflict" and "rollouts-controller" in refused["msg"]


def test_what_is_written_between_the_look_and_the_write_is_not_lost(shop, say):
    say(versions={"v1": 1})
    shop.controllers["DestinationRule"] = lambda _obj: write_in(shop, THEIRS)
    refused = say(versions={"v2": 1}, force_conflicts=True)
    assert refused["failure"]["code"] == "resource_version_conflict" and names(shop) == ["theirs", "split-v1-1"]
    del shop.controllers["DestinationRule"]
    assert "failed" not in say(versions={"v2": 1}) and names(shop) == ["theirs", "split-v2-1"]


def test_one_of_theirs_that_takes_all_before_ours_is_told(shop, say):
    say(versions={"v1": 1})
    write_in(shop, ALL)
    refused = say(versions={"v2": 1}, force_conflicts=True)
    assert refused["failure"]["code"] == "route_shadowed" and "the route all matches every request" in refused["msg"]


def test_proxies_are_waited_for_whatever_others_wrote(shop, say):
    FakeIstiod(shop)
    say(versions={"v1": 1})
    write_in(shop, THEIRS, behind=[{"route": [{"destination": {"host": "frontend"}}], "name": ""}])
    done = say(versions={"v2": 1})
    assert (
        "failed" not in done
        and done["verified"][-1] == f"proxies in sync: split-v2-1 of {FULL} at 1 proxies of 1 istiods"
    )


OWNED = {
    "Flagger (Canary shop/frontend)": {"metadata": {"ownerReferences": [{"kind": "Canary", "name": "frontend"}]}},
    "Argo Rollouts": {"manager": "rollouts-controller"},
    "Argo CD (application shop)": {"metadata": {"labels": {"argocd.argoproj.io/instance": "shop"}}},
    "Helm (release shop)": {"metadata": {"annotations": {"meta.helm.sh/release-name": "shop"}}, "manager": "helm"},
    "Kiali": {"manager": "kiali"},
}


@pytest.mark.parametrize("owner", OWNED)
def test_an_object_that_somebody_keeps_is_refused_by_name_and_only_forced(shop, say, owner):
    by_hand(shop, **copy.deepcopy(OWNED[owner]))
    for options in ({}, {"adopt": True}):
        refused = say("route", **RULES, **options)
        assert (
            refused["failure"]["code"] == "host_taken" and f"{owner} manages" in refused["msg"] and shop.writes() == []
        )
    forced = say("route", **RULES, force_conflicts=True)
    assert "failed" not in forced and f"{owner} manages" in str(forced["warnings"])
    assert shop.get("VirtualService", "by-hand", "shop") is None and names(shop) == ["route-a", "default"]


@pytest.mark.parametrize("name", ["by-hand", "frontend"])
def test_adopt_takes_the_routes_over_behind_ours(shop, say, name):
    by_hand(shop, THEIRS, name=name, hosts=[FULL])
    before = copy.deepcopy(shop.objects)
    planned = say("route", check=True, adopt=True, **RULES)
    assert planned["changed"] and shop.objects == before
    done = say("route", adopt=True, **RULES)
    assert "failed" not in done and names(shop) == ["route-a", "theirs", "default"] and http(shop)[1] == THEIRS
    assert name == "frontend" or shop.get("VirtualService", name, "shop") is None
    assert not say("route", adopt=True, **RULES)["changed"] and not say("route", **RULES)["changed"]
    assert "failed" not in say("fault", delay="1s") and http(shop)[1] == THEIRS


def test_at_no_time_is_the_host_without_routes_and_proxies_are_asked_when_theirs_is_gone(shop, say):
    istiod = FakeIstiod(shop)
    by_hand(shop, THEIRS)
    shop.requests.clear()
    done = say("route", adopt=True, **RULES)
    kinds = [
        method if method == "ASK" else f"{method} {path.rsplit('/', 1)[1]}"
        for method, path in shop.requests
        if method == "ASK" or (method, path) in shop.writes()
    ]
    told = [word for number, word in enumerate(kinds) if kinds[number - 1 : number] != [word]]
    assert (
        told
        == [
            "PATCH servicemesh-rollback-frontend",
            "PATCH frontend",
            "ASK",
            "PATCH frontend",
            "DELETE by-hand",
            "ASK",
        ]
        and len(done["verified"]) == 2
    ), istiod


NOT_ADOPTED = {
    "another manager": ({"manager": "somebody"}, "adopt_from does not contain its managers somebody"),
    "more hosts": ({"hosts": ["frontend", "cart"]}, "it also applies to cart.shop.svc.cluster.local"),
    "another gateway": ({"gateways": ["shop/in"]}, "it applies to shop/in, not to mesh"),
    "more than routes": ({"tcp": [{"route": []}]}, "it also sets tcp"),
}


@pytest.mark.parametrize("case", NOT_ADOPTED)
def test_what_cannot_be_adopted_says_why(shop, say, case):
    options, words = NOT_ADOPTED[case]
    by_hand(shop, **copy.deepcopy(options))
    refused = say("route", adopt=True, **RULES)
    assert refused["failure"]["code"] == "host_taken" and words in refused["msg"] and shop.writes() == []


def test_what_is_for_other_hosts_too_is_not_even_forced(shop, say):
    by_hand(shop, hosts=["frontend", "cart"])
    assert say("route", force_conflicts=True, **RULES)["failure"]["code"] == "host_taken" and shop.get(
        "VirtualService", "by-hand", "shop"
    )


def test_what_holds_at_other_gateways_too_is_not_even_forced(shop, say):
    by_hand(shop, gateways=["mesh", "istio-system/public"])
    refused = say("route", force_conflicts=True, **RULES)
    assert (
        refused["failure"]["code"] == "host_taken"
        and "it also applies to istio-system/public" in refused["msg"]
        and shop.get("VirtualService", "by-hand", "shop")
    )


@pytest.mark.parametrize("theirs", [THEIRS, ALL])
def test_a_taking_over_that_was_cut_off_is_finished_by_the_next_run(shop, say, theirs):
    by_hand(shop, theirs)
    shop.faults[("DELETE", ROUTES.replace("frontend", "by-hand"))] = [ApiError(403, "Forbidden", "not you")]
    assert say("route", adopt=True, **RULES)["failed"] and shop.get("VirtualService", "by-hand", "shop")
    shop.faults.clear()
    assert "failed" not in say("route", adopt=True, **RULES) and shop.get("VirtualService", "by-hand", "shop") is None
    assert names(shop) == (["route-a", "theirs", "default"] if theirs is THEIRS else ["route-a", "all"])


def test_routes_that_would_get_no_request_any_more_are_not_adopted_but_replaced_when_it_is_said(shop, say):
    by_hand(shop, ALL)
    refused = say(versions={"v1": 1}, adopt=True)
    assert (
        refused["failure"]["code"] == "route_shadowed"
        and "the route all of another owner gets none" in refused["msg"]
        and shop.writes() == []
    )
    assert "failed" not in say(versions={"v1": 1}, force_conflicts=True) and names(shop) == ["split-v1-1"]


def test_ours_that_says_something_of_the_rest_is_not_shadowed_in_silence(shop, say):
    by_hand(shop, ALL)
    assert say("resilience", timeout="1s", adopt=True)["failure"]["code"] == "route_shadowed"
    assert "failed" not in say("route", adopt=True, **RULES) and names(shop) == ["route-a", "all"]
    assert say("fault", delay="1s")["failure"]["code"] == "route_shadowed"


def test_what_an_object_of_the_same_name_said_beside_is_gone_when_forced(shop, say):
    by_hand(shop, name="frontend", manager="somebody", tcp=[{"route": []}])
    assert "failed" not in say("route", force_conflicts=True, **RULES)
    assert "tcp" not in shop.get("VirtualService", "frontend", "shop")["spec"] and names(shop) == ["route-a", "default"]


def test_the_whole_policy_adopts_as_single_modules_do(shop, run):
    by_hand(shop, THEIRS)
    policy = {"shop": {"frontend": {"route": RULES}}}
    assert run("traffic", policy=policy)["failure"]["code"] == "host_taken"
    assert "failed" not in run("traffic", policy=policy, adopt=True) and names(shop) == ["route-a", "theirs", "default"]
    assert not run("traffic", policy=policy, adopt=True)["changed"]
    write_in(shop, {**THEIRS, "name": "another"})
    assert "failed" not in run("traffic", policy={"shop": {"frontend": {"split": {"versions": {"v1": 1}}}}}) and names(
        shop
    ) == [
        "another",
        "theirs",
        "split-v1-1",
    ]


def test_a_server_that_is_busy_is_no_move(shop, say):
    say(versions={"v1": 1})
    shop.faults[("PATCH", ROUTES)] = [ApiError(409, "Conflict", "something else")]
    assert say(versions={"v2": 1})["failure"]["code"] == "api_rejected"
