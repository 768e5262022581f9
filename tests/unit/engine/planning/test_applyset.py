# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named sets: what one call manages is remembered, pruned, and nothing else is."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import Ref
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.applyset import (
    KINDS,
    NAMESPACES,
    PART_OF,
    SET_ID,
    TOOLING,
    ObjectSet,
    prune_allowance,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from builders import actions, config, definition, deployment, namespace, service
from memory_api import KINDS as SERVED

WEB = ObjectSet("web", "shop")


@pytest.fixture
def manage(run):
    """manage(set, objects, ...) -> result of the module that manages a set"""
    return lambda name, *objects, prune=True, **options: run(
        "manifests", set=name, namespace="shop", definition=list(objects), prune=prune, **options
    )


def parent(api, name="web"):
    return api.get("ConfigMap", name, "shop")["metadata"]["annotations"]


def test_the_id_is_that_of_the_applyset_specification():
    # base64url(sha256("web.shop.ConfigMap.")), KEP-3659.
    assert WEB.id == "applyset-LfI8Vi9Cj-oN7gdQMc0pVAUtzPHQLFbNnE8ILiyJ7TY-v1"
    assert len({WEB.id, ObjectSet("web", "other").id, ObjectSet("other", "shop").id}) == 3


def test_a_parent_says_where_its_members_are():
    refs = {Ref("", "ConfigMap", "shop", "a"), Ref("apps", "Deployment", "other", "b"), Ref("", "Namespace", "", "n")}
    metadata = WEB.parent(refs)["metadata"]
    assert metadata["labels"] == {SET_ID: WEB.id}
    assert metadata["annotations"] == {
        TOOLING: "servicemesh.istio/v1",
        KINDS: "ConfigMap,Deployment.apps,Namespace",
        NAMESPACES: "other",
    }
    assert WEB.known(WEB.parent(refs)) == (
        {("", "ConfigMap"), ("apps", "Deployment"), ("", "Namespace")},
        {"shop", "other"},
    )
    assert WEB.known(None) == (set(), set())


def test_marking_a_member_leaves_the_manifest_as_it_was():
    obj = config("a")
    marked = WEB.member(obj)
    assert marked["metadata"]["labels"] == {PART_OF: WEB.id} and obj == config("a")
    assert WEB.member(marked) == marked


def test_the_parent_comes_first_and_remembers_old_and_new_until_the_old_is_gone(api, manage):
    manage("web", config("a", x="1"))
    api.requests.clear()
    manage("web", service("b", "istio-system"))
    order = [(method, path.rpartition("/")[2]) for method, path in api.writes()]
    assert order == [("PATCH", "web"), ("PATCH", "b"), ("DELETE", "a"), ("PATCH", "web")]
    assert (parent(api)[KINDS], parent(api)[NAMESPACES]) == ("Service", "istio-system")


def test_pruning_one_of_several_of_a_kind_leaves_the_sets_own_object_as_it_is(api, manage):
    manage("web", config("a"), config("b"))
    before = api.get("ConfigMap", "web", "shop")["metadata"]["resourceVersion"]
    result = manage("web", config("a"))
    assert actions(result) == {"a": "unchanged", "b": "pruned"}
    assert api.get("ConfigMap", "web", "shop")["metadata"]["resourceVersion"] == before


def test_without_prune_what_is_wanted_no_more_is_still_remembered(api, manage):
    manage("web", config("a", x="1"))
    manage("web", service("b"), prune=False)
    assert parent(api)[KINDS] == "ConfigMap,Service" and api.get("ConfigMap", "a", "shop")
    assert actions(manage("web", service("b")))["a"] == "pruned"


def test_an_object_that_moved_to_another_set_is_no_more_pruned_by_the_first(api, manage):
    manage("web", config("a", x="1"), config("b", x="1"))
    assert actions(manage("other", config("a", x="1")))["a"] == "configured"
    result = manage("web", config("b", x="1"))
    assert (
        "a" not in actions(result)
        and api.get("ConfigMap", "a", "shop")["metadata"]["labels"][PART_OF] == ObjectSet("other", "shop").id
    )


def test_a_copied_label_makes_no_member(api, manage):
    manage("web", config("a", x="1"), config("b", x="1"))
    label = {PART_OF: WEB.id}
    by_others = config("theirs", x="1")
    by_others["metadata"]["labels"] = label
    api.put(by_others, manager="kubectl-create")
    dependent = config("dependent", x="1")
    dependent["metadata"].update(labels=label, ownerReferences=[{"kind": "Deployment", "name": "web", "uid": "x"}])
    api.put(dependent, manager="servicemesh.istio")
    result = manage("web", config("a", x="1"))
    assert {name for name, action in actions(result).items() if action == "pruned"} == {"b"}
    assert api.get("ConfigMap", "theirs", "shop") and api.get("ConfigMap", "dependent", "shop")


def test_what_holds_other_peoples_things_is_never_pruned(api, manage):
    manage("web", namespace("own"), definition("things", "Thing", "example.com"), config("a", x="1"))
    result = manage("web", config("a", x="1"))
    assert (
        result["summary"]["pruned"] == 0
        and api.get("Namespace", "own")
        and api.get("CustomResourceDefinition", "things.example.com")
    )


def test_members_of_a_kind_that_is_served_no_more_are_gone(api, manage):
    telemetry = {
        "apiVersion": "telemetry.istio.io/v1",
        "kind": "Telemetry",
        "metadata": {"name": "t", "namespace": "shop"},
    }
    manage("web", config("a", x="1"), telemetry)
    api.kinds = [kind for kind in SERVED if kind.kind != "Telemetry"]
    result = manage("web", config("a", x="1"))
    assert "failed" not in result and result["summary"]["pruned"] == 0 and parent(api)[KINDS] == "ConfigMap"


def test_removal_deletes_members_in_reverse_and_the_parent_with_them(run, api, manage):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "c", "namespace": "shop"}}
    manage("web", deployment("d"), service("b"), account)
    api.requests.clear()
    run("manifests", set="web", namespace="shop", state="absent")
    order = [path.rpartition("/")[2] for _method, path in api.writes()]
    assert [name for name in order if name != "web"] == ["d", "b", "c"] and api.get("ConfigMap", "web", "shop") is None


