#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: backup
short_description: Keep a mesh's configuration in files
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes every object of Istio's kinds, those of all API groups that end in C(.istio.io), to YAML files that apply cleanly.
  - What servers and controllers write is left out, and so is the membership of a set, which whoever keeps the set writes anew. Objects that a
    controller or istiod itself made are not kept, for these make them again; RV(left_out) names them.
  - There is one file for each namespace and kind, in an order that does not change, so that a second run changes nothing and the folder can be
    kept in git. An index, C(index.yaml), has counts, versions and the cluster's id.
  - The folder becomes what the cluster is, unless O(prune=false). A file of objects that are gone goes too, but never one that the index does
    not name.
  - M(servicemesh.istio.restore) brings the files back.
options:
  dest:
    description:
      - Folder where the task runs. It is made where it is missing. One that holds other files, and no index, is refused; what is hidden, such as
        C(.git), does not count.
      - Refused, too, is the backup of another cluster, and with O(prune) one of kinds that the cluster no longer serves.
    type: path
    required: true
  istio_namespace:
    description: Namespace of the control plane, in which O(secrets) are looked for.
    type: str
    default: istio-system
  gateway_api:
    description: Whether objects of the Gateway API are kept, too.
    type: bool
    default: false
  mesh_config:
    description: Whether the ConfigMaps from which istiod reads its mesh configuration are kept, too.
    type: bool
    default: false
  secrets:
    description:
      - Secrets that are kept, too, as C(NAME) or C(NAMESPACE/NAME), such as C(istio-ca-secret) or C(cacerts). Their files hold B(private keys)
        and can be read by their owner only.
      - One that is not there is a warning. Where the backup still has it, it is refused with O(prune).
    type: list
    elements: str
    default: []
  prune:
    description: Whether objects that the cluster has no more leave the backup. Without it they stay, also over several runs, as before the removal of a mesh.
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
- name: Keep all routes and policies, and what istiod was told
  servicemesh.istio.backup:
    dest: "{{ playbook_dir }}/mesh"
    mesh_config: true
  register: kept

- name: What there is
  ansible.builtin.debug:
    msg: "{{ kept.counts }} in {{ kept.dest }}"

- name: The authority of the mesh, too
  servicemesh.istio.backup:
    dest: "{{ playbook_dir }}/mesh"
    mesh_config: true
    secrets: [istio-ca-secret]
  diff: true
"""

RETURN = r"""
dest:
  description: The folder.
  returned: success
  type: str
files:
  description: Every file with what was done with it, one of created, configured, unchanged, pruned, and the number of its objects.
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
  description: Objects that are not kept, and why.
  returned: success
  type: list
  elements: dict
  sample: [{ref: WorkloadEntry shop/vm-10.0.0.7, why: its controller makes it anew}]
cluster:
  description: The cluster's id, which is the uid of its namespace kube-system, and its version.
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
    """While files are written the index says so, and names the old and the new ones: an interruption costs a run, never
    a file.
    """
    last = replace(listed[0], action=managed_directory.CONFIGURED)
    managed_directory.apply_files(dest, [replace(last, after=unfinished.text), *changes, last])


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
