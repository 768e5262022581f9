#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: route
short_description: Send requests of a host by rules
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Rules are tried in their order; the first whose conditions hold is taken. What none of them takes goes on to the host, or to its split.
options:
  rules:
    description: The rules in their order. Needed with O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Becomes part of the route's name, which access logs show. Without it, the rule's number.
        type: str
      match:
        description:
          - Condition for a request, or a list of conditions of which one must hold. The default is every request.
          - C(path), C(method), C(authority), C(headers), C(query) (by name), C(from_labels), C(from_namespace), C(port), C(ignore_case).
          - A string is meant exactly, and as a prefix where a star is its end. Else C({exact, prefix or regex}). A header may also be C({present}),
            true or false.
          - Regular expressions are RE2's, and must fit the whole.
        type: raw
      to:
        description: A version of the host by name, or C({version, service, port}). Without it, the host.
        type: raw
      versions:
        description: Weight by version, in place of O(rules[].to).
        type: dict
      redirect:
        description: C({path, host, scheme, port, status}). The proxy answers by itself.
        type: dict
      direct_response:
        description: Response that the proxy sends without calling the service, as a status or C({status, body}).
        type: raw
      rewrite:
        description: C({path}), C({prefix}) in place of the prefix that was met, or C({regex}) as C({match, replacement}); and C(host).
        type: dict
      headers:
        description: C({request, response}), each with C(set), C(add) and C(remove).
        type: dict
      cors:
        description: C({origins, methods, headers, expose, max_age, credentials}).
        type: dict
      mirror:
        description: A version that gets copies of the requests, or C({version, service, port, percent}), or a list of them.
        type: raw
      timeout:
        description: After which the proxy gives up, such as C(2s).
        type: str
  protocol:
    description:
      - What is routed, as in O(servicemesh.istio.traffic_split#module:protocol). Without it, as the port is declared; V(http) where that says nothing.
      - A rule of connections has C(to) or C(versions), and of conditions C(from_labels), C(from_namespace) and C(port) alone.
    type: str
    choices: [http, tcp, tls]
seealso:
  - name: VirtualService
    description: Reference of the VirtualService that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/virtual-service/
  - name: DestinationRule
    description: Reference of the DestinationRule that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/destination-rule/
  - name: Gateway API
    description: Reference of the HTTPRoute that this module writes with O(api=gateway_api).
    link: https://gateway-api.sigs.k8s.io/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.service_policy
  - servicemesh.istio.service_policy.state
  - servicemesh.istio.service_policy.gateways
  - servicemesh.istio.service_policy.gateway_hosts
  - servicemesh.istio.service_policy.versions
  - servicemesh.istio.connection
  - servicemesh.istio.gateway_api
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.writing.preflight
  - servicemesh.istio.writing.proxies
  - servicemesh.istio.writing.shared
"""

EXAMPLES = r"""
- name: Testers get v2, and old addresses lead to the new ones
  servicemesh.istio.route:
    namespace: online-boutique
    service: frontend
    rules:
      - name: testers
        match: {headers: {x-tester: {present: true}}}
        to: v2
      - name: old
        match: {path: /shop/*}
        redirect: {path: /, status: 301}

- name: The rules go; a split of the host stays
  servicemesh.istio.route:
    namespace: online-boutique
    service: frontend
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
  sample: {code: weights_zero, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic import module as concern


def main() -> None:
    concern.run_feature("route", REVIEW)


if __name__ == "__main__":
    main()
