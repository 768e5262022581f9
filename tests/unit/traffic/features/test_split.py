# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A split as data: options and a live host in, ordered steps out."""

from __future__ import annotations

import json

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic import references, rollout
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.backends import istio
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.backends.proxy_checks import routes_visible
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.features.split import validate
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host import host as hosts
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host.host import INTENTS, Host
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host_policy import MANAGED
from policies import FULL, dumped, host, policy, split


def rule(*versions, labels=None):
    metadata = {"name": "frontend", "namespace": "shop", "labels": MANAGED if labels is None else labels}
    return {
        "kind": "DestinationRule",
        "metadata": metadata,
        "spec": {"host": FULL, "subsets": [{"name": v, "labels": {"version": v}} for v in versions]},
    }


def routes(name="frontend"):
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"hosts": [FULL]},
    }


def subset_names(step):
    return [subset["name"] for subset in step.objects[0]["spec"]["subsets"]]


def desired(wanted, live):
    return rollout.rollout_steps(policy(live, split=wanted))


@pytest.mark.parametrize(
    "versions", [{"v1": 1}, {"v1": 90, "v2": 10}, {"v1": 3, "v2": 1}, {"v1": 0, "v2": 1}, {"v1": 1000, "v2": 1}]
)
def test_weights_that_can_be_meant_are_taken(versions):
    validate(split(versions), "frontend")


@pytest.mark.parametrize(
    ("versions", "code", "named"),
    [
        ({}, "invalid_option", "frontend"),
        ({"v1": 0, "v2": 0}, "weights_zero", "frontend"),
        ({"v1": 101, "v2": -1}, "weight_negative", "v2"),
        ({"v1": 1, "v2": "10"}, "weight_invalid", "v2"),
        ({"v1": 1, "v2": 0.5}, "weight_invalid", "v2"),
        ({"v1": 1, "v2": True}, "weight_invalid", "v2"),
    ],
)
def test_a_weight_that_cannot_be_meant_names_its_version(versions, code, named):
    with pytest.raises(InvalidOption) as refused:
        validate(split(versions), "frontend")
    assert refused.value.code == code and refused.value.option == "versions" and named in refused.value.message


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"gateways": []}, "invalid_option"),
        ({"gateway_hosts": ["*"]}, "invalid_option"),
        ({"gateways": ["a/b"], "gateway_hosts": ["a b"]}, "host_invalid"),
        ({"sticky": {}, "match": {"path": "x"}}, "path_invalid"),
        ({"sticky": {"max_age": "1h"}}, "cookie_invalid"),
        ({"sticky": {"cookie": "a", "max_age": "soon"}}, "duration_invalid"),
        ({"sticky": {"name": "a"}}, "key_unknown"),
        ({"mirror": {"percent": 5}}, "target_missing"),
        ({"mirror": {"version": "v2", "percent": 101}}, "percent_invalid"),
    ],
)
def test_what_else_cannot_be_meant(wrong, code):
    validate(split(gateways=["istio-system/ingress"], gateway_hosts=["*"]), "frontend")
    with pytest.raises(InvalidOption) as refused:
        validate(split(**wrong), "frontend")
    assert refused.value.code == code


def codes(wanted=None, **live):
    return [reason.code for reason in references.validate_references(policy(host(**live), split=wanted or split()))]


def test_a_host_that_is_there_with_its_pods_has_nothing_wrong():
    assert codes() == []
    assert codes(service=None, service_entry={"spec": {"hosts": [FULL]}}, pods=None) == []


def test_everything_that_is_wrong_is_told_worst_first():
    other = routes("by-hand")
    found = codes(
        service=None, foreign_routes=[other], missing_gateways=frozenset({"b/b", "a/a"}), pods=[{"version": "v1"}]
    )
    assert found == ["no_such_host", "host_taken", "no_such_gateway", "no_such_gateway", "no_pods"]


def test_only_a_version_with_weight_needs_pods_and_only_where_pods_can_be_known():
    assert codes(split({"v1": 1, "v3": 0})) == []
    assert codes(split({"v1": 1, "v3": 1})) == ["no_pods"]
    assert codes(split({"v1": 1, "v3": 1}), pods=None) == []


def test_of_several_ports_one_must_be_named():
    two = {"spec": {"ports": [{"port": 80}, {"port": 8080}]}}
    assert codes(service=two) == ["port_needed"] and codes(split(port=8080), service=two) == []


