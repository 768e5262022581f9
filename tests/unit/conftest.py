# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules against the API in memory."""

from __future__ import annotations

import functools
import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import running
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting import wait
from ansible_collections.servicemesh.istio.plugins.module_utils._probe import daemon
from builders import service
from fake_gateway import Gateway
from memory_api import MemoryApi


@pytest.fixture(autouse=True)
def quick(monkeypatch: Any) -> None:
    """What waits for news looks again soon, and what has started has settled: the tests of waiting take this back where
    it matters.
    """
    look = wait.Watched.wait
    monkeypatch.setattr(wait.Watched, "wait", lambda self, seconds: look(self, min(seconds, 0.05)))
    monkeypatch.setattr(wait, "SETTLED_AFTER", 0.0)
    # A module's process is short and needs no garbage collector; this one is not.
    gc.enable()
    monkeypatch.setattr(gc, "disable", lambda: None)


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(
        *[{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("istio-system", "shop")]
    )


@pytest.fixture
def runner(capsys: Any, monkeypatch: Any, tmp_path: Any) -> Any:
    """runner(api, module, check=False, **options) -> result"""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda api, module, /, check=False, **options: running.run(capsys, monkeypatch, api, module, check, options)


@pytest.fixture
def run(api: MemoryApi, runner: Any) -> Any:
    """run(module, check=False, **options) -> result"""
    return functools.partial(runner, api)


@pytest.fixture
def gateway(api: MemoryApi) -> Iterator[Gateway]:
    """istio-system/istio-ingressgateway, at an address that answers."""
    served = Gateway()
    threading.Thread(target=served.server.serve_forever, args=(0.02,), daemon=True).start()
    spec = {
        "type": "LoadBalancer",
        "ports": [{"name": "status-port", "port": 15021}, {"name": "http2", "port": served.port}],
    }
    live = service("istio-ingressgateway", "istio-system", **spec)
    live["status"] = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
    api.put(live)
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def processes(runner: Any, tmp_path: Path, monkeypatch: Any) -> Iterator[Path]:
    """The cache folder. What stays after its module ends with the test, also where that has failed; and none ever runs
    on as a second pytest.
    """
    start, here = daemon.start_process, os.getpid()

    def guarded(*arguments: Any) -> daemon.Process:
        try:
            return start(*arguments)
        finally:
            if os.getpid() != here:
                os._exit(1)

    monkeypatch.setattr(daemon, "start_process", guarded)
    yield tmp_path / "cache"
    for record in (tmp_path / "cache").rglob("process.json"):
        found = daemon.find_process(daemon.ProcessPlace(record.parent.parent.name, record.parent.name))
        if found and found.alive:
            os.kill(found.pid, signal.SIGKILL)
