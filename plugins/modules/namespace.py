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
  - Sets the label of a namespace that enables sidecar injection, and reports workloads with pods without a sidecar.
  - Istio injects the sidecar when a pod is created. Existing pods require a restart of their workload, see O(restart_missing_sidecar).
options:
  name:
    description: Name of the namespace.
    type: str
    required: true
  injection:
    description: Value of the label C(istio-injection), for a control plane without a revision. If neither this nor O(revision) is set, both labels are removed.
    type: str
    choices: [enabled, disabled]
  revision:
    description: Value of the label C(istio.io/rev), a revision or a revision tag. Mutually exclusive with O(injection).
    type: str
  labels:
    description: Other labels.
    type: dict
    default: {}
  restart_missing_sidecar:
    description: Whether to restart Deployments, StatefulSets and DaemonSets with pods without a sidecar, and to wait for them. Other pods are only reported.
    type: bool
    default: false
  restart_stale_sidecar:
    description:
      - Whether to restart workloads whose pods have a sidecar of another revision or version than the label of the namespace selects, for example
        after a revision tag was moved. RV(stale) lists them.
      - Four workloads are restarted at a time, within their PodDisruptionBudgets. M(servicemesh.istio.restart) has more options.
    type: bool
    default: false
  state:
    description: V(absent) removes the labels. O(delete) also deletes the namespace.
    type: str
    choices: [present, absent]
    default: present
  delete:
    description: With O(state=absent), whether to delete the namespace with all of its objects.
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
- name: Enable injection
  servicemesh.istio.namespace:
    name: online-boutique
    injection: enabled

- name: Enable injection and restart existing workloads
  servicemesh.istio.namespace:
    name: online-boutique
    injection: enabled
    restart_missing_sidecar: true
  register: enrolled

- name: Show the number of pods with a sidecar
  ansible.builtin.debug:
    msg: "{{ enrolled.pods.enrolled }} of {{ enrolled.pods.expected }} pods have a sidecar"
"""

RETURN = r"""
pods:
  description: Number of live pods with a sidecar, of pods that should have one, and of all pods.
  returned: when O(state=present)
  type: dict
  sample: {enrolled: 12, expected: 12, total: 12}
missing_sidecar:
  description: Workloads with pods that should have a sidecar but have none, before any restart.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{kind: Deployment, name: web, namespace: shop, pods: [web-5d8], restartable: true}]
stale:
  description: Workloads with pods whose sidecar has another revision than new pods would have, before any restart.
  returned: when O(restart_stale_sidecar=true)
  type: list
  elements: dict
  sample: [{kind: Deployment, name: web, namespace: shop, pods: [web-5d8], restartable: true}]
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs for the plan.
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
      description: Group, version, kind, namespace and name.
      type: dict
    action:
      description: One of created, configured, recreated, unchanged, pruned, failed, pending.
      type: str
    conflicts:
      description: Fields that other field managers own, each with its manager.
      type: list
      elements: dict
    status:
      description: Status as kstatus reports it, if the module waited for the object.
      type: str
    message:
      description: Further information.
      type: str
verified:
  description: Conditions that were verified between steps.
  returned: when a plan was made
  type: list
  elements: str
duration:
  description: Seconds by phase.
  returned: always
  type: dict
failure:
  description: Code, object, reason and hint. The code is stable.
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
    """What the pods are like; with restart, after those without a sidecar were replaced."""
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
