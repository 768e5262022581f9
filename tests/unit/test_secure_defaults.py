# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/secure-defaults.md tells what the role control_plane sets, and the user's word is the last."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import fake_istioctl
import pytest
import yaml
from collection import ROOT, load, wrong_options

GUIDE = (ROOT / "docs/secure-defaults.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(control_plane_\w+)` \| `(\S+)` \| `(\S+)` \| .+ \|$", GUIDE, re.MULTILINE)
VARS = load("roles/control_plane/vars/main.yml")
SECURE = {
    "control_plane_values": VARS["control_plane_secure_values"],
    "control_plane_mesh_config": VARS["control_plane_secure_mesh_config"],
}
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]


def flat(tree, path=()):
    if not isinstance(tree, dict):
        return {".".join(path): tree}
    return {key: value for name, inner in tree.items() for key, value in flat(inner, (*path, name)).items()}


def told(rows):
    return {(variable, key): yaml.safe_load(value) for variable, key, value in rows}


def settings(variables):
    return {(variable, key): value for variable, tree in variables.items() for key, value in flat(tree).items()}


def test_the_guide_tells_just_what_the_role_sets():
    set_by_role = told(ROWS[: len(settings(SECURE))])
    assert set_by_role == settings(SECURE)


def test_what_is_left_to_choose_is_not_set_and_stands_in_the_example():
    chosen = told(ROWS[len(settings(SECURE)) :])
    assert chosen == settings(EXAMPLES[0]) and not set(chosen) & set(settings(SECURE))


def test_the_examples_are_of_variables_and_modules_that_there_are():
    known = load("roles/control_plane/defaults/main.yml")
    assert all(name in known for example in EXAMPLES if isinstance(example, dict) for name in example)
    (task,) = next(example for example in EXAMPLES if isinstance(example, list))
    assert wrong_options("manifests", task["servicemesh.istio.manifests"]) == []


CASES = {
    "default": {},
    "off": {"control_plane_secure_defaults": False},
    "user": {
        "control_plane_values": {"pilot": {"seccompProfile": {"type": "Unconfined"}, "autoscaleMin": 2}},
        "control_plane_mesh_config": {"accessLogFile": "", "extensionProviders": []},
    },
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """{case: [values, mesh configuration]} that the role asks for."""
    folder = tmp_path_factory.mktemp("secure")
    istioctl = str(fake_istioctl.write(folder))
    tasks = []
    for case, given in CASES.items():
        role = {"name": "servicemesh.istio.control_plane", "tasks_from": "images.yml", "public": True}
        tasks.append(
            {"name": case, "ansible.builtin.include_role": role, "vars": {"control_plane_istioctl": istioctl, **given}}
        )
        content = "{{ [control_plane_effective_values, control_plane_effective_mesh_config] | to_json }}"
        tasks.append(
            {
                "name": f"Keep {case}",
                "ansible.builtin.copy": {"content": content, "dest": str(folder / case), "mode": "0644"},
                "vars": given,
            }
        )
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": tasks,
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {
        **os.environ,
        "KUBECONFIG": os.devnull,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
    }
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "play.yml"]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {case: json.loads((folder / case).read_text()) for case in CASES}


def test_the_role_asks_for_them_beside_what_it_asks_for_anyhow(asked):
    values, mesh = asked["default"]
    assert values["gateways"] == {
        "seccompProfile": {"type": "RuntimeDefault"},
        "istio-ingressgateway": {"type": "LoadBalancer"},
    }
    assert (values["pilot"], values["global"]) == (
        SECURE["control_plane_values"]["pilot"],
        SECURE["control_plane_values"]["global"],
    )
    assert (mesh["accessLogFile"], mesh["accessLogEncoding"], mesh["extensionProviders"][0]["name"]) == (
        "/dev/stdout",
        "JSON",
        "jaeger",
    )


def test_without_them_the_role_asks_for_what_it_asks_for_anyhow(asked):
    values, mesh = asked["off"]
    assert values == {"gateways": {"istio-ingressgateway": {"type": "LoadBalancer"}}} and set(mesh) == {
        "extensionProviders"
    }


def test_the_users_word_is_the_last(asked):
    values, mesh = asked["user"]
    assert values["pilot"] == {"seccompProfile": {"type": "Unconfined"}, "autoscaleMin": 2}
    assert values["global"] == SECURE["control_plane_values"]["global"]
    assert mesh == {"accessLogFile": "", "accessLogEncoding": "JSON", "extensionProviders": []}
