# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same vocabulary in Gateway API does the same to real requests; and from one API to the other none of them is
lost.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab import settings
from playbook_runner import Lab
from shop import BOTH, FAR, HOST, SPACE, WELL, arrived, one_run, send, stand_still

pytestmark = pytest.mark.long

BY_GATEWAY_API = {"api": "gateway_api"}
KINDS = "httproutes.gateway.networking.k8s.io,services,destinationrules.networking.istio.io,virtualservices.networking.istio.io"
SENT = ["standin", "client", "-rate", "50", "-c", "40", "-timeout", "10s", "-until-eof"]


def folder_of_definitions() -> Path:
    """Gateway API's definitions of the standard channel, from the module that the lab's Istio is built with."""
    module, name = settings.HERE / "go" / "kubernetes", "sigs.k8s.io/gateway-api"
    subprocess.run(["go", "mod", "download", name], cwd=module, check=True, capture_output=True, timeout=300)
    found = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", name], cwd=module, check=True, capture_output=True, text=True, timeout=60
    )
    return Path(found.stdout.strip()) / "config/crd/standard"


@pytest.fixture(scope="module", autouse=True)
def definitions(mesh: Lab) -> Iterator[Path]:
    """Installed by the role's own way; taken away as no removal of ours would."""
    folder = folder_of_definitions()
    asked = (
        "--tags",
        "release,control_plane",
        "-e",
        "control_plane_gateway_api=standard",
        "-e",
        f"control_plane_gateway_api_src={folder}",
    )
    first = mesh.site(*asked).ok()
    assert any("httproutes" in json.dumps(result["objects"]) for result in first.of("manifests")), first.text[-3000:]
    assert not any(result["changed"] for result in mesh.site(*asked).ok().of("manifests")), "again changes nothing"
    yield folder
    mesh.kubectl("delete", "--ignore-not-found", "--timeout=120s", "-f", str(folder))


@contextmanager
def policy(lab: Lab, **concerns: dict[str, Any]) -> Iterator[None]:
    """The host has just these concerns, said in Gateway API; afterwards none of them, and nothing is left of them."""
    try:
        for module, options in concerns.items():
            result = lab.module(module, **HOST, **{**BY_GATEWAY_API, **options})
            assert "failed" not in result, result
            assert all("proxies of" in barrier for barrier in result["verified"]), result["verified"]
            again = lab.module(module, **HOST, **{**BY_GATEWAY_API, **options})
            assert (again["changed"], again["summary"]["dry_runs"]) == (False, 0), again
        assert ours(lab, "VirtualService") == [] and ours(lab, "HTTPRoute")
        yield
    finally:
        gone = lab.module("traffic", policy={SPACE: {"web": {}}})
        assert "failed" not in gone, gone
    assert [
        name for kind in ("HTTPRoute", "VirtualService", "DestinationRule", "Service") for name in ours(lab, kind)
    ] == []


def ours(lab: Lab, kind: str) -> list[str]:
    """What the policy of the host is made of."""
    items = lab.get(KINDS, "-n", SPACE, "-l", "app.kubernetes.io/managed-by=servicemesh.istio")["items"]
    return sorted(
        item["metadata"]["name"]
        for item in items
        if item["kind"] == kind and item["metadata"]["name"].startswith("web")
    )


def test_shares_are_those_that_were_asked_for(shop: Lab) -> None:
    with policy(shop, traffic_split={"versions": {"v1": 90, "v2": 10}}):
        assert ours(shop, "Service") == ["web-v1", "web-v2"]
        count = send(shop, WELL, 2000)["deployments"]
        # 200 ± 13.4; five standard deviations exclude 5 % (100) and 15 % (300).
        assert sum(count.values()) == 2000 and 133 <= count["web-v2"] <= 267, count
        assert "failed" not in shop.module("traffic_split", **HOST, versions={"v2": 1})
        assert send(shop)["deployments"] == {"web-v2": 100} and ours(shop, "Service") == ["web-v2"], (
            "without a word the host stays in its API"
        )


