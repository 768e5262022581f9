# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that say a host's policy in one of two APIs, and take it from the one to the other."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from builders import definition, pod, service
from fake_istiod import FakeIstiod

GROUP = "gateway.networking.k8s.io"
LISTENING = {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}
FULL = "frontend.shop.svc.cluster.local"
CONCERNS = {
    "traffic_split": ({"versions": {"v1": 1}}, {"versions": {"v1": 9, "v2": 1}}),
    "route": (
        {"rules": [{"match": {"path": "/a"}, "to": "v2"}]},
        {"rules": [{"match": {"path": "/b"}, "redirect": {"path": "/c"}}]},
    ),
    "resilience": (
        {"timeout": "2s", "outlier_detection": {"consecutive_5xx_errors": 3}},
        {"timeout": "3s", "outlier_detection": {"consecutive_5xx_errors": 4}},
    ),
    "load_balancing": ({"algorithm": "random"}, {"consistent_hash": {"header": "x-user"}}),
}


@pytest.fixture
def shop(api, monkeypatch):
    pause = Cluster.sleep
    monkeypatch.setattr(Cluster, "sleep", lambda self, _seconds: pause(self, 0.01))
    for name in ("frontend", "cart"):
        api.put(service(name))
        for version in ("v1", "v2"):
            api.put(pod(f"{name}-{version}", labels={"app": name, "version": version}))
    # As istiod makes it where Gateway API is served.
    api.put({"apiVersion": f"{GROUP}/v1", "kind": "GatewayClass", "metadata": {"name": "istio"}, "spec": {}})
    api.requests.clear()
    return api


@pytest.fixture
def say(run, shop):
    def call(concern, check=False, **options):
        return run(concern, check=check, **{"service": "frontend", "namespace": "shop", **options})

    return call


def there(api, *kinds):
    """Kind and name of what the policy made."""
    wanted = kinds or ("VirtualService", "DestinationRule", "HTTPRoute")
    labeled = [
        key
        for key, obj in api.objects.items()
        if "app.kubernetes.io/managed-by" in (obj["metadata"].get("labels") or {})
    ]
    return sorted(f"{kind} {name}" for _group, kind, _namespace, name in labeled if kind in (*wanted, "Service"))


def backends(api, name="frontend"):
    return [
        {ref["name"]: ref["weight"] for ref in rule.get("backendRefs") or []}
        for rule in api.get("HTTPRoute", name, "shop")["spec"]["rules"]
    ]


@pytest.mark.parametrize("concern", CONCERNS)
def test_create_change_and_delete_each_also_in_check_mode_and_again(shop, say, concern):
    for options in CONCERNS[concern]:
        before = copy.deepcopy(shop.objects)
        planned = say(concern, check=True, api="gateway_api", **options)
        assert planned["changed"] and shop.objects == before
        done = say(concern, api="gateway_api", **options)
        assert done["changed"] and done["diff"] == planned["diff"]
        for again in (say(concern, api="gateway_api", **options), say(concern, **options)):
            assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)
    assert not any(name.startswith("VirtualService") for name in there(shop))
    before = copy.deepcopy(shop.objects)
    assert say(concern, state="absent", check=True)["changed"] and shop.objects == before
    assert say(concern, state="absent")["summary"]["pruned"] and there(shop) == []
    assert not say(concern, state="absent")["changed"]


def test_concerns_join_the_api_that_the_host_has(shop, say):
    say("traffic_split", versions={"v1": 9, "v2": 1}, api="gateway_api")
    assert say("resilience", timeout="2s", outlier_detection={"consecutive_5xx_errors": 3})["changed"]
    assert there(shop) == [
        "DestinationRule frontend",
        "DestinationRule frontend-v1",
        "DestinationRule frontend-v2",
        "HTTPRoute frontend",
        "Service frontend-v1",
        "Service frontend-v2",
    ]
    assert shop.get("HTTPRoute", "frontend", "shop")["spec"]["rules"][0]["timeouts"] == {"request": "2s"} and backends(
        shop
    ) == [{"frontend-v1": 9, "frontend-v2": 1}]
    refused = say("fault", delay="2s")
    assert refused["failure"]["code"] == "gateway_api_cannot" and "api: istio" in refused["failure"]["hint"]
    assert say("resilience", state="absent")["changed"] and there(shop) == [
        "HTTPRoute frontend",
        "Service frontend-v1",
        "Service frontend-v2",
    ]


