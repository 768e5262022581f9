#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: gateway
short_description: Set the hosts, ports and certificates that a gateway serves
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a Gateway with ports for HTTP, HTTPS and TCP, or for some of them.
  - An Istio Gateway configures existing gateway pods. With a Gateway of Gateway API, Istio can also deploy the pods.
  - The traffic policy of a service (M(servicemesh.istio.route), M(servicemesh.istio.traffic_split)) routes requests
    from the gateway to the service.
  - The task fails if the gateway's pods cannot read the Secret, or if no pod has the labels of O(selector). In check
    mode these are warnings.
options:
  name:
    description: Name of the Gateway. Traffic policies refer to it as C(NAMESPACE/NAME).
    type: str
    required: true
  hosts:
    description: Host names that the gateway serves. V(*) is every host name. C(NAMESPACE/HOST) accepts routes from
      that namespace only.
    type: list
    elements: str
    default: ["*"]
  selector:
    description: Labels of the gateway's pods. With O(api=gateway_api), only the default value is accepted.
    type: dict
    default: {istio: ingressgateway}
  http_port:
    description: Port for HTTP. The default is 80. If O(tls) or O(tcp_port) is set, the gateway has no port for HTTP by
      default, unless O(redirect) is set.
    type: int
  https_port:
    description: Port for HTTPS. Used only with O(tls).
    type: int
    default: 443
  tcp_port:
    description:
      - Port for TCP connections, whose content the gateway does not read. All of them go to the same service, because
        a TCP connection contains no host name.
      - For a second TCP port, create another Gateway. The gateway's Service and pods must have the port, too.
    type: int
  tls:
    description: TLS settings of the port for HTTPS.
    type: dict
    suboptions:
      mode:
        description: TLS mode. V(simple) presents a certificate. V(mutual) also requires a client certificate.
          V(passthrough) forwards TLS to the service. V(istio_mutual) is mutual TLS with other proxies of the mesh.
        type: str
        choices: [simple, mutual, passthrough, istio_mutual]
        default: simple
      credential_name:
        description: Name of a Secret with C(tls.crt) and C(tls.key), and with C(ca.crt) for V(mutual), in the
          namespace of the gateway's pods.
        type: str
      min_protocol_version:
        description: Minimum TLS version.
        type: str
        choices: ["1.2", "1.3"]
        default: "1.2"
  redirect:
    description:
      - Whether to redirect requests on the port for HTTP to HTTPS.
      - With O(api=gateway_api), the port for HTTP then accepts only routes from the Gateway's namespace, and traffic
        policies that are written later do not add routes to it. A route of another owner on this port takes precedence
        over the redirect.
    type: bool
    default: false
  api:
    description:
      - API of the Gateway. V(istio) writes an Istio Gateway. V(gateway_api) writes a Gateway of Gateway API, with a
        listener for each host. V(auto) selects V(gateway_api) if its CRDs are installed and it supports the options,
        else V(istio).
      - If it is not set, or with V(auto), an existing gateway keeps its API. If it is not set, a new gateway uses
        V(istio).
      - Gateway API does not support O(selector), and no O(tls.min_protocol_version) other than V(1.2). It supports
        O(tcp_port) only with TCPRoutes, which this collection does not write. These options fail with the code
        C(gateway_api_cannot).
    type: str
    choices: [istio, gateway_api, auto]
  class:
    description: GatewayClass of the Gateway. Used only with O(api=gateway_api).
    type: str
    default: istio
  service:
    description: Service in O(namespace) whose pods are the gateway, as C(NAME) or C(NAMESPACE/NAME). Used only with
      O(api=gateway_api). By default Istio deploys the gateway.
    type: str
  service_type:
    description: Type of the Service that Istio creates for the gateway. Used only with O(api=gateway_api) and without
      O(service). The default is Istio's own.
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
- name: Serve the shop by HTTP
  servicemesh.istio.gateway:
    name: shop
    namespace: istio-system
    hosts: [shop.example.com]

- name: Serve the shop by HTTP and TCP
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
  sample: {code: no_such_secret, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.gateway import GATEWAY
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(GATEWAY, REVIEW)


if __name__ == "__main__":
    main()
