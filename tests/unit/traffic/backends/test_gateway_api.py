# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same vocabulary in the words of Gateway API, and what it has no word for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic import references, rollout
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.backends import gateway_api
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host.host import INTENTS, VERSION_OF, Host
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host_policy import MANAGED
from policies import FULL, host, policy, split

ANY = [{"path": {"type": "PathPrefix", "value": "/"}}]
LAST = [{"path": {"type": "RegularExpression", "value": ".*"}}]
INGRESS = {"gateways": ["mesh", "edge/ingress"], "gateway_hosts": ["shop.example"]}


def told(live=None, /, **asked):
    return replace(policy(live or host(gateway_api_channel="experimental"), **asked), api="gateway_api")


def rules(*listed, **options):
    return {"rules": list(listed), "label": "version", **options}


def written(*listed, live=None, **more):
    """Rules of the mesh's route, less their names."""
    first, *_others = gateway_api.GatewayApi().route_objects(told(live, route=rules(*listed), **more))
    return [{key: value for key, value in one.items() if key != "name"} for one in first["spec"]["rules"]]


def to(service="frontend", weight=1, port=80, **more):
    return {"group": "", "kind": "Service", "name": service, "port": port, "weight": weight, **more}


def path(kind, value):
    return {"path": {"type": kind, "value": value}}


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        (None, ANY),
        ({"path": "/a"}, [path("Exact", "/a")]),
        ({"path": "/a//b"}, [path("RegularExpression", "/a//b")]),
        ({"path": "/*"}, ANY),
        ({"path": "/a/*"}, [path("RegularExpression", "/a/.*")]),
        ({"path": "/a.b*"}, [path("RegularExpression", r"/a\.b.*")]),
        ({"path": {"regex": "/a/[0-9]+"}}, [path("RegularExpression", "/a/[0-9]+")]),
        ({"path": "/a", "method": "GET"}, [{**path("Exact", "/a"), "method": "GET"}]),
        (
            {"path": "/a", "method": ["GET", "HEAD"]},
            [{**path("Exact", "/a"), "method": "GET"}, {**path("Exact", "/a"), "method": "HEAD"}],
        ),
        (
            {"headers": {"X-User": "a", "x-b": "c*"}},
            [
                {
                    **ANY[0],
                    "headers": [
                        {"name": "x-b", "type": "RegularExpression", "value": "c.*"},
                        {"name": "x-user", "type": "Exact", "value": "a"},
                    ],
                }
            ],
        ),
        (
            {"headers": {"x-user": {"present": True}}},
            [{**ANY[0], "headers": [{"name": "x-user", "type": "RegularExpression", "value": ".*"}]}],
        ),
        (
            {"query": {"page": "1", "to": {"regex": "a|b"}}},
            [
                {
                    **ANY[0],
                    "queryParams": [
                        {"name": "page", "type": "Exact", "value": "1"},
                        {"name": "to", "type": "RegularExpression", "value": "a|b"},
                    ],
                }
            ],
        ),
        ([{"path": "/a"}, {"path": "/b"}], [path("Exact", "/a"), path("Exact", "/b")]),
    ],
)
def test_a_condition_is_a_match(when, matches):
    first, *rest = written({"match": when, "to": "v1"})
    assert first["matches"] == matches and first["backendRefs"] == [to("frontend-v1")]
    expressions = any(match["path"]["type"] == "RegularExpression" for match in matches)
    assert [one["matches"] for one in rest] == (
        [] if when in (None, {"path": "/*"}) and not rest else [LAST if expressions else ANY]
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"to": "v2"}, {"backendRefs": [to("frontend-v2")]}),
        ({"to": {"version": "v1", "port": 81}}, {"backendRefs": [to("frontend-v1", port=81)]}),
        ({"to": {"service": "cart"}}, {"backendRefs": [to("cart", port=70)]}),
        (
            {"to": {"service": "cart.other.svc.cluster.local"}},
            {"backendRefs": [to("cart", port=71, namespace="other")]},
        ),
        ({"versions": {"v1": 1, "v2": 0}}, {"backendRefs": [to("frontend-v1"), to("frontend-v2", 0)]}),
        (
            {"redirect": {"path": "/b", "host": "b.example", "scheme": "https", "port": 444, "status": 308}},
            {
                "filters": [
                    {
                        "type": "RequestRedirect",
                        "requestRedirect": {
                            "statusCode": 308,
                            "hostname": "b.example",
                            "scheme": "https",
                            "port": 444,
                            "path": {"type": "ReplaceFullPath", "replaceFullPath": "/b"},
                        },
                    }
                ]
            },
        ),
        (
            {"redirect": {"path": "/b"}},
            {
                "filters": [
                    {
                        "type": "RequestRedirect",
                        "requestRedirect": {
                            "statusCode": 301,
                            "path": {"type": "ReplaceFullPath", "replaceFullPath": "/b"},
                        },
                    }
                ]
            },
        ),
        (
            {"rewrite": {"path": "/b", "host": "b.example"}},
            {
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {
                            "hostname": "b.example",
                            "path": {"type": "ReplaceFullPath", "replaceFullPath": "/b"},
                        },
                    }
                ],
                "backendRefs": [to()],
            },
        ),
        (
            {"headers": {"request": {"set": {"X-A": 1}, "remove": ["x-b"]}, "response": {"add": {"x-c": "d"}}}},
            {
                "filters": [
                    {
                        "type": "RequestHeaderModifier",
                        "requestHeaderModifier": {"set": [{"name": "x-a", "value": "1"}], "remove": ["x-b"]},
                    },
                    {
                        "type": "ResponseHeaderModifier",
                        "responseHeaderModifier": {"add": [{"name": "x-c", "value": "d"}]},
                    },
                ],
                "backendRefs": [to()],
            },
        ),
        (
            {
                "cors": {
                    "origins": ["https://a.example"],
                    "methods": ["GET"],
                    "headers": ["x-a"],
                    "expose": ["x-b"],
                    "max_age": "1h",
                    "credentials": True,
                }
            },
            {
                "filters": [
                    {
                        "type": "CORS",
                        "cors": {
                            "allowOrigins": ["https://a.example"],
                            "allowMethods": ["GET"],
                            "allowHeaders": ["x-a"],
                            "exposeHeaders": ["x-b"],
                            "maxAge": 3600,
                            "allowCredentials": True,
                        },
                    }
                ],
                "backendRefs": [to()],
            },
        ),
        (
            {"cors": {"origins": ["*", "https://a.example"]}},
            {"filters": [{"type": "CORS", "cors": {"allowOrigins": ["*"], "maxAge": 5}}], "backendRefs": [to()]},
        ),
        (
            {"mirror": {"version": "v2", "percent": 5}},
            {
                "filters": [
                    {
                        "type": "RequestMirror",
                        "requestMirror": {
                            "backendRef": {"group": "", "kind": "Service", "name": "frontend-v2", "port": 80},
                            "percent": 5,
                        },
                    }
                ],
                "backendRefs": [to()],
            },
        ),
        (
            {"mirror": {"version": "v2", "percent": 0.5}},
            {
                "filters": [
                    {
                        "type": "RequestMirror",
                        "requestMirror": {
                            "backendRef": {"group": "", "kind": "Service", "name": "frontend-v2", "port": 80},
                            "fraction": {"numerator": 5000, "denominator": 1000000},
                        },
                    }
                ],
                "backendRefs": [to()],
            },
        ),
        ({"timeout": "1.5s"}, {"timeouts": {"request": "1s500ms"}, "backendRefs": [to()]}),
        ({"timeout": "90m"}, {"timeouts": {"request": "1h30m"}, "backendRefs": [to()]}),
    ],
)
def test_a_rule_in_gateway_apis_words(rule, said):
    live = host(
        gateway_api_channel="standard",
        other_ports={"cart.shop.svc.cluster.local": (70,), "cart.other.svc.cluster.local": (71,)},
    )
    (only,) = written(rule, live=live)
    assert only == {"matches": ANY, **said}


