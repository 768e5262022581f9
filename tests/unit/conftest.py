# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules against the API in memory."""
from __future__ import annotations

import functools
import gc
from typing import Any

import pytest
import running
from ansible_collections.servicemesh.istio.plugins.module_utils._engine import wait
from memory_api import MemoryApi


@pytest.fixture(autouse=True)
def quick(monkeypatch: Any) -> None:
    """What waits for news looks again soon, and what has started has settled: the tests of waiting take this back where it matters."""
    look = wait.Watched.wait
    monkeypatch.setattr(wait.Watched, "wait", lambda self, seconds: look(self, min(seconds, 0.05)))
    monkeypatch.setattr(wait, "SETTLED_AFTER", 0.0)
    # A module's process is short and needs no garbage collector; this one is not.
    gc.enable()
    monkeypatch.setattr(gc, "disable", lambda: None)


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(*[{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("istio-system", "shop")])


@pytest.fixture
def runner(capsys: Any, monkeypatch: Any, tmp_path: Any) -> Any:
    """runner(api, module, check=False, **options) -> result"""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda api, module, /, check=False, **options: running.run(capsys, monkeypatch, api, module, check, options)


@pytest.fixture
def run(api: MemoryApi, runner: Any) -> Any:
    """run(module, check=False, **options) -> result"""
    return functools.partial(runner, api)
