# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call a host and by what, shown by real requests: identities, tokens, TLS, what leaves the mesh and what comes
in.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from playbook_runner import Lab
from shop import FAR, SPACE, WELL, drained, policy, send, server

pytestmark = pytest.mark.long


@contextmanager
def authorized(lab: Lab, **options: Any) -> Iterator[None]:
    try:
        done = lab.module("authorization", name="web", namespace=SPACE, workload={"app": "web"}, **options)
        assert "failed" not in done and all("proxies of" in barrier for barrier in done["verified"]), done
        yield
    finally:
        gone = lab.module("authorization", name="web", namespace=SPACE, state="absent")
        assert "failed" not in gone, gone


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
        argv = [
            "exec",
            "plain",
            "-n",
            OUTSIDE,
            "--",
            "standin",
            "client",
            "-n",
            str(count),
            "-c",
            "2",
            f"http://web.{SPACE}{WELL}",
        ]
        figures: dict[str, Any] = json.loads(plain.kubectl(*argv))
        return figures

    assert without_tls(20)["statuses"] == {"200": 20} and send(plain)["statuses"] == {"200": 100}
    # A proxy writes its log late.
    time.sleep(15)
    try:
        refused = plain.module("mtls", namespace=SPACE, mode="strict")
        assert (
            refused["failure"]["code"] == "plaintext_callers"
            and f"{OUTSIDE}/plain" in refused["msg"]
            and "client-" not in refused["msg"]
        ), refused
        assert plain.module("mtls", namespace=SPACE, mode="strict", plaintext_callers="ignore")["changed"]
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
                {
                    "kty": "RSA",
                    "kid": "one",
                    "use": "sig",
                    "alg": "RS256",
                    "n": _text(numbers.n.to_bytes(256, "big")),
                    "e": _text(numbers.e.to_bytes(3, "big")),
                }
            ]
        }

    def token(self, issuer: str = ISSUER, lives: int = 3600, audience: str = "shop") -> str:
        claims = {
            "iss": issuer,
            "sub": "somebody",
            "aud": audience,
            "iat": int(time.time()) - 7200,
            "exp": int(time.time()) + lives,
        }
        signed = ".".join(
            _text(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one", "typ": "JWT"}, claims)
        )
        return f"{signed}.{_text(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def bearing(token: str) -> tuple[str, str]:
    return "-header", f"Authorization: Bearer {token}"


def test_tokens_good_expired_forged_and_none(shop: Lab) -> None:
    signer = Signer()
    options = {"name": "web", "namespace": SPACE, "workload": {"app": "web"}}
    done = shop.module(
        "jwt",
        **options,
        issuers=[{"issuer": ISSUER, "keys": signer.keys, "audiences": ["shop"]}],
        open_paths=["/robots.txt"],
    )
    assert "failed" not in done and all("proxies of" in barrier for barrier in done["verified"]), done
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
        assert shop.module("jwt", **options, required=False, issuers=[{"issuer": ISSUER, "keys": signer.keys}])[
            "changed"
        ]
        drained(shop, WELL, {"200": 100})
        assert send(shop, WELL, 20, *bearing(signer.token(lives=-3600)))["statuses"] == {"401": 20}
    finally:
        assert "failed" not in shop.module("jwt", **options, state="absent")
    drained(shop, WELL, {"200": 100})


@pytest.fixture
def far(plain: Lab) -> Iterator[str]:
    """Address of a server that no Service names, so that the mesh does not know it."""
    container = server("v1")["spec"]["template"]["spec"]["containers"][0]
    container = {
        **{key: value for key, value in container.items() if key != "volumeMounts"},
        "env": [entry for entry in container["env"] if entry["name"] != "RECORD"],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "far", "namespace": OUTSIDE},
        "spec": {"containers": [container]},
    }
    assert "failed" not in plain.module("manifests", definition=pod, wait_timeout=60)
    yield plain.get("pod", "far", "-n", OUTSIDE)["status"]["podIP"]


