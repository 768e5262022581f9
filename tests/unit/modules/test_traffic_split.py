# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from builders import pod, service
from fake_istiod import FakeIstiod

HOST = "frontend.shop.svc.cluster.local"
GATEWAY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "ingress", "namespace": "istio-system"},
    "spec": {"selector": {}},
}
BEFORE = "PATCH /api/v1/namespaces/shop/configmaps/servicemesh-rollback-frontend"
RULE, ROUTES = (
    f"/apis/networking.istio.io/v1/namespaces/shop/{plural}/frontend"
    for plural in ("destinationrules", "virtualservices")
)


@pytest.fixture
def shop(api):
    api.put(service("frontend"))
    api.put(GATEWAY)
    for version in ("v1", "v2"):
        api.put(pod(f"frontend-{version}", labels={"app": "frontend", "version": version}))
    api.requests.clear()
    return api


@pytest.fixture
def istiod(shop, monkeypatch):
    pause = Cluster.sleep
    monkeypatch.setattr(Cluster, "sleep", lambda self, _seconds: pause(self, 0.01))
    return FakeIstiod(shop)


@pytest.fixture
def split(run, shop):
    def call(versions=None, check=False, **options):
        given = {"versions": versions} if versions is not None else {}
        return run("traffic_split", check=check, service="frontend", namespace="shop", **given, **options)

    return call


def weights(api, name="frontend"):
    (route,) = api.get("VirtualService", name, "shop")["spec"]["http"]
    return {part["destination"]["subset"]: part["weight"] for part in route["route"]}


def subsets(api):
    return {
        subset["name"]: subset["labels"] for subset in api.get("DestinationRule", "frontend", "shop")["spec"]["subsets"]
    }


def test_create_change_and_delete_each_also_in_check_mode_and_again(shop, split):
    for versions, action in (({"v1": 90, "v2": 10}, "created"), ({"v1": 50, "v2": 50}, "configured")):
        before = copy.deepcopy(shop.objects)
        planned = split(versions, check=True)
        assert planned["changed"] and planned["summary"][action] and shop.objects == before
        done = split(versions)
        assert done["changed"] and done["diff"] == planned["diff"] and weights(shop) == versions
        again = split(versions)
        assert (again["changed"], again["diff"]) == (False, [])
    assert subsets(shop) == {"v1": {"version": "v1"}, "v2": {"version": "v2"}}
    before = copy.deepcopy(shop.objects)
    assert split(state="absent", check=True)["changed"] and shop.objects == before
    assert split(state="absent")["summary"]["pruned"] == 2
    assert (
        shop.get("VirtualService", "frontend", "shop") is None
        and shop.get("DestinationRule", "frontend", "shop") is None
    )
    assert not split(state="absent")["changed"]


def story(api):
    """Writes and questions in their order, each run of questions as one."""
    told = []
    for method, path in api.requests:
        word = "asked" if method == "ASK" else f"{method} {path}"
        if (method == "ASK" or (method, path) in api.writes()) and (not told or told[-1] != word):
            told.append(word)
    return told


def test_proxies_have_the_subsets_before_a_weight_names_them(shop, istiod, split):
    result = split({"v1": 90, "v2": 10})
    assert story(shop) == [BEFORE, f"PATCH {RULE}", "asked", f"PATCH {ROUTES}", "asked"]
    assert result["verified"] == [
        f"proxies in sync: subsets v1, v2 of {HOST} at 1 proxies of 1 istiods",
        f"proxies in sync: split-v1-90-v2-10 of {HOST} at 1 proxies of 1 istiods",
    ]


@pytest.mark.parametrize("said_in", ["istio", "gateway_api"])
@pytest.mark.parametrize("unconcerned", ["gateways", "hidden"])
def test_an_istiod_that_has_only_proxies_without_the_routes_holds_nothing_up(shop, istiod, split, unconcerned, said_in):
    second = FakeIstiod(shop, "istiod-2", ("in.istio-system",))
    setattr(second, unconcerned, {"in.istio-system"})
    result = split({"v1": 90, "v2": 10}, api=said_in, wait_timeout=2)
    assert (
        "failed" not in result
        and [text.partition(" at ")[2] for text in result["verified"]] == ["2 proxies of 2 istiods"] * 2
    )


def test_an_istiod_whose_gateway_lacks_the_routes_of_gateways_does(shop, istiod, split):
    second = FakeIstiod(shop, "istiod-2", ("in.istio-system",))
    second.gateways, second.old = {"in.istio-system"}, {"in.istio-system"}
    result = split(
        {"v1": 1}, gateways=["mesh", "istio-system/ingress"], gateway_hosts=["shop.example.com"], wait_timeout=1
    )
    assert result["failure"]["code"] == "proxies_not_synced" and "istiod-2" in result["msg"]


def test_a_version_leaves_in_three_steps(shop, istiod, split):
    split({"v1": 1})
    shop.requests.clear()
    result = split({"v2": 1})
    assert story(shop) == [BEFORE, f"PATCH {RULE}", "asked", f"PATCH {ROUTES}", "asked", f"PATCH {RULE}"]
    assert "name: v1" in result["diff"][1]["after"] and "name: v2" in result["diff"][1]["after"], (
        "both while proxies change over"
    )
    assert subsets(shop) == {"v2": {"version": "v2"}} and weights(shop) == {"v2": 1}
    assert result["summary"]["configured"] == 4


