#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: traffic_split
short_description: Split a service's HTTP or TCP traffic between its versions by weight
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes one DestinationRule with a subset for each version, and one VirtualService with the weights.
  - "Changes are applied in an order that avoids 503 errors: new subsets, then weights, then removal of unused
    subsets. After each step, every istiod must report that its proxies have acknowledged the change."
  - The task fails if the service is neither a Service nor a ServiceEntry, or if a version with a weight above 0 has no
    pod. In check mode these are warnings, because an earlier task of the play may create the missing objects.
options:
  versions:
    description:
      - Weight of each version. Weights are relative and need not add up to 100.
      - Required with O(state=present).
    type: dict
  match:
    description:
      - Condition for the requests to split. All other requests go to all pods of the service. The default is to split
        every request.
      - The keys are those of O(servicemesh.istio.route#module:rules[].match). A list matches if one of its conditions
        holds.
    type: raw
  sticky:
    description:
      - Cookie for sticky sessions, as C({cookie, max_age}). Clients keep the version that served their first request
        as long as that version has a non-zero weight.
      - C(cookie) is the name of the cookie. C(max_age) is its lifetime, such as C(24h). Without C(max_age), the cookie
        expires with the browser session.
    type: dict
  mirror:
    description: Version that receives copies of the requests, as its name, as C({version, service, port, percent}), or
      as a list of these. Responses to the copies are discarded.
    type: raw
  gateways:
    description: Proxies that apply the split. V(mesh) is every sidecar; a gateway is written as C(NAMESPACE/NAME).
    type: list
    elements: str
    default: [mesh]
  protocol:
    description:
      - Protocol of the routes. V(http) routes requests. V(tcp) routes connections and does not read their content.
        V(tls) routes TLS connections that a gateway passes through (mode V(passthrough) of
        M(servicemesh.istio.gateway)), by the server name (SNI) that the client requests (O(gateway_hosts)).
      - The default is the protocol that the port declares, by its name or C(appProtocol) in the Service, or by its
        protocol in the ServiceEntry. If the port declares none, the default is V(http). If O(gateways) does not
        contain V(mesh) and the gateways have ports for one protocol only, that protocol is the default.
      - If a Service declares no protocol, correct the Service instead of setting this option. Sidecars inspect
        connections to such a port, and route those that look like HTTP as requests.
      - Sidecars use the declared protocol only. If O(gateways) contains V(mesh), V(tls) and protocols other than the
        declared one therefore fail. Gateways use the protocol of their own port.
      - In the mesh, V(tcp) affects only connections to O(port), not those to other ports of the service. At a gateway,
        it affects all connections to the gateway's TCP ports.
      - With V(tcp) and V(tls), settings for HTTP requests fail with the code C(protocol_cannot). These are cookies,
        mirroring, faults, timeouts, retries, and conditions on the content of a request. Conditions on the caller and
        the port are supported.
      - With V(tcp) and V(tls), a change applies to new connections. Open connections keep their version until the
        proxy drains and closes them. This takes 45 seconds, unless Istio's C(drainDuration) is set.
      - V(tcp) and V(tls) fail with O(api=gateway_api), because the module does not write TCPRoutes and TLSRoutes.
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
- name: Send 10 % of the requests to v2
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}

- name: Split requests from sidecars and from an ingress gateway
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}
    gateways: [mesh, istio-system/ingress]
    gateway_hosts: ["*"]

- name: Split with Gateway API
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}
    api: gateway_api

- name: Split TCP connections to a database, whose Service declares a TCP port
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: redis-cart
    label: app
    versions: {redis-cart: 100}

- name: Remove the split of TCP connections
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: redis-cart
    state: absent

- name: Remove the split of requests
  servicemesh.istio.traffic_split:
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
    run_feature("split", REVIEW)


if __name__ == "__main__":
    main()
