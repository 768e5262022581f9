#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: restore
short_description: Restore Istio resources from a backup
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Applies the objects that M(servicemesh.istio.backup) saved. Policies that deny traffic are applied before those that allow it, and the targets of
    a route before the route.
  - An object that already has all values of the backup is not changed, and its fields keep their owners. In an object that differs, fields of other
    field managers are conflicts.
  - Fields that were added to an object after the backup are kept, unless O(adopt=true) and their owner is in O(adopt_from).
  - Objects that were created after the backup are kept.
  - The task fails before it writes anything if kinds or namespaces of the backup are missing in the cluster. Install the control plane and create the
    namespaces first.
options:
  src:
    description: Path of the backup folder, on the host where the task runs. Only files that the backup's index lists are read.
    type: path
    required: true
  parts:
    description:
      - Parts of the backup to restore. V(mesh_config) and V(secrets) exist only if the backup was made with them.
      - Restore V(secrets) before you install the control plane, because istiod reads its CA when it starts.
      - The next run of M(servicemesh.istio.control_plane) overwrites a restored V(mesh_config) with its own options. It is better to set the mesh
        configuration there.
    type: list
    elements: str
    choices: [configuration, mesh_config, secrets]
    default: [configuration]
  to_other_cluster:
    description: Whether to allow the restore to another cluster than the one that was backed up. With V(false) such a restore fails.
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
- name: Back up all Istio resources
  servicemesh.istio.backup:
    dest: "{{ playbook_dir }}/mesh"

- name: Restore all Istio resources
  servicemesh.istio.restore:
    src: "{{ playbook_dir }}/mesh"
"""

RETURN = r"""
cluster:
  description: ID and Kubernetes version of the cluster that was backed up.
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