def story(api):
    """Writes and questions in their order, each run of questions as one; less the copy of what was before."""
    told = []
    for method, path in api.requests:
        if "/configmaps/" in path:
            continue
        word = "asked" if method == "ASK" else f"{method} {'/'.join(path.split('/')[-2:])}"
        if (method == "ASK" or (method, path) in api.writes()) and (not told or told[-1] != word):
            told.append(word)
    return told


def test_proxies_have_a_versions_service_before_a_route_names_it_and_until_none_does(shop, say):
    FakeIstiod(shop)
    result = say("traffic_split", versions={"v1": 90, "v2": 10}, api="gateway_api")
    assert [one for one in story(shop) if one == "asked" or "httproutes" in one] == [
        "asked",
        "PATCH httproutes/frontend",
        "asked",
    ]
    assert result["verified"] == [
        f"proxies in sync: Services frontend-v1, frontend-v2 of {FULL} at 1 proxies of 1 istiods",
        f"proxies in sync: split-v1-90-v2-10 of {FULL} at 1 proxies of 1 istiods",
    ]
    shop.requests.clear()
    assert say("traffic_split", versions={"v2": 1})["changed"]
    assert story(shop) == ["asked", "PATCH httproutes/frontend", "asked", "DELETE services/frontend-v1"]
    shop.requests.clear()
    assert say("traffic_split", state="absent")["changed"]
    assert story(shop) == ["DELETE httproutes/frontend", "asked", "DELETE services/frontend-v2"]


def test_a_host_goes_from_one_api_to_the_other_and_back(shop, say):
    FakeIstiod(shop)
    say("traffic_split", versions={"v1": 9, "v2": 1})
    say("resilience", timeout="2s")
    shop.requests.clear()
    before = copy.deepcopy(shop.objects)
    assert say("resilience", timeout="2s", api="gateway_api", check=True)["changed"] and shop.objects == before
    moved = say("resilience", timeout="2s", api="gateway_api")
    assert moved["changed"] and there(shop) == ["HTTPRoute frontend", "Service frontend-v1", "Service frontend-v2"]
    assert [one for one in story(shop) if "services/frontend-" not in one] == [
        "asked", "PATCH httproutes/frontend", "asked", "DELETE virtualservices/frontend", "asked", "DELETE destinationrules/frontend",
    ]  # fmt: skip
    assert (
        backends(shop) == [{"frontend-v1": 9, "frontend-v2": 1}]
        and not say("traffic_split", versions={"v1": 9, "v2": 1})["changed"]
    )
    shop.requests.clear()
    assert say("resilience", timeout="2s", api="istio")["changed"] and there(shop) == [
        "DestinationRule frontend",
        "VirtualService frontend",
    ]
    assert [one for one in story(shop) if "services/frontend-" not in one] == [
        "PATCH destinationrules/frontend", "asked", "PATCH virtualservices/frontend", "asked", "DELETE httproutes/frontend", "asked",
    ]  # fmt: skip
    assert not say("traffic_split", versions={"v1": 9, "v2": 1})["changed"]


def test_a_move_that_was_cut_off_is_ended_by_the_next_run(shop, say):
    istiod = FakeIstiod(shop)
    say("traffic_split", versions={"v1": 9, "v2": 1})
    istiod.rejected["web-1.shop"] = "no such thing"
    cut = say("traffic_split", versions={"v1": 1}, api="gateway_api")
    assert cut["failure"]["code"] == "rejected"
    istiod.rejected.clear()
    assert say("traffic_split", versions={"v1": 1}, api="gateway_api")["changed"] and there(shop) == [
        "HTTPRoute frontend",
        "Service frontend-v1",
    ]