def test_a_config_map_of_somebody_else_is_no_set(api, manage):
    api.put(config("web", theirs="1"))
    before = copy.deepcopy(api.objects)
    result = manage("web", config("a", x="1"))
    assert (
        result["failure"]["code"] == "invalid_option"
        and "is not a set of this collection" in result["msg"]
        and api.objects == before
    )


def test_another_sets_mark_in_a_manifest_is_refused(api, manage):
    obj = config("a", x="1")
    obj["metadata"]["labels"] = {PART_OF: "applyset-other-v1"}
    assert manage("web", obj)["failure"]["code"] == "invalid_option" and api.writes() == []


def test_who_may_not_list_members_may_not_prune_but_may_apply(api, manage):
    manage("web", config("a", x="1"))
    api.faults[("GET", "/api/v1/namespaces/shop/configmaps")] = [ApiError(403, "Forbidden", "may not list")]
    result = manage("web", service("b"))
    assert result["failure"]["code"] == "forbidden" and "prune to false" in result["msg"]
    api.faults[("GET", "/api/v1/namespaces/shop/configmaps")] = [ApiError(403, "Forbidden", "may not list")]
    assert "failed" not in manage("web", service("b"), prune=False)
    assert parent(api)[KINDS] == "ConfigMap,Service", "what could not be listed is still remembered"


def test_members_are_those_of_the_marked_kinds_and_places_only(api):
    cluster = Cluster(api)
    cluster.apply(WEB.member(config("a", x="1")))
    cluster.apply(WEB.member(config("b", "istio-system", x="1")))
    found = WEB.members(cluster, WEB.parent({Ref("", "ConfigMap", "shop", "a")}))
    assert [obj["metadata"]["name"] for obj in found] == ["a"]
    assert WEB.members(cluster, None) == []


@pytest.mark.parametrize(
    ("limit", "members", "may_go"),
    [("0", 10, 0), ("3", 10, 3), ("20%", 10, 2), ("20%", 4, 0), ("100%", 7, 7), (" 5 ", 1, 5)],
)
def test_a_limit_is_a_number_or_a_share(limit, members, may_go):
    assert prune_allowance(limit, members) == may_go


@pytest.mark.parametrize("limit", ["", "-1", "1.5", "101%", "%", "ten", "10 %"])
def test_any_other_limit_is_refused(limit):
    with pytest.raises(InvalidOption):
        prune_allowance(limit, 10)


def test_a_share_is_of_the_sets_members(api, manage):
    manage("web", *(config(f"m{number}", x="1") for number in range(10)))
    rest = [config(f"m{number}", x="1") for number in range(7)]
    assert manage("web", *rest, prune_limit="20%")["failure"]["code"] == "prune_limit"
    assert manage("web", *rest, prune_limit="30%")["summary"]["pruned"] == 3
