# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over two real clusters: at the same time, each with what is its own, and with a report for each.

The tests stand on each other, in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import cluster, settings
from playbook_runner import SECOND, Lab, Played

pytestmark = pytest.mark.long

# Host -> namespace that only its cluster is to have.
OWN = {f"kind-{name}": f"proof-many-{name.rpartition('-')[2]}" for name in (settings.NAME, SECOND)}
# What is shown here is which cluster gets what; the namespaces' part is light and enough for that.
PARTS = {f"site_{name}": False for name in ("release", "control_plane", "demo", "addons", "traffic", "summary")}
PLAY = """
- name: A ConfigMap in each cluster, by what its host says
  hosts: mesh
  gather_facts: false
  module_defaults:
    group/servicemesh.istio.all:
      kubeconfig: "{{ kubeconfig }}"
      context: "{{ context }}"
  tasks:
    - name: Tell where this is
      servicemesh.istio.manifests:
        definition:
          apiVersion: v1
          kind: ConfigMap
          metadata: {name: place, namespace: "{{ namespaces_enrolled[0].name }}"}
          data: {context: "{{ context }}", ring: "{{ ring | string }}"}
"""


@dataclass
class Both:
    """Two clusters and an inventory of both, in a folder of its own."""

    folder: Path
    labs: dict[str, Lab]

    def play(self, playbook: str | Path, *arguments: str, **variables: Any) -> Played:
        given = {"site_hosts": "mesh", **PARTS, **variables}
        (self.folder / "variables.json").write_text(json.dumps(given))
        # What a task would fall back to is no cluster, so each must come from its host.
        more = {
            "KUBECONFIG": "/nonexistent/kubeconfig",
            "ANSIBLE_CALLBACKS_ENABLED": "record,servicemesh.istio.evidence",
            "SERVICEMESH_EVIDENCE": str(self.folder / "evidence"),
        }
        first = next(iter(self.labs.values()))
        return first.play(
            playbook,
            "-i",
            self.folder / "contexts.yml",
            "-f",
            "2",
            "-e",
            f"@{self.folder / 'variables.json'}",
            *arguments,
            **more,
        )

    def evidence(self) -> dict[str, Any]:
        """Of the last run."""
        newest = max((self.folder / "evidence").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        report: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
        return report

    def namespaces(self) -> dict[str, list[str]]:
        names = {
            host: [item["metadata"]["name"] for item in lab.get("namespaces")["items"]]
            for host, lab in self.labs.items()
        }
        return {host: sorted(name for name in found if name.startswith("proof-many-")) for host, found in names.items()}


@pytest.fixture(scope="module")
def both(lab: Lab, second: str, tmp_path_factory: Any) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("many")
    kubeconfigs = {f"kind-{settings.NAME}": lab.kubeconfig, f"kind-{SECOND}": settings.CACHE / f"{SECOND}.kubeconfig"}
    labs = {}
    for host, path in kubeconfigs.items():
        cluster.require_lab(path)
        labs[host] = Lab({**cluster.environment(), "KUBECONFIG": str(path)}, tmp_path_factory.mktemp("one"))
    own = {
        host: {"ring": number, "namespaces_enrolled": [{"name": name}]}
        for number, (host, name) in enumerate(OWN.items())
    }
    inventory = {
        "plugin": "servicemesh.istio.contexts",
        "kubeconfig": [str(path) for path in kubeconfigs.values()],
        "contexts": list(OWN),
        "vars": own,
        "groups": {"mesh": True},
    }
    (folder / "contexts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    (folder / "play.yml").write_text(PLAY)
    yield Both(folder, labs)
    for one in labs.values():
        one.kubectl("delete", "namespaces", *OWN.values(), "--ignore-not-found", "--timeout=120s")


def test_each_cluster_gets_its_own_and_both_at_the_same_time(both: Both) -> None:
    played = both.play("playbooks/site.yml").ok()
    assert both.namespaces() == {host: [name] for host, name in OWN.items()}, played.text[-3000:]
    report = both.evidence()
    assert (
        sorted(entry["host"] for entry in report["clusters"]) == sorted(OWN)
        and len({entry["server"] for entry in report["clusters"]}) == 2
    )
    for module in ("mesh_info", "namespace"):
        calls = [call for call in report["calls"] if call["module"].endswith(f".{module}") and not call["delegated_to"]]
        assert sorted(call["host"] for call in calls) == sorted(OWN)
        assert max(call["started"] for call in calls) < min(call["ended"] for call in calls), "both ran at once"
    # No host begins with a phase before all have ended the one before.
    ended = max(call["ended"] for call in report["calls"] if call["module"].endswith(".mesh_info"))
    assert all(call["started"] >= ended for call in report["calls"] if call["module"].endswith(".namespace"))
    assert both.play("playbooks/site.yml").ok().changed == []


def test_a_play_of_ones_own_names_the_cluster_once(both: Both) -> None:
    both.play(both.folder / "play.yml").ok()
    for number, (host, name) in enumerate(OWN.items()):
        assert both.labs[host].get("configmap", "place", "-n", name)["data"] == {"context": host, "ring": str(number)}


def test_drift_in_one_cluster_is_told_of_that_cluster(both: Both) -> None:
    host, name = list(OWN.items())[1]
    both.labs[host].kubectl("label", "namespace", name, "istio-injection=disabled", "--overwrite")
    played = both.play("playbooks/drift.yml", drift_report=str(both.folder / "drift-{{ inventory_hostname }}.json"))
    assert played.status == 2, played.text[-3000:]
    reports = {one: json.loads((both.folder / f"drift-{one}.json").read_text(encoding="utf-8")) for one in OWN}
    assert {one: report["drift"] for one, report in reports.items()} == {one: one == host for one in OWN}
    assert {report["cluster"]["server"] for report in reports.values()} == {
        entry["server"] for entry in both.evidence()["clusters"]
    }


def test_both_are_as_they_were_before(both: Both) -> None:
    both.play("playbooks/teardown.yml").ok()
    assert both.namespaces() == {host: [] for host in OWN}
