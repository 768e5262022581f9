# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy's own configuration beside what a host's objects say."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import config_dump
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy.sync_status import ProxyLocation
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic import proxy_comparison
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.backends import istio
from policies import FULL, dumped, host, policy, split

SIDECAR = ProxyLocation("shop", {}, False)


def clusters(*subsets, **more):
    named = [{"cluster": {"name": f"outbound|80|{subset}|{FULL}", **more}} for subset in ("", *subsets)]
    return {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": named}


def objects(mode="", **concerns):
    """(host with its live objects, its VirtualService, a dump of a proxy that has them)"""
    wanted = policy(split=split(), **concerns)
    (obj,) = istio.virtual_services(wanted)
    rule = istio.destination_rule(
        wanted, {name: {"version": name} for name in ("v1", "v2")}, {"tls": {"mode": mode}} if mode else {}
    )
    has = dumped(obj)
    has["configs"].append(clusters("v1", "v2"))
    return host(managed_virtual_service=obj, destination_rule=rule), obj, has


def lacking(api, live, has, place=SIDECAR):
    return proxy_comparison.proxy_query(Cluster(api), live).lacking(place, has)


def action(has):
    return has["configs"][0]["dynamicRouteConfigs"][0]["routeConfig"]["virtualHosts"][0]["routes"][0]["route"]


def test_a_proxy_that_has_it_all_lacks_nothing(api):
    live, _obj, has = objects()
    assert lacking(api, live, has) == ""


def test_other_weights_are_told(api):
    live, obj, _has = objects()
    has = dumped(obj, weights={"v1": 50, "v2": 50})
    has["configs"].append(clusters("v1", "v2"))
    assert "other weights on split-v1-90-v2-10-" in lacking(api, live, has)


def test_subsets_that_are_missing_and_left_over_are_told(api):
    live, obj, _has = objects()
    has = dumped(obj)
    has["configs"].append(clusters("v1", "v3"))
    assert lacking(api, live, has) == "no subset v2; still the subset v3"


@pytest.mark.parametrize(
    ("found", "words"),
    [("2s", ""), ("2.000s", ""), ("0.250s", "a timeout of 0.25 s on "), (None, "a timeout of 0 s on ")],
)
def test_timeouts_are_compared_as_times(api, found, words):
    live, _obj, has = objects(resilience={"timeout": "2s"})
    action(has)["timeout"] = found
    said = lacking(api, live, has)
    assert said.startswith(words) and bool(said) == bool(words)


@pytest.mark.parametrize(
    ("asked", "found", "words"), [(2, 2, ""), (2, 3, "3 retries on "), (0, 0, ""), (0, 2, "2 retries on ")]
)
def test_retries_are_compared(api, asked, found, words):
    live, _obj, has = objects(resilience={"retries": {"attempts": asked}})
    action(has)["retry_policy"] = {"num_retries": found} if found else None
    said = lacking(api, live, has)
    assert said.startswith(words) and bool(said) == bool(words)


TLS = {"transport_socket": {"name": "envoy.transport_sockets.tls"}}
AUTOMATIC = {"transport_socket_matches": [{"name": "tlsMode-istio"}]}


@pytest.mark.parametrize(
    ("mode", "found", "said"),
    [
        ("", AUTOMATIC, ""), ("SIMPLE", TLS, ""), ("ISTIO_MUTUAL", TLS, ""), ("DISABLE", {}, ""),
        ("DISABLE", TLS, "TLS, but the TLS mode is DISABLE"), ("MUTUAL", {}, "plaintext, but the TLS mode is MUTUAL"), (
            "SIMPLE", AUTOMATIC, "automatic, but the TLS mode is SIMPLE"),
    ],
)  # fmt: skip
def test_tls_is_compared_where_the_rule_says_how(api, mode, found, said):
    live, _obj, has = objects(mode)
    has["configs"][-1] = clusters("v1", "v2", **found)
    assert lacking(api, live, has) == said


def test_routes_that_should_be_gone_are_told(api):
    live, obj, has = objects()
    assert "still the route split-v1-90-v2-10-" in lacking(api, host(destination_rule=live.destination_rule), has)
    assert "still the route" in lacking(
        api,
        host(
            managed_virtual_service={**obj, "spec": {**obj["spec"], "gateways": ["shop/in"]}},
            destination_rule=live.destination_rule,
        ),
        has,
    ), "a sidecar where only a gateway should have them"


def test_a_host_that_is_hidden_says_nothing(api):
    live, obj, _has = objects()
    assert lacking(api, live, dumped(obj)) is None


def test_a_route_for_one_gateway_need_not_be_at_a_sidecar(api):
    asked = split()
    everywhere = {
        "rules": [{"name": "a", "to": "v1"}],
        "gateways": ["mesh", "shop/in"],
        "gateway_hosts": ["a.example"],
        "label": "version",
    }
    (obj,) = istio.virtual_services(
        policy(split=asked, route={**everywhere, "rules": [{"name": "a", "match": {"path": "/a"}, "to": "v1"}]})
    )
    without = dumped(
        {**obj, "spec": {**obj["spec"], "http": [http for http in obj["spec"]["http"] if not istio.limited(http)]}}
    )
    without["configs"].append(clusters())
    assert lacking(api, host(managed_virtual_service=obj), without) == ""


def test_transports_are_read_in_both_ways_of_writing():
    envoy = {"configs": [clusters("v1", **TLS)]}
    istiod = {
        "configs": [
            {
                "@type": "x.ClustersConfigDump",
                "dynamicActiveClusters": [
                    {"cluster": {"name": "a", "transportSocketMatches": [{}]}},
                    {"cluster": {"name": "b"}},
                ],
            }
        ]
    }
    assert set(config_dump.transports(envoy).values()) == {config_dump.Transport.TLS} and config_dump.transports(
        istiod
    ) == {"a": config_dump.Transport.AUTOMATIC, "b": config_dump.Transport.PLAINTEXT}
