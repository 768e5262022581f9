# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interrupted is safe: wherever a run is killed, the next one ends where an undisturbed one would have."""

from __future__ import annotations

import copy

import pytest
from builders import config, deployment, namespace, pod, service
from memory_api import MemoryApi


class Killed(BaseException):
    """No `except Exception` may swallow it: the process is gone."""


class Fragile:
    """An API whose caller dies at its nth write, before or after the server has done it, and with it all that it had
    under way.
    """

    def __init__(self, api, number, after):
        self.api, self.left, self.after, self.dead = api, number, after, False

    def __getattr__(self, name):
        return getattr(self.api, name)

    def request(self, method, path, query=None, *rest, **more):
        if self.dead:
            raise Killed
        if method in ("PATCH", "DELETE") and not (query or {}).get("dryRun"):
            self.left -= 1
            if self.left == 0:
                self.dead = True
                if self.after:
                    self.api.request(method, path, query, *rest, **more)
                raise Killed
        return self.api.request(method, path, query, *rest, **more)


def fresh():
    api = MemoryApi(namespace("istio-system"), namespace("shop"))
    api.put(service("frontend"))
    for version in ("v1", "v2"):
        api.put(pod(f"frontend-{version}", labels={"app": "frontend", "version": version}))
    return api


def state(api):
    """What is there, less the marks of when it was written."""
    found = copy.deepcopy(api.objects)
    for obj in found.values():
        for mark in ("uid", "resourceVersion", "generation"):
            obj["metadata"].pop(mark, None)
        obj.pop("status", None)
    return found


def web(*names, image="web:1"):
    return [namespace("web"), *(config(name, "web", x="1") for name in names), deployment("web", "web", image)]


SET = {"set": "web", "namespace": "shop", "prune": True}
SPLIT = {"service": "frontend", "namespace": "shop"}
# (module, options of the run before, options of the run that is killed)
STORIES = {
    "a set is created": ("manifests", None, {"definition": web("a", "b"), **SET}),
    "a set changes and is pruned": (
        "manifests",
        {"definition": web("a", "b"), **SET},
        {"definition": web("b", "c", image="web:2"), **SET},
    ),
    "a set is pruned to another kind and place": (
        "manifests",
        {"definition": web("a"), **SET},
        {"definition": [service("only", "istio-system")], **SET},
    ),
    "a set is removed": (
        "manifests",
        {"definition": web("a", "b"), **SET},
        {"set": "web", "namespace": "shop", "state": "absent"},
    ),
    "a split is created": ("traffic_split", None, {**SPLIT, "versions": {"v1": 90, "v2": 10}}),
    "a version takes the place of another": (
        "traffic_split",
        {**SPLIT, "versions": {"v1": 1}},
        {**SPLIT, "versions": {"v2": 1}},
    ),
    "a namespace is enrolled": ("namespace", None, {"name": "shop", "injection": "enabled"}),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_a_run_that_was_killed_at_any_write_is_finished_by_the_next(runner, story, after):
    module, before, options = story

    def begun():
        api = fresh()
        if before:
            runner(api, module, **before)
        api.requests.clear()
        return api

    undisturbed = begun()
    assert runner(undisturbed, module, **options)["changed"]
    writes = len(undisturbed.writes())
    assert writes
    for number in range(1, writes + 1):
        api = begun()
        with pytest.raises(Killed):
            runner(Fragile(api, number, after), module, **options)
        assert "failed" not in runner(api, module, **options), number
        assert state(api) == state(undisturbed), f"killed at write {number} of {writes}"
        assert not runner(api, module, **options)["changed"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_a_killed_run_has_made_is_known_to_the_one_that_removes_it(runner, after):
    undisturbed = fresh()
    runner(undisturbed, "manifests", definition=web("a", "b"), **SET)
    for number in range(1, len(undisturbed.writes()) + 1):
        api = fresh()
        with pytest.raises(Killed):
            runner(Fragile(api, number, after), "manifests", definition=web("a", "b"), **SET)
        assert "failed" not in runner(api, "manifests", set="web", namespace="shop", state="absent")
        left = {kind for _group, kind, place, _name in api.objects if place == "web"} | {
            name for _group, _kind, place, name in api.objects if place == "shop" and name == "web"
        }
        assert left == set(), f"killed at write {number}"