def test_auto_is_gateway_api_where_it_can_say_all_of_the_host(shop, say, run):
    assert say("traffic_split", versions={"v1": 1}, api="auto")["changed"] and there(shop) == [
        "HTTPRoute frontend",
        "Service frontend-v1",
    ]
    assert not say("traffic_split", versions={"v1": 1}, api="auto")["changed"]
    assert say("fault", delay="2s", api="auto")["changed"] and there(shop) == [
        "DestinationRule frontend",
        "VirtualService frontend",
    ]
    assert say("fault", state="absent", api="auto")["changed"] and "VirtualService frontend" in there(shop), (
        "what can be said where it is stays there"
    )
    assert say("traffic_split", service="cart", versions={"v1.1": 0, "v1": 1}, api="auto")[
        "changed"
    ] and "VirtualService cart" in there(shop)


def test_auto_is_istio_where_gateway_api_is_not_served(shop, say):
    shop.kinds = [kind for kind in shop.kinds if kind.group != GROUP]
    assert say("traffic_split", versions={"v1": 1}, api="auto")["changed"] and there(shop) == [
        "DestinationRule frontend",
        "VirtualService frontend",
    ]
    refused = say("traffic_split", service="cart", versions={"v1": 1}, api="gateway_api")
    assert (
        refused["failure"]["code"] == "gateway_api_absent" and "control_plane_gateway_api" in refused["failure"]["hint"]
    )
    planned = say("traffic_split", service="cart", versions={"v1": 1}, api="gateway_api", check=True)
    assert planned["changed"] and "gateway_api_absent" in str(planned["warnings"])


@pytest.mark.parametrize("api_asked", ["istio", "gateway_api"])
@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute", "VirtualService"])
def test_a_host_whose_routes_somebody_else_has_is_taken_in_either_api(shop, say, api_asked, kind):
    spec = (
        {"hosts": ["frontend"], "http": []}
        if kind == "VirtualService"
        else {"parentRefs": [{"group": "", "kind": "Service", "name": "frontend"}], "rules": []}
    )
    group = "networking.istio.io" if kind == "VirtualService" else GROUP
    shop.put(
        {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "by-hand", "namespace": "shop"}, "spec": spec}
    )
    shop.requests.clear()
    refused = say("traffic_split", versions={"v1": 1}, api=api_asked)
    assert (
        refused["failure"]["code"] == "host_taken" and f"{kind} shop/by-hand" in refused["msg"] and shop.writes() == []
    )
    assert say("traffic_split", service="cart", versions={"v1": 1}, api=api_asked)["changed"], (
        "another host is no matter"
    )


def test_gateways_are_those_of_the_api(shop, say):
    gateway = {"kind": "Gateway", "metadata": {"name": "ingress", "namespace": "shop"}, "spec": LISTENING}
    shop.put({**gateway, "apiVersion": "networking.istio.io/v1"})
    asked = {"versions": {"v1": 1}, "gateways": ["mesh", "shop/ingress"], "gateway_hosts": ["shop.example"]}
    refused = say("traffic_split", api="gateway_api", **asked)
    assert refused["failure"]["code"] == "no_such_gateway" and "Gateway API Gateway shop/ingress" in refused["msg"]
    assert say("traffic_split", api="auto", **asked)["changed"] and "VirtualService frontend" in there(shop), (
        "auto goes by the gateway that is there"
    )
    shop.put({**gateway, "apiVersion": f"{GROUP}/v1"})
    assert say("traffic_split", api="gateway_api", **asked)["changed"]
    assert there(shop) == ["HTTPRoute frontend", "HTTPRoute frontend.shop.ingress", "Service frontend-v1"]
    assert say("traffic_split", versions={"v1": 1})["changed"] and there(shop) == [
        "HTTPRoute frontend",
        "Service frontend-v1",
    ]


