# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several concerns of one host become together."""

from __future__ import annotations

import datetime
import json

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure, InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic import references, rollout
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.backends import istio
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.features import (
    fault_injection,
    load_balancing,
    resilience,
    route,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.features.match import intersect, parse_matches
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host.host import INTENTS
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host_policy import MANAGED, Policy
from policies import FULL, NOW, dumped, host, policy, split


def rules(*listed, **options):
    return {"rules": list(listed), "label": "version", **options}


def http(*listed, **more):
    """Istio's routes of these rules, less their names."""
    obj, *_rest = istio.virtual_services(policy(route=rules(*listed), **more))
    return [{key: value for key, value in one.items() if key != "name"} for one in obj["spec"]["http"]]


WHOLE = [{"destination": {"host": FULL}}]


def to(version):
    return [{"destination": {"host": FULL, "subset": version}, "weight": 1}]


@pytest.mark.parametrize(
    ("when", "match"),
    [
        ({"path": "/a"}, {"uri": {"exact": "/a"}}),
        ({"path": "/a/*"}, {"uri": {"prefix": "/a/"}}),
        ({"path": {"regex": "/a/[0-9]+"}}, {"uri": {"regex": "/a/[0-9]+"}}),
        ({"path": "/a", "ignore_case": True}, {"uri": {"exact": "/a"}, "ignoreUriCase": True}),
        ({"method": "GET"}, {"method": {"exact": "GET"}}),
        ({"method": ["GET", "HEAD"]}, {"method": {"regex": "GET|HEAD"}}),
        ({"authority": "*"}, None),
        ({"headers": {"X-User": "a*"}}, {"headers": {"x-user": {"prefix": "a"}}}),
        ({"headers": {"x-user": {"present": True}}}, {"headers": {"x-user": {}}}),
        ({"headers": {"x-user": {"present": False}}}, {"withoutHeaders": {"x-user": {}}}),
        ({"query": {"page": "1"}}, {"queryParams": {"page": {"exact": "1"}}}),
        (
            {"from_labels": {"app": "web"}, "from_namespace": "shop"},
            {"sourceLabels": {"app": "web"}, "sourceNamespace": "shop"},
        ),
        ({"port": 80}, {"port": 80}),
    ],
)
def test_a_condition_is_a_match(when, match):
    if match is None:
        with pytest.raises(InvalidOption):
            parse_matches("match", when)
    else:
        assert parse_matches("match", when) == [match] and parse_matches("match", [when, when]) == [match, match]


@pytest.mark.parametrize(
    ("one", "two", "common"),
    [
        ({}, {"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}),
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/a/b"}}, {"uri": {"exact": "/a/b"}}),
        ({"uri": {"prefix": "/a/b"}}, {"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/a/b"}}),
        ({"uri": {"exact": "/a"}}, {"uri": {"exact": "/b"}}, None),
        (
            {"headers": {"a": {}}},
            {"headers": {"a": {"exact": "1"}, "b": {}}},
            {"headers": {"a": {"exact": "1"}, "b": {}}},
        ),
        ({"sourceLabels": {"app": "a"}}, {"sourceLabels": {"app": "b"}}, None),
        ({"sourceLabels": {"app": "a"}}, {"sourceLabels": {"v": "b"}}, {"sourceLabels": {"app": "a", "v": "b"}}),
        ({"port": 80}, {"port": 81}, None),
        ({"gateways": ["mesh", "a/b"]}, {"gateways": ["a/b"]}, {"gateways": ["a/b"]}),
    ],
)
def test_what_two_conditions_have_in_common(one, two, common):
    assert intersect("match", one, two) == common == intersect("match", two, one)


def test_two_expressions_are_not_put_together_by_guessing():
    with pytest.raises(InvalidOption) as refused:
        intersect("match", {"uri": {"regex": "/a.*"}}, {"uri": {"prefix": "/a"}})
    assert refused.value.code == "match_conflict"


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        ({"match": {"path": "/a"}, "to": "v1"}, {"match": [{"uri": {"exact": "/a"}}], "route": to("v1")}),
        ({"to": {"version": "v1", "port": 81}}, {"route": [{"destination": {"host": FULL, "subset": "v1", "port": {"number": 81}}, "weight": 1}]}),
        ({"to": {"service": "cart"}}, {"route": [{"destination": {"host": "cart.shop.svc.cluster.local"}}]}),
        ({"versions": {"v1": 1, "v2": 2}}, {"route": [{"destination": {"host": FULL, "subset": v}, "weight": w} for v, w in (("v1", 1), ("v2", 2))]}),
        ({"redirect": {"path": "/b", "host": "b.example", "scheme": "https", "port": 444, "status": 308}},
         {"redirect": {"uri": "/b", "authority": "b.example", "scheme": "https", "port": 444, "redirectCode": 308}}),
        ({"direct_response": 404}, {"directResponse": {"status": 404}}),
        ({"direct_response": {"status": 200, "body": "hi"}}, {"directResponse": {"status": 200, "body": {"string": "hi"}}}),
        ({"rewrite": {"prefix": "/b", "host": "b.example"}}, {"route": WHOLE, "rewrite": {"uri": "/b", "authority": "b.example"}}),
        ({"rewrite": {"path": "/b"}}, {"route": WHOLE, "rewrite": {"uriRegexRewrite": {"match": "^[^?]*", "rewrite": "/b"}}}),
        ({"rewrite": {"regex": {"match": "/(.*)", "replacement": r"/x/\1"}}},
         {"route": WHOLE, "rewrite": {"uriRegexRewrite": {"match": "/(.*)", "rewrite": r"/x/\1"}}}),
        ({"headers": {"request": {"set": {"X-A": 1}, "remove": ["x-b"]}}}, {"route": WHOLE, "headers": {"request": {"set": {"x-a": "1"}, "remove": ["x-b"]}}}),
        (
            {"cors": {"origins": ["*", "https://a.example"], "methods": ["GET"], "headers": ["x-a"], "expose": ["x-b"], "max_age": "1h", "credentials": False}},
            {
                "route": WHOLE,
                "corsPolicy": {
                    "allowOrigins": [{"regex": ".*"}, {"exact": "https://a.example"}], "allowMethods": ["GET"],
                    "allowHeaders": ["x-a"], "exposeHeaders": ["x-b"], "maxAge": "1h", "allowCredentials": False,
                },
            },
        ),
        ({"mirror": "v2", "timeout": "2s"}, {"route": WHOLE, "mirrors": [{"destination": {"host": FULL, "subset": "v2"}, "percentage": {"value": 100.0}}],
                                             "timeout": "2s"}),
    ],
)  # fmt: skip
def test_a_rule_in_istios_words(rule, written):
    first, *rest = http(rule)
    assert first == written
    assert rest == ([{"route": WHOLE}] if "match" in rule else []), "what no rule takes goes on to the host"


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ([{"to": "v1"}, {"to": "v2"}], "rule_unreachable"),
        ([{"name": "a", "match": {"path": "/a"}}, {"name": "a"}], "rule_twice"),
        ([{"to": "v1", "direct_response": 404}], "rule_ambiguous"),
        ([{"direct_response": 404, "rewrite": {"path": "/a"}}], "rule_ambiguous"),
        ([{"nowhere": 1}], "key_unknown"),
        ([{"match": {}, "to": "v1"}, {"match": {"path": "/a"}}], "rule_unreachable"),
        ([{"match": {"nowhere": 1}}], "key_unknown"),
        ([{"match": {"path": "a"}}], "path_invalid"),
        ([{"match": {"path": {"regex": "a("}}}], "regex_invalid"),
        ([{"match": {"path": {"regex": "a(?=b)"}}}], "regex_invalid"),
        ([{"match": {"path": {"regex": r"(a)\1"}}}], "regex_invalid"),
        ([{"match": {"path": {"regex": "a" * 1025}}}], "regex_invalid"),
        ([{"match": {"path": {"is": "/a"}}}], "match_invalid"),
        ([{"match": {"method": "get"}}], "method_invalid"),
        ([{"match": {"headers": {":path": "/a"}}}], "header_invalid"),
        ([{"match": {"port": 0}}], "port_invalid"),
        ([{"versions": {"v1": 0}}], "weights_zero"),
        ([{"versions": {"v1": -1, "v2": 2}}], "count_invalid"),
        ([{"to": {"service": "A_b"}}], "host_invalid"),
        ([{"redirect": {"status": 301}}], "redirect_empty"),
        ([{"redirect": {"path": "/a", "status": 200}}], "status_invalid"),
        ([{"redirect": {"scheme": "ftp"}}], "scheme_invalid"),
        ([{"direct_response": 99}], "status_invalid"),
        ([{"direct_response": {"status": 200, "body": "a" * (2**20 + 1)}}], "body_too_long"),
        ([{"rewrite": {"path": "/a", "prefix": "/b"}}], "rewrite_ambiguous"),
        ([{"headers": {"request": {"set": {"a": "b\r\nc: d"}}}}], "header_invalid"),
        ([{"headers": {"request": {"remove": "a"}}}], "header_invalid"),
        ([{"cors": {"methods": ["GET"]}}], "cors_empty"),
        ([{"mirror": {"percent": 1}}], "target_missing"),
        ([{"timeout": "0s"}], "duration_invalid"),
        ([], "rules_empty"),
    ],
)
def test_a_rule_that_cannot_be_meant(listed, code):
    with pytest.raises(InvalidOption) as refused:
        route.validate(rules(*listed))
    assert refused.value.code == code and refused.value.message


