# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local verdict: "unchanged" may only be said when it is sure."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning import managed_fields

MANAGER = "servicemesh.istio"
WANTED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "image": "web:1",
                        "resources": {"limits": {"cpu": "2000m", "memory": "1024Mi"}},
                        "env": [{"name": "A", "value": ""}],
                    }
                ],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            }
        }
    },
}
FIELDS = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"server"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}}},
                        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                    }
                },
                "f:volumes": {'k:{"name":"scratch"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
            }
        }
    },
}


def live(fields=None, change=None):
    obj = copy.deepcopy(WANTED)
    container = obj["spec"]["template"]["spec"]["containers"][0]
    # As a server rewrites it: canonical quantities, an empty value not stored, defaults that nobody owns.
    container["resources"]["limits"] = {"cpu": "2", "memory": "1Gi"}
    del container["env"][0]["value"]
    container["imagePullPolicy"] = "IfNotPresent"
    obj["spec"]["replicas"] = 1
    obj["metadata"]["managedFields"] = [
        {"manager": MANAGER, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": fields or FIELDS}
    ]
    if change:
        change(obj)
    return obj


def container(obj):
    return obj["spec"]["template"]["spec"]["containers"][0]


def test_canonical_forms_are_unchanged():
    assert managed_fields.owns_exactly(WANTED, live(), MANAGER)


@pytest.mark.parametrize(
    "change",
    [
        lambda o: container(o).update(image="web:2"),
        lambda o: container(o)["resources"]["limits"].update(cpu="3"),
        lambda o: o["metadata"]["labels"].update(app="other"),
        lambda o: o["metadata"]["managedFields"].clear(),
        lambda o: o["metadata"]["managedFields"][0].update(operation="Update"),
        lambda o: o["metadata"]["managedFields"][0].update(apiVersion="apps/v1beta1"),
        lambda o: o["metadata"]["managedFields"][0].update(subresource="status"),
    ],
)
def test_any_other_difference_is_for_the_server(change):
    assert not managed_fields.owns_exactly(WANTED, live(change=change), MANAGER)


def test_a_field_that_is_owned_but_wanted_no_more_must_go():
    fields = copy.deepcopy(FIELDS)
    fields["f:spec"]["f:replicas"] = {}
    assert not managed_fields.owns_exactly(WANTED, live(fields), MANAGER)


def test_a_field_that_is_wanted_but_not_owned_must_be_taken():
    fields = copy.deepcopy(FIELDS)
    del fields["f:metadata"]
    assert not managed_fields.owns_exactly(WANTED, live(fields), MANAGER)


def test_an_empty_map_does_not_hide_owned_content():
    fields = copy.deepcopy(FIELDS)
    volume = fields["f:spec"]["f:template"]["f:spec"]["f:volumes"]['k:{"name":"scratch"}']
    volume["f:emptyDir"] = {"f:medium": {}}
    changed = live(fields, lambda o: o["spec"]["template"]["spec"]["volumes"][0]["emptyDir"].update(medium="Memory"))
    assert not managed_fields.owns_exactly(WANTED, changed, MANAGER)


def test_order_of_a_keyed_list_counts():
    wanted = copy.deepcopy(WANTED)
    fields = copy.deepcopy(FIELDS)
    containers = fields["f:spec"]["f:template"]["f:spec"]["f:containers"]
    containers['k:{"name":"other"}'] = {".": {}, "f:name": {}}
    both = live(fields, lambda o: o["spec"]["template"]["spec"]["containers"].append({"name": "other"}))
    wanted["spec"]["template"]["spec"]["containers"].append({"name": "other"})
    assert managed_fields.owns_exactly(wanted, both, MANAGER)
    wanted["spec"]["template"]["spec"]["containers"].reverse()
    assert not managed_fields.owns_exactly(wanted, both, MANAGER)


def test_fields_of_another_manager_are_left_to_it():
    hook = {
        "webhooks": [
            {
                "name": "a.istio.io",
                "failurePolicy": "Ignore",
                "clientConfig": {"service": {"name": "istiod"}, "caBundle": ""},
            }
        ]
    }
    fields = {"f:webhooks": {'k:{"name":"a.istio.io"}': {"f:failurePolicy": {}, "f:clientConfig": {"f:caBundle": {}}}}}
    seen = {"metadata": {"managedFields": [{"manager": "pilot-discovery", "operation": "Update", "fieldsV1": fields}]}}
    left = managed_fields.without_fields_of(hook, seen, frozenset({"pilot-discovery"}))
    assert left == {"webhooks": [{"name": "a.istio.io", "clientConfig": {"service": {"name": "istiod"}}}]}
    assert managed_fields.without_fields_of(hook, seen, frozenset({"somebody"})) == hook


def test_an_empty_value_that_the_server_does_not_keep_is_owned_all_the_same():
    live = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "a",
            "managedFields": [
                {"manager": MANAGER, "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {}}}
            ],
        },
    }
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert managed_fields.owns_exactly({**bare, "data": None}, live, MANAGER)
    assert not managed_fields.owns_exactly(bare, live, MANAGER), "the server would note that it is owned no more"
    for other in ({}, [], "", 0, False):
        assert not managed_fields.owns_exactly({**bare, "data": other}, live, MANAGER), (
            "of which type it was cannot be seen, and the server refuses all others"
        )


@pytest.mark.parametrize(
    ("value", "equal"), [({}, True), (None, True), ("", False), ([], False), (False, False), ({"a": "b"}, False)]
)
def test_of_a_key_with_one_type_the_empty_value_is_known(value, equal):
    live = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "a",
            "managedFields": [
                {
                    "manager": MANAGER,
                    "operation": "Apply",
                    "apiVersion": "v1",
                    "fieldsV1": {"f:metadata": {"f:labels": {}}},
                }
            ],
        },
    }
    assert (
        managed_fields.owns_exactly(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": value}}, live, MANAGER
        )
        is equal
    )


def test_an_empty_map_is_not_what_is_owned_as_a_whole():
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "a"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}},
    }
    entry = {
        "manager": MANAGER,
        "operation": "Apply",
        "apiVersion": "networking.k8s.io/v1",
        "fieldsV1": {"f:spec": {"f:podSelector": {}}},
    }
    live = {**policy, "metadata": {"name": "a", "managedFields": [entry]}}
    assert managed_fields.owns_exactly(policy, live, MANAGER)
    assert not managed_fields.owns_exactly({**policy, "spec": {"podSelector": {}}}, live, MANAGER), (
        "it would select every pod"
    )


def test_an_object_that_need_only_be_there_is_as_wanted():
    wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    live = {
        **wanted,
        "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}},
        "spec": {"finalizers": ["kubernetes"]},
    }
    assert managed_fields.owns_exactly(wanted, live, "servicemesh.istio")
    for more in ({"labels": {"a": "b"}}, {"labels": {}}):
        assert not managed_fields.owns_exactly(
            {**wanted, "metadata": {"name": "shop", **more}}, live, "servicemesh.istio"
        )
    assert not managed_fields.owns_exactly({**wanted, "spec": {}}, live, "servicemesh.istio")
