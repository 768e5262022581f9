# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's traffic policy does to real requests, counted at the client and at the servers.

Nothing here is a share that chance decides, but the abort's.
"""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab import programs
from playbook_runner import Lab
from shop import BOTH, HOST, SICK, SPACE, WELL, arrived, one_run, policy, send, stand_still

pytestmark = pytest.mark.long


def test_rules_send_redirect_answer_and_rewrite(shop: Lab) -> None:
    rules = [
        {"name": "testers", "match": {"headers": {"x-tester": {"present": True}}, "path": WELL}, "to": "v2"},
        {"name": "old", "match": {"path": "/old/*"}, "redirect": {"path": WELL, "status": 308}},
        {
            "name": "shut",
            "match": {"path": "/shut", "method": ["GET", "HEAD"]},
            "direct_response": {"status": 451, "body": "shut"},
        },
        {"name": "moved", "match": {"path": {"regex": "/moved/[0-9]+"}}, "rewrite": {"path": WELL}, "to": "v1"},
    ]
    with policy(shop, route={"rules": rules}, traffic_split={"versions": {"v1": 1, "v2": 0}}):
        assert send(shop)["deployments"] == {"web-v1": 100}, "the split has what no rule takes"
        assert send(shop, WELL, 100, "-header", "x-tester: yes")["deployments"] == {"web-v2": 100}
        assert send(shop, "/old/times")["statuses"] == {"308": 100}
        shut = send(shop, "/shut")
        assert shut["statuses"] == {"451": 100} and shut["bodies"]["451"].startswith("shut")
        moved = send(shop, "/moved/123")
        assert moved["statuses"] == {"200": 100} and moved["deployments"] == {"web-v1": 100}
        assert send(shop, "/moved/abc")["statuses"] == {"404": 100}
    assert send(shop, "/shut")["statuses"] == {"404": 100}, "all of it is gone"


def test_a_cookie_leads_back_to_its_version(shop: Lab) -> None:
    with policy(shop, traffic_split={"versions": BOTH, "sticky": {"cookie": "release", "max_age": "1h"}}):
        for version in BOTH:
            assert send(shop, WELL, 200, "-header", f"Cookie: a=b; release={version}; c=d")["deployments"] == {
                f"web-{version}": 200
            }
        assert set(send(shop, WELL, 200)["deployments"]) == {
            "web-v1",
            "web-v2",
        }, "2 in 2^200 that one of them gets none"


def test_copies_arrive_and_their_answers_do_not(shop: Lab) -> None:
    name, flags = one_run()
    with policy(shop, traffic_split={"versions": {"v1": 1}, "mirror": {"version": "v2", "percent": 100}}):
        assert send(shop, WELL, 200, *flags)["deployments"] == {"web-v1": 200}
    assert arrived(shop, name) == {"v1": 200, "v2": 200}


def test_aborts_at_their_share_and_only_for_whom_they_are_meant(shop: Lab) -> None:
    count = 2000
    with policy(
        shop, fault={"abort": {"http": 418, "percent": 20}, "match": {"headers": {"x-fault": "yes"}}, "expires": "1h"}
    ):
        measured = send(shop, WELL, count, "-header", "x-fault: yes")["statuses"]
        # 400 ± 17.9; five standard deviations exclude 15 % (300) and 25 % (500).
        assert sum(measured.values()) == count and set(measured) == {"200", "418"} and 311 <= measured["418"] <= 489, (
            measured
        )
        assert send(shop)["statuses"] == {"200": 100}
    with policy(shop, fault={"abort": {"grpc": "UNAVAILABLE"}}):
        assert send(shop)["deployments"] == {}, "a gRPC status is an answer of the proxy's own, which HTTP calls 200"


def test_a_delay_outlasts_a_clients_patience_and_a_fault_that_is_over_is_none(shop: Lab) -> None:
    with policy(shop, fault={"delay": {"by": "3s"}, "match": {"path": WELL}}):
        assert send(shop, WELL, 20, "-timeout", "1s")["errors"]["timeout"] == 20
        assert send(shop, "/robots.txt", 20, "-timeout", "1s")["statuses"] == {"200": 20}
        assert "failed" not in shop.module("fault", **HOST, delay={"by": "3s"}, expires="2020-01-01T00:00:00Z")
        assert send(shop, WELL, 20, "-timeout", "1s")["statuses"] == {"200": 20}


def test_nobody_waits_longer_than_the_timeout(shop: Lab) -> None:
    with policy(shop, resilience={"timeout": "1s", "retries": {"attempts": 0}}, traffic_split={"versions": {"v2": 1}}):
        assert send(shop, WELL, 20)["statuses"] == {"200": 20}
        stand_still(shop, "web-v2", "STOP")
        try:
            assert send(shop, WELL, 20, "-timeout", "10s")["statuses"] == {"504": 20}
        finally:
            stand_still(shop, "web-v2", "CONT")


def test_retries_are_counted_at_the_server(shop: Lab) -> None:
    for attempts, times in ((0, 1), (2, 3)):
        name, flags = one_run()
        on = {"retry_on": ["5xx"]} if attempts else {}
        with policy(shop, resilience={"retries": {"attempts": attempts, **on}}, traffic_split={"versions": {"v1": 1}}):
            assert send(shop, SICK, 20, *flags)["statuses"] == {"500": 20}
        assert arrived(shop, name)["v1"] == 20 * times


def test_a_pod_that_fails_is_left_alone(shop: Lab) -> None:
    """v2's program stands still: what goes there ends by the timeout, until it is ejected."""
    eject = {
        "outlier_detection": {
            "consecutive_gateway_errors": 2,
            "interval": "1s",
            "base_ejection_time": "3m",
            "max_ejection_percent": 100,
        }
    }
    with policy(shop, resilience={"timeout": "1s", "retries": {"attempts": 0}, **eject}):
        stand_still(shop, "web-v2", "STOP")
        try:
            first = send(shop, WELL, 60, "-timeout", "10s")["statuses"]
            assert first.get("504", 0) >= 2 and sum(first.values()) == 60, first
            assert send(shop, WELL, 100, "-timeout", "10s")["statuses"] == {"200": 100}
        finally:
            stand_still(shop, "web-v2", "CONT")


