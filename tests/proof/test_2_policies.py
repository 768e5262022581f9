# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's traffic policy does to real requests, counted at the client and at the servers.

Nothing here is a share that chance decides, but the abort's.
"""

from __future__ import annotations

import base64
import datetime
import http.client
import json
import socket
import ssl
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from lab import programs
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
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


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
    argv = [
        "exec",
        "deploy/client",
        "-n",
        SPACE,
        "-c",
        "client",
        "--",
        "standin",
        "client",
        "-n",
        str(count),
        "-c",
        "4",
        *flags,
        f"http://{host}.{SPACE}{path}",
    ]
    figures: dict[str, Any] = json.loads(lab.kubectl(*argv))
    return figures


def arrived(lab: Lab, run: str) -> Counter[str]:
    """{version: numbered requests of a run that reached it}."""
    script = f"cd {RECORD} && grep -rh . /dev/null v1 2>/dev/null | grep -c '^{run} '; grep -rh . /dev/null v2 2>/dev/null | grep -c '^{run} '"
    lines = subprocess.run(
        ["docker", "exec", "servicemesh-lab-control-plane", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
    ).stdout.split()
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
        on = {"conditions": ["5xx"]} if attempts else {}
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
    patch = {
        "operation": "INSERT_BEFORE",
        "value": {
            "name": "nowhere",
            "typed_config": {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": "type.googleapis.com/nowhere.Filter", "value": {}},
        },
    }
    match = {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}}
    broken = {
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "broken", "namespace": SPACE},
        "spec": {"workloadSelector": {"labels": {"app": "web", "version": "v2"}},
                 "configPatches": [{"applyTo": "HTTP_FILTER", "match": match, "patch": patch}]},
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
    with policy(shop, resilience=silent), subprocess.Popen(argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        for number in range(50):
            versions = ({"v1": 1}, {"v1": number, "v2": 50 - number}, {"v2": 1})[number % 3]
            done = shop.module("traffic", policy={SPACE: {"web": {"resilience": silent, "split": {"versions": versions}}}})
            assert done["changed"] and "failed" not in done, done
        figures = json.loads(running.communicate(timeout=60)[0])
    print(
        f"{figures['requests'] - figures['statuses'].get('200', 0)} failed of {figures['requests']} in {figures['seconds']:.0f} s; none of so many says "
        f"below {300 / figures['requests']:.3f} %"
    )
    assert figures["statuses"] == {"200": figures["requests"]} and sum(figures["errors"].values()) == 0, figures


def test_the_wrong_order_is_seen_by_the_same_traffic(shop: Lab) -> None:
    """The control: a route to a subset that no DestinationRule names."""
    route = {"name": "wrong", "route": [{"destination": {"host": f"web.{SPACE}.svc.cluster.local", "subset": "v1"}}], "retries": {"attempts": 0}}
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
    with subprocess.Popen(argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert "failed" not in shop.module("manifests", definition=wrong)
        shop.kubectl(
            "-n", SPACE, "exec", "deploy/client", "-c", "client", "--", "standin", "client", "-n", "300", "-rate", "30", "http://127.0.0.1:15021/healthz/ready"
        )
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
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain", "namespace": OUTSIDE},
        "spec": {"containers": [{"name": "client", "image": "localhost/lab/client:stand-in"}]},
    }
    assert "failed" not in shop.module("manifests", definition=pod, wait_timeout=60)
    yield shop
    shop.kubectl("delete", "namespace", OUTSIDE, "--timeout=120s")


def test_tls_becomes_a_must_only_when_nobody_is_shut_out_or_it_is_told(plain: Lab) -> None:
    def without_tls(count: int) -> dict[str, Any]:
        argv = ["exec", "plain", "-n", OUTSIDE, "--", "standin", "client", "-n", str(count), "-c", "2", f"http://web.{SPACE}{WELL}"]
        figures: dict[str, Any] = json.loads(plain.kubectl(*argv))
        return figures

    assert without_tls(20)["statuses"] == {"200": 20} and send(plain)["statuses"] == {"200": 100}
    # A proxy writes its log late.
    time.sleep(15)
    try:
        refused = plain.module("mtls", namespace=SPACE, mode="strict")
        assert refused["failure"]["code"] == "plaintext_callers" and f"{OUTSIDE}/plain" in refused["msg"] and "client-" not in refused["msg"], refused
        assert plain.module("mtls", namespace=SPACE, mode="strict", plaintext="shut_out")["changed"]
        shut = without_tls(20)
        assert shut["statuses"] == {} and sum(shut["errors"].values()) == 20, shut
        assert send(plain)["statuses"] == {"200": 100}
    finally:
        assert plain.module("mtls", namespace=SPACE, state="absent")["changed"]
    assert without_tls(20)["statuses"] == {"200": 20}


ISSUER = "https://login.example.com"


class Signer:
    """An issuer of tokens (RFC 7519) with a key of its own."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        numbers = self._key.public_key().public_numbers()
        self.keys = {
            "keys": [
                {"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": _text(numbers.n.to_bytes(256, "big")), "e": _text(numbers.e.to_bytes(3, "big"))}
            ]
        }

    def token(self, issuer: str = ISSUER, lives: int = 3600, audience: str = "shop") -> str:
        claims = {"iss": issuer, "sub": "somebody", "aud": audience, "iat": int(time.time()) - 7200, "exp": int(time.time()) + lives}
        signed = ".".join(_text(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one", "typ": "JWT"}, claims))
        return f"{signed}.{_text(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def bearing(token: str) -> tuple[str, str]:
    return "-header", f"Authorization: Bearer {token}"


def test_tokens_good_expired_forged_and_none(shop: Lab) -> None:
    signer = Signer()
    options = {"name": "web", "namespace": SPACE, "workload": {"app": "web"}}
    done = shop.module("jwt", **options, issuers=[{"issuer": ISSUER, "keys": signer.keys, "audiences": ["shop"]}], open_paths=["/robots.txt"])
    assert "failed" not in done and all("proxies of" in barrier for barrier in done["barriers"]), done
    try:
        drained(shop, WELL, {"403": 100})
        assert send(shop, "/robots.txt")["statuses"] == {"200": 100}, "a path that needs none"
        for token, status in (
            (signer.token(), "200"),
            (signer.token(lives=-3600), "401"),
            (signer.token(issuer="https://other.example.com"), "401"),
            (signer.token(audience="other"), "403"),
            (Signer().token(), "401"),
            ("nonsense", "401"),
        ):
            assert send(shop, WELL, 20, *bearing(token))["statuses"] == {status: 20}, (token, status)
        assert shop.module("jwt", **options, required=False, issuers=[{"issuer": ISSUER, "keys": signer.keys}])["changed"]
        drained(shop, WELL, {"200": 100})
        assert send(shop, WELL, 20, *bearing(signer.token(lives=-3600)))["statuses"] == {"401": 20}
    finally:
        assert "failed" not in shop.module("jwt", **options, state="absent")
    drained(shop, WELL, {"200": 100})


FAR = "far.example.com"


@pytest.fixture
def far(plain: Lab) -> Iterator[str]:
    """Address of a server that no Service names, so that the mesh does not know it."""
    container = server("v1")["spec"]["template"]["spec"]["containers"][0]
    container = {
        **{key: value for key, value in container.items() if key != "volumeMounts"},
        "env": [entry for entry in container["env"] if entry["name"] != "RECORD"],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "far", "namespace": OUTSIDE}, "spec": {"containers": [container]}}
    assert "failed" not in plain.module("manifests", definition=pod, wait_timeout=60)
    yield plain.get("pod", "far", "-n", OUTSIDE)["status"]["podIP"]


def call(lab: Lab, url: str, *flags: str, count: int = 20) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(
        lab.kubectl("exec", "deploy/client", "-n", SPACE, "-c", "client", "--", "standin", "client", "-n", str(count), "-c", "2", *flags, url)
    )
    return figures


def statuses(lab: Lab, wanted: dict[str, int], url: str, *flags: str) -> None:
    """As soon as open connections have been drained."""
    for _ in range(40):
        if (found := call(lab, url, *flags)["statuses"]) == wanted:
            return
        time.sleep(2)
    raise AssertionError(found)


def gateway_requests(lab: Lab, host: str) -> int:
    """Requests that the ingress gateway sent on to a host, as it counts them."""
    text = lab.kubectl("exec", "-n", "istio-system", "deploy/istio-ingressgateway", "--", "pilot-agent", "request", "GET", "stats")
    return sum(int(line.rpartition(" ")[2]) for line in text.splitlines() if f"|{host}" in line and "upstream_rq_completed:" in line)


def test_what_nobody_registered_is_not_called_until_it_is(shop: Lab, far: str) -> None:
    url, named = f"http://{far}:8080{WELL}", ("-host", FAR)
    statuses(shop, {"200": 20}, url, *named)
    host = {"name": "far", "namespace": SPACE, "hosts": [FAR], "ports": [{"number": 8080, "protocol": "HTTP"}], "endpoints": [far]}
    try:
        assert shop.module("sidecar", namespace=SPACE, sees=[".", "istio-system"], outbound="registry_only")["changed"]
        # Its connections are closed: no listener of the proxy is for that port.
        statuses(shop, {}, url, *named)
        assert send(shop)["statuses"] == {"200": 100}, "what the mesh knows is still called"
        done = shop.module("egress", **host)
        assert done["changed"] and all("proxies of" in barrier for barrier in done["barriers"]), done
        statuses(shop, {"200": 20}, url, *named)
        assert gateway_requests(shop, FAR) == 0
        done = shop.module("egress", **host, gateway="istio-system/istio-ingressgateway", gateway_selector={"istio": "ingressgateway"})
        assert "failed" not in done, done
        before = gateway_requests(shop, FAR)
        statuses(shop, {"200": 20}, url, *named)
        assert gateway_requests(shop, FAR) >= before + 20, "all of them left through the gateway"
        assert shop.module("egress", name="far", namespace=SPACE, state="absent")["changed"]
        statuses(shop, {}, url, *named)
    finally:
        shop.module("egress", name="far", namespace=SPACE, state="absent")
        assert "failed" not in shop.module("sidecar", namespace=SPACE, state="absent")
    statuses(shop, {"200": 20}, url, *named)


@pytest.fixture
def secured(shop: Lab, tmp_path: Path) -> Iterator[str]:
    """The ingress gateway takes TLS for FAR and sends its requests to the shop; HTTP is redirected. Address of its pod."""
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    private, name, now = (
        rsa.generate_private_key(65537, 2048),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, FAR)]),
        datetime.datetime.now(datetime.timezone.utc),
    )
    made = x509.CertificateBuilder(
        name, name, private.public_key(), x509.random_serial_number(), now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1)
    )
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(FAR)]), critical=False).sign(private, hashes.SHA256())
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    shop.kubectl("-n", "istio-system", "create", "secret", "tls", "policies-far", f"--key={key}", f"--cert={certificate}")
    try:
        done = shop.module("gateway", name="far", namespace=SPACE, hosts=[FAR], tls={"secret": "policies-far"}, redirect=True)
        assert "failed" not in done and all("proxies of" in barrier for barrier in done["barriers"]), done
        with policy(shop, route={"rules": [{"to": {"version": "v1"}}], "gateways": [f"{SPACE}/far"], "gateway_hosts": [FAR]}):
            yield shop.get("pods", "-n", "istio-system", "-l", "istio=ingressgateway")["items"][0]["status"]["podIP"]
    finally:
        gone = shop.module("gateway", name="far", namespace=SPACE, state="absent")
        assert "failed" not in gone, gone
        shop.kubectl("-n", "istio-system", "delete", "secret", "policies-far")