def test_subsets_come_first_then_weights_each_until_converged():
    steps = desired(split(), host())
    assert [step.name for step in steps] == ["subsets", "weights"]
    assert all(step.barrier and step.barrier.name == "proxies in sync" for step in steps)
    assert subset_names(steps[0]) == ["v1", "v2"]
    (virtual_service,) = steps[1].objects
    assert virtual_service["spec"]["hosts"] == [FULL] and virtual_service["spec"]["gateways"] == ["mesh"]
    assert [(part["destination"], part["weight"]) for part in virtual_service["spec"]["http"][0]["route"]] == [
        ({"host": FULL, "subset": "v1"}, 90),
        ({"host": FULL, "subset": "v2"}, 10),
    ]


def test_a_version_that_leaves_keeps_its_subset_until_no_weight_names_it():
    steps = desired(split({"v2": 1}), host(destination_rule=rule("v1")))
    assert [step.name for step in steps] == ["subsets", "weights", "end of subsets"]
    assert subset_names(steps[0]) == ["v1", "v2"] and subset_names(steps[2]) == ["v2"]
    assert [part["destination"]["subset"] for part in steps[1].objects[0]["spec"]["http"][0]["route"]] == ["v2"]


def test_what_was_asked_for_is_kept_with_the_object_as_data():
    (virtual_service,) = desired(split(label="release"), host())[1].objects
    kept = json.loads(virtual_service["metadata"]["annotations"][INTENTS])
    assert kept == {
        "split": {"versions": {"v1": 90, "v2": 10}, "gateways": ["mesh"], "gateway_hosts": [], "label": "release"}
    }


def test_another_label_tells_versions_apart():
    assert desired(split({"v1": 1}, label="release"), host())[0].objects[0]["spec"]["subsets"] == [
        {"name": "v1", "labels": {"release": "v1"}}
    ]


def test_any_host_gets_an_object_of_its_own_that_is_not_bound_to_the_mesh():
    objects = desired(split(gateways=["mesh", "istio-system/ingress"], gateway_hosts=["*"]), host())[1].objects
    assert [(obj["metadata"]["name"], obj["spec"]["hosts"], obj["spec"]["gateways"]) for obj in objects] == [
        ("frontend", [FULL], ["mesh"]),
        ("frontend-any-host", ["*"], ["istio-system/ingress"]),
    ]


def test_a_split_for_no_more_than_named_hosts_lets_go_of_any_host():
    steps = desired(split(), host(wildcard_virtual_service=routes("frontend-any-host")))
    assert [step.name for step in steps] == ["subsets", "weights", "routes that go"]
    assert steps[2].deleted[0]["metadata"]["name"] == "frontend-any-host"


def test_routes_go_before_the_subsets_that_they_name():
    steps = desired(
        None,
        host(
            managed_virtual_service=routes(),
            wildcard_virtual_service=routes("frontend-any-host"),
            destination_rule=rule("v1"),
        ),
    )
    assert [[obj["metadata"]["name"] for obj in step.deleted] for step in steps] == [
        ["frontend", "frontend-any-host"],
        [],
        ["frontend"],
    ]
    assert steps[0].barrier is None and steps[1].barrier.name == "proxies in sync"


def test_a_rule_of_somebody_else_stays():
    steps = desired(None, host(managed_virtual_service=routes(), destination_rule=rule("v1", labels={})))
    assert [len(step.deleted) for step in steps] == [1, 0]
    assert desired(None, host()) == []


def test_a_cookie_leads_back_to_the_version_that_gave_it():
    (obj,) = desired(split({"v1": 9, "v2": 1, "v3": 0}, sticky={"cookie": "release", "max_age": "1h"}), host())[
        1
    ].objects
    first, second, last = obj["spec"]["http"]
    assert [route["route"][0]["destination"]["subset"] for route in (first, second)] == [
        "v1",
        "v2",
    ], "none for a version without weight"
    assert (
        first["match"] == [{"headers": {"cookie": {"regex": r"^(.*;\s*)?release=v1(;.*)?$"}}}] and "match" not in last
    )
    assert [part["headers"]["response"]["add"]["Set-Cookie"] for part in last["route"]] == [
        f"release={v}; Path=/; Max-Age=3600" for v in ("v1", "v2", "v3")
    ]


