# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand edit is told as drift, and the run that heals it leaves its evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playbook_runner import Lab, Played, objects

pytestmark = pytest.mark.long

DEMO = "online-boutique"


def drift(mesh: Lab, report: Path) -> Played:
    return mesh.play("playbooks/drift.yml", "-e", "@tests/lab/vars.yml", "-e", f"drift_report={report}")


def test_a_hand_edit_is_told_as_drift_healed_when_told_and_written_down(mesh: Lab, tmp_path: Path) -> None:
    report = tmp_path / "drift.json"
    before = objects(mesh)
    drift(mesh, report).ok()
    found = json.loads(report.read_text())
    assert found["drift"] is False and found["counts"]["objects"] > 60 and report.stat().st_mode & 0o777 == 0o600

    mesh.kubectl("-n", DEMO, "patch", "deployment", "frontend-v2", "--type=merge", "-p", '{"spec": {"replicas": 0}}')
    mesh.kubectl("-n", DEMO, "delete", "destinationrule", "frontend")
    played = drift(mesh, report)
    assert played.status == 2 and "differ from what is declared" in played.text
    found = json.loads(report.read_text())
    differ = {
        (entry["ref"]["kind"], entry["ref"]["name"]): entry for call in found["calls"] for entry in call["differ"]
    }
    assert set(differ) == {("Deployment", "frontend-v2"), ("DestinationRule", "frontend")}, differ
    assert differ["DestinationRule", "frontend"]["action"] == "created"
    scaled = differ["Deployment", "frontend-v2"]
    assert [conflict["field"] for conflict in scaled["conflicts"]] == [".spec.replicas"], scaled

    folder = tmp_path / "evidence"
    refused = mesh.site()
    assert refused.status != 0 and ".spec.replicas" in refused.text and "owned by kubectl" in refused.text
    both = {"ANSIBLE_CALLBACKS_ENABLED": "record,servicemesh.istio.evidence", "SERVICEMESH_EVIDENCE": str(folder)}
    healed = mesh.play(
        "playbooks/site.yml", "-e", "@tests/lab/vars.yml", "-e", "demo_force_conflicts=true", **both
    ).ok()
    assert len(healed.changed) == 2, healed.changed
    drift(mesh, report).ok()
    assert set(objects(mesh)) == set(before)

    (written,) = folder.glob("*-site-*.json")
    (page,) = folder.glob("*-site-*.html")
    evidence = written.read_text()
    assert (
        all(word in evidence for word in ("frontend-v2", "DestinationRule", "proxies in sync"))
        and "frontend-v2" in page.read_text()
    )
    assert "<script" not in page.read_text() and written.stat().st_mode & 0o777 == 0o600
