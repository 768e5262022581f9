#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: traffic_split
short_description: Split a service's traffic between its versions
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes one DestinationRule with a subset for each version and one VirtualService with their weights.
  - "Changes are applied in an order that avoids 503 errors: new subsets, then weights, then removal of unused subsets. Between the steps, every
    istiod must report that its proxies have acknowledged the change."
  - A host that is neither a Service nor in a ServiceEntry, and a version with a weight but without pods, are rejected. In check mode these are
    warnings, because an earlier task may create them.
options:
  versions:
    description: Weight by version. Weights are relative and need not add up to 100. Required with O(state=present).
    type: dict
  match:
    description:
      - Condition for requests to split. Other requests go to the service.
      - The keys are those of O(servicemesh.istio.route#module:rules[].match). In a list, one of the conditions must match.
    type: raw
  sticky:
    description:
      - Clients keep the version that served their first request as long as that version has a non-zero weight.
      - C(cookie) is the name of the cookie and C(max_age) its lifetime, such as C(24h). Without C(max_age), the cookie ends with the session of the
        browser.
    type: dict
  mirror:
    description: Version that receives copies of the requests, or C({version, service, port, percent}), or a list of them. Answers to copies are discarded.
    type: raw
  gateways:
    description: Proxies that apply the split. V(mesh) is every sidecar; a gateway is written as C(NAMESPACE/NAME).
    type: list
    elements: str
    default: [mesh]
  protocol:
    description:
      - Protocol to route. V(http) routes requests. V(tcp) routes connections without reading them. V(tls) routes TLS connections that a gateway
        passes through (mode V(passthrough) of M(servicemesh.istio.gateway)) by their server name, see O(gateway_hosts).
      - "The default is the declared protocol of the port: its name or C(appProtocol) in the Service, or its protocol in the ServiceEntry. Without a
        declaration, it is V(http). If O(gateways) does not contain V(mesh), and the gateways have ports for only one of the protocols, it is that
        protocol."
      - Declare the protocol in the Service. Otherwise, proxies inspect each connection and route what looks like HTTP as requests.
      - Sidecars use only the declared protocol, so another value fails if O(gateways) contains V(mesh). Gateways use the protocol of their own port.
      - In the mesh, connections to O(port) are routed, and connections to other ports of the service are not. At a gateway, connections to all of its
        TCP ports are routed.
      - "Features that need requests fail with the code C(protocol_cannot): cookies, mirrors, faults, timeouts, retries and conditions on requests.
        Conditions on the caller and the port are supported."
      - A change applies to new connections. The proxy drains open connections (45 seconds by default) and then closes them.
      - With O(api=gateway_api), only V(http) is supported.
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
- name: Route a tenth of the requests to v2
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}

- name: Route requests from outside the mesh as well
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}
    gateways: [mesh, istio-system/ingress]
    gateway_hosts: ["*"]

- name: Use the Gateway API
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}
    api: gateway_api

- name: Route connections to a database, whose Service declares a TCP port
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: redis-cart
    label: app
    versions: {redis-cart: 100}

- name: Remove the split of connections
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: redis-cart
    state: absent

- name: Remove the split
  servicemesh.istio.traffic_split:
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
    concern.run_feature("split", REVIEW)


if __name__ == "__main__":
    main()
