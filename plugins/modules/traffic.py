#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: traffic
short_description: Set the traffic policy of all services from one variable
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Sets the traffic policy of several services from one variable. Each service has exactly the features that the
    variable sets; other features of the service are removed.
  - Plans the changes of all services before it changes any of them.
  - "Changes are applied in an order that avoids 503 errors: new subsets of all services, then routes, then removal of
    unused subsets. After each step, every istiod must report that its proxies have acknowledged the change."
options:
  policy:
    description:
      - Traffic policy by namespace, service and feature. Each feature has the options of its module. The features are
        C(split) (M(servicemesh.istio.traffic_split)), C(route) (M(servicemesh.istio.route)), C(fault)
        (M(servicemesh.istio.fault)), C(resilience) (M(servicemesh.istio.resilience)), C(cors)
        (M(servicemesh.istio.cors)) and C(load_balancing) (M(servicemesh.istio.load_balancing)).
      - If a service is listed without features, its policy is removed.
      - The key C(api) beside the features sets the API of the service's routes, with the values of O(api).
    type: dict
    required: true
  set:
    description: Name of the set of services that this task manages. The name is stored with the objects of each
      service.
    type: str
    default: traffic
  api:
    description:
      - API for the routes of services that do not set C(api) in O(policy). The values are those of
        O(servicemesh.istio.route#module:api).
      - If it is not set, a service keeps its API, and a service without routes uses V(istio).
    type: str
    choices: [istio, gateway_api, auto]
  prune:
    description: Whether to remove, in all namespaces, the policy of services that are in the set but not in O(policy).
      Policy outside the set, which other tools or the modules for single features wrote, is not removed.
    type: bool
    default: false
seealso:
  - name: VirtualService
    description: Reference of the VirtualService that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/virtual-service/
  - name: DestinationRule
    description: Reference of the DestinationRule that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/destination-rule/
  - name: Gateway API
    description: Reference of the HTTPRoute that this module writes with O(api=gateway_api).
    link: https://gateway-api.sigs.k8s.io/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.writing.preflight
  - servicemesh.istio.writing.proxies
  - servicemesh.istio.writing.shared
"""

EXAMPLES = r"""
- name: Set the traffic policy of all services of the shop
  servicemesh.istio.traffic:
    policy:
      online-boutique:
        frontend:
          split: {versions: {v1: 90, v2: 10}}
        productcatalogservice:
          resilience: {timeout: 2s, retries: {attempts: 2}}
        cartservice:
          api: auto
          resilience: {timeout: 1s}
    prune: true
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
  sample: {code: options_invalid, ref: null, reason: "", hint: ""}
"""

from dataclasses import replace

from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic import bulk_policy, rollback_checkpoint
from ..module_utils._traffic.api_selection import API_ARGUMENT
from ..module_utils._traffic.host.reader import Reader
from ..module_utils._traffic.host.takeover import Takeover
from ..module_utils._traffic.references import validate_references
from ..module_utils._traffic.rollout import rollout_steps
from ..module_utils._traffic.wait_for_proxies import PROXY_WAIT_ARGUMENTS, without_last_wait

ARGUMENTS = {
    "policy": {"type": "dict", "required": True},
    "set": {"type": "str", "default": "traffic"},
    "prune": {"type": "bool", "default": False},
    **API_ARGUMENT,
    **WAIT_ARGUMENTS,
    **PROXY_WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def body(run: Run) -> dict:
    options = run.options
    wanted = bulk_policy.parse_policy(options["policy"])
    reader = Reader(run.cluster)
    warnings = []
    policies = bulk_policy.compose_policies(
        reader, wanted, options["set"], Takeover.of(options, run.cluster.manager), warnings, options["api"]
    )
    for warning in warnings:
        run.module.warn(warning)
    for policy in policies:
        run.fail_or_warn(validate_references(policy) if not policy.empty else [])
    gone = bulk_policy.released_policies(run.cluster, reader, policies, options["set"]) if options["prune"] else []
    steps = bulk_policy.merge_steps(
        [
            [*rollback_checkpoint.checkpoint_steps(run.cluster, policy), *rollout_steps(policy)]
            for policy in [*policies, *gone]
        ]
    )
    rules = run.apply_options()
    return run.apply(
        without_last_wait(steps, options),
        replace(rules, adopt=rules.adopt.union(*(policy.overwritten_managers() for policy in policies))),
    )


def main() -> None:
    run_module(ARGUMENTS, body, REVIEW)


if __name__ == "__main__":
    main()