def test_a_prefix_that_is_replaced_is_one_of_whole_parts():
    first, _rest = written({"match": {"path": "/a/*"}, "rewrite": {"prefix": "/b/"}})
    assert first["matches"] == [path("PathPrefix", "/a")] and first["filters"][0]["urlRewrite"]["path"] == {
        "type": "ReplacePrefixMatch",
        "replacePrefixMatch": "/b/",
    }


def test_retries_of_the_experimental_channel():
    resilience = {
        "timeout": "3s",
        "retries": {
            "attempts": 2,
            "per_try_timeout": "1s",
            "retry_on": ["connect-failure", "refused-stream", "unavailable", "cancelled", 503],
        },
    }
    (only,) = written({"to": "v1"}, resilience=resilience)
    assert only["timeouts"] == {"request": "3s", "backendRequest": "1s"} and only["retry"] == {
        "attempts": 2,
        "codes": [503],
    }
    (only,) = written({"to": "v1"}, resilience={"retries": {"attempts": 3}})
    assert only["retry"] == {"attempts": 3} and "timeouts" not in only


def test_shares_with_a_cookie_that_leads_back():
    (obj,) = gateway_api.GatewayApi().route_objects(told(split=split({"v1": 9, "v2": 1}, sticky={"cookie": "release"})))
    first, second, shares = obj["spec"]["rules"]
    assert [rule["backendRefs"][0]["name"] for rule in (first, second)] == ["frontend-v1", "frontend-v2"]
    cookie = {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": "release=v1; Path=/"}]},
    }
    assert shares["backendRefs"][0] == to("frontend-v1", 9, filters=[cookie]) and shares["matches"] == ANY


