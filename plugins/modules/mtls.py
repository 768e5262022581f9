#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: mtls
short_description: Ask for mutual TLS, and see first who would be shut out
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a PeerAuthentication for a namespace, a workload of it, or in the root namespace for the mesh.
  - Before TLS becomes a must, the access logs of the proxies that are called are read. Who called without TLS is named, and the change is refused.
    A request that another proxy passed on is named by where it came from, since that is what a log has.
    Of each log the newest 5,000 lines are read. Where they tell of no call, or there are more, what the proxy has counted since it began is asked; if
    that says nothing either, a warning says that it is unknown, and which pods have no sidecar. A proxy writes its log about ten seconds late. In
    check mode the refusal is a warning.
  - What a DestinationRule says of TLS is left as it is; callers with a sidecar speak TLS by themselves.
  - New connections meet the change then. Those that are open meet it when the proxy has drained them, which takes 45 seconds where C(drainDuration)
    says nothing else.
options:
  name:
    description: Name of the PeerAuthentication.
    type: str
    default: default
  mode:
    description: V(strict) takes TLS alone, V(permissive) plaintext too, V(disable) plaintext alone, V(inherit) what the mesh says. Needed with
      O(state=present).
    type: str
    choices: [strict, permissive, disable, inherit]
  ports:
    description: Mode by port of the pods, where it differs. Needs O(workload).
    type: dict
    default: {}
  plaintext_callers:
    description:
      - V(fail) reads access logs and metrics, and fails with the code C(plaintext_callers) if it finds callers without TLS.
      - V(ignore) requires TLS without reading them. Callers without TLS can no longer connect.
    type: str
    choices: [fail, ignore]
    default: fail
  access_log_window:
    description: Period of the access logs that is read, such as C(30m).
    type: str
    default: 1h
seealso:
  - name: PeerAuthentication
    description: Reference of the PeerAuthentication that this module writes.
    link: https://istio.io/latest/docs/reference/config/security/peer_authentication/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.workload_policy
  - servicemesh.istio.workload_policy.workload
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.writing.preflight
  - servicemesh.istio.writing.proxies
"""

EXAMPLES = r"""
- name: The shop takes mutual TLS alone, unless somebody would be shut out
  servicemesh.istio.mtls:
    namespace: online-boutique
    mode: strict

- name: As the mesh says
  servicemesh.istio.mtls:
    namespace: online-boutique
    state: absent
"""

RETURN = r"""
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
findings:
  description:
    - Pre-flight findings on the written objects, and those that the change causes on other objects, errors first.
    - The entries are those of M(servicemesh.istio.preflight).
  returned: when the plan contains changes
  type: list
  elements: dict
  sample: []
forbidden_kinds:
  description:
    - Kinds that the account may not list, each with the API server's message.
    - Checks that need these kinds are skipped.
  returned: when the plan contains changes
  type: dict
  sample: {}
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
  returned: on failure
  type: dict
  sample: {code: plaintext_callers, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.mtls import MTLS
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(MTLS, REVIEW)


if __name__ == "__main__":
    main()
