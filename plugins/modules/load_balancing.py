#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: load_balancing
short_description: Choose which pod of a host gets a request
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Sets how callers choose a pod of the service. The settings are part of a DestinationRule.
options:
  algorithm:
    description: How a pod is chosen.
    type: str
    choices: [least_request, round_robin, random, passthrough]
  consistent_hash:
    description:
      - Requests that are alike in this go to the same pod. One of C({header}), C({cookie}), C({query}) by name, or C({source_ip}).
      - C(cookie) may be C({name, path, ttl}); a proxy sets it where a request has none.
      - Of connections, where all of the host's ports are declared TCP or TLS, only C(source_ip) can be alike; the others are refused with the code
        C(protocol_cannot).
      - It does not hold across the versions of a split; see O(servicemesh.istio.traffic_split#module:sticky).
    type: dict
  locality:
    description: C({distribute, failover, failover_priority, enabled}), with C(from) and C(to) as Istio writes them. Failover needs outlier detection
      (O(servicemesh.istio.resilience#module:outlier_detection)).
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
- name: A customer's carts are kept by one pod
  servicemesh.istio.load_balancing:
    namespace: online-boutique
    service: cartservice
    consistent_hash: {header: x-customer}

- name: As Istio does by itself
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
    concern.run_feature("load_balancing", REVIEW)


if __name__ == "__main__":
    main()
