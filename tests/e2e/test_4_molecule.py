# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecule's scenarios in a clean clone, what they do when a role is wrong, and the guide for other people's roles."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playbook_runner import BIN, ROOT, Lab

SCENARIOS = sorted(
    path.parent.name for path in (ROOT / "extensions/molecule").glob("*/molecule.yml") if path.parent.name != "default"
)
# The quickest that show the most, on every commit.
CORE = ("namespaces", "release")
STEPS = ("prepare", "check", "converge", "idempotence", "verify", "side_effect", "cleanup")
GUIDE = (ROOT / "docs/testing-your-roles.md").read_text(encoding="utf-8")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@dataclass
class Molecule:
    """Molecule in a clean clone. It must find the lab by itself, whatever the environment says."""

    lab: Lab
    clone: Path
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        lost = {
            "K8S_AUTH_HOST": "http://127.0.0.1:1",
            "K8S_AUTH_CONTEXT": "nowhere",
            "KUBECONFIG": "/nonexistent/never-used",
        }
        kept = {
            name: value
            for name, value in self.lab.environment.items()
            if not name.startswith("LAB_") or name in os.environ
        }
        return {**kept, **lost, "MOLECULE_EPHEMERAL_DIRECTORY": str(self.state), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def __call__(self, *arguments: str, timeout: float = 900, **more: str) -> tuple[int, str]:
        argv = [str(BIN / "molecule"), *arguments, "--no-command-borders"]
        done = subprocess.run(
            argv,
            cwd=self.clone,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, plain(done.stdout + done.stderr)

    def left(self) -> str:
        return "".join(
            name for name in self.lab.kubectl("get", "namespaces", "-o", "name").splitlines() if "molecule-" in name
        )


@pytest.fixture(scope="module")
def molecule(mesh: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Molecule]:
    folder = tmp_path_factory.mktemp("molecule")
    clone = folder / "any name"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # With what is not yet committed.
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name, follow_symlinks=False)
    before = mesh.kubectl("get", "pods", "-A", "-l", "app in (istiod, istio-ingressgateway, frontend)", "-o", "name")
    yield Molecule(mesh, clone, folder / "state")
    assert (
        mesh.kubectl("get", "pods", "-A", "-l", "app in (istiod, istio-ingressgateway, frontend)", "-o", "name")
        == before
    ), "the lab's own mesh is as it was"


@pytest.mark.parametrize(
    "scenario", [pytest.param(name, marks=[] if name in CORE else pytest.mark.long) for name in SCENARIOS]
)
def test_a_scenario_passes_in_a_clean_clone_and_leaves_nothing(molecule: Molecule, scenario: str) -> None:
    status, text = molecule("test", "-s", scenario)
    assert status == 0, text[-6000:]
    for step in STEPS:
        if step != "side_effect" or (ROOT / "extensions/molecule" / scenario / "tasks/side_effect.yml").exists():
            assert re.search(rf"\b{scenario} ➜ {step}: Executed: Successful", text), f"{step}: {text[-3000:]}"
    assert "Verify that check mode wrote nothing" in text
    assert molecule.left() == ""


@pytest.mark.long
def test_a_scenario_that_is_not_idempotent_fails_and_shows_what_was_there_before_it_cleans_up(
    molecule: Molecule,
) -> None:
    scenario = molecule.clone / "extensions/molecule/namespaces"
    before = {path: path.read_text() for path in (scenario / "tasks/converge.yml", scenario / "molecule.yml")}
    (scenario / "tasks/converge.yml").write_text(
        before[scenario / "tasks/converge.yml"]
        + "\n- name: Never the same\n  ansible.builtin.command: date\n  changed_when: true\n"
    )
    (scenario / "molecule.yml").write_text("scenario: {test_sequence: [prepare, converge, idempotence]}\n")
    try:
        status, text = molecule("test", "-s", "namespaces")
    finally:
        for path, content in before.items():
            path.write_text(content)
    assert status != 0 and "Idempotence test failed" in text and "Never the same" in text
    assert (
        "kubectl -n molecule-namespaces get events" in text
        and "kubectl -n istio-system logs" in text
        and "istio-proxy" in text
    )
    assert molecule.left() == ""


@pytest.mark.long
def test_what_a_role_does_not_do_is_seen(molecule: Molecule) -> None:
    """Without its effect a scenario is red: the second version gets no requests."""
    converge = molecule.clone / "extensions/molecule/traffic/tasks/converge.yml"
    before = converge.read_text()
    converge.write_text(before.replace("{v1: 80, v2: 20}", "{v1: 100, v2: 0}"))
    try:
        status, text = molecule("test", "-s", "traffic")
    finally:
        converge.write_text(before)
    assert status != 0 and re.search(r"traffic ➜ verify: Executed: Failed", text), text[-3000:]
    assert molecule.left() == ""


def test_molecule_touches_no_cluster_but_the_labs(molecule: Molecule) -> None:
    status, text = molecule("verify", "-s", "namespaces", LAB_NAME="nowhere", KUBECONFIG=str(molecule.lab.kubeconfig))
    assert status != 0 and "nowhere is not up" in " ".join(text.split())


def test_every_command_of_the_guide_is_run_by_a_test() -> None:
    once, whole, steps = re.findall(r"```shell\n(.*?)```", GUIDE, re.DOTALL)
    # test_5_newcomer has make site, and these tests have an environment of their own.
    assert once.splitlines() == ["make site", 'export SERVICEMESH_ISTIO="$PWD"', ". .venv/bin/activate"]
    assert [line.split()[-1] for line in (whole + steps).splitlines()] == [
        "test",
        "converge",
        "verify",
        "cleanup",
        "reset",
    ]


@pytest.mark.long
def test_the_guide_tests_a_role_of_somebody_else(molecule: Molecule, tmp_path: Path) -> None:
    _, whole, steps = re.findall(r"```shell\n(.*?)```", GUIDE, re.DOTALL)
    shutil.copytree(ROOT / "examples/platform/roles", tmp_path / "roles")
    environment = {
        **molecule.environment,
        "SERVICEMESH_ISTIO": str(molecule.clone),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "state"),
    }
    said = {}
    for command in (whole + steps).splitlines():
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=tmp_path / "roles/shop",
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        said[command.split()[-1]] = plain(done.stdout + done.stderr)
        assert done.returncode == 0, f"{command}: {said[command.split()[-1]][-6000:]}"
    for step in STEPS:
        assert re.search(rf"\bdefault ➜ {step}: Executed: Successful", said["test"]), f"{step}: {said['test'][-3000:]}"
    assert molecule.left() == ""
