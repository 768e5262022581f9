#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: egress
short_description: Hosts outside of the mesh that workloads may call
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Registers hosts as a ServiceEntry, so that they can be called where C(outboundTrafficPolicy) is C(REGISTRY_ONLY), and so that policies and metrics
    know them.
  - With O(tls) workloads speak plain HTTP, and their proxies TLS. With O(gateway) requests leave through an egress gateway, whose routes come after
    the gateway has its listener.
  - The module M(servicemesh.istio.sidecar) with C(outbound_traffic_policy) closes a namespace for all other hosts.
  - Waits until a proxy of every istiod has the hosts in its own configuration, and all have acknowledged what they were sent.
options:
  name:
    description: Name of the ServiceEntry, and of the objects that rest on it.
    type: str
    required: true
  hosts:
    description: DNS names, with a star as the first label for a domain. Needed with O(state=present).
    type: list
    elements: str
  ports:
    description:
      - Ports that workloads call, as a number or as C({number, protocol, name, target_port}).
      - Port 80 is HTTP and 443 is TLS where nothing else is said; any other port needs its C(protocol), one of C(HTTP), C(HTTPS), C(HTTP2), C(GRPC),
        C(MONGO), C(TCP), C(TLS).
    type: list
    elements: raw
    default: [443]
  resolution:
    description: How a proxy finds the host. Without it, V(static) for endpoints by address, V(none) for a domain, else V(dns).
    type: str
    choices: [dns, dns_round_robin, none, static]
  addresses:
    description: Virtual addresses or CIDRs of the hosts, for what is told apart by nothing else, such as TCP.
    type: list
    elements: str
    default: []
  endpoints:
    description: Where requests are sent, as an address, or as C({address, ports, labels, locality, weight, network}) with C(ports) by number or name.
    type: list
    elements: raw
    default: []
  location:
    description: Location of the hosts. V(mesh_internal) makes proxies use mutual TLS with them.
    type: str
    choices: [mesh_internal, mesh_external]
    default: mesh_external
  export_to:
    description: Namespaces that see the hosts, V(.) for their own. Without it, all.
    type: list
    elements: str
    default: []
  tls:
    description: "Originate TLS to the host: the proxy upgrades plain HTTP ports to HTTPS. Requires exactly one host."
    type: dict
    suboptions:
      port:
        description: Port at which the host takes TLS.
        type: int
        default: 443
      sni:
        description: Name that is asked for. Without it, the host.
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
    description: Service of an egress gateway, as NAMESPACE/NAME, through which requests leave. For one host, by port 80 for HTTP and port 443 for TLS.
    type: str
  gateway_selector:
    description: Labels of its pods.
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
- name: Payments are called by TLS, which the proxy begins
  servicemesh.istio.egress:
    name: payments
    namespace: online-boutique
    hosts: [api.payments.example.com]
    ports: [80]
    tls: {subject_alt_names: [api.payments.example.com]}

- name: It is not called any more
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
  sample: {code: protocol_invalid, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.egress import EGRESS
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(EGRESS, REVIEW)


if __name__ == "__main__":
    main()
