#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: sidecar
short_description: Limit the configuration and the egress of a namespace's sidecars
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a Sidecar. A proxy with less configuration needs less memory and receives fewer updates.
  - With O(outbound_traffic_policy=registry_only), requests to unregistered hosts fail. M(servicemesh.istio.egress) registers hosts.
  - Another Sidecar for the whole namespace is rejected, because Istio would apply only one of them.
options:
  name:
    description: Name of the Sidecar.
    type: str
    default: default
  egress_hosts:
    description: Hosts in the proxies' configuration, as C(NAMESPACE) or C(NAMESPACE/HOST). V(.) is the Sidecar's namespace, V(*) is every
      namespace and V(~) is none. If it is not set, the mesh's default applies.
    type: list
    elements: str
  outbound_traffic_policy:
    description: Whether requests to hosts outside the mesh's registry are allowed. If it is not set, the mesh's default applies.
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
- name: Limit the shop to its own hosts and the control plane's namespace
  servicemesh.istio.sidecar:
    namespace: online-boutique
    egress_hosts: [., istio-system]
    outbound_traffic_policy: registry_only

- name: Restore the mesh's default
  servicemesh.istio.sidecar:
    namespace: online-boutique
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
  sample: {code: policy_twice, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.policy_module import run_policy
from ..module_utils._traffic.policies.sidecar import SIDECAR


def main() -> None:
    run_policy(SIDECAR, REVIEW)


if __name__ == "__main__":
    main()