def test_what_looks_like_more_than_re2_and_is_not():
    for expression in (r"\\1", "[(?=]", r"a\+b", "[0-9]+?", "(?i)a", "(?P<name>a)", r"\d+\z"):
        assert route.validate(rules({"match": {"path": {"regex": expression}}})) is None, expression


def test_rules_come_before_the_split_and_the_split_takes_the_rest():
    first, last = http({"name": "testers", "match": {"headers": {"x-test": "1"}}, "to": "v2"}, split=split())
    assert first["route"] == to("v2") and [part["weight"] for part in last["route"]] == [90, 10]


def test_a_concern_that_holds_in_fewer_places_says_so_in_its_matches():
    mesh_only = split()
    everywhere = rules(
        {"match": {"path": "/a"}, "to": "v2"}, gateways=["mesh", "shop/ingress"], gateway_hosts=["shop.example"]
    )
    (obj,) = istio.virtual_services(policy(route=everywhere, split=mesh_only))
    assert obj["spec"]["gateways"] == ["mesh", "shop/ingress"] and obj["spec"]["hosts"] == [FULL, "shop.example"]
    rule, shares, rest = obj["spec"]["http"]
    assert (
        rule["match"] == [{"uri": {"exact": "/a"}}]
        and shares["match"] == [{"gateways": ["mesh"]}]
        and "match" not in rest
        and rest["route"] == WHOLE
    )