def test_the_port_of_a_gateway_that_redirects_gets_none_of_the_hosts_routes(shop, say, run):
    shop.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "web", "namespace": "shop"},
            "data": {"tls.crt": "YQ==", "tls.key": "YQ=="},
        }
    )
    assert run(
        "gateway", name="edge", namespace="shop", tls={"credential_name": "web"}, redirect=True, api="gateway_api"
    )["changed"]
    assert say(
        "traffic_split", versions={"v1": 1}, api="gateway_api", gateways=["shop/edge"], gateway_hosts=["shop.example"]
    )["changed"]
    assert [
        ref["sectionName"] for ref in shop.get("HTTPRoute", "frontend.shop.edge", "shop")["spec"]["parentRefs"]
    ] == ["https-443"]


def test_a_service_of_somebody_else_that_is_no_version_is_refused(shop, say):
    shop.put(service("frontend-v1", selector={"app": "frontend"}))
    shop.requests.clear()
    refused = say("traffic_split", versions={"v1": 1}, api="gateway_api")
    assert (
        refused["failure"]["code"] == "service_taken"
        and "Service shop/frontend-v1" in refused["msg"]
        and shop.writes() == []
    )
    assert "service_taken" in str(say("traffic_split", check=True, versions={"v1": 1}, api="gateway_api")["warnings"])


def test_a_service_of_somebody_else_that_stands_for_the_version_is_used_and_stays(shop, say):
    shop.put(service("frontend-v1", selector={"app": "frontend", "version": "v1"}))
    before = copy.deepcopy(shop.get("Service", "frontend-v1", "shop"))
    assert say("traffic_split", versions={"v1": 1}, api="gateway_api")["changed"] and backends(shop) == [
        {"frontend-v1": 1}
    ]
    assert say("traffic_split", state="absent")["changed"] and shop.get("Service", "frontend-v1", "shop") == before


def test_another_hosts_ports_are_read(shop, say):
    assert say("route", rules=[{"to": {"service": "cart"}}], api="gateway_api")["changed"] and backends(shop) == [
        {"cart": 1}
    ]
    shop.put(service("cart", ports=(80, 90)))
    assert say("route", rules=[{"name": "b", "to": {"service": "cart"}}])["failure"]["code"] == "port_needed"


def test_retries_need_definitions_of_the_experimental_channel(shop, say):
    retries = {"retries": {"attempts": 2}}
    assert say("resilience", api="gateway_api", **retries)["failure"]["code"] == "gateway_api_cannot"
    definitions = definition("httproutes", "HTTPRoute", GROUP)
    definitions["metadata"]["annotations"] = {"gateway.networking.k8s.io/channel": "experimental"}
    shop.put(definitions)
    assert say("resilience", api="gateway_api", **retries)["changed"]
    assert shop.get("HTTPRoute", "frontend", "shop")["spec"]["rules"][0]["retry"] == {"attempts": 2}


def test_a_route_that_its_parent_does_not_take_is_told(shop, say):
    def refusing(obj):
        condition = {"type": "Accepted", "status": "False", "message": "no listener is for it"}
        obj["status"] = {"parents": [{"parentRef": {"name": "frontend"}, "conditions": [condition]}]}

    shop.controllers["HTTPRoute"] = refusing
    result = say("traffic_split", versions={"v1": 1}, api="gateway_api", wait_timeout=1)
    assert result["failure"]["code"] == "timeout" and "no listener is for it" in result["msg"]


POLICY = {
    "frontend": {"api": "gateway_api", "split": {"versions": {"v1": 9, "v2": 1}}},
    "cart": {"split": {"versions": {"v1": 1}}},
}


def test_one_variable_says_each_hosts_api_and_prune_knows_both(shop, run):
    both = [
        "DestinationRule cart",
        "HTTPRoute frontend",
        "Service frontend-v1",
        "Service frontend-v2",
        "VirtualService cart",
    ]
    for policy, made in ((POLICY, both), ({"cart": POLICY["cart"]}, [both[0], both[4]]), ({}, [])):
        before = copy.deepcopy(shop.objects)
        planned = run("traffic", check=True, policy={"shop": policy}, prune=True)
        assert planned["changed"] and shop.objects == before
        done = run("traffic", policy={"shop": policy}, prune=True)
        assert done["changed"] and done["diff"] == planned["diff"] and there(shop) == made
        assert not run("traffic", policy={"shop": policy}, prune=True)["changed"]


