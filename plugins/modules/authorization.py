#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: authorization
short_description: Allow or deny requests to workloads, or deny by default
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes one AuthorizationPolicy with the allow rules and one with the deny rules. A deny rule takes precedence over
    every allow rule.
  - If a workload has an allow policy, requests that match none of its rules are denied
    (U(https://istio.io/latest/docs/reference/config/security/authorization-policy/)).
  - Waits until at least one proxy of each istiod has the rules in its configuration, and all proxies have acknowledged
    the configuration that istiod sent to them.
  - The change then applies to new connections. Open connections are affected when the proxy drains them, which takes
    45 seconds unless Istio's C(drainDuration) is set.
options:
  name:
    description: Name of the policy. The AuthorizationPolicies are named C(NAME-allow) and C(NAME-deny).
    type: str
    required: true
  allow:
    description:
      - Allow rules. A request is allowed if one of them matches. An empty list allows nothing.
      - C(from) is a source or a list of sources. A source has C(service_accounts) as C(NAMESPACE/NAME), C(principals),
        C(namespaces), C(ips), C(remote_ips) and C(request_principals), each also with the prefix C(not_).
      - C(to) is an operation or a list of operations. An operation has C(methods), C(paths), C(ports) and C(hosts),
        each also with the prefix C(not_).
      - C(when) is a list of conditions C({key, values, not_values}), with the keys that Istio defines.
      - Sources by identity (C(service_accounts), C(principals) and C(namespaces)) need mutual TLS.
    type: list
    elements: dict
  deny:
    description: Deny rules, with the keys of O(allow). A request is denied if one of them matches.
    type: list
    elements: dict
    default: []
  default:
    description:
      - Effect on requests that match no rule.
      - V(deny) denies them, also without O(allow). V(allow) allows them. Use it only with O(deny), because it fails
        together with O(allow) rules.
      - If it is not set, requests that match no rule are denied with O(allow), and allowed without it.
    type: str
    choices: [allow, deny]
  dry_run:
    description: Whether proxies only log the result of the policy, and do not enforce it.
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
- name: Allow only the frontend to call the product catalog, and deny all writes
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
    - Each entry has the keys of a finding of M(servicemesh.istio.preflight).
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
