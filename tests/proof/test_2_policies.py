# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's traffic policy does to real requests, counted at the client and at the servers. Nothing here is a share that chance decides, but the abort's."""
from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playing import Lab

pytestmark = pytest.mark.long

SPACE = "proof-policies"
RECORD = "/var/policies-record"
HOST = {"namespace": SPACE, "host": "web"}
NEIGHBOURS = ("PRODUCT_CATALOG", "CURRENCY", "CART", "RECOMMENDATION", "SHIPPING", "CHECKOUT", "AD", "SHOPPING_ASSISTANT")
WELL, SICK = "/_healthz", "/"
BOTH = {"v1": 50, "v2": 50}


def server(version: str) -> dict[str, Any]:
    """A stand-in for the demo's frontend with no neighbours: WELL answers 200, SICK 500. It writes down each numbered request."""
    env = {**{f"{name}_SERVICE_ADDR": "nowhere.invalid:1" for name in NEIGHBOURS}, "RECORD": f"/record/{version}"}
    container = {
        "name": "server", "image": "localhost/lab/frontend:stand-in", "ports": [{"containerPort": 8080}],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": WELL, "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 100},
        "volumeMounts": [{"name": "record", "mountPath": f"/record/{version}"}],
    }  # fmt: skip
    return workload(f"web-{version}", {"app": "web", "version": version}, container, f"{RECORD}/{version}")


def workload(name: str, labels: dict[str, str], container: dict[str, Any], record: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 1}
    if record:
        spec.update(volumes=[{"name": "record", "hostPath": {"path": record, "type": "DirectoryOrCreate"}}], securityContext={"runAsUser": 0})
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": SPACE}, "spec": {"selector": {"matchLabels": labels}, "template": template}}


def service(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": SPACE}, "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}


@pytest.fixture(scope="module")
def shop(mesh: Lab) -> Iterator[Lab]:
    assert "failed" not in mesh.module("namespace", name=SPACE, injection="enabled")
    client = workload("client", {"app": "client"}, {"name": "client", "image": "localhost/lab/client:stand-in"})
    done = mesh.module("manifests", definition=[service("web"), server("v1"), server("v2"), client], wait_timeout=180)
    assert "failed" not in done, done
    yield mesh
    assert mesh.module("namespace", name=SPACE, state="absent", delete=True)["changed"]


