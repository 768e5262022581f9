# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's main() against the API in memory."""

from __future__ import annotations

import contextlib
import importlib
import json
from typing import Any

import rbac
from ansible.module_utils import _internal
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.module import Run

MODULES = "ansible_collections.servicemesh.istio.plugins.modules"


def run(capsys: Any, monkeypatch: Any, api: Any, name: str, check: bool, options: dict[str, Any]) -> dict[str, Any]:
    """What the module printed, `failed` included."""
    # A test that imports an action plugin makes this process a controller, which prints warnings instead of returning
    # them.
    monkeypatch.setattr(_internal, "is_controller", False, raising=False)
    monkeypatch.setattr(Run, "connect", staticmethod(lambda _options, _patience: api))
    module = importlib.import_module(f"{MODULES}.{name}")
    capsys.readouterr()
    before = len(getattr(api, "requests", ()))
    # A module's process starts without any; here all modules share one.
    warnings._global_warnings.clear()
    with (
        patch_module_args({**options, "_ansible_check_mode": check, "_ansible_diff": True}),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    lines = capsys.readouterr().out.strip().splitlines()
    result: dict[str, Any] = json.loads(lines[-1])
    lacking = rbac.lacking(name, getattr(api, "requests", ())[before:])
    assert not lacking, f"{name} asks for what playbooks/vars/rbac.yml does not give it: {sorted(lacking)}"
    return result
