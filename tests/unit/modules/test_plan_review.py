# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight inside the modules that write policy: what would come of a change is found before anything is written."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.features.registry import FEATURES
from builders import config, istio, namespace, pod
from collection import MODULES, arguments, documentation, load
from memory_api import MemoryApi

HOST = {"service": "frontend", "namespace": "shop"}
BOTH = {**HOST, "versions": {"v1": 1, "v2": 1}}
ONE = {**HOST, "versions": {"v1": 1}}
SINGLES = {"authorization", "egress", "gateway", "jwt", "mtls", "sidecar", "telemetry"}
LISTS = ("virtualservices", "destinationrules", "serviceentries", "services")


def theirs(name="theirs", host="theirs.example.com", subset="v2"):
    """A VirtualService of somebody else that sends to a subset of our host."""
    return istio(
        "VirtualService",
        name,
        hosts=[host],
        http=[{"route": [{"destination": {"host": "frontend", "subset": subset}}]}],
    )


def lists(api):
    """Kinds that were listed in all namespaces, in order."""
    found = [
        path.rpartition("/")[2]
        for method, path in api.requests
        if method == "GET"
        and "/namespaces/" not in path
        and path.count("/") > 2
        or (method, path.count("/")) == ("GET", 3)
    ]
    return [kind for kind in found if kind != "api"]


def codes(result, severity):
    return [
        (row["code"], row["ref"]["kind"], row["ref"]["name"])
        for row in result["findings"]
        if row["severity"] == severity
    ]


@pytest.fixture
def say(run, shop):
    def call(module="traffic_split", /, check=False, **options):
        shop.requests.clear()
        return run(module, check=check, **options)

    return call


@pytest.fixture
def split(say, shop):
    """Both versions have a share, and somebody else sends to the one."""
    assert say(**BOTH)["changed"]
    shop.put(theirs())
    return shop


def test_it_is_in_every_module_that_writes_policy_and_on_by_default():
    judged = {name for name in MODULES if "preflight" in arguments(name)}
    assert judged == {*FEATURES, *SINGLES, "traffic", "traffic_split", "traffic_rollback"} - {"split"}
    assert {documentation(name)["options"]["preflight"]["default"] for name in judged} == {"fail"}
    assert (
        load("roles/traffic/defaults/main.yml")["traffic_preflight"]
        == load("roles/mtls/defaults/main.yml")["mtls_preflight"]
        == "fail"
    )


def test_what_a_change_breaks_of_somebody_elses_is_refused_and_nothing_is_written(say, split):
    refused = say(**ONE)
    assert (
        refused["failure"]["code"] == "preflight_failed"
        and refused["failure"]["reason"] == "subset_undefined"
        and refused["failure"]["ref"]["name"] == "theirs"
    )
    assert (
        refused["changed"] is False and [path for _method, path in split.writes() if not path.endswith("?dryRun")] == []
    )
    assert codes(refused, "error") == [("subset_undefined", "VirtualService", "theirs")]
    row = refused["findings"][0]
    assert all(
        part in refused["msg"]
        for part in (
            "subset_undefined",
            "VirtualService shop/theirs",
            "spec.http[0].route[0].destination.subset",
            row["remedy"],
            "preflight: warn",
        )
    )


def test_so_is_what_a_removal_takes_from_under_it(say, split):
    refused = say(**HOST, state="absent")
    assert (
        refused["failure"]["reason"] == "subset_undefined"
        and split.get("DestinationRule", "frontend", "shop")
        and split.get("VirtualService", "frontend", "shop")
    )


def test_the_policy_of_many_hosts_is_judged_as_one(say, split):
    whole = {"policy": {"shop": {"frontend": {"split": {"versions": {"v1": 1}}}}}}
    assert say("traffic", **whole)["failure"]["reason"] == "subset_undefined"
    split.drop("VirtualService", "theirs", "shop")
    assert say("traffic", **whole)["changed"]


def test_with_warn_it_is_written_and_told(say, split):
    done = say(**ONE, preflight="warn")
    assert (
        done["changed"]
        and codes(done, "error") == [("subset_undefined", "VirtualService", "theirs")]
        and "preflight_failed" in str(done["warnings"])
        and "shop/theirs" in str(done["warnings"])
    )
    assert [subset["name"] for subset in split.get("DestinationRule", "frontend", "shop")["spec"]["subsets"]] == ["v1"]


