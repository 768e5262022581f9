# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy

import pytest
from builders import namespace, pod

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop", "namespace": "istio-system"}, "data": {"tls.crt": "YQ==", "tls.key": "YQ=="}}
TLS = {"tls": {"secret": "shop"}}


@pytest.fixture
def mesh(api):
    for name in ("istio-system", "shop"):
        api.put(namespace(name))
    api.put(pod("gateway-1", "istio-system", {"istio": "ingressgateway"}))
    api.put(SECRET)
    return api


@pytest.fixture
def say(run, mesh):
    return lambda check=False, **options: run("gateway", check=check, name="web", namespace="shop", **options)


def servers(api):
    obj = api.get("Gateway", "web", "shop")
    return [(server["port"]["number"], server["port"]["protocol"], server.get("tls")) for server in obj["spec"]["servers"]] if obj else None


def test_create_change_and_delete_each_also_in_check_mode_and_again(mesh, say):
    https = (443, "HTTPS", {"mode": "SIMPLE", "credentialName": "shop", "minProtocolVersion": "TLSV1_2"})
    for options, seen in (({}, [(80, "HTTP", None)]), (TLS, [https]), ({**TLS, "redirect": True}, [(80, "HTTP", {"httpsRedirect": True}), https]), ({"state": "absent"}, None)):
        before = copy.deepcopy(mesh.objects)
        planned = say(check=True, **options)
        assert planned["changed"] and mesh.objects == before
        done = say(**options)
        assert done["changed"] and done["diff"] == planned["diff"] and servers(mesh) == seen
        again = say(**options)
        assert (again["changed"], again["diff"], again["summary"]["asked"]) == (False, [], 0)


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"tls": {"mode": "passthrough"}, "https_port": 8443}, [(8443, "TLS", {"mode": "PASSTHROUGH"})]),
        ({"tls": {"mode": "mutual", "secret": "shop", "least_version": "1.3"}}, [(443, "HTTPS", {"mode": "MUTUAL", "credentialName": "shop", "minProtocolVersion": "TLSV1_3"})]),
        ({"http_port": 8080, "hosts": ["shop/a.example.com", "*.example.com"]}, [(8080, "HTTP", None)]),
    ],
)
def test_other_ports_and_modes(mesh, say, options, seen):
    assert say(**options)["changed"] and servers(mesh) == seen


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        ({"hosts": []}, "list_empty", "hosts"),
        ({"hosts": ["a_b"]}, "host_invalid", "a_b"),
        ({"hosts": ["A/b"]}, "host_invalid", "'A'"),
        ({"selector": {}}, "list_empty", "selector"),
        ({"selector": {"istio": "nowhere"}}, "gateway_selects_nothing", "istio=nowhere"),
        ({"http_port": 70000}, "port_invalid", "http_port"),
        ({"http_port": 443, **TLS}, "port_taken", "https_port"),
        ({"redirect": True}, "redirect_empty", "redirect"),
        ({"tls": {}}, "secret_needed", "tls.secret"),
        ({"tls": {"mode": "passthrough", "secret": "shop"}}, "secret_needed", "tls.secret"),
        ({"tls": {"secret": "nowhere"}}, "no_such_secret", "istio-system/nowhere"),
    ],
)
def test_bad_options_have_a_code_and_write_nothing(mesh, say, options, code, named):
    before = copy.deepcopy(mesh.objects)
    refused = say(**options)
    assert refused["failure"]["code"] == code and named in refused["msg"] and mesh.objects == before


def test_what_an_earlier_task_may_put_right_is_a_warning_in_check_mode(say):
    for options, code in (({"selector": {"istio": "nowhere"}}, "gateway_selects_nothing"), ({"tls": {"secret": "nowhere"}}, "no_such_secret")):
        planned = say(check=True, **options)
        assert planned["changed"] and code in str(planned["warnings"])


def test_a_secret_without_a_certificate_is_none(mesh, say):
    mesh.put({**SECRET, "data": {"password": "YQ=="}})
    refused = say(**TLS)
    assert refused["failure"]["code"] == "no_such_secret" and "holds no certificate" in refused["msg"]
