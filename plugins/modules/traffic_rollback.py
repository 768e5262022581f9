#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: traffic_rollback
short_description: Roll back the last change of a service's traffic policy
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Restores the traffic policy that a service had before its last change. Each module that changes the policy of a
    service first saves the previous policy as a checkpoint.
  - The rollback has the same steps and waits as any other change of the policy, so that no request fails with 503.
  - If the service had no policy before the change, the policy is removed. If the change removed the policy, the policy
    is created again.
  - Only one change can be rolled back. A second run reverts the rollback, so that the change applies again.
  - Routes that other tools or users added to the VirtualService are not changed. If the change adopted or replaced an
    object of another owner, that object is not created again.
seealso:
  - name: VirtualService
    description: Reference of the VirtualService that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/virtual-service/
  - name: DestinationRule
    description: Reference of the DestinationRule that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/destination-rule/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.service_policy
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.writing.preflight
  - servicemesh.istio.writing.proxies
attributes:
  idempotent:
    support: none
    details: A second run reverts the first run.
"""

EXAMPLES = r"""
- name: Send 10 % of the requests to v2
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}

- name: Send all requests to v2
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 0, v2: 100}

- name: Roll back to 10 %
  servicemesh.istio.traffic_rollback:
    namespace: online-boutique
    service: frontend
"""

RETURN = r"""
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs made for the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 0, configured: 2, recreated: 0, unchanged: 0, pruned: 0, failed: 0, dry_runs: 2}
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
  sample: {code: nothing_to_roll_back, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._engine.waiting.deadline import Deadline
from ..module_utils._failure import Failure
from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic import rollback_checkpoint
from ..module_utils._traffic.api_selection import select_api
from ..module_utils._traffic.host.reader import Reader
from ..module_utils._traffic.host_policy import Policy
from ..module_utils._traffic.references import validate_references
from ..module_utils._traffic.rollout import rollout_steps
from ..module_utils._traffic.wait_for_proxies import PROXY_WAIT_ARGUMENTS, without_last_wait

ARGUMENTS = {
    "service": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    **WAIT_ARGUMENTS,
    **PROXY_WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def body(run: Run) -> dict:
    options = run.options
    # In one slice: a second one would revert the first.
    run.deadline = Deadline(options["wait_timeout"])
    rules = run.apply_options(namespace=options["namespace"])
    reader = Reader(run.cluster)
    now = Policy.of(reader.read(options["service"], options["namespace"]))
    try:
        policy = rollback_checkpoint.previous_policy(run.cluster, now)
    except Failure as failure:
        run.fail_or_warn([failure])
        return run.apply([], rules)
    if not policy.empty:
        policy = select_api(policy, policy.api, reader)
        run.fail_or_warn(validate_references(policy))
    return run.apply(
        [*without_last_wait(rollout_steps(policy), options), rollback_checkpoint.swap_step(now, policy)], rules
    )


def main() -> None:
    run_module(ARGUMENTS, body, REVIEW)


if __name__ == "__main__":
    main()
