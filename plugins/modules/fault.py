#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: fault
short_description: Delay or abort a percentage of a service's requests
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Injects delays and errors, to test how callers handle failures of a service. The callers' proxies inject them; the
    service and its pods do not change.
  - With O(expires), a forgotten fault does not last forever. After that time, the next run of any module that changes
    the service's traffic policy removes it.
options:
  delay:
    description: Delay of requests, as a duration such as C(2s), or as C({by, percent}). C(percent) is 100 by default.
    type: raw
  abort:
    description:
      - Error that the proxy returns instead of calling the service, as an HTTP status such as V(503), or as
        C({http, percent}) or C({grpc, percent}).
      - C(grpc) is a gRPC status such as C(UNAVAILABLE). C(percent) is 100 by default.
    type: raw
  match:
    description: Condition for the requests that the fault applies to, with the keys of
      O(servicemesh.istio.route#module:rules[].match). The default is every request.
    type: raw
  expires:
    description:
      - End of the fault, as a duration such as C(30m) or a time such as C(2030-01-31T12:00:00Z). By default the fault
        has no end.
      - A duration starts with the run that first sets the fault. A later run with the same fault neither extends it
        nor restores it after its end.
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
- name: Delay 10 % of the requests to the product catalog by two seconds, for 30 minutes
  servicemesh.istio.fault:
    namespace: online-boutique
    service: productcatalogservice
    delay: {by: 2s, percent: 10}
    expires: 30m

- name: Remove the fault
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
    run_feature("fault", REVIEW, required_if=[("state", "present", ["delay", "abort"], True)])


if __name__ == "__main__":
    main()
