# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which the lab is built, and what happens when a step fails or a run is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from lab import plan, programs, settings, shell, steps, store  # noqa: E402
from lab.shell import LabError  # noqa: E402
from lab.steps import Step  # noqa: E402


def test_steps_run_in_order_and_independent_ones_side_by_side(tmp_path: Path, capsys: Any) -> None:
    both, order = threading.Barrier(2, timeout=20), []
    run = [
        Step("last", lambda: order.append("last"), ("left", "right")),
        Step("left", both.wait),
        Step("right", both.wait),
    ]
    steps.execute(run, tmp_path / "durations.json")
    assert order == ["last"]
    text = capsys.readouterr().err
    assert "step 3 of 3: last: started at " in text and "step 3 of 3: last: done in 0 s" in text


def test_a_step_that_is_not_needed_is_neither_run_nor_counted_and_still_orders_the_others(
    tmp_path: Path, capsys: Any
) -> None:
    order: list[str] = []
    run = [
        Step("first", lambda: order.append("first")),
        Step("between", lambda: order.append("between"), ("first",), needed=False),
        Step("last", lambda: order.append("last"), ("between", "a step of another plan")),
    ]
    steps.execute(run, tmp_path / "durations.json")
    assert order == ["first", "last"] and "of 2: last" in capsys.readouterr().err


def test_a_step_tells_how_long_it_took_the_last_time(tmp_path: Path, capsys: Any) -> None:
    record = tmp_path / "durations.json"
    record.write_text(json.dumps({"known": 123.4}), encoding="utf-8")
    steps.execute([Step("known", lambda: None, seconds=7), Step("new", lambda: None, seconds=7)], record)
    text = capsys.readouterr().err
    assert "known: started at " in text and "takes about 123 s" in text and "takes about 7 s" in text
    assert json.loads(record.read_text(encoding="utf-8"))["known"] < 1, "the newest duration is kept"


def test_a_record_that_was_cut_off_is_ignored(tmp_path: Path) -> None:
    record = tmp_path / "durations.json"
    record.write_text('{"known": 12', encoding="utf-8")
    steps.execute([Step("known", lambda: None)], record)
    assert set(json.loads(record.read_text(encoding="utf-8"))) == {"known"}


def test_the_first_failure_ends_the_other_programs_and_no_step_after_it_runs(tmp_path: Path) -> None:
    begun, order = threading.Event(), []

    def fail() -> None:
        begun.wait(20)
        raise LabError("no space left")

    def build() -> None:
        begun.set()
        with pytest.raises(LabError, match="sleep 60 failed|another step failed"):
            shell.run("sleep", "60")
        order.append("ended")

    run = [Step("fails", fail), Step("builds", build), Step("after", lambda: order.append("after"), ("fails",))]
    with pytest.raises(LabError, match="no space left"):
        steps.execute(run, tmp_path / "durations.json")
    assert order == ["ended"]
    assert shell.run("echo", "on") == "on\n", "the next plan starts programs again"


def test_every_step_of_the_lab_names_steps_that_exist(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(plan.engine, "answers", lambda: False)
    monkeypatch.setattr(plan.engine, "missing_packages", lambda: ["docker.io"])
    found = plan.lab()
    names = [step.name for step in found]
    assert len(set(names)) == len(names)
    assert {name for step in found for name in step.after} <= set(names)
    before = {step.name: steps._before(step, found) for step in found}
    loads = [step.name for step in found if step.needed and step.name.startswith("load ")]
    assert (
        all(plan.CLUSTER in before[name] and plan.DEBIAN in before[plan.CLUSTER] for name in loads) and len(loads) == 4
    )
    builds = [name for name in names if name.startswith("build ") and " image" not in name]
    assert len(builds) == 5
    assert all(first in before[second] for first, second in zip(builds, builds[1:])), "one `go build` at a time"


def test_the_lab_builds_neither_helm_nor_the_previous_release(monkeypatch: Any) -> None:
    asked: list[str] = []
    monkeypatch.setattr(plan.engine, "answers", lambda: False)
    monkeypatch.setattr(plan.programs, "missing", asked.extend)
    plan.lab()
    built = set(asked)
    assert "kube-apiserver" in built and f"istioctl-{settings.DEFAULT_ISTIO}" in built
    assert not built & {"helm3", "helm4", "proxies", f"istioctl-{settings.PREVIOUS_ISTIO}"}
    for extra in plan.EXTRAS:
        plan.extra(extra)
    assert {"helm3", "helm4", f"istioctl-{settings.PREVIOUS_ISTIO}"} <= set(asked)


def test_a_file_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "program"
    half = tmp_path / ".program.half"
    half.write_text("hal", encoding="ascii")
    store.kept(target, lambda path: path.write_text("whole", encoding="ascii") and None)
    assert target.read_text(encoding="ascii") == "whole" and not half.exists()


def test_two_processes_make_a_file_once(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(ROOT / "tests")!r})
import time
from pathlib import Path
from lab import store
def make(path):
    open({str(tmp_path / "made")!r}, 'a').write('x'); time.sleep(1); path.write_text('whole')
store.kept(Path({str(tmp_path / "program")!r}), make)
"""
    both = [subprocess.Popen([sys.executable, "-c", code]) for _attempt in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (tmp_path / "made").read_text(encoding="ascii") == "x"


def test_a_build_ends_with_the_run_that_started_it(tmp_path: Path) -> None:
    """A run that is killed leaves no build behind, which the next one would race with."""
    build = f"shell.run(*shell.bound('sh', '-c', 'echo $$ > {tmp_path}/id; exec sleep 60'))"
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); from lab import shell; {build}"
    process = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "id").exists() or not (tmp_path / "id").read_text(encoding="ascii"):
        assert process.poll() is None
    child = int((tmp_path / "id").read_text(encoding="ascii"))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    for _attempt in range(200):
        status = Path(f"/proc/{child}/status")
        if not status.exists() or "State:\tZ" in status.read_text(encoding="ascii"):
            break
        threading.Event().wait(0.05)
    else:
        pytest.fail("the build goes on")


def test_what_no_run_has_used_for_a_while_is_deleted(tmp_path: Path) -> None:
    old, new, tree = tmp_path / "old", tmp_path / "new", tmp_path / "tree"
    tree.mkdir()
    for path in (old, new):
        path.write_text("", encoding="ascii")
    for path in (old, tree):
        os.utime(path, (0, 0))
    assert store.prune(tmp_path, 14) == ["old", "tree"] and [path.name for path in tmp_path.iterdir()] == ["new"]
    assert store.used(new) and not store.used(old)


def test_the_name_of_a_program_follows_from_its_package_and_its_key_from_its_module() -> None:
    program = programs.PROGRAMS["etcd"]
    assert (
        program.output == "server"
        and programs.PROGRAMS["cni-bridge"].output == "bridge"
        and programs.PROGRAMS["jaeger"].output == "jaeger"
    )
    keys = {program.identity.rpartition("-")[2] for program in programs.PROGRAMS.values()}
    assert len(keys) == len(programs.PROGRAMS)
