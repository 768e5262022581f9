# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Levels of proxies' logs: all are read before any is set, only what differs is, and who failed is named."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from builders import pod
from fake_proxy import FakeProxy

DEBUG = {"workload": {"app": "web"}, "levels": {"http": "debug", "router": "debug"}}
SET = "POST /logging?paths="


@pytest.fixture
def proxies(api):
    for name, sidecar in (("web-1", "native"), ("web-2", "container")):
        api.put(pod(name, labels={"app": "web"}, sidecar=sidecar))
    return [FakeProxy(api, "web-1"), FakeProxy(api, "web-2")]


@pytest.fixture
def say(run, proxies):
    return lambda check=False, **options: run("proxy_log", check=check, **{"namespace": "shop", **DEBUG, **options})


def rows(result):
    return {row["pod"]: row["action"] for row in result["proxies"]}


def was_set(proxies):
    return [question for proxy in proxies for question in proxy.asked if question.startswith(SET)]


def test_levels_are_set_and_again_nothing_is(proxies, say):
    first = say()
    assert first["changed"] and rows(first) == {"web-1": "configured", "web-2": "configured"}
    assert (
        proxies[0].levels
        == proxies[1].levels
        == {
            "admin": "warning",
            "http": "debug",
            "misc": "error",
            "router": "debug",
        }
    )
    assert first["proxies"][0]["before"] == {"http": "warning", "router": "warning"} and first["proxies"][0][
        "after"
    ] == {"http": "debug", "router": "debug"}
    assert first["diff"][0] == {
        "before": "http: warning\nrouter: warning\n",
        "after": "http: debug\nrouter: debug\n",
        "before_header": "Pod shop/web-1",
        "after_header": "Pod shop/web-1",
    }
    again = say()
    assert not again["changed"] and rows(again) == {"web-1": "unchanged", "web-2": "unchanged"} and again["diff"] == []
    assert len(was_set(proxies)) == 2, "each was set once"


def test_only_what_differs_is_set(proxies, say):
    proxies[0].levels["http"] = "debug"
    proxies[1].levels.update(http="debug", router="debug")
    assert rows(say()) == {"web-1": "configured", "web-2": "unchanged"}
    assert was_set(proxies) == [f"{SET}router:debug"]


def test_all_goes_back_to_what_istio_has(proxies, say):
    before = copy.deepcopy(proxies[0].levels)
    assert say(levels={"all": "trace"})["changed"] and set(proxies[0].levels.values()) == {"trace"}
    assert say(levels={"all": "warning", "misc": "error"})["changed"] and proxies[0].levels == before
    assert say(levels={"all": False})["changed"] and set(proxies[0].levels.values()) == {"off"}


def test_check_mode_says_what_a_run_does_and_sets_nothing(proxies, say):
    dry = say(check=True)
    assert was_set(proxies) == [] and proxies[0].levels["http"] == "warning"
    wet = say()
    assert all(dry[key] == wet[key] for key in ("changed", "proxies", "diff"))
    assert not say(check=True)["changed"]


def test_without_a_workload_it_is_all_of_the_namespace(api, proxies, say):
    api.put(pod("elsewhere", "istio-system", {"app": "web"}, sidecar="native"))
    api.put(pod("other", labels={"app": "other"}, sidecar="native"))
    FakeProxy(api, "other")
    assert list(rows(say(workload={}))) == ["other", "web-1", "web-2"]


@pytest.mark.parametrize(
    ("obj", "code"),
    [
        (pod("web-3", labels={"app": "web"}), "no_proxy"),
        (pod("web-3", labels={"app": "web"}, sidecar="native", phase="Pending"), "not_running"),
    ],
)
def test_a_pod_that_cannot_be_asked_is_refused_before_anything_and_in_check_mode_warned_of(
    api, proxies, say, obj, code
):
    api.put(obj)
    refused = say()
    assert (
        refused["failure"]["code"] == code
        and refused["failure"]["ref"]["name"] == "web-3"
        and refused["failure"]["hint"]
    )
    assert proxies[0].asked == proxies[1].asked == [] and not refused["changed"]
    dry = say(check=True)
    assert code in str(dry["warnings"]) and list(rows(dry)) == ["web-1", "web-2"]


def test_no_pod_is_refused_and_in_check_mode_warned_of(say):
    assert say(workload={"app": "wbe"})["failure"]["code"] == "no_pods"
    dry = say(check=True, workload={"app": "wbe"})
    assert "no_pods" in str(dry["warnings"]) and not dry["changed"] and dry["proxies"] == []


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("levels", "code"),
    [({}, "invalid_option"), ({"http": "warn"}, "unknown_level"), ({"htpt": "debug"}, "unknown_logger")],
)
def test_wrong_levels_are_refused_before_anything(proxies, say, levels, code, check):
    refused = say(check=check, levels=levels)
    assert refused["failure"]["code"] == code and refused["failure"]["hint"] and was_set(proxies) == []


def test_a_logger_that_only_the_last_lacks_is_refused_before_the_first_is_set(proxies, say):
    proxies[0].levels["new"] = "warning"
    refused = say(levels={"new": "debug"})
    assert (
        refused["failure"]["code"] == "unknown_logger"
        and refused["failure"]["ref"]["name"] == "web-2"
        and was_set(proxies) == []
    )


def forbidden():
    raise ApiError(403, "Forbidden", "may not create portforward")


def test_a_proxy_that_cannot_be_read_keeps_the_others_as_they_are(api, proxies, say):
    del api.tunnels[("shop", "web-2", 15000)]
    refused = say()
    assert (
        refused["failure"]["code"] == "proxy_silent"
        and refused["failure"]["ref"]["name"] == "web-2"
        and was_set(proxies) == []
    )
    api.tunnels[("shop", "web-2", 15000)] = forbidden
    refused = say()
    assert refused["failure"]["code"] == "forbidden" and "portforward" in refused["msg"] and was_set(proxies) == []


@pytest.mark.parametrize("how", ["gone", "deaf"])
def test_who_failed_midway_is_named_and_who_was_set_as_well(proxies, say, how):
    setattr(proxies[0], how, True)
    failed = say()
    assert (
        failed["failure"]["code"] == "not_set"
        and failed["failure"]["ref"]["name"] == "web-1"
        and "1 of 2" in failed["msg"]
    )
    assert failed["changed"] and rows(failed) == {"web-1": "failed", "web-2": "configured"}
    assert [one["after_header"] for one in failed["diff"]] == ["Pod shop/web-2"]
    assert failed["proxies"][0]["message"] and failed["proxies"][0]["after"] == {}
    setattr(proxies[0], how, False)
    assert rows(say()) == {"web-1": "configured", "web-2": "unchanged"}, "another run does the rest"
