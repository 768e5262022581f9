#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: proxy_log
short_description: Set the log levels of running proxies
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Sets levels of Envoy's own log in the sidecars or gateways of a workload, such as debug before a test and warning afterwards.
  - Each proxy is asked through a tunnel to its admin port, as C(kubectl port-forward) makes it. All of them are read before any is set.
  - Levels live in the proxy alone. They are gone when its container restarts, and a new pod begins with Istio's own, which are V(warning),
    and V(error) for the logger C(misc), unless the pod or the mesh says otherwise.
  - At V(debug) and V(trace) proxies log the headers of requests, so also cookies and tokens. Who may read the pod's log reads them.
options:
  namespace:
    description: Namespace of the pods.
    type: str
    required: true
  workload:
    description:
      - Labels of the pods. Without it, all of the namespace. Each of them must run and have a proxy; those that have ended, or are being
        deleted, do not count.
    type: dict
    default: {}
  levels:
    description:
      - Level by logger, or C(all) for those that are not named. Others stay as they are.
      - Levels are V(trace), V(debug), V(info), V(warning), V(error), V(critical) and V(off).
    type: dict
    required: true
seealso:
  - name: istioctl proxy-config log
    description: Log levels of a proxy.
    link: https://istio.io/latest/docs/reference/commands/istioctl/#istioctl-proxy-config-log
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
attributes:
  check_mode:
    details: It asks each proxy for its levels, and sets none. It only warns of pods that are not there, or not running yet.
"""

EXAMPLES = r"""
- name: The frontend's proxies tell of each request
  servicemesh.istio.proxy_log:
    namespace: online-boutique
    workload: {app: frontend}
    levels: {http: debug, router: debug}

# Here the test.

- name: As Istio has it
  servicemesh.istio.proxy_log:
    namespace: online-boutique
    workload: {app: frontend}
    levels: {all: warning, misc: error}
"""

RETURN = r"""
proxies:
  description: Each chosen proxy.
  returned: when all proxies could be read
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of its pod.
      type: str
    pod:
      description: Its pod.
      type: str
    action:
      description: One of configured, unchanged, failed.
      type: str
    before:
      description: Level by logger of what differs from what is wanted.
      type: dict
    after:
      description: What it was set to. Empty where that has failed; what the proxy has then is unknown.
      type: dict
    message:
      description: Why it could not be set.
      type: str
  sample: [{namespace: shop, pod: web-5d8, action: configured, before: {http: warning}, after: {http: debug}, message: ""}]
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: >-
    Code, object, reason and hint. The code is stable. With C(not_set), which is of a proxy that failed while others were set, RV(proxies) is
    returned beside it; with every other code nothing was set.
  returned: on failure
  type: dict
  sample: {code: unknown_logger, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.module import Run, run_module
from ..module_utils._engine.selectors import label_selector
from ..module_utils._proxy import log_levels

ARGUMENTS = {
    "namespace": {"type": "str", "required": True},
    "workload": {"type": "dict", "default": {}},
    "levels": {"type": "dict", "required": True},
}


def body(run: Run) -> dict:
    namespace, labels = run.options["namespace"], label_selector(run.options["workload"])
    wanted = log_levels.parse_levels(run.options["levels"])
    pods, refusals = log_levels.select_proxies(
        run.cluster.list("", "Pod", namespace, labels), f"in {namespace}{f' with {labels}' if labels else ''}"
    )
    run.fail_or_warn(refusals)
    live = run.timed("read", lambda: log_levels.read_levels(run.cluster, pods))
    changes = log_levels.plan_levels(live, wanted)
    if not run.check_mode:
        changes = run.timed("apply", lambda: log_levels.apply_levels(run.cluster, changes))
    run.extra_result = log_levels.levels_result(changes)
    failure = log_levels.levels_failure(changes)
    if failure:
        raise failure
    return run.extra_result


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
