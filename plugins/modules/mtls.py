#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: mtls
short_description: Require mutual TLS, unless plaintext callers are found
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a PeerAuthentication for a namespace or a workload. In the root namespace, it applies to the whole mesh.
  - Before mutual TLS becomes required, the module searches the access logs of the called proxies for callers without
    TLS. If it finds any, the task fails and lists them. In check mode this is a warning.
  - If a request passed through another proxy, the list contains the address of the original client, because this is
    the address in the log.
  - The module reads the newest 5,000 lines of each log. Proxies write their logs with a delay of about ten seconds.
  - If a log contains no calls or is truncated, the module reads the proxy's metrics, which count calls since the proxy
    started. If the metrics contain no calls either, the task prints a warning that plaintext callers are unknown, and
    lists the pods without a sidecar.
  - TLS settings in DestinationRules are not changed. Callers with a sidecar use mutual TLS automatically.
  - The change applies to new connections. Open connections are affected when the proxy drains them, which takes
    45 seconds unless Istio's C(drainDuration) is set.
options:
  name:
    description: Name of the PeerAuthentication.
    type: str
    default: default
  mode:
    description:
      - Mode of mutual TLS. V(strict) accepts mutual TLS only, V(permissive) accepts plaintext too, and V(disable)
        accepts plaintext only. V(inherit) uses the mode of the namespace or of the mesh.
      - Required with O(state=present).
    type: str
    choices: [strict, permissive, disable, inherit]
  ports:
    description: Mode by port of the pods, for ports whose mode differs from O(mode). Requires O(workload).
    type: dict
    default: {}
  plaintext_callers:
    description:
      - Effect of plaintext callers on a change that requires mutual TLS.
      - V(fail) reads access logs and metrics, and fails with the code C(plaintext_callers) if it finds callers without
        TLS.
      - V(ignore) applies the change without reading them. Callers without TLS can no longer connect.
    type: str
    choices: [fail, ignore]
    default: fail
  access_log_window:
    description: Time window of the access logs in which to look for plaintext callers, such as C(30m).
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
- name: Require mutual TLS in the shop, unless plaintext callers are found
  servicemesh.istio.mtls:
    namespace: online-boutique
    mode: strict

- name: Return to the mode of the mesh
  servicemesh.istio.mtls:
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
  sample: {code: plaintext_callers, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.mtls import MTLS
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(MTLS, REVIEW)


if __name__ == "__main__":
    main()
