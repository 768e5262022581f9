# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._probe import gateway_access, probe
from builders import pod, service
from fake_gateway import HANG_UP

VERSIONS = {"v2": "v2", "v1": "."}


def test_answers_are_counted_by_version(run, gateway):
    result = run("probe", count=50, versions=VERSIONS)
    assert (result["sent"], result["failures"], result["changed"]) == (50, 0, False)
    assert result["responses_by_version"] == {"v1": 40, "v2": 10} and result["percent_by_version"] == {
        "v1": 80.0,
        "v2": 20.0,
    }
    assert result["codes"] == {"200": 50} and result["errors"] == {}
    assert result["target"] == f"http://127.0.0.1:{gateway.port}" and len(gateway.seen) == 50


def test_the_first_pattern_that_matches_counts_and_else_it_is_other(run, gateway):
    gateway.say = lambda number: (200, "v3" if number == 1 else "v1")
    assert run("probe", count=4, versions={"first": "v1", "second": "v1"})["responses_by_version"] == {
        "first": 3,
        "other": 1,
    }


def test_a_pattern_may_be_in_a_header(run, gateway):
    assert run("probe", count=5, versions={"two": "banner-v2", "one": "banner-v1"})["responses_by_version"] == {
        "one": 4,
        "two": 1,
    }


def test_answers_of_500_and_more_have_failed_and_count_for_no_version(run, gateway):
    gateway.say = lambda number: {1: (503, "v1"), 2: (404, "v1"), 3: (500, "v1")}.get(number, (200, "v1"))
    result = run("probe", count=10, versions=VERSIONS)
    assert (
        result["failures"] == 2
        and result["codes"] == {"200": 7, "404": 1, "500": 1, "503": 1}
        and result["responses_by_version"] == {"v1": 7}
    )


def test_connections_that_break_have_failed_and_the_rest_goes_on(run, gateway):
    gateway.say = lambda number: HANG_UP if number in (2, 3) else (200, "v1")
    result = run("probe", count=10, parallel=1, versions=VERSIONS)
    assert (
        result["failures"] == 2 and sum(result["errors"].values()) == 2 and result["responses_by_version"] == {"v1": 8}
    )


def test_where_nothing_is_answered_there_are_no_shares(run, gateway):
    gateway.say = lambda _number: HANG_UP
    result = run("probe", count=4, versions=VERSIONS)
    assert result["failures"] == 4 and result["responses_by_version"] == {} and result["percent_by_version"] == {}


def test_a_slow_answer_has_failed(run, gateway):
    release = threading.Event()
    gateway.say = lambda _number: (200, str(release.wait(5)))
    result = run("probe", count=1, timeout=1)
    release.set()
    assert result["failures"] == 1 and result["errors"] == {"timeout": 1}


def test_path_and_headers_are_sent_and_connections_are_used_again(run, gateway):
    run("probe", count=6, parallel=2, path="/cart", headers={"Host": "shop.example.com", "X-Probe": "1"})
    assert {path for path, _headers in gateway.seen} == {"/cart"}
    assert all(headers["Host"] == "shop.example.com" and headers["X-Probe"] == "1" for _path, headers in gateway.seen)
    assert len(gateway.clients) == 2


def test_check_mode_sends_the_same_requests(run, gateway):
    assert run("probe", check=True, count=5)["sent"] == 5 and len(gateway.seen) == 5


def test_a_node_port_is_reached_at_a_nodes_address(run, api, gateway):
    ports = [{"name": "http2", "port": 80, "nodePort": gateway.port}]
    api.put(service("by-node", "istio-system", type="NodePort", ports=ports))
    api.put(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "n"},
            "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]},
        }
    )
    result = run("probe", gateway="istio-system/by-node", count=5, versions=VERSIONS)
    assert result["target"] == f"http://127.0.0.1:{gateway.port}" and result["responses_by_version"] == {
        "v1": 4,
        "v2": 1,
    }