def test_no_subset_goes_while_a_proxy_may_still_name_it(shop, istiod, split):
    split({"v1": 90, "v2": 10})
    shop.requests.clear()
    assert split(state="absent")["changed"]
    assert story(shop) == [BEFORE, f"DELETE {ROUTES}", "asked", f"DELETE {RULE}"]


def test_a_rule_that_stays_loses_its_subsets_only_when_no_proxy_has_the_routes(shop, istiod, split, run):
    split({"v1": 90, "v2": 10})
    run("load_balancing", service="frontend", namespace="shop", algorithm="random")
    shop.requests.clear()
    assert split(state="absent")["changed"]
    assert story(shop) == [BEFORE, f"DELETE {ROUTES}", "asked", f"PATCH {RULE}"]


def test_nothing_is_asked_of_istiod_where_nothing_changes(shop, istiod, split):
    split({"v1": 1})
    shop.requests.clear()
    split({"v1": 1})
    split({"v2": 1}, check=True)
    assert story(shop) == []


def test_a_proxy_that_refuses_its_configuration_stops_the_change(shop, istiod, split):
    istiod.rejected["web-1.shop"] = "no such cluster"
    result = split({"v1": 90, "v2": 10})
    assert (
        result["failure"]["code"] == "rejected" and "web-1.shop" in result["msg"] and "no such cluster" in result["msg"]
    )
    assert shop.get("VirtualService", "frontend", "shop") is None, "no weight without its subset"
    assert result["changed"] and [row["action"] for row in result["objects"]] == ["created", "created", "pending"]
    istiod.rejected.clear()
    assert split({"v1": 90, "v2": 10})["changed"] and weights(shop) == {"v1": 90, "v2": 10}


@pytest.mark.parametrize(
    ("behind", "blind", "words"),
    [({"web-1.shop"}, False, "web-1.shop"), (set(), True, "none of the checked proxies of istiod istiod-1")],
)
def test_what_does_not_converge_names_who_does_not(shop, istiod, split, behind, blind, words):
    istiod.behind, istiod.blind = behind, blind
    result = split({"v1": 1}, wait_timeout=1)
    assert result["failure"]["code"] == "proxies_not_synced" and words in result["msg"]
    assert shop.get("VirtualService", "frontend", "shop") is None


def test_an_istiod_that_cannot_be_asked_is_unknown_and_never_converged(shop, istiod, split):
    shop.tunnels.clear()
    result = split({"v1": 1})
    assert result["changed"] and all(text.startswith("proxies in sync: unknown") for text in result["verified"])


def test_weights_are_shares_and_need_not_add_up_to_a_hundred(shop, split):
    assert "failed" not in split({"v1": 3, "v2": 1}) and weights(shop) == {"v1": 3, "v2": 1}


def test_a_version_with_weight_0_needs_no_pod(shop, split):
    assert "failed" not in split({"v1": 1, "v3": 0}) and weights(shop) == {"v1": 1, "v3": 0}


BAD = {
    "no version": ({"versions": {}}, "invalid_option", "has no version"),
    "all zero": ({"versions": {"v1": 0, "v2": 0}}, "weights_zero", "all weights of service frontend are 0"),
    "negative": ({"versions": {"v1": 110, "v2": -10}}, "weight_negative", "the weight of v2 is -10"),
    "text": ({"versions": {"v1": "90"}}, "weight_invalid", "the weight of v1 is '90'"),
    "fraction": ({"versions": {"v1": 0.5}}, "weight_invalid", "the weight of v1 is 0.5"),
    "truth": ({"versions": {"v1": True}}, "weight_invalid", "the weight of v1 is True"),
    "nothing": ({"versions": {"v1": None}}, "weight_invalid", "the weight of v1 is None"),
    "no gateway": ({"gateways": []}, "invalid_option", "gateways: the list is empty"),
    "hosts without a gateway": ({"gateway_hosts": ["shop.example.com"]}, "invalid_option", "a gateway other than mesh"),
}
BAD_IN_THE_CLUSTER = {
    "service": (
        {"service": "frontent"},
        "no_such_host",
        "frontent.shop.svc.cluster.local has no Service or ServiceEntry",
    ),
    "host of another namespace": (
        {"namespace": "istio-system"},
        "no_such_host",
        "frontend.istio-system.svc.cluster.local",
    ),
    "outside host": ({"service": "api.example.com"}, "no_such_host", "api.example.com"),
    "pods": ({"versions": {"v1": 50, "v3": 50}}, "no_pods", "version=v3"),
    "pods by another label": ({"label": "release"}, "no_pods", "release=v1"),
    "gateway": ({"gateways": ["mesh", "istio-system/nowhere"]}, "no_such_gateway", "istio-system/nowhere"),
    "gateway without its namespace": ({"gateways": ["ingress"]}, "no_such_gateway", "ingress"),
}
GOOD = {"service": "frontend", "namespace": "shop", "versions": {"v1": 1}}