@contextmanager
def policy(lab: Lab, **concerns: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The host has just these concerns, each by its own module; afterwards none of them."""
    result: dict[str, Any] = {}
    try:
        for module, options in concerns.items():
            result = lab.module(module, **HOST, **options)
            assert "failed" not in result, result
            assert all("proxies of" in barrier for barrier in result["barriers"]), result["barriers"]
        yield result
    finally:
        gone = lab.module("traffic", policy={SPACE: {"web": {}}})
        assert "failed" not in gone, gone


def send(lab: Lab, path: str = WELL, count: int = 100, *flags: str, host: str = "web") -> dict[str, Any]:
    """What became of so many requests of a pod in the mesh."""
    argv = ["exec", "deploy/client", "-n", SPACE, "-c", "client", "--", "standin", "client", "-n", str(count), "-c", "4", *flags, f"http://{host}.{SPACE}{path}"]
    figures: dict[str, Any] = json.loads(lab.kubectl(*argv))
    return figures


def arrived(lab: Lab, run: str) -> Counter[str]:
    """{version: numbered requests of a run that reached it}."""
    script = f"cd {RECORD} && grep -rh . /dev/null v1 2>/dev/null | grep -c '^{run} '; grep -rh . /dev/null v2 2>/dev/null | grep -c '^{run} '"
    lines = subprocess.run(["docker", "exec", "servicemesh-lab-control-plane", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False).stdout.split()
    return Counter(dict(zip(("v1", "v2"), map(int, lines))))


def one_run() -> tuple[str, tuple[str, str]]:
    name = f"policy-{uuid.uuid4().hex}"
    return name, ("-run", name)


def test_rules_send_redirect_answer_and_rewrite(shop: Lab) -> None:
    rules = [
        {"name": "testers", "when": {"headers": {"x-tester": {"present": True}}, "path": WELL}, "to": "v2"},
        {"name": "old", "when": {"path": "/old/*"}, "redirect": {"path": WELL, "status": 308}},
        {"name": "shut", "when": {"path": "/shut", "method": ["GET", "HEAD"]}, "respond": {"status": 451, "body": "shut"}},
        {"name": "moved", "when": {"path": {"regex": "/moved/[0-9]+"}}, "rewrite": {"path": WELL}, "to": "v1"},
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
            assert send(shop, WELL, 200, "-header", f"Cookie: a=b; release={version}; c=d")["deployments"] == {f"web-{version}": 200}
        assert set(send(shop, WELL, 200)["deployments"]) == {"web-v1", "web-v2"}, "2 in 2^200 that one of them gets none"


def test_copies_arrive_and_their_answers_do_not(shop: Lab) -> None:
    name, flags = one_run()
    with policy(shop, traffic_split={"versions": {"v1": 1}, "mirror": {"version": "v2", "percent": 100}}):
        assert send(shop, WELL, 200, *flags)["deployments"] == {"web-v1": 200}
    assert arrived(shop, name) == {"v1": 200, "v2": 200}


def test_aborts_at_their_share_and_only_for_whom_they_are_meant(shop: Lab) -> None:
    count = 2000
    with policy(shop, fault={"abort": {"http": 418, "percent": 20}, "when": {"headers": {"x-fault": "yes"}}, "expires": "1h"}):
        measured = send(shop, WELL, count, "-header", "x-fault: yes")["statuses"]
        # 400 ± 17.9; five standard deviations exclude 15 % (300) and 25 % (500).
        assert sum(measured.values()) == count and set(measured) == {"200", "418"} and 311 <= measured["418"] <= 489, measured
        assert send(shop)["statuses"] == {"200": 100}
    with policy(shop, fault={"abort": {"grpc": "UNAVAILABLE"}}):
        assert send(shop)["deployments"] == {}, "a gRPC status is an answer of the proxy's own, which HTTP calls 200"


def test_a_delay_outlasts_a_clients_patience_and_a_fault_that_is_over_is_none(shop: Lab) -> None:
    with policy(shop, fault={"delay": {"by": "3s"}, "when": {"path": WELL}}):
        assert send(shop, WELL, 20, "-timeout", "1s")["errors"]["timeout"] == 20
        assert send(shop, "/robots.txt", 20, "-timeout", "1s")["statuses"] == {"200": 20}
        assert "failed" not in shop.module("fault", **HOST, delay={"by": "3s"}, expires="2020-01-01T00:00:00Z")
        assert send(shop, WELL, 20, "-timeout", "1s")["statuses"] == {"200": 20}


def stand_still(lab: Lab, deployment: str, signal: str, program: str = "standin") -> None:
    """Sends a signal to a program of the deployment's one pod, on the node."""
    version = deployment.removeprefix("web-")
    pod = lab.get("pods", "-n", SPACE, "-l", f"app=web,version={version}")["items"][0]["metadata"]["name"]
    script = f"""for p in /proc/[0-9]*; do
        tr '\\0' '\\n' <$p/environ 2>/dev/null | grep -qx 'HOSTNAME={pod}' || continue
        case "$(readlink $p/exe)" in *{program}*) kill -{signal} ${{p#/proc/}} && echo done;; esac
    done"""
    done = subprocess.run(["docker", "exec", "servicemesh-lab-control-plane", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "done" in done.stdout, done


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
        on = {"on": ["5xx"]} if attempts else {}
        with policy(shop, resilience={"retries": {"attempts": attempts, **on}}, traffic_split={"versions": {"v1": 1}}):
            assert send(shop, SICK, 20, *flags)["statuses"] == {"500": 20}
        assert arrived(shop, name)["v1"] == 20 * times


def test_a_pod_that_fails_is_left_alone(shop: Lab) -> None:
    """v2's program stands still: what goes there ends by the timeout, until it is ejected."""
    eject = {"eject": {"gateway_errors": 2, "every": "1s", "for": "3m", "max_percent": 100}}
    with policy(shop, resilience={"timeout": "1s", "retries": {"attempts": 0}, **eject}):
        stand_still(shop, "web-v2", "STOP")
        try:
            first = send(shop, WELL, 60, "-timeout", "10s")["statuses"]
            assert first.get("504", 0) >= 2 and sum(first.values()) == 60, first
            assert send(shop, WELL, 100, "-timeout", "10s")["statuses"] == {"200": 100}
        finally:
            stand_still(shop, "web-v2", "CONT")


def test_requests_that_are_alike_go_to_one_pod(shop: Lab) -> None:
    with policy(shop, load_balancing={"hash_on": {"header": "x-user"}}):
        pods = {user: send(shop, WELL, 50, "-header", f"x-user: {user}")["pods"] for user in map(str, range(12))}
    assert all(len(found) == 1 for found in pods.values()), pods
    assert len({next(iter(found)) for found in pods.values()}) == 2, "both pods have users: 2 in 2^12 that not"


def test_a_proxy_that_stands_still_is_named_and_nothing_waits_for_it_in_vain(shop: Lab) -> None:
    stand_still(shop, "web-v1", "STOP", program="envoy")
    try:
        result = shop.module("traffic_split", **HOST, versions=BOTH, wait_timeout=20)
    finally:
        stand_still(shop, "web-v1", "CONT", program="envoy")
    assert result["failure"]["code"] == "not_converged" and "web-v1-" in result["failure"]["reason"] and "web-v2-" not in result["failure"]["reason"], result
    with policy(shop, traffic_split={"versions": BOTH}):
        pass


def test_a_proxy_that_rejects_is_named_with_its_words(shop: Lab) -> None:
    """A filter that Envoy does not know, for one of the pods."""
    patch = {"operation": "INSERT_BEFORE", "value": {"name": "nowhere", "typed_config": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": "type.googleapis.com/nowhere.Filter", "value": {}}}}
    match = {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}}
    broken = {
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "broken", "namespace": SPACE},
        "spec": {"workloadSelector": {"labels": {"app": "web", "version": "v2"}}, "configPatches": [{"applyTo": "HTTP_FILTER", "match": match, "patch": patch}]},
    }  # fmt: skip
    assert "failed" not in shop.module("manifests", definition=broken)
    try:
        result = shop.module("traffic_split", **HOST, versions=BOTH, wait_timeout=30)
        assert result["failure"]["code"] == "rejected" and "web-v2-" in result["msg"] and "nowhere" in result["failure"]["reason"], result
    finally:
        assert shop.module("manifests", definition=broken, state="absent")["changed"]
    with policy(shop, traffic_split={"versions": BOTH}):
        pass


def test_fifty_changes_under_traffic_lose_nothing(shop: Lab) -> None:
    """Weights, subsets and versions; nothing is sent twice."""
    argv = ["kubectl", "exec", "-i", "-n", SPACE, "deploy/client", "-c", "client", "--", "standin", "client", "-n", "60000", "-rate", "50", "-c", "40", "-timeout", "10s", "-until-eof", f"http://web.{SPACE}{WELL}"]
    silent = {"timeout": "9s", "retries": {"attempts": 0}}
    with policy(shop, resilience=silent), subprocess.Popen(argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        for number in range(50):
            versions = ({"v1": 1}, {"v1": number, "v2": 50 - number}, {"v2": 1})[number % 3]
            done = shop.module("traffic", policy={SPACE: {"web": {"resilience": silent, "split": {"versions": versions}}}})
            assert done["changed"] and "failed" not in done, done
        figures = json.loads(running.communicate(timeout=60)[0])
    print(f"{figures['requests'] - figures['statuses'].get('200', 0)} failed of {figures['requests']} in {figures['seconds']:.0f} s; none of so many says below {300 / figures['requests']:.3f} %")
    assert figures["statuses"] == {"200": figures["requests"]} and sum(figures["errors"].values()) == 0, figures


def test_the_wrong_order_is_seen_by_the_same_traffic(shop: Lab) -> None:
    """The control: a route to a subset that no DestinationRule names."""
    route = {"name": "wrong", "route": [{"destination": {"host": f"web.{SPACE}.svc.cluster.local", "subset": "v1"}}], "retries": {"attempts": 0}}
    wrong = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "wrong", "namespace": SPACE}, "spec": {"hosts": [f"web.{SPACE}.svc.cluster.local"], "http": [route]}}
    argv = ["kubectl", "exec", "-i", "-n", SPACE, "deploy/client", "-c", "client", "--", "standin", "client", "-n", "3000", "-rate", "50", "-c", "40", "-until-eof", f"http://web.{SPACE}{WELL}"]
    with subprocess.Popen(argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert "failed" not in shop.module("manifests", definition=wrong)
        shop.kubectl("-n", SPACE, "exec", "deploy/client", "-c", "client", "--", "standin", "client", "-n", "300", "-rate", "30", "http://127.0.0.1:15021/healthz/ready")
        figures = json.loads(running.communicate(timeout=60)[0])
    assert shop.module("manifests", definition=wrong, state="absent")["changed"]
    assert figures["statuses"].get("503", 0) > 0, figures


@contextmanager
def authorized(lab: Lab, **options: Any) -> Iterator[None]:
    try:
        done = lab.module("authorization", name="web", namespace=SPACE, workload={"app": "web"}, **options)
        assert "failed" not in done and all("proxies of" in barrier for barrier in done["barriers"]), done
        yield
    finally:
        gone = lab.module("authorization", name="web", namespace=SPACE, state="absent")
        assert "failed" not in gone, gone


def drained(lab: Lab, path: str, statuses: dict[str, int]) -> None:
    """New connections meet a listener's change at once, open ones when the proxy has drained them (45 s)."""
    for _ in range(40):
        if (found := send(lab, path)["statuses"]) == statuses:
            return
        time.sleep(2)
    raise AssertionError(found)


def test_by_default_nobody_may_call(shop: Lab) -> None:
    with authorized(shop, default="deny"):
        drained(shop, WELL, {"403": 100})
    drained(shop, WELL, {"200": 100})


def test_by_identity_method_and_path(shop: Lab) -> None:
    mine, other = {"service_accounts": [f"{SPACE}/default"]}, {"service_accounts": [f"{SPACE}/other"]}
    with authorized(shop, allow=[{"from": mine, "to": {"paths": ["/_health*"], "methods": ["GET"]}}]):
        drained(shop, WELL, {"200": 100})
        drained(shop, "/robots.txt", {"403": 100})
    with authorized(shop, allow=[{"from": other}]):
        drained(shop, WELL, {"403": 100})
    with authorized(shop, deny=[{"to": {"paths": [WELL]}}]):
        drained(shop, WELL, {"403": 100})
        drained(shop, "/robots.txt", {"200": 100})
    with authorized(shop, default="deny", dry_run=True):
        drained(shop, WELL, {"200": 100})


OUTSIDE = "proof-policies-plain"


@pytest.fixture
def plain(shop: Lab) -> Iterator[Lab]:
    """A caller without a sidecar."""
    shop.kubectl("create", "namespace", OUTSIDE)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain", "namespace": OUTSIDE}, "spec": {"containers": [{"name": "client", "image": "localhost/lab/client:stand-in"}]}}
    assert "failed" not in shop.module("manifests", definition=pod, wait_timeout=60)
    yield shop
    shop.kubectl("delete", "namespace", OUTSIDE, "--wait=false")


def test_tls_becomes_a_must_only_when_nobody_is_shut_out_or_it_is_told(plain: Lab) -> None:
    def without_tls(count: int) -> dict[str, Any]:
        argv = ["exec", "plain", "-n", OUTSIDE, "--", "standin", "client", "-n", str(count), "-c", "2", f"http://web.{SPACE}{WELL}"]
        figures: dict[str, Any] = json.loads(plain.kubectl(*argv))
        return figures

    assert without_tls(20)["statuses"] == {"200": 20} and send(plain)["statuses"] == {"200": 100}
    # A proxy writes its log late.
    time.sleep(15)
    refused = plain.module("mtls", namespace=SPACE, mode="strict")
    assert refused["failure"]["code"] == "plaintext_callers" and f"{OUTSIDE}/plain" in refused["msg"] and "client-" not in refused["msg"], refused
    try:
        assert plain.module("mtls", namespace=SPACE, mode="strict", plaintext="shut_out")["changed"]
        shut = without_tls(20)
        assert shut["statuses"] == {} and sum(shut["errors"].values()) == 20, shut
        assert send(plain)["statuses"] == {"200": 100}
    finally:
        assert plain.module("mtls", namespace=SPACE, state="absent")["changed"]
    assert without_tls(20)["statuses"] == {"200": 20}
