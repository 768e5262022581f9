#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: mtls
short_description: Require mutual TLS, and find plaintext callers first
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a PeerAuthentication for a namespace, for a workload of the namespace, or in the root namespace for the mesh.
  - Before mutual TLS becomes mandatory, the module reads the access logs of the called proxies. If it finds callers without TLS, it fails and lists
    them. For a request that another proxy forwarded, it lists the origin of the request, which is the address in the log.
  - The newest 5,000 lines of each log are read. If the logs show no calls or are truncated, the proxy's metrics are used. If those show nothing
    either, a warning says that plaintext callers are unknown and lists pods without a sidecar. A proxy writes its log with a delay of about ten
    seconds. In check mode, plaintext callers cause a warning.
  - TLS settings of DestinationRules are not changed. Callers with a sidecar use mutual TLS automatically.
  - The change applies to new connections at once, and to open connections when the proxy has drained them. This takes 45 seconds unless
    C(drainDuration) sets another value.
options:
  name:
    description: Name of the PeerAuthentication.
    type: str
    default: default
  mode:
    description: V(strict) accepts only mutual TLS, V(permissive) also plaintext, V(disable) only plaintext, and V(inherit) uses the mode of the mesh. Required
      with O(state=present).
    type: str
    choices: [strict, permissive, disable, inherit]
  ports:
    description: Mode by port of the pods, for ports with another mode. Requires O(workload).
    type: dict
    default: {}
  plaintext_callers:
    description:
      - V(fail) reads access logs and metrics, and fails with the code C(plaintext_callers) if it finds callers without TLS.
      - V(ignore) requires TLS without reading them. Callers without TLS can no longer connect.
    type: str
    choices: [fail, ignore]
    default: fail
  access_log_window:
    description: Period of the access logs that is read, such as C(30m).
    type: str
    default: 1h
seealso:
  - name: PeerAuthentication
    description: Reference of the PeerAuthentication that this module writes.
    link: https://istio.io/latest/docs/reference/config/security/peer_authentication/
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
- name: Require mutual TLS if there are no plaintext callers
  servicemesh.istio.mtls:
    namespace: online-boutique
    mode: strict

- name: Restore the mode of the mesh
  servicemesh.istio.mtls:
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
  sample: {code: plaintext_callers, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.mtls import MTLS
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(MTLS, REVIEW)


if __name__ == "__main__":
    main()