def test_requests_come_in_by_tls_and_are_led_there(secured: str, plain: Lab, tmp_path: Path) -> None:
    pod = plain.get("pods", "-n", "istio-system", "-l", "istio=ingressgateway")["items"][0]["metadata"]["name"]
    argv = ["kubectl", "port-forward", "-n", "istio-system", f"pod/{pod}", ":8443", ":8080"]
    with subprocess.Popen(argv, env=plain.environment, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        ports = {}
        while len(ports) < 2:
            line = forward.stdout.readline()
            assert line, "the port-forward ended"
            if "127.0.0.1" in line:
                ports[line.rpartition("-> ")[2].strip()] = int(line.split("127.0.0.1:")[1].split()[0])
        try:
            led = http.client.HTTPConnection("127.0.0.1", ports["8080"], timeout=10)
            led.request("GET", WELL, headers={"Host": FAR})
            answer = led.getresponse()
            assert answer.status == 301 and answer.headers["location"] == f"https://{FAR}{WELL}", answer.headers
            trusted = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
            with socket.create_connection(("127.0.0.1", ports["8443"]), 10) as raw, trusted.wrap_socket(raw, server_hostname=FAR) as secure:
                secure.sendall(f"GET {WELL} HTTP/1.1\r\nHost: {FAR}\r\nConnection: close\r\n\r\n".encode())
                text = b"".join(iter(lambda: secure.recv(65536), b"")).decode()
            assert text.startswith("HTTP/1.1 200") and "web-v1" in text, text
            with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection(("127.0.0.1", ports["8443"]), 10) as raw:
                trusted.wrap_socket(raw, server_hostname="other.example.com")
        finally:
            forward.terminate()


def test_a_proxy_begins_tls_and_verifies_unless_told_otherwise(secured: str, shop: Lab) -> None:
    """The far host is the mesh's own ingress gateway, with a certificate that no authority signed."""
    host = {"name": "pay", "namespace": SPACE, "hosts": [FAR], "ports": [80], "endpoints": [secured], "addresses": ["240.1.2.3"]}
    url, named = f"http://240.1.2.3{WELL}", ("-host", FAR)
    try:
        assert "failed" not in shop.module("egress", **host, tls={"port": 8443, "verify": False})
        statuses(shop, {"200": 20}, url, *named)
        assert "failed" not in shop.module("egress", **host, tls={"port": 8443})
        statuses(shop, {"503": 20}, url, *named)
    finally:
        assert "failed" not in shop.module("egress", name="pay", namespace=SPACE, state="absent")


def test_access_logs_are_written_only_where_they_are_asked_for(shop: Lab) -> None:
    def logged(run: str) -> int:
        # A proxy writes its log late.
        time.sleep(12)
        return sum(shop.kubectl("logs", "-n", SPACE, f"deploy/web-{version}", "-c", "istio-proxy", "--since=2m").count(run) for version in BOTH)

    def numbered() -> int:
        name = f"/{uuid.uuid4().hex}"
        assert send(shop, name, 20)["statuses"] == {"404": 20}
        return logged(name)

    assert numbered() == 20
    try:
        assert shop.module("telemetry", namespace=SPACE, access_logs={"enabled": False})["changed"]
        time.sleep(50)
        assert numbered() == 0
        assert shop.module("telemetry", namespace=SPACE, access_logs={"providers": ["envoy"], "when": "response.code >= 500"})["changed"]
        time.sleep(50)
        assert numbered() == 0
        assert shop.module("telemetry", namespace=SPACE, access_logs={"providers": ["envoy"], "when": "response.code >= 400"})["changed"]
        time.sleep(50)
        assert numbered() == 20
    finally:
        assert "failed" not in shop.module("telemetry", namespace=SPACE, state="absent")


def test_a_namespace_goes_back_where_requests_are_lost_and_its_callers_are_heard(secured: str, plain: Lab) -> None:
    """The gateway is told to speak plaintext: a probe through it is lost as soon as TLS is a must."""
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "plaintext", "namespace": "istio-system"},
        "spec": {
            "host": f"web.{SPACE}.svc.cluster.local",
            "trafficPolicy": {"tls": {"mode": "DISABLE"}},
            "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
            "exportTo": ["."],
        },
    }
    options = {
        "mtls_namespaces": [SPACE],
        "mtls_probe": {"path": WELL, "headers": {"Host": FAR}, "rate": 5},
        "mtls_probe_seconds": 60,
        "mtls_max_lost_share": 5.0,
    }
    assert secured and "failed" not in plain.module("gateway", name="far", namespace=SPACE, hosts=[FAR])
    try:
        assert "failed" not in plain.module("manifests", definition=rule)
        refused = plain.play("playbooks/mtls.yml", "-e", json.dumps({**options, "mtls_observe": 30}))
        # The gateway tells from where its requests came, and so does the log of whom it called.
        assert refused.status != 0 and "plaintext_callers" in json.dumps(refused.of("mtls")), refused.text
        assert plain.get("telemetries", "-n", SPACE)["items"] == []
        lost = plain.play("playbooks/mtls.yml", "-e", json.dumps({**options, "mtls_plaintext": "shut_out"}))
        assert lost.status != 0 and "too_many_lost" in json.dumps(lost.of("probe")) and "has again what it had" in lost.text, lost.text
        assert plain.get("peerauthentications", "-n", SPACE)["items"] == []
        assert plain.module("manifests", definition=rule, state="absent")["changed"]
        done = plain.play("playbooks/mtls.yml", "-e", json.dumps({**options, "mtls_plaintext": "shut_out"})).ok()
        assert plain.get("peerauthentications", "-n", SPACE)["items"][0]["spec"] == {"mtls": {"mode": "STRICT"}} and len(done.changed) == 1, done.changed
        assert plain.play("playbooks/mtls.yml", "-e", json.dumps({**options, "mtls_state": "absent"})).ok().changed
        assert f"mtls-{SPACE}" not in plain.kubectl("get", "configmaps", "-n", SPACE, "-o", "name"), "the copy is gone"
    finally:
        plain.module("manifests", definition=rule, state="absent")
        plain.module("mtls", namespace=SPACE, state="absent")


@contextmanager
def simulated(lab: Lab, count: int) -> Iterator[None]:
    """So many more proxies at the lab's istiod, which take and acknowledge what they are sent: simulated, none of them has an Envoy."""
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
                told = [int(barrier.split(" at ")[1].split()[0]) for barrier in done["barriers"]]
                assert told and all(found > count for found in told), done["barriers"]
                waits.append(done["duration"]["apply"] + done["duration"]["wait"])
            print(
                f"{count} simulated proxies, {told[0]} in all: from apply to converged {sorted(waits)[2]:.2f} s (median of 5; {min(waits):.2f} to "
                f"{max(waits):.2f})"
            )