def test_one_word_moves_all_hosts_that_name_no_api(shop, run):
    policy = {"shop": {"frontend": {"api": "istio", **CONCERN}, "cart": CONCERN}}
    assert run("traffic", policy=policy)["changed"] and "VirtualService cart" in there(shop)
    assert run("traffic", policy=policy, api="gateway_api")["changed"]
    assert [name for name in there(shop) if name.startswith(("V", "H"))] == [
        "HTTPRoute cart",
        "VirtualService frontend",
    ]
    assert not run("traffic", policy=policy)["changed"], "what was moved stays"
    refused = run("traffic", policy={"shop": {"cart": {**CONCERN, "api": "both"}}})
    assert refused["failure"]["code"] == "options_invalid" and "policy.shop.cart.api" in refused["msg"]


CONCERN = {"split": {"versions": {"v1": 1}}}


def test_a_gateways_route_goes_with_the_set_that_brought_it(shop, run):
    shop.put(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Gateway",
            "metadata": {"name": "ingress", "namespace": "shop"},
            "spec": LISTENING,
        }
    )
    asked = {
        "frontend": {
            "api": "gateway_api",
            "split": {"versions": {"v1": 1}, "gateways": ["shop/ingress"], "gateway_hosts": ["*"]},
        }
    }
    run("traffic", policy={"shop": asked})
    assert there(shop) == ["HTTPRoute frontend.shop.ingress", "Service frontend-v1"]
    assert run("traffic", policy={}, prune=True)["changed"] and there(shop) == []


def weights(api):
    return {
        ref["name"]: ref["weight"]
        for rule in api.get("HTTPRoute", "frontend", "shop")["spec"]["rules"]
        for ref in rule["backendRefs"]
    }


def test_a_change_is_undone_in_the_api_that_it_was_said_in(shop, say):
    FakeIstiod(shop)
    say("traffic_split", versions={"v1": 90, "v2": 10}, api="gateway_api")
    say("traffic_split", versions={"v1": 50, "v2": 50})
    assert say("traffic_rollback")["changed"] and weights(shop) == {"frontend-v1": 90, "frontend-v2": 10}
    assert say("traffic_rollback")["changed"] and weights(shop) == {"frontend-v1": 50, "frontend-v2": 50}
    say("traffic_split", versions={"v1": 50, "v2": 50}, api="istio")
    assert there(shop) == ["DestinationRule frontend", "VirtualService frontend"]
    assert say("traffic_rollback")["changed"] and weights(shop) == {"frontend-v1": 50, "frontend-v2": 50}
    assert there(shop) == ["HTTPRoute frontend", "Service frontend-v1", "Service frontend-v2"]


def test_what_proxies_have_is_compared_with_a_route_of_gateway_api_too(shop, say):
    istiod = FakeIstiod(shop)
    say("traffic_split", versions={"v1": 90, "v2": 10}, api="gateway_api")
    assert say("proxy_status", wait_timeout=0)["counts"]["synced"] == 1
    istiod.blind = True
    seen = say("proxy_status", wait_timeout=0, fail=False)
    assert seen["counts"]["synced"] == 0, seen


def test_a_removal_that_was_cut_off_waits_for_its_routes_before_services_go(shop, say):
    istiod = FakeIstiod(shop)
    say("traffic_split", versions={"v1": 9, "v2": 1}, api="gateway_api")
    istiod.behind = {"web-1.shop"}
    for _run in range(2):
        assert say("traffic_split", state="absent", wait_timeout=1)["failure"]["code"] == "proxies_not_synced"
        assert there(shop) == ["Service frontend-v1", "Service frontend-v2"]
    istiod.behind = set()
    assert say("traffic_split", state="absent")["summary"]["pruned"] and there(shop) == []