CANNOT = {
    "delay": ({"fault": {"delay": "2s"}}, "delay"),
    "abort": ({"fault": {"abort": 503}}, "abort"),
    "direct_response": ({"route": rules({"direct_response": 404})}, "direct_response"),
    "authority": ({"route": rules({"match": {"authority": "a"}, "to": "v1"})}, "match.authority"),
    "header that is not there": (
        {"route": rules({"match": {"headers": {"a": {"present": False}}}, "to": "v1"})},
        "match.headers",
    ),
    "callers": ({"route": rules({"match": {"from_labels": {"a": "b"}}, "to": "v1"})}, "match.from_labels"),
    "callers' namespace": ({"route": rules({"match": {"from_namespace": "a"}, "to": "v1"})}, "match.from_namespace"),
    "port": ({"route": rules({"match": {"port": 80}, "to": "v1"})}, "match.port"),
    "case": ({"route": rules({"match": {"path": "/a", "ignore_case": True}, "to": "v1"})}, "match.ignore_case"),
    "rewrite by expression": (
        {"route": rules({"rewrite": {"regex": {"match": "/a", "replacement": "/b"}}})},
        "rewrite.regex",
    ),
    "rewrite of half a part": (
        {"route": rules({"match": {"path": "/a*"}, "rewrite": {"prefix": "/b/"}})},
        "rewrite.prefix",
    ),
    "rewrite into half a part": (
        {"route": rules({"match": {"path": "/a/*"}, "rewrite": {"prefix": "/b"}})},
        "rewrite.prefix",
    ),
    "rewrite of all": ({"route": rules({"rewrite": {"prefix": "/b/"}})}, "rewrite.prefix"),
    "origins": ({"route": rules({"cors": {"origins": [{"regex": "https://.*"}]}})}, "cors.origins"),
    "age": ({"route": rules({"cors": {"origins": ["*"], "max_age": "1500ms"}})}, "cors.max_age"),
    "no retries": ({"resilience": {"retries": {"attempts": 0}}}, "retries.attempts"),
    "retries on": ({"resilience": {"retries": {"attempts": 1, "retry_on": ["5xx"]}}}, "retries.retry_on"),
    "long attempts": (
        {"resilience": {"timeout": "1s", "retries": {"attempts": 1, "per_try_timeout": "2s"}}},
        "retries.per_try_timeout",
    ),
    "version of another host": ({"route": rules({"to": {"service": "cart", "version": "v1"}})}, "to.version"),
    "no Service": ({"route": rules({"to": {"service": "api.example.com"}})}, "to.service"),
    "another namespace from a gateway": (
        {"route": rules({"to": {"service": "cart.other.svc.cluster.local"}}, **INGRESS)},
        "to.service",
    ),
    "version's name": ({"split": split({"v1.2": 1})}, "versions"),
    "weight": ({"split": split({"v1": 1000001})}, "versions"),
    "too many": (
        {
            "route": rules(
                *({"name": f"a{number}", "match": {"path": f"/{number}"}, "to": "v1"} for number in range(16))
            )
        },
        "rules",
    ),
    "wider first": (
        {
            "route": rules(
                {"name": "wide", "match": {"headers": {"a": "b"}}, "to": "v1"},
                {"name": "narrow", "match": {"path": "/aa"}, "to": "v2"},
            )
        },
        "rules",
    ),
}


