#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: sidecar
short_description: Limit what the sidecars of a namespace see, and allow or block unknown hosts
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a Sidecar. A proxy that knows fewer hosts needs less memory and receives fewer updates.
  - With O(outbound_traffic_policy=registry_only), proxies block requests to hosts that are not registered.
    M(servicemesh.istio.egress) registers hosts.
  - If another Sidecar already applies to the whole namespace, the task fails, because Istio would use only one of the
    two, and it is undefined which one.
options:
  name:
    description: Name of the Sidecar.
    type: str
    default: default
  egress_hosts:
    description:
      - Hosts in the proxies' configuration, each as C(NAMESPACE) or C(NAMESPACE/HOST). V(.) is the Sidecar's namespace,
        V(*) is every namespace, and V(~) selects no namespace.
      - If it is not set, the mesh's default applies.
    type: list
    elements: str
  outbound_traffic_policy:
    description: Whether requests to hosts outside the mesh's registry are allowed. If it is not set, the mesh's
      default applies.
    type: str
    choices: [allow_any, registry_only]
seealso:
  - name: Sidecar
    description: Reference of the Sidecar that this module writes.
    link: https://istio.io/latest/docs/reference/config/networking/sidecar/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.workload_policy
  - servicemesh.istio.workload_policy.workload
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.writing.preflight
  - servicemesh.istio.writing.proxies
"""

EXAMPLES = r"""
- name: Limit the shop to itself and the control plane's namespace, and block unknown hosts
  servicemesh.istio.sidecar:
    namespace: online-boutique
    egress_hosts: [., istio-system]
    outbound_traffic_policy: registry_only

- name: Return to the mesh's default
  servicemesh.istio.sidecar:
    namespace: online-boutique
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
  sample: {code: policy_twice, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.policy_module import run_policy
from ..module_utils._traffic.policies.sidecar import SIDECAR


def main() -> None:
    run_policy(SIDECAR, REVIEW)


if __name__ == "__main__":
    main()
