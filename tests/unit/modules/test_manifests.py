# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from builders import deployment


def config(name="one", namespace="shop", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def actions(result):
    return {row["ref"]["name"]: row["action"] for row in result["objects"]}


def test_create_change_and_delete_each_also_in_check_mode_and_again(run, api):
    steps = [
        ({"definition": [config(a="1")]}, "created"),
        ({"definition": [config(a="2", b="3")]}, "configured"),
        ({"definition": [config(b="3")]}, "configured"),
        ({"definition": [config(b="3")], "state": "absent"}, "pruned"),
    ]
    for options, action in steps:
        before = api.get("ConfigMap", "one", "shop")
        planned = run("manifests", check=True, **options)
        assert (planned["changed"], actions(planned)) == (True, {"one": action})
        assert api.get("ConfigMap", "one", "shop") == before
        done = run("manifests", **options)
        assert (done["changed"], done["diff"]) == (True, planned["diff"])
        again = run("manifests", **options)
        assert (again["changed"], again["diff"]) == (False, [])
        assert "failed" not in again
    assert api.get("ConfigMap", "one", "shop") is None


def test_images_come_from_other_registries_and_with_pull_secrets(run, api):
    options = {
        "definition": [deployment("web", image="web:1"), deployment("gateway", image="auto")],
        "registries": {"*": "m.example.com"},
        "pull_secrets": ["key"],
    }
    run("manifests", **options)
    pods = {name: api.get("Deployment", name, "shop")["spec"]["template"]["spec"] for name in ("web", "gateway")}
    assert {name: pod["containers"][0]["image"] for name, pod in pods.items()} == {
        "web": "m.example.com/library/web:1",
        "gateway": "auto",
    }
    assert pods["web"]["imagePullSecrets"] == [{"name": "key"}]
    assert not run("manifests", **options)["changed"]


def test_a_file_must_be_the_one_that_was_meant(run, api, tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(json.dumps(config(a="1")))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for wanted, code in (("0" * 64, "checksum"), ("sha256:0", "invalid_option")):
        refused = run("manifests", src=str(path), checksum=wanted)
        assert refused["failure"]["code"] == code and api.requests == []
    assert "is a folder" in run("manifests", src=str(tmp_path), checksum=digest)["msg"] and api.requests == []
    assert (
        run("manifests", src=str(path), checksum=f"sha256:{digest.upper()}")["changed"]
        and not run("manifests", src=str(path), checksum=digest)["changed"]
    )


def test_a_folders_list_for_a_program_is_no_object(run, tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [one.yaml]")
    (tmp_path / "one.yaml").write_text(json.dumps(config(a="1")))
    assert actions(run("manifests", src=str(tmp_path))) == {"one": "created"}


def test_a_registry_that_is_none_is_refused_before_anything_is_asked(run, api):
    result = run("manifests", definition=config(), registries={"docker.io": "mirror:1.2/"})
    assert (
        result["failure"]["code"] == "invalid_option"
        and "'mirror:1.2/' is not a valid registry" in result["msg"]
        and api.requests == []
    )


def test_a_field_left_out_is_deleted(run, api):
    run("manifests", definition=[config(a="1", b="2")])
    run("manifests", definition=[config(b="2")])
    assert api.get("ConfigMap", "one", "shop")["data"] == {"b": "2"}


def test_the_diff_holds_only_what_changes(run):
    run("manifests", definition=[config(a="1", b="2")])
    result = run("manifests", definition=[config(a="1", b="3")])
    assert result["diff"][0]["before"] == "data:\n  b: '2'\n"
    assert result["diff"][0]["after"] == "data:\n  b: '3'\n"


def test_nothing_to_change_asks_the_server_for_nothing_but_lists(run, api):
    objects = [config(f"m{number}", a="1") for number in range(5)]
    run("manifests", definition=objects)
    api.requests.clear()
    result = run("manifests", definition=objects)
    assert result["summary"] == {
        "created": 0,
        "configured": 0,
        "recreated": 0,
        "unchanged": 5,
        "pruned": 0,
        "failed": 0,
        "dry_runs": 0,
    }
    assert [path for _method, path in api.requests if path not in ("/api", "/apis")] == [
        "/api/v1/namespaces/shop/configmaps"
    ]


def test_another_managers_field_is_a_conflict_that_names_it(run, api):
    api.put(config(a="theirs"), manager="kiali")
    result = run("manifests", definition=[config("two", a="1"), config(a="ours")])
    assert result["failure"]["code"] == "conflict"
    assert "ConfigMap shop/one .data.a is owned by kiali" in result["msg"]
    assert api.get("ConfigMap", "two", "shop") is None, "nothing may be written before a conflict is told"
    forced = run("manifests", definition=[config(a="ours")], force_conflicts=True)
    assert forced["changed"] and api.get("ConfigMap", "one", "shop")["data"] == {"a": "ours"}


def test_prune_deletes_only_members_of_the_set(run, api):
    api.put(config("theirs", a="1"))
    run("manifests", definition=[config(a="1"), config("two", a="1")], set="web", namespace="shop")
    result = run("manifests", definition=[config(a="1")], set="web", namespace="shop", prune=True)
    assert actions(result)["two"] == "pruned" and result["summary"]["pruned"] == 1
    assert api.get("ConfigMap", "theirs", "shop") and api.get("ConfigMap", "two", "shop") is None


def test_prune_stops_before_deleting_more_than_the_limit(run, api):
    run(
        "manifests",
        definition=[config(a="1"), config("two", a="1"), config("three", a="1")],
        set="web",
        namespace="shop",
    )
    result = run("manifests", definition=[config(a="1")], set="web", namespace="shop", prune=True, prune_limit=1)
    assert result["failure"]["code"] == "prune_limit"
    assert api.get("ConfigMap", "two", "shop") and api.get("ConfigMap", "three", "shop")


def test_a_set_is_removed_as_a_whole(run, api):
    run("manifests", definition=[config(a="1"), config("two", a="1")], set="web", namespace="shop")
    result = run("manifests", set="web", namespace="shop", state="absent")
    assert result["summary"]["pruned"] == 3
    assert [key for key in api.objects if key[1] == "ConfigMap"] == []


def test_what_needs_a_kind_or_namespace_that_may_still_come_is_a_warning_in_check_mode_only(run, api):
    api.kinds = [kind for kind in api.kinds if kind.kind != "Telemetry"]
    objects = [
        config(namespace="later", a="1"),
        {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": "t", "namespace": "shop"}},
    ]
    planned = run("manifests", check=True, definition=objects)
    assert planned["changed"] and len(planned["warnings"]) == 2
    assert run("manifests", definition=objects[:1])["failure"]["code"] == "namespace_missing"
    assert run("manifests", definition=objects[1:])["failure"]["code"] == "unknown_kind"


def test_secrets_are_hidden_in_the_diff(run):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "shop"},
        "stringData": {"password": "hunter2-hunter2"},
    }
    result = run("manifests", definition=[secret])
    assert "hunter2" not in str(result) and "aHVudGVy" not in str(result)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ([{"kind": "ConfigMap", "metadata": {"name": "x"}}], "has no apiVersion"),
        ([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}], "has no metadata.name"),
        ("a: 1\na: 2\n", "duplicate key 'a'"),
        ("[", "is not valid YAML"),
        ([config(a="1"), config(a="2")], "duplicate object"),
        ([{**config(), "metadata": {"name": "x", "labels": {"on": True}}}], "not a string"),
    ],
)
def test_bad_definitions_name_the_place_and_change_nothing(run, api, definition, words):
    result = run("manifests", definition=definition, namespace="shop")
    assert result["failed"] and result["failure"]["code"] == "invalid_option" and words in result["msg"]
    assert api.writes() == []


def test_a_server_that_does_not_answer_is_unreachable_and_never_absent(run, api):
    api.faults[("GET", "/api")] = [ApiError(0, "Unreachable", "connection refused")] * 9
    assert run("manifests", definition=[config(a="1")], state="absent")["failure"]["code"] == "unreachable"


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_set_without_a_namespace_is_told_that_its_parent_needs_one(run, api, state):
    options = {"definition": config("a", x="1")} if state == "present" else {}
    refused = run("manifests", set="shop", state=state, **options)
    assert refused["failure"]["code"] == "invalid_option" and refused["msg"].startswith(
        "namespace: is required with set"
    )
    assert (
        "the parent of the ApplySet shop needs a namespace" in refused["msg"]
        and "ConfigMap" in refused["failure"]["hint"]
    )
    assert api.writes() == []
