# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place with HTTP, against a server on this machine that says what it is told to."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import APPLY, ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.discovery import Resources
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.http import HttpApi
from kubernetes.client import Configuration


class Server:
    """Answers with `status`, `headers` and `body`; keeps what was asked."""

    def __init__(self):
        self.status, self.headers, self.body, self.asked = 200, {}, b"{}", []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append((self.command, self.path, self.headers, content))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_PATCH = do_DELETE = answer

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def server():
    served = Server()
    threading.Thread(target=served.server.serve_forever, args=(0.02,), daemon=True).start()
    yield served
    served.server.shutdown()
    served.server.server_close()


def configuration(url, **more):
    found = Configuration()
    found.host, found.proxy = url, None
    for name, value in more.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def http(server):
    return HttpApi(configuration(server.url + "/"), "test")


def test_a_body_is_sent_as_text_that_yaml_can_read(server, http):
    http.request(
        "PATCH", "/api/v1/namespaces/shop/configmaps/a", {"fieldManager": "x y"}, {"data": {"a": "é 🎈"}}, APPLY
    )
    method, path, headers, content = server.asked[0]
    assert (method, path) == ("PATCH", "/api/v1/namespaces/shop/configmaps/a?fieldManager=x+y") and headers[
        "Content-Type"
    ] == APPLY
    assert "é 🎈".encode() in content, "surrogate escapes are no YAML"


def test_names_are_quoted_and_colons_stay(server, http):
    http.request("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node a")
    assert server.asked[0][1] == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node%20a"


@pytest.mark.parametrize(
    ("body", "answer"), [(b'{"a": 1}', {"a": 1}), (b"some log\nlines", "some log\nlines"), (b"", "")]
)
def test_an_answer_is_json_or_else_text(server, http, body, answer):
    server.body = body
    assert http.request("GET", "/x") == answer


def test_a_refusal_is_the_servers_own_status(server, http):
    details = {"causes": [{"reason": "FieldManagerConflict", "field": ".data"}]}
    server.status, server.body = (
        409,
        json.dumps({"kind": "Status", "code": 409, "reason": "Conflict", "message": "m", "details": details}).encode(),
    )
    with pytest.raises(ApiError) as refused:
        http.request("PATCH", "/x", {}, {})
    error = refused.value
    assert (error.status, error.reason, error.message, error.causes, error.absent) == (
        409,
        "Conflict",
        "m",
        details["causes"],
        False,
    )


@pytest.mark.parametrize(
    ("status", "body", "headers", "absent", "after"),
    [
        (404, b"404 page not found", {}, True, None),
        (429, b"slow down", {"Retry-After": "3"}, False, 3.0),
        (502, b"<html>", {"Retry-After": "Wed, 21 Oct"}, False, None),
    ],
)
def test_a_refusal_of_something_in_between_is_told_by_its_code(server, http, status, body, headers, absent, after):
    server.status, server.body, server.headers = status, body, headers
    with pytest.raises(ApiError) as refused:
        http.request("GET", "/x")
    assert (refused.value.status, refused.value.message, refused.value.absent, refused.value.retry_after) == (
        status,
        body.decode(),
        absent,
        after,
    )


def test_a_redirect_is_no_answer_and_is_not_followed(server, http):
    server.status, server.headers, server.body = 302, {"Location": f"{server.url}/elsewhere"}, b""
    with pytest.raises(ApiError) as refused:
        http.request("GET", "/x")
    assert refused.value.status == 302 and len(server.asked) == 1


def test_a_server_that_is_not_there_is_unreachable_and_never_absent():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for call in (lambda api: api.request("GET", "/x"), lambda api: list(api.watch("/x", {}, 1))):
            with pytest.raises(ApiError) as refused:
                call(HttpApi(configuration(url)))
            assert (refused.value.status, refused.value.reason, refused.value.absent) == (
                0,
                "Unreachable",
                False,
            ) and url in refused.value.message


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://"])
def test_a_host_that_is_no_url_is_unreachable(url):
    with pytest.raises(ApiError) as refused:
        HttpApi(configuration(url)).request("GET", "/x")
    assert refused.value.status == 0


def events(*rows):
    return b"".join(json.dumps({"type": word, "object": obj}).encode() + b"\n" for word, obj in rows)


def test_a_watch_gives_events_and_asks_for_no_longer_than_told(server, http):
    server.body = events(("ADDED", {"a": 1}), ("MODIFIED", {"a": "é"}))
    assert list(http.watch("/x", {"resourceVersion": "5"}, 7.9)) == [
        {"type": "ADDED", "object": {"a": 1}},
        {"type": "MODIFIED", "object": {"a": "é"}},
    ]
    assert server.asked[0][1] == "/x?resourceVersion=5&watch=1&timeoutSeconds=7"


def test_an_error_in_a_watch_is_an_error(server, http):
    server.body = events(
        ("ADDED", {}), ("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
    )
    found = http.watch("/x", {}, 1)
    assert next(found)["type"] == "ADDED"
    with pytest.raises(ApiError) as refused:
        next(found)
    assert refused.value.status == 410


def test_a_watch_that_is_refused_is_an_error(server, http):
    server.status, server.body = 403, b'{"kind": "Status", "code": 403, "message": "may not watch"}'
    with pytest.raises(ApiError, match="may not watch"):
        list(http.watch("/x", {}, 1))


def test_discovery_asks_once_and_prefers_what_the_server_prefers(server, http):
    def version(name, *kinds):
        return {
            "version": name,
            "resources": [
                {"resource": f"{kind.lower()}s", "responseKind": {"kind": kind}, "scope": "Namespaced"}
                for kind in kinds
            ],
        }

    group = {
        "metadata": {"name": "networking.istio.io"},
        "versions": [version("v1", "Gateway"), version("v1beta1", "Gateway", "ProxyConfig")],
    }
    server.body = json.dumps({"items": [group]}).encode()
    resources = Resources(http)
    assert resources.find("networking.istio.io", "Gateway").api_version == "networking.istio.io/v1"
    assert (
        resources.find("networking.istio.io", "Gateway", "v1beta1").path("shop", "a")
        == "/apis/networking.istio.io/v1beta1/namespaces/shop/gateways/a"
    )
    assert (
        resources.find("networking.istio.io", "ProxyConfig").version == "v1beta1"
        and resources.find("networking.istio.io", "Sidecar") is None
    )
    assert resources.find("networking.istio.io", "Gateway", "v2") is None
    assert [path for _m, path, _h, _c in server.asked] == ["/api", "/apis"] and "apidiscovery.k8s.io" in server.asked[
        0
    ][2]["Accept"]
    resources.refresh()
    resources.find("networking.istio.io", "Gateway")
    assert len(server.asked) == 4