def test_what_holds_nowhere_in_an_object_is_left_out_of_it():
    everywhere = rules({"match": {"path": "/a"}, "to": "v2"}, gateways=["mesh", "shop/ingress"], gateway_hosts=["*"])
    inside, outside = istio.virtual_services(policy(route=everywhere, split=split()))
    assert [len(obj["spec"]["http"]) for obj in (inside, outside)] == [2, 2] and outside["spec"]["gateways"] == [
        "shop/ingress"
    ]
    assert "match" not in inside["spec"]["http"][1], "where it holds everywhere in the object, it is no condition"


def test_a_fault_for_some_requests_comes_before_each_route_that_they_would_take():
    found = http(
        {"name": "a", "match": {"path": "/a/*"}, "to": "v1"},
        {"name": "b", "match": {"path": "/b"}, "direct_response": 404},
        fault={"delay": "2s", "match": {"path": "/a/slow"}},
    )
    assert [one.get("match") for one in found] == [
        [{"uri": {"exact": "/a/slow"}}],
        [{"uri": {"prefix": "/a/"}}],
        [{"uri": {"exact": "/b"}}],
        [{"uri": {"exact": "/a/slow"}}],
        None,
    ]
    assert ["fault" in one for one in found] == [True, False, False, True, False]


def test_a_fault_for_all_is_part_of_each_route():
    found = http({"match": {"path": "/a"}, "to": "v1"}, fault={"abort": {"http": 503, "percent": 5}})
    assert [one["fault"] for one in found] == [{"abort": {"httpStatus": 503, "percentage": {"value": 5.0}}}] * 2


def test_timeouts_and_retries_are_part_of_each_route_that_sends_something_on():
    found = http(
        {"match": {"path": "/a"}, "timeout": "1s"},
        {"match": {"path": "/b"}, "direct_response": 404},
        resilience={"timeout": "3s", "retries": {"attempts": 2, "per_try_timeout": "1s", "retry_on": ["5xx", 409]}},
    )
    retries = {"attempts": 2, "perTryTimeout": "1s", "retryOn": "5xx,409"}
    assert [(one.get("timeout"), one.get("retries")) for one in found] == [
        ("1s", retries),
        (None, None),
        ("3s", retries),
    ]