def tunnelled(api, gateway, **port):
    api.put(service("inside", "istio-system", ports=[{"name": "http2", "port": 80, **port}]))
    api.put(pod("inside-1", "istio-system", {"app": "inside"}))
    api.tunnels[("istio-system", "inside-1", port.get("targetPort", 80))] = lambda: socket.create_connection(
        ("127.0.0.1", gateway.port)
    )


def test_a_gateway_without_an_address_is_reached_through_a_tunnel_to_a_pod(run, api, gateway):
    tunnelled(api, gateway, targetPort=8080)
    result = run("probe", gateway="istio-system/inside", count=5, versions=VERSIONS)
    assert result["target"] == "tunnel to pod istio-system/inside-1" and result["responses_by_version"] == {
        "v1": 4,
        "v2": 1,
    }


def test_an_address_that_does_not_answer_is_no_way(run, api, gateway):
    tunnelled(api, gateway)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ports = [{"name": "http2", "port": 80, "nodePort": taken.getsockname()[1]}]
        api.put(service("inside", "istio-system", type="NodePort", ports=ports))
        api.put(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "n"},
                "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]},
            }
        )
        result = run("probe", gateway="istio-system/inside", count=1)
    assert result["target"] == "tunnel to pod istio-system/inside-1"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("istio-system/nowhere", "Service istio-system/nowhere does not exist"),
        ("istio-ingressgateway", "Service istio-ingressgateway does not exist"),
        ("istio-system/no-pod", "no pod with"),
    ],
)
def test_a_gateway_that_is_not_there_has_a_code(run, api, gateway, name, words):
    api.put(service("no-pod", "istio-system"))
    result = run("probe", gateway=name)
    assert result["failure"]["code"] == "no_gateway" and words in result["msg"] and gateway.seen == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parallel": 0}, "parallel: is 0"),
        ({"count": -5}, "count: is -5"),
        ({"timeout": 0}, "timeout: is 0"),
        ({"versions": {"v1": "("}}, "the pattern of v1 is not a valid regular expression"),
        ({"headers": {"X": None}}, "'X' is not a valid header"),
        ({"headers": {"X": "a\nHost: b"}}, "'X' is not a valid header"),
        ({"path": "a b"}, "'a b' is not a valid URL path"),
    ],
    ids=str,
)
def test_bad_options_are_told_before_anything_is_sent(run, gateway, options, words):
    result = run("probe", **options)
    assert result["failure"]["code"] == "invalid_option" and words in result["msg"] and gateway.seen == []


def test_a_tunnel_leads_to_a_pod_that_is_ready_then(api, gateway):
    tunnelled(api, gateway, targetPort=8080)
    way = gateway_access.route_to_host(Cluster(api), "istio-system/inside", 5)
    api.put(pod("inside-1", "istio-system", {"app": "inside"}, conditions=[{"type": "Ready", "status": "False"}]))
    api.tunnels[("istio-system", "inside-2", 8080)] = api.tunnels.pop(("istio-system", "inside-1", 8080))
    api.put(pod("inside-2", "istio-system", {"app": "inside"}))
    way.connect().close()


def test_a_connection_that_was_closed_is_not_opened_again_unseen(gateway):
    authority, connect = probe.to_address(gateway.url, 5)
    connection = probe.Connection(authority, connect())
    assert probe.send_request(probe.Probe(), connection, {}).status == 200
    connection.close()
    assert probe.send_request(probe.Probe(), connection, {}).cause == "protocol" and len(gateway.seen) == 1


def test_a_target_port_may_be_the_name_of_a_containers_port(run, api, gateway):
    tunnelled(api, gateway, targetPort="web")
    inside = pod("inside-1", "istio-system", {"app": "inside"})
    inside["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": 8080}]
    api.put(inside)
    api.tunnels[("istio-system", "inside-1", 8080)] = api.tunnels.pop(("istio-system", "inside-1", "web"))
    assert run("probe", gateway="istio-system/inside", count=5, versions=VERSIONS)["responses_by_version"] == {
        "v1": 4,
        "v2": 1,
    }
    inside["spec"]["containers"][0]["ports"] = []
    api.put(inside)
    assert "no port named web" in run("probe", gateway="istio-system/inside", count=1)["msg"]
