#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: checkpoint
short_description: Save the current configuration of objects and restore it later
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Saves the configuration of selected objects in a ConfigMap in the cluster. It saves the fields that users and tools have set, but no fields that
    the API server or controllers set.
  - An existing checkpoint is never overwritten. After an interrupted run is repeated, the checkpoint still contains the state before the first run.
  - The role C(upgrade) uses a checkpoint for its rollback. Use this module for any other change that you may have to roll back.
options:
  name:
    description: Name of the checkpoint and of its ConfigMap.
    type: str
    required: true
  namespace:
    description: Namespace of the ConfigMap.
    type: str
    default: istio-system
  objects:
    description: Objects to save with O(state=present). Secrets cannot be saved.
    type: list
    elements: dict
    default: []
    suboptions:
      api_version:
        description: API group and version of the objects, such as V(apps/v1).
        type: str
        required: true
      kind:
        description: Kind of the objects.
        type: str
        required: true
      namespace:
        description: Namespace of the objects. By default, objects of all namespaces are selected.
        type: str
        default: ""
      name:
        description: Name of one object. By default, all objects of the kind are selected.
        type: str
        default: ""
      selector:
        description: Label selector of the objects, such as C(app=web).
        type: str
        default: ""
  notes:
    description: Additional texts to store in the checkpoint, by name.
    type: dict
    default: {}
  state:
    description:
      - V(present) saves the objects.
      - V(restored) restores the objects and waits until they are ready. It also deletes selected objects that this collection has created since.
      - V(absent) deletes the checkpoint and changes nothing else.
    type: str
    choices: [present, restored, absent]
    default: present
seealso:
  - name: ConfigMap
    description: Reference of the kind that stores a checkpoint.
    link: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/config-map-v1/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
"""

EXAMPLES = r"""
- name: Save the gateway before a change
  servicemesh.istio.checkpoint:
    name: before-the-change
    objects:
      - {api_version: apps/v1, kind: Deployment, namespace: istio-system, selector: istio=ingressgateway}
      - {api_version: v1, kind: Service, namespace: istio-system, selector: istio=ingressgateway}
    notes: {ticket: OPS-17}

- name: Restore the gateway
  servicemesh.istio.checkpoint:
    name: before-the-change
    state: restored

- name: Delete the checkpoint
  servicemesh.istio.checkpoint:
    name: before-the-change
    state: absent
"""

RETURN = r"""
found:
  description: Whether the checkpoint existed before this task.
  returned: success
  type: bool
notes:
  description: Notes of the checkpoint. If it already existed, these are the notes it was created with. Empty with O(state=absent).
  returned: success
  type: dict
  sample: {ticket: OPS-17}
kept:
  description: Objects in the checkpoint. Empty with O(state=absent).
  returned: success
  type: list
  elements: dict
  sample: [{group: apps, version: v1, kind: Deployment, namespace: istio-system, name: istio-ingressgateway}]
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs made for the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 2, configured: 0, recreated: 0, unchanged: 0, pruned: 0, failed: 0, dry_runs: 2}
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
  sample: {code: no_checkpoint, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine import checkpoint
from ..module_utils._engine.module import WAIT_ARGUMENTS, Run, run_module
from ..module_utils._engine.planning.change import ApplyOptions
from ..module_utils._engine.steps import Step
from ..module_utils._failure import Failure, InvalidOption
from ..module_utils._istio.install.control_plane import ISTIOD_MANAGER

CHOICE = {
    "api_version": {"type": "str", "required": True},
    "kind": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": ""},
    "name": {"type": "str", "default": ""},
    "selector": {"type": "str", "default": ""},
}
ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "istio-system"},
    "objects": {"type": "list", "elements": "dict", "options": CHOICE, "default": []},
    "notes": {"type": "dict", "default": {}},
    "state": {"type": "str", "choices": ["present", "restored", "absent"], "default": "present"},
    **WAIT_ARGUMENTS,
}


def body(run: Run) -> dict:
    options, cluster = run.options, run.cluster
    choices = [checkpoint.ObjectSelector(**choice) for choice in options["objects"]]
    notes = {name: str(text) for name, text in options["notes"].items()}
    wanted = checkpoint.Checkpoint(options["name"], options["namespace"], choices, notes)
    live = wanted.live(cluster)
    if options["state"] == "absent":
        # A checkpoint that cannot be read can be deleted too.
        return {**run.remove([live] if live else []), **_said(live, checkpoint.EMPTY)}
    if options["state"] == "restored":
        if live is None:
            run.fail_or_warn(
                [
                    Failure(
                        "no_checkpoint",
                        f"name: checkpoint {wanted.namespace}/{wanted.name} does not exist",
                        hint="Create it with state: present before the change.",
                    )
                ]
            )
            return {**run.apply([], ApplyOptions()), **_said(None, checkpoint.EMPTY)}
        kept = checkpoint.read_checkpoint(live)
        steps = checkpoint.restore_steps(kept, checkpoint.selected_objects(cluster, kept.selectors), cluster.manager)
        return {
            **run.apply(steps, ApplyOptions(force=True, ignore_managers=frozenset({ISTIOD_MANAGER}))),
            **_said(live, kept),
        }
    if live:
        return {**run.apply([], ApplyOptions()), **_said(live, checkpoint.read_checkpoint(live))}
    if not choices and not notes:
        raise InvalidOption("objects", "neither objects nor notes are set", hint="Set objects or notes.")
    taken = wanted.as_config_map(checkpoint.selected_objects(cluster, choices), frozenset({ISTIOD_MANAGER}))
    kept = checkpoint.read_checkpoint(taken)
    result = run.apply([Step("checkpoint", [taken])], ApplyOptions())
    names = "".join(f"{ref['kind']} {ref['namespace']}/{ref['name']}\n" for ref in checkpoint.result_refs(kept.objects))
    return {**result, "diff": [{**entry, "after": names} for entry in result["diff"]], **_said(None, kept)}


def _said(live: dict | None, kept: checkpoint.Snapshot) -> dict:
    return {"found": live is not None, "notes": kept.notes, "kept": checkpoint.result_refs(kept.objects)}


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
