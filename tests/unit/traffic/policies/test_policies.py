# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens, hosts outside, what a sidecar sees and what it tells, as data."""

from __future__ import annotations

import json

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.policies.egress import EGRESS
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.policies.jwt import JWT
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.policies.sidecar import SIDECAR
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.policies.telemetry import TELEMETRY

KEYS = {"keys": [{"kty": "RSA", "kid": "first", "n": "AQAB", "e": "AQAB"}]}
ISSUER = "https://login.example.com"
TLS = {
    "port": 443,
    "sni": None,
    "subject_alt_names": [],
    "credential_name": None,
    "ca_certificates": None,
    "insecure_skip_verify": False,
}


def asked(module, **options):
    usual = {name: spec.get("default") for name, spec in module.arguments.items()}
    return {"name": "web", "namespace": "shop", **usual, **options}


def specs(module, **options):
    return {obj["kind"]: obj["spec"] for obj in module.desired_objects(asked(module, **options))}


def refused(module, **options):
    with pytest.raises(InvalidOption) as found:
        module.desired_objects(asked(module, **options))
    return found.value.code


def test_a_token_is_asked_for_unless_told_otherwise():
    found = specs(JWT, issuers=[{"issuer": ISSUER, "keys": KEYS}], workload={"app": "web"}, open_paths=["/health"])
    chosen = {"selector": {"matchLabels": {"app": "web"}}}
    assert found["RequestAuthentication"] == {
        **chosen,
        "jwtRules": [{"issuer": ISSUER, "jwks": json.dumps(KEYS, sort_keys=True)}],
    }
    rule = {"from": [{"source": {"notRequestPrincipals": ["*"]}}], "to": [{"operation": {"notPaths": ["/health"]}}]}
    assert found["AuthorizationPolicy"] == {**chosen, "action": "DENY", "rules": [rule]}
    assert set(specs(JWT, issuers=[{"issuer": ISSUER}], required=False)) == {"RequestAuthentication"}


def test_all_that_can_be_said_of_an_issuer():
    given = {
        "issuer": "testing", "keys_url": "https://keys.example.com/jwks", "audiences": ["shop"],
        "from_headers": ["X-Token", {"name": "authorization", "prefix": "Bearer "}],
        "from_params": "token", "from_cookies": ["token"], "forward": True, "payload_header": "x-payload", "claim_headers": {"x-user": "sub"},
    }  # fmt: skip
    assert specs(JWT, issuers=[given])["RequestAuthentication"]["jwtRules"] == [
        {
            "issuer": "testing", "jwksUri": "https://keys.example.com/jwks", "audiences": ["shop"],
            "fromHeaders": [{"name": "x-token"}, {"name": "authorization", "prefix": "Bearer "}],
            "fromParams": ["token"], "fromCookies": ["token"], "forwardOriginalToken": True, "outputPayloadToHeader": "x-payload",
            "outputClaimToHeaders": [{"header": "x-user", "claim": "sub"}],
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"issuers": []}, "list_empty"),
        ({"issuers": [{"keys": KEYS}]}, "issuer_invalid"),
        ({"issuers": [{"issuer": ISSUER}, {"issuer": ISSUER}]}, "issuer_twice"),
        ({"issuers": [{"issuer": "me"}]}, "keys_missing"),
        ({"issuers": [{"issuer": "me", "keys": KEYS, "keys_url": ISSUER}]}, "jwt_ambiguous"),
        ({"issuers": [{"issuer": "me", "keys": "{"}]}, "keys_invalid"),
        ({"issuers": [{"issuer": "me", "keys": {"keys": []}}]}, "keys_invalid"),
        ({"issuers": [{"issuer": "me", "keys": {"keys": [{"kty": "RSA", "d": "AQAB"}]}}]}, "keys_private"),
        ({"issuers": [{"issuer": "me", "keys_url": "ftp://x"}]}, "url_invalid"),
        ({"issuers": [{"issuer": ISSUER, "audiences": []}]}, "list_empty"),
        ({"issuers": [{"issuer": ISSUER, "from_headers": ["a b"]}]}, "header_invalid"),
        ({"issuers": [{"issuer": ISSUER, "claim_headers": ["sub"]}]}, "header_invalid"),
        ({"issuers": [{"issuer": ISSUER, "nowhere": 1}]}, "key_unknown"),
        ({"issuers": [{"issuer": ISSUER}], "open_paths": ["health"]}, "path_invalid"),
        ({"issuers": [{"issuer": ISSUER}], "open_paths": ["/health"], "required": False}, "jwt_ambiguous"),
    ],
)
def test_what_no_token_can_be(options, code):
    assert refused(JWT, **options) == code


