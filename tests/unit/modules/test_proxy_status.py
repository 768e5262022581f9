# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every proxy by name, with what it lacks: never a sample, never a guess."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import istiod as of_proxies
from builders import istio, pod, service
from fake_istiod import FakeIstiod

HOST = {"service": "frontend", "namespace": "shop"}


@pytest.fixture
def shop(api, monkeypatch):
    pause = Cluster.sleep
    monkeypatch.setattr(Cluster, "sleep", lambda self, _seconds: pause(self, 0.01))
    api.put(service("frontend"))
    for version in ("v1", "v2"):
        api.put(pod(f"frontend-{version}", labels={"app": "frontend", "version": version}, sidecar="native"))
    return api


@pytest.fixture
def istiod(shop):
    return FakeIstiod(shop, proxies=("frontend-v1.shop", "frontend-v2.shop"))


@pytest.fixture
def look(run, shop):
    return lambda **options: run("proxy_status", **{"wait_timeout": 0, "fail": False, **options})


def verdicts(result):
    return {row["proxy"]: row["verdict"] for row in result["proxies"]}


def reason(result, proxy="frontend-v1.shop"):
    return next(row["reason"] for row in result["proxies"] if row["proxy"] == proxy)


def forbidden(status=403):
    def no_way():
        raise ApiError(status, "Forbidden", "may not create portforward")

    return no_way


def test_each_proxy_of_each_istiod_is_told_with_where_it_is_connected(shop, istiod, look):
    FakeIstiod(shop, "istiod-2", ("web-1.web",)).versions = {"web-1.web": "1.31.0"}
    result = look()
    assert result["changed"] is False and result["counts"] == {"synced": 3, "pending": 0, "rejected": 0, "unknown": 0}
    assert result["proxies"][-1] == {
        "proxy": "web-1.web",
        "namespace": "web",
        "pod": "web-1",
        "istiod": "istio-system/istiod-2",
        "revision": "default",
        "version": "1.31.0",
        "verdict": "synced",
        "reason": "",
    }
    assert result["text"] == "3 of 3 proxies are in sync"
    assert verdicts(look(namespace="web")) == {"web-1.web": "synced"}


def test_who_has_not_acknowledged_is_waited_for_and_named(shop, istiod, look):
    istiod.behind = {"frontend-v2.shop"}
    result = look()
    assert verdicts(result) == {
        "frontend-v1.shop": "synced",
        "frontend-v2.shop": "pending",
    } and "RouteConfiguration" in reason(result, "frontend-v2.shop")
    failed = look(fail=True, wait_timeout=1)
    assert (
        failed["failure"]["code"] == "proxies_not_synced"
        and "frontend-v2.shop" in failed["msg"]
        and "frontend-v1.shop" not in failed["msg"]
    )
    assert failed["counts"]["pending"] == 1, "what was found is in the result all the same"


def test_a_rejection_is_told_in_the_proxys_words_and_ends_the_wait(shop, istiod, look):
    istiod.behind, istiod.rejected = {"frontend-v1.shop"}, {"frontend-v2.shop": "no such filter"}
    failed = look(fail=True, wait_timeout=5)
    assert failed["duration"]["wait"] < 4
    assert failed["failure"]["code"] == "rejected" and "frontend-v2.shop (no such filter)" in failed["msg"]
    assert verdicts(failed) == {"frontend-v1.shop": "pending", "frontend-v2.shop": "rejected"}


def test_one_that_is_late_is_waited_for(shop, istiod, look, monkeypatch):
    istiod.behind = {"frontend-v1.shop"}
    monkeypatch.setattr(Cluster, "sleep", lambda _self, _seconds: istiod.behind.clear())
    assert look(fail=True, wait_timeout=60)["counts"]["synced"] == 2


def test_a_slice_of_the_wait_ends_with_whom_it_waits_for(shop, istiod, look):
    istiod.behind = {"frontend-v1.shop"}
    result = look(wait_timeout=60, _progress={"seconds": 0.05, "elapsed": 0.0})
    assert "frontend-v1.shop" in result["waiting"]["text"] and "objects" not in result, (
        "it plans nothing, so the slices together have no plan"
    )


def test_check_mode_looks_as_well(shop, istiod, look, run):
    before = copy.deepcopy(shop.objects)
    assert run("proxy_status", check=True, wait_timeout=0)["proxies"] == look()["proxies"] and shop.objects == before


def test_a_proxy_that_no_istiod_knows_is_waited_for(shop, look):
    FakeIstiod(shop, proxies=("frontend-v1.shop",))
    result = look()
    assert verdicts(result) == {
        "frontend-v1.shop": "synced",
        "frontend-v2.shop": "pending",
    } and "not connected to any istiod" in reason(result, "frontend-v2.shop")


@pytest.mark.parametrize("status", [0, 401, 403, 404])
def test_where_istiod_cannot_be_asked_it_is_unknown_and_fails_nothing(shop, istiod, look, status):
    shop.tunnels[("istio-system", "istiod-1", 8080)] = forbidden(status)
    result = look(fail=True, wait_timeout=30)
    assert (
        set(verdicts(result).values()) == {"unknown"}
        and result["counts"]["unknown"] == 2
        and "may not create portforward" in str(result["warnings"])
    )


@pytest.fixture
def policy(run, shop):
    def say(module="traffic_split", **options):
        done = run(module, **HOST, **{"wait_for_proxies": False, **options})
        assert "failed" not in done, done

    return say


