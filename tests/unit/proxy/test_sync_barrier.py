# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the proxies taken it? Asked of every istiod, and never guessed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.deadline import Deadline
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import config_dump, istiod, sync_barrier
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy.sync_barrier import (
    ProxyCondition,
    proxies_in_sync,
)
from builders import pod
from fake_istiod import FakeIstiod


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(sync_barrier, "BETWEEN_LOOKS", 0.01)


def hold(api, shown=lambda _dump: True, seconds=2.0, **more):
    return proxies_in_sync(ProxyCondition("the change", "shop", shown, **more)).hold(Cluster(api), Deadline(seconds))


def refused(api, **more):
    with pytest.raises(Failure) as failed:
        hold(api, **more)
    return failed.value


def asked(api, word):
    return [path for method, path in api.requests if method == "ASK" and word in path]


def test_a_tunnel_that_breaks_without_a_word_is_told_by_the_name_of_its_error(api):
    class Broken:
        def sendall(self, _data):
            raise BrokenPipeError

        def close(self):
            pass

    api.tunnels[("shop", "web", 15000)] = Broken
    with pytest.raises(ApiError, match="/ready of pod shop/web: BrokenPipeError"):
        istiod.get(api, "shop", "web", 15000, "/ready")


def test_every_istiod_is_asked(api):
    FakeIstiod(api, "istiod-1", ("a.shop", "b.shop"))
    FakeIstiod(api, "istiod-2", ("c.shop",))
    assert hold(api) == "proxies in sync: the change at 3 proxies of 2 istiods"


def test_one_istiod_that_is_behind_is_enough_to_wait(api):
    FakeIstiod(api, "istiod-1", ("a.shop",))
    FakeIstiod(api, "istiod-2", ("b.shop",)).behind = {"b.shop"}
    failure = refused(api, seconds=0.2)
    assert failure.code == "proxies_not_synced" and "b.shop" in failure.message and "a.shop" not in failure.message


def test_a_proxy_that_stands_still_is_named(api, monkeypatch):
    monkeypatch.setattr(istiod, "ADMIN_TIMEOUT", 0.1)
    fake = FakeIstiod(api, "istiod-1", ("a.shop", "b.shop"))
    fake.still, fake.behind = {"a.shop"}, {"a.shop"}
    failure = refused(api, seconds=0.5)
    assert failure.code == "proxies_not_synced" and "a.shop" in failure.message and "b.shop" not in failure.message
    fake.behind = set()
    assert hold(api) == "proxies in sync: the change at 2 proxies of 1 istiods", (
        "another one shows it, and all have acknowledged"
    )


def test_proxies_that_may_not_be_asked_make_it_unknown(api):
    FakeIstiod(api, proxies=("a.shop",))

    def no_way():
        raise ApiError(403, "Forbidden", "may not create portforward")

    api.tunnels[("shop", "a", 15000)] = no_way
    assert hold(api).startswith("proxies in sync: unknown")


def test_what_concerns_none_of_the_proxies_need_not_be_shown(api):
    FakeIstiod(api, proxies=("a.shop", "b.shop"))
    nobody = ProxyCondition("the change", "shop", lambda _dump: False, only=frozenset({"c.shop"}))
    assert proxies_in_sync(nobody).hold(
        Cluster(api), Deadline(5)
    ) == "proxies in sync: the change at 2 proxies of 1 istiods" and not asked(api, "config_dump")
    with pytest.raises(Failure):
        proxies_in_sync(replace(nobody, only=frozenset({"b.shop"}))).hold(Cluster(api), Deadline(0.3))
    assert set(asked(api, "config_dump")) == {"b.shop/config_dump"}


def test_an_istiod_of_whose_proxies_none_is_concerned_needs_only_what_they_acknowledged(api):
    fake = FakeIstiod(api, proxies=("a.shop", "b.shop"))
    assert hold(api, lambda _dump: None) == "proxies in sync: the change at 2 proxies of 1 istiods"
    fake.behind = {"b.shop"}
    assert "b.shop" in refused(api, shown=lambda _dump: None, seconds=0.2).message


def test_one_that_is_concerned_is_waited_for_beside_those_that_are_not(api):
    FakeIstiod(api, proxies=("a.shop", "b.shop"))
    answers = itertools.cycle([None, False])
    assert refused(api, shown=lambda _dump: next(answers), seconds=0.2).code == "proxies_not_synced"


@pytest.mark.parametrize("shown", [True, False])
def test_who_is_concerned_is_looked_for_past_the_first_few(api, shown):
    FakeIstiod(api, proxies=tuple(f"p{number:02}.other" for number in range(20)))
    answers = itertools.cycle([*[None] * 19, shown])
    if shown:
        assert hold(api, lambda _dump: next(answers))
    else:
        assert refused(api, shown=lambda _dump: next(answers), seconds=0.2).code == "proxies_not_synced"


def test_of_many_that_are_not_concerned_some_are_looked_at(api):
    FakeIstiod(api, proxies=tuple(f"p{number:03}.other" for number in range(200)))
    assert (
        hold(api, lambda _dump: None, seconds=20.0)
        and len(asked(api, "config_dump")) == sync_barrier.QUIET_LOOKS * sync_barrier.MOST
    )


