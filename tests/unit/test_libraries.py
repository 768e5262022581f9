# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""On a host where a library is not installed, a module says so before it does anything, and says what to do."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils import _libraries
from collection import MODULES, PLUGINS, ROOT

# Runs the main() of modules in a process in which one library cannot be imported; prints what each of them returned.
WITHOUT = """
import contextlib, importlib, io, json, sys
from importlib.abc import MetaPathFinder

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}")

from ansible.module_utils.testing import patch_module_args
for name in [name for name in sys.modules if name.partition(".")[0] == sys.argv[1]]:
    del sys.modules[name]
sys.meta_path.insert(0, Without())
answers = {}
for module, options in json.loads(sys.argv[3]).items():
    with patch_module_args(options), contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        importlib.import_module(f"{sys.argv[2]}.modules.{module}").main()
    answers[module] = json.loads(out.getvalue().strip().splitlines()[-1])
print(json.dumps(answers))
"""
# Far from any cluster: what gets as far as asking one fails otherwise.
NOWHERE = {"kubeconfig": "apiVersion: v1\nkind: Config\n", "context": "none"}
REQUIRED: dict[str, dict[str, Any]] = {
    "addons": {"state": "absent"},
    "authorization": {"name": "web", "namespace": "shop"},
    "backup": {"dest": "/nowhere"},
    "checkpoint": {"name": "here"},
    "control_plane": {"state": "absent"},
    "egress": {"name": "web", "namespace": "shop", "state": "absent"},
    "fault": {"service": "web", "namespace": "shop", "state": "absent"},
    "gateway": {"name": "web", "namespace": "shop"},
    "images_info": {"definition": {"kind": "Pod"}},
    "jwt": {"name": "web", "namespace": "shop", "state": "absent"},
    "load_balancing": {"service": "web", "namespace": "shop"},
    "manifests": {"definition": {"kind": "ConfigMap"}},
    "mtls": {"namespace": "shop", "mode": "strict"},
    "namespace": {"name": "shop"},
    "proxy_log": {"namespace": "shop", "levels": {"all": "debug"}},
    "release": {"version": "1.31.0", "state": "absent"},
    "resilience": {"service": "web", "namespace": "shop"},
    "restart": {"namespaces": ["shop"]},
    "restore": {"src": "/nowhere"},
    "revision_tag": {"name": "stable", "state": "absent"},
    "route": {"service": "web", "namespace": "shop", "state": "absent"},
    "sidecar": {"namespace": "shop"},
    "telemetry": {"namespace": "shop"},
    "traffic": {"policy": {}},
    "traffic_split": {"service": "web", "namespace": "shop", "versions": {"v1": 1}},
    "traffic_rollback": {"service": "web", "namespace": "shop"},
    "webhooks": {"state": "open"},
}


def without(library: str, calls: dict[str, Any]) -> dict[str, dict[str, Any]]:
    path = os.pathsep.join([str(ROOT / ".collections"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", WITHOUT, library, PLUGINS, json.dumps(calls)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return answers


def says_so(answer: dict[str, Any], name: str) -> None:
    assert answer["failed"] and answer["changed"] is False
    assert (
        answer["failure"]["code"] == "missing_library"
        and f"No module named '{name.lower().removeprefix('py')}" in answer["failure"]["reason"]
    )
    assert f"required Python library ({name})" in answer["msg"] and f"pip install '{name}>=" in answer["msg"]


def test_without_pyyaml_no_module_begins() -> None:
    answers = without("yaml", {name: {**NOWHERE, **REQUIRED.get(name, {})} for name in MODULES})
    for name, answer in answers.items():
        assert "failure" in answer, f"{name}: {answer['msg']}"
        says_so(answer, "PyYAML")


def test_without_the_kubernetes_client_no_cluster_is_asked() -> None:
    says_so(without("kubernetes", {"mesh_check": NOWHERE})["mesh_check"], "kubernetes")


def test_jmespath_is_missed_only_by_what_needs_it() -> None:
    answers = without("jmespath", {"mesh_info": {**NOWHERE, "query": "cluster"}, "mesh_check": NOWHERE})
    says_so(answers["mesh_info"], "jmespath")
    assert answers["mesh_check"]["failure"]["code"] == "kubeconfig"


@pytest.mark.parametrize("name", _libraries.NEEDED)
def test_what_is_said_to_be_needed_is_what_requirements_say(name: str) -> None:
    assert _libraries.NEEDED[name].lower() in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert importlib.metadata.version(name)