def test_a_private_key_is_in_no_message():
    with pytest.raises(InvalidOption) as found:
        JWT.desired_objects(
            asked(JWT, issuers=[{"issuer": "me", "keys": {"keys": [{"kty": "oct", "k": "hidden-key"}]}}])
        )
    assert "hidden-key" not in f"{found.value} {found.value.hint}"


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        (
            {},
            {
                "ports": [{"number": 443, "name": "tls-443", "protocol": "TLS"}],
                "resolution": "DNS",
                "location": "MESH_EXTERNAL",
            },
        ),
        ({"hosts": ["*.example.com"]}, {"resolution": "NONE"}),
        (
            {"ports": [80, {"number": 27017, "protocol": "MONGO", "name": "db", "target_port": 1}]},
            {
                "ports": [
                    {"number": 80, "name": "http-80", "protocol": "HTTP"},
                    {"number": 27017, "name": "db", "protocol": "MONGO", "targetPort": 1},
                ]
            },
        ),
        (
            {"endpoints": ["10.0.0.1", {"address": "10.0.0.2", "ports": {443: 8443}, "weight": 2}]},
            {
                "resolution": "STATIC",
                "endpoints": [
                    {"address": "10.0.0.1"},
                    {"address": "10.0.0.2", "ports": {"tls-443": 8443}, "weight": 2},
                ],
            },
        ),
        ({"endpoints": ["a.example.com"]}, {"resolution": "DNS"}),
        (
            {"location": "mesh_internal", "export_to": ["."], "addresses": ["10.0.0.0/8"]},
            {"location": "MESH_INTERNAL", "exportTo": ["."], "addresses": ["10.0.0.0/8"]},
        ),
    ],
)
def test_a_host_is_registered(options, spec):
    found = specs(EGRESS, **{"hosts": ["api.example.com"], **options})
    assert set(found) == {"ServiceEntry"} and spec.items() <= found["ServiceEntry"].items()


def test_a_proxy_begins_tls():
    found = specs(
        EGRESS,
        hosts=["api.example.com"],
        ports=[80],
        tls={**TLS, "subject_alt_names": ["other.example.com"], "credential_name": "client"},
        gateway="istio-egress/out",
    )
    assert found["ServiceEntry"]["ports"] == [{"number": 80, "name": "http-80", "protocol": "HTTP", "targetPort": 443}]
    settings = {
        "mode": "MUTUAL",
        "sni": "api.example.com",
        "credentialName": "client",
        "subjectAltNames": ["other.example.com"],
    }
    assert found["DestinationRule"] == {
        "host": "api.example.com",
        "trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, "tls": settings}]},
    }
    for sni, asked_for in ((None, "api.example.com"), ("web.example.com", "web.example.com")):
        found = specs(EGRESS, hosts=["api.example.com"], ports=[80], tls={**TLS, "sni": sni})
        settings = found["DestinationRule"]["trafficPolicy"]["portLevelSettings"][0]["tls"]
        assert settings == {
            "mode": "SIMPLE",
            "sni": asked_for,
            "subjectAltNames": [asked_for],
        }, "a certificate of somebody else is no good one"
    found = specs(EGRESS, hosts=["api.example.com"], ports=[80], tls={**TLS, "insecure_skip_verify": True})
    assert found["DestinationRule"]["trafficPolicy"]["portLevelSettings"][0]["tls"] == {
        "mode": "SIMPLE",
        "sni": "api.example.com",
        "insecureSkipVerify": True,
    }


