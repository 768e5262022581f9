#!/usr/bin/env python3
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory with the local host and the cluster of a scenario. Scenarios use no other cluster, whatever the values
of KUBECONFIG and K8S_AUTH_* are.

Environment variables:

MOLECULE_KUBECONFIG  kubeconfig of a cluster of the user: official images are pulled, and the cleanup deletes only what
                     the scenario created. If it is not set, the lab's cluster is used, and the host is in the group
                     lab with the variables of tests/lab/vars.yml, such as images that the lab builds
MOLECULE_NEEDS       requirement of the scenario: control_plane; empty, a cluster without Istio, which is the second
                     cluster of the lab; or nothing
MOLECULE_EXTRAS      components that the lab adds for the scenario, such as helm and istio-1.30.4

Variables of the host:

molecule_up          whether a usable cluster exists; molecule_why: the reason if not
molecule_cluster     options: connection options of the modules; environment: for kubectl and helm
molecule_named       whether MOLECULE_KUBECONFIG is set
molecule_lab         environment in which tests/lab creates the cluster; molecule_second: the environment for the second
                     cluster, and whether that cluster exists
molecule_clone       path of the clone; molecule_common: path of the shared playbooks, tasks and templates
molecule_extras      MOLECULE_EXTRAS as a list
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CLONE = HERE.parents[2]
NAMED, NEEDS = os.environ.get("MOLECULE_KUBECONFIG", ""), os.environ.get("MOLECULE_NEEDS", "control_plane")
# Options that modules would otherwise read from K8S_AUTH_*.
NOT_FROM_OUTSIDE = (
    "context", "host", "api_key", "username", "password", "validate_certs", "ca_cert", "client_cert", "client_key", "proxy", "no_proxy",
    "impersonate_user", "impersonate_groups",
)  # fmt: skip
sys.path.insert(0, str(CLONE / "tests"))


def know_the_clone() -> None:
    """Create the link by which Ansible finds this clone as the collection, like playbooks/bootstrap.yml. The inventory
    creates it because Ansible reads the inventory before the plays.
    """
    link = CLONE / ".collections/ansible_collections/servicemesh/istio"
    if CLONE.parts[-3:] != ("ansible_collections", "servicemesh", "istio") and not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to("../../..")


def second() -> dict[str, str]:
    """The name of the second cluster, and its own port for its releases."""
    return {
        "LAB_NAME": f"{os.environ.get('LAB_NAME', 'servicemesh-lab')}-empty",
        "LAB_PORT": str(int(os.environ.get("LAB_PORT", "18730")) + 7),
    }


def named() -> dict[str, Any]:
    return {
        "environment": {"KUBECONFIG": str(Path(NAMED).expanduser().resolve()), "PATH": os.environ["PATH"]},
        "variables": {},
    }


def labs() -> dict[str, Any]:
    """The lab's cluster. Raises LabError if the lab is not up, or if its cluster has no marker."""
    # Reading the marker needs kubectl, which the lab builds.
    if not settings.kubeconfig().exists():
        raise LabError(f"the cluster {settings.NAME} is not up")
    cluster.require_lab(settings.kubeconfig())
    found = cluster.environment()
    built = found["LAB_IMAGES"] == "built"
    # The lab's variables read these from the environment, which the shell that started Molecule may not have.
    variables = {"lab_builds": built, **({"release_mirror": found["LAB_RELEASES"]} if built else {})}
    return {"environment": {name: found[name] for name in ("KUBECONFIG", "PATH")}, "variables": variables}


def inventory() -> dict[str, Any]:
    variables: dict[str, Any] = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "molecule_clone": str(CLONE),
        "molecule_common": str(HERE.parent / "common"),
        "molecule_named": bool(NAMED),
        "molecule_needs": NEEDS,
        "molecule_extras": os.environ.get("MOLECULE_EXTRAS", "").split(),
        "molecule_lab": SECOND if NEEDS == "empty" else {},
        "molecule_second": {
            "environment": SECOND,
            "there": (settings.CACHE / f"{SECOND['LAB_NAME']}.kubeconfig").exists(),
        },
    }
    try:
        found = named() if NAMED else labs()
    except LabError as error:
        # Every use of the cluster fails with this reason.
        variables.update(
            molecule_up=False, molecule_why=f"lab: {error}", molecule_cluster="{{ undef(hint=molecule_why) }}"
        )
    else:
        environment = found["environment"]
        options = {"kubeconfig": environment["KUBECONFIG"], **dict.fromkeys(NOT_FROM_OUTSIDE)}
        variables.update(
            molecule_up=True, molecule_cluster={"options": options, "environment": environment}, **found["variables"]
        )
    groups = {} if NAMED else {"lab": {"hosts": ["localhost"]}}
    return {"all": {"hosts": ["localhost"]}, **groups, "_meta": {"hostvars": {"localhost": variables}}}


SECOND = second()
if NEEDS == "empty":
    # The lab reads its settings from the environment at import.
    os.environ.update(SECOND)
from lab import cluster, settings  # noqa: E402
from lab.shell import LabError  # noqa: E402

if __name__ == "__main__":
    know_the_clone()
    print(json.dumps(inventory()))
