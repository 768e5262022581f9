#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: backup
short_description: Back up the Istio resources of a cluster to files
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes all Istio resources of a cluster to YAML files that can be applied again. Istio resources are the objects of all API groups that end in
    C(.istio.io).
  - The files do not contain fields that the API server or controllers set, or labels that make an object a member of an ApplySet.
  - Objects that a controller or istiod created are not backed up, because their creator creates them again. RV(left_out) lists them.
  - The folder has one file for each namespace and kind. The order of objects is stable, so a second run changes nothing and the folder can be
    stored in git. The index C(index.yaml) contains counts, versions and the cluster's ID.
  - By default, the folder is made equal to the cluster. If all objects of a file no longer exist, the file is deleted. The module never deletes
    a file that is not in its index.
  - Use M(servicemesh.istio.restore) to restore the backup.
options:
  dest:
    description:
      - Path of the backup folder, on the host where the task runs. The module creates it if it does not exist.
      - The task fails if the folder contains other files but no index. Hidden files, such as C(.git), are ignored.
      - The task also fails if the folder contains the backup of another cluster, or, with O(prune=true), objects of kinds that the cluster no
        longer serves.
    type: path
    required: true
  istio_namespace:
    description: Namespace of the control plane. O(secrets) without a namespace are in this namespace.
    type: str
    default: istio-system
  gateway_api:
    description: Whether to back up the objects of the Gateway API too.
    type: bool
    default: false
  mesh_config:
    description: Whether to back up the ConfigMaps with istiod's mesh configuration too.
    type: bool
    default: false
  secrets:
    description:
      - Secrets to back up too, as C(NAME) or C(NAMESPACE/NAME), such as C(istio-ca-secret) or C(cacerts).
      - The files of Secrets contain B(private keys). Only their owner can read them.
      - A Secret that does not exist produces a warning. If the backup still contains it and O(prune=true), the task fails.
    type: list
    elements: str
    default: []
  prune:
    description:
      - Whether to remove objects from the backup that no longer exist in the cluster.
      - With V(false) they stay in the backup, also after several runs. Use this for a backup before you remove a mesh.
    type: bool
    default: true
seealso:
  - name: Istio configuration reference
    description: Reference of all Istio kinds.
    link: https://istio.io/latest/docs/reference/config/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
attributes:
  check_mode:
    details: No file is written.
"""

EXAMPLES = r"""
- name: Back up all Istio resources and the mesh configuration
  servicemesh.istio.backup:
    dest: "{{ playbook_dir }}/mesh"
    mesh_config: true
  register: result

- name: Show what was backed up
  ansible.builtin.debug:
    msg: "{{ result.counts }} in {{ result.dest }}"

- name: Back up the key of Istio's self-signed CA too
  servicemesh.istio.backup:
    dest: "{{ playbook_dir }}/mesh"
    mesh_config: true
    secrets: [istio-ca-secret]
  diff: true
"""

RETURN = r"""
dest:
  description: Path of the backup folder.
  returned: success
  type: str
files:
  description: All files, each with its action (created, configured, unchanged or pruned) and the number of its objects.
  returned: success
  type: list
  elements: dict
  sample: [{name: configuration/shop/VirtualService.networking.istio.io.yaml, action: created, objects: 3}]
counts:
  description: Number of objects by kind.
  returned: success
  type: dict
  sample: {VirtualService.networking.istio.io: 3}
left_out:
  description: Objects that are not backed up, each with the reason.
  returned: success
  type: list
  elements: dict
  sample: [{ref: WorkloadEntry shop/vm-10.0.0.7, why: its controller creates it again}]
cluster:
  description: The cluster's ID, which is the UID of its namespace kube-system, and its Kubernetes version.
  returned: success
  type: dict
  sample: {uid: 3f0c2f2c-6d1c-4f57-9d5d-5b1f0a9d0e11, version: v1.36.3}
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
  returned: on failure
  type: dict
  sample: {code: not_ours, ref: null, reason: "", hint: ""}
"""

from dataclasses import replace
from pathlib import Path

from ..module_utils._engine.files import managed_directory, manifests
from ..module_utils._engine.module import Run, run_module
from ..module_utils._istio import backup

ARGUMENTS = {
    "dest": {"type": "path", "required": True},
    "istio_namespace": {"type": "str", "default": "istio-system"},
    "gateway_api": {"type": "bool", "default": False},
    "mesh_config": {"type": "bool", "default": False},
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "prune": {"type": "bool", "default": True},
}
OPTIONS = ("gateway_api", "mesh_config", "secrets")
PRIVATE = {backup.SECRETS}


def body(run: Run) -> dict:
    options = run.options
    dest = Path(options["dest"])
    scope = backup.BackupScope(namespace=options["istio_namespace"], **{name: options[name] for name in OPTIONS})
    backup.validate_scope(scope)
    text = managed_directory.read_file(dest, managed_directory.INDEX)
    if text is None:
        managed_directory.require_empty(dest, "dest")
    known = None if text is None else backup.index_of(text, "dest")
    found = run.timed("read", lambda: backup.read_configuration(run.cluster, scope))
    owned = set(known.files) if known else set()
    if known:
        backup.require_same_cluster(known, found.cluster["uid"], "dest", "Use a separate folder for each cluster.")
        if options["prune"]:
            backup.fail_if_lost(known, found)
        else:
            found = backup.merge_with_backup(
                found, known, {name: managed_directory.read_file(dest, name) for name in owned}
            )
    run.hide({value for secret in found.objects[backup.SECRETS] for value in manifests.secret_values(secret)})
    wanted, index = backup.backup_files(found)
    for name in set(found.lost) - set(index.asked):
        run.module.warn(f"{name} does not exist, so it is not part of the backup")
    changes = managed_directory.plan_files(dest, wanted, owned, PRIVATE)
    listed = managed_directory.plan_files(dest, {managed_directory.INDEX: index.text}, {managed_directory.INDEX})
    changed = any(change.changes for change in changes + listed)
    if changed and not run.check_mode:
        run.timed(
            "write",
            lambda: _write(
                dest, changes, listed, replace(index, complete=False, files={**dict.fromkeys(owned, 0), **index.files})
            ),
        )
    rows = [
        {"name": change.name, "action": change.action, "objects": index.files.get(change.name, 0)} for change in changes
    ]
    diff = [backup.difference(change, f"{dest}/{change.name}") for change in changes + listed if change.changes]
    return {
        "changed": changed,
        "diff": diff,
        "dest": str(dest),
        "files": rows,
        "counts": index.objects,
        "left_out": found.left_out,
        "cluster": index.cluster,
    }


def _write(dest: Path, changes: list, listed: list, unfinished: backup.Index) -> None:
    """Write the files. The index is marked as incomplete meanwhile and lists old and new files, so that the next run can
    continue after an interruption.
    """
    last = replace(listed[0], action=managed_directory.CONFIGURED)
    managed_directory.apply_files(dest, [replace(last, after=unfinished.text), *changes, last])


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
