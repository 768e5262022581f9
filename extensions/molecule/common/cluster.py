# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells, as JSON, which cluster a scenario may use: the lab's, or the one that MOLECULE_KUBECONFIG names. No other is touched.

options      the modules' options for it; what K8S_AUTH_* variables say is kept out by options that are null
environment  what kubectl needs
lab          whether it is the lab's, so that it may be changed beyond the scenario's own namespace
builds       whether the lab builds its images; releases: where it serves releases of Istio, empty where they are downloaded
"""
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from lab import cluster, settings  # noqa: E402
from lab.shell import LabError  # noqa: E402

NOT_FROM_OUTSIDE = (
    "context", "host", "api_key", "username", "password", "validate_certs", "ca_cert", "client_cert", "client_key", "proxy", "no_proxy",
    "impersonate_user", "impersonate_groups",
)  # fmt: skip


def chosen() -> dict[str, object]:
    """Raises LabError where the lab is not up, or its cluster has no mark."""
    named = os.environ.get("MOLECULE_KUBECONFIG")
    if named:
        environment = {"KUBECONFIG": str(Path(named).expanduser().resolve()), "PATH": os.environ["PATH"]}
    else:
        cluster.require_lab(settings.kubeconfig())
        environment = cluster.environment()
    return {
        "options": {"kubeconfig": environment["KUBECONFIG"], **dict.fromkeys(NOT_FROM_OUTSIDE)},
        "environment": {name: environment[name] for name in ("KUBECONFIG", "PATH")},
        "lab": not named,
        "builds": environment.get("LAB_IMAGES") == "built",
        "releases": environment.get("LAB_RELEASES", ""),
    }


if __name__ == "__main__":
    try:
        print(json.dumps(chosen()))
    except LabError as error:
        sys.exit(f"lab: {error}")
