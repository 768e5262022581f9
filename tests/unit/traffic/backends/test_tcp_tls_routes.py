# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of connections: what decides that they are such, what they cannot have, and what proxies show of them."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure, InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import config_dump
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy.sync_status import ProxyLocation
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic import proxy_comparison, references, rollout
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.backends import istio, tcp_tls_routes
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.backends.proxy_checks import routes_visible
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host import port_protocol
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host.host import Host
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host_policy import MANAGED
from policies import FULL, host, policy, split

ONE = {"spec": {"ports": [{"name": "tcp", "port": 9000}]}}
TWO = {
    "spec": {
        "selector": {"app": "frontend"},
        "ports": [{"name": "tcp", "port": 9000}, {"name": "tcp-other", "port": 9001}],
    }
}
BARE = {"spec": {"ports": [{"port": 9000}]}}
GATEWAY = "infra/in"


def echo(service=None, **live):
    return host(service=service or ONE, **live)


def written(live=None, **concerns):
    return istio.virtual_services(policy(live or echo(), **concerns))


@pytest.mark.parametrize(
    ("port", "word", "routed"),
    [
        ({"name": "http-web"}, "http", "http"), ({"name": "http2"}, "http2", "http"), ({"name": "grpc"}, "grpc", "http"),
        ({"name": "grpc-web-x"}, "grpc-web", "http"), ({"name": "GRPC-Web"}, "grpc-web", "http"),
        ({"name": "tcp"}, "tcp", "tcp"), ({"name": "TCP-echo"}, "tcp", "tcp"), ({"name": "redis"}, "redis", "tcp"), ({"name": "mongo-db"}, "mongo", "tcp"),
        ({"name": "mysql"}, "mysql", "tcp"),
        ({"name": "tls"}, "tls", "tls"), ({"name": "https-web"}, "https", "tls"), ({"name": "http", "appProtocol": "tcp"}, "tcp", "tcp"),
        ({"appProtocol": "kubernetes.io/h2c"}, "http2", "http"),
        ({"appProtocol": "kubernetes.io/wss"}, "https", "tls"), ({"name": "web"}, "", ""), ({}, "", ""), ({"port": 3306}, "tcp", "tcp"),
        ({"port": 3306, "name": "http"}, "http", "http"), ({"protocol": "UDP", "name": "tcp"}, "udp", ""),
        ({"name": "x", "appProtocol": "example.com/own"}, "", ""),
    ],
)  # fmt: skip
def test_a_services_port_speaks_what_istiod_takes_it_for(port, word, routed):
    assert (port_protocol.protocol(port), port_protocol.routed(port)) == (word, routed)


def test_a_service_entrys_port_says_its_protocol_and_a_gateways_server_what_is_behind_it():
    assert [
        port_protocol.routed({"number": 443, "name": "http", "protocol": word})
        for word in ("TCP", "HTTPS", "GRPC-Web", "MONGO")
    ] == ["tcp", "tls", "http", "tcp"]
    modes = [
        ("HTTP", None),
        ("TCP", None),
        ("HTTPS", "SIMPLE"),
        ("HTTPS", "PASSTHROUGH"),
        ("TLS", "PASSTHROUGH"),
        ("TLS", "MUTUAL"),
        ("TLS", "AUTO_PASSTHROUGH"),
    ]
    assert [
        port_protocol.routed_at({"name": "a", "port": 443, "protocol": word, "tls": {"mode": mode}})
        for word, mode in (("HTTP", ""), ("HTTPS", "Terminate"), ("TLS", "Passthrough"), ("TCP", ""))
    ] == ["http", "http", "tls", "tcp"]
    assert [port_protocol.routed_at({"port": {"protocol": word}, "tls": {"mode": mode}}) for word, mode in modes] == [
        "http",
        "tcp",
        "http",
        "tls",
        "tls",
        "tcp",
        "tls",
    ]


