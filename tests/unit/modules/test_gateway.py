# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy

import pytest
from builders import namespace, pod, service

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "shop", "namespace": "istio-system"},
    "data": {"tls.crt": "YQ==", "tls.key": "YQ=="},
}
TLS = {"tls": {"credential_name": "shop"}}


@pytest.fixture
def mesh(api):
    for name in ("istio-system", "shop"):
        api.put(namespace(name))
    api.put(pod("gateway-1", "istio-system", {"istio": "ingressgateway"}))
    api.put(SECRET)
    # As istiod makes it where Gateway API is served.
    api.put(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "istio"},
            "spec": {},
        }
    )
    return api


@pytest.fixture
def say(run, mesh):
    return lambda check=False, **options: run("gateway", check=check, name="web", namespace="shop", **options)


def servers(api):
    obj = api.get("Gateway", "web", "shop")
    return (
        [(server["port"]["number"], server["port"]["protocol"], server.get("tls")) for server in obj["spec"]["servers"]]
        if obj
        else None
    )


def test_create_change_and_delete_each_also_in_check_mode_and_again(mesh, say):
    https = (443, "HTTPS", {"mode": "SIMPLE", "credentialName": "shop", "minProtocolVersion": "TLSV1_2"})
    for options, seen in (
        ({}, [(80, "HTTP", None)]),
        (TLS, [https]),
        ({**TLS, "redirect": True}, [(80, "HTTP", {"httpsRedirect": True}), https]),
        ({"state": "absent"}, None),
    ):
        before = copy.deepcopy(mesh.objects)
        planned = say(check=True, **options)
        assert planned["changed"] and mesh.objects == before
        done = say(**options)
        assert done["changed"] and done["diff"] == planned["diff"] and servers(mesh) == seen
        again = say(**options)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"tls": {"mode": "passthrough"}, "https_port": 8443}, [(8443, "TLS", {"mode": "PASSTHROUGH"})]),
        (
            {"tls": {"mode": "mutual", "credential_name": "shop", "min_protocol_version": "1.3"}},
            [(443, "HTTPS", {"mode": "MUTUAL", "credentialName": "shop", "minProtocolVersion": "TLSV1_3"})],
        ),
        ({"http_port": 8080, "hosts": ["shop/a.example.com", "*.example.com"]}, [(8080, "HTTP", None)]),
        ({"tcp_port": 31400}, [(31400, "TCP", None)]),
        (
            {"tcp_port": 31400, "http_port": 80, "tls": {"mode": "passthrough"}},
            [(80, "HTTP", None), (443, "TLS", {"mode": "PASSTHROUGH"}), (31400, "TCP", None)],
        ),
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
        ({"tcp_port": 80, "http_port": 80}, "port_taken", "tcp_port: 80 is also the port for HTTP"),
        ({"tcp_port": 443, **TLS}, "port_taken", "tcp_port: 443 is also the port for HTTPS"),
        ({"tcp_port": 0, "http_port": 80}, "port_invalid", "tcp_port"),
        ({"redirect": True}, "redirect_empty", "redirect"),
        ({"tls": {}}, "secret_needed", "tls.credential_name"),
        ({"tls": {"mode": "passthrough", "credential_name": "shop"}}, "secret_needed", "tls.credential_name"),
        ({"tls": {"credential_name": "nowhere"}}, "no_such_secret", "istio-system/nowhere"),
    ],
)
def test_bad_options_have_a_code_and_write_nothing(mesh, say, options, code, named):
    before = copy.deepcopy(mesh.objects)
    refused = say(**options)
    assert refused["failure"]["code"] == code and named in refused["msg"] and mesh.objects == before


def test_what_an_earlier_task_may_put_right_is_a_warning_in_check_mode(say):
    for options, code in (
        ({"selector": {"istio": "nowhere"}}, "gateway_selects_nothing"),
        ({"tls": {"credential_name": "nowhere"}}, "no_such_secret"),
    ):
        planned = say(check=True, **options)
        assert planned["changed"] and code in str(planned["warnings"])


