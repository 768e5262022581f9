#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: gateway
short_description: Let requests from outside in
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a Gateway with ports for HTTP, HTTPS and TCP, or some of them; in Istio's own kind for pods that are there already, in Gateway API's also
    for pods that Istio
    then deploys.
  - Where its hosts lead to is said by the policy of those hosts (M(servicemesh.istio.route), M(servicemesh.istio.traffic_split)).
  - A Secret that the gateway's pods could not read, and labels that no pod has, are refused. In check mode they are warnings.
options:
  name:
    description: Name of the Gateway, as policies name it with its namespace.
    type: str
    required: true
  hosts:
    description: Hosts from outside. V(*) is all; C(NAMESPACE/HOST) takes routes of that namespace alone.
    type: list
    elements: str
    default: ["*"]
  selector:
    description: Labels of the gateway's pods. Gateway API's kind has none, so there it must stay as it is.
    type: dict
    default: {istio: ingressgateway}
  http_port:
    description: Port for HTTP. Without it 80, unless there is only O(tls) or O(tcp_port).
    type: int
  https_port:
    description: Port for HTTPS, where O(tls) is given.
    type: int
    default: 443
  tcp_port:
    description:
      - Port for connections of which nothing is read. One host's policy takes all of them, whatever the host's name, for TCP tells none.
      - Another port is another Gateway. The gateway's Service and pods must have the port, too.
    type: int
  tls:
    description: How HTTPS is answered.
    type: dict
    suboptions:
      mode:
        description: V(simple) shows a certificate, V(mutual) asks for one too, V(passthrough) leaves that to the host, V(istio_mutual) is for proxies
          of the mesh.
        type: str
        choices: [simple, mutual, passthrough, istio_mutual]
        default: simple
      credential_name:
        description: Name of a Secret with C(tls.crt) and C(tls.key), for V(mutual) also C(ca.crt), in the namespace of the gateway's pods.
        type: str
      min_protocol_version:
        description: Minimum TLS version.
        type: str
        choices: ["1.2", "1.3"]
        default: "1.2"
  redirect:
    description:
      - Whether requests to the port for HTTP are redirected to HTTPS.
      - With O(api=gateway_api) that port then takes routes of the Gateway's own namespace alone, and policies of hosts that are written from then on leave it
        to the redirect. A route there that somebody else wrote for a host is answered before the redirect.
    type: bool
    default: false
  api:
    description:
      - Whose kind the Gateway is. With V(istio) it is Istio's own; with V(gateway_api) Gateway API's, with a listener for each host; with V(auto) the
        latter where its
        CRDs are installed and it can say what is asked for.
      - Without it, and with V(auto), the gateway stays with the API that it has. Without it a new one is Istio's own.
      - Gateway API cannot say O(selector) and O(tls.min_protocol_version), and of O(tcp_port) only what this collection does not write (TCPRoutes). That is
        refused with the code C(gateway_api_cannot).
    type: str
    choices: [istio, gateway_api, auto]
  class:
    description: With O(api=gateway_api), the GatewayClass.
    type: str
    default: istio
  service:
    description: With O(api=gateway_api), a Service of O(namespace) whose pods are the gateway, as C(NAME) or C(NAMESPACE/NAME). Without it Istio deploys
      a gateway of its own.
    type: str
  service_type:
    description: With O(api=gateway_api) and without O(service), the type of the Service that Istio makes. Without it, Istio's own choice.
    type: str
    choices: [LoadBalancer, NodePort, ClusterIP]
seealso:
  - name: Gateway
    description: Reference of the Gateway that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/gateway/
  - name: Gateway API
    description: Reference of the Gateway that this module writes with O(api=gateway_api).
    link: https://gateway-api.sigs.k8s.io/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.workload_policy
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.writing.preflight
  - servicemesh.istio.writing.proxies
"""

EXAMPLES = r"""
- name: The shop is reached by HTTP
  servicemesh.istio.gateway:
    name: shop
    namespace: istio-system
    hosts: [shop.example.com]

- name: And by TCP, whatever is spoken there
  servicemesh.istio.gateway:
    name: shop
    namespace: istio-system
    hosts: [shop.example.com]
    http_port: 80
    tcp_port: 31400

- name: The Gateway goes
  servicemesh.istio.gateway:
    name: shop
    namespace: istio-system
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
  sample: {code: no_such_secret, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.gateway import GATEWAY
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(GATEWAY, REVIEW)


if __name__ == "__main__":
    main()