@pytest.mark.parametrize(("asked", "option"), CANNOT.values(), ids=CANNOT)
def test_what_gateway_api_cannot_say_is_refused_with_the_reason(asked, option):
    with pytest.raises(InvalidOption) as refused:
        references.validate_references(told(**asked))
    assert (refused.value.code, refused.value.option) == ("gateway_api_cannot", option)
    assert FULL in refused.value.message and "api: istio" in refused.value.hint


def test_retries_are_refused_where_the_definitions_are_those_of_the_standard_channel():
    with pytest.raises(InvalidOption) as refused:
        references.validate_references(
            told(host(gateway_api_channel="standard"), resilience={"retries": {"attempts": 2}})
        )
    assert refused.value.option == "retries" and "experimental channel" in refused.value.hint


@pytest.mark.parametrize(
    "live",
    [
        Host("frontend.other.svc.cluster.local", "shop", gateway_api_channel="standard"),
        Host("api.example.com", "shop", gateway_api_channel="standard"),
    ],
)
def test_a_host_that_is_no_service_of_its_routes_namespace_is_refused(live):
    with pytest.raises(InvalidOption) as refused:
        references.validate_references(told(live, split=split({"v1": 1})))
    assert (refused.value.code, refused.value.option) == ("gateway_api_cannot", "service")


@pytest.mark.parametrize(
    ("listed", "types"),
    [
        ([{"path": "/a"}, {"path": "/b"}], ["Exact", "Exact", "PathPrefix"]),
        ([{"path": "/a/b"}, {"path": "/a/*"}], ["Exact", "RegularExpression", "RegularExpression"]),
        ([{"path": "/a/*"}, {"path": "/b"}], ["RegularExpression", "Exact", "RegularExpression"]),
        # The prefix is asked for first: an exact path as an expression is the shorter one.
        ([{"path": "/a/*"}, {"path": "/a/b"}], ["RegularExpression", "RegularExpression", "RegularExpression"]),
        # No path begins with both.
        (
            [{"path": "/old/*"}, {"path": {"regex": "/moved/[0-9]+"}}],
            ["RegularExpression", "RegularExpression", "RegularExpression"],
        ),
        ([{"path": "/a", "method": "GET"}, {"path": "/a"}], ["Exact", "Exact", "PathPrefix"]),
        ([{"headers": {"a": "b"}}, {"query": {"a": "b"}}], ["PathPrefix", "PathPrefix", "PathPrefix"]),
        (
            [{"path": "/a", "method": "GET"}, {"path": "/a", "method": "POST", "headers": {"a": "b"}}],
            ["Exact", "Exact", "PathPrefix"],
        ),
    ],
)
def test_conditions_are_tried_in_the_order_that_was_asked_for(listed, types):
    found = written(*({"name": str(number), "match": when, "to": "v1"} for number, when in enumerate(listed)))
    assert [rule["matches"][0]["path"]["type"] for rule in found] == types


@pytest.mark.parametrize(
    "listed",
    [
        [{"path": "/a"}, {"path": "/a", "method": "GET"}],
        [{"headers": {"a": "b"}}, {"headers": {"a": "b", "c": "d"}}],
        [{"query": {"a": "b"}}, {"headers": {"a": "b"}}],
        [{"path": "/a/*"}, {"path": "/a/b/c/d"}],
        [{"path": {"regex": "/a"}}, {"path": {"regex": "/a|/b"}}],
        [{"path": {"regex": "/b"}}, {"path": {"regex": "/a|/b"}}],
        [{"path": {"regex": "/ab*"}}, {"path": {"regex": "/a.*cd"}}],
    ],
)
def test_an_order_that_gateway_api_would_not_keep_is_refused_with_both_names(listed):
    with pytest.raises(InvalidOption) as refused:
        written(*({"name": name, "match": when, "to": "v1"} for name, when in zip(("first", "second"), listed)))
    assert (
        refused.value.code == "gateway_api_cannot" and "route-second would precede route-first" in refused.value.message
    )


def steps(wanted):
    return [
        (
            step.name,
            [f"{obj['kind']} {obj['metadata']['name']}" for obj in step.objects],
            [f"{obj['kind']} {obj['metadata']['name']}" for obj in step.deleted],
        )
        for step in rollout.rollout_steps(wanted)
    ]


V1, V2, ROUTE = "Service frontend-v1", "Service frontend-v2", "HTTPRoute frontend"


