# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result: read off the plan, only of fields that change, with secrets hidden."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import ref_of
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.change import (
    CONFIGURED,
    CREATED,
    FAILED,
    PRUNED,
    UNCHANGED,
    ObjectChange,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.plan import Plan, PlannedStep
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.result import difference, outcome, touched
from builders import config, deployment


def change(obj, action, live=None, planned=None, done=False, **more):
    return ObjectChange(ref_of(obj), "v1", action, obj if action != PRUNED else None, live, planned, done=done, **more)


def plan(*changes, asked=0):
    deletions = [c for c in changes if c.action == PRUNED]
    return Plan([PlannedStep("one", [[c for c in changes if c.action != PRUNED]], deletions, False, None)], asked)


ONE, TWO, THREE = config("one", a="1"), config("two", a="1"), config("three", a="1")


def test_counts_and_rows_are_those_of_the_plan():
    result = outcome(
        [
            plan(
                change(ONE, CREATED, done=True),
                change(TWO, UNCHANGED, TWO, TWO),
                change(THREE, PRUNED, THREE, done=True),
                asked=1,
            )
        ],
        check_mode=False,
    )
    assert result["changed"] and result["summary"] == {
        "created": 1,
        "configured": 0,
        "recreated": 0,
        "unchanged": 1,
        "pruned": 1,
        "failed": 0,
        "dry_runs": 1,
    }
    assert [(row["ref"]["name"], row["action"]) for row in result["objects"]] == [
        ("one", "created"),
        ("two", "unchanged"),
        ("three", "pruned"),
    ]
    assert [part["after_header"] for part in result["diff"]] == [
        "ConfigMap shop/one (created)",
        "ConfigMap shop/three (pruned)",
    ]


def test_several_plans_of_one_call_are_one_result():
    result = outcome(
        [plan(change(ONE, CREATED, done=True), asked=1), plan(change(TWO, PRUNED, TWO, done=True), asked=2)],
        check_mode=False,
    )
    assert (
        result["summary"]["created"],
        result["summary"]["pruned"],
        result["summary"]["dry_runs"],
        len(result["objects"]),
    ) == (1, 1, 3, 2)


def test_check_mode_tells_what_would_change():
    assert outcome([plan(change(ONE, CREATED))], check_mode=True)["changed"]
    assert not outcome([plan(change(ONE, UNCHANGED, ONE, ONE))], check_mode=True)["changed"]


def test_after_a_failure_only_what_was_done_has_changed_anything():
    changes = [change(ONE, CREATED, done=True), change(TWO, FAILED), change(THREE, CREATED)]
    result = outcome([plan(*changes)], check_mode=False, failed=True)
    assert [row["action"] for row in result["objects"]] == ["created", "failed", "pending"] and len(result["diff"]) == 1
    assert result["changed"] and result["summary"]["created"] == 1 and result["summary"]["failed"] == 1
    assert not outcome([plan(change(THREE, CREATED))], check_mode=False, failed=True)["changed"]


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ({"b": 2}, {"b": 3})),
        ({"a": 1}, {"a": 1, "b": 2}, ({}, {"b": 2})),
        ({"a": 1, "b": 2}, {"a": 1}, ({"b": 2}, {})),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}, ({"a": {"y": 2}}, {"a": {"y": 3}})),
        ({"a": None}, {}, ({"a": None}, {})),
        (
            [{"name": "p", "x": 1, "y": 1}, {"name": "q", "x": 1}],
            [{"name": "p", "x": 2, "y": 1}, {"name": "q", "x": 1}],
            ([{"name": "p", "x": 1}], [{"name": "p", "x": 2}]),
        ),
        ([1, 2], [1, 3], ([2], [3])),
        ([1], [1, 2], ([1], [1, 2])),
    ],
)
def test_a_difference_is_cut_down_to_what_differs(before, after, parts):
    assert touched(before, after) == parts


def test_what_servers_write_on_their_own_is_in_no_difference():
    live = {
        **deployment(),
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "resourceVersion": "1",
            "uid": "u",
            "managedFields": [{}],
            "generation": 1,
        },
        "status": {"replicas": 1},
    }
    planned = {
        **deployment(image="web:2"),
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "resourceVersion": "2",
            "uid": "u",
            "managedFields": [],
            "generation": 2,
        },
    }
    found = difference(change(deployment(image="web:2"), CONFIGURED, live, planned))
    assert (
        found["before"]
        == "spec:\n  template:\n    spec:\n      containers:\n      - image: web:1\n        name: server\n"
    )
    assert found["after"] == found["before"].replace("web:1", "web:2")
    assert (found["before_header"], found["after_header"]) == (
        "Deployment shop/web",
        "Deployment shop/web (configured)",
    )


def test_a_new_object_has_no_before_and_a_deleted_one_no_after():
    created, pruned = difference(change(ONE, CREATED)), difference(change(ONE, PRUNED, ONE))
    assert (
        created["before"] == ""
        and created["before_header"] == "ConfigMap shop/one (absent)"
        and "a: '1'" in created["after"]
    )
    assert pruned["after"] == "" and "a: '1'" in pruned["before"]


def test_a_difference_shows_what_the_plan_saw_and_not_what_came_of_it():
    configured = change(config("one", a="2"), CONFIGURED, ONE, config("one", a="2"))
    configured.live = config("one", a="2")
    assert difference(configured)["before"] == "data:\n  a: '1'\n"


def secret(**data):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "shop"},
        "type": "Opaque",
        "data": data,
    }


def test_of_a_secret_only_the_names_are_shown_and_whether_a_value_changes():
    old, new = secret(same="c2FtZQ==", other="b2xk"), secret(same="c2FtZQ==", other="bmV3", more="bW9yZQ==")
    found = difference(change(new, CONFIGURED, old, new))
    assert found["before"] == "data:\n  other: (hidden)\n"
    assert found["after"] == "data:\n  more: (hidden)\n  other: (hidden, another value)\n"
    shown = str(found) + str(difference(change(new, CREATED))) + str(difference(change(old, PRUNED, old)))
    assert not any(value in shown for value in ("c2FtZQ", "b2xk", "bmV3", "bW9yZQ"))
