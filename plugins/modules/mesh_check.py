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
  - Runs a list of checks on a mesh, and reports the severity, cause and remedy of each failed check.
  - The task fails if a failed check has the severity in O(fail_on) or a higher one.
  - The module only reads. If the account lacks a permission, or istiod does not answer, the checks that need this data have the status unknown.
  - The file C(docs/checks.md) of the collection describes all checks.
options:
  phase:
    description:
      - Purpose of the checks, which selects the checks that run.
      - Use V(install) before you install a control plane, V(running) for an installed mesh, and V(upgrade) before you upgrade it.
    type: str
    choices: [install, running, upgrade]
    default: running
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
  version:
    description: Istio version that you want to install or upgrade to. Required with O(phase=upgrade).
    type: str
  revision:
    description:
      - Revision of the new control plane.
      - If it is not set, or if the revision already exists, the checks are those of an in-place upgrade.
    type: str
  namespaces:
    description:
      - Namespaces whose proxies and workloads are checked, such as in a rollout by namespace.
      - By default, all namespaces are checked.
    type: list
    elements: str
    default: []
  skip:
    description: Codes of checks to skip. Data that only these checks need is not read.
    type: list
    elements: str
    default: []
  fail_on:
    description: Lowest severity of a failed check that makes the task fail. With V(never) the task only reports the results.
    type: str
    choices: [error, warning, never]
    default: error
  unknown_fails:
    description: Whether a check with the status unknown makes the task fail as a failed check does.
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
- name: Check the running mesh
  servicemesh.istio.mesh_check:
  register: checked

- name: Show the failed checks
  ansible.builtin.debug:
    msg: "{{ item.code }}: {{ item.cause }}. {{ item.remedy }}"
  loop: "{{ checked.checks | selectattr('status', 'eq', 'failed') }}"
  loop_control: {label: "{{ item.code }}"}

- name: Check that the cluster supports this Istio version
  servicemesh.istio.mesh_check:
    phase: install
    version: 1.31.0

- name: Report what would prevent an upgrade to a new revision
  servicemesh.istio.mesh_check:
    phase: upgrade
    version: 1.31.0
    revision: 1-31-0
    fail_on: never

- name: Check the workloads and proxies of one namespace
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
      description: Condition that the check verifies.
      type: str
    severity:
      description: Severity of the check. One of error, warning, info.
      type: str
    status:
      description:
        - Status of the check. One of passed, failed, unknown, skipped.
        - The status is unknown if the account lacks a permission or istiod does not answer.
      type: str
    objects:
      description: All objects that fail the check, such as C(Deployment shop/web).
      type: list
      elements: str
    cause:
      description: Reason why the check failed or is unknown. It names only the first of many objects.
      type: str
    remedy:
      description: Action that solves the problem.
      type: str
summary:
  description: Number of checks by status, and number of failed checks with the severities error and warning.
  returned: when the mesh was read
  type: dict
  sample: {passed: 55, failed: 2, unknown: 1, skipped: 0, errors: 0, warnings: 1}
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: >-
    Details of the failure: code, object, reason and hint. The code is stable. With the code checks_failed, the reason contains the codes of the
    failed checks.
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
