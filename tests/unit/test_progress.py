# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting in slices: the module ends each slice with what it waits for, and the slices together say what one run would have said."""

from __future__ import annotations

import re
import sys

import builders
import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.deadline import Deadline
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.pod_failures import (
    FailureTracker,
    PodFailure,
)
from ansible_collections.servicemesh.istio.plugins.plugin_utils.progress import line, together
from memory_api import MemoryApi
from memory_server import kubeconfig, play, serve
from sound_mesh import owned, replica_set


def row(name, action, status=""):
    return {
        "ref": {"group": "", "kind": "ConfigMap", "namespace": "shop", "name": name},
        "action": action,
        "status": status,
        "message": "",
        "conflicts": [],
    }


def answer(*rows, **more):
    summary = {
        word: sum(r["action"] == word for r in rows)
        for word in ("created", "configured", "recreated", "unchanged", "pruned", "failed")
    }
    return {
        "changed": any(r["action"] == "created" for r in rows),
        "objects": list(rows),
        "summary": {**summary, "dry_runs": 1},
        "diff": [],
        "verified": [],
        "duration": {"plan": 0.5},
        **more,
    }


def test_what_the_first_slice_created_stays_created():
    first = answer(
        row("one", "created", "InProgress"), row("two", "pending"), diff=[{"after_header": "one"}], verified=["armed"]
    )
    last = answer(
        row("one", "unchanged", "Current"),
        row("two", "created", "Current"),
        diff=[{"after_header": "two"}],
        version="1.31.0",
    )
    result = together([first, last])
    assert {r["ref"]["name"]: (r["action"], r["status"]) for r in result["objects"]} == {
        "one": ("created", "Current"),
        "two": ("created", "Current"),
    }
    assert (
        result["changed"],
        result["summary"]["created"],
        result["summary"]["unchanged"],
        result["summary"]["dry_runs"],
    ) == (True, 2, 0, 2)
    assert [entry["after_header"] for entry in result["diff"]] == ["one", "two"]
    assert (result["verified"], result["version"], result["duration"]) == (["armed"], "1.31.0", {"plan": 1.0})


def test_a_failure_in_a_later_slice_still_tells_what_was_done_before():
    first = answer(row("one", "created"), row("two", "pending"))
    last = {
        "failed": True,
        "msg": "no",
        "failure": {"code": "image_pull"},
        **answer(row("one", "unchanged"), row("two", "failed")),
    }
    result = together([first, last])
    assert result["failed"] and result["changed"] and result["failure"]["code"] == "image_pull"
    assert (result["summary"]["created"], result["summary"]["failed"]) == (1, 1)


def test_one_slice_is_the_result_itself():
    only = answer(row("one", "created"))
    assert together([only]) is only


def test_a_slice_ends_without_the_deadline_and_the_deadline_counts_all_slices():
    first = Deadline(600, {"seconds": 0.0, "elapsed": 0.0})
    assert first.slice_over and not first.over
    assert Deadline(600, {"seconds": 10.0, "elapsed": 600.0}).over
    assert not Deadline(600).slice_over


def test_patience_goes_on_where_the_slice_before_left_it():
    fault = PodFailure("web-1", "web", "ErrImagePull", "", "image_pull", 30.0)
    now = [100.0]
    first = FailureTracker(clock=lambda: now[0])
    assert not first.exhausted(fault)
    now[0] = 129.0
    assert not FailureTracker(first.export(), clock=lambda: now[0]).exhausted(fault)
    now[0] = 131.0
    assert FailureTracker(first.export(), clock=lambda: now[0]).exhausted(fault)
    assert not FailureTracker(clock=lambda: now[0]).exhausted(fault)


def test_the_module_says_what_it_waits_for_at_the_end_of_its_slice(run):
    definition = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": "shop"},
        "data": {"a": "1"},
    }
    never = [{"kind": "ConfigMap", "query": "data.b"}]
    first = run("manifests", definition=definition, wait_for=never, _progress={"seconds": 0.1, "elapsed": 0.0})
    assert "failed" not in first and first["waiting"]["text"] == "waiting for ConfigMap shop/one: data.b is not true"
    assert first["summary"]["created"] == 1 and first["changed"]
    later = run("manifests", definition=definition, wait_for=never, _progress={"seconds": 0.1, "elapsed": 700.0})
    assert later["failure"]["code"] == "timeout"


def test_a_line_tells_the_host_where_several_wait_at_once():
    assert (
        line({"inventory_hostname": "localhost", "ansible_play_batch": ["localhost"]}, 15.2, "1 of 2 ready")
        == "  15 s: 1 of 2 ready"
    )
    assert (
        line({"inventory_hostname": "prod-eu", "ansible_play_batch": ["prod-eu", "prod-us"]}, 15.2, "1 of 2 ready")
        == "  prod-eu, 15 s: 1 of 2 ready"
    )


OWNED = [
    builders.namespace("shop", **{"istio-injection": "enabled"}),
    builders.deployment("web"),
    replica_set("web-1"),
    owned(builders.pod("web-1-a", labels={"app": "web"}), "apps/v1", "ReplicaSet", "web-1"),
]


@pytest.mark.parametrize(
    ("module", "objects", "options"),
    [
        ("manifests", [builders.namespace("shop")], {"definition": builders.deployment("web")}),
        ("namespace", OWNED, {"name": "shop", "restart_missing_sidecar": True}),
    ],
    ids=["the module of the action plugin's name", "one that meta/runtime.yml leads to it"],
)
def test_a_real_play_shows_what_is_waited_for(tmp_path, module, objects, options):
    task = {"name": "Wait", f"servicemesh.istio.{module}": {**options, "wait_timeout": 3}}
    content = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"servicemesh_progress_seconds": 0.5},
        "tasks": [task],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([content]))
    api = MemoryApi(*objects)
    # Nobody makes it ready.
    del api.controllers["Deployment"]
    with serve(api) as server:
        kubeconfig(tmp_path, server)
        python = f"ansible_python_interpreter={sys.executable}"
        done = play(tmp_path, "play.yml", "-i", "localhost,", "-c", "local", "-e", python)
    assert re.search(r"^  \d+ s: .*Deployment shop/web", done.stdout, re.MULTILINE), done.stdout + done.stderr
