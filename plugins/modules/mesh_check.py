#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_check
short_description: Check a mesh before an install, while it runs, or before an upgrade
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Checks a mesh, reports severity, cause and remedy of each failed check, and fails the task at a chosen severity.
  - The module only reads. A check is unknown, and not passed, if the account may not read its data or istiod does not answer.
  - C(docs/checks.md) of the collection lists all checks.
options:
  phase:
    description: Purpose of the check. V(install) is before a control plane exists, V(upgrade) is before a new version.
    type: str
    choices: [install, running, upgrade]
    default: running
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
  version:
    description: Istio version to install or to upgrade to. Required with O(phase=upgrade).
    type: str
  revision:
    description: Revision of the new control plane. If it is not set, or names an existing revision, the upgrade is in place.
    type: str
  namespaces:
    description: Namespaces whose proxies and workloads are checked, for example in a rollout by namespace. The default is all namespaces.
    type: list
    elements: str
    default: []
  skip:
    description: Codes of checks to skip. Data that only these checks need is not read.
    type: list
    elements: str
    default: []
  fail_on:
    description: Lowest severity of a failed check that fails the task. The result is the same with V(never).
    type: str
    choices: [error, warning, never]
    default: error
  unknown_fails:
    description: Whether an unknown check counts as failed.
    type: bool
    default: false
seealso:
  - name: Istio analysis messages
    description: Findings of istioctl analyze.
    link: https://istio.io/latest/docs/reference/config/analysis/
extends_documentation_fragment:
  - servicemesh.istio.attributes.info
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
"""

EXAMPLES = r"""
- name: Check the mesh
  servicemesh.istio.mesh_check:
  register: checked

- name: Show failed checks
  ansible.builtin.debug:
    msg: "{{ item.code }}: {{ item.cause }}. {{ item.remedy }}"
  loop: "{{ checked.checks | selectattr('status', 'eq', 'failed') }}"
  loop_control: {label: "{{ item.code }}"}

- name: Check the cluster before an install
  servicemesh.istio.mesh_check:
    phase: install
    version: 1.31.0

- name: Check the mesh before an upgrade without failing
  servicemesh.istio.mesh_check:
    phase: upgrade
    version: 1.31.0
    revision: 1-31-0
    fail_on: never

- name: Check the workloads of one namespace
  servicemesh.istio.mesh_check:
    namespaces: [istio-system]
    skip: [foreign_workloads]
"""

RETURN = r"""
checks:
  description: All checks of the phase, in the order of C(docs/checks.md).
  returned: when the mesh was read
  type: list
  elements: dict
  contains:
    code:
      description: Stable code of the check.
      type: str
    title:
      description: Statement that is true if the check has passed.
      type: str
    severity:
      description: One of error, warning, info.
      type: str
    status:
      description: One of passed, failed, unknown, skipped. Unknown if data cannot be read, or istiod does not answer.
      type: str
    objects:
      description: Objects that fail the check, such as C(Deployment shop/web).
      type: list
      elements: str
    cause:
      description: Why the check failed or is unknown, with the first objects.
      type: str
    remedy:
      description: How to fix it.
      type: str
summary:
  description: Checks by status; of the failed ones those with severity error and warning.
  returned: when the mesh was read
  type: dict
  sample: {passed: 55, failed: 2, unknown: 1, skipped: 0, errors: 0, warnings: 1}
duration:
  description: Seconds by phase.
  returned: always
  type: dict
failure:
  description: Code, object, reason and hint. The code is stable. With checks_failed the reason holds the codes of the checks.
  returned: on failure
  type: dict
  sample: {code: checks_failed, ref: null, reason: istiod_unavailable, hint: ""}
"""

from ..module_utils._engine.module import Run, run_module
from ..module_utils._mesh import facts, registry
from ..module_utils._mesh.gate import Gate

ARGUMENTS = {
    "phase": {"type": "str", "choices": ["install", "running", "upgrade"], "default": "running"},
    "istio_namespace": {"type": "str", "default": "istio-system"},
    "version": {"type": "str"},
    "revision": {"type": "str"},
    "namespaces": {"type": "list", "elements": "str", "default": []},
    "skip": {"type": "list", "elements": "str", "default": []},
    "fail_on": {"type": "str", "choices": ["error", "warning", "never"], "default": "error"},
    "unknown_fails": {"type": "bool", "default": False},
}


def body(run: Run) -> dict:
    options = run.options
    gate = Gate(
        options["phase"],
        options["istio_namespace"],
        options["version"] or "",
        options["revision"] or "",
        tuple(options["namespaces"]),
    )
    registry.validate_gate(gate, options["skip"])
    found = run.timed(
        "read", lambda: facts.read_facts(run.cluster, gate.namespace, registry.required_sources(gate, options["skip"]))
    )
    registry.require_namespaces(found, gate)
    rows = run.timed("judge", lambda: registry.run_checks(found, gate, options["skip"]))
    run.extra_result = {"checks": rows, "summary": registry.summarize_rows(rows)}
    failure = registry.failure_of_rows(rows, options["fail_on"], options["unknown_fails"])
    if failure:
        raise failure
    return run.extra_result


def main() -> None:
    run_module(ARGUMENTS, body, required_if=[("phase", "upgrade", ["version"])])


if __name__ == "__main__":
    main()