def test_with_skip_nothing_more_is_asked(say, split):
    done = say(**ONE, preflight="skip")
    assert done["changed"] and "findings" not in done and "serviceentries" not in lists(split)


def test_check_mode_says_the_same_as_a_warning(say, split):
    planned = say(check=True, **ONE)
    assert (
        planned["changed"]
        and planned["findings"] == say(**ONE)["findings"]
        and "subset_undefined" in str(planned["warnings"])
    )


def test_what_was_wrong_before_is_not_in_the_way(say, split):
    split.put(theirs("broken", "broken.example.com", "v9"))
    done = say(**HOST, versions={"v1": 2, "v2": 1})
    assert done["changed"] and codes(done, "error") == []


def test_nor_is_what_is_wrong_in_the_objects_themselves_and_stays_so(say, shop):
    """Where somebody else's route stands among ours, and has another place in the list afterwards."""
    assert say(**BOTH)["changed"]
    live = shop.get("VirtualService", "frontend", "shop")
    broken = {
        "name": "by-hand",
        "match": [{"uri": {"exact": "/x"}}],
        "route": [{"destination": {"host": "frontend", "subset": "v9"}}],
    }
    shop.put({**live, "spec": {**live["spec"], "http": [broken, *live["spec"]["http"]]}})
    done = say("route", **HOST, rules=[{"match": {"path": "/a"}, "to": "v1"}], force_conflicts=True)
    assert done["changed"] and codes(done, "error") == [("subset_undefined", "VirtualService", "frontend")], done


def test_steps_are_judged_by_their_end(say, shop):
    """In between there are subsets that no route names, and more of them than are wanted."""
    assert say(**BOTH)["changed"]
    done = say(**ONE)
    assert done["changed"] and done["findings"] == []


def test_what_is_no_error_is_told_and_refuses_nothing(say, shop):
    shop.put(istio("DestinationRule", "theirs", host="*.example.com"))
    assert say("load_balancing", **HOST, consistent_hash={"header": "x-user"})["findings"] == []
    done = say(**BOTH)
    assert (
        done["changed"]
        and codes(done, "warning") == [("sticky_with_weights", "VirtualService", "frontend")]
        and "preflight" in done["duration"]
    )
    assert (
        set(done["findings"][0]) == {"code", "severity", "ref", "field", "message", "remedy", "source"}
        and done["forbidden_kinds"] == {}
    )


def test_where_nothing_is_to_be_changed_nothing_more_is_asked(say, split):
    first = say(**BOTH)
    asked = list(split.requests)
    assert first["changed"] is False and "findings" not in first and "preflight" not in first["duration"]
    assert say(**BOTH, preflight="skip")["changed"] is False and split.requests == asked


def test_a_change_costs_a_list_of_each_kind_that_it_takes(say, split):
    """HTTPRoutes and GRPCRoutes among them, of which a host is looked for."""
    say(**HOST, versions={"v1": 2, "v2": 1}, preflight="skip")
    without = lists(split)
    say(**HOST, versions={"v1": 3, "v2": 1})
    more = lists(split)
    for kind in without:
        more.remove(kind)
    assert sorted(more) == sorted([*LISTS, "httproutes", "grpcroutes"])


def test_at_a_gateway_more_is_read_and_never_a_secret(say, shop):
    """The gateway's pods, and whether policies let them in."""
    shop.put(namespace("shop", **{"istio-injection": "enabled"}))
    shop.put(
        istio(
            "Gateway",
            "edge",
            selector={"istio": "edge"},
            servers=[
                {
                    "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
                    "hosts": ["*"],
                    "tls": {"mode": "SIMPLE", "credentialName": "web"},
                }
            ],
        )
    )
    shop.put(pod("edge-1", labels={"istio": "edge"}))
    shop.put(pod("frontend-3", labels={"app": "frontend", "version": "v1"}, sidecar="native"))
    shop.put(istio("AuthorizationPolicy", "nobody", group="security.istio.io"))
    refused = say(**ONE, gateways=["mesh", "shop/edge"], gateway_hosts=["web.example.com"])
    assert (
        refused["failure"]["reason"] == "deny_all_shuts_out_ingress" and refused["failure"]["ref"]["name"] == "nobody"
    )
    assert {"pods", "authorizationpolicies"} <= set(lists(shop)) and "secrets" not in lists(shop)


