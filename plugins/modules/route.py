#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: route
short_description: Route, rewrite, redirect or answer a service's requests by ordered rules
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes the rules as routes of the service. Proxies evaluate the rules in order and apply the first rule that
    matches.
  - Requests that match no rule follow the service's split (M(servicemesh.istio.traffic_split)). Without a split, they
    go to all pods of the service.
options:
  rules:
    description: Rules in the order in which they are evaluated. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the rule, which becomes part of the route name in access logs. The default is the number
          of the rule.
        type: str
      match:
        description:
          - Condition for a request, or a list of conditions of which one must hold. The default is every request.
          - The keys of a condition are C(path), C(method), C(authority), C(headers), C(query), C(from_labels),
            C(from_namespace), C(port) and C(ignore_case). All keys of a condition must match.
          - C(authority) is the host name in the request. C(headers) and C(query) are mappings from names to values.
            C(from_labels) and C(from_namespace) are the labels and the namespace of the calling pod. C(ignore_case)
            makes C(path) case-insensitive.
          - A string is an exact match; a trailing C(*) makes it a prefix match. A value can also be C({exact}),
            C({prefix}) or C({regex}). A header also supports C({present}) with true or false.
          - Regular expressions use the RE2 syntax and must match the whole value.
        type: raw
      to:
        description: Destination of the requests, as the name of a version, or as C({version, service, port}). The
          default is all pods of the service.
        type: raw
      versions:
        description: Weight of each version. Replaces O(rules[].to).
        type: dict
      redirect:
        description: Redirect that the proxy returns, as C({path, host, scheme, port, status}).
        type: dict
      direct_response:
        description: Response that the proxy sends without calling the service, as a status or C({status, body}).
        type: raw
      rewrite:
        description: Rewrite of the request before it is forwarded. C(path) replaces the path, C(prefix) replaces the
          matched prefix, and C(regex) is C({match, replacement}). C(host) replaces the host name.
        type: dict
      headers:
        description: Header changes, as C({request, response}), each with C(set), C(add) and C(remove).
        type: dict
      cors:
        description: CORS policy, as C({origins, methods, headers, expose, max_age, credentials}).
        type: dict
      mirror:
        description: Version that receives copies of the requests, as its name, as C({version, service, port,
          percent}), or as a list of these. Responses to the copies are discarded.
        type: raw
      timeout:
        description: Timeout of a request, such as C(2s).
        type: str
  protocol:
    description:
      - Protocol of the routes, with the values and the default of
        O(servicemesh.istio.traffic_split#module:protocol).
      - With V(tcp) and V(tls), a rule supports only C(to) or C(versions), and only the conditions C(from_labels),
        C(from_namespace) and C(port).
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
- name: Route testers to v2, and redirect old paths
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

- name: Remove the rules, and keep the service's split
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
  sample: {code: weights_zero, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.module import run_feature


def main() -> None:
    run_feature("route", REVIEW)


if __name__ == "__main__":
    main()
