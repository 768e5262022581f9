#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: restore
short_description: Bring back a mesh's configuration from a backup
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Applies what M(servicemesh.istio.backup) has kept. What keeps traffic out comes before what lets it in, and what a route leads to before the
    route.
  - An object that has every value of the backup is left to its owners. In one that differs, fields that others own are a conflict, as
    everywhere. What was added to a live object since then stays, unless its owner is one of O(adopt_from) and O(adopt) is set.
  - Objects that came after the backup stay.
  - Kinds and namespaces that are missing are told at once, before anything is written. Control plane and namespaces come first.
options:
  src:
    description: Folder of the backup where the task runs. Only files that its index names are read.
    type: path
    required: true
  parts:
    description:
      - What is brought back. Of V(mesh_config) and V(secrets), what the backup was told to keep.
      - V(secrets) belong there before the control plane is installed, for istiod reads its authority when it starts. V(mesh_config) is what
        M(servicemesh.istio.control_plane) writes from its options at its next run, so it is better brought back there.
    type: list
    elements: str
    choices: [configuration, mesh_config, secrets]
    default: [configuration]
  to_other_cluster:
    description: Whether a backup of one cluster may be brought to another.
    type: bool
    default: false
seealso:
  - name: Istio configuration reference
    description: Reference of all Istio kinds.
    link: https://istio.io/latest/docs/reference/config/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
"""

EXAMPLES = r"""
- name: A backup
  servicemesh.istio.backup:
    dest: "{{ playbook_dir }}/mesh"

- name: All routes and policies are again as they were then
  servicemesh.istio.restore:
    src: "{{ playbook_dir }}/mesh"
"""

RETURN = r"""
cluster:
  description: Id and version of the cluster of which the backup is.
  returned: success
  type: dict
  sample: {uid: 3f0c2f2c-6d1c-4f57-9d5d-5b1f0a9d0e11, version: v1.36.3}
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs made for the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 12, configured: 0, recreated: 0, unchanged: 3, pruned: 0, failed: 0, dry_runs: 12}
objects:
  description: All objects of the plan.
  returned: when a plan was made
  type: list
  elements: dict
  contains:
    ref:
      description: Group, version, kind, namespace and name of the object.
      type: dict
    action:
      description: Action on the object. One of created, configured, recreated, unchanged, pruned, failed, pending.
      type: str
    conflicts:
      description: Fields that other field managers own, each with its manager.
      type: list
      elements: dict
    status:
      description: Readiness as defined by kstatus, if the module waited for the object.
      type: str
    message:
      description: Additional information about the action, such as the reason of a failure.
      type: str
verified:
  description: Conditions that the task verified after its steps, such as that proxies are in sync.
  returned: when a plan was made
  type: list
  elements: str
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
  returned: on failure
  type: dict
  sample: {code: other_cluster, ref: null, reason: "", hint: ""}
"""

from pathlib import Path

from ..module_utils._engine.files import managed_directory, manifests
from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._failure import InvalidOption
from ..module_utils._istio import backup

ARGUMENTS = {
    "src": {"type": "path", "required": True},
    "parts": {"type": "list", "elements": "str", "choices": list(backup.PARTS), "default": [backup.CONFIGURATION]},
    "to_other_cluster": {"type": "bool", "default": False},
    **WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def body(run: Run) -> dict:
    options = run.options
    src = Path(options["src"])
    text = managed_directory.read_file(src, managed_directory.INDEX)
    if text is None:
        raise InvalidOption(
            "src",
            f"{src} contains no {managed_directory.INDEX} on the host where this task runs",
            hint="Use a folder that the module backup wrote.",
        )
    index = backup.index_of(text, "src")
    objects = backup.objects_of(
        index, {name: managed_directory.read_file(src, name) for name in backup.wanted_files(index, options["parts"])}
    )
    run.hide({value for obj in objects if obj["kind"] == "Secret" for value in manifests.secret_values(obj)})
    backup.validate_backup(index, backup.cluster_uid(run.cluster), options["to_other_cluster"])
    run.fail_or_warn(backup.missing_prerequisites(run.cluster, objects))
    steps = backup.restore_steps(objects, run.cluster.live(objects), run.cluster.manager)
    return {**run.apply(steps, run.apply_options(values_only=True)), "cluster": index.cluster}


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
