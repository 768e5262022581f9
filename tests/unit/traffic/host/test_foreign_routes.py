# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of other people in a host's object, and who keeps one."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host import external_owners, foreign_routes
from builders import istio

REST = "default-00000000"


def ours(*names):
    return [
        {"name": name, **({"match": [{"uri": {"exact": "/a"}}]} if name.startswith("route-") else {}), "route": []}
        for name in names
    ]


def written(*names):
    """As in an object: ours by their names, those of others by a letter, in capitals where it takes every request."""
    return [
        http
        for name in names
        for http in (
            ours(name)
            if "-" in name
            else [{"name": name} if name.isupper() else {"name": name, "match": [{"uri": {"exact": "/b"}}]}]
        )
    ]


def order(listed):
    return [http["name"] for http in listed]


@pytest.mark.parametrize(
    ("live", "new", "merged"),
    [
        (["x", "split-v1-1-00000000"], ["split-v1-9-11111111"], ["x", "split-v1-9-11111111"]),
        (["split-v1-1-00000000", "x"], ["split-v1-9-11111111"], ["split-v1-9-11111111", "x"]),
        (["x", "y", REST], ["route-a-11111111", REST], ["x", "y", "route-a-11111111", REST]),
        (
            ["route-a-00000000", "x", "route-b-00000000", REST],
            ["route-a-11111111", "route-b-11111111", REST],
            ["route-a-11111111", "x", "route-b-11111111", REST],
        ),
        (
            ["route-a-00000000", "x", "route-b-00000000", REST],
            ["route-a-11111111", "split-v1-1-11111111"],
            ["route-a-11111111", "x", "split-v1-1-11111111"],
        ),
        (
            ["route-a-00000000", "x", REST],
            ["fault-route-a-11111111", "fault-default-11111111"],
            ["fault-route-a-11111111", "x", "fault-default-11111111"],
        ),
        (["route-a-00000000", "X"], ["route-a-11111111", REST], ["route-a-11111111", "X"]),
        (["route-a-00000000", "x"], ["route-a-11111111", REST], ["route-a-11111111", "x", REST]),
        ([REST], ["split-v1-1-11111111"], ["split-v1-1-11111111"]),
        (["x"], [], ["x"]),
    ],
)
def test_they_keep_their_place(live, new, merged):
    assert order(foreign_routes.merge_routes(ours(*new), written(*live))) == merged


@pytest.mark.parametrize(
    ("new", "adopted", "joined"),
    [
        (["route-a-11111111", REST], ["x", "y"], ["route-a-11111111", "x", "y", REST]),
        (["route-a-11111111", REST], ["x", "Y"], ["route-a-11111111", "x", "Y"]),
        (["split-v1-1-11111111"], ["X"], ["split-v1-1-11111111", "X"]),
    ],
)
def test_those_that_are_taken_over_come_behind_ours_but_before_the_rest(new, adopted, joined):
    assert order(foreign_routes.append_adopted(ours(*new), written(*adopted))) == joined


def test_a_route_without_a_name_is_of_others():
    assert foreign_routes.foreign_routes_of({"spec": {"http": [{"route": []}, *ours(REST)]}}) == [{"route": []}]
    assert not foreign_routes.is_ours({"name": "split-test"}) and not foreign_routes.is_ours({"name": "mine-00000000"})


@pytest.mark.parametrize(
    ("matches", "every"),
    [
        (None, True), ([{"uri": {"prefix": "/"}}], True), ([{"uri": {"regex": ".*"}, "name": "all"}], True), ([{"uri": {"exact": "/a"}}, {}], True),
        ([{"uri": {"prefix": "/a"}}], False), ([{"uri": {"prefix": "/"}, "method": {"exact": "GET"}}], False), ([{"headers": {"a": {"exact": "b"}}}], False),
    ],
)  # fmt: skip
def test_what_takes_every_request(matches, every):
    http = {"name": "x", **({"match": matches} if matches else {})}
    assert foreign_routes.takes_all(http) is every and foreign_routes.shadowed([http, {"name": "y"}]) == (
        [{"name": "y"}] if every else []
    )


def test_subsets_to_which_they_lead():
    listed = [
        {
            "route": [
                {"destination": {"host": "web", "subset": "a"}},
                {"destination": {"host": "web.shop.svc.cluster.local", "subset": "b"}},
            ]
        },
        {"mirror": {"host": "web", "subset": "c"}},
        {"route": [{"destination": {"host": "cart", "subset": "d"}}]},
    ]
    assert foreign_routes.referenced_subsets(listed, "web.shop.svc.cluster.local", "shop") == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"ownerReferences": [{"kind": "Canary", "name": "web"}]}, "Flagger (Canary shop/web)"),
        ({"managedFields": [{"manager": "flagger"}]}, "Flagger"),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "rollouts-controller"}]}, "Argo Rollouts"),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD (application shop)"),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:networking.istio.io/VirtualService:shop/web"}},
            "Argo CD (application shop)",
        ),
        ({"managedFields": [{"manager": "argocd-controller"}]}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, "Flux (kustomization apps)"),
        (
            {"annotations": {"meta.helm.sh/release-name": "shop"}, "labels": {"app.kubernetes.io/managed-by": "Helm"}},
            "Helm (release shop)",
        ),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        ({"labels": {"kiali_wizard": "weighted_routing"}}, "Kiali (wizard weighted_routing)"),
        ({"managedFields": [{"manager": "kiali"}]}, "Kiali"),
        ({"managedFields": [{"manager": "flagger", "subresource": "status"}, {"manager": "kubectl"}]}, ""),
        ({}, ""),
    ],
)
def test_who_keeps_an_object_is_named(metadata, said):
    obj = istio("VirtualService", "web")
    obj["metadata"].update(metadata)
    assert external_owners.owner_of(obj) == said
