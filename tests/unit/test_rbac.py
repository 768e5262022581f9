# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of rights, its document, and the ClusterRoles that are made of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import rbac
import yaml
from collection import MODULES, ROLES, ROOT

DOCUMENT = ROOT / "docs/rbac.md"
MARKS = "<!-- table -->\n", "<!-- end of table -->"


def documented() -> str:
    rows = ["| for | groups | resources | verbs | why |", "|---|---|---|---|---|"]
    for row in rbac.table()["rbac_table"]:
        groups = ", ".join(group or "core" for group in row["groups"])
        rows.append(
            f"| {', '.join(row['for'])} | {groups} | {', '.join(row['resources'])} | {', '.join(rbac.verbs(row))} |"
            f" {row['why']} |"
        )
    return "\n".join(rows) + "\n"


def made(*arguments: str, folder) -> dict:
    path = folder / "role.yaml"
    argv = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "playbooks/rbac.yml",
        "-e",
        f"rbac_dest={path}",
        *arguments,
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return yaml.safe_load(path.read_text()) if done.returncode == 0 else {"failed": done.stdout + done.stderr}


def test_the_document_shows_the_table():
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = text[text.index(MARKS[0]) + len(MARKS[0]) : text.index(MARKS[1])]
    assert shown == documented()


def test_every_module_has_rights_or_needs_none():
    named = {name for row in rbac.table()["rbac_table"] for name in row["for"]}
    assert named - {"demo"} == set(MODULES) - {"release", "images_info", "manifests"}


def test_each_role_is_said_to_run_the_modules_that_it_runs():
    table = rbac.table()["rbac_modules"]
    assert set(table) == set(ROLES)
    for role in ROLES:
        text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles" / role / "tasks").glob("*.yml"))
        found = set(re.findall(r"servicemesh\.istio\.(\w+):", text)) | {
            name for other in re.findall(r"name: servicemesh\.istio\.(\w+)\n", text) for name in table.get(other, [])
        }
        assert set(table[role]) - found <= {"backup", "webhooks"} and found - set(table[role]) <= {
            "release",
            "images_info",
            "webhooks",
        }, role


def test_a_cluster_role_has_what_its_roles_need_and_no_more(tmp_path):
    rules = made("-e", '{"rbac_for": ["namespaces"]}', "-e", "rbac_name=labels", folder=tmp_path)
    assert rules["metadata"]["name"] == "labels" and rules["kind"] == "ClusterRole"
    assert len(rules["rules"]) == sum("namespace" in row["for"] for row in rbac.table()["rbac_table"])
    assert not any("secrets" in rule["resources"] or "escalate" in rule["verbs"] for rule in rules["rules"])
    whole = made(folder=tmp_path)
    assert any("escalate" in rule["verbs"] for rule in whole["rules"]) and all(
        set(rule["verbs"]) != {"*"} for rule in whole["rules"]
    )


def test_one_that_only_looks_cannot_write(tmp_path):
    rules = made("-e", '{"rbac_for": ["mesh_info", "mesh_check"]}', folder=tmp_path)["rules"]
    assert {verb for rule in rules if rule["resources"] != ["pods/portforward"] for verb in rule["verbs"]} == {"list"}


def test_a_name_of_nothing_is_refused(tmp_path):
    assert (
        "No role or module is called mesh_inf." in made("-e", '{"rbac_for": ["mesh_inf"]}', folder=tmp_path)["failed"]
    )


@pytest.mark.parametrize(
    ("request_", "right"),
    [
        (("GET", "/api/v1/namespaces"), ("list", "", "namespaces")),
        (("GET", "/api/v1/namespaces/shop"), ("get", "", "namespaces")),
        (("GET", "/api/v1/namespaces/shop/pods"), ("list", "", "pods")),
        (("GET", "/api/v1/namespaces/shop/pods/web/log"), ("get", "", "pods/log")),
        (("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web?dryRun"), ("patch", "apps", "deployments")),
        (("WATCH", "/apis/apps/v1/deployments"), ("watch", "apps", "deployments")),
    ],
)
def test_a_request_is_read_as_what_it_takes(request_, right):
    assert rbac.asked([request_]) == {right} and rbac.lacking("dashboard", [("DELETE", "/api/v1/namespaces/shop")]) == {
        ("delete", "", "namespaces")
    }