def test_what_a_split_does_not_mean_goes_to_the_whole_host():
    (obj,) = desired(split(match={"headers": {"x-test": {"present": True}}}), host())[1].objects
    some, rest = obj["spec"]["http"]
    assert some["match"] == [{"headers": {"x-test": {}}}] and len(some["route"]) == 2
    assert rest["route"] == [{"destination": {"host": FULL}}] and rest["name"].startswith("default-")


def test_copies_go_to_a_version_that_has_no_weight():
    steps = desired(split({"v1": 1}, mirror={"version": "v2", "percent": 5}), host())
    assert subset_names(steps[0]) == ["v1", "v2"]
    assert steps[1].objects[0]["spec"]["http"][0]["mirrors"] == [
        {"destination": {"host": FULL, "subset": "v2"}, "percentage": {"value": 5.0}}
    ]


@pytest.mark.parametrize(
    ("found", "wanted", "has"),
    [
        ({"v1": 90, "v2": 10}, {"v1": 90, "v2": 10}, True),
        ({"v1": 10, "v2": 90}, {"v1": 90, "v2": 10}, False),
        ({"v1": 90}, {"v1": 90, "v2": 10}, False),
        ({"v1": 1}, {"v1": 1, "v2": 0}, True),
        ({"v1": 1, "v2": 0}, {"v1": 1, "v2": 0}, True),
        ({"v1": 1}, {"v2": 1}, False),
    ],
)
def test_a_proxys_route_has_the_split_only_with_exactly_its_shares(found, wanted, has):
    (obj,) = desired(split(wanted), host())[1].objects
    assert istio.has_routes(dumped(obj, weights=found), obj) is has
    assert not istio.has_routes(dumped(obj, weights=found, name="by-hand"), obj)
    assert not istio.has_routes(
        dumped(obj, weights=found, source="/apis/networking.istio.io/v1/namespaces/shop/virtual-service/other"), obj
    )


@pytest.mark.parametrize(
    ("name", "full", "service", "objects"),
    [
        ("frontend", FULL, ("shop", "frontend"), "frontend"),
        (FULL, FULL, ("shop", "frontend"), "frontend"),
        ("web.other.svc.cluster.local", "web.other.svc.cluster.local", ("other", "web"), "web.other.svc.cluster.local"),
        ("api.example.com", "api.example.com", None, "api.example.com"),
        ("*.example.com", "*.example.com", None, "any.example.com"),
        ("web.other", "web.other", None, "web.other"),
    ],
)
def test_a_host_is_resolved_as_istiod_does(name, full, service, objects):
    found = Host(name, "shop")
    assert (found.full_name, hosts.service_of(name, "shop"), found.object_name) == (full, service, objects)


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("api.example.com", "api.example.com", True),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
    ],
)
def test_a_service_entry_covers_its_hosts(pattern, name, covered):
    assert hosts.host_matches(pattern, name) is covered


def test_hosts_of_routes_and_of_rules_are_full_names():
    assert hosts.host_names(
        {"metadata": {"namespace": "shop"}, "spec": {"hosts": ["frontend", "api.example.com"]}}
    ) == {FULL, "api.example.com"}
    assert hosts.host_names({"metadata": {"namespace": "shop"}, "spec": {"host": "frontend"}}) == {FULL}
    assert hosts.host_names({"metadata": {"namespace": "shop"}}) == set()


@pytest.mark.parametrize(
    ("kind", "gateways", "known", "shown"),
    [
        ("sidecar", ["mesh"], True, False),
        ("sidecar", ["mesh"], False, None),
        ("sidecar", ["infra/in"], True, None),
        ("router", ["mesh"], True, None),
        ("router", ["mesh", "infra/in"], True, False),
        ("router", ["infra/in"], False, None),
        ("", ["mesh"], True, False),
    ],
)
def test_a_proxy_that_need_not_have_the_routes_is_not_concerned(kind, gateways, known, shown):
    clusters = [{"cluster": {"name": f"outbound|80|v1|{FULL if known else 'cart.shop.svc.cluster.local'}"}}]
    node = {"@type": "x/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": f"{kind}~10.0.0.1"}}}
    dump = {"configs": [node, {"@type": "x/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": clusters}]}
    assert (
        routes_visible(False, dump, host(), gateways) is shown and routes_visible(True, dump, host(), gateways) is True
    )