@pytest.mark.parametrize(
    ("module", "intent", "code"),
    [
        (fault_injection.fault_fields, {}, "fault_empty"),
        (fault_injection.fault_fields, {"delay": "now"}, "duration_invalid"),
        (fault_injection.fault_fields, {"delay": {"by": "1s", "percent": 0}}, "percent_invalid"),
        (fault_injection.fault_fields, {"abort": {"percent": 5}}, "abort_ambiguous"),
        (fault_injection.fault_fields, {"abort": 600}, "status_invalid"),
        (fault_injection.fault_fields, {"abort": {"grpc": "BROKEN"}}, "grpc_status_invalid"),
        (resilience.route_fields, {"timeout": "1"}, "duration_invalid"),
        (resilience.route_fields, {"retries": {"attempts": 0, "retry_on": ["5xx"]}}, "retries_ambiguous"),
        (resilience.route_fields, {"retries": {"attempts": -1}}, "count_invalid"),
        (resilience.route_fields, {"retries": {"retry_on": ["never"]}}, "retry_on_invalid"),
        (resilience.traffic_policy, {"outlier_detection": {"base_ejection_time": "1s"}}, "outlier_detection_empty"),
        (
            resilience.traffic_policy,
            {"outlier_detection": {"consecutive_5xx_errors": 1, "max_ejection_percent": 101}},
            "percent_invalid",
        ),
        (resilience.traffic_policy, {"connection_pool": {"max_connections": 0}}, "count_invalid"),
        (resilience.traffic_policy, {"connection_pool": {"most": 1}}, "key_unknown"),
        (load_balancing.traffic_policy, {}, "load_balancing_empty"),
        (
            load_balancing.traffic_policy,
            {"algorithm": "random", "consistent_hash": {"source_ip": True}},
            "load_balancing_ambiguous",
        ),
        (load_balancing.traffic_policy, {"consistent_hash": {"header": "a", "query": "b"}}, "load_balancing_ambiguous"),
        (load_balancing.traffic_policy, {"consistent_hash": {"cookie": {"ttl": "1h"}}}, "cookie_invalid"),
        (
            load_balancing.traffic_policy,
            {"algorithm": "random", "warmup": {"duration": "1m"}},
            "load_balancing_ambiguous",
        ),
        (load_balancing.traffic_policy, {"locality": {"distribute": [{"from": "a", "to": {"b": 99}}]}}, "weights_sum"),
        (
            load_balancing.traffic_policy,
            {"locality": {"distribute": [{"from": "a", "to": {"b": 100}}], "failover": [{"from": "a", "to": "b"}]}},
            "load_balancing_ambiguous",
        ),
    ],
)
def test_values_that_cannot_be_meant(module, intent, code):
    with pytest.raises(InvalidOption) as refused:
        module(intent)
    assert refused.value.code == code


def test_what_a_rule_says_of_connections_ejection_and_choice():
    rule = {
        "resilience": {"connection_pool": {"max_connections": 5, "connect_timeout": "1s", "max_pending_requests": 2, "keepalive": {"probes": 3, "time": "1m"}},
                       "outlier_detection": {"consecutive_gateway_errors": 3, "interval": "1s", "base_ejection_time": "5s", "max_ejection_percent": 50}},
        "load_balancing": {"consistent_hash": {"cookie": "cart"}, "locality": {"failover_priority": ["topology.kubernetes.io/zone"]}},
    }  # fmt: skip
    (step,) = rollout.rollout_steps(policy(rule=rule))
    (obj,) = step.objects
    assert obj["spec"] == {
        "host": FULL,
        "trafficPolicy": {
            "connectionPool": {
                "tcp": {"maxConnections": 5, "connectTimeout": "1s", "tcpKeepalive": {"probes": 3, "time": "1m"}},
                "http": {"http1MaxPendingRequests": 2},
            },
            "outlierDetection": {
                "consecutiveGatewayErrors": 3,
                "interval": "1s",
                "baseEjectionTime": "5s",
                "maxEjectionPercent": 50,
            },
            "loadBalancer": {
                "consistentHash": {"httpCookie": {"name": "cart", "ttl": "0s"}},
                "localityLbSetting": {"enabled": True, "failoverPriority": ["topology.kubernetes.io/zone"]},
            },
        },
    }
    assert json.loads(obj["metadata"]["annotations"][INTENTS]) == rule


def minutes(count):
    return NOW + datetime.timedelta(minutes=count)


