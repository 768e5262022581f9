#!/usr/bin/env python3
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory of one host, this one, with the cluster that a scenario may use. No other is touched, whatever
KUBECONFIG and K8S_AUTH_* say.

MOLECULE_KUBECONFIG  names the cluster, which then is somebody's own: official images are pulled, and only what a
                     scenario made goes.
                     Unset, it is the lab's, in the group lab with the variables of tests/lab/vars.yml, images that the
                     lab builds among them.
MOLECULE_NEEDS       what a scenario finds there: control_plane; empty, a cluster without Istio, for which the lab has a
                     second one; or nothing.
MOLECULE_EXTRAS      what the lab adds for a scenario: helm, istio-1.30.4; molecule_extras, as a list

molecule_up          whether there is a cluster that may be used; molecule_why, if not
molecule_cluster     options: of the modules; environment: for kubectl, helm and modules that call them
molecule_named       whether it is the one that MOLECULE_KUBECONFIG names
molecule_lab         environment in which tests/lab makes the cluster; molecule_second: in which it makes the second
                     one, and whether it is there
molecule_clone       where all this is, and molecule_common, where the shared playbooks, tasks and templates are
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
# Options that modules would else take from K8S_AUTH_*.
NOT_FROM_OUTSIDE = (
    "context", "host", "api_key", "username", "password", "validate_certs", "ca_cert", "client_cert", "client_key", "proxy", "no_proxy",
    "impersonate_user", "impersonate_groups",
)  # fmt: skip
sys.path.insert(0, str(CLONE / "tests"))


def know_the_clone() -> None:
    """The link by which Ansible finds this clone under the collection's name, as playbooks/bootstrap.yml makes it:
    plays are read after their inventory.
    """
    link = CLONE / ".collections/ansible_collections/servicemesh/istio"
    if CLONE.parts[-3:] != ("ansible_collections", "servicemesh", "istio") and not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to("../../..")


def second() -> dict[str, str]:
    """The second cluster's name, and a port of its own for its releases."""
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
    """Raises LabError where the lab is not up, or its cluster has no mark."""
    # Asking a cluster takes kubectl, which the lab builds.
    if not settings.kubeconfig().exists():
        raise LabError(f"the cluster {settings.NAME} is not up")
    cluster.require_lab(settings.kubeconfig())
    found = cluster.environment()
    built = found["LAB_IMAGES"] == "built"
    # The shell that started Molecule need not know the lab's environment, in which its variables look these up.
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
        # Whatever uses the cluster fails with the reason.
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
    # The lab's settings are read when they are imported.
    os.environ.update(SECOND)
from lab import cluster, settings  # noqa: E402
from lab.shell import LabError  # noqa: E402

if __name__ == "__main__":
    know_the_clone()
    print(json.dumps(inventory()))
