# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure parts of adopting: whose fields move, and what the object will look like. tests/e2e shows the rest on a real
server.
"""

from __future__ import annotations

from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning import adopt

TOOLS = frozenset({"helm", "kubectl-client-side-apply"})


def entry(manager, fields, operation="Update", **more):
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **more,
    }


def config(*entries, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": "shop", "managedFields": list(entries)},
        "data": data,
    }


def data(*keys):
    return {"f:data": {f"f:{key}": {} for key in keys}}


def test_only_the_tools_own_entries_for_the_object_itself_are_taken():
    live = config(
        entry("helm", data("a")),
        entry("flagger", data("b")),
        entry("kubectl-client-side-apply", {"f:status": {}}, subresource="status"),
    )
    assert adopt.owners(live, TOOLS) == ["helm"]
    after = adopt.migrated(live, live, "ours", TOOLS)["metadata"]["managedFields"]
    assert [(item["manager"], item["operation"]) for item in after] == [
        ("flagger", "Update"),
        ("kubectl-client-side-apply", "Update"),
        ("ours", "Apply"),
    ]


def test_the_fields_of_all_tools_and_our_own_end_in_one_entry():
    live = config(
        entry("ours", data("c"), "Apply"),
        entry("helm", data("a"), "Apply"),
        entry("kubectl-client-side-apply", data("b")),
    )
    (mine,) = adopt.migrated(live, live, "ours", TOOLS)["metadata"]["managedFields"]
    assert mine["fieldsV1"] == data("a", "b", "c")


def test_minus_keeps_the_leaves_that_only_the_first_has():
    one = {"f:spec": {"f:a": {}, "f:list": {'k:{"name":"x"}': {".": {}, "f:name": {}, "f:image": {}}}}}
    two = {"f:spec": {"f:list": {'k:{"name":"x"}': {".": {}, "f:name": {}}}}}
    assert adopt.minus(one, two) == {"f:spec": {"f:a": {}, "f:list": {'k:{"name":"x"}': {"f:image": {}}}}}
    assert adopt.minus(one, one) == {}


def test_a_field_that_nobody_sets_any_more_falls_back_to_the_servers_default():
    live = {
        **config(entry("helm", {"f:spec": {"f:replicas": {}, "f:paused": {}}})),
        "spec": {"replicas": 3, "paused": True},
    }
    answer = {
        **config(
            entry("helm", {"f:spec": {"f:replicas": {}, "f:paused": {}}}),
            entry("ours", {"f:spec": {"f:x": {}}}, "Apply"),
        ),
        "spec": {"replicas": 3, "paused": True, "x": 1},
    }
    after = adopt.predicted(answer, live, {"spec": {"replicas": 1, "x": 1}}, "ours", TOOLS)
    assert after["spec"] == {"replicas": 1, "x": 1}


def test_a_field_that_a_controller_owns_too_stays():
    fields = {"f:spec": {"f:replicas": {}}}
    live = {**config(entry("helm", fields), entry("autoscaler", fields)), "spec": {"replicas": 3}}
    assert adopt.predicted(live, live, {"spec": {}}, "ours", TOOLS)["spec"] == {"replicas": 3}


def test_items_of_lists_go_by_their_key():
    fields = {
        "f:env": {
            'k:{"name":"a"}': {".": {}, "f:name": {}, "f:value": {}},
            'k:{"name":"b"}': {".": {}, "f:name": {}, "f:value": {}},
        },
        "f:finalizers": {'v:"x"': {}},
    }
    live = {
        **config(entry("helm", fields)),
        "env": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}],
        "finalizers": ["x", "y"],
    }
    answer = {
        **live,
        "metadata": {
            **live["metadata"],
            "managedFields": [
                *live["metadata"]["managedFields"],
                entry("ours", {"f:env": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:value": {}}}}, "Apply"),
            ],
        },
    }
    after = adopt.predicted(answer, live, {"env": [{"name": "a", "value": "1"}]}, "ours", TOOLS)
    assert (after["env"], after["finalizers"]) == ([{"name": "a", "value": "1"}], ["y"])
