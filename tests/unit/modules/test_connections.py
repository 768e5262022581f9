# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that say the policy of a host of TCP."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from builders import definition, istio, namespace, pod, service
from fake_istiod import FakeIstiod

HOST = {"service": "echo", "namespace": "shop", "port": 9000}
FULL = "echo.shop.svc.cluster.local"
PORTS = [{"name": "tcp", "port": 9000}, {"name": "tcp-other", "port": 9001}]
GATEWAY = istio(
    "Gateway",
    "in",
    "infra",
    selector={},
    servers=[{"port": {"number": 31400, "name": "tcp", "protocol": "TCP"}, "hosts": ["*"]}],
)
RULE, ROUTES = (
    f"/apis/networking.istio.io/v1/namespaces/shop/{plural}/echo" for plural in ("destinationrules", "virtualservices")
)


@pytest.fixture
def shop(api, monkeypatch):
    pause = Cluster.sleep
    monkeypatch.setattr(Cluster, "sleep", lambda self, _seconds: pause(self, 0.01))
    api.put(service("echo", ports=PORTS))
    api.put(namespace("infra"))
    api.put(GATEWAY)
    for version in ("v1", "v2"):
        api.put(pod(f"echo-{version}", labels={"app": "echo", "version": version}))
    api.requests.clear()
    return api


@pytest.fixture
def split(run, shop):
    return lambda versions=None, check=False, **options: run(
        "traffic_split", check=check, **{**HOST, **({"versions": versions} if versions else {}), **options}
    )


def story(api):
    """Writes and questions in their order, each run of questions as one."""
    told = []
    for method, path in api.requests:
        word = "asked" if method == "ASK" else f"{method} {path}"
        if (method == "ASK" or (method, path) in api.writes()) and (not told or told[-1] != word):
            told.append(word)
    return told


def weights(api, name="echo"):
    (route,) = api.get("VirtualService", name, "shop")["spec"]["tcp"]
    return {part["destination"]["subset"]: part["weight"] for part in route["route"]}


def test_create_change_and_delete_each_also_in_check_mode_and_again(shop, split):
    FakeIstiod(shop)
    for versions in ({"v1": 100, "v2": 0}, {"v1": 80, "v2": 20}):
        before = copy.deepcopy(shop.objects)
        planned = split(versions, check=True)
        assert planned["changed"] and shop.objects == before
        done = split(versions)
        assert done["changed"] and done["diff"] == planned["diff"] and weights(shop) == versions
        again = split(versions)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)
    kept = json.loads(
        shop.get("VirtualService", "echo", "shop")["metadata"]["annotations"]["servicemesh.istio/intents"]
    )
    assert kept["split"]["versions"] == {"v1": 80, "v2": 20} and kept["split"]["port"] == 9000
    assert split(state="absent")["summary"]["pruned"] == 2 and not split(state="absent")["changed"]


def test_proxies_have_the_subsets_first_and_the_routes_are_gone_before_them(shop, split):
    FakeIstiod(shop)
    result = split({"v1": 1, "v2": 1})
    assert story(shop)[1:] == [f"PATCH {RULE}", "asked", f"PATCH {ROUTES}", "asked"]
    assert result["verified"] == [
        f"proxies in sync: subsets v1, v2 of {FULL} at 1 proxies of 1 istiods",
        f"proxies in sync: TCP routes of {FULL} at 1 proxies of 1 istiods",
    ]
    shop.requests.clear()
    split({"v2": 1})
    assert story(shop)[1:] == [
        "asked",
        f"PATCH {ROUTES}",
        "asked",
        f"PATCH {RULE}",
    ], "the subset v1 outlasts what leads to it"
    shop.requests.clear()
    split(state="absent")
    assert story(shop)[1:] == [f"DELETE {ROUTES}", "asked", f"DELETE {RULE}"]


def test_a_proxy_that_goes_on_as_before_is_waited_for(shop, split):
    istiod = FakeIstiod(shop)
    split({"v1": 1, "v2": 1})
    listeners = istiod._listeners(False)
    istiod._listeners = lambda _gateway: listeners
    result = split({"v1": 1, "v2": 3}, wait_timeout=1)
    assert result["failure"]["code"] == "proxies_not_synced" and "TCP routes" in result["msg"]


def test_through_a_gateway_alone_and_with_the_mesh(shop, split, run):
    istiod = FakeIstiod(shop, proxies=("in.infra",))
    istiod.gateways = {"in.infra"}
    for gateways, hosts, name in (
        (["infra/in"], ["*"], "echo-any-host"),
        (["infra/in"], [], "echo"),
        (["mesh", "infra/in"], [], "echo"),
    ):
        for versions in ({"v1": 1}, {"v1": 80, "v2": 20}):
            done = split(versions, gateways=gateways, gateway_hosts=hosts)
            assert "failed" not in done and weights(shop, name) == versions and len(done["verified"]) >= 2, done
        found = run("proxy_status", service="echo", namespace="shop", wait_timeout=0)
        assert "failed" not in found and found["counts"]["pending"] == 0, found
    assert "failed" not in split(state="absent")


def test_the_module_converged_tells_who_has_other_weights(shop, split, run):
    istiod = FakeIstiod(shop)
    split({"v1": 1, "v2": 1})
    assert run("proxy_status", service="echo", namespace="shop", wait_timeout=0)["counts"]["pending"] == 0
    listeners = istiod._listeners(False)
    istiod._listeners = lambda _gateway: listeners
    split({"v1": 1, "v2": 3}, wait_for_proxies=False)
    found = run("proxy_status", service="echo", namespace="shop", wait_timeout=0)
    assert (
        found["failure"]["code"] == "proxies_not_synced"
        and "other weights for connections to port 9000" in found["failure"]["reason"]
    )


