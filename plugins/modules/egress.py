#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: egress
short_description: Register hosts outside the mesh
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Registers hosts in a ServiceEntry, so that workloads can call them if C(outboundTrafficPolicy) is C(REGISTRY_ONLY), and policies and metrics
    include them.
  - With O(tls), workloads send plain HTTP and their proxies originate TLS. With O(gateway), requests leave through an egress gateway. Routes are
    written after the gateway has its listener.
  - O(servicemesh.istio.sidecar#module:outbound_traffic_policy) blocks requests from a namespace to all other hosts.
  - The module waits until a proxy of every istiod has the hosts in its configuration, and all proxies have acknowledged them.
options:
  name:
    description: Name of the ServiceEntry and of the objects that belong to it.
    type: str
    required: true
  hosts:
    description: DNS names. A C(*) as the first label matches a domain. Required with O(state=present).
    type: list
    elements: str
  ports:
    description:
      - Ports that workloads call, as a number or as C({number, protocol, name, target_port}).
      - The protocol of port 80 is HTTP and that of port 443 is TLS by default. Other ports require C(protocol), one of C(HTTP), C(HTTPS), C(HTTP2),
        C(GRPC), C(MONGO), C(TCP) and C(TLS).
    type: list
    elements: raw
    default: [443]
  resolution:
    description: How proxies resolve the host. The default is V(static) if endpoints are IP addresses, V(none) for a domain, and V(dns) otherwise.
    type: str
    choices: [dns, dns_round_robin, none, static]
  addresses:
    description: Virtual IP addresses or CIDRs of the hosts, for protocols without a host name, such as TCP.
    type: list
    elements: str
    default: []
  endpoints:
    description: Destinations of requests, as an address or as C({address, ports, labels, locality, weight, network}) with C(ports) by number or name.
    type: list
    elements: raw
    default: []
  location:
    description: Location of the hosts. V(mesh_internal) makes proxies use mutual TLS with them.
    type: str
    choices: [mesh_internal, mesh_external]
    default: mesh_external
  export_to:
    description: Namespaces that can use the hosts. V(.) is the namespace of the ServiceEntry. The default is all namespaces.
    type: list
    elements: str
    default: []
  tls:
    description: "Originate TLS to the host: the proxy upgrades plain HTTP ports to HTTPS. Requires exactly one host."
    type: dict
    suboptions:
      port:
        description: Port on which the host accepts TLS.
        type: int
        default: 443
      sni:
        description: Server name (SNI) to send. The default is the host.
        type: str
      subject_alt_names:
        description: Subject alternative names, of which the host's certificate must have one. The default is the value of O(tls.sni).
        type: list
        elements: str
        default: []
      credential_name:
        description: Secret with a client certificate, in the namespace of the gateway's pods. Requires O(gateway), because sidecars have no access to
          Secrets.
        type: str
      ca_certificates:
        description: Path of a file with CA certificates in the proxy's container. The default is the system's CA bundle.
        type: str
      insecure_skip_verify:
        description: Whether to skip verification of the host's certificate.
        type: bool
        default: false
  gateway:
    description: Service of an egress gateway, as C(NAMESPACE/NAME). Requires exactly one host. The gateway uses port 80 for HTTP and port 443 for TLS.
    type: str
  gateway_selector:
    description: Labels of the gateway's pods.
    type: dict
    default: {istio: egressgateway}
seealso:
  - name: ServiceEntry
    description: Reference of the ServiceEntry that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/service-entry/
  - name: DestinationRule
    description: Reference of the DestinationRule that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/destination-rule/
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
- name: Originate TLS to the payment service
  servicemesh.istio.egress:
    name: payments
    namespace: online-boutique
    hosts: [api.payments.example.com]
    ports: [80]
    tls: {subject_alt_names: [api.payments.example.com]}

- name: Remove the payment service
  servicemesh.istio.egress:
    name: payments
    namespace: online-boutique
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
  sample: {code: protocol_invalid, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.egress import EGRESS
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(EGRESS, REVIEW)


if __name__ == "__main__":
    main()
