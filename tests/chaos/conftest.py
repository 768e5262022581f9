# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults are made on a cluster of their own, which is taken down at the end; LAB_KEEP=1 leaves it for the next run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent)]

from lab import cluster  # noqa: E402
from playbook_runner import ROOT, Lab  # noqa: E402
from proxy import Proxy  # noqa: E402

NAME = "servicemesh-faults"
OWN = {"LAB_NAME": NAME, "LAB_PORT": "18732"}


def lab_command(command: str) -> str:
    """Output of the lab's command line, for this cluster."""
    done = subprocess.run(
        [sys.executable, "tests/lab", command],
        cwd=ROOT,
        env={**os.environ, **OWN},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def lab(tmp_path_factory: Any) -> Iterator[Lab]:
    lab_command("up")
    words = shlex.split(lab_command("env"))
    environment = dict(word.split("=", 1) for word in words if "=" in word)
    cluster.require_lab(Path(environment["KUBECONFIG"]))
    yield Lab(environment, tmp_path_factory.mktemp("lab"))
    if os.environ.get("LAB_KEEP") != "1":
        lab_command("down")


@pytest.fixture
def proxy(lab: Lab, tmp_path: Path) -> Iterator[Proxy]:
    folder = tmp_path / "proxy"
    folder.mkdir()
    with Proxy(lab.kubeconfig, folder) as between:
        yield between


@pytest.fixture
def node() -> str:
    return f"{NAME}-control-plane"


@pytest.fixture
def namespace(lab: Lab, request: Any) -> Iterator[str]:
    """A namespace for one test, of which the next one sees nothing."""
    name = f"faults-{abs(hash(request.node.nodeid)) % 10**8}"
    lab.kubectl("create", "namespace", name)
    yield name
    lab.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