def test_a_duration_counts_from_when_the_fault_was_first_asked_for():
    asked = {"delay": "2s", "expires": "30m"}
    first = fault_injection.with_end(asked, None, NOW)
    assert (
        first["until"] == "2030-01-01T00:30:00Z"
        and not fault_injection.is_over(first, minutes(29))
        and fault_injection.is_over(first, minutes(30))
    )
    assert fault_injection.with_end(asked, first, minutes(20)) == first, "a second run does not prolong it"
    assert fault_injection.with_end(asked, first, minutes(50)) == first, "nor bring it back"
    assert fault_injection.with_end({**asked, "delay": "3s"}, first, minutes(20))["until"] == "2030-01-01T00:50:00Z", (
        "another fault does"
    )
    assert (
        fault_injection.with_end({"delay": "2s", "expires": "2030-01-01T02:00:00+01:00"}, None, NOW)["until"]
        == "2030-01-01T01:00:00Z"
    )
    for wrong in ("tomorrow", "2030-01-01T02:00:00"):
        with pytest.raises(InvalidOption) as refused:
            fault_injection.with_end({"delay": "2s", "expires": wrong}, None, NOW)
        assert refused.value.code == "expires_invalid"


def test_a_fault_whose_time_has_come_goes_with_the_next_run_of_any_concern():
    over = {"delay": "2s", "expires": "30m", "until": "2030-01-01T00:30:00Z"}
    (obj,) = istio.virtual_services(policy(fault=over, split=split(), now=minutes(29)))
    assert "fault" in obj["spec"]["http"][0]
    (obj,) = istio.virtual_services(policy(fault=over, split=split(), now=minutes(31)))
    assert "fault" not in obj["spec"]["http"][0]


def test_one_label_tells_versions_apart():
    with pytest.raises(InvalidOption) as refused:
        rollout.rollout_steps(policy(route=rules({"to": "v1"}), split=split(label="release")))
    assert refused.value.code == "label_conflict"


def test_hosts_that_a_rule_leads_to_must_be_known():
    wanted = policy(
        host(missing_hosts=frozenset({"cart.shop.svc.cluster.local"})), route=rules({"to": {"service": "cart"}})
    )
    assert wanted.other_hosts == ["cart.shop.svc.cluster.local"]
    assert [reason.code for reason in references.validate_references(wanted)] == ["no_such_host"]


def test_intents_that_somebody_edited_into_nonsense_are_told():
    own = {
        "kind": "VirtualService",
        "metadata": {"name": "frontend", "namespace": "shop", "annotations": {INTENTS: "{"}},
    }
    with pytest.raises(Failure) as refused:
        Policy.of(host(managed_virtual_service=own))
    assert refused.value.code == "intents_unreadable" and "shop/frontend" in refused.value.message


def test_a_route_that_is_not_for_every_proxy_need_not_be_at_every_proxy():
    (obj,) = istio.virtual_services(
        policy(route=rules({"name": "mine", "match": {"from_labels": {"app": "a"}}, "to": "v1"}, {"name": "rest"}))
    )
    everywhere = {**obj, "spec": {**obj["spec"], "http": obj["spec"]["http"][1:]}}
    assert istio.has_routes(dumped(obj), obj) and istio.has_routes(dumped(everywhere), obj)
    assert not istio.has_routes(dumped({**obj, "spec": {**obj["spec"], "http": obj["spec"]["http"][:1]}}), obj)


def test_a_route_of_yesterday_is_not_in_sync():
    (before,) = istio.virtual_services(policy(route=rules({"name": "a", "match": {"path": "/a"}, "to": "v1"})))
    (after,) = istio.virtual_services(policy(split=split({"v1": 1})))
    both = {**after, "spec": {**after["spec"], "http": [*before["spec"]["http"], *after["spec"]["http"]]}}
    assert not istio.has_routes(dumped(both), after) and istio.has_routes(dumped(after), after)


def test_routes_whose_object_is_gone_still_show_and_those_of_others_do_not():
    (own,) = istio.virtual_services(policy(split=split()))
    outside = {**own, "metadata": {**own["metadata"], "name": "frontend-any-host"}}
    other = {**own, "metadata": {**own["metadata"], "name": "cart"}}
    assert istio.Istio().has_routes(dumped(own), host()) and istio.Istio().has_routes(dumped(outside), host())
    assert not istio.Istio().has_routes(dumped(other), host()) and not istio.Istio().has_routes(
        dumped(own, name="theirs"), host()
    )


def test_what_no_route_led_to_goes_at_once():
    rule = {
        "kind": "DestinationRule",
        "metadata": {"name": "frontend", "namespace": "shop", "labels": MANAGED},
        "spec": {"host": FULL, "trafficPolicy": {}},
    }
    assert [step.name for step in rollout.rollout_steps(policy(host(destination_rule=rule)))] == ["subsets that go"]
    versions = {**rule, "spec": {"host": FULL, "subsets": [{"name": "v1"}]}}
    assert [step.name for step in rollout.rollout_steps(policy(host(destination_rule=versions)))] == [
        "routes gone",
        "subsets that go",
    ]
