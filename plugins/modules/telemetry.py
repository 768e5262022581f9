#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: telemetry
short_description: Configure access logs, traces and metrics of a namespace or workload
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a Telemetry for a namespace or a workload. In the root namespace, it applies to the whole mesh.
  - The task fails if an option names a provider that the mesh configuration does not define, because proxies would then
    report nothing.
  - If another Telemetry already applies to the whole namespace, the task fails, because Istio would use only one of
    the two, and it is undefined which one.
options:
  name:
    description: Name of the Telemetry.
    type: str
    default: default
  access_logs:
    description:
      - Access logs, as C({enabled, providers, when, mode}).
      - C(providers) is a list of names. The default is V(envoy), the proxy's own log. C(when) is a CEL expression that
        selects the requests to log. C(mode) is C(client), C(server) or C(both).
    type: dict
  tracing:
    description:
      - Traces, as C({enabled, providers, percent, tags}).
      - C(providers) is a list of names. C(percent) is the percentage of requests for which the proxies start a trace.
        C(tags) maps names of tags to a text or to C({literal, header, env, default}).
    type: dict
  metrics:
    description:
      - Metrics, as C({enabled, providers, disable, tags, reporting_interval}).
      - C(providers) is a list of names. C(disable) is a list of Istio's metrics. C(tags) maps names of tags to a CEL
        expression, or to V(false) to remove the tag. C(reporting_interval) is the time between two reports.
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
- name: Log failed requests of the shop, and trace 10 % of its requests
  servicemesh.istio.telemetry:
    namespace: online-boutique
    access_logs: {providers: [envoy], when: response.code >= 500}
    tracing: {percent: 10}

- name: Return to the mesh's default
  servicemesh.istio.telemetry:
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
  sample: {code: provider_unknown, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.policy_module import run_policy
from ..module_utils._traffic.policies.telemetry import TELEMETRY


def main() -> None:
    run_policy(TELEMETRY, REVIEW)


if __name__ == "__main__":
    main()
