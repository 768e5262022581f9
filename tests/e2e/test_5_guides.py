# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides of docs/, walked as they are written: each file that one shows is made, each command is run in turn, and
what it is said to print is looked for.

The collection is installed from its tarball. What differs on the lab (images, sizes) comes from an inventory, as a
user's own settings would.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbook_runner import BIN, ROOT, Lab

DOCS = ROOT / "docs"
BLOCK = re.compile(r"(?:^`([\w.-]+)`[^\n`]*:\n\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Guides that are walked here, and where.
HERE = ("canary.md", "strict-mtls.md")
ELSEWHERE = ("first-mesh.md", "adopt-existing-mesh.md", "upgrade.md")
# Commands of other pages, and the file that runs each of them or does what it does.
OTHERS = {
    "air-gap.md": "test_8_install_ways.py",
    "drift-and-evidence.md": "test_8_drift.py",
    "awx.md": "test_8_execution_environment.py",
    "istiod-outage.md": "test_8_webhooks.py",
    "testing-your-roles.md": "test_4_molecule.py",
    "many-clusters.md": "test_8_many_clusters.py",
    "rbac.md": "test_8_rbac.py",
}
PODS = "{range .items[*]}{.metadata.name} {.metadata.uid}\n{end}"


def blocks(guide: str) -> list[tuple[str, str, str]]:
    """[(name of the file or "", language, text)] in the order of the page."""
    return [
        (name, language, text) for name, language, text in BLOCK.findall((DOCS / guide).read_text(encoding="utf-8"))
    ]


class Walk:
    """A reader's folder, with the collection in it."""

    def __init__(self, folder: Path, tarball: Path) -> None:
        self.folder = folder
        inventory = folder / "inventory"
        (inventory / "group_vars").mkdir(parents=True)
        (inventory / "hosts.yml").write_text(
            json.dumps(
                {
                    "all": {
                        "hosts": {
                            "localhost": {
                                "ansible_connection": "local",
                                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                            }
                        }
                    }
                }
            )
        )
        (inventory / "group_vars" / "all.yml").symlink_to(ROOT / "tests/lab/vars.yml")
        argv = [
            str(BIN / "ansible-galaxy"),
            "collection",
            "install",
            "--offline",
            "-p",
            str(folder / "collections"),
            str(tarball),
        ]
        subprocess.run(argv, cwd=folder, capture_output=True, check=True)

    def run(self, lab: Lab, command: str) -> str:
        """Output of a command that must succeed."""
        own = {
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_INVENTORY": str(self.folder / "inventory"),
            "PATH": f"{BIN}:{lab.environment['PATH']}",
        }
        argv = ["bash", "-euo", "pipefail", "-c", command]
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env={**lab.environment, **own},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {(done.stdout + done.stderr)[-5000:]}"
        return done.stdout + done.stderr

    def all_of(self, guide: str, lab: Lab) -> dict[str, list[str]]:
        """{command: its outputs}"""
        said, outputs = "", {}
        for name, language, text in blocks(guide):
            if name:
                (self.folder / name).write_text(text, encoding="utf-8")
            elif language == "shell":
                for command in text.strip().splitlines():
                    said = self.run(lab, command)
                    outputs.setdefault(command, []).append(said)
            elif language == "text":
                for line in text.strip().splitlines():
                    assert re.search(".*".join(map(re.escape, line.split("…"))), said), (
                        f"{guide} says {line!r}: {said[-3000:]}"
                    )
        return outputs


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tarball")
    subprocess.run(
        [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(folder)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return next(folder.glob("servicemesh-istio-*.tar.gz"))


@pytest.fixture
def walk(tmp_path: Path, tarball: Path) -> Walk:
    return Walk(tmp_path, tarball)


def test_every_command_of_the_pages_is_run_by_a_test() -> None:
    pages = {
        path.name
        for path in DOCS.glob("*.md")
        if any(language in ("shell", "sh", "bash", "console") for _, language, _ in blocks(path.name))
    }
    assert pages == {*HERE, *ELSEWHERE, *OTHERS}
    for page, test in OTHERS.items():
        assert (ROOT / "tests/e2e" / test).exists(), f"{page}: {test}"
    for guide in (*HERE, *ELSEWHERE):
        for _, language, text in blocks(guide):
            assert language in ("yaml", "shell", "text"), f"{guide}: {language}"
            assert language != "shell" or "\\\n" not in text, f"{guide}: one command is one line"


@pytest.fixture
def site_again(mesh: Lab) -> Iterator[Lab]:
    """The mesh of the site, which a guide may change."""
    yield mesh
    mesh.site("--tags", "traffic,namespaces").ok()


@pytest.mark.long
def test_the_canary_gets_all_requests_in_the_end_and_goes_back(site_again: Lab, walk: Walk) -> None:
    outputs = walk.all_of("canary.md", site_again)
    assert set(outputs) == {"ansible-playbook canary.yml", "ansible-playbook rollback.yml"}
    measured = site_again.module("probe", count=100, versions={"v2": "#b3541e", "v1": "."})
    # Taken back is the last stage, from 50 % to 100 %: five standard deviations of 100 requests.
    assert 25 <= measured["responses_by_version"]["v2"] <= 75, measured["responses_by_version"]


@pytest.mark.long
def test_a_canary_that_loses_requests_goes_back_by_itself(site_again: Lab, walk: Walk) -> None:
    for name, _, text in blocks("canary.md"):
        if name:
            (walk.folder / name).write_text(text, encoding="utf-8")
    # About every third request gets an error for an answer.
    broken = site_again.module(
        "fault", namespace="online-boutique", service="frontend", abort={"http": 503, "percent": 30}
    )
    assert broken.get("changed"), broken
    try:
        with pytest.raises(AssertionError) as failed:
            walk.run(site_again, "ansible-playbook canary.yml -e canary_seconds=6")
    finally:
        site_again.module("fault", namespace="online-boutique", service="frontend", state="absent")
    assert "The canary went back" in str(failed.value), failed.value
    measured = site_again.module("probe", count=50, versions={"v2": "#b3541e", "v1": "."})
    assert measured["responses_by_version"]["v1"] == 50, measured["responses_by_version"]


@pytest.mark.long
def test_mutual_tls_is_a_must_and_then_no_more(site_again: Lab, walk: Walk) -> None:
    outputs = walk.all_of("strict-mtls.md", site_again)
    assert (
        "changed=1" in outputs["ansible-playbook strict.yml --check --diff"][0]
        and "STRICT" in outputs["ansible-playbook strict.yml --check --diff"][0]
    )
    assert "peerauthentications" not in site_again.kubectl(
        "get", "peerauthentications", "-n", "online-boutique", "-o", "name"
    )


def nothing(lab: Lab) -> None:
    """An empty cluster."""


def by_istioctl(lab: Lab) -> None:
    """Istio as its own installer leaves it, with what the lab needs."""
    variables = yaml.safe_load((ROOT / "tests/lab/vars.yml").read_text(encoding="utf-8"))
    values: dict[str, Any] = variables["lab_small"]
    if lab.environment["LAB_IMAGES"] == "built":
        values = {
            **values,
            "telemetry": {"enabled": False},
            "pilot": {**values["pilot"], **variables["lab_upstream_envoy"]["pilot"]},
        }
    values["gateways"]["istio-ingressgateway"]["type"] = "NodePort"
    spec = {"profile": "default", "values": values, "meshConfig": variables["control_plane_mesh_config"]}
    operator = yaml.safe_dump({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec})
    release = lab.module("release", version="1.31.0", mirror=lab.environment["LAB_RELEASES"])
    done = subprocess.run(
        [release["istioctl"], "install", "-y", "-f", "-"],
        env=lab.environment,
        input=operator,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def of_old(lab: Lab) -> None:
    """The release before, with a namespace that follows it, and a gateway that answers."""
    bare = {
        "site_demo": False,
        "site_addons": False,
        "site_traffic": False,
        "site_summary": False,
        "namespaces_enrolled": [{"name": "shop"}],
    }
    lab.play(
        "playbooks/site.yml",
        "-e",
        "@tests/lab/vars.yml",
        "-e",
        json.dumps({**bare, "release_version": "1.30.4", "control_plane_revision": "1-30-4"}),
    ).ok()
    networking, named = "networking.istio.io/v1", {"name": "answer", "namespace": "shop"}
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    gateway = {
        "apiVersion": networking,
        "kind": "Gateway",
        "metadata": named,
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [server]},
    }
    spec = {"hosts": ["*"], "gateways": ["answer"], "http": [{"directResponse": {"status": 200}}]}
    answer = {"apiVersion": networking, "kind": "VirtualService", "metadata": named, "spec": spec}
    assert lab.module("manifests", definition=[gateway, answer])["changed"]


def pods(lab: Lab) -> str:
    return lab.kubectl("get", "pods", "-n", "istio-system", "-o", f"jsonpath={PODS}")


def all_gone(lab: Lab, before: str) -> None:
    assert lab.kubectl("get", "namespace", "istio-system", "online-boutique", "--ignore-not-found") == ""


def none_restarted(lab: Lab, before: str) -> None:
    assert pods(lab) == before != ""


def on_new(lab: Lab, before: str) -> None:
    names = lab.kubectl("get", "deployments", "-n", "istio-system", "-l", "app=istiod", "-o", "name")
    assert names.split() == ["deployment.apps/istiod-1-31-0"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("guide", "begins", "ends"),
    [
        ("first-mesh.md", nothing, all_gone),
        ("adopt-existing-mesh.md", by_istioctl, none_restarted),
        ("upgrade.md", of_old, on_new),
    ],
    ids=ELSEWHERE,
)
def test_a_guide_for_a_whole_mesh(
    elsewhere: Lab, walk: Walk, guide: str, begins: Callable[[Lab], None], ends: Callable[[Lab, str], None]
) -> None:
    elsewhere.sweep()
    try:
        begins(elsewhere)
        before = pods(elsewhere)
        walk.all_of(guide, elsewhere)
        ends(elsewhere, before)
    finally:
        elsewhere.sweep()
