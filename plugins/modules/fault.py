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
  - Tests how callers of a service handle faults. The callers' proxies inject the fault; the service itself is not changed.
  - With O(expires), a fault ends with the next run of any module of the service's traffic policy after that time.
options:
  delay:
    description: Delay, such as C(2s), or C({by, percent}).
    type: raw
  abort:
    description: Abort with an HTTP status, such as V(503), or C({http or grpc, percent}). C(grpc) is a status such as C(UNAVAILABLE).
    type: raw
  match:
    description: Requests that the fault applies to, with the keys of O(servicemesh.istio.route#module:rules[].match). The default is every request.
    type: raw
  expires:
    description:
      - Duration such as C(30m), or time such as C(2030-01-31T12:00:00Z).
      - A duration starts with the run that first sets this fault. A later run with the same fault does not extend it.
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
- name: Delay a tenth of the requests to the catalog by two seconds for half an hour
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
    concern.run_feature("fault", REVIEW, required_if=[("state", "present", ["delay", "abort"], True)])


if __name__ == "__main__":
    main()