@pytest.mark.parametrize(
    ("service", "asked", "protocol"),
    [
        (ONE, {}, "tcp"), (BARE, {}, "http"), (BARE, {"protocol": "tcp"}, "tcp"), (None, {}, "http"), (None, {"protocol": "tcp"}, "tcp"),
        (ONE, {"protocol": "http"}, "http"),
        ({"spec": {"ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 9000}]}}, {"port": 9000}, "tcp"),
        ({"spec": {"ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 9000}]}}, {"port": 80}, "http"),
        ({"spec": {"ports": [{"name": "tcp-dns", "port": 53}, {"name": "dns", "port": 53, "protocol": "UDP"}]}}, {}, "tcp"),
        (TWO, {}, "tcp"),
    ],
)  # fmt: skip
def test_the_declaration_decides_unless_it_is_said(service, asked, protocol):
    assert policy(host(service=service), split=split(**asked)).protocol == protocol


def test_of_a_service_entry_its_ports_decide():
    entry = {"spec": {"hosts": [FULL], "ports": [{"number": 3306, "name": "db", "protocol": "TCP"}]}}
    assert policy(host(service=None, service_entry=entry), split=split()).protocol == "tcp"


def test_weights_of_connections():
    (obj,) = written(split=split({"v1": 80, "v2": 20}))
    assert obj["spec"] == {
        "hosts": [FULL],
        "gateways": ["mesh"],
        "tcp": [
            {
                "route": [
                    {"destination": {"host": FULL, "subset": "v1"}, "weight": 80},
                    {"destination": {"host": FULL, "subset": "v2"}, "weight": 20},
                ]
            }
        ],
    }


def test_in_the_mesh_one_port_is_meant_and_at_a_gateway_its_own():
    (obj,) = written(
        echo(TWO), split=split({"v1": 1}, port=9000, gateways=["mesh", GATEWAY], gateway_hosts=["a.example"])
    )
    assert obj["spec"]["tcp"] == [
        {
            "match": [{"gateways": ["mesh"], "port": 9000}, {"gateways": [GATEWAY]}],
            "route": [{"destination": {"host": FULL, "subset": "v1", "port": {"number": 9000}}, "weight": 1}],
        }
    ]
    mesh, outside = written(
        echo(TWO), split=split({"v1": 1}, port=9000, gateways=["mesh", GATEWAY], gateway_hosts=["*"])
    )
    assert mesh["spec"]["tcp"][0]["match"] == [{"port": 9000}] and "match" not in outside["spec"]["tcp"][0]


def test_rules_of_connections_tell_who_calls():
    rules = {
        "rules": [
            {"name": "a", "match": {"from_labels": {"app": "x"}}, "to": "v2"},
            {"name": "b", "match": {"port": 9001, "from_namespace": "y"}, "versions": {"v1": 1, "v2": 1}},
        ],
        "port": 9000,
    }
    (obj,) = written(echo(TWO), route=rules)
    assert [route.get("match") for route in obj["spec"]["tcp"]] == [
        [{"sourceLabels": {"app": "x"}, "port": 9000}],
        [{"port": 9001, "sourceNamespace": "y"}],
        [{"port": 9000}],
    ]
    assert [[part["destination"].get("subset") for part in route["route"]] for route in obj["spec"]["tcp"]] == [
        ["v2"],
        ["v1", "v2"],
        [None],
    ]


def test_each_concern_is_for_the_port_that_it_names():
    rules = {"rules": [{"name": "a", "match": {"from_labels": {"app": "x"}}, "to": "v2"}], "port": 9001}
    (obj,) = written(echo(TWO), route=rules, split=split({"v1": 1}, port=9000))
    assert [route["match"] for route in obj["spec"]["tcp"]] == [
        [{"sourceLabels": {"app": "x"}, "port": 9001}],
        [{"port": 9000}],
    ]


def test_tls_is_passed_through_by_the_name_that_is_asked_for():
    (obj,) = written(
        echo({"spec": {"ports": [{"name": "https", "port": 443}]}}),
        split=split({"v1": 1}, gateways=[GATEWAY], gateway_hosts=["a.example"]),
    )
    assert obj["spec"]["tls"] == [
        {
            "match": [{"sniHosts": [FULL, "a.example"]}],
            "route": [{"destination": {"host": FULL, "subset": "v1"}, "weight": 1}],
        }
    ]
    with pytest.raises(InvalidOption) as refused:
        istio.Istio().unsupported(policy(echo(), split=split(protocol="tls")))
    assert refused.value.option == "gateways" and refused.value.code == "protocol_cannot"


CANNOT = [
    ({"split": split(sticky={"cookie": "a"})}, "sticky"),
    ({"split": split(mirror="v2")}, "mirror"),
    ({"split": split(match={"headers": {"a": "b"}})}, "match.headers"),
    ({"split": split(match=[{"from_labels": {"a": "b"}}, {"path": "/a"}])}, "match.path"),
    ({"fault": {"delay": "2s"}}, "delay"),
    ({"split": split(), "fault": {"abort": 503}}, "abort"),
    ({"resilience": {"timeout": "2s"}}, "timeout"),
    ({"resilience": {"retries": {"attempts": 0}}}, "retries"),
    *(({"route": {"rules": [{"name": "a", "to": "v1", **rule}]}}, option) for rule, option in (
        ({"match": {"path": "/a"}}, "match.path"), ({"match": {"method": "GET"}}, "match.method"), ({"match": {"authority": "a"}}, "match.authority"),
        ({"match": {"headers": {"a": {"present": False}}}}, "match.headers"),
        ({"match": {"query": {"a": "b"}}}, "match.query"), ({"match": {"port": 9000, "ignore_case": True}}, "match.ignore_case"),
        ({"rewrite": {"host": "a.b"}}, "rewrite"), ({"headers": {"request": {"set": {"a": "b"}}}}, "headers"),
        ({"cors": {"origins": ["*"]}}, "cors"), ({"timeout": "1s"}, "timeout"), ({"mirror": "v2"}, "mirror"),
    )),
    ({"route": {"rules": [{"name": "a", "redirect": {"host": "a.b"}}]}}, "redirect"),
    ({"route": {"rules": [{"name": "a", "direct_response": 404}]}}, "direct_response"),
]  # fmt: skip


@pytest.mark.parametrize(("concerns", "option"), CANNOT, ids=[option for _concerns, option in CANNOT])
def test_what_only_requests_have_is_refused_by_name(concerns, option):
    with pytest.raises(InvalidOption) as refused:
        references.validate_references(policy(echo(), **concerns))
    assert (refused.value.option, refused.value.code) == (option, "protocol_cannot")
    assert (
        FULL in refused.value.message
        and "TCP connections, as its Service declares" in refused.value.message
        and refused.value.hint.startswith("Remove the option")
    )


def test_the_remedy_fits_how_it_came_to_be_tcp():
    with pytest.raises(InvalidOption) as refused:
        references.validate_references(policy(echo(BARE), split=split(mirror="v2", protocol="tcp")))
    assert (
        "as set in protocol" in refused.value.message
        and refused.value.hint == "Remove the option, or set protocol: http."
    )
    with pytest.raises(InvalidOption) as refused:
        references.validate_references(
            policy(
                echo(BARE, gateway_protocols={GATEWAY: frozenset({"tcp"})}),
                split=split(mirror="v2", gateways=[GATEWAY]),
            )
        )
    assert (
        "as do its gateways" in refused.value.message
        and refused.value.hint == "Remove the option, or correct the declared protocol."
    )


def test_gateways_that_have_ports_for_one_thing_alone_decide_where_the_mesh_is_not_meant():
    for words, gateways, protocol in (
        (["http"], [GATEWAY], "http"),
        (["http", "tcp"], [GATEWAY], "tcp"),
        (["http"], ["mesh", GATEWAY], "tcp"),
        (["tls"], [GATEWAY], "tls"),
    ):
        assert (
            policy(echo(gateway_protocols={GATEWAY: frozenset(words)}), split=split(gateways=gateways)).protocol
            == protocol
        )
    assert (
        policy(echo(BARE, gateway_protocols={GATEWAY: frozenset({"tcp"})}), split=split(gateways=[GATEWAY])).protocol
        == "tcp"
    )


@pytest.mark.parametrize(
    ("rule", "option"),
    [
        ({"resilience": {"connection_pool": {"max_connections": 1, "max_requests": 1}}}, "connection_pool.max_requests"),
        ({"resilience": {"connection_pool": {"idle_timeout": "1s"}}}, "connection_pool.idle_timeout"),
        ({"load_balancing": {"consistent_hash": {"header": "a"}}}, "consistent_hash.header"), ({"load_balancing": {"consistent_hash": {
            "source_ip": True}}}, ""),
        ({"resilience": {"connection_pool": {"max_connections": 1, "max_pending_requests": 1, "connect_timeout": "1s"}, "outlier_detection": {
         "consecutive_5xx_errors": 1}}}, ""),
    ],
)  # fmt: skip
def test_limits_of_requests_are_refused_where_all_ports_are_of_connections(rule, option):
    mixed = {"spec": {"ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 9000}]}}
    assert (
        references.validate_references(policy(echo(mixed), rule=rule))
        == []
        == references.validate_references(policy(echo(BARE), rule=rule))
    )
    if not option:
        assert references.validate_references(policy(echo(), rule=rule)) == []
        return
    with pytest.raises(InvalidOption) as refused:
        references.validate_references(policy(echo(), rule=rule))
    assert refused.value.option == option


def codes(live, **asked):
    return [failure.code for failure in references.validate_references(policy(live, split=split({"v1": 1}, **asked)))]


def test_routes_that_sidecars_would_never_look_for_are_refused_and_at_a_gateway_its_ports_count():
    web = {"spec": {"ports": [{"name": "http", "port": 80}]}}
    assert codes(echo(web), protocol="tcp") == ["protocol_mismatch"] and codes(echo(), protocol="http") == [
        "protocol_mismatch"
    ]
    assert codes(echo(web), protocol="tcp", gateways=[GATEWAY]) == [] == codes(echo(BARE), protocol="tcp")
    mixed = {"spec": {"ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 9000}]}}
    both = policy(echo(mixed), route={"rules": [{"to": "v1"}], "port": 80}, split=split({"v1": 1}, port=9000))
    assert [failure.code for failure in references.validate_references(both)] == ["protocol_mismatch"]


def test_a_gateway_without_a_port_for_connections_is_named():
    live = echo(gateway_protocols={GATEWAY: frozenset({"http"}), "infra/tcp": frozenset({"tcp", "http"})})
    assert codes(echo(gateway_protocols={GATEWAY: frozenset({"http"})}), gateways=["mesh", GATEWAY]) == ["no_such_port"]
    (failure,) = references.validate_references(policy(live, split=split({"v1": 1}, gateways=[GATEWAY, "infra/tcp"])))
    assert failure.code == "no_such_port" and f"Gateway {GATEWAY} has no port for TCP connections" in failure.message


def test_of_several_ports_one_must_be_named():
    assert codes(echo(TWO)) == ["port_needed"] and codes(echo(TWO), port=9000) == []


# What proxies show.


def proxy(kind, *chains):
    """A dump of a proxy with (port, {subset: weight}, source in metadata, statistics' prefix)."""
    listeners = []
    for port, parts, source, prefix in chains:
        clusters = [{"name": f"outbound|{port}|{subset}|{FULL}", "weight": weight} for subset, weight in parts.items()]
        action = (
            {"cluster": clusters[0]["name"], "stat_prefix": clusters[0]["name"]}
            if len(parts) == 1 and not prefix
            else {"weighted_clusters": {"clusters": clusters}, "stat_prefix": prefix}
        )
        filters = [
            {"name": "istio.stats"},
            {
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    **action,
                },
            },
        ]
        chain = {
            "filters": filters,
            **({"metadata": {"filter_metadata": {"istio": {"config": source}}}} if source else {}),
        }
        listeners.append(
            {
                "active_state": {
                    "listener": {"address": {"socket_address": {"port_value": port}}, "filter_chains": [chain]}
                }
            }
        )
    node = {"@type": "x.BootstrapConfigDump", "bootstrap": {"node": {"id": f"{kind}~10.0.0.1"}}}
    clusters = {
        "@type": "x.ClustersConfigDump",
        "dynamic_active_clusters": [
            {"cluster": {"name": f"outbound|9000|{subset}|{FULL}"}} for subset in ("", "v1", "v2")
        ],
    }
    return {"configs": [node, clusters, {"@type": "x.ListenersConfigDump", "dynamic_listeners": listeners}]}


OURS, PREFIX = "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/frontend", "frontend.shop"
SPLIT = {"v1": 80, "v2": 20}


def seen(text, live=None, **asked):
    """(what would be waited for, what the module converged says)"""
    wanted = policy(live or echo(), split=split(**{"versions": SPLIT, **asked}))
    (obj,) = istio.virtual_services(wanted)
    shown = routes_visible(istio.has_all(text, obj, wanted.host), text, wanted.host, obj["spec"]["gateways"])
    return shown, "; ".join(
        tcp_tls_routes.dump_differences(text, wanted.host, istio.proxy_source(obj), tcp_tls_routes.routes_of(obj))
    )


def test_a_sidecar_has_the_split_only_with_exactly_its_shares():
    assert seen(proxy("sidecar", (9000, SPLIT, OURS, PREFIX))) == (True, "")
    assert seen(proxy("sidecar", (9000, {"v1": 20, "v2": 80}, OURS, PREFIX)))[0] is False
    assert seen(proxy("sidecar", (9000, {"": 1}, "", ""))) == (
        False,
        f"other weights for connections to port 9000: {{'outbound|9000||{FULL}': 1}}",
    ), "as before there was a policy"
    assert seen(proxy("sidecar", (9000, SPLIT, OURS.replace("frontend", "other"), "other.shop"))) == (
        False,
        "no route for connections",
    ), "of another object"
    assert seen(proxy("sidecar")) == (False, "no route for connections")


def test_all_to_one_version_is_written_with_or_without_weights():
    for chain in ((9000, {"v1": 100}, OURS, PREFIX), (9000, {"v1": 1}, OURS, "")):
        assert seen(proxy("sidecar", chain), versions={"v1": 100, "v2": 0}) == (True, "")
    assert seen(proxy("sidecar", (9000, {"v2": 1}, OURS, "")), versions={"v1": 100, "v2": 0})[0] is False


def test_only_the_port_that_is_meant_has_it():
    live = echo(TWO)
    both = proxy("sidecar", (9000, SPLIT, OURS, PREFIX), (9001, {"": 1}, "", ""))
    assert seen(both, live, port=9000) == (True, "") and seen(proxy("sidecar"), live, port=9000) == (
        False,
        "no route for connections",
    )
    assert seen(proxy("sidecar", (9000, {"": 1}, "", ""), (9001, SPLIT, OURS, PREFIX)), live, port=9000)[0] is False
    assert seen(proxy("sidecar", (9000, SPLIT, OURS, PREFIX), (9001, SPLIT, OURS, PREFIX)), live, port=9000) == (
        False,
        "still a route for connections to port 9001",
    )


def test_a_gateway_tells_the_object_only_where_there_are_weights():
    asked = {"gateways": [GATEWAY], "port": 9000}
    assert seen(proxy("router", (9000, SPLIT, "", PREFIX)), **asked) == (True, "")
    assert seen(proxy("router", (9000, {"v1": 80, "v2": 21}, "", PREFIX)), **asked)[1].startswith(
        "other weights for connections"
    )
    assert seen(proxy("router", (9000, {"v1": 1}, "", "")), versions={"v1": 1}, **asked) == (True, "")
    assert seen(proxy("router", (9000, {"v2": 1}, "", "")), versions={"v1": 1}, **asked) == (
        False,
        "no route for connections",
    )
    assert seen(proxy("router", (9001, {"v1": 1}, "", "")), versions={"v1": 1}, **asked) == (
        False,
        "no route for connections",
    ), "to another port of the host"
    assert seen(proxy("router"), **asked)[0] is False and seen(proxy("sidecar"), **asked)[0] is None


def test_a_gateway_and_the_mesh_have_the_same_object_by_their_own_ports():
    asked = {"gateways": ["mesh", GATEWAY], "gateway_hosts": ["a.example"], "port": 9000}
    here = proxy("router", (9000, SPLIT, "", PREFIX))
    here["configs"][2]["dynamic_listeners"][0]["active_state"]["listener"]["address"]["socket_address"][
        "port_value"
    ] = 31400
    assert seen(here, echo(TWO), **asked) == (True, "")
    assert seen(proxy("sidecar", (9000, SPLIT, OURS, PREFIX)), echo(TWO), **asked) == (True, "")


def test_a_gateways_pods_may_listen_at_another_port_than_the_gateway_has():
    asked = {"gateways": [GATEWAY], "port": 9000, "match": {"port": 31400}, "versions": {"v1": 1}}
    assert seen(proxy("router", (9000, {"v1": 1}, "", "")), **asked) == (True, "")


def test_what_is_for_some_callers_may_be_at_a_proxy_or_not():
    rules = {"rules": [{"name": "a", "match": {"from_labels": {"app": "x"}}, "to": "v2"}]}
    (obj,) = istio.virtual_services(policy(echo(), route=rules))
    for parts in ({"v2": 1}, {"": 1}):
        assert istio.has_all(proxy("sidecar", (9000, parts, OURS, "")), obj, echo())
    assert not istio.has_all(proxy("sidecar", (9000, {"v1": 1}, OURS, "")), obj, echo())


def test_a_proxy_that_still_has_requests_routes_of_ours_has_not_the_new_ones():
    (obj,) = istio.virtual_services(policy(echo(), split=split(SPLIT)))
    text = proxy("sidecar", (9000, SPLIT, OURS, PREFIX))
    old = {
        "name": "split-v1-1-0123abcd",
        "metadata": {"filter_metadata": {"istio": {"config": OURS}}},
        "route": {"cluster": "a"},
    }
    text["configs"].append(
        {
            "@type": "x.RoutesConfigDump",
            "dynamic_route_configs": [{"route_config": {"virtual_hosts": [{"routes": [old]}]}}],
        }
    )
    assert not istio.has_all(text, obj, echo())


@pytest.mark.parametrize(
    ("kind", "chain", "left"),
    [
        ("sidecar", (9000, SPLIT, OURS, PREFIX), True), ("sidecar", (9000, {"": 1}, "", ""), False), ("router", (9000, SPLIT, "", PREFIX), True),
        ("router", (9000, {"v1": 1}, "", ""), True),
        ("sidecar", (9000, {"": 1}, OURS, ""), True), ("sidecar", (9000, {"v1": 1, "v2": 2}, OURS.replace("frontend", "other"), "other.shop"), False),
    ],
)  # fmt: skip
def test_that_routes_are_gone_is_seen_without_their_object(kind, chain, left):
    assert istio.Istio().has_routes(proxy(kind, chain), host()) is left


def test_the_module_converged_compares_connections_too(api):
    wanted = policy(echo(), split=split(SPLIT))
    (obj,) = istio.virtual_services(wanted)
    rule = istio.destination_rule(wanted, {name: {"version": name} for name in SPLIT}, {})
    question = proxy_comparison.proxy_query(Cluster(api), echo(managed_virtual_service=obj, destination_rule=rule))
    place = ProxyLocation("shop", {}, False)
    assert question.lacking(place, proxy("sidecar", (9000, SPLIT, OURS, PREFIX))) == ""
    assert (
        question.lacking(place, proxy("sidecar", (9000, {"v1": 1, "v2": 1}, OURS, PREFIX)))
        == f"other weights for connections to port 9000: {{'outbound|9000|v1|{FULL}': 1, 'outbound|9000|v2|{FULL}': 1}}"
    )
    assert question.lacking(place, proxy("sidecar")) == "no route for connections"
    assert question.lacking(ProxyLocation("infra", {}, True), proxy("router")) == "", (
        "a gateway need not have what is for the mesh"
    )
    gone = proxy_comparison.proxy_query(Cluster(api), echo(destination_rule=rule))
    assert (
        gone.lacking(place, proxy("sidecar", (9000, SPLIT, OURS, PREFIX)))
        == "still a route for connections to port 9000"
    )


def test_chains_are_read_in_both_ways_of_writing():
    listener = {
        "address": {"socketAddress": {"portValue": 9000}},
        "defaultFilterChain": {
            "filters": [
                {
                    "typedConfig": {
                        "@type": "x.TcpProxy",
                        "statPrefix": "a.b.c",
                        "weightedClusters": {"clusters": [{"name": "x", "weight": 2}]},
                    }
                }
            ]
        },
    }
    text = {
        "configs": [{"@type": "x.ListenersConfigDump", "dynamicListeners": [{"activeState": {"listener": listener}}]}]
    }
    assert list(config_dump.chains(text)) == [
        config_dump.FilterChain(9000, (("x", 2),), "/namespaces/c/virtual-service/a.b")
    ]


# Other people's.


def test_a_list_that_somebody_else_wrote_is_not_deleted_with_our_object():
    (obj,) = istio.virtual_services(policy(echo(), split=split(SPLIT)))
    edited = {
        **obj,
        "metadata": {
            **obj["metadata"],
            "labels": MANAGED,
            "managedFields": [{"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:tcp": {}}}}],
        },
    }
    with pytest.raises(Failure) as refused:
        rollout.rollout_steps(policy(echo(managed_virtual_service=edited)))
    assert (
        refused.value.code == "conflict"
        and "VirtualService shop/frontend" in refused.value.message
        and "kubectl-edit" in refused.value.message
    )
    other = {
        **edited,
        "metadata": {
            **edited["metadata"],
            "managedFields": [{"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:http": {}}}}],
        },
    }
    assert [step.name for step in rollout.rollout_steps(policy(echo(managed_virtual_service=other)))] == [
        "routes that go",
        "routes gone",
    ]


def test_a_subset_that_such_a_list_leads_to_stays():
    (obj,) = istio.virtual_services(policy(host(), split=split({"v1": 1})))
    entry = {"route": [{"destination": {"host": "frontend", "subset": "v2"}}]}
    rule = istio.destination_rule(policy(), {name: {"version": name} for name in SPLIT}, {})
    for manager, names in (("kubectl-edit", ["v1", "v2"]), ("servicemesh.istio", ["v1"])):
        live = {
            **obj,
            "spec": {**obj["spec"], "tcp": [entry]},
            "metadata": {
                **obj["metadata"],
                "managedFields": [{"manager": manager, "fieldsV1": {"f:spec": {"f:tcp": {}}}}],
            },
        }
        last = [
            one
            for step in rollout.rollout_steps(
                policy(host(managed_virtual_service=live, destination_rule=rule), split=split({"v1": 1}))
            )
            for one in step.objects
            if one["kind"] == "DestinationRule"
        ][-1]
        assert [subset["name"] for subset in last["spec"]["subsets"]] == names


def test_requests_routes_of_others_survive_where_the_host_becomes_one_of_connections():
    theirs = {
        "name": "theirs",
        "match": [{"uri": {"prefix": "/theirs"}}],
        "route": [{"destination": {"host": "frontend"}}],
    }
    (before,) = istio.virtual_services(policy(host(), split=split(SPLIT)))
    before["spec"]["http"].insert(0, theirs)
    (obj,) = written(echo(managed_virtual_service=before), split=split(SPLIT))
    assert obj["spec"]["http"] == [theirs] and len(obj["spec"]["tcp"]) == 1
    before["spec"]["http"] = [theirs]
    (obj,) = written(echo(managed_virtual_service=before), split=split(SPLIT))
    assert "http" not in obj["spec"], "a list that never was ours"


def test_a_host_that_nothing_declares_is_one_of_requests():
    assert Host("a", "b").declared == {} and policy(host(service=None)).protocol == "http"
