# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy

import builders
import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine import checkpoint
from builders import actions

CHOICE = {"api_version": "apps/v1", "kind": "Deployment", "namespace": "shop", "selector": "app=web"}
SERVICES = {"api_version": "v1", "kind": "Service", "namespace": "shop", "selector": ""}


def web(image="web:1", name="web"):
    return builders.deployment(name, image=image, labels={"app": "web"})


@pytest.fixture
def taken(run):
    assert run("manifests", definition=[web()])["changed"]
    return run("checkpoint", name="before", objects=[CHOICE, SERVICES], notes={"from": "1-30-4"})


def image(api, name="web"):
    return api.get("Deployment", name, "shop")["spec"]["template"]["spec"]["containers"][0]["image"]


def test_what_was_changed_since_comes_back_and_what_was_made_since_goes(run, api, taken):
    assert taken["changed"] and not taken["found"]
    run("manifests", definition=[web("web:2"), web(name="new"), builders.service("new")])
    planned = run("checkpoint", check=True, name="before", state="restored")
    assert image(api) == "web:2" and planned["diff"]
    done = run("checkpoint", name="before", state="restored")
    assert (
        actions(done) == actions(planned) == {"web": "configured", "new": "pruned"}
        and done["found"]
        and done["notes"] == {"from": "1-30-4"}
    )
    assert (
        image(api) == "web:1"
        and api.get("Deployment", "new", "shop") is None
        and api.get("Service", "new", "shop") is None
    )
    assert not run("checkpoint", name="before", state="restored")["changed"]


def test_a_field_that_was_added_since_goes_again(run, api, taken):
    changed = web()
    changed["spec"]["replicas"] = 3
    run("manifests", definition=[changed])
    run("checkpoint", name="before", state="restored")
    assert "replicas" not in api.get("Deployment", "web", "shop")["spec"]


def test_what_somebody_else_made_since_stays(run, api, taken):
    api.put(web(name="theirs"))
    run("checkpoint", name="before", state="restored")
    assert api.get("Deployment", "theirs", "shop") is not None


def test_what_another_tool_declared_is_kept_and_what_controllers_write_is_not(run, api):
    api.put(web(), manager="istio-operator")
    api.put({**builders.config("tuned"), "data": {"a": "b"}}, manager="some-controller")
    kept = run(
        "checkpoint",
        name="before",
        objects=[CHOICE, {"api_version": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "tuned"}],
    )["kept"]
    assert [ref["kind"] for ref in kept] == ["Deployment"]
    run("manifests", definition=[web("web:2")], force_conflicts=True)
    run("checkpoint", name="before", state="restored")
    assert image(api) == "web:1"


def test_a_checkpoint_that_is_there_is_left_as_it_is(run, api, taken):
    run("manifests", definition=[web("web:2")])
    again = run("checkpoint", name="before", objects=[CHOICE], notes={"from": "elsewhere"})
    assert not again["changed"] and again["found"] and again["notes"] == {"from": "1-30-4"}
    run("checkpoint", name="before", state="restored")
    assert image(api) == "web:1"


def test_absent_forgets_it_and_changes_nothing_else(run, api, taken):
    before = copy.deepcopy(api.get("Deployment", "web", "shop"))
    planned = run("checkpoint", check=True, name="before", state="absent")
    done = run("checkpoint", name="before", state="absent")
    assert planned["changed"] and done["changed"] and not run("checkpoint", name="before", state="absent")["changed"]
    assert api.get("ConfigMap", "before", "istio-system") is None and api.get("Deployment", "web", "shop") == before


def test_the_diff_names_what_is_kept(run):
    run("manifests", definition=[web()])
    assert run("checkpoint", check=True, name="before", objects=[CHOICE])["diff"][0]["after"] == "Deployment shop/web\n"


def test_what_cannot_be_is_refused(run, api, taken):
    assert run("checkpoint", name="nowhere", state="restored")["failure"]["code"] == "no_checkpoint"
    assert not run("checkpoint", check=True, name="nowhere", state="restored")["changed"]
    assert run("checkpoint", name="empty")["failure"]["code"] == "invalid_option"
    api.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys", "namespace": "shop"},
            "data": {"key": "c2VjcmV0"},
        }
    )
    secret = run(
        "checkpoint",
        name="secret",
        objects=[{"api_version": "v1", "kind": "Secret", "namespace": "shop", "name": "keys"}],
    )
    assert (
        secret["failure"]["code"] == "invalid_option"
        and "Secret shop/keys" in secret["msg"]
        and "c2VjcmV0" not in str(secret)
    )
    api.put(builders.config("theirs", "istio-system"))
    assert run("checkpoint", name="theirs", state="absent")["failure"]["code"] == "invalid_option"


def test_one_that_was_edited_by_hand_is_said_to_be_broken_and_can_be_forgotten(run, api, taken):
    api.get("ConfigMap", "before", "istio-system")["data"]["content"] = "H4sI"
    assert run("checkpoint", name="before", state="restored")["failure"]["code"] == "broken_checkpoint"
    assert run("checkpoint", name="before", state="absent")["changed"]


def test_an_empty_value_that_the_server_did_not_keep_is_still_declared(run, api, taken):
    live = copy.deepcopy(api.get("Deployment", "web", "shop"))
    entry = next(item for item in live["metadata"]["managedFields"] if item["manager"] == "servicemesh.istio")
    entry["fieldsV1"]["f:spec"]["f:strategy"] = {}
    assert checkpoint.declared(live)["spec"]["strategy"] is None
