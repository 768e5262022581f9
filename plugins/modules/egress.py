#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: egress
short_description: Register external hosts, originate TLS to them, or route through an egress gateway
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Registers hosts outside the mesh as a ServiceEntry. Workloads can then call them even if C(outboundTrafficPolicy)
    is C(REGISTRY_ONLY), and policies and metrics can refer to them.
  - With O(tls), workloads send plain HTTP and their proxies originate TLS.
  - With O(gateway), requests leave the mesh through an egress gateway. The routes to the gateway are written after the
    gateway has a listener for the host.
  - To block all other hosts for a namespace, use C(outbound_traffic_policy) of M(servicemesh.istio.sidecar).
  - Waits until at least one proxy of each istiod has the hosts in its configuration, and all proxies have acknowledged
    the configuration that istiod sent to them.
options:
  name:
    description: Name of the ServiceEntry, and of the objects that O(tls) and O(gateway) need.
    type: str
    required: true
  hosts:
    description: Host names to register. A C(*) as the first label matches a whole domain. Required with
      O(state=present).
    type: list
    elements: str
  ports:
    description:
      - Ports that workloads call, each as a number or as C({number, protocol, name, target_port}).
      - The default protocol is C(HTTP) for port 80 and C(TLS) for port 443. Any other port needs a C(protocol), one of
        C(HTTP), C(HTTPS), C(HTTP2), C(GRPC), C(MONGO), C(TCP), C(TLS).
    type: list
    elements: raw
    default: [443]
  resolution:
    description: Method by which proxies resolve the hosts. The default is V(static) if all O(endpoints) are IP
      addresses, V(none) if a host has a wildcard and there are no O(endpoints), else V(dns).
    type: str
    choices: [dns, dns_round_robin, none, static]
  addresses:
    description: Virtual IP addresses or CIDRs of the hosts. They are needed to distinguish hosts on a TCP port, where
      requests contain no host name.
    type: list
    elements: str
    default: []
  endpoints:
    description:
      - Addresses to which requests are sent, each as an IP address or host name, or as C({address, ports, labels,
        locality, weight, network}). The default is to send requests to the hosts.
      - C(ports) maps numbers or names of O(ports) to ports of the endpoint.
    type: list
    elements: raw
    default: []
  location:
    description: Location of the hosts. With V(mesh_internal), proxies use mutual TLS with them.
    type: str
    choices: [mesh_internal, mesh_external]
    default: mesh_external
  export_to:
    description: Namespaces in which the hosts are visible. V(.) is the namespace of the policy. The default is all
      namespaces.
    type: list
    elements: str
    default: []
  tls:
    description: "TLS origination to the host: the proxy upgrades plain HTTP ports to HTTPS. Requires exactly one host."
    type: dict
    suboptions:
      port:
        description: Port on which the host accepts TLS.
        type: int
        default: 443
      sni:
        description: Server name (SNI) that the proxy sends. The default is the host.
        type: str
      subject_alt_names:
        description: Subject alternative names, of which the host's certificate must have one. The default is the value
          of O(tls.sni).
        type: list
        elements: str
        default: []
      credential_name:
        description: Secret with a client certificate, in the namespace of the gateway's pods. Requires O(gateway),
          because sidecars have no access to Secrets.
        type: str
      ca_certificates:
        description: Path of a file with CA certificates in the proxy's container. The default is the system's CA
          bundle.
        type: str
      insecure_skip_verify:
        description: Whether to skip verification of the host's certificate.
        type: bool
        default: false
  gateway:
    description:
      - Service of an egress gateway through which requests leave the mesh, as C(NAMESPACE/NAME).
      - Requires exactly one host, with at most one HTTP port and one TLS port. The gateway receives HTTP on port 80
        and TLS on port 443.
    type: str
  gateway_selector:
    description: Labels of the egress gateway's pods.
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
- name: Originate TLS to the payment provider
  servicemesh.istio.egress:
    name: payments
    namespace: online-boutique
    hosts: [api.payments.example.com]
    ports: [80]
    tls: {subject_alt_names: [api.payments.example.com]}

- name: Remove the payment provider
  servicemesh.istio.egress:
    name: payments
    namespace: online-boutique
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
  sample: {code: protocol_invalid, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.egress import EGRESS
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(EGRESS, REVIEW)


if __name__ == "__main__":
    main()