@pytest.mark.parametrize(
    ("options", "code", "words"), [*BAD.values(), *BAD_IN_THE_CLUSTER.values()], ids=[*BAD, *BAD_IN_THE_CLUSTER]
)
def test_bad_options_have_a_code_and_write_nothing(run, shop, options, code, words):
    result = run("traffic_split", **{**GOOD, **options})
    assert result["failed"] and result["failure"]["code"] == code and words in result["msg"]
    assert shop.writes() == []


@pytest.mark.parametrize(("options", "code", "words"), BAD_IN_THE_CLUSTER.values(), ids=BAD_IN_THE_CLUSTER)
def test_what_an_earlier_task_may_put_right_is_a_warning_in_check_mode(run, shop, options, code, words):
    result = run("traffic_split", check=True, **{**GOOD, **options})
    assert "failed" not in result and result["changed"] and shop.writes() == []
    assert any(f"{code}: " in str(warning) and words in str(warning) for warning in result["warnings"])


@pytest.mark.parametrize(("options", "code", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_meant_is_no_warning(run, shop, options, code, words):
    assert run("traffic_split", check=True, **{**GOOD, **options})["failure"]["code"] == code


def test_versions_are_needed_for_a_split(split):
    assert "versions" in split()["msg"]


def other_routes(api, host, name="by-hand", annotations=None):
    metadata = {"name": name, "namespace": "shop", "annotations": annotations or {}}
    api.put(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": metadata,
            "spec": {"hosts": [host], "http": []},
        }
    )
    api.requests.clear()


@pytest.mark.parametrize("host", ["frontend", HOST])
def test_a_host_whose_routes_somebody_else_has_is_taken(shop, split, host):
    other_routes(shop, host)
    result = split({"v1": 1})
    assert (
        result["failure"]["code"] == "host_taken"
        and result["failure"]["ref"]["name"] == "by-hand"
        and shop.writes() == []
    )
    planned = split({"v1": 1}, check=True)
    assert "failed" not in planned and "VirtualService shop/by-hand" in str(planned["warnings"])


def test_routes_of_another_host_are_no_obstacle(shop, split):
    other_routes(shop, "backend")
    assert split({"v1": 1})["changed"]


def test_a_host_with_several_ports_needs_one_named(shop, split):
    shop.put(service("frontend", ports=(80, 8080)))
    shop.requests.clear()
    result = split({"v1": 1})
    assert result["failure"]["code"] == "port_needed" and "80, 8080" in result["msg"] and shop.writes() == []
    assert "port_needed" in str(split({"v1": 1}, check=True)["warnings"])
    split({"v1": 1}, port=8080)
    (route,) = shop.get("VirtualService", "frontend", "shop")["spec"]["http"]
    assert route["route"][0]["destination"] == {"host": HOST, "subset": "v1", "port": {"number": 8080}}


def test_a_service_entry_makes_an_outside_host_known(run, shop):
    spec = {"hosts": ["*.example.com"], "ports": [{"number": 443, "name": "tls"}]}
    shop.put(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": "outside", "namespace": "shop"},
            "spec": spec,
        }
    )
    result = run("traffic_split", service="api.example.com", namespace="shop", versions={"v1": 1})
    assert (
        result["changed"]
        and shop.get("DestinationRule", "api.example.com", "shop")["spec"]["host"] == "api.example.com"
    )


def test_a_gateway_gets_named_hosts_with_the_mesh_and_any_host_apart(shop, split):
    gateways = ["mesh", "istio-system/ingress"]
    split({"v1": 1}, gateways=gateways, gateway_hosts=["shop.example.com"])
    assert shop.get("VirtualService", "frontend", "shop")["spec"]["hosts"] == [HOST, "shop.example.com"]
    assert shop.get("VirtualService", "frontend", "shop")["spec"]["gateways"] == gateways
    split({"v1": 1}, gateways=gateways, gateway_hosts=["*"])
    assert shop.get("VirtualService", "frontend", "shop")["spec"]["gateways"] == ["mesh"]
    assert shop.get("VirtualService", "frontend-any-host", "shop")["spec"]["hosts"] == ["*"]
    result = split({"v1": 1}, gateways=gateways, gateway_hosts=["shop.example.com"])
    assert result["summary"]["pruned"] == 1 and shop.get("VirtualService", "frontend-any-host", "shop") is None


def test_absent_leaves_what_this_collection_did_not_make(shop, split):
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "frontend", "namespace": "shop"},
        "spec": {"host": HOST},
    }
    shop.put(rule)
    other_routes(shop, "frontend", name="frontend")
    result = split(state="absent")
    assert not result["changed"] and shop.writes() == []


def test_another_tools_rule_of_the_same_name_is_a_conflict(shop, split):
    spec = {"host": "frontend", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}
    shop.put(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "frontend", "namespace": "shop"},
            "spec": spec,
        },
        manager="argocd",
    )
    shop.requests.clear()
    result = split({"v1": 1})
    assert result["failure"]["code"] == "conflict" and "argocd" in result["msg"] and shop.writes() == []
