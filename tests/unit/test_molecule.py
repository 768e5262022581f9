# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role has a scenario, every scenario all its steps, and the guide for other people's roles shows what is
there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from collection import ROLES, ROOT

MOLECULE = ROOT / "extensions/molecule"
COMMON = MOLECULE / "common"
EXAMPLE = ROOT / "examples/platform/roles/shop/molecule/default"
SCENARIOS = sorted(path.parent.name for path in MOLECULE.glob("*/molecule.yml") if path.parent.name != "default")
GUIDE = (ROOT / "docs/testing-your-roles.md").read_text(encoding="utf-8")
README = (MOLECULE / "README.md").read_text(encoding="utf-8")
# What cleanup and the needs of a scenario are made of.
INNER = {"cleanup", "collect", "gone", "istio"}


def steps(folder):
    return {path.stem for path in (folder / "tasks").glob("*.yml")}


def variables(**more):
    """What the inventory says, as Ansible has it."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MOLECULE_", "LAB_", "K8S_AUTH_"))
    }
    argv = [
        str(Path(sys.executable).parent / "ansible-inventory"),
        "--inventory",
        str(MOLECULE / "inventory"),
        "--list",
    ]
    done = subprocess.run(argv, env={**environment, **more}, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)["_meta"]["hostvars"]["localhost"]


def test_every_role_has_a_scenario():
    assert set(SCENARIOS) == {*ROLES, "control_plane_helm"}


@pytest.mark.parametrize(
    "folder",
    [*(MOLECULE / name for name in SCENARIOS), EXAMPLE],
    ids=lambda folder: folder.parent.name + "-" + folder.name,
)
def test_a_scenario_has_every_step(folder):
    assert {"converge", "untouched", "verify"} <= steps(folder)
    own = (yaml.safe_load((folder / "molecule.yml").read_text(encoding="utf-8")).get("scenario") or {}).get(
        "test_sequence"
    )
    assert ("side_effect" in steps(folder)) == (own is None), "what is left out of the sequence is not there"


def test_check_mode_comes_before_anything_is_there_and_what_was_disturbed_heals():
    config = yaml.safe_load((MOLECULE / "config.yml").read_text(encoding="utf-8"))
    sequence = [step.rpartition("/")[2] for step in config["scenario"]["test_sequence"]]
    assert sequence == [
        "cleanup",
        "prepare",
        "check",
        "untouched.yml",
        "converge",
        "idempotence",
        "verify",
        "side_effect",
        "converge",
        "verify",
        "cleanup",
    ]


def test_no_scenario_has_a_play_of_its_own():
    assert [path for name in SCENARIOS for path in (MOLECULE / name).glob("*.yml") if path.name != "molecule.yml"] == []


def test_the_readme_has_a_row_for_every_scenario():
    assert re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE) == SCENARIOS


def test_the_guide_shows_the_examples_own_tasks():
    converge, verify, needs = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert (EXAMPLE / "tasks/converge.yml").read_text(encoding="utf-8").partition("---\n")[2] == converge
    assert (EXAMPLE / "tasks/verify.yml").read_text(encoding="utf-8").partition("---\n")[2].startswith(verify)
    assert yaml.safe_load(needs) == yaml.safe_load(
        (MOLECULE / "control_plane/molecule.yml").read_text(encoding="utf-8")
    )


def test_the_guide_tells_of_all_shared_tasks_and_of_their_variables():
    rows = dict(re.findall(r"^\| `tasks/(\w+)\.yml` \| .*? \|(.*)\|$", GUIDE, re.MULTILINE))
    assert set(rows) == {path.stem for path in (COMMON / "tasks").glob("*.yml")} - INNER
    templates = "".join(path.read_text(encoding="utf-8") for path in (COMMON / "templates").glob("*.j2"))
    for name, told_by in rows.items():
        text = (COMMON / "tasks" / f"{name}.yml").read_text(encoding="utf-8") + templates
        assert all(variable in text for variable in re.findall(r"molecule_\w+", told_by)), name


def test_a_cluster_that_is_named_gets_official_images_and_the_lab_its_own():
    named, lab = (
        variables(MOLECULE_KUBECONFIG="/some/kubeconfig", K8S_AUTH_CONTEXT="nowhere"),
        variables(LAB_NAME="nowhere"),
    )
    assert named["molecule_up"] and named["molecule_cluster"]["environment"]["KUBECONFIG"] == "/some/kubeconfig"
    assert named["molecule_cluster"]["options"] == {
        "kubeconfig": "/some/kubeconfig",
        **dict.fromkeys(set(named["molecule_cluster"]["options"]) - {"kubeconfig"}),
    }
    # The lab's variables, which know of images that it builds, are of its group.
    assert "lab_images" not in named and "addons_images" not in named and "release_mirror" not in named
    assert "lab_images" in lab and not lab["molecule_up"] and "is not up" in lab["molecule_why"]
    told = {
        name
        for name in re.findall(r"^\| (`molecule_.*?) \|", GUIDE, re.MULTILINE)
        for name in re.findall(r"molecule_\w+", name)
    }
    assert told <= set(named)


def test_a_scenario_without_istio_has_a_cluster_beside_the_labs():
    usual, empty = variables(LAB_NAME="nowhere"), variables(LAB_NAME="nowhere", MOLECULE_NEEDS="empty")
    assert usual["molecule_lab"] == {} and empty["molecule_lab"] == usual["molecule_second"]["environment"]
    assert "nowhere-empty" in empty["molecule_why"]
