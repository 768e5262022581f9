#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: telemetry
short_description: What proxies tell by access logs, traces and metrics
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a Telemetry for a namespace, a workload of it, or in the root namespace for the mesh.
  - A provider that the mesh configuration does not have is refused, for proxies would then tell nothing.
  - Another Telemetry that is for all of the namespace, too, is refused, since Istio takes one of the two as it comes.
options:
  name:
    description: Name of the Telemetry.
    type: str
    default: default
  access_logs:
    description:
      - C(enabled), C(providers) by name (without them V(envoy), the proxy's own log), C(when) as an expression in CEL, C(mode) as C(client),
        C(server) or C(both).
    type: dict
  tracing:
    description:
      - C(enabled), C(providers) by name, C(percent) of the requests whose trace begins here, C(tags) as a text or C({literal, header, env, default}) by name.
    type: dict
  metrics:
    description:
      - C(enabled), C(providers) by name, C(disable) as a list of Istio's metrics, C(tags) as an expression in CEL by name, or V(false) to leave one
        out, C(reporting_interval) as the interval between reports.
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
- name: The shop writes down what failed, and traces a tenth of what comes in
  servicemesh.istio.telemetry:
    namespace: online-boutique
    access_logs: {providers: [envoy], when: response.code >= 500}
    tracing: {percent: 10}

- name: As the mesh says
  servicemesh.istio.telemetry:
    namespace: online-boutique
    state: absent
"""

RETURN = r"""
summary:
  description: Counts of objects by what was done with them. C(dry_runs) counts the dry runs of the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 2, configured: 0, recreated: 0, unchanged: 0, pruned: 0, failed: 0, dry_runs: 2}
objects:
  description: Every object of the plan.
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
      description: Fields that other managers own, with the manager.
      type: list
      elements: dict
    status:
      description: Readiness in the words of kstatus, where it was waited for.
      type: str
    message:
      description: What else is to be said.
      type: str
verified:
  description: What was seen to hold between steps.
  returned: when a plan was made
  type: list
  elements: str
findings:
  description: What pre-flight finds on the objects that are written, and what comes of them on others, errors first, in the form of
    M(servicemesh.istio.preflight).
  returned: when something is to be changed
  type: list
  elements: dict
  sample: []
forbidden_kinds:
  description: Kinds that this account may not list, with the server's words. Checks that need them say nothing.
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
