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
  - Writes one AuthorizationPolicy for O(allow) and one for O(deny). A denied request is denied even if another policy allows it.
  - If any policy allows requests to a workload, all other requests to it are denied
    (U(https://istio.io/latest/docs/reference/config/security/authorization-policy/)).
  - The module waits until a proxy of every istiod has the rules in its configuration, and all proxies have acknowledged them.
  - The change applies to new connections at once, and to open connections when the proxy has drained them. This takes 45 seconds unless
    C(drainDuration) sets another value.
options:
  name:
    description: Name of the policy. Its objects have this name with the suffixes C(-allow) and C(-deny).
    type: str
    required: true
  allow:
    description:
      - Rules, of which one must match for a request to be allowed. An empty list allows nothing.
      - C(from) is a source or a list of sources, with C(service_accounts) as C(NAMESPACE/NAME), C(principals), C(namespaces), C(ips), C(remote_ips)
        and C(request_principals). The prefix C(not_) negates each.
      - C(to) is an operation or a list of operations, with C(methods), C(paths), C(ports) and C(hosts). The prefix C(not_) negates each.
      - C(when) is a list of C({key, values, not_values}) with the condition keys of Istio.
      - Sources by identity require mutual TLS.
    type: list
    elements: dict
  deny:
    description: Rules with the same keys as O(allow). A request that matches one of them is denied.
    type: list
    elements: dict
    default: []
  default:
    description: V(deny) without O(allow) denies all requests. V(allow) is for policies that only deny, and states the default of Istio.
    type: str
    choices: [allow, deny]
  dry_run:
    description: Whether proxies only log the effect of the policy.
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
- name: Allow only the frontend to read the catalog, and deny all writes
  servicemesh.istio.authorization:
    name: catalog
    namespace: online-boutique
    workload: {app: productcatalogservice}
    allow:
      - from: {service_accounts: [online-boutique/frontend, online-boutique/default]}
    deny:
      - to: {methods: [PUT, DELETE]}

- name: Remove the policy
  servicemesh.istio.authorization:
    name: catalog
    namespace: online-boutique
    state: absent
"""

RETURN = r"""
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
findings:
  description: Findings of M(servicemesh.istio.preflight) for the written objects and for other objects that they affect. Errors come first.
  returned: when something is to be changed
  type: list
  elements: dict
  sample: []
forbidden_kinds:
  description: Kinds that the account may not list, with the server's message. Checks that need them do not run.
  returned: when something is to be changed
  type: dict
  sample: {}
duration:
  description: Seconds by phase.
  returned: always
  type: dict
failure:
  description: Code, object, reason and hint. The code is stable.
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
