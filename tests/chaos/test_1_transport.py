# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection that breaks and a server that is busy, at every stage of a run: waited out where it passes, told by a
code where it does not.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from objects import actions, code, converges, names, problem, some
from playbook_runner import Lab
from proxy import FOR_EVER, LOSE, RESET, STAGES, STALL, Proxy

NAMES = {"words-a", "words-b", "words-c", "words-d", "web"}


@pytest.mark.parametrize("act", [429, 503, RESET, LOSE], ids=str)
def test_what_passes_is_waited_out_at_every_stage(lab: Lab, proxy: Proxy, namespace: str, act: str | int) -> None:
    rules = {stage: proxy.on(act, pattern, times=2, seconds=1) for stage, pattern in STAGES.items()}
    # Until the server has answered once, two tries are all there are.
    rules["discovery"].nth = 2
    options: dict[str, Any] = {"definition": some(namespace), "kubeconfig": proxy.kubeconfig()}
    done = lab.module("manifests", **options)
    assert code(done) == "", problem(done)
    assert {stage: rule.hits > 0 for stage, rule in rules.items()} == dict.fromkeys(STAGES, True)
    assert set(actions(done).values()) == {"created"} and names(lab, namespace) == NAMES
    proxy.clear()
    again = lab.module("manifests", **options)
    assert (again["changed"], again["diff"]) == (False, []), again


def side_by_side(lab: Lab, folder: Path, stages: list[str], one: Callable[[str, str, Proxy], None]) -> None:
    """one(stage, namespace, proxy) for every stage at once, each with a proxy and a namespace of its own."""

    def run(stage: str) -> None:
        namespace = f"faults-{uuid.uuid4().hex[:8]}"
        place = folder / namespace
        place.mkdir()
        lab.kubectl("create", "namespace", namespace)
        with Proxy(lab.kubeconfig, place) as proxy:
            one(stage, namespace, proxy)
        lab.kubectl("delete", "namespace", namespace, "--wait=false")

    with ThreadPoolExecutor(len(stages)) as pool:
        for future in [pool.submit(run, stage) for stage in stages]:
            future.result()


def test_a_stall_of_half_a_minute_at_any_stage_is_waited_out(lab: Lab, tmp_path: Path) -> None:
    def one(stage: str, namespace: str, proxy: Proxy) -> None:
        rule = proxy.on(STALL, STAGES[stage], seconds=30)
        options: dict[str, Any] = {"definition": some(namespace), "kubeconfig": proxy.kubeconfig()}
        done = lab.module("manifests", **options)
        assert (code(done), rule.hits, done["changed"]) == ("", 1, True), (stage, done)
        assert names(lab, namespace) == NAMES
        proxy.clear()
        assert lab.module("manifests", **options)["changed"] is False

    side_by_side(lab, tmp_path, list(STAGES), one)


@pytest.mark.parametrize("act", [429, 503, RESET], ids=str)
def test_what_does_not_pass_is_told_by_a_code_and_the_next_run_does_the_rest(
    lab: Lab, tmp_path: Path, act: str | int
) -> None:
    def one(stage: str, namespace: str, proxy: Proxy) -> None:
        # The first of several requests gets through, so that something is done which must not be lost.
        rule = proxy.on(act, STAGES[stage], nth=2 if stage in ("dry run", "apply") else 1, times=FOR_EVER, seconds=1)
        options: dict[str, Any] = {"definition": some(namespace), "kubeconfig": proxy.kubeconfig(), "wait_timeout": 90}
        failed = lab.module("manifests", **options)
        assert code(failed) == "unreachable" and rule.hits > 1, (stage, failed)
        done = {
            name for name, action in (actions(failed) if "objects" in failed else {}).items() if action == "created"
        }
        assert done == names(lab, namespace) and failed["changed"] == bool(done), (stage, failed)
        assert stage != "apply" or done, failed
        proxy.clear()
        converges(lab, options)
        assert names(lab, namespace) == NAMES

    side_by_side(lab, tmp_path, ["discovery", "list", "dry run", "apply"], one)


def test_without_any_watch_it_is_looked_at_again_and_again(lab: Lab, proxy: Proxy, namespace: str) -> None:
    rule = proxy.on(503, STAGES["watch"], times=FOR_EVER)
    done = lab.module("manifests", definition=some(namespace), kubeconfig=proxy.kubeconfig())
    assert code(done) == "" and rule.hits > 0, problem(done)
    assert {row["status"] for row in done["objects"]} == {"Current"}


def test_lost_answers_to_deletions_delete_nothing_twice_and_lose_nothing(
    lab: Lab, proxy: Proxy, namespace: str
) -> None:
    options: dict[str, Any] = {"definition": some(namespace), "kubeconfig": proxy.kubeconfig()}
    assert code(lab.module("manifests", **options)) == ""
    rules = [proxy.on(act, r"^DELETE ", nth=nth, times=1, seconds=1) for act, nth in ((LOSE, 1), (429, 3), (RESET, 4))]
    gone = lab.module("manifests", state="absent", **options)
    assert code(gone) == "" and gone["summary"]["pruned"] == len(NAMES), problem(gone)
    assert [rule.hits for rule in rules] == [1, 1, 1] and names(lab, namespace) == set()
    proxy.clear()
    assert lab.module("manifests", state="absent", **options)["changed"] is False


def test_a_cluster_that_never_answers_is_told_at_once(lab: Lab, proxy: Proxy, namespace: str) -> None:
    rule = proxy.on(RESET, "", times=FOR_EVER)
    failed = lab.module("manifests", definition=some(namespace), kubeconfig=proxy.kubeconfig())
    assert code(failed) == "unreachable" and rule.hits == 2, problem(failed)
