# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks in the guides are tasks that would run, and codes and options that they speak of are there."""

from __future__ import annotations

import re

import pytest
import yaml
from collection import MODULES, ROLES, ROOT, arguments, calls, load, tasks, wrong_options

GUIDES = sorted((ROOT / "docs").glob("*.md"))
UNINSTALL = (ROOT / "docs/uninstall.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_tasks_of_a_guide_would_run(path):
    blocks = [
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    ]
    for block in [block for block in blocks if isinstance(block, list)]:
        assert all(task.get("name") for task in tasks(block))
        for name, options in calls(block):
            assert wrong_options(name, options) == []
        for task in tasks(block):
            role = task.get("ansible.builtin.include_role", {}).get("name", "").rpartition(".")[2]
            if role in ROLES:
                assert set(task.get("vars") or {}) <= set(load(f"roles/{role}/defaults/main.yml"))
        for play in [play for play in block if "roles" in play]:
            known = {
                name
                for role in play["roles"]
                for name in load(f"roles/{role['role'].rpartition('.')[2]}/defaults/main.yml")
            } | set(load("roles/release/defaults/main.yml"))
            assert {
                *(play.get("vars") or {}),
                *(name for role in play["roles"] for name in role.get("vars") or {}),
            } <= known


def test_the_readme_names_all_that_there_is():
    rows = re.findall(
        r"^\| (?:\[(\w+)\]\((\w+)|`(\w+)`)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    playbooks = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    assert sorted(name for name, folder, _module in rows if folder == "roles") == sorted(ROLES)
    assert sorted(name for name, folder, _module in rows if folder == "playbooks") == [
        name for name in playbooks if name != "bootstrap"
    ]
    plugins = [
        path.stem for kind in ("callback", "filter", "inventory") for path in (ROOT / "plugins" / kind).glob("*.py")
    ]
    assert {module for _name, _folder, module in rows} >= {*MODULES, *plugins}


def test_links_of_the_pages_lead_somewhere():
    for page in [
        *GUIDES,
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "roles").glob("*/README.md"),
        *(ROOT / "examples").glob("*/README.md"),
    ]:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(#[\w-]+)?\)", text):
            place = (page.parent / target) if target else page
            assert place.exists(), f"{page.name} leads to {target}"
            if anchor:
                heads = [
                    re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-")
                    for head in re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
                ]
                assert anchor[1:] in heads, f"{page.name} leads to {target}{anchor}"


@pytest.mark.parametrize(
    "code",
    [
        "would_be_lost",
        "revision_in_use",
        "not_ours",
        "unknown_kind",
        "namespace_missing",
        "other_cluster",
        "backup_incomplete",
    ],
)
def test_codes_of_the_guide_are_codes_of_ours(code):
    assert f"`{code}`" in UNINSTALL
    assert any(
        f'"{code}"' in path.read_text(encoding="utf-8") for path in (ROOT / "plugins/module_utils/_istio").rglob("*.py")
    )


def test_options_of_the_guide_are_options_of_ours():
    assert {"delete_crds", "delete_namespace", "delete_in_use", "purge"} <= set(arguments("control_plane"))
    assert all(
        f"`{name}`" in UNINSTALL or f"`{name}: true`" in UNINSTALL
        for name in ("purge", "delete_crds", "delete_in_use", "to_other_cluster", "force_conflicts")
    )