@pytest.mark.parametrize("refused", ["services", "virtualservices"])
def test_what_may_not_be_listed_leaves_its_checks_unsaid(run, split, monkeypatch, refused):
    """The module's own list is let through: what is refused is only the one behind the plan."""
    group = "/api/v1" if refused == "services" else "/apis/networking.istio.io/v1"
    real, seen = MemoryApi.request, []

    def request(self, method, path, *arguments, **more):
        if (method, path) == ("GET", f"{group}/{refused}"):
            seen.append(path)
            if len(seen) > 1:
                raise ApiError(403, f"{refused} is forbidden", "Forbidden", {})
        return real(self, method, path, *arguments, **more)

    monkeypatch.setattr(MemoryApi, "request", request)
    done = run("traffic_split", **ONE)
    assert (
        done["changed"]
        and list(done["forbidden_kinds"]) == ["Service" if refused == "services" else "VirtualService"]
        and codes(done, "error") == []
    )


def test_a_second_gateway_for_all_hosts_of_a_port_is_refused(say, shop):
    labels = {"istio": "ingressgateway"}
    shop.put(pod("gateway-1", "istio-system", labels))
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    shop.put(istio("Gateway", "ingress", "istio-system", selector=labels, servers=[server]))
    assert say("gateway", namespace="shop", name="web")["failure"]["reason"] == "gateways_conflict"
    assert say("gateway", namespace="shop", name="web", hosts=["web.example.com"])["changed"]


def test_who_may_list_nothing_beyond_a_namespace_writes_all_the_same(say, shop, monkeypatch):
    real = MemoryApi.request

    def request(self, method, path, *arguments, **more):
        if method == "GET" and path.count("/") == (3 if path.startswith("/api/") else 4) and "/namespaces/" not in path:
            raise ApiError(403, f"{path} is forbidden", "Forbidden", {})
        return real(self, method, path, *arguments, **more)

    monkeypatch.setattr(MemoryApi, "request", request)
    done = say("authorization", namespace="shop", name="web", allow=[{"from": {"namespaces": ["nowhere"]}}])
    assert (
        done["changed"]
        and {"Namespace", "Pod", "AuthorizationPolicy"} <= set(done["forbidden_kinds"])
        and done["findings"] == []
    ), done


def test_objects_of_their_own_are_judged_too(say, shop):
    for obj in (
        namespace("shop", **{"istio-injection": "enabled"}),
        istio("DestinationRule", "plain", host="frontend", trafficPolicy={"tls": {"mode": "DISABLE"}}),
    ):
        shop.put(obj)
    refused = say("mtls", namespace="shop", mode="strict", plaintext_callers="ignore")
    assert refused["failure"]["reason"] == "tls_off_while_strict" and refused["failure"]["ref"]["name"] == "plain"
    assert [path for _method, path in shop.writes() if not path.endswith("?dryRun")] == []
    assert say("mtls", namespace="shop", mode="strict", plaintext_callers="ignore", preflight="warn")["changed"]


def test_the_meshs_configuration_is_known(say, shop):
    options = {"namespace": "shop", "name": "web", "allow": [{"from": {"principals": ["example.org/ns/shop/sa/web"]}}]}
    shop.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": "shop"}})
    assert "principal_unknown" in str(say("authorization", check=True, **options)["findings"])
    mesh = config("istio", "istio-system", mesh="trustDomain: example.org")
    shop.put({**mesh, "metadata": {**mesh["metadata"], "labels": {"istio.io/rev": "default"}}})
    assert "principal_unknown" not in str(say("authorization", **options)["findings"])


def test_a_later_slice_goes_on_with_what_was_let_begin(run, split):
    done = run("traffic_split", **ONE, _progress={"seconds": 10.0, "elapsed": 12.0})
    assert done["changed"] and "findings" not in done


def test_an_undo_is_judged_as_any_change(say, split):
    split.drop("VirtualService", "theirs", "shop")
    assert say(**ONE)["changed"] and say("traffic_rollback", **HOST)["changed"]
    split.put(theirs())
    again = say("traffic_rollback", **HOST)
    assert again["failure"]["code"] == "preflight_failed", again
