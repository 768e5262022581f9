#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: authorization
short_description: Allow and deny requests to workloads
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes one AuthorizationPolicy for what is allowed and one for what is denied. What is denied is denied whatever else allows it.
  - Where anything is allowed for a workload, all else is denied to it (U(https://istio.io/latest/docs/reference/config/security/authorization-policy/)).
  - Waits until a proxy of every istiod has the rules in its own configuration, and all have acknowledged what they were sent.
  - New connections meet the change then. Those that are open meet it when the proxy has drained them, which takes 45 seconds where C(drainDuration)
    says nothing else.
options:
  name:
    description: Names the policy. Its objects are called so, with C(-allow) and C(-deny).
    type: str
    required: true
  allow:
    description:
      - Rules of which one must hold for a request to be allowed. An empty list allows nothing.
      - C(from) is a source or a list of them, with C(service_accounts) as C(NAMESPACE/NAME), C(principals), C(namespaces), C(ips), C(remote_ips),
        C(request_principals), each also as C(not_).
      - C(to) is an operation or a list of them, with C(methods), C(paths), C(ports), C(hosts), each also as C(not_).
      - C(when) is a list of C({key, values, not_values}), with keys as Istio has them.
      - Sources by identity need mutual TLS.
    type: list
    elements: dict
  deny:
    description: Rules of the same form. A request for which one of them holds is denied.
    type: list
    elements: dict
    default: []
  default:
    description: V(deny) without O(allow) denies everything. V(allow) is for policies that only deny, and says what is so anyway.
    type: str
    choices: [allow, deny]
  dry_run:
    description: Whether proxies only log what the policy would do.
    type: bool
    default: false
seealso:
  - name: AuthorizationPolicy
    description: Reference of the AuthorizationPolicy that this module writes.
    link: https://istio.io/latest/docs/reference/config/security/authorization-policy/
  - name: Authorization policy conditions
    description: Keys of conditions.
    link: https://istio.io/latest/docs/reference/config/security/conditions/
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
- name: Only the frontend may read the catalogue, and nobody may write to it
  servicemesh.istio.authorization:
    name: catalogue
    namespace: online-boutique
    workload: {app: productcatalogservice}
    allow:
      - from: {service_accounts: [online-boutique/frontend, online-boutique/default]}
    deny:
      - to: {methods: [PUT, DELETE]}

- name: The policy goes
  servicemesh.istio.authorization:
    name: catalogue
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
  sample: {code: authorization_empty, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.authorization import AUTHORIZATION
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(AUTHORIZATION, REVIEW)


if __name__ == "__main__":
    main()
