#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: proxy_status
short_description: Check whether proxies are in sync with what was applied
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Asks every istiod what each of its proxies has acknowledged, through a tunnel to its debug port. Each istiod knows only its own proxies.
  - With O(service) it also asks each proxy that the host's policy concerns for its own configuration, and compares routes, weights, timeouts,
    retries, subsets and TLS mode with what the live VirtualService and DestinationRule of the host say.
  - Where istiod cannot be asked, the proxies' own answer counts with O(service), and without it the verdict is unknown. It is never guessed.
  - It only reads. All proxies that are concerned are asked, not a sample.
options:
  service:
    description: A host with a policy of this collection. Name of a Service in O(namespace), or a full host name.
    type: str
  namespace:
    description: With O(service) the namespace of its objects; proxies of all namespaces are asked. Without it only proxies of this namespace are.
    type: str
  wait_timeout:
    description: Seconds to wait for proxies that are not in sync. 0 is one look.
    type: int
    default: 60
  fail:
    description: >-
      Whether the task fails where a proxy is still waited for, or has rejected its configuration. Unknown proxies fail nothing, and are warned of.
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
- name: Every proxy has acknowledged what it was sent
  servicemesh.istio.proxy_status:
    wait_timeout: 120

- name: A policy whose proxies are not waited for
  servicemesh.istio.traffic_split:
    namespace: online-boutique
    service: frontend
    versions: {v1: 90, v2: 10}
    wait_for_proxies: false

- name: Its proxies have it
  servicemesh.istio.proxy_status:
    namespace: online-boutique
    service: frontend

- name: Who is behind in one namespace, now
  servicemesh.istio.proxy_status:
    namespace: online-boutique
    wait_timeout: 0
    fail: false
  register: proxies

- name: Name them
  ansible.builtin.debug:
    msg: "{{ proxies.text }}"
"""

RETURN = r"""
proxies:
  description: Each proxy that is concerned.
  returned: when proxies were asked
  type: list
  elements: dict
  contains:
    proxy:
      description: Its name, as istiod has it.
      type: str
    namespace:
      description: Its namespace.
      type: str
    pod:
      description: Its pod.
      type: str
    istiod:
      description: The istiod that it is connected to, as NAMESPACE/NAME; empty where that is unknown.
      type: str
    revision:
      description: Revision of that istiod; where it is unknown, the one of the pod's label.
      type: str
    version:
      description: Version of Istio, as the proxy says it; empty where istiod cannot be asked.
      type: str
    verdict:
      description: One of synced, pending, rejected, unknown.
      type: str
    reason:
      description: What is missing, or the proxy's own words.
      type: str
counts:
  description: Proxies by verdict.
  returned: when proxies were asked
  type: dict
  sample: {synced: 13, pending: 0, rejected: 0, unknown: 0}
text:
  description: The counts in a sentence, with the names of proxies that are not in sync.
  returned: when proxies were asked
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
    # The action plugin's word: wait for this long at most, and say what is waited for.
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
