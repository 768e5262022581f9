# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each role does its work with no more than the ClusterRole that playbooks/rbac.yml makes for it. On a cluster of its
own; in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playbook_runner import Lab, account

pytestmark = pytest.mark.long

# Each with a stage of site.yml of its own.
STAGES = ("control_plane", "namespaces", "demo", "addons", "traffic")


@pytest.fixture(scope="module")
def empty(elsewhere: Lab) -> Iterator[Lab]:
    elsewhere.sweep()
    yield elsewhere
    elsewhere.sweep()


def arguments(playbook: str, *stages: str) -> list[str]:
    """The playbook with these stages only."""
    left_out = {f"site_{stage}": False for stage in STAGES if stage not in stages}
    return [
        f"playbooks/{playbook}.yml",
        "-e",
        "@tests/lab/vars.yml",
        "-e",
        json.dumps({**left_out, "site_summary": False}),
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_a_role_needs_no_more_than_its_rights(empty: Lab, stage: str, tmp_path: Path) -> None:
    kubeconfig = account(empty, tmp_path, [stage, "mesh_info"])
    if stage != "control_plane":
        refused = empty.play(*arguments("teardown", "control_plane"), KUBECONFIG=kubeconfig)
        assert refused.status != 0 and "forbidden" in refused.text, "it may not take the control plane away"
    assert empty.play(*arguments("site", stage), KUBECONFIG=kubeconfig).ok().changed
    assert empty.play(*arguments("site", stage), KUBECONFIG=kubeconfig).ok().changed == []


def test_who_may_only_look_sees_all_and_changes_nothing(empty: Lab, tmp_path: Path) -> None:
    kubeconfig = account(empty, tmp_path, ["mesh_info", "mesh_check"])
    seen = empty.module("mesh_info", kubeconfig=kubeconfig)
    assert (
        "failed" not in seen
        and seen["control_planes"]
        and all(seen["control_planes"][0].get(key) is not None for key in ("version", "revision"))
    )
    own = ("cluster", "duration", "invocation")
    assert seen == {**empty.module("mesh_info"), **{key: seen[key] for key in own}}
    assert (
        empty.module("mesh_check", kubeconfig=kubeconfig, fail_on="never")["summary"]["unknown"]
        == empty.module("mesh_check", fail_on="never")["summary"]["unknown"]
    )
    assert empty.module("webhooks", kubeconfig=kubeconfig, state="open", force=True)["failure"]["code"] == "forbidden"


def test_all_of_them_together_take_it_away_again(empty: Lab, tmp_path: Path) -> None:
    kubeconfig = account(empty, tmp_path, [*STAGES, "mesh_info"])
    assert empty.play(*arguments("teardown", *STAGES), KUBECONFIG=kubeconfig).ok().changed
    assert empty.play(*arguments("teardown", *STAGES), KUBECONFIG=kubeconfig).ok().changed == []
