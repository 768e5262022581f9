# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection in other people's hands: a platform team's project with our roles among its own. The tests stand on
each other, in order.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from playbook_runner import BIN, ROOT, Lab, Played

pytestmark = pytest.mark.long

EXAMPLE = ROOT / "examples/platform"
HOSTS = ["bastion-eu", "bastion-us"]
NAMESPACES = [f"tenant-{host}" for host in HOSTS]
# Tag of site.yml -> modules of ours that run for it.
STAGES = {
    "workstation": set(),
    "release": {"release"},
    "control_plane": {"release", "control_plane"},
    "namespaces": {"namespace"},
    "shop": {"manifests"},
    "traffic": {"manifests", "traffic"},
    "verify": {"probe"},
}
COMMANDS = [
    line
    for block in re.findall(r"```shell\n(.*?)```", (EXAMPLE / "README.md").read_text(encoding="utf-8"), re.S)
    for line in block.strip().splitlines()
]
# An account that owns nothing, where this one may become it.
ACCOUNT = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
NEVER_USED = {"KUBECONFIG": "/nonexistent/never-used"}


def run(*argv: str | Path, cwd: Path = ROOT, timeout: float = 300) -> str:
    done = subprocess.run(
        [str(part) for part in argv], cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@dataclass
class Project:
    """A copy of the example in a folder that the bastions' account can enter, with the collection installed from its
    tarball.
    """

    lab: Lab
    folder: Path

    @property
    def variables(self) -> list[str]:
        """What differs on the lab: paths, accounts and images."""
        return ["-e", f"@{ROOT / 'tests/lab/vars.yml'}", "-e", f"@{self.folder / 'lab.json'}"]

    def play(self, *arguments: str, playbook: str = "site.yml") -> Played:
        return self.lab.play(playbook, *self.variables, *arguments, cwd=self.folder / "platform", **NEVER_USED)

    def pods(self, namespace: str) -> dict[str, list[str]]:
        """{name of a ready pod: its containers}."""
        found = {}
        for pod in self.lab.get("pods", "-n", namespace)["items"]:
            if {"type": "Ready", "status": "True"}.items() <= next(
                c for c in pod["status"]["conditions"] if c["type"] == "Ready"
            ).items():
                found[pod["metadata"]["name"]] = [
                    c["name"] for c in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
                ]
        return found


@pytest.fixture(scope="module")
def project(mesh: Lab) -> Iterator[Project]:
    folder = Path(tempfile.mkdtemp(prefix="platform-"))
    folder.chmod(0o755)
    shutil.copytree(EXAMPLE, folder / "platform")
    galaxy = BIN / "ansible-galaxy"
    run(galaxy, "collection", "build", "--output-path", folder)
    run(
        galaxy,
        "collection",
        "install",
        "-p",
        "collections",
        folder / "servicemesh-istio-1.0.0.tar.gz",
        cwd=folder / "platform",
    )
    # The account cannot enter the folders of whoever runs the tests, so its Python is the system's.
    system = Path("/usr/bin/python3")
    run(system if system.exists() else sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "venv/bin/python",
        "install",
        "-q",
        "-r",
        ROOT / "requirements.txt",
    )
    (folder / "lab.json").write_text(json.dumps(_variables(mesh, folder)))
    yield Project(mesh, folder)
    mesh.kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found")
    shutil.rmtree(folder)


def _variables(lab: Lab, folder: Path) -> dict[str, object]:
    config = yaml.safe_load(lab.kubeconfig.read_text(encoding="utf-8"))
    context = config["contexts"][0]["context"]
    # Both regions are the lab's one cluster.
    config["contexts"] = [{"name": name, "context": context} for name in ("eu", "us")]
    # Which cluster is meant is said by name or not at all.
    del config["current-context"]
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    kubeconfig.chmod(0o600)
    shutil.chown(kubeconfig, ACCOUNT)
    builds = lab.environment["LAB_IMAGES"] == "built"
    stand_in = {
        "shop_image": "localhost/lab/client:stand-in",
        "shop_arguments": ["files", "-dir", "/srv", "-listen", ":8080"],
        "shop_root": "/srv",
    }
    return {
        "platform_python": str(folder / "venv/bin/python"),
        "platform_user": ACCOUNT,
        "platform_kubeconfig": str(kubeconfig),
        "platform_cache": str(folder / "cache"),
        "workstation_profile": f"{folder}/{{{{ inventory_hostname }}}}.sh",
        "shop_namespace": "tenant-{{ inventory_hostname }}",
        # A service account has no shell of its own.
        **({"ansible_become_method": "su", "ansible_become_flags": "-s /bin/sh"} if os.geteuid() == 0 else {}),
        **(stand_in if builds else {}),
    }


def test_every_command_of_the_projects_readme_is_run_by_a_test_of_this_file() -> None:
    tested = {
        "ansible-galaxy collection install -r requirements.yml -p collections": (
            test_the_requirements_file_is_met_by_what_is_installed
        ),
        "ansible-playbook site.yml --check --diff": (
            test_check_mode_before_the_first_run_shows_the_plan_and_writes_nothing
        ),
        "ansible-playbook site.yml": test_the_first_run_sets_up_everything_one_bastion_after_the_other,
        "ansible-playbook site.yml --tags shop,traffic --limit bastion-eu": test_tags_and_limit_run_only_what_they_name,
        "ansible-playbook retire.yml": test_retiring_the_shop_leaves_the_mesh_as_it_was,
    }
    assert sorted(COMMANDS) == sorted(tested)


def test_the_requirements_file_is_met_by_what_is_installed(project: Project) -> None:
    text = run(
        BIN / "ansible-galaxy",
        "collection",
        "install",
        "-r",
        "requirements.yml",
        "-p",
        "collections",
        "--offline",
        cwd=project.folder / "platform",
    )
    assert "Nothing to do" in text


def test_check_mode_before_the_first_run_shows_the_plan_and_writes_nothing(project: Project) -> None:
    played = project.play("--check", "--diff", "--limit", HOSTS[0]).ok()
    created = {
        row["ref"]["kind"]
        for module in ("namespace", "manifests", "traffic")
        for result in played.of(module)
        for row in result["objects"]
        if row["action"] == "created"
    }
    assert {"Namespace", "Deployment", "Gateway", "VirtualService", "DestinationRule"} <= created
    assert project.lab.kubectl("get", "namespace", *NAMESPACES, "--ignore-not-found") == ""
    assert not list(project.folder.glob("bastion-*.sh"))


def test_the_first_run_sets_up_everything_one_bastion_after_the_other(project: Project) -> None:
    played = project.play().ok()
    order = [row["host"] for row in played.rows]
    assert order == sorted(order) and set(order) == set(HOSTS)
    assert [result["changed"] for result in played.of("control_plane")] == [False, False], "the mesh was there"
    for namespace in NAMESPACES:
        pods = project.pods(namespace)
        assert sorted(name.rpartition("-")[0].rpartition("-")[0] for name in pods) == ["web-v1", "web-v2"]
        assert all("istio-proxy" in containers for containers in pods.values()), pods


def test_become_gives_root_its_files_and_the_account_its_downloads(project: Project) -> None:
    profiles = [project.folder / f"{host}.sh" for host in HOSTS]
    assert [path.owner() for path in profiles] == ["root", "root"]
    assert [f"--context {region}" in path.read_text() for path, region in zip(profiles, ("eu", "us"))] == [True, True]
    kept = [path for path in (project.folder / "cache").rglob("*") if path.is_file()]
    assert {path.owner() for path in kept} == {ACCOUNT} and "istioctl" in {path.name for path in kept}


def test_customers_get_the_shares_that_each_region_declares(project: Project) -> None:
    played = project.play("--tags", "verify", "-e", '{"shop_requests": 400}').ok()
    eu, us = played.of("probe")
    # Five standard deviations of 400 requests.
    assert (
        150 < eu["responses_by_version"]["v1"] < 250
        and eu["responses_by_version"]["v1"] + eu["responses_by_version"]["v2"] == 400
    )
    assert (
        10 < us["responses_by_version"]["v2"] < 70
        and us["responses_by_version"]["v1"] + us["responses_by_version"]["v2"] == 400
    )


def test_a_second_run_changes_nothing(project: Project) -> None:
    before = [project.pods(namespace) for namespace in NAMESPACES]
    assert project.play().ok().changed == []
    assert [project.pods(namespace) for namespace in NAMESPACES] == before


def test_check_mode_afterwards_has_no_diff(project: Project) -> None:
    played = project.play("--check", "--diff", "--limit", HOSTS[1]).ok()
    assert played.changed == []
    # Ansible's own file module tells before and after also where they are the same.
    found = [
        entry
        for row in played.rows
        for entry in (
            [row["result"]["diff"]] if isinstance(row["result"].get("diff"), dict) else row["result"].get("diff") or []
        )
    ]
    assert [entry for entry in found if entry.get("before") != entry.get("after")] == []


@pytest.mark.parametrize("tag", STAGES)
def test_a_tag_runs_its_role_and_no_other(project: Project, tag: str) -> None:
    played = project.play("--tags", tag, "--limit", HOSTS[0]).ok()
    ours = {
        row["action"].rpartition("istio.")[2]
        for row in played.rows
        if row["kind"] == "ok" and "servicemesh.istio." in row["action"]
    }
    assert ours == STAGES[tag]
    # Argument specs are checked whatever the tag.
    own = {
        row["task"].partition(" : ")[0]
        for row in played.rows
        if row["kind"] == "ok" and " : " in row["task"] and "validate_argument_spec" not in row["action"]
    }
    assert own <= {tag, f"servicemesh.istio.{tag}", "servicemesh.istio.release"}
    assert played.changed == []


def test_tags_and_limit_run_only_what_they_name(project: Project) -> None:
    played = project.play(
        "--tags", "shop,traffic", "--limit", "bastion-eu", "-e", '{"shop_shares": {"v1": 0, "v2": 100}}'
    ).ok()
    assert {row["host"] for row in played.rows} == {"bastion-eu"}
    assert [result["changed"] for result in played.of("traffic")] == [True] and played.of("namespace") == []
    answers = project.play("--tags", "verify").ok().of("probe")
    assert (
        answers[0]["responses_by_version"]["v2"] == answers[0]["sent"] and answers[1]["responses_by_version"]["v1"] > 0
    )


def test_retiring_the_shop_leaves_the_mesh_as_it_was(project: Project) -> None:
    listed = ("deployments,services,gateways.networking.istio.io", "-n", "istio-system", "-o", "name")
    before = project.lab.kubectl("get", *listed)
    project.play(playbook="retire.yml").ok()
    assert project.lab.kubectl("get", "namespace", *NAMESPACES, "--ignore-not-found") == ""
    assert project.lab.kubectl("get", *listed) == before
    assert project.play(playbook="retire.yml").ok().changed == []
