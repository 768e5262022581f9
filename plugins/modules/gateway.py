#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: gateway
short_description: Accept requests from outside the mesh
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a Gateway with ports for HTTP, HTTPS and TCP. An Istio Gateway is for existing pods; a Gateway API Gateway can also have its pods deployed
    by Istio.
  - The policy of the services behind it sets where requests are routed (M(servicemesh.istio.route), M(servicemesh.istio.traffic_split)).
  - A Secret that the gateway's pods cannot read and labels that no pod has are rejected. In check mode they are warnings.
options:
  name:
    description: Name of the Gateway. Policies refer to it as C(NAMESPACE/NAME).
    type: str
    required: true
  hosts:
    description: Host names that clients use. V(*) is every host name. C(NAMESPACE/HOST) accepts only routes of that namespace.
    type: list
    elements: str
    default: ["*"]
  selector:
    description: Labels of the gateway's pods. With O(api=gateway_api) only the default is allowed.
    type: dict
    default: {istio: ingressgateway}
  http_port:
    description: Port for HTTP. The default is 80, unless only O(tls) or O(tcp_port) is set.
    type: int
  https_port:
    description: Port for HTTPS. Used with O(tls).
    type: int
    default: 443
  tcp_port:
    description:
      - Port for TCP connections. Only one service can have the port, because TCP has no host name.
      - Use another Gateway for another port. The gateway's Service and pods must have the port too.
    type: int
  tls:
    description: TLS settings of the HTTPS port.
    type: dict
    suboptions:
      mode:
        description: V(simple) presents a certificate, V(mutual) also requires one from the client, V(passthrough) forwards TLS to the service, and
          V(istio_mutual) is for proxies of the mesh.
        type: str
        choices: [simple, mutual, passthrough, istio_mutual]
        default: simple
      credential_name:
        description: Name of a Secret with C(tls.crt) and C(tls.key), and C(ca.crt) for V(mutual), in the namespace of the gateway's pods.
        type: str
      min_protocol_version:
        description: Minimum TLS version.
        type: str
        choices: ["1.2", "1.3"]
        default: "1.2"
  redirect:
    description:
      - Whether to redirect requests on the HTTP port to HTTPS.
      - With O(api=gateway_api), the HTTP port then accepts only routes of the namespace of the Gateway, and policies that are written later do not
        use it. An existing route of another tool on this port precedes the redirect.
    type: bool
    default: false
  api:
    description:
      - API of the Gateway. V(istio) is the Istio kind. V(gateway_api) is the Gateway API kind, with a listener for each host. V(auto) is
        V(gateway_api) if its CRDs are installed and support the settings, and V(istio) otherwise.
      - If it is not set, or with V(auto), an existing gateway keeps its API. If it is not set, a new gateway uses V(istio).
      - The Gateway API does not support O(selector) and O(tls.min_protocol_version). For O(tcp_port) it uses TCPRoutes, which this collection does
        not write. These settings fail with the code C(gateway_api_cannot).
    type: str
    choices: [istio, gateway_api, auto]
  class:
    description: With O(api=gateway_api), name of the GatewayClass.
    type: str
    default: istio
  service:
    description: With O(api=gateway_api), Service whose pods are the gateway, as C(NAME) in O(namespace) or C(NAMESPACE/NAME). If it is not set, Istio deploys a
      gateway.
    type: str
  service_type:
    description: With O(api=gateway_api) and without O(service), type of the Service that Istio creates. The default is set by Istio.
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
- name: Accept HTTP requests for the shop
  servicemesh.istio.gateway:
    name: shop
    namespace: istio-system
    hosts: [shop.example.com]

- name: Accept TCP connections as well
  servicemesh.istio.gateway:
    name: shop
    namespace: istio-system
    hosts: [shop.example.com]
    http_port: 80
    tcp_port: 31400

- name: Remove the Gateway
  servicemesh.istio.gateway:
    name: shop
    namespace: istio-system
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
  sample: {code: no_such_secret, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.gateway import GATEWAY
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(GATEWAY, REVIEW)


if __name__ == "__main__":
    main()
