#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: load_balancing
short_description: Set how callers choose a pod of a service
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Sets how callers choose a pod of the service. The settings are part of a DestinationRule.
options:
  algorithm:
    description: Load balancing algorithm.
    type: str
    choices: [least_request, round_robin, random, passthrough]
  consistent_hash:
    description:
      - Property of requests that selects the pod. Requests with the same value go to the same pod. One of C({header}), C({cookie}), C({query}) by
        name, or C({source_ip}).
      - C(cookie) can be C({name, path, ttl}). The proxy sets the cookie if a request has none.
      - If all of the service's ports are declared TCP or TLS, only C(source_ip) is supported. Other properties fail with the code C(protocol_cannot).
      - It does not apply across versions of a split. Use O(servicemesh.istio.traffic_split#module:sticky) instead.
    type: dict
  locality:
    description: Locality settings, as C({distribute, failover, failover_priority, enabled}) with C(from) and C(to) as in Istio. Failover requires
      O(servicemesh.istio.resilience#module:outlier_detection).
    type: dict
  warmup:
    description: Slow start of new pods, as C({duration, minimum_percent, aggression}). A new pod receives its full share of requests only after C(duration).
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
- name: Send a customer's requests to the same pod
  servicemesh.istio.load_balancing:
    namespace: online-boutique
    service: cartservice
    consistent_hash: {header: x-customer}

- name: Restore Istio's default
  servicemesh.istio.load_balancing:
    namespace: online-boutique
    service: cartservice
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
    concern.run_feature("load_balancing", REVIEW)


if __name__ == "__main__":
    main()
