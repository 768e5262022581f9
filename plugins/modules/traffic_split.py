#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: traffic_split
short_description: Send shares of a host's traffic to its versions
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes one DestinationRule with a subset for each version and one VirtualService with their weights.
  - In steps that never give a 503. Subsets first, then weights, then the end of subsets that no weight names. Between the steps
    every istiod must report that its proxies have acknowledged the change.
  - Refuses a host that is no Service and no ServiceEntry, and a version with weight that has no pod. In check mode these are warnings,
    since an earlier task may be about to create them.
options:
  versions:
    description: Weight by version. Weights are shares and need not add up to 100. Needed with O(state=present).
    type: dict
  match:
    description:
      - Only these requests are split; the others go to the host as a whole.
      - Keys as in O(servicemesh.istio.route#module:rules[].match). A list means that one of its conditions must hold.
    type: raw
  sticky:
    description:
      - Who was answered by a version once is sent there again, as long as it has a weight.
      - C(cookie) is the cookie's name, C(max_age) its lifetime such as C(24h); without it the cookie ends with the browser's session.
    type: dict
  mirror:
    description: A version that gets copies of the requests, or C({version, service, port, percent}), or a list of them. Answers to copies are dropped.
    type: raw
  gateways:
    description: Where the split holds. V(mesh) is every sidecar; a gateway is written as C(NAMESPACE/NAME).
    type: list
    elements: str
    default: [mesh]
  protocol:
    description:
      - What is routed. V(http) is requests; V(tcp) is connections, of which nothing is read; V(tls) is connections of TLS that a gateway passes through
        (mode V(passthrough) of M(servicemesh.istio.gateway)), by the name of the server that their caller asks for (O(gateway_hosts)).
      - Without it, as the port is declared, by its name or C(appProtocol) in the Service, or its protocol in the ServiceEntry; V(http) where that says nothing.
        Where O(gateways) are without V(mesh), and have ports for one of these alone, it is that.
        A Service that says nothing should rather be corrected, for its callers' proxies look into each connection, and route what looks like HTTP as requests.
      - To sidecars the declaration is all that counts, so another protocol is refused where O(gateways) has V(mesh). At gateways it is the gateway's
        own port that counts.
      - In the mesh, connections to O(port) are routed, and those to other ports of the host go as before. At a gateway, all to its ports for TCP.
      - What only requests have (a cookie, copies, faults, timeouts, retries, conditions on what is in a request) is refused with
        the code C(protocol_cannot). Conditions on who calls and at which port can be said.
      - A change is for new connections; open ones stay where they are until the proxy has drained them (45 seconds, if Istio is not told otherwise),
        and are then closed.
      - Gateway API's kinds for TCP and TLS are not written; V(gateway_api) of O(api) is refused.
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
- name: A tenth of the requests goes to v2
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}

- name: Also for requests from outside
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}
    gateways: [mesh, istio-system/ingress]
    gateway_hosts: ["*"]

- name: In the words of Gateway API
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}
    api: gateway_api

- name: Connections to a database go to its versions, for its Service declares the port to be TCP
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: redis-cart
    label: app
    versions: {redis-cart: 100}

- name: The split of connections goes
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: redis-cart
    state: absent

- name: The split goes
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
    concern.run_feature("split", REVIEW)


if __name__ == "__main__":
    main()