def test_a_secret_without_a_certificate_is_none(mesh, say):
    mesh.put({**SECRET, "data": {"password": "YQ=="}})
    refused = say(**TLS)
    assert refused["failure"]["code"] == "no_such_secret" and "contains no certificate" in refused["msg"]


GROUP = "gateway.networking.k8s.io"
ALL = {"namespaces": {"from": "All"}}
CERTIFICATE = [{"group": "", "kind": "Secret", "name": "shop"}]


@pytest.fixture
def by_gateway_api(mesh, say):
    mesh.put({**SECRET, "metadata": {"name": "shop", "namespace": "shop"}})
    return lambda check=False, **options: say(check=check, **{"api": "gateway_api", **options})


def listeners(api):
    obj = api.get("Gateway", "web", "shop", GROUP)
    return (
        [
            (one["name"], one["port"], one["protocol"], one.get("hostname"), one.get("tls"))
            for one in obj["spec"]["listeners"]
        ]
        if obj
        else None
    )


def selected(*namespaces):
    return {
        "namespaces": {
            "from": "Selector",
            "selector": {
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
                ]
            },
        }
    }


def test_in_gateway_api_create_change_and_delete_each_also_in_check_mode_and_again(mesh, by_gateway_api):
    http, https = (
        ("http-80", 80, "HTTP", None, None),
        (
            "https-443",
            443,
            "HTTPS",
            None,
            {"mode": "Terminate", "certificateRefs": CERTIFICATE},
        ),
    )
    for options, seen in (
        ({}, [http]),
        (TLS, [https]),
        ({**TLS, "redirect": True}, [http, https]),
        ({"state": "absent"}, None),
    ):
        before = copy.deepcopy(mesh.objects)
        planned = by_gateway_api(check=True, **options)
        assert planned["changed"] and mesh.objects == before
        done = by_gateway_api(**options)
        assert done["changed"] and done["diff"] == planned["diff"] and listeners(mesh) == seen
        again = by_gateway_api(**options)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)
    assert mesh.get("HTTPRoute", "web.to-https", "shop") is None


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        (
            {"hosts": ["*.example.com", "a.example.com"]},
            [
                ("http-80.any.example.com", 80, "HTTP", "*.example.com", None),
                ("http-80.a.example.com", 80, "HTTP", "a.example.com", None),
            ],
        ),
        (
            {"tls": {"mode": "passthrough"}, "https_port": 8443},
            [("tls-8443", 8443, "TLS", None, {"mode": "Passthrough"})],
        ),
        (
            {"tls": {"mode": "mutual", "credential_name": "shop"}},
            [
                (
                    "https-443",
                    443,
                    "HTTPS",
                    None,
                    {
                        "mode": "Terminate",
                        "options": {"gateway.istio.io/tls-terminate-mode": "MUTUAL"},
                        "certificateRefs": CERTIFICATE,
                    },
                )
            ],
        ),
        (
            {"tls": {"mode": "istio_mutual"}},
            [
                (
                    "https-443",
                    443,
                    "HTTPS",
                    None,
                    {"mode": "Terminate", "options": {"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"}},
                )
            ],
        ),
    ],
)
def test_a_listener_for_each_host_and_mode(mesh, by_gateway_api, options, seen):
    assert by_gateway_api(**options)["changed"] and listeners(mesh) == seen


def test_who_may_send_routes(mesh, by_gateway_api):
    by_gateway_api(hosts=["*", "shop/a.example.com", "./b.example.com", "other/a.example.com"])
    allowed = {
        one["name"]: one["allowedRoutes"] for one in mesh.get("Gateway", "web", "shop", GROUP)["spec"]["listeners"]
    }
    assert allowed == {
        "http-80": ALL,
        "http-80.a.example.com": selected("other", "shop"),
        "http-80.b.example.com": selected("shop"),
    }


