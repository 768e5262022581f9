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
  - Goes through everything that is worth checking about a mesh, each with its severity, cause and remedy, and fails the play at a chosen severity.
  - It only reads. What this account may not read, and what istiod does not say, makes a check unknown, and never passed.
  - C(docs/checks.md) of the collection lists all checks.
options:
  phase:
    description: What the mesh is checked for. V(install) before there is a control plane, V(upgrade) before it gets a new version.
    type: str
    choices: [install, running, upgrade]
    default: running
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
  version:
    description: The version of Istio that is to be installed or upgraded to. Needed with O(phase=upgrade).
    type: str
  revision:
    description:
      - The revision of the new control plane. Without it, or with the name of one that is there, the upgrade is one in place.
    type: str
  namespaces:
    description: Only proxies and workloads of these namespaces are judged, as in a rollout that goes from one to the next. Empty for all.
    type: list
    elements: str
    default: []
  skip:
    description: Codes of checks that are left out. What only they need is not read.
    type: list
    elements: str
    default: []
  fail_on:
    description: The lowest severity at which a failed check fails the play. The result is the same with V(never).
    type: str
    choices: [error, warning, never]
    default: error
  unknown_fails:
    description: Whether a check that is unknown counts as failed at its severity.
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
- name: The mesh is sound
  servicemesh.istio.mesh_check:
  register: checked

- name: What is not as good as it could be
  ansible.builtin.debug:
    msg: "{{ item.code }}: {{ item.cause }}. {{ item.remedy }}"
  loop: "{{ checked.checks | selectattr('status', 'eq', 'failed') }}"
  loop_control: {label: "{{ item.code }}"}

- name: The cluster can bear this version
  servicemesh.istio.mesh_check:
    phase: install
    version: 1.31.0

- name: What an upgrade by a new revision would meet, whatever it is
  servicemesh.istio.mesh_check:
    phase: upgrade
    version: 1.31.0
    revision: 1-31-0
    fail_on: never

- name: The workloads of one namespace have moved, and their proxies are served
  servicemesh.istio.mesh_check:
    namespaces: [istio-system]
    skip: [foreign_workloads]
"""

RETURN = r"""
checks:
  description: Each check of the phase, in the order of C(docs/checks.md).
  returned: when the mesh was read
  type: list
  elements: dict
  contains:
    code:
      description: Its stable name.
      type: str
    title:
      description: What holds when it has passed.
      type: str
    severity:
      description: One of error, warning, info.
      type: str
    status:
      description: One of passed, failed, unknown, skipped. Unknown where something may not be read, or istiod cannot be asked.
      type: str
    objects:
      description: All objects that fail it, such as C(Deployment shop/web).
      type: list
      elements: str
    cause:
      description: Why it has failed or is unknown. Of many objects the first are named.
      type: str
    remedy:
      description: What to do about it.
      type: str
summary:
  description: Checks by status; of the failed ones those with severity error and warning.
  returned: when the mesh was read
  type: dict
  sample: {passed: 55, failed: 2, unknown: 1, skipped: 0, errors: 0, warnings: 1}
duration:
  description: Duration of each phase in seconds.
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