def call(lab: Lab, url: str, *flags: str, count: int = 20) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(
        lab.kubectl(
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
            "2",
            *flags,
            url,
        )
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
    text = lab.kubectl(
        "exec", "-n", "istio-system", "deploy/istio-ingressgateway", "--", "pilot-agent", "request", "GET", "stats"
    )
    return sum(
        int(line.rpartition(" ")[2])
        for line in text.splitlines()
        if f"|{host}" in line and "upstream_rq_completed:" in line
    )


def test_what_nobody_registered_is_not_called_until_it_is(shop: Lab, far: str) -> None:
    url, named = f"http://{far}:8080{WELL}", ("-host", FAR)
    statuses(shop, {"200": 20}, url, *named)
    host = {
        "name": "far",
        "namespace": SPACE,
        "hosts": [FAR],
        "ports": [{"number": 8080, "protocol": "HTTP"}],
        "endpoints": [far],
    }
    try:
        assert shop.module(
            "sidecar", namespace=SPACE, egress_hosts=[".", "istio-system"], outbound_traffic_policy="registry_only"
        )["changed"]
        # Its connections are closed: no listener of the proxy is for that port.
        statuses(shop, {}, url, *named)
        assert send(shop)["statuses"] == {"200": 100}, "what the mesh knows is still called"
        done = shop.module("egress", **host)
        assert done["changed"] and all("proxies of" in barrier for barrier in done["verified"]), done
        statuses(shop, {"200": 20}, url, *named)
        assert gateway_requests(shop, FAR) == 0
        done = shop.module(
            "egress", **host, gateway="istio-system/istio-ingressgateway", gateway_selector={"istio": "ingressgateway"}
        )
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
    """The ingress gateway takes TLS for FAR and sends its requests to the shop; HTTP is redirected. Address of its
    pod.
    """
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    private, name, now = (
        rsa.generate_private_key(65537, 2048),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, FAR)]),
        datetime.datetime.now(datetime.timezone.utc),
    )
    made = x509.CertificateBuilder(
        name,
        name,
        private.public_key(),
        x509.random_serial_number(),
        now - datetime.timedelta(hours=1),
        now + datetime.timedelta(days=1),
    )
    signed = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(FAR)]), critical=False).sign(
        private, hashes.SHA256()
    )
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    shop.kubectl(
        "-n", "istio-system", "create", "secret", "tls", "policies-far", f"--key={key}", f"--cert={certificate}"
    )
    try:
        done = shop.module(
            "gateway", name="far", namespace=SPACE, hosts=[FAR], tls={"credential_name": "policies-far"}, redirect=True
        )
        assert "failed" not in done and all("proxies of" in barrier for barrier in done["verified"]), done
        with policy(
            shop, route={"rules": [{"to": {"version": "v1"}}], "gateways": [f"{SPACE}/far"], "gateway_hosts": [FAR]}
        ):
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
            with (
                socket.create_connection(("127.0.0.1", ports["8443"]), 10) as raw,
                trusted.wrap_socket(raw, server_hostname=FAR) as secure,
            ):
                secure.sendall(f"GET {WELL} HTTP/1.1\r\nHost: {FAR}\r\nConnection: close\r\n\r\n".encode())
                text = b"".join(iter(lambda: secure.recv(65536), b"")).decode()
            assert text.startswith("HTTP/1.1 200") and "web-v1" in text, text
            with (
                pytest.raises((ssl.SSLError, ConnectionError)),
                socket.create_connection(("127.0.0.1", ports["8443"]), 10) as raw,
            ):
                trusted.wrap_socket(raw, server_hostname="other.example.com")
        finally:
            forward.terminate()


def test_a_proxy_begins_tls_and_verifies_unless_told_otherwise(secured: str, shop: Lab) -> None:
    """The far host is the mesh's own ingress gateway, with a certificate that no authority signed."""
    host = {
        "name": "pay",
        "namespace": SPACE,
        "hosts": [FAR],
        "ports": [80],
        "endpoints": [secured],
        "addresses": ["240.1.2.3"],
    }
    url, named = f"http://240.1.2.3{WELL}", ("-host", FAR)
    try:
        assert "failed" not in shop.module("egress", **host, tls={"port": 8443, "insecure_skip_verify": True})
        statuses(shop, {"200": 20}, url, *named)
        assert "failed" not in shop.module("egress", **host, tls={"port": 8443})
        statuses(shop, {"503": 20}, url, *named)
    finally:
        assert "failed" not in shop.module("egress", name="pay", namespace=SPACE, state="absent")


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
        "mtls_max_failure_percent": 5.0,
    }
    assert secured and "failed" not in plain.module("gateway", name="far", namespace=SPACE, hosts=[FAR])
    try:
        assert "failed" not in plain.module("manifests", definition=rule)
        refused = plain.play("playbooks/mtls.yml", "-e", json.dumps({**options, "mtls_observe": 30}))
        # The gateway tells from where its requests came, and so does the log of whom it called.
        assert refused.status != 0 and "plaintext_callers" in json.dumps(refused.of("mtls")), refused.text
        assert plain.get("telemetries", "-n", SPACE)["items"] == []
        lost = plain.play("playbooks/mtls.yml", "-e", json.dumps({**options, "mtls_plaintext_callers": "ignore"}))
        assert (
            lost.status != 0 and "too_many_failures" in json.dumps(lost.of("probe")) and "was rolled back" in lost.text
        ), lost.text
        assert plain.get("peerauthentications", "-n", SPACE)["items"] == []
        assert plain.module("manifests", definition=rule, state="absent")["changed"]
        done = plain.play("playbooks/mtls.yml", "-e", json.dumps({**options, "mtls_plaintext_callers": "ignore"})).ok()
        assert (
            plain.get("peerauthentications", "-n", SPACE)["items"][0]["spec"] == {"mtls": {"mode": "STRICT"}}
            and len(done.changed) == 1
        ), done.changed
        assert plain.play("playbooks/mtls.yml", "-e", json.dumps({**options, "mtls_state": "absent"})).ok().changed
        assert f"mtls-{SPACE}" not in plain.kubectl("get", "configmaps", "-n", SPACE, "-o", "name"), "the copy is gone"
    finally:
        plain.module("manifests", definition=rule, state="absent")
        plain.module("mtls", namespace=SPACE, state="absent")
