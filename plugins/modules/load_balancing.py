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
  description: Counts of objects by what was done with them. C(dry_runs) counts the dry runs of the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 2, configured: 0, recreated: 0, unchanged: 0, pruned: 0, failed: 0, dry_runs: 2}
objects:
  description: Every object of the plan.
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
      description: Fields that other managers own, with the manager.
      type: list
      elements: dict
    status:
      description: Readiness in the words of kstatus, where it was waited for.
      type: str
    message:
      description: What else is to be said.
      type: str
verified:
  description: What was seen to hold between steps.
  returned: when a plan was made
  type: list
  elements: str
findings:
  description: What pre-flight finds on the objects that are written, and what comes of them on others, errors first, in the form of
    M(servicemesh.istio.preflight).
  returned: when something is to be changed
  type: list
  elements: dict
  sample: []
forbidden_kinds:
  description: Kinds that this account may not list, with the server's words. Checks that need them say nothing.
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
