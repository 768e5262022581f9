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
  - Sets Envoy's log levels in the sidecars or gateways of a workload, such as debug before a test and warning after
    it.
  - Connects to each proxy through a tunnel to its admin port, as C(kubectl port-forward) does. All proxies are read
    before the first one is changed.
  - Log levels are lost when the proxy's container restarts. A new pod starts with Istio's defaults, unless the pod or
    the mesh sets others. The defaults are V(warning), and V(error) for the logger C(misc).
  - At V(debug) and V(trace), proxies log the headers of requests, including cookies and tokens. Everyone who may read
    the pod's log can read them.
options:
  namespace:
    description: Namespace of the pods.
    type: str
    required: true
  workload:
    description:
      - Labels of the pods. The default is all pods of the namespace.
      - Each of the pods must be running and have a proxy. Pods that have ended or are being deleted are ignored.
    type: dict
    default: {}
  levels:
    description:
      - Log level by logger. C(all) sets the level of all loggers that are not listed. Without C(all), the level of
        these loggers does not change.
      - The levels are V(trace), V(debug), V(info), V(warning), V(error), V(critical) and V(off).
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
    details: >-
      Check mode reads the levels of each proxy and sets none. A pod that does not exist or does not run yet produces a
      warning.
"""

EXAMPLES = r"""
- name: Log each request in the frontend's proxies
  servicemesh.istio.proxy_log:
    namespace: online-boutique
    workload: {app: frontend}
    levels: {http: debug, router: debug}

# Run the test here.

- name: Return to Istio's default levels
  servicemesh.istio.proxy_log:
    namespace: online-boutique
    workload: {app: frontend}
    levels: {all: warning, misc: error}
"""

RETURN = r"""
proxies:
  description: Proxies of the selected pods.
  returned: when all proxies were read
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the proxy's pod.
      type: str
    pod:
      description: Name of the proxy's pod.
      type: str
    action:
      description: Action on the proxy. One of configured, unchanged, failed.
      type: str
    before:
      description: Previous level of each logger that differs from O(levels).
      type: dict
    after:
      description: New level of each of these loggers. Empty if the change failed. The levels are then unknown.
      type: dict
    message:
      description: Reason of a failure. Empty if there is none.
      type: str
  sample:
    - {namespace: shop, pod: web-5d8, action: configured, before: {http: warning}, after: {http: debug}, message: ""}
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: >-
    Details of the failure: code, object, reason and hint. The code is stable. The code C(not_set) means that the change
    failed for some proxies, and RV(proxies) is returned too. With any other code, no level was changed.
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