def test_the_redirect_is_a_route_of_the_port_for_http(mesh, by_gateway_api):
    by_gateway_api(**TLS, redirect=True, https_port=8443, hosts=["a.example.com"])
    spec = mesh.get("HTTPRoute", "web.to-https", "shop")["spec"]
    assert [ref["sectionName"] for ref in spec["parentRefs"]] == ["http-80.a.example.com"]
    assert spec["rules"][0]["filters"] == [
        {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301, "port": 8443}}
    ]
    plain, secure = mesh.get("Gateway", "web", "shop", GROUP)["spec"]["listeners"]
    assert plain["allowedRoutes"] == selected("shop") and secure["allowedRoutes"] == ALL


def test_pods_are_those_that_istio_deploys_or_those_of_a_service(mesh, by_gateway_api):
    by_gateway_api(service_type="NodePort")
    obj = mesh.get("Gateway", "web", "shop", GROUP)
    assert (
        obj["metadata"]["annotations"] == {"networking.istio.io/service-type": "NodePort"}
        and obj["spec"]["gatewayClassName"] == "istio"
        and "addresses" not in obj["spec"]
    )
    mesh.put(service("edge", ports=(80,)))
    assert by_gateway_api(service="shop/edge")["changed"]
    assert mesh.get("Gateway", "web", "shop", GROUP)["spec"]["addresses"] == [
        {"type": "Hostname", "value": "edge.shop.svc.cluster.local"}
    ]


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        ({"selector": {"istio": "other"}}, "gateway_api_cannot", "selector"),
        (
            {"tls": {"credential_name": "shop", "min_protocol_version": "1.3"}},
            "gateway_api_cannot",
            "tls.min_protocol_version",
        ),
        ({"service": "istio-system/edge"}, "gateway_api_cannot", "service"),
        ({"tcp_port": 31400}, "gateway_api_cannot", "tcp_port"),
        ({"service": "edge"}, "no_such_service", "shop/edge"),
        ({"service": "one-port", **TLS, "https_port": 444}, "no_such_port", "444"),
        ({"tls": {"credential_name": "nowhere"}}, "no_such_secret", "shop/nowhere"),
        ({"service": "edge", "api": "istio"}, "option_of_other_api", "service"),
    ],
)
def test_what_gateway_api_cannot_say_or_lacks_is_refused(mesh, by_gateway_api, options, code, named):
    mesh.put(service("one-port", ports=(80,)))
    before = copy.deepcopy(mesh.objects)
    refused = by_gateway_api(**options)
    assert refused["failure"]["code"] == code and named in refused["msg"] and mesh.objects == before


def test_without_its_definitions_there_is_no_gateway_of_gateway_api(mesh, by_gateway_api):
    mesh.kinds = [kind for kind in mesh.kinds if kind.group != GROUP]
    assert by_gateway_api()["failure"]["code"] == "gateway_api_absent"
    assert by_gateway_api(api="auto")["changed"] and servers(mesh) == [(80, "HTTP", None)]


def test_a_gateway_moves_only_when_it_is_told_to(mesh, by_gateway_api, say):
    assert say()["changed"] and servers(mesh)
    assert not by_gateway_api(api="auto")["changed"]
    assert by_gateway_api()["changed"] and servers(mesh) is None and listeners(mesh)
    assert not say()["changed"] and listeners(mesh), "without a word it stays"
    assert by_gateway_api(api="istio")["changed"] and servers(mesh) and listeners(mesh) is None


def test_auto_is_gateway_api_where_it_can_say_it(mesh, by_gateway_api):
    assert (
        by_gateway_api(api="auto", tls={"credential_name": "shop", "min_protocol_version": "1.3"})["changed"]
        and servers(mesh)
        and listeners(mesh) is None
    )
    by_gateway_api(state="absent", api="istio")
    assert by_gateway_api(api="auto")["changed"] and listeners(mesh) and servers(mesh) is None


def test_a_gateway_goes_from_one_api_and_the_others_of_its_name_stays(mesh, by_gateway_api, say):
    by_gateway_api()
    mesh.put(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {}, "servers": []},
        }
    )
    assert say(state="absent")["failure"]["code"] == "not_ours"
    assert by_gateway_api(state="absent")["changed"] and listeners(mesh) is None and servers(mesh) == []
