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
  - Sets log levels of Envoy in the sidecars or gateways of a workload, for example debug before a test and warning afterwards.
  - The module uses a tunnel to the admin port of each proxy, like C(kubectl port-forward). It reads all proxies before it changes any.
  - Log levels are lost when the container restarts. A new pod starts with Istio's defaults, which are V(warning), and V(error) for the logger
    C(misc), unless the pod or the mesh sets others.
  - At V(debug) and V(trace), proxies log request headers, including cookies and tokens. Everyone who can read the logs of the pod can read them.
options:
  namespace:
    description: Namespace of the pods.
    type: str
    required: true
  workload:
    description:
      - Labels of the pods. The default is all pods of the namespace. Each pod must run and have a proxy. Finished pods and pods that are being
        deleted are ignored.
    type: dict
    default: {}
  levels:
    description:
      - Level by logger. C(all) applies to all loggers that are not listed. Without C(all), other loggers are not changed.
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
- name: Set the log level of the frontend's proxies to debug
  servicemesh.istio.proxy_log:
    namespace: online-boutique
    workload: {app: frontend}
    levels: {http: debug, router: debug}

# The test is here.

- name: Restore Istio's default
  servicemesh.istio.proxy_log:
    namespace: online-boutique
    workload: {app: frontend}
    levels: {all: warning, misc: error}
"""

RETURN = r"""
proxies:
  description: Selected proxies.
  returned: when all proxies could be read
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the pod.
      type: str
    pod:
      description: Name of the pod.
      type: str
    action:
      description: One of configured, unchanged, failed.
      type: str
    before:
      description: Previous level of each logger that differs.
      type: dict
    after:
      description: New level of each logger. Empty if the change failed; the level of the proxy is not known then.
      type: dict
    message:
      description: Why the change failed.
      type: str
  sample: [{namespace: shop, pod: web-5d8, action: configured, before: {http: warning}, after: {http: debug}, message: ""}]
duration:
  description: Seconds by phase.
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