def test_requests_that_are_alike_go_to_one_pod(shop: Lab) -> None:
    with policy(shop, load_balancing={"consistent_hash": {"header": "x-user"}}):
        pods = {user: send(shop, WELL, 50, "-header", f"x-user: {user}")["pods"] for user in map(str, range(12))}
    assert all(len(found) == 1 for found in pods.values()), pods
    assert len({next(iter(found)) for found in pods.values()}) == 2, "both pods have users: 2 in 2^12 that not"


def test_a_proxy_that_stands_still_is_named_and_nothing_waits_for_it_in_vain(shop: Lab) -> None:
    stand_still(shop, "web-v1", "STOP", program="envoy")
    try:
        result = shop.module("traffic_split", **HOST, versions=BOTH, wait_timeout=20)
    finally:
        stand_still(shop, "web-v1", "CONT", program="envoy")
    assert (
        result["failure"]["code"] == "proxies_not_synced"
        and "web-v1-" in result["failure"]["reason"]
        and "web-v2-" not in result["failure"]["reason"]
    ), result
    with policy(shop, traffic_split={"versions": BOTH}):
        pass


def test_a_proxy_that_rejects_is_named_with_its_words(shop: Lab) -> None:
    """A filter that Envoy does not know, for one of the pods."""
    patch = {
        "operation": "INSERT_BEFORE",
        "value": {
            "name": "nowhere",
            "typed_config": {
                "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
                "type_url": "type.googleapis.com/nowhere.Filter",
                "value": {},
            },
        },
    }
    match = {
        "context": "SIDECAR_INBOUND",
        "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
    }
    broken = {
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "broken", "namespace": SPACE},
        "spec": {"workloadSelector": {"labels": {"app": "web", "version": "v2"}},
                 "configPatches": [{"applyTo": "HTTP_FILTER", "match": match, "patch": patch}]},
    }  # fmt: skip
    assert "failed" not in shop.module("manifests", definition=broken)
    try:
        result = shop.module("traffic_split", **HOST, versions=BOTH, wait_timeout=30)
        assert (
            result["failure"]["code"] == "rejected"
            and "web-v2-" in result["msg"]
            and "nowhere" in result["failure"]["reason"]
        ), result
    finally:
        assert shop.module("manifests", definition=broken, state="absent")["changed"]
    with policy(shop, traffic_split={"versions": BOTH}):
        pass