def test_what_the_proxies_have_is_compared_with_the_policy(shop, istiod, look, policy):
    policy(versions={"v1": 90, "v2": 10})
    policy("resilience", timeout="2s", retries={"attempts": 3})
    assert look(**HOST)["counts"]["synced"] == 2
    istiod.old = {"frontend-v1.shop"}
    result = look(**HOST)
    assert verdicts(result) == {
        "frontend-v1.shop": "pending",
        "frontend-v2.shop": "synced",
    }, "it has acknowledged, and yet has it not"
    assert "no subset v1; no subset v2; no route split-v1-90-v2-10-" in reason(result)
    assert look(**HOST, fail=True)["failure"]["code"] == "proxies_not_synced"


def test_from_whom_a_host_is_hidden_is_not_concerned(shop, istiod, look, policy):
    policy(versions={"v1": 1})
    istiod.hidden = {"frontend-v1.shop"}
    assert verdicts(look(**HOST)) == {"frontend-v2.shop": "synced"}


def test_a_proxy_that_stands_still_is_waited_for(shop, istiod, look, policy, monkeypatch):
    monkeypatch.setattr(of_proxies, "ADMIN_TIMEOUT", 0.1)
    policy(versions={"v1": 1})
    istiod.still = {"frontend-v1.shop"}
    result = look(**HOST)
    assert verdicts(result) == {
        "frontend-v1.shop": "pending",
        "frontend-v2.shop": "synced",
    } and "does not answer" in reason(result)


def test_all_are_asked_and_not_a_sample(shop, look, policy):
    fake = FakeIstiod(shop, proxies=tuple(f"p{number}.other" for number in range(12)))
    policy(versions={"v1": 1})
    fake.old = {"p11.other"}
    result = look(**HOST)
    assert len(result["proxies"]) == 14 and verdicts(result)["p11.other"] == "pending"


def test_proxies_answer_for_themselves_where_istiod_may_not(shop, istiod, look, policy):
    policy(versions={"v1": 1})
    shop.tunnels[("istio-system", "istiod-1", 8080)] = forbidden()
    assert verdicts(look(**HOST)) == {"frontend-v1.shop": "synced", "frontend-v2.shop": "synced"}
    shop.tunnels[("shop", "frontend-v1", 15000)] = forbidden()
    assert verdicts(look(**HOST)) == {"frontend-v1.shop": "unknown", "frontend-v2.shop": "synced"}


def test_a_gateway_is_concerned_where_the_policy_names_it(shop, look, policy):
    for name, labels in (("in", {"istio": "ingressgateway"}), ("out", {"istio": "egressgateway"})):
        shop.put(pod(name, "istio-system", labels, sidecar="container"))
    FakeIstiod(shop, proxies=("frontend-v1.shop", "frontend-v2.shop", "in.istio-system", "out.istio-system"))
    shop.put(istio("Gateway", "ingress", "istio-system", selector={"istio": "ingressgateway"}))
    policy(versions={"v1": 1})
    assert list(verdicts(look(**HOST))) == ["frontend-v1.shop", "frontend-v2.shop"]
    policy(versions={"v1": 1}, gateways=["mesh", "istio-system/ingress"], gateway_hosts=["shop.example.com"])
    assert list(verdicts(look(**HOST))) == ["frontend-v1.shop", "frontend-v2.shop", "in.istio-system"]


def test_a_host_without_a_policy_is_refused_and_in_check_mode_warned_of(shop, istiod, look, run):
    refused = look(**HOST)
    assert refused["failure"]["code"] == "no_policy" and refused["failed"]
    assert "no_policy" in str(run("proxy_status", check=True, **HOST)["warnings"])


def test_a_host_needs_its_namespace(look):
    assert "namespace" in look(service="frontend")["msg"]


@pytest.mark.parametrize("wait", [True, False])
def test_without_wait_for_proxies_only_the_last_wait_is_left_out(shop, istiod, run, wait):
    done = run("traffic_split", **HOST, versions={"v1": 1}, wait_for_proxies=wait)
    assert [text.split(": ")[1].split()[0] for text in done["verified"]] == ["subsets", "split-v1-1"][
        : 2 if wait else 1
    ]
    istiod.behind = {"frontend-v1.shop"}
    late = run(
        "traffic",
        policy={"shop": {"frontend": {"resilience": {"timeout": "1s"}}}},
        wait_for_proxies=wait,
        wait_timeout=1,
    )
    assert late["failure"]["code"] == "proxies_not_synced", "the end of a subset rests on the routes, whoever waits"


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("authorization", {"name": "web", "default": "deny"}),
        ("mtls", {"mode": "permissive"}),
        ("sidecar", {"egress_hosts": ["."]}),
    ],
)
def test_policies_of_one_object_may_be_left_to_arrive(shop, istiod, run, module, options):
    istiod.behind = {"frontend-v1.shop"}
    assert run(module, namespace="shop", **options, wait_timeout=1)["failure"]["code"] == "proxies_not_synced"
    assert "failed" not in run(
        module,
        namespace="shop",
        state="absent",
        **({"name": options["name"]} if "name" in options else {}),
        wait_for_proxies=False,
        wait_timeout=2,
    )
    assert run(module, namespace="shop", **options, wait_for_proxies=False, wait_timeout=2)["verified"] == []
