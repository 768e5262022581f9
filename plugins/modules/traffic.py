#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: traffic
short_description: Make a mesh's traffic policy equal to the one declared
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - One variable holds the policy of all hosts. Each host gets just what it says there, in the words of the modules for single concerns.
  - All hosts are planned before any of them is changed. Subsets of all hosts come first, then routes, then the end of subsets that no
    route names, and in between every istiod must report that its proxies have acknowledged the change.
options:
  policy:
    description:
      - By namespace, host and concern. Concerns are C(split) as in M(servicemesh.istio.traffic_split), C(route) as in M(servicemesh.istio.route),
        C(fault) as in M(servicemesh.istio.fault), C(resilience) as in M(servicemesh.istio.resilience)
        and C(load_balancing) as in M(servicemesh.istio.load_balancing), with their options.
      - A host with no feature has no policy.
      - Beside the concerns, C(api) is the API in which this host's routes are said, as in O(api).
    type: dict
    required: true
  set:
    description: Name of the set of hosts that this call keeps. Each host's objects say in which set they came.
    type: str
    default: traffic
  api:
    description:
      - In which API routes of hosts that name none are said, as in O(servicemesh.istio.route#module:api). Without it a host stays with the API that it has,
        and one without routes gets V(istio).
    type: str
    choices: [istio, gateway_api, auto]
  prune:
    description: Whether hosts of the set that the policy does not name lose theirs, in any namespace. What others or single modules gave to a host
      outside of it stays.
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
- name: All of the shop's traffic policy
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
  sample: {code: options_invalid, ref: null, reason: "", hint: ""}
"""

from dataclasses import replace

from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic import bulk_policy, rollback_checkpoint
from ..module_utils._traffic.api_selection import API_ARGUMENT
from ..module_utils._traffic.host.reader import Reader
from ..module_utils._traffic.host.takeover import Takeover
from ..module_utils._traffic.rollout import rollout_steps, validate_references
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
