#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: fault
short_description: Delay or abort a share of a host's requests
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - For tests of what depends on a host. Whoever calls it meets the fault in their own proxy; the host itself is not touched.
  - With O(expires) a fault that was forgotten ends, with the next run of any module of the host's policy after that time.
options:
  delay:
    description: Such as C(2s), or C({by, percent}).
    type: raw
  abort:
    description: A status such as V(503), or C({http or grpc, percent}), where C(grpc) is a status such as C(UNAVAILABLE).
    type: raw
  match:
    description: Requests that the fault applies to, with the keys of O(servicemesh.istio.route#module:rules[].match). The default is every request.
    type: raw
  expires:
    description:
      - A duration such as C(30m), or a time such as C(2030-01-31T12:00:00Z).
      - A duration counts from the run that brought this fault; the same fault in a later run does not prolong it, and does not come back by itself.
    type: str
seealso:
  - name: HTTPFaultInjection
    description: Reference of the field that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPFaultInjection
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.service_policy
  - servicemesh.istio.service_policy.state
  - servicemesh.istio.service_policy.gateways
  - servicemesh.istio.service_policy.gateway_hosts
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
- name: A tenth of the calls to the catalogue takes two seconds more, for half an hour
  servicemesh.istio.fault:
    namespace: online-boutique
    service: productcatalogservice
    delay: {by: 2s, percent: 10}
    expires: 30m

- name: No more faults
  servicemesh.istio.fault:
    namespace: online-boutique
    service: productcatalogservice
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
    concern.run_feature("fault", REVIEW, required_if=[("state", "present", ["delay", "abort"], True)])


if __name__ == "__main__":
    main()
