# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself, on a second cluster beside the first: it comes, is found again, repairs itself, and goes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from playbook_runner import SECOND, Lab, examples, second_lab

pytestmark = pytest.mark.long


def docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=120, check=True
    ).stdout.strip()


def test_a_second_lab_beside_the_first_comes_and_goes(second: str, lab: Lab) -> None:
    assert "answers (" in second_lab("status")
    assert docker("inspect", "-f", "{{.State.Running}}", second) == "true"
    assert "servicemesh-lab-control-plane" in lab.kubectl("get", "nodes")


def test_a_lab_that_is_up_is_left_as_it_is(second: str) -> None:
    before = docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", second)
    second_lab("up")
    assert docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", second) == before


def test_a_node_that_died_comes_back_as_the_same_cluster(second: str) -> None:
    before = docker("inspect", "-f", "{{.Id}}", second)
    docker("kill", second)
    second_lab("up")
    assert docker("inspect", "-f", "{{.Id}} {{.State.Running}}", second) == f"{before} true"


def test_a_cluster_without_the_mark_is_replaced_only_by_the_one_of_its_name(second: str) -> None:
    from lab import settings

    kubeconfig = settings.CACHE / f"{SECOND}.kubeconfig"
    before = docker("inspect", "-f", "{{.Id}}", second)
    subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), "-n", "kube-system", "delete", "configmap", settings.MARK],
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": f"{settings.programs()}:{os.environ['PATH']}"},
    )
    assert "stale or broken" in second_lab("up")
    assert docker("inspect", "-f", "{{.Id}}", second) != before


def test_the_examples_of_the_control_plane_run_from_an_empty_cluster_to_an_empty_cluster(
    elsewhere: Lab, tmp_path: Path
) -> None:
    playbook = tmp_path / "examples.yml"
    playbook.write_text(examples("control_plane"))
    played = elsewhere.play(playbook, "-e", "@tests/lab/vars.yml").ok()
    first, taken, last = played.of("control_plane")
    assert (
        taken["changed"]
        and first["summary"]["created"] > 30
        and last["summary"]["pruned"] >= first["summary"]["created"]
    )


def test_half_of_a_program_is_never_used(lab: Lab) -> None:
    from lab import programs

    program = programs.PROGRAMS["standin"]
    whole = program.path.read_bytes()
    half = program.path.with_name(f".{program.path.name}.half")
    program.path.unlink()
    half.write_bytes(whole[: len(whole) // 2])
    program.build()
    assert program.path.stat().st_size == len(whole) and not half.exists()
