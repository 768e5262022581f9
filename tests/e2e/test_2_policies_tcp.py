# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the policy of a host of TCP does to real connections.

The servers' answers are HTTP, so that they tell who they are; their port is declared to be TCP, so no proxy looks into
it.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import config_dump
from playbook_runner import Lab
from shop import NEIGHBORS, WELL

SPACE, PORT, GATEWAY_PORT = "proof-tcp", 9000, 31400
HOST: dict[str, Any] = {"namespace": SPACE, "service": "echo"}
FULL = f"echo.{SPACE}.svc.cluster.local"
GATEWAY = f"{SPACE}/in"
COUNT = 400
# 80/20 of 400 is 80 ± 8; five standard deviations exclude all to one version, and 65/35 (140).
SPLIT, LEAST, MOST = {"v1": 80, "v2": 20}, 40, 120
# Every request has a connection of its own.
FRESH = ("standin", "client", "-header", "Connection: close", "-timeout", "10s")
CALL = ("exec", "-n", SPACE, "deploy/client", "-c", "client", "--", *FRESH)


def workload(name: str, labels: dict[str, str], image: str, **more: Any) -> dict[str, Any]:
    container = {"name": name.partition("-")[0], "image": f"localhost/lab/{image}:stand-in", **more}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def server(version: str) -> dict[str, Any]:
    env = [{"name": f"{name}_SERVICE_ADDR", "value": "nowhere.invalid:1"} for name in NEIGHBORS] + [
        {"name": "PORT", "value": str(PORT)}
    ]
    probe = {"httpGet": {"path": WELL, "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 100}
    return workload(
        f"echo-{version}",
        {"app": "echo", "version": version},
        "frontend",
        ports=[{"containerPort": PORT}],
        env=env,
        readinessProbe=probe,
    )


def service(
    name: str, namespace: str, selector: dict[str, str], *ports: tuple[str, int, int], **more: Any
) -> dict[str, Any]:
    listed = [{"name": word, "port": number, "targetPort": target} for word, number, target in ports]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": selector, "ports": listed, **more},
    }


@pytest.fixture(scope="module")
def shop(mesh: Lab) -> Iterator[Lab]:
    assert "failed" not in mesh.module("namespace", name=SPACE, injection="enabled")
    echo = service("echo", SPACE, {"app": "echo"}, ("tcp", PORT, PORT), ("tcp-other", PORT + 1, PORT))
    # A way from outside to the gateway's port, as whoever runs the gateway would give it.
    outside = service(
        "in", "istio-system", {"istio": "ingressgateway"}, ("tcp", GATEWAY_PORT, GATEWAY_PORT), type="NodePort"
    )
    client = workload("client", {"app": "client"}, "client")
    done = mesh.module("manifests", definition=[echo, outside, server("v1"), server("v2"), client], wait_timeout=180)
    assert "failed" not in done, done
    yield mesh
    assert mesh.module("manifests", definition=outside, state="absent")["changed"]
    assert mesh.module("namespace", name=SPACE, state="absent", delete=True)["changed"]


@contextmanager
def split(lab: Lab, versions: dict[str, int], **options: Any) -> Iterator[None]:
    try:
        change(lab, versions, **options)
        yield
    finally:
        gone = lab.module("traffic_split", **HOST, state="absent")
        assert "failed" not in gone, gone
    assert lab.get("virtualservices,destinationrules", "-n", SPACE)["items"] == []


def change(lab: Lab, versions: dict[str, int], **options: Any) -> None:
    asked = {**HOST, "port": PORT, "versions": versions, **options}
    done = lab.module("traffic_split", **asked)
    assert "failed" not in done and done["changed"] and all("proxies of" in barrier for barrier in done["verified"]), (
        done
    )
    again = lab.module("traffic_split", **asked)
    assert (again["changed"], again["summary"]["dry_runs"]) == (False, 0), again
    seen = lab.module("proxy_status", **HOST, wait_timeout=0)
    assert "failed" not in seen and seen["counts"]["synced"] == len(seen["proxies"]) > 0, seen


def chains(lab: Lab, port: int, namespace: str = SPACE, workload: str = "deploy/client") -> list[dict[str, int]]:
    """What a proxy itself says of connections to a port: {subset: weight}."""
    text = lab.kubectl(
        "-n", namespace, "exec", workload, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", "config_dump"
    )
    found = [
        chain
        for chain in config_dump.chains(json.loads(text))
        if chain.port == port and all(name.endswith(FULL) for name, _weight in chain.weights)
    ]
    return [{name.split("|")[2]: weight for name, weight in chain.weights} for chain in found]


def answers(lab: Lab, count: int = COUNT, port: int = PORT) -> Counter[str]:
    """{version: connections of a pod in the mesh that it answered}."""
    figures = json.loads(lab.kubectl(*CALL, "-n", str(count), f"http://echo.{SPACE}:{port}{WELL}"))
    assert figures["statuses"] == {"200": count} and sum(figures["errors"].values()) == 0, figures
    return Counter({name.removeprefix("echo-"): number for name, number in figures["deployments"].items()})


def test_shares_of_connections_are_those_that_were_asked_for(shop: Lab) -> None:
    with split(shop, {"v1": 100, "v2": 0}):
        assert chains(shop, PORT) == [{"v1": 100}] and answers(shop, 100) == {"v1": 100}
        change(shop, SPLIT)
        assert chains(shop, PORT) == [SPLIT]
        found = answers(shop)
        print(f"{found['v2']} of {COUNT} connections at v2")
        assert found.total() == COUNT and LEAST <= found["v2"] <= MOST, found
        assert chains(shop, PORT + 1) == [{"": 1}] and set(answers(shop, 60, PORT + 1)) == {
            "v1",
            "v2",
        }, "the host's other port as before"
        change(shop, {"v2": 1})
        assert chains(shop, PORT) == [{"v2": 1}] and answers(shop, 100) == {"v2": 100}
    assert chains(shop, PORT) == [{"": 1}] and set(answers(shop, 60)) == {
        "v1",
        "v2",
    }, "2 in 2^60 that one of them gets none"


@pytest.mark.long
def test_changes_under_load_fail_no_connection(shop: Lab) -> None:
    argv = [
        "kubectl",
        *CALL[:1],
        "-i",
        *CALL[1:],
        "-n",
        "60000",
        "-rate",
        "50",
        "-c",
        "40",
        "-until-eof",
        f"http://echo.{SPACE}:{PORT}{WELL}",
    ]
    with subprocess.Popen(
        argv, env=shop.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        with split(shop, {"v1": 1}):
            for number in range(9):
                versions = ({"v1": number + 1, "v2": 10}, {"v2": 1}, {"v1": 1})[number % 3]
                done = shop.module("traffic_split", **HOST, port=PORT, versions=versions)
                assert "failed" not in done and done["changed"], done
        figures = json.loads(running.communicate(timeout=60)[0])
    print(
        f"{figures['requests'] - figures['statuses'].get('200', 0)} failed of {figures['requests']} connections in"
        f" {figures['seconds']:.0f} s, 11 changes"
    )
    assert figures["statuses"] == {"200": figures["requests"]} and sum(figures["errors"].values()) == 0, figures


@pytest.mark.long
def test_the_wrong_order_is_seen_by_the_same_load(shop: Lab) -> None:
    """The control: a route to a subset that no DestinationRule names."""
    wrong = {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "wrong", "namespace": SPACE},
        "spec": {"hosts": [FULL], "tcp": [{"route": [{"destination": {"host": FULL, "subset": "v1", "port": {"number": PORT}}}]}]},
    }  # fmt: skip
    assert "failed" not in shop.module("manifests", definition=wrong)
    try:
        figures = json.loads(shop.kubectl(*CALL, "-n", "200", "-rate", "40", f"http://echo.{SPACE}:{PORT}{WELL}"))
    finally:
        assert shop.module("manifests", definition=wrong, state="absent")["changed"]
    assert sum(figures["errors"].values()) > 0, figures


@pytest.fixture
def address(shop: Lab) -> tuple[str, int]:
    """Of the gateway's port, from outside."""
    node = shop.get("nodes")["items"][0]
    ports = shop.get("service", "in", "-n", "istio-system")["spec"]["ports"]
    return (
        next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"),
        ports[0]["nodePort"],
    )


@contextmanager
def gateway(lab: Lab, **options: Any) -> Iterator[None]:
    place = {"name": "in", "namespace": SPACE}
    assert "failed" not in lab.module("gateway", **place, **options)
    try:
        yield
    finally:
        assert "failed" not in lab.module("gateway", **place, state="absent")


def connect(address: tuple[str, int], first: bytes) -> bytes:
    """All that comes back over a new connection."""
    with socket.create_connection(address, 10) as opened:
        opened.sendall(first)
        try:
            return b"".join(iter(lambda: opened.recv(65536), b""))
        except ConnectionResetError:
            return b""


def from_outside(address: tuple[str, int], count: int = COUNT) -> Counter[str]:
    ask = f"GET {WELL} HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n".encode()
    with ThreadPoolExecutor(4) as pool:
        found = [
            answer.partition(b"X-Stand-In-Pod: echo-")[2][:2].decode()
            for answer in pool.map(lambda _number: connect(address, ask), range(count))
        ]
    return Counter(found)


@pytest.mark.long
def test_connections_come_in_through_a_gateways_port(shop: Lab, address: tuple[str, int]) -> None:
    everywhere = {"gateways": ["mesh", GATEWAY]}
    refused = shop.module("traffic_split", **HOST, port=PORT, versions=SPLIT, **everywhere)
    assert refused["failure"]["code"] == "no_such_gateway", refused
    with gateway(shop, tcp_port=GATEWAY_PORT):
        for options in ({"gateways": [GATEWAY], "gateway_hosts": ["*"]}, everywhere):
            with split(shop, {"v1": 1}, **options):
                assert from_outside(address, 60) == {"v1": 60}
                change(shop, SPLIT, **options)
                assert chains(shop, GATEWAY_PORT, "istio-system", "deploy/istio-ingressgateway") == [SPLIT]
                assert chains(shop, PORT) == [SPLIT if options is everywhere else {"": 1}]
                found = from_outside(address)
                print(f"{found['v2']} of {COUNT} connections from outside at v2")
                assert set(found) == {"v1", "v2"} and LEAST <= found["v2"] <= MOST, found


def hello(name: str) -> bytes:
    """The beginning of TLS, of a caller that asks for a server of this name."""
    sent = ssl.MemoryBIO()
    opened = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        opened.do_handshake()
    return sent.read()


@pytest.mark.long
def test_tls_is_passed_through_by_the_name_that_its_caller_asks_for(shop: Lab, address: tuple[str, int]) -> None:
    """The server speaks no TLS, and says so in words that no proxy has: so it was reached, and nobody answered in its
    place.
    """
    passed = {"gateways": [GATEWAY], "gateway_hosts": ["echo.example.com"], "protocol": "tls"}
    with gateway(shop, https_port=GATEWAY_PORT, tls={"mode": "passthrough"}), split(shop, SPLIT, **passed):
        assert chains(shop, GATEWAY_PORT, "istio-system", "deploy/istio-ingressgateway") == [SPLIT]
        assert connect(address, hello("echo.example.com")).startswith(b"HTTP/1.1 400")
        assert connect(address, hello("other.example.com")) == b""


@pytest.mark.long
def test_what_only_requests_have_is_refused_and_nothing_is_written(shop: Lab) -> None:
    asked: list[tuple[str, dict[str, Any], str]] = [
        ("traffic_split", {"port": PORT, "versions": SPLIT, "sticky": {"cookie": "a"}}, "protocol_cannot"),
        ("traffic_split", {"port": PORT, "versions": SPLIT, "mirror": "v2"}, "protocol_cannot"),
        ("traffic_split", {"port": PORT, "versions": SPLIT, "protocol": "http"}, "protocol_mismatch"),
        ("route", {"port": PORT, "rules": [{"match": {"path": "/a"}, "to": "v1"}]}, "protocol_cannot"),
        ("fault", {"delay": "2s"}, "protocol_cannot"),
        ("resilience", {"timeout": "2s"}, "protocol_cannot"),
    ]
    for module, options, code in asked:
        refused = shop.module(module, **HOST, **options)
        assert refused["failure"]["code"] == code and FULL in refused["msg"], refused
    assert shop.get("virtualservices,destinationrules", "-n", SPACE)["items"] == []
