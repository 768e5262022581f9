# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything here runs on the lab's cluster, whatever KUBECONFIG says, and refuses one without the lab's mark."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

from lab import cluster, plan, settings  # noqa: E402
from playbook_runner import OF_SECOND, ROOT, SECOND, Lab, second_lab  # noqa: E402
from shop import shop as shop  # noqa: E402


@pytest.fixture(scope="session")
def lab(tmp_path_factory: Any) -> Lab:
    environment = cluster.environment()
    cluster.require_lab(Path(environment["KUBECONFIG"]))
    return Lab(environment, tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def mesh(lab: Lab) -> Lab:
    """The lab with the whole site on it."""
    lab.site().ok()
    return lab


@pytest.fixture(scope="session")
def second() -> Iterator[str]:
    """Name of the node of a second cluster, for what would disturb the first."""
    second_lab("up")
    yield f"{SECOND}-control-plane"
    second_lab("down")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs elsewhere comes last: the first cluster stands still meanwhile."""
    items.sort(key=lambda item: "elsewhere" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def extras(second: str) -> None:
    """Helm and the previous release of Istio, which only tests on the second cluster use."""
    second_lab("add", *plan.EXTRAS)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds what the last tests use while the first ones wait for the cluster."""
    if session.config.option.collectonly or not any(
        "elsewhere" in getattr(item, "fixturenames", ()) for item in session.items
    ):
        return
    argv = ["nice", "-n", "19", sys.executable, "tests/lab", "add", *plan.EXTRAS]
    quiet = subprocess.DEVNULL
    builder = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **OF_SECOND}, stdin=quiet, stdout=quiet, stderr=quiet)
    session.config.add_cleanup(builder.terminate)


@pytest.fixture(scope="session")
def alone() -> Iterator[dict[str, str]]:
    """The lab's environment. The first cluster is paused: two meshes on two cores would measure each other."""
    environment = cluster.environment()
    with cluster.paused():
        yield environment


@pytest.fixture(scope="module")
def elsewhere(alone: dict[str, str], second: str, extras: None, tmp_path_factory: Any) -> Lab:
    """The second cluster as a lab."""
    environment = {**alone, "KUBECONFIG": str(settings.CACHE / f"{SECOND}.kubeconfig")}
    cluster.require_lab(Path(environment["KUBECONFIG"]))
    return Lab(environment, tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="session")
def api(lab: Lab) -> Any:
    """The collection's own connection to the lab."""
    from ansible_collections.servicemesh.istio.plugins.module_utils._cluster import connection

    return connection.connect({"kubeconfig": str(lab.kubeconfig)}, 30.0)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What to do about a failure here."""
    failed = [report.nodeid for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])]
    if failed:
        terminalreporter.section("what next")
        terminalreporter.line(
            'See the cluster as it is:  eval "$(make -s lab-env)"; kubectl get pods -A; istioctl proxy-status'
        )
        terminalreporter.line("Mend the lab:              make lab && make site")
        terminalreporter.line(f"Only this test again:      .venv/bin/pytest '{failed[0]}'")
