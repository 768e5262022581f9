# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CORS policy of a host's routes, beside what other modules say of them."""

from __future__ import annotations

import pytest
from builders import service

POLICY = {"allowOrigins": [{"exact": "https://a.example.com"}]}


@pytest.fixture
def cors(run, shop):
    def call(check=False, **options):
        usual = {"service": "frontend", "namespace": "shop", "origins": ["https://a.example.com"]}
        return run("cors", check=check, **{**usual, **options})

    return call


def routes(api):
    return {
        http["name"].rpartition("-")[0]: http for http in api.get("VirtualService", "frontend", "shop")["spec"]["http"]
    }


def test_a_host_without_other_policy_gets_one_route_with_it(shop, cors):
    assert cors(methods=["GET", "POST"], headers=["x-a"], expose=["x-b"], max_age="24h", credentials=True)["changed"]
    (http,) = routes(shop).values()
    assert http["corsPolicy"] == {
        **POLICY,
        "allowMethods": ["GET", "POST"],
        "allowHeaders": ["x-a"],
        "exposeHeaders": ["x-b"],
        "maxAge": "24h",
        "allowCredentials": True,
    }
    assert [part["destination"]["host"] for part in http["route"]] == ["frontend.shop.svc.cluster.local"]


def test_every_origin_and_forms_of_origins(shop, cors):
    cors(origins=["*", {"prefix": "https://"}, {"regex": "https://.*"}])
    (http,) = routes(shop).values()
    assert http["corsPolicy"]["allowOrigins"] == [{"regex": ".*"}, {"prefix": "https://"}, {"regex": "https://.*"}]


def test_all_routes_have_it_but_those_with_their_own(run, shop, cors):
    own = {"origins": ["https://b.example.com"]}
    rules = [
        {"name": "own", "match": {"path": "/own"}, "to": "v1", "cors": own},
        {"name": "moved", "match": {"path": "/old"}, "redirect": {"path": "/new"}},
        {"name": "rest", "to": "v2"},
    ]
    run("route", service="frontend", namespace="shop", rules=rules)
    cors()
    found = {name: http["corsPolicy"] for name, http in routes(shop).items()}
    theirs = {"allowOrigins": [{"exact": "https://b.example.com"}]}
    assert found == {"route-own": theirs, "route-moved": POLICY, "route-rest": POLICY}
    cors(state="absent")
    assert [name for name, http in routes(shop).items() if "corsPolicy" in http] == ["route-own"]


def test_connections_have_none(run, shop, cors):
    shop.put(service("echo", "shop", ports=[{"name": "tcp-echo", "port": 9000}]))
    refused = run("cors", service="echo", namespace="shop", origins=["*"])
    assert refused["failure"]["code"] == "protocol_cannot" and "cors" in refused["msg"]


def test_bad_options_are_told_before_the_cluster_is_asked(shop, cors):
    shop.requests.clear()
    for options, code in (({"headers": ["a b"]}, "header_invalid"), ({"max_age": "soon"}, "duration_invalid")):
        assert cors(**options)["failure"]["code"] == code and shop.requests == []
