#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: namespace
short_description: Enroll a namespace in the mesh
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Creates the namespace if it does not exist, sets the label that enables sidecar injection, and reports workloads with pods that have no sidecar.
  - Sidecars are injected when a pod is created. Pods that are older than the label get a sidecar when their workload is restarted, see
    O(restart_missing_sidecar).
options:
  name:
    description: Name of the namespace.
    type: str
    required: true
  injection:
    description:
      - Value of the label C(istio-injection), for a control plane without a revision.
      - If neither O(injection) nor O(revision) is set, the module removes the injection label that it set before.
    type: str
    choices: [enabled, disabled]
  revision:
    description: Value of the label C(istio.io/rev), which is a revision or a revision tag. It cannot be combined with O(injection).
    type: str
  labels:
    description: Additional labels of the namespace.
    type: dict
    default: {}
  restart_missing_sidecar:
    description:
      - Whether to restart Deployments, StatefulSets and DaemonSets with pods that have no sidecar, and wait for them.
      - Other pods without a sidecar are only reported.
    type: bool
    default: false
  restart_stale_sidecar:
    description:
      - Whether to restart workloads with a stale sidecar, and to list them in RV(stale).
      - A sidecar is stale if it has another revision or version than new pods of the namespace would get, such as after a revision tag was moved.
      - The module restarts four workloads at a time, within the PodDisruptionBudgets of their pods. M(servicemesh.istio.restart) has more options.
    type: bool
    default: false
  state:
    description:
      - V(present) enrolls the namespace.
      - V(absent) removes the labels that this module set. It deletes the namespace only with O(delete=true).
    type: str
    choices: [present, absent]
    default: present
  delete:
    description: With O(state=absent), whether to delete the namespace with everything in it.
    type: bool
    default: false
seealso:
  - name: Sidecar injection
    description: Labels that enable injection.
    link: https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
"""

EXAMPLES = r"""
- name: Enable sidecar injection in a namespace
  servicemesh.istio.namespace:
    name: online-boutique
    injection: enabled

- name: Enable sidecar injection and restart pods without a sidecar
  servicemesh.istio.namespace:
    name: online-boutique
    injection: enabled
    restart_missing_sidecar: true
  register: enrolled

- name: Show how many pods have a sidecar
  ansible.builtin.debug:
    msg: "{{ enrolled.pods.enrolled }} of {{ enrolled.pods.expected }} pods have a sidecar"
"""

RETURN = r"""
pods:
  description: Number of running pods with a sidecar (C(enrolled)), of pods that should have one (C(expected)), and of all pods (C(total)).
  returned: when O(state=present)
  type: dict
  sample: {enrolled: 12, expected: 12, total: 12}
missing_sidecar:
  description: Workloads with pods that should have a sidecar and have none. The list shows the state before a restart.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{kind: Deployment, name: web, namespace: shop, pods: [web-5d8], restartable: true}]
stale:
  description: Workloads with pods that have a stale sidecar. The list shows the state before a restart.
  returned: when O(restart_stale_sidecar=true)
  type: list
  elements: dict
  sample: [{kind: Deployment, name: web, namespace: shop, pods: [web-5d8], restartable: true}]
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
  sample: {code: both_labels, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._engine.planning.change import ApplyOptions
from ..module_utils._engine.steps import Step
from ..module_utils._istio.dataplane import injection, restarts, revisions

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "injection": {"type": "str", "choices": ["enabled", "disabled"]},
    "revision": {"type": "str"},
    "labels": {"type": "dict", "default": {}},
    "restart_missing_sidecar": {"type": "bool", "default": False},
    "restart_stale_sidecar": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "delete": {"type": "bool", "default": False},
    **WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def body(run: Run) -> dict:
    options = run.options
    name, absent = options["name"], options["state"] == "absent"
    asked = (
        {}
        if absent
        else {
            "injection": options["injection"] or "",
            "revision": options["revision"] or "",
            "labels": options["labels"],
        }
    )
    enrollment = injection.Enrollment(name, **asked)
    injection.validate_enrollment(enrollment, None)
    live = run.cluster.get("", "Namespace", "", name)
    if absent and (options["delete"] or live is None):
        return run.remove([injection.namespace_object(enrollment)] if live else [])
    injection.validate_enrollment(enrollment, live)
    result = run.apply([Step("namespace", [injection.namespace_object(enrollment)])], run.apply_options())
    return result if absent else {**result, **_pods(run, enrollment, live)}


def _pods(run: Run, enrollment: injection.Enrollment, live: dict | None) -> dict:
    """The sidecars of the namespace's pods, after the restarts that the options request."""
    labels = {**(((live or {}).get("metadata") or {}).get("labels") or {}), **enrollment.wanted_labels}
    known = revisions.read_revisions(run.cluster) if run.options["restart_stale_sidecar"] else None
    seen = restarts.inspect_namespace(run.cluster, enrollment.name, labels, known)
    result = {
        "pods": seen.pods,
        "missing_sidecar": restarts.restart_rows(seen.missing_sidecar),
        **({"stale": restarts.restart_rows(seen.stale)} if known else {}),
    }
    if not run.options["restart_missing_sidecar"] and not run.options["restart_stale_sidecar"]:
        return result
    steps = restarts.restart_steps(
        run.cluster, [seen], (seen.missing_sidecar if run.options["restart_missing_sidecar"] else []) + seen.stale
    )
    if not steps:
        return result
    second = run.apply(steps, ApplyOptions(force=True), manager=restarts.MANAGER)
    if not run.check_mode:
        result["pods"] = injection.sidecar_counts(
            run.cluster.list("", "Pod", enrollment.name), injection.injects(labels)
        )
    return {**result, **second}


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
