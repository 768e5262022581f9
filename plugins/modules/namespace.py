#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: namespace
short_description: Enroll a namespace, so that its pods get their sidecar
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Has a namespace with the label that asks for injection, and reports which workloads still have pods without a sidecar.
  - Injection happens when a pod is made. Pods that are older than the label need a restart of their workload, which O(restart_missing_sidecar) does.
options:
  name:
    description: The namespace.
    type: str
    required: true
  injection:
    description: Value of the label C(istio-injection), for a control plane without a revision. Neither this nor O(revision) leaves the namespace
      without either label of ours.
    type: str
    choices: [enabled, disabled]
  revision:
    description: Value of the label C(istio.io/rev), a revision or a revision tag. Not together with O(injection).
    type: str
  labels:
    description: Further labels.
    type: dict
    default: {}
  restart_missing_sidecar:
    description: Whether Deployments, StatefulSets and DaemonSets whose pods lack the sidecar are restarted, and waited for. Other pods are only reported.
    type: bool
    default: false
  restart_stale_sidecar:
    description:
      - Whether those are restarted, too, whose pods have a sidecar of another revision than the one that the namespace's label leads to now,
        or of another version, such as after a revision tag was moved. They are listed in RV(stale).
      - Four workloads are restarted at a time, within the PodDisruptionBudgets of their pods. See M(servicemesh.istio.restart) for more.
    type: bool
    default: false
  state:
    description: V(absent) takes our labels off. The namespace itself goes with O(delete).
    type: str
    choices: [present, absent]
    default: present
  delete:
    description: With O(state=absent), whether the namespace goes with everything in it.
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
- name: Pods of this namespace get a sidecar
  servicemesh.istio.namespace:
    name: online-boutique
    injection: enabled

- name: Those that were there before get it too
  servicemesh.istio.namespace:
    name: online-boutique
    injection: enabled
    restart_missing_sidecar: true
  register: enrolled

- name: What remains
  ansible.builtin.debug:
    msg: "{{ enrolled.pods.enrolled }} of {{ enrolled.pods.expected }} pods have a sidecar"
"""

RETURN = r"""
pods:
  description: Live pods with a sidecar, those that should have one, and all.
  returned: when O(state=present)
  type: dict
  sample: {enrolled: 12, expected: 12, total: 12}
missing_sidecar:
  description: Workloads with pods that should have a sidecar and have none, as they were found.
  returned: when O(state=present)
  type: list
  elements: dict
  sample: [{kind: Deployment, name: web, namespace: shop, pods: [web-5d8], restartable: true}]
stale:
  description: Workloads with pods whose sidecar is of another revision than the one that would inject them now, as they were found.
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