def service(version, **labels):
    metadata = {
        "name": f"frontend-{version}",
        "namespace": "shop",
        "labels": labels or {**MANAGED, VERSION_OF: "frontend"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app": "frontend", "version": version}, "ports": [{"port": 80}]},
    }


def said(wanted):
    return gateway_api.GatewayApi().route_objects(wanted)


def test_services_before_routes_and_the_end_of_those_that_no_route_names():
    before = told(split=split({"v1": 1}))
    assert steps(before) == [("subsets", [V1], []), ("weights", [ROUTE], [])]
    live = host(gateway_api_channel="standard", http_routes=said(before), version_services=[service("v1")])
    assert steps(told(live, split=split({"v2": 1}))) == [
        ("subsets", [V2], []),
        ("weights", [ROUTE], []),
        ("subsets that go", [], [V1]),
    ]
    assert steps(told(live)) == [
        ("routes that go", [], [ROUTE]),
        ("routes gone", [], []),
        ("subsets that go", [], [V1]),
    ]
    barriers = [step.barrier is not None for step in rollout.rollout_steps(told(live))]
    assert barriers == [False, True, False], "no Service goes while a proxy may still name it"


def test_a_versions_service_has_the_hosts_ports_and_pods_of_that_version():
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP", "appProtocol": "http"}
    ]
    live = host(gateway_api_channel="standard", service={"spec": {"selector": {"app": "frontend"}, "ports": ports}})
    step, _routes = rollout.rollout_steps(told(live, split=split({"v1": 1}, label="release")))
    (obj,) = step.objects
    assert obj["spec"] == {
        "selector": {"app": "frontend", "release": "v1"},
        "ports": [{key: value for key, value in ports[0].items() if key != "nodePort"}],
    }
    assert obj["metadata"]["labels"] == {**MANAGED, VERSION_OF: "frontend"}


def test_limits_hold_for_the_host_and_for_each_version():
    rule = {"load_balancing": {"algorithm": "random"}}
    step, _routes = rollout.rollout_steps(told(split=split({"v1": 1}), rule=rule))
    rules_of = {obj["metadata"]["name"]: obj for obj in step.objects if obj["kind"] == "DestinationRule"}
    assert {name: obj["spec"] for name, obj in rules_of.items()} == {
        "frontend": {"host": FULL, "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}},
        "frontend-v1": {
            "host": "frontend-v1.shop.svc.cluster.local",
            "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}},
        },
    }
    assert (
        INTENTS in rules_of["frontend"]["metadata"]["annotations"]
        and "annotations" not in rules_of["frontend-v1"]["metadata"]
    )


def test_one_route_for_the_mesh_and_one_for_each_gateway():
    everywhere = rules({"match": {"path": "/a"}, "to": "v2"}, **INGRESS)
    inside, outside = said(told(route=everywhere, split=split()))
    assert (inside["metadata"]["name"], inside["spec"]["parentRefs"]) == (
        "frontend",
        [{"group": "", "kind": "Service", "name": "frontend"}],
    )
    assert (outside["metadata"]["name"], outside["spec"]["parentRefs"]) == (
        "frontend.edge.ingress",
        [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "edge", "name": "ingress"}],
    )
    assert outside["spec"]["hostnames"] == [FULL, "shop.example"] and "hostnames" not in inside["spec"]
    assert [len(obj["spec"]["rules"]) for obj in (inside, outside)] == [3, 2], "the split holds in the mesh alone"
    assert json.loads(outside["metadata"]["annotations"][INTENTS]) == json.loads(
        inside["metadata"]["annotations"][INTENTS]
    )
    (anything,) = said(told(split=split({"v1": 1}, gateways=["edge/ingress"], gateway_hosts=["*"])))
    assert "hostnames" not in anything["spec"]


def taken(**labels):
    return {**service("v1", **labels), "spec": {"selector": {"app": "frontend"}, "ports": [{"port": 80}]}}


def test_a_gateways_port_that_redirects_is_left_to_the_redirect():
    live = host(gateway_api_channel="standard", tls_listeners={"edge/ingress": ("https-443.a", "https-443.b")})
    inside, outside = said(told(live, split=split({"v1": 1}, **INGRESS)))
    assert [ref.get("sectionName") for ref in outside["spec"]["parentRefs"]] == [
        "https-443.a",
        "https-443.b",
    ] and "sectionName" not in inside["spec"]["parentRefs"][0]


