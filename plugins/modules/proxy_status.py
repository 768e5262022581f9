#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: proxy_status
short_description: Report which proxies are in sync, and whether they apply a service's traffic policy
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Asks every istiod, through a tunnel to its debug port, which configuration its proxies have acknowledged. Each
    istiod knows only its own proxies.
  - With O(service), also reads the configuration of each proxy that the service's policy applies to. It compares
    routes, weights, timeouts, retries, subsets and TLS mode with the service's live VirtualService and
    DestinationRule.
  - If an istiod cannot be reached, the verdict with O(service) depends only on the proxy's own configuration. Without
    O(service), the verdict is C(unknown).
  - Checks all affected proxies, not a sample, and changes nothing.
options:
  service:
    description: Service with a traffic policy of this collection, as the name of a Service in O(namespace) or as a full
      host name. If it is not set, the module reports only whether proxies are in sync.
    type: str
  namespace:
    description:
      - With O(service), the namespace of the service's objects. Proxies of all namespaces are checked.
      - Without O(service), the namespace of the proxies to check. The default is all namespaces.
    type: str
  wait_timeout:
    description: Number of seconds to wait for proxies that are not in sync. With V(0), the module checks once.
    type: int
    default: 60
  fail:
    description: Whether the task fails if a proxy is pending or has rejected its configuration. Proxies with unknown
      status produce a warning, not a failure.
    type: bool
    default: true
seealso:
  - name: Debugging Envoy and istiod
    description: Proxy status and configuration dumps.
    link: https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/
extends_documentation_fragment:
  - servicemesh.istio.attributes.info
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing.progress
"""

EXAMPLES = r"""
- name: Wait until all proxies are in sync
  servicemesh.istio.proxy_status:
    wait_timeout: 120

- name: Set a traffic split without waiting for the proxies
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}
    wait_for_proxies: false

- name: Wait until the proxies apply the split
  servicemesh.istio.proxy_status:
    namespace: online-boutique
    service: frontend

- name: Check the proxies of one namespace once
  servicemesh.istio.proxy_status:
    namespace: online-boutique
    wait_timeout: 0
    fail: false
  register: proxies

- name: Print the result
  ansible.builtin.debug:
    msg: "{{ proxies.text }}"
"""

RETURN = r"""
proxies:
  description: Proxies that were checked.
  returned: when proxies were checked
  type: list
  elements: dict
  contains:
    proxy:
      description: Name of the proxy in istiod.
      type: str
    namespace:
      description: Namespace of the proxy.
      type: str
    pod:
      description: Name of the proxy's pod.
      type: str
    istiod:
      description: The istiod that the proxy is connected to, as NAMESPACE/NAME. Empty if it is unknown.
      type: str
    revision:
      description: Revision of that istiod. If it is unknown, the revision in the pod's label.
      type: str
    version:
      description: Istio version that the proxy reports. Empty if istiod cannot be reached.
      type: str
    verdict:
      description: Status of the proxy. One of synced, pending, rejected, unknown.
      type: str
    reason:
      description: Configuration that is missing, or the proxy's error message.
      type: str
counts:
  description: Number of proxies by verdict.
  returned: when proxies were checked
  type: dict
  sample: {synced: 13, pending: 0, rejected: 0, unknown: 0}
text:
  description: Summary of the counts, with the names of the proxies that are not in sync.
  returned: when proxies were checked
  type: str
  sample: 13 of 13 proxies are in sync
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
  returned: on failure
  type: dict
  sample: {code: proxies_not_synced, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.module import Run, run_module
from ..module_utils._failure import InvalidOption
from ..module_utils._proxy import sync_status
from ..module_utils._traffic import proxy_comparison
from ..module_utils._traffic.host.reader import Reader

ARGUMENTS = {
    "service": {"type": "str"},
    "namespace": {"type": "str"},
    "wait_timeout": {"type": "int", "default": 60},
    "fail": {"type": "bool", "default": True},
    # Set by the action plugin: the longest wait of one call, and what was reported already.
    "_progress": {"type": "dict"},
}


def asked(run: Run) -> sync_status.ProxyQuery:
    options = run.options
    if options["service"]:
        host = Reader(run.cluster).read(options["service"], options["namespace"])
        if not (
            host.managed_virtual_service or host.wildcard_virtual_service or host.destination_rule or host.http_routes
        ):
            hint = "Correct service and namespace."
            run.fail_or_warn([InvalidOption("service", f"{host.full_name} has no policy", hint=hint, code="no_policy")])
        return proxy_comparison.proxy_query(run.cluster, host)
    return sync_status.ProxyQuery(lambda place: options["namespace"] in (None, place.namespace))


def body(run: Run) -> dict:
    question = asked(run)
    deadline = run.deadline if run.options["wait_timeout"] else None
    found = run.timed("wait", lambda: sync_status.wait_for_sync(run.cluster, question, deadline))
    run.extra_result = {
        "proxies": sync_status.verdict_rows(found),
        "counts": sync_status.count_verdicts(found),
        "text": sync_status.summary_text(found),
    }
    if run.extra_result["counts"][sync_status.UNKNOWN]:
        run.module.warn(run.extra_result["text"])
    failure = sync_status.sync_failure(found)
    if failure and run.options["fail"]:
        raise failure
    return run.extra_result


def main() -> None:
    run_module(ARGUMENTS, body, required_by={"service": ["namespace"]})


if __name__ == "__main__":
    main()
