# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules whose policy is objects of their own: each comes, changes and goes, also in check mode and again; and what
they look at first.
"""

from __future__ import annotations

import copy

import pytest
from builders import config, istio, namespace, pod, service
from fake_istiod import FakeIstiod

ISSUER = {"issuer": "https://login.example.com"}
HOSTS = {"name": "web", "hosts": ["api.example.com"]}
STEPS = {
    "jwt": (
        ({"name": "web", "issuers": [ISSUER]}, ["AuthorizationPolicy", "RequestAuthentication"]),
        ({"name": "web", "issuers": [ISSUER], "required": False}, ["RequestAuthentication"]),
        ({"name": "web", "state": "absent"}, []),
    ),
    "egress": (
        (HOSTS, ["ServiceEntry"]),
        ({**HOSTS, "gateway": "istio-egress/out"}, ["Gateway", "ServiceEntry", "VirtualService"]),
        ({**HOSTS, "ports": [80], "tls": {}}, ["DestinationRule", "ServiceEntry"]),
        ({"name": "web", "state": "absent"}, []),
    ),
    "sidecar": (
        ({"egress_hosts": ["."]}, ["Sidecar"]),
        ({"outbound_traffic_policy": "registry_only"}, ["Sidecar"]),
        ({"state": "absent"}, []),
    ),
    "telemetry": (
        ({"tracing": {"percent": 1}}, ["Telemetry"]),
        ({"access_logs": {"enabled": False}}, ["Telemetry"]),
        ({"state": "absent"}, []),
    ),
}


@pytest.fixture
def say(run, api):
    for obj in (
        namespace("shop"),
        namespace("other"),
        namespace("istio-egress"),
        service("out", "istio-egress", ports=[80, 443]),
        pod("out-1", "istio-egress", {"istio": "egressgateway"}),
    ):
        api.put(obj)
    return lambda module, /, check=False, **options: run(module, check=check, namespace="shop", **options)


def theirs():
    return istio("ServiceEntry", "theirs", "other", hosts=["api.example.com"], ports=[{"number": 443, "name": "tls"}])


def there(api):
    return sorted(kind for group, kind, _namespace, _name in api.objects if group.endswith("istio.io"))


@pytest.mark.parametrize("name", STEPS)
def test_it_comes_changes_and_goes(api, say, name):
    for options, kinds in STEPS[name]:
        before = copy.deepcopy(api.objects)
        planned = say(name, check=True, **options)
        assert planned["changed"] and api.objects == before
        done = say(name, **options)
        assert done["changed"] and done["diff"] == planned["diff"] and there(api) == kinds, done
        again = say(name, **options)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)


def test_routes_come_after_the_gateway_and_go_before_it(say):
    steps = [entry["ref"]["kind"] for entry in say("egress", **HOSTS, gateway="istio-egress/out")["objects"]]
    assert steps.index("VirtualService") == 2 and steps.index("Gateway") < 2
    steps = [entry["ref"]["kind"] for entry in say("egress", name="web", state="absent")["objects"]]
    assert steps[0] == "VirtualService" and len(steps) == 3


def test_how_a_host_is_spoken_to_goes_at_once_with_its_port(api, say):
    FakeIstiod(api)
    assert say("egress", **HOSTS, ports=[80], tls={})["changed"]
    api.requests.clear()
    assert say("egress", **HOSTS, ports=[80])["changed"]
    story = [
        word
        for method, path in api.requests
        if (word := "asked" if method == "ASK" else path.split("/")[-2]) == "asked" or method in ("PATCH", "DELETE")
    ]
    # The first is the plan's dry run.
    assert story[:3] == ["serviceentries", "serviceentries", "destinationrules"] and set(story[3:]) == {"asked"}, story


@pytest.mark.parametrize(
    ("name", "annotations", "host"),
    [("theirs", {}, "api.example.com"), ("web", {"servicemesh.istio/intents": "{}"}, "other.example.com")],
)
def test_a_rule_that_says_already_how_a_host_is_spoken_to_is_refused(api, say, name, annotations, host):
    rule = istio("DestinationRule", name, host=host)
    api.put({**rule, "metadata": {**rule["metadata"], "annotations": annotations}})
    refused = say("egress", **HOSTS, ports=[80], tls={})
    assert refused["failure"]["code"] == "rule_taken" and f"shop/{name}" in refused["msg"]
    assert say("egress", **HOSTS, ports=[80])["changed"]


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("egress", {**HOSTS, "gateway": "istio-egress/in"}, "no_such_gateway"),
        (
            "egress",
            {**HOSTS, "gateway": "istio-egress/out", "gateway_selector": {"istio": "other"}},
            "gateway_selects_nothing",
        ),
        ("telemetry", {"tracing": {"providers": ["zipkin"], "percent": 1}}, "provider_unknown"),
    ],
)
def test_what_is_not_there_is_refused(api, say, name, options, code):
    mesh = config("istio", "istio-system", mesh="extensionProviders: [{name: otel}]")
    api.put({**mesh, "metadata": {**mesh["metadata"], "labels": {"istio.io/rev": "default"}}})
    before = copy.deepcopy(api.objects)
    refused = say(name, **options)
    assert refused["failure"]["code"] == code and api.objects == before, refused
    assert "failed" not in say("telemetry", tracing={"providers": ["otel"], "percent": 1})


@pytest.mark.parametrize(
    ("name", "kind", "group", "options"),
    [
        ("sidecar", "Sidecar", "networking", {"egress_hosts": ["."]}),
        ("telemetry", "Telemetry", "telemetry", {"tracing": {"percent": 1}}),
    ],
)
def test_a_second_one_for_all_of_a_namespace_is_refused(api, say, name, kind, group, options):
    api.put(istio(kind, "theirs", group=f"{group}.istio.io"))
    refused = say(name, **options)
    assert refused["failure"]["code"] == "policy_twice" and "shop/theirs" in refused["msg"]
    assert say(name, **options, workload={"app": "web"})["changed"]


def test_a_host_that_somebody_else_registered_and_a_namespace_that_is_not_there_are_told(api, say):
    api.put(theirs())
    assert "other/theirs" in str(say("egress", **HOSTS)["warnings"])
    assert "nowhere" in str(say("sidecar", egress_hosts=[".", "nowhere"])["warnings"])


def test_what_others_have_too_is_not_waited_for_when_it_goes(api, say):
    FakeIstiod(api, proxies=("web-1.shop",))
    assert "1 proxies" in say("egress", **HOSTS)["verified"][0]
    api.put(theirs())
    assert "failed" not in say("egress", name="web", state="absent", wait_timeout=1)