def test_rules_send_redirect_and_rewrite(shop: Lab) -> None:
    rules = [
        {"name": "testers", "match": {"path": WELL, "headers": {"x-tester": {"present": True}}}, "to": "v2"},
        {"name": "old", "match": {"path": "/old/*"}, "redirect": {"path": WELL, "status": 308}},
        {"name": "moved", "match": {"path": {"regex": "/moved/[0-9]+"}}, "rewrite": {"path": WELL}, "to": "v1"},
    ]
    with policy(shop, route={"rules": rules}, traffic_split={"versions": {"v1": 1, "v2": 0}}):
        assert send(shop)["deployments"] == {"web-v1": 100}, "the split has what no rule takes"
        assert send(shop, WELL, 100, "-header", "x-tester: yes")["deployments"] == {"web-v2": 100}
        assert send(shop, "/old/times")["statuses"] == {"308": 100}
        assert send(shop, "/older")["statuses"] == {"404": 100}, "a prefix is one of characters, as it was asked for"
        moved = send(shop, "/moved/123")
        assert moved["statuses"] == {"200": 100} and moved["deployments"] == {"web-v1": 100}
        assert send(shop, "/moved/abc")["statuses"] == {"404": 100}
    assert send(shop, "/old/times")["statuses"] == {"404": 100}, "all of it is gone"


def test_the_order_that_was_asked_for_is_the_one_that_holds(shop: Lab) -> None:
    """Gateway API would try the exact path first, where it is said as one."""
    rules = [
        {"name": "all", "match": {"path": "/_health*"}, "to": "v1"},
        {"name": "one", "match": {"path": WELL}, "to": "v2"},
    ]
    with policy(shop, route={"rules": rules}):
        assert send(shop)["deployments"] == {"web-v1": 100}
    with policy(shop, route={"rules": rules[::-1]}):
        assert send(shop)["deployments"] == {"web-v2": 100}


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


def test_nobody_waits_longer_than_the_timeout(shop: Lab) -> None:
    with policy(shop, resilience={"timeout": "1s"}, traffic_split={"versions": {"v2": 1}}):
        assert send(shop, WELL, 20)["statuses"] == {"200": 20}
        stand_still(shop, "web-v2", "STOP")
        try:
            assert send(shop, WELL, 20, "-timeout", "10s")["statuses"] == {"504": 20}
        finally:
            stand_still(shop, "web-v2", "CONT")


def test_limits_hold_for_versions_too(shop: Lab) -> None:
    """One request at a time to a version, none waits: of forty at once most are refused by the caller's own proxy."""
    limits = {"connection_pool": {"max_connections": 1, "max_pending_requests": 1, "max_requests_per_connection": 1}}
    with policy(shop, traffic_split={"versions": {"v1": 1}}, resilience=limits):
        assert ours(shop, "DestinationRule") == ["web", "web-v1"]
        found = send(shop, WELL, 400, "-c", "40")["statuses"]
        assert found.get("503", 0) > 0 and found.get("200", 0) > 0, found


def test_what_gateway_api_cannot_say_and_what_is_somebody_elses_is_refused(shop: Lab) -> None:
    refused = shop.module("fault", **HOST, delay="2s", **BY_GATEWAY_API)
    assert refused["failure"]["code"] == "gateway_api_cannot" and ours(shop, "HTTPRoute") == [], refused
    theirs = {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "theirs", "namespace": SPACE},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
    }  # fmt: skip
    assert "failed" not in shop.module("manifests", definition=theirs)
    try:
        for api in ("istio", "gateway_api"):
            taken = shop.module("traffic_split", **HOST, versions={"v1": 1}, api=api)
            assert taken["failure"]["code"] == "host_taken" and f"HTTPRoute {SPACE}/theirs" in taken["msg"], taken
    finally:
        assert shop.module("manifests", definition=theirs, state="absent")["changed"]


