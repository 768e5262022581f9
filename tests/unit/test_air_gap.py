# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/air-gap.md does what it says: its commands are run, with a release, a registry and a cluster that are none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import fake_istioctl
import pytest
import yaml
from builders import deployment
from collection import ROLES, ROOT, calls, load

GUIDE = (ROOT / "docs/air-gap.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(shell|yaml)\n(.*?)```", GUIDE, re.DOTALL)
VARIABLES = next(text for kind, text in BLOCKS if kind == "yaml")
LIST, MIRROR, SECRETS, INSTALL = [text for kind, text in BLOCKS if kind == "shell"]
# Says what it was called with.
PROGRAM = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'


class Place:
    """A working folder with the guide's file of variables, and programs that only remember their calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        for name in ("skopeo", "kubectl"):
            (folder / "bin" / name).write_text(PROGRAM)
            (folder / "bin" / name).chmod(0o755)
        (folder / "samples").mkdir()
        (folder / "samples/kiali.yaml").write_text(
            yaml.safe_dump(deployment("kiali", "istio-system", "quay.io/kiali/kiali:v2"))
        )
        release = {
            "control_plane_istioctl": str(fake_istioctl.write(folder)),
            "addons_samples": str(folder / "samples"),
            "addons_names": ["kiali"],
        }
        (folder / "air-gap.yml").write_text(VARIABLES + yaml.safe_dump(release))

    def shell(self, text: str, **more: str) -> list[str]:
        """Runs it as it stands, but for where the playbooks are; returns the programs' calls."""
        calls = self.folder / "calls"
        calls.unlink(missing_ok=True)
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {
            "KUBECONFIG": os.devnull,
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        }
        environment = {**os.environ, **own, "PATH": path, "CALLS": str(calls), **more}
        script = text.replace("playbooks/", f"{ROOT}/playbooks/")
        done = subprocess.run(
            ["sh", "-e"],
            input=script,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    found = Place(tmp_path_factory.mktemp("air-gap"))
    found.shell(LIST)
    return found


def plan(place, name="images.txt"):
    return dict(line.split() for line in (place.folder / name).read_text().splitlines())


def test_the_list_has_what_the_site_pulls_and_where_it_is_to_be(place):
    assert plan(place)["docker.io/istio/proxyv2:1.31.0"] == "registry.example.com/docker/istio/proxyv2:1.31.0"
    assert {"docker.io/istio/pilot:1.31.0", "docker.io/library/redis:alpine", "quay.io/kiali/kiali:v2"} < set(
        plan(place)
    )
    demo = [source for source in plan(place) if "microservices-demo" in source]
    assert len(demo) == 11 and all(plan(place)[source].startswith("registry.example.com/demo/") for source in demo)


def test_every_line_of_the_plan_is_copied(place):
    assert place.shell(MIRROR) == [
        f"skopeo copy --all docker://{source} docker://{target}" for source, target in plan(place).items()
    ]


def test_the_secret_comes_into_every_namespace_and_onto_no_command_line(place):
    called = place.shell(SECRETS, HOME="/home/somebody")
    assert [line.split("kubectl ")[1].split(" secret")[0] for line in called] == [
        "create namespace istio-system",
        "-n istio-system create",
        "create namespace online-boutique",
        "-n online-boutique create",
    ]
    assert all(
        line.endswith("--from-file=.dockerconfigjson=/home/somebody/.docker/config.json")
        for line in called
        if "secret" in line
    )


@pytest.mark.long
def test_a_role_may_have_a_mirror_of_its_own_and_a_part_may_be_left_out(place):
    own = (
        '-e \'{"demo_registries": {"docker.io": "other.example.com"}, "site_addons": false, "site_control_plane":'
        " false}'"
    )
    place.shell(LIST.strip().replace("images.txt", "own.txt") + f" {own}\n")
    assert plan(place, "own.txt") == {"docker.io/library/redis:alpine": "other.example.com/library/redis:alpine"}


def test_the_site_takes_the_same_variables():
    assert INSTALL.strip() == "ansible-playbook playbooks/site.yml -e @air-gap.yml"
    assert any(
        task.get("ansible.builtin.import_tasks") == "tasks/roles.yml" for task in load("playbooks/site.yml")[1]["tasks"]
    )
    for played, file in (
        (load("playbooks/tasks/roles.yml"), "site_variables.yml"),
        (load("playbooks/images.yml")[1]["tasks"], "tasks/site_variables.yml"),
    ):
        included = [task["ansible.builtin.include_tasks"] for task in played if "ansible.builtin.include_tasks" in task]
        assert any(isinstance(task, dict) and task["file"] == file for task in included)


def options(role, file, module):
    return next(given for name, given in calls(load(f"roles/{role}/tasks/{file}.yml")) if name == module)


def test_images_are_listed_for_the_control_plane_that_is_installed():
    installed, listed = (
        options("control_plane", "main", "control_plane"),
        options("control_plane", "images", "images_info"),
    )
    # These depend on whether it is there; the list has none of a control plane that goes.
    differ = {"istioctl", "charts"}
    assert {name: installed[name] for name in set(listed) - differ} == {
        name: listed[name] for name in set(listed) - differ
    }
    not_rendered = {
        "state",
        "delete_crds",
        "delete_namespace",
        "delete_in_use",
        "purge",
        "default_tag",
        "leave_gateways",
        "wait_timeout",
        "force_conflicts",
        "adopt",
    }
    rendering = set(installed) - not_rendered
    assert rendering == set(listed)


def test_the_roles_with_pods_have_the_same_two_variables():
    with_pods = [role for role in ROLES if (ROOT / "roles" / role / "tasks/images.yml").exists()]
    assert with_pods == ["addons", "control_plane", "demo"]
    for role in with_pods:
        known = load(f"roles/{role}/defaults/main.yml")
        assert (known[f"{role}_registries"], known[f"{role}_pull_secrets"]) == ({}, [])
        assert f"`{role}_registries`, `{role}_pull_secrets`" in GUIDE
