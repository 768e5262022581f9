#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: load_balancing
short_description: Choose how a service's requests are spread over its pods
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes the load balancing settings of the service into its DestinationRule. The proxies of the callers apply them.
options:
  algorithm:
    description: Algorithm that selects a pod. If neither this option nor O(consistent_hash) is set, Istio's default
      applies.
    type: str
    choices: [least_request, round_robin, random, passthrough]
  consistent_hash:
    description:
      - Key of a consistent hash. Requests with the same key go to the same pod. The key is one of C({header}),
        C({cookie}) and C({query}), each with a name, or C({source_ip}). It cannot be combined with O(algorithm).
      - C(cookie) can also be C({name, path, ttl}). A proxy sets the cookie if a request does not have it.
      - If all ports of the service are declared TCP or TLS, only C(source_ip) is supported. The other keys fail with
        the code C(protocol_cannot).
      - A consistent hash has no effect on which version of a split a request goes to. Use
        O(servicemesh.istio.traffic_split#module:sticky) for that.
    type: dict
  locality:
    description: Locality load balancing, as C({distribute, failover, failover_priority, enabled}). The entries of
      C(distribute) and C(failover) have C(from) and C(to), as in Istio's DestinationRule. Failover needs outlier
      detection (O(servicemesh.istio.resilience#module:outlier_detection)).
    type: dict
  warmup:
    description: Slow start of new pods, as C({duration, minimum_percent, aggression}). A new pod receives its full
      share of requests only after C(duration).
    type: dict
seealso:
  - name: LoadBalancerSettings
    description: Reference of the field that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/destination-rule/#LoadBalancerSettings
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.service_policy
  - servicemesh.istio.service_policy.state
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
- name: Send all requests of a customer to the same pod
  servicemesh.istio.load_balancing:
    namespace: online-boutique
    service: cartservice
    consistent_hash: {header: x-customer}

- name: Return to Istio's default
  servicemesh.istio.load_balancing:
    namespace: online-boutique
    service: cartservice
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
    run_feature("load_balancing", REVIEW)


if __name__ == "__main__":
    main()