def test_requests_leave_through_a_gateway():
    found = specs(
        EGRESS, hosts=["api.example.com"], ports=[{"number": 8080, "protocol": "HTTP"}, 443], gateway="istio-egress/out"
    )
    assert [(server["port"]["number"], server.get("tls")) for server in found["Gateway"]["servers"]] == [
        (80, None),
        (443, {"mode": "PASSTHROUGH"}),
    ]
    out = "out.istio-egress.svc.cluster.local"
    assert [
        (rule["match"][0]["gateways"], rule["match"][0]["port"], rule["route"][0]["destination"])
        for rule in found["VirtualService"]["http"]
    ] == [
        (["mesh"], 8080, {"host": out, "port": {"number": 80}}),
        (["shop/web"], 80, {"host": "api.example.com", "port": {"number": 8080}}),
    ]
    assert [rule["match"][0]["sniHosts"] for rule in found["VirtualService"]["tls"]] == [["api.example.com"]] * 2


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"hosts": []}, "list_empty"),
        ({"hosts": ["*"]}, "host_invalid"),
        ({"hosts": ["A.example.com"]}, "host_invalid"),
        ({"ports": []}, "list_empty"),
        ({"ports": [9000]}, "protocol_invalid"),
        ({"ports": [{"number": 1, "protocol": "SCTP"}]}, "protocol_invalid"),
        ({"ports": [443, "443"]}, "port_taken"),
        ({"ports": ["http"]}, "port_invalid"),
        ({"hosts": ["*.example.com"], "resolution": "dns"}, "resolution_invalid"),
        ({"resolution": "static"}, "resolution_invalid"),
        ({"resolution": "none", "endpoints": ["10.0.0.1"]}, "resolution_invalid"),
        ({"resolution": "static", "endpoints": ["a.example.com"]}, "resolution_invalid"),
        ({"endpoints": [{"ports": {}}]}, "address_invalid"),
        ({"endpoints": [{"address": "10.0.0.1", "ports": {"80": 1}}]}, "port_invalid"),
        ({"endpoints": [{"address": "10.0.0.1", "ports": [8443]}]}, "port_invalid"),
        ({"addresses": ["nowhere"]}, "address_invalid"),
        ({"tls": TLS}, "egress_tls_empty"),
        ({"ports": [80], "tls": {**TLS, "credential_name": "client"}}, "egress_secret_needs_gateway"),
        (
            {"ports": [80], "tls": {**TLS, "insecure_skip_verify": True, "subject_alt_names": ["a"]}},
            "egress_tls_ambiguous",
        ),
        ({"hosts": ["a.com", "b.com"], "ports": [80], "tls": TLS}, "egress_one_host"),
        ({"hosts": ["*.a.com"], "gateway": "a/b"}, "egress_one_host"),
        ({"gateway": "b"}, "no_such_gateway"),
        ({"ports": [{"number": 1, "protocol": "TCP"}], "gateway": "a/b"}, "egress_gateway_ports"),
        ({"gateway": "a/b", "gateway_selector": {}}, "list_empty"),
    ],
)
def test_what_no_host_outside_can_be(options, code):
    assert refused(EGRESS, **{"hosts": ["api.example.com"], **options}) == code