def test_twenty_moves_between_the_apis_lose_nothing(shop: Lab) -> None:
    """From one API to the other and back, with other shares and versions each time."""
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
        *SENT,
        "-n",
        "60000",
        f"http://web.{SPACE}{WELL}",
    ]
    try:
        assert "failed" not in shop.module("traffic", policy={SPACE: {"web": {"split": {"versions": {"v1": 1}}}}})
        with subprocess.Popen(
            argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as running:
            for number in range(20):
                versions, api = (
                    ({"v1": 1}, {"v1": number + 1, "v2": 50}, {"v2": 1})[number % 3],
                    (
                        "gateway_api",
                        "istio",
                    )[number % 2],
                )
                done = shop.module("traffic", policy={SPACE: {"web": {"api": api, "split": {"versions": versions}}}})
                assert done["changed"] and "failed" not in done, done
                assert bool(ours(shop, "HTTPRoute")) is (api == "gateway_api") and bool(
                    ours(shop, "VirtualService")
                ) is (api == "istio"), "never both"
                answered = set(send(shop, WELL, 100)["deployments"])
                assert answered <= {f"web-{version}" for version in versions}, (versions, answered)
            figures = json.loads(running.communicate(timeout=60)[0])
    finally:
        shop.module("traffic", policy={SPACE: {"web": {}}})
    print(
        f"{figures['requests'] - figures['statuses'].get('200', 0)} failed of {figures['requests']} in"
        f" {figures['seconds']:.0f} s"
    )
    assert figures["statuses"] == {"200": figures["requests"]} and sum(figures["errors"].values()) == 0, figures


def test_the_wrong_order_is_seen_by_the_same_traffic(shop: Lab) -> None:
    """The control: a route to a Service that is not there."""
    wrong = {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "wrong", "namespace": SPACE},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}], "rules": [{"backendRefs": [{"name": "web-v9", "port": 80}]}]},
    }  # fmt: skip
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
        *SENT,
        "-n",
        "3000",
        f"http://web.{SPACE}{WELL}",
    ]
    with subprocess.Popen(
        argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        shop.kubectl("apply", "-f", "-", text=json.dumps(wrong))
        send(shop, WELL, 300, "-rate", "30")
        figures = json.loads(running.communicate(timeout=60)[0])
    shop.kubectl("delete", "httproutes.gateway.networking.k8s.io", "wrong", "-n", SPACE)
    assert any(int(status) >= 500 for status in figures["statuses"]), figures


@pytest.fixture
def secured(shop: Lab, tmp_path: Path) -> Iterator[Path]:
    """A gateway that Istio deploys takes TLS for FAR and sends its requests to v1; HTTP is redirected. Its
    certificate.
    """
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={FAR}",
        "-addext",
        f"subjectAltName=DNS:{FAR}",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    shop.kubectl("-n", SPACE, "create", "secret", "tls", "policies-far", f"--key={key}", f"--cert={certificate}")
    asked = {
        "name": "far",
        "namespace": SPACE,
        "hosts": [FAR],
        "tls": {"credential_name": "policies-far"},
        "redirect": True,
        "service_type": "ClusterIP",
        **BY_GATEWAY_API,
    }
    try:
        done = shop.module("gateway", **asked, wait_timeout=180)
        assert "failed" not in done, done
        shop.kubectl("-n", SPACE, "rollout", "status", "deploy/far-istio", "--timeout=150s")
        assert not shop.module("gateway", **asked)["changed"]
        with policy(
            shop,
            route={"rules": [{"to": {"version": "v1"}}], "gateways": ["mesh", f"{SPACE}/far"], "gateway_hosts": [FAR]},
        ):
            yield certificate
    finally:
        gone = shop.module("gateway", name="far", namespace=SPACE, state="absent")
        assert "failed" not in gone, gone
        shop.kubectl("-n", SPACE, "delete", "secret", "policies-far")


def test_requests_come_in_by_tls_through_a_gateway_that_istio_deploys(secured: Path, shop: Lab) -> None:
    argv = ["kubectl", "port-forward", "-n", SPACE, "deploy/far-istio", ":443", ":80"]
    with subprocess.Popen(argv, env=shop.environment, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        ports: dict[str, int] = {}
        while len(ports) < 2:
            line = forward.stdout.readline()
            assert line, "the port-forward ended"
            if "127.0.0.1" in line:
                ports[line.rpartition("-> ")[2].strip()] = int(line.split("127.0.0.1:")[1].split()[0])
        try:
            led = http.client.HTTPConnection("127.0.0.1", ports["80"], timeout=10)
            led.request("GET", WELL, headers={"Host": FAR})
            answer = led.getresponse()
            assert answer.status == 301 and answer.headers["location"] == f"https://{FAR}{WELL}", answer.headers
            trusted = ssl.create_default_context(cafile=str(secured))
            with (
                socket.create_connection(("127.0.0.1", ports["443"]), 10) as raw,
                trusted.wrap_socket(raw, server_hostname=FAR) as secure,
            ):
                secure.sendall(f"GET {WELL} HTTP/1.1\r\nHost: {FAR}\r\nConnection: close\r\n\r\n".encode())
                text = b"".join(iter(lambda: secure.recv(65536), b"")).decode()
            assert text.startswith("HTTP/1.1 200") and "web-v1" in text, text
        finally:
            forward.terminate()