def test_a_host_that_comes_to_proxies_between_two_looks_is_waited_for(api):
    FakeIstiod(api)
    answers = itertools.chain([None, False], itertools.repeat(True))
    assert hold(api, lambda _dump: next(answers)) and len(asked(api, "config_dump")) == 3


def test_who_does_not_answer_may_be_concerned(api, monkeypatch):
    monkeypatch.setattr(istiod, "ADMIN_TIMEOUT", 0.1)
    FakeIstiod(api, proxies=("a.shop", "b.shop")).still = {"a.shop"}
    failure = refused(api, shown=lambda _dump: None, seconds=0.5)
    assert failure.code == "proxies_not_synced" and "a.shop" in failure.message and "b.shop" not in failure.message


def test_who_is_not_concerned_does_not_have_what_goes(api):
    FakeIstiod(api, proxies=("a.shop", "b.shop"))
    answers = itertools.chain([None, False], itertools.repeat(None))
    assert hold(api, lambda _dump: next(answers), gone=True) and len(asked(api, "config_dump")) == 4


def test_two_looks_must_both_be_quiet(api):
    FakeIstiod(api)
    hold(api)
    assert len(asked(api, "syncz")) == 2, "between two looks a push may be gathered that neither has seen alone"


def test_without_a_ready_istiod_it_is_unknown(api):
    assert hold(api) == "proxies in sync: unknown, no istiod is ready"
    api.put(pod("istiod-1", "istio-system", {"app": "istiod"}, conditions=[{"type": "Ready", "status": "False"}]))
    assert "unknown" in hold(api)


def test_where_pods_may_not_be_listed_it_is_unknown(api, monkeypatch):
    def no_way(*_asked):
        raise ApiError(403, "Forbidden", "may not list pods")

    monkeypatch.setattr(Cluster, "list", no_way)
    assert hold(api).startswith("proxies in sync: unknown") and "may not list pods" in hold(api)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_where_istiod_may_not_be_asked_it_is_unknown(api, status):
    FakeIstiod(api)

    def no_way():
        raise ApiError(status, "Forbidden", "may not create portforward")

    api.tunnels[("istio-system", "istiod-1", 8080)] = no_way
    assert hold(api).startswith("proxies in sync: unknown, cannot read istiod's debug endpoints")


def test_an_istiod_that_breaks_off_is_no_convergence(api):
    FakeIstiod(api)

    def broken():
        raise ApiError(0, "Unreachable", "connection reset")

    api.tunnels[("istio-system", "istiod-1", 8080)] = broken
    assert refused(api).code == "proxies_not_synced"


def test_an_istiod_without_proxies_has_nothing_to_wait_for(api):
    FakeIstiod(api, proxies=())
    assert hold(api, lambda _dump: False) == "proxies in sync: the change at 0 proxies of 1 istiods"


def test_proxies_of_the_namespace_that_is_concerned_are_looked_at_first(api):
    FakeIstiod(api, proxies=tuple(f"p{number}.other" for number in range(9)) + ("web.shop",))
    hold(api)
    assert asked(api, "config_dump")[0] == "web.shop/config_dump", (
        "itself, and not its istiod, which would make its routes anew for the answer"
    )


def test_a_removal_is_done_when_no_proxy_looked_at_shows_it_any_more(api):
    FakeIstiod(api, proxies=("a.shop", "b.shop"))
    answers = iter([True, False, True, True])
    assert hold(api, lambda _dump: next(answers), gone=True)
    assert len(asked(api, "config_dump")) == 4, "one proxy that still has it keeps it from being gone"


def test_endpoints_on_their_way_are_no_policy(api):
    FakeIstiod(api)
    (one,) = istiod.ready_istiods(Cluster(api))
    assert [(proxy.id, proxy.namespace, proxy.synced) for proxy in one.proxies()] == [("web-1.shop", "shop", True)]


WEIGHTED = {"clusters": [{"name": "outbound|80|v1|web", "weight": 90}, {"name": "outbound|80|v2|web"}]}


def configs(snake):
    def word(name):
        first, *rest = name.split("_")
        return name if snake else first + "".join(part.capitalize() for part in rest)

    routes = [
        {"name": "split", "route": {word("weighted_clusters"): WEIGHTED}},
        {"name": "all", "route": {"cluster": "outbound|80||web"}},
        {"name": "moved", "redirect": {}},
    ]
    table = {"name": "80", word("virtual_hosts"): [{"domains": ["web"], "routes": routes}]}
    return {
        "configs": [
            {
                "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
                word("dynamic_route_configs"): [{word("route_config"): table}],
            },
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
                word("dynamic_active_clusters"): [{"cluster": {"name": "outbound|80||web"}}],
            },
            {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"},
        ]
    }


@pytest.mark.parametrize("snake", [True, False], ids=["as Envoy writes it", "as istiod writes it"])
def test_a_dump_is_read_in_both_ways_of_writing(snake):
    assert config_dump.clusters(configs(snake)) == {"outbound|80||web"}
    assert [
        (route.name, route.configuration, route.domains, route.weights) for route in config_dump.routes(configs(snake))
    ] == [
        ("split", "80", ("web",), (("outbound|80|v1|web", 90), ("outbound|80|v2|web", 0))),
        ("all", "80", ("web",), (("outbound|80||web", 1),)),
        ("moved", "80", ("web",), ()),
    ]
    assert list(config_dump.routes({})) == [] and config_dump.clusters({}) == set()