@pytest.mark.parametrize(
    ("namesake", "codes", "made"),
    [
        (service("v1"), [], True),
        (service("v1", app="theirs"), [], False),
        (taken(app="theirs"), ["service_taken"], False),
        (taken(**MANAGED, **{VERSION_OF: "front"}), ["service_taken"], False),
    ],
)
def test_a_service_of_somebody_else_is_used_if_it_stands_for_the_version_and_never_changed(namesake, codes, made):
    wanted = told(
        host(gateway_api_channel="standard", same_name_services={"frontend-v1": namesake}), split=split({"v1": 1})
    )
    assert [reason.code for reason in references.validate_references(wanted)] == codes
    assert any(V1 in objects for _name, objects, _deleted in steps(wanted)) is made


def test_without_its_definitions_gateway_api_is_not_there():
    assert [reason.code for reason in references.validate_references(told(host(), split=split()))] == [
        "gateway_api_absent"
    ]


def dumped(obj, source="", **changed):
    """A dump with an object's rules; by rule's name, other weights."""
    routes = []
    for rule in obj["spec"]["rules"]:
        weights = changed.get("weights") or {ref["name"]: ref["weight"] for ref in rule.get("backendRefs") or []}
        clusters = [
            {"name": f"outbound|80||{name}.shop.svc.cluster.local", "weight": weight}
            for name, weight in weights.items()
            if weight
        ]
        action = (
            {"cluster": clusters[0]["name"]} if len(clusters) == 1 else {"weightedClusters": {"clusters": clusters}}
        )
        place = source or f"/apis/networking.istio.io/v1/namespaces/shop/virtual-service/shop~{FULL}"
        routes.append(
            {"name": rule["name"], "metadata": {"filterMetadata": {"istio": {"config": place}}}, "route": action}
        )
    table = {"routeConfig": {"name": "80", "virtualHosts": [{"domains": [FULL], "routes": routes}]}}
    return {
        "configs": [{"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamicRouteConfigs": [table]}]
    }


def test_a_proxy_has_the_rules_only_with_exactly_their_shares():
    wanted = told(split=split({"v1": 90, "v2": 10}))
    (obj,) = said(wanted)
    assert gateway_api.has_rules(dumped(obj), obj, wanted.host)
    assert not gateway_api.has_rules(dumped(obj, weights={"frontend-v1": 10, "frontend-v2": 90}), obj, wanted.host)
    assert not gateway_api.has_rules(dumped(obj, weights={"frontend-v1": 1}), obj, wanted.host)
    assert not gateway_api.has_rules(
        dumped(obj, source="/apis/networking.istio.io/v1/namespaces/shop/virtual-service/frontend"), obj, wanted.host
    )


def test_a_rule_of_yesterday_is_not_in_sync_and_one_of_somebody_else_is_no_matter():
    (before,) = said(told(split=split({"v1": 1})))
    wanted = told(host(gateway_api_channel="standard", http_routes=[before]), split=split({"v2": 1}))
    (after,) = said(wanted)
    both = {**after, "spec": {"rules": [*before["spec"]["rules"], *after["spec"]["rules"]]}}
    assert not gateway_api.has_rules(dumped(both), after, wanted.host)
    theirs = {**after, "spec": {"rules": [{"name": "theirs", "backendRefs": []}, *after["spec"]["rules"]]}}
    assert gateway_api.has_rules(dumped(theirs), after, wanted.host)


def test_from_one_api_to_the_other_both_say_the_routes_for_a_while():
    asked = split({"v1": 1})
    istio_first = policy(split=asked)
    subsets, routes = (step.objects[0] for step in rollout.rollout_steps(istio_first))
    there = host(gateway_api_channel="standard", managed_virtual_service=routes, destination_rule=subsets)
    assert steps(told(there, split=asked)) == [
        ("subsets", [V1], []),
        ("weights", [ROUTE], []),
        ("routes that go", [], ["VirtualService frontend"]),
        ("change of API", [], []),
        ("subsets that go", [], ["DestinationRule frontend"]),
    ]
    (route,) = said(told(split=asked))
    back = host(http_routes=[route], version_services=[service("v1")])
    assert steps(policy(back, split=asked)) == [
        ("subsets", ["DestinationRule frontend"], []),
        ("weights", ["VirtualService frontend"], []),
        ("routes that go", [], [ROUTE]),
        ("change of API", [], []),
        ("subsets that go", [], [V1]),
    ]
