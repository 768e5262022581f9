#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: telemetry
short_description: Configure access logs, tracing and metrics
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a Telemetry for a namespace, for a workload of the namespace, or in the root namespace for the mesh.
  - A provider that is not in the mesh configuration is rejected, because proxies would report nothing.
  - Another Telemetry for the whole namespace is rejected, because Istio would apply only one of them.
options:
  name:
    description: Name of the Telemetry.
    type: str
    default: default
  access_logs:
    description: Access logs, as C({enabled, providers, when, mode}). C(providers) are names, with the default V(envoy). C(when) is a CEL expression. C(mode) is
      C(client), C(server) or C(both).
    type: dict
  tracing:
    description: Tracing, as C({enabled, providers, percent, tags}). C(percent) applies to requests without a trace. C(tags) are strings or C({literal, header,
      env, default}) by name.
    type: dict
  metrics:
    description: Metrics, as C({enabled, providers, disable, tags, reporting_interval}). C(disable) lists Istio metrics. C(tags) are CEL expressions by name, or
      V(false) to remove a tag.
    type: dict
seealso:
  - name: Telemetry
    description: Reference of the Telemetry that this module writes.
    link: https://istio.io/latest/docs/reference/config/telemetry/
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
- name: Log failed requests of the shop and trace a tenth of its requests
  servicemesh.istio.telemetry:
    namespace: online-boutique
    access_logs: {providers: [envoy], when: response.code >= 500}
    tracing: {percent: 10}

- name: Restore the mesh's default
  servicemesh.istio.telemetry:
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
  sample: {code: provider_unknown, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.policy_module import run_policy
from ..module_utils._traffic.policies.telemetry import TELEMETRY


def main() -> None:
    run_policy(TELEMETRY, REVIEW)


if __name__ == "__main__":
    main()