def test_fifty_changes_under_traffic_lose_nothing(shop: Lab) -> None:
    """Weights, subsets and versions; nothing is sent twice."""
    argv = [
        "kubectl",
        "exec",
        "-i",
        "-n",
        SPACE,
        "deploy/client",
        "-c",
        "client",
        "--",
        "standin",
        "client",
        "-n",
        "60000",
        "-rate",
        "50",
        "-c",
        "40",
        "-timeout",
        "10s",
        "-until-eof",
        f"http://web.{SPACE}{WELL}",
    ]
    silent = {"timeout": "9s", "retries": {"attempts": 0}}
    with (
        policy(shop, resilience=silent),
        subprocess.Popen(
            argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as running,
    ):
        for number in range(50):
            versions = ({"v1": 1}, {"v1": number, "v2": 50 - number}, {"v2": 1})[number % 3]
            done = shop.module(
                "traffic", policy={SPACE: {"web": {"resilience": silent, "split": {"versions": versions}}}}
            )
            assert done["changed"] and "failed" not in done, done
        figures = json.loads(running.communicate(timeout=60)[0])
    print(
        f"{figures['requests'] - figures['statuses'].get('200', 0)} failed of {figures['requests']} in"
        f" {figures['seconds']:.0f} s; none of so many says below {300 / figures['requests']:.3f} %"
    )
    assert figures["statuses"] == {"200": figures["requests"]} and sum(figures["errors"].values()) == 0, figures


def test_the_wrong_order_is_seen_by_the_same_traffic(shop: Lab) -> None:
    """The control: a route to a subset that no DestinationRule names."""
    route = {
        "name": "wrong",
        "route": [{"destination": {"host": f"web.{SPACE}.svc.cluster.local", "subset": "v1"}}],
        "retries": {"attempts": 0},
    }
    wrong = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "wrong", "namespace": SPACE},
        "spec": {"hosts": [f"web.{SPACE}.svc.cluster.local"], "http": [route]},
    }
    argv = [
        "kubectl",
        "exec",
        "-i",
        "-n",
        SPACE,
        "deploy/client",
        "-c",
        "client",
        "--",
        "standin",
        "client",
        "-n",
        "3000",
        "-rate",
        "50",
        "-c",
        "40",
        "-until-eof",
        f"http://web.{SPACE}{WELL}",
    ]
    with subprocess.Popen(
        argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert "failed" not in shop.module("manifests", definition=wrong)
        shop.kubectl(
            "-n",
            SPACE,
            "exec",
            "deploy/client",
            "-c",
            "client",
            "--",
            "standin",
            "client",
            "-n",
            "300",
            "-rate",
            "30",
            "http://127.0.0.1:15021/healthz/ready",
        )
        figures = json.loads(running.communicate(timeout=60)[0])
    assert shop.module("manifests", definition=wrong, state="absent")["changed"]
    assert figures["statuses"].get("503", 0) > 0, figures


def test_access_logs_are_written_only_where_they_are_asked_for(shop: Lab) -> None:
    def logged(run: str) -> int:
        # A proxy writes its log late.
        time.sleep(12)
        return sum(
            shop.kubectl("logs", "-n", SPACE, f"deploy/web-{version}", "-c", "istio-proxy", "--since=2m").count(run)
            for version in BOTH
        )

    def numbered() -> int:
        name = f"/{uuid.uuid4().hex}"
        assert send(shop, name, 20)["statuses"] == {"404": 20}
        return logged(name)

    assert numbered() == 20
    try:
        assert shop.module("telemetry", namespace=SPACE, access_logs={"enabled": False})["changed"]
        time.sleep(50)
        assert numbered() == 0
        assert shop.module(
            "telemetry", namespace=SPACE, access_logs={"providers": ["envoy"], "when": "response.code >= 500"}
        )["changed"]
        time.sleep(50)
        assert numbered() == 0
        assert shop.module(
            "telemetry", namespace=SPACE, access_logs={"providers": ["envoy"], "when": "response.code >= 400"}
        )["changed"]
        time.sleep(50)
        assert numbered() == 20
    finally:
        assert "failed" not in shop.module("telemetry", namespace=SPACE, state="absent")


@contextmanager
def simulated(lab: Lab, count: int) -> Iterator[None]:
    """So many more proxies at the lab's istiod, which take and acknowledge what they are sent: simulated, none of them
    has an Envoy.
    """
    argv = ["kubectl", "port-forward", "-n", "istio-system", "deploy/istiod", ":15010"]
    with subprocess.Popen(argv, env=lab.environment, stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout is not None
            port = forward.stdout.readline().split("127.0.0.1:")[1].split()[0]
            argv = [
                str(programs.build("proxies")),
                "-n",
                str(count),
                "-address",
                f"127.0.0.1:{port}",
                "-namespace",
                "simulated",
                "-routes",
                "80,8080,7070,3550,50051",
            ]
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
                assert running.stdout is not None and running.stdout.readline().strip() == "synced"
                yield
                running.communicate(timeout=60)
        finally:
            forward.terminate()


def test_a_change_converges_at_twenty_and_at_two_hundred_proxies(shop: Lab) -> None:
    for count in (20, 200):
        with simulated(shop, count), policy(shop, traffic_split={"versions": BOTH}):
            waits = []
            for number in range(5):
                done = shop.module("traffic_split", **HOST, versions={"v1": 90 + number, "v2": 10 - number})
                assert done["changed"] and "failed" not in done, done
                told = [int(barrier.split(" at ")[1].split()[0]) for barrier in done["verified"]]
                assert told and all(found > count for found in told), done["verified"]
                waits.append(done["duration"]["apply"] + done["duration"]["wait"])
            print(
                f"{count} simulated proxies, {told[0]} in all: from apply to converged {sorted(waits)[2]:.2f} s (median"
                f" of 5; {min(waits):.2f} to {max(waits):.2f})"
            )
