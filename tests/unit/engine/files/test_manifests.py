# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests as users have them: in place, in files and folders, in lists."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.files import manifests
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import flatten, normalized
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from builders import actions, config

TEXT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\n"


def names(result):
    return list(actions(result))


@pytest.mark.parametrize(
    "definition",
    [
        config("a"),
        [config("a")],
        TEXT % "a",
        "---\n" + TEXT % "a" + "---\n# nothing\n---\n",
        [config("a"), None],
        {"apiVersion": "v1", "kind": "List", "items": [config("a")]},
        [
            {
                "apiVersion": "v1",
                "kind": "ConfigMapList",
                "items": [{"apiVersion": "v1", "kind": "List", "items": [config("a")]}],
            }
        ],
        [[config("a")]],
    ],
)
def test_objects_may_be_given_in_many_forms(run, definition):
    assert names(run("manifests", definition=definition)) == ["a"]


def test_a_folder_is_read_in_order_of_name_and_only_its_manifests(run, tmp_path):
    folder = tmp_path / "manifests"
    (folder / "deeper").mkdir(parents=True)
    for name, content in {
        "2.yml": TEXT % "b",
        "1.yaml": TEXT % "a",
        "3.json": '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}}',
        "README.md": "- no object",
        "deeper/4.yaml": TEXT % "d",
    }.items():
        (folder / name).write_text(content)
    assert names(run("manifests", src=str(folder))) == ["a", "b", "c"]


def test_a_file_is_read_whatever_its_name(run, tmp_path):
    (tmp_path / "manifest.txt").write_text(TEXT % "a" + "---\n" + TEXT % "b")
    assert names(run("manifests", src=str(tmp_path / "manifest.txt"))) == ["a", "b"]


@pytest.mark.parametrize(
    "content", ["a: [", TEXT % "a" + "metadata: {}\n", "just words", "- 1\n", "apiVersion: v1\nkind: ConfigMap\n"]
)
def test_a_bad_file_beside_a_good_one_changes_nothing(run, api, tmp_path, content):
    (tmp_path / "good.yaml").write_text(TEXT % "a")
    (tmp_path / "bad.yaml").write_text(content)
    result = run("manifests", src=str(tmp_path))
    assert result["failure"]["code"] == "invalid_option" and result["msg"].startswith("src") and api.requests == []


def test_a_source_that_is_not_there_is_told(run):
    assert "/nowhere does not exist on the host where this task runs" in run("manifests", src="/nowhere")["msg"]
    result = run("manifests", src="http://127.0.0.1:1/x.yaml")
    assert result["failure"]["code"] == "invalid_option" and "cannot read http://127.0.0.1:1/x.yaml" in result["msg"]


def test_an_equals_sign_is_a_plain_string():
    assert manifests.parse_manifests("a: =", "definition") == [{"a": "="}]


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: {b: 1, b: 2}", "- {a: 1, a: 1}", '"a": 1\na: 2'])
def test_a_key_that_is_there_twice_is_refused_at_every_depth(text):
    with pytest.raises(InvalidOption, match="duplicate key"):
        manifests.parse_manifests(text, "definition")


def test_an_object_in_a_list_is_checked_as_any_other():
    with pytest.raises(InvalidOption, match="document 2"):
        flatten([{"kind": "List", "items": [config("a"), {"kind": "ConfigMap"}]}], "definition")


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a" * 254])
def test_a_name_that_no_server_takes_is_refused(name):
    with pytest.raises(InvalidOption):
        flatten([config(name)], "definition")


def test_what_only_a_server_writes_is_not_sent():
    obj = config("a", x="1")
    obj["metadata"].update(
        uid="u",
        resourceVersion="1",
        managedFields=[],
        creationTimestamp=None,
        generation=1,
        selfLink="/",
        labels={"a": "b"},
    )
    obj["status"] = {"phase": "x"}
    before = {**obj, "metadata": dict(obj["metadata"])}
    assert normalized(obj) == {
        **config("a", x="1"),
        "metadata": {"name": "a", "namespace": "shop", "labels": {"a": "b"}},
    }
    assert obj == before, "the manifest stays as it was"


def test_a_secrets_plain_text_becomes_its_data_and_wins_over_it():
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "eA==", "b": "eA=="},
        "stringData": {"b": "é", "c": 1},
    }
    assert normalized(secret, "shop") == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "shop"},
        "data": {"a": "eA==", "b": "w6k=", "c": "MQ=="},
    }


def test_every_value_of_a_secret_is_known_plain_and_in_base64():
    secret = {"data": {"a": "aHVudGVyMg==", "binary": "//8=", "broken": "?"}, "stringData": {"b": "letmein"}}
    assert manifests.secret_values(secret) == {"aHVudGVyMg==", "hunter2", "//8=", "?", "letmein", "bGV0bWVpbg=="}
