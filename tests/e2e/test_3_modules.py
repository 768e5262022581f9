# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module's integration target, and its own examples, on the lab."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import settings
from playbook_runner import ROOT, Lab, command_line, examples

pytestmark = pytest.mark.long

TARGETS = sorted(path.name for path in (ROOT / "tests/integration/targets").iterdir())
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py") if path.stem != "__init__")
# They run in this order, for some rest on what the ones before left.
EXAMPLES = [
    "release",
    "images_info",
    "manifests",
    "namespace",
    "mesh_info",
    "mesh_check",
    "preflight",
    "revision_tag",
    "traffic_split",
    "route",
    "fault",
    "resilience",
    "load_balancing",
    "traffic",
    "proxy_status",
    "traffic_rollback",
    "authorization",
    "gateway",
    "mtls",
    "jwt",
    "egress",
    "sidecar",
    "telemetry",
    "backup",
    "restore",
    "probe",
    "proxy_log",
    "dashboard",
    "addons",
    "restart",
    "checkpoint",
    "webhooks",
]
# Its example ends with the whole mesh gone: that is for a cluster of its own.
ELSEWHERE = {"control_plane": "test_6_lab"}


def test_every_module_has_its_target_and_its_examples_are_run() -> None:
    assert TARGETS == MODULES
    assert sorted([*EXAMPLES, *ELSEWHERE]) == MODULES


@pytest.mark.parametrize("target", TARGETS)
def test_the_integration_target_passes(mesh: Lab, target: str) -> None:
    if target == "release":
        command_line("add", f"istio-{settings.PREVIOUS_ISTIO}")
    mesh.play("tests/integration/run.yml", "-e", f"target={target}").ok()


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_of_the_documentation_run(mesh: Lab, module: str, tmp_path: Path) -> None:
    playbook = tmp_path / "examples.yml"
    playbook.write_text(examples(module))
    played = mesh.play(playbook, "-e", "@tests/lab/vars.yml", "-e", "lab_releases={{ release_mirror }}").ok()
    assert played.of(module)


def test_the_site_is_as_it_was_after_all_of_that(mesh: Lab) -> None:
    mesh.site().ok()
    assert mesh.site().ok().changed == []
