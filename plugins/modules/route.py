#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: route
short_description: Route requests of a service by rules
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Rules are evaluated in their order, and the first matching rule applies. Requests without a matching rule go to the service, or to its split.
options:
  rules:
    description: Rules in their order. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the rule. It is part of the route's name, which access logs show. The default is the number of the rule.
        type: str
      match:
        description:
          - Condition for a request, or a list of conditions of which one must match. The default is every request.
          - The keys are C(path), C(method), C(authority), C(headers), C(query) (by name), C(from_labels), C(from_namespace), C(port) and
            C(ignore_case).
          - A string is an exact match; a trailing C(*) makes it a prefix match. Use C({exact, prefix or regex}) for other matches. A header can also
            be C({present}), true or false.
          - Regular expressions use RE2 syntax and must match the whole value.
        type: raw
      to:
        description: Version of the service by name, or C({version, service, port}). The default is the service.
        type: raw
      versions:
        description: Weight by version, instead of O(rules[].to).
        type: dict
      redirect:
        description: Redirect that the proxy sends, as C({path, host, scheme, port, status}).
        type: dict
      direct_response:
        description: Response that the proxy sends without calling the service, as a status or C({status, body}).
        type: raw
      rewrite:
        description: Rewrite of the request, as C({path}), C({prefix}) for the matched prefix, or C({regex}) with C({match, replacement}), and C(host).
        type: dict
      headers:
        description: Header operations, as C({request, response}), each with C(set), C(add) and C(remove).
        type: dict
      cors:
        description: CORS policy, as C({origins, methods, headers, expose, max_age, credentials}).
        type: dict
      mirror:
        description: Version that receives copies of the requests, or C({version, service, port, percent}), or a list of them.
        type: raw
      timeout:
        description: Maximum duration of a request, such as C(2s).
        type: str
  protocol:
    description:
      - Protocol to route, as O(servicemesh.istio.traffic_split#module:protocol). The default is the declared protocol of the port, or V(http).
      - A rule for connections supports C(to) and C(versions), and the conditions C(from_labels), C(from_namespace) and C(port).
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
- name: Route testers to v2 and redirect old paths
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

- name: Remove the rules
  servicemesh.istio.route:
    namespace: online-boutique
    service: frontend
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
  sample: {code: weights_zero, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic import module as concern


def main() -> None:
    concern.run_feature("route", REVIEW)


if __name__ == "__main__":
    main()
