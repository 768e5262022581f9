#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: restart
short_description: Restart workloads with a stale or missing sidecar
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Sidecars are injected when a pod is created. If you move a revision tag or upgrade a control plane in place, existing pods keep their old sidecar
    until their workload is restarted.
  - The module restarts only Deployments, StatefulSets and DaemonSets whose pods have a stale sidecar, and waits until the new pods are ready. It
    lists other pods, such as bare pods and those of Jobs, but does not restart them.
  - If a rollout would disrupt more pods than a PodDisruptionBudget allows, the module waits until enough pods are healthy. If waiting cannot help,
    the task fails.
options:
  namespaces:
    description: Namespaces with the workloads to restart.
    type: list
    elements: str
    required: true
  revision:
    description: Revision that the pods should have. The default is the revision that the labels of each namespace select.
    type: str
  missing_sidecar:
    description: Whether to restart also workloads with pods that should have a sidecar and have none.
    type: bool
    default: false
  gateways:
    description: Whether to restart gateways too. Set it to V(false) in an upgrade, where gateways are updated last.
    type: bool
    default: true
  parallel:
    description: Number of workloads that are restarted at the same time.
    type: int
    default: 4
seealso:
  - name: PodDisruptionBudget
    description: How disruption budgets limit restarts.
    link: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
"""

EXAMPLES = r"""
- name: Restart workloads with a stale sidecar
  servicemesh.istio.restart:
    namespaces: [online-boutique]
    parallel: 2
  register: restarted

- name: Show workloads that cannot be restarted
  ansible.builtin.debug:
    msg: "{{ item.kind }} {{ item.namespace }}/{{ item.name }}"
  loop: "{{ restarted.stale | rejectattr('restartable') }}"
  loop_control: {label: "{{ item.name }}"}
"""

RETURN = r"""
stale:
  description: Workloads with pods whose sidecar has another revision or version than new pods would get. The list shows the state before the restart.
  returned: success
  type: list
  elements: dict
  sample: [{kind: Deployment, name: web, namespace: shop, pods: [web-5d8], restartable: true}]
missing_sidecar:
  description: Workloads with pods that should have a sidecar and have none. The list shows the state before the restart.
  returned: success
  type: list
  elements: dict
  sample: [{kind: Pod, name: web, namespace: shop, pods: [web], restartable: false}]
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
  sample: {code: disruption_budget, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.module import WAIT_ARGUMENTS, Run, run_module
from ..module_utils._engine.planning.change import ApplyOptions
from ..module_utils._failure import InvalidOption
from ..module_utils._istio.dataplane import restarts, revisions

ARGUMENTS = {
    "namespaces": {"type": "list", "elements": "str", "required": True},
    "revision": {"type": "str"},
    "missing_sidecar": {"type": "bool", "default": False},
    "gateways": {"type": "bool", "default": True},
    "parallel": {"type": "int", "default": restarts.PARALLEL},
    **WAIT_ARGUMENTS,
}


def body(run: Run) -> dict:
    options, cluster = run.options, run.cluster
    if options["parallel"] < 1:
        raise InvalidOption("parallel", f"is {options['parallel']}", hint="Use 1 or more.")
    known = revisions.read_revisions(cluster)
    if options["revision"] and options["revision"] not in known.untagged:
        run.fail_or_warn([revisions.no_such_revision(options["revision"], known)])
    seen = []
    for name in dict.fromkeys(options["namespaces"]):
        live = cluster.get("", "Namespace", "", name)
        if live is None:
            run.fail_or_warn(
                [InvalidOption("namespaces", f"namespace {name} does not exist", code="no_such_namespace")]
            )
            continue
        seen.append(
            restarts.inspect_namespace(
                cluster,
                name,
                live["metadata"].get("labels") or {},
                known,
                options["revision"] or "",
                options["gateways"],
            )
        )
    lacking = [workload for one in seen for workload in one.missing_sidecar]
    stale = [workload for one in seen for workload in one.stale]
    steps = restarts.restart_steps(
        cluster, seen, (lacking if options["missing_sidecar"] else []) + stale, options["parallel"]
    )
    return {
        **run.apply(steps, ApplyOptions(force=True), manager=restarts.MANAGER),
        "stale": restarts.restart_rows(stale),
        "missing_sidecar": restarts.restart_rows(lacking),
    }


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