def test_what_a_sidecar_sees():
    assert specs(
        SIDECAR,
        egress_hosts=[".", "istio-system", "*/a.example.com"],
        outbound_traffic_policy="registry_only",
        workload={"app": "web"},
    ) == {
        "Sidecar": {
            "workloadSelector": {"labels": {"app": "web"}},
            "egress": [{"hosts": ["./*", "istio-system/*", "*/a.example.com"]}],
            "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
        }
    }


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "sidecar_empty"),
        ({"egress_hosts": []}, "list_empty"),
        ({"egress_hosts": ["a.b"]}, "host_invalid"),
        ({"egress_hosts": ["Shop/*"]}, "host_invalid"),
        ({"egress_hosts": [".", "./*"]}, "host_twice"),
    ],
)
def test_what_no_sidecar_can_see(options, code):
    assert refused(SIDECAR, **options) == code


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        (
            {"access_logs": {"enabled": False}},
            {"accessLogging": [{"providers": [{"name": "envoy"}], "disabled": True}]},
        ),
        (
            {"access_logs": {"enabled": True, "providers": ["otel"]}},
            {"accessLogging": [{"providers": [{"name": "otel"}]}]},
        ),
        (
            {"access_logs": {"providers": ["envoy"], "when": "response.code >= 500", "mode": "server"}},
            {
                "accessLogging": [
                    {
                        "providers": [{"name": "envoy"}],
                        "match": {"mode": "SERVER"},
                        "filter": {"expression": "response.code >= 500"},
                    }
                ]
            },
        ),
        ({"tracing": {"percent": 0}}, {"tracing": [{"randomSamplingPercentage": 0.0}]}),
        ({"tracing": {"enabled": False}}, {"tracing": [{"disableSpanReporting": True}]}),
        (
            {
                "tracing": {
                    "percent": 12.5,
                    "tags": {"a": "b", "c": {"header": "X-C", "default": "d"}, "e": {"env": "E"}},
                }
            },
            {
                "tracing": [
                    {
                        "randomSamplingPercentage": 12.5,
                        "customTags": {
                            "a": {"literal": {"value": "b"}},
                            "c": {"header": {"name": "x-c", "defaultValue": "d"}},
                            "e": {"environment": {"name": "E"}},
                        },
                    }
                ]
            },
        ),
        (
            {"metrics": {"enabled": False, "providers": ["prometheus"]}},
            {"metrics": [{"providers": [{"name": "prometheus"}], "overrides": [{"disabled": True}]}]},
        ),
        (
            {
                "metrics": {
                    "disable": ["REQUEST_SIZE"],
                    "tags": {"host": "request.host", "response_flags": False},
                    "reporting_interval": "30s",
                },
                "workload": {"app": "web"},
            },
            {
                "selector": {"matchLabels": {"app": "web"}},
                "metrics": [
                    {
                        "overrides": [
                            {"match": {"metric": "REQUEST_SIZE"}, "disabled": True},
                            {
                                "match": {"metric": "ALL_METRICS"},
                                "tagOverrides": {
                                    "host": {"value": "request.host"},
                                    "response_flags": {"operation": "REMOVE"},
                                },
                            },
                        ],
                        "reportingInterval": "30s",
                    }
                ],
            },
        ),
    ],
)
def test_what_a_proxy_tells(options, spec):
    assert specs(TELEMETRY, **options) == {"Telemetry": spec}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "telemetry_empty"),
        ({"tracing": {}}, "telemetry_empty"),
        ({"tracing": {"enabled": "no"}}, "bool_invalid"),
        ({"tracing": {"enabled": False, "percent": 1}}, "telemetry_ambiguous"),
        ({"tracing": {"percent": 101}}, "percent_invalid"),
        ({"tracing": {"percent": False}}, "percent_invalid"),
        ({"tracing": {"tags": {"a": {"literal": "b", "env": "C"}}}}, "tag_ambiguous"),
        ({"tracing": {"tags": {"a": {"literal": "b", "default": "c"}}}}, "tag_ambiguous"),
        ({"tracing": {"tags": []}}, "key_unknown"),
        ({"access_logs": {"providers": []}}, "list_empty"),
        ({"access_logs": {"when": " "}}, "expression_invalid"),
        ({"access_logs": {"mode": "CLIENT"}}, "mode_unknown"),
        ({"metrics": {"disable": ["request_size"]}}, "metric_unknown"),
        ({"metrics": {"reporting_interval": "often"}}, "duration_invalid"),
        ({"metrics": {"nowhere": 1}}, "key_unknown"),
    ],
)
def test_what_no_proxy_tells(options, code):
    assert refused(TELEMETRY, **options) == code