@pytest.mark.parametrize(
    ("module", "options", "code", "named"),
    [
        ("traffic_split", {"versions": {"v1": 1}, "sticky": {"cookie": "a"}}, "protocol_cannot", "sticky"),
        ("traffic_split", {"versions": {"v1": 1}, "protocol": "http"}, "protocol_mismatch", "protocol"),
        ("traffic_split", {"versions": {"v1": 1}, "api": "gateway_api"}, "gateway_api_cannot", "protocol"),
        (
            "traffic_split",
            {"versions": {"v1": 1}, "protocol": "tls", "gateways": ["infra/in"]},
            "no_such_port",
            "gateways",
        ),
        ("traffic_split", {"versions": {"v1": 1}, "gateways": ["mesh", "infra/web"]}, "no_such_port", "gateways"),
        ("route", {"rules": [{"match": {"path": "/a"}, "to": "v1"}]}, "protocol_cannot", "match.path"),
        (
            "traffic",
            {"policy": {"shop": {"echo": {"split": {"versions": {"v1": 1}, "port": 9000}, "fault": {"delay": "1s"}}}}},
            "protocol_cannot",
            "delay",
        ),
        ("resilience", {"timeout": "1s"}, "protocol_cannot", "timeout"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(shop, run, module, options, code, named):
    shop.put(
        istio(
            "Gateway",
            "web",
            "infra",
            selector={},
            servers=[{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
        )
    )
    shop.put(definition("httproutes", "HTTPRoute", "gateway.networking.k8s.io"))
    before = copy.deepcopy(shop.objects)
    place = (
        {}
        if module == "traffic"
        else {"service": "echo", "namespace": "shop", **({"port": 9000} if module != "resilience" else {})}
    )
    refused = run(module, **place, **options)
    assert (
        refused["failure"]["code"] == code
        and refused["msg"].startswith(f"{named}: ")
        and FULL in refused["msg"]
        and refused["failure"]["hint"]
    ), refused
    assert shop.objects == before


def test_where_the_api_may_be_chosen_it_is_istios(shop, split):
    shop.put(definition("httproutes", "HTTPRoute", "gateway.networking.k8s.io"))
    assert (
        split({"v1": 1}, api="auto")["changed"]
        and weights(shop) == {"v1": 1}
        and shop.get("HTTPRoute", "echo", "shop") is None
    )


def test_limits_of_connections_join_the_split(shop, split, run):
    split({"v1": 1})
    done = run(
        "resilience",
        service="echo",
        namespace="shop",
        connection_pool={"max_connections": 5, "connect_timeout": "1s"},
        outlier_detection={"consecutive_5xx_errors": 3},
    )
    assert "failed" not in done and shop.get("DestinationRule", "echo", "shop")["spec"]["trafficPolicy"][
        "connectionPool"
    ] == {"tcp": {"maxConnections": 5, "connectTimeout": "1s"}}
    assert weights(shop) == {"v1": 1}


def test_a_list_that_somebody_changed_is_theirs_until_it_is_told(shop, split):
    split({"v1": 1, "v2": 1})
    live = copy.deepcopy(shop.get("VirtualService", "echo", "shop"))
    live["spec"]["tcp"].insert(
        0, {"match": [{"sourceLabels": {"app": "x"}}], "route": [{"destination": {"host": "echo", "subset": "v2"}}]}
    )
    shop.put(
        {key: live[key] for key in ("apiVersion", "kind", "spec")}
        | {"metadata": {"name": "echo", "namespace": "shop"}},
        manager="kubectl-edit",
    )
    before = copy.deepcopy(shop.objects)
    for refused in (split({"v1": 1, "v2": 3}), split(state="absent")):
        assert refused["failure"]["code"] == "conflict" and "kubectl-edit" in refused["msg"], refused
    assert {key: value for key, value in shop.objects.items() if key[1] != "ConfigMap"} == {
        key: value for key, value in before.items() if key[1] != "ConfigMap"
    }
    assert "failed" not in split({"v1": 1, "v2": 3}, force_conflicts=True) and weights(shop) == {"v1": 1, "v2": 3}
    assert split(state="absent")["summary"]["pruned"] == 2


def test_an_object_of_somebody_else_for_the_host_is_refused_or_replaced(shop, split):
    shop.put(
        istio("VirtualService", "by-hand", hosts=["echo"], tcp=[{"route": [{"destination": {"host": "echo"}}]}]),
        manager="kubectl",
    )
    assert split({"v1": 1})["failure"]["code"] == "host_taken"
    adopting = split({"v1": 1}, adopt=True, adopt_from=["kubectl"])
    assert adopting["failure"]["code"] == "host_taken" and "it also sets tcp" in adopting["msg"]
    assert (
        "failed" not in split({"v1": 1}, force_conflicts=True) and shop.get("VirtualService", "by-hand", "shop") is None
    )


def test_a_change_goes_back(shop, split, run):
    split({"v1": 1, "v2": 0})
    split({"v1": 80, "v2": 20})
    assert "failed" not in run("traffic_rollback", service="echo", namespace="shop") and weights(shop) == {
        "v1": 1,
        "v2": 0,
    }


def test_a_host_whose_port_is_declared_otherwise_later_is_said_anew(shop, split):
    shop.put(service("echo", ports=[{"name": "http", "port": 9000}]))
    split({"v1": 1})
    assert "http" in shop.get("VirtualService", "echo", "shop")["spec"]
    shop.put(service("echo", ports=[{"name": "tcp", "port": 9000}]))
    FakeIstiod(shop)
    assert "failed" not in split({"v1": 1}) and set(shop.get("VirtualService", "echo", "shop")["spec"]) == {
        "hosts",
        "gateways",
        "tcp",
    }
