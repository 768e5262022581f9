#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: resilience
short_description: Set timeouts, retries, connection pools and outlier detection of a service
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes timeouts and retries into the routes of the service, and the connection pool and outlier detection into its
    DestinationRule. The proxies of the callers apply all of them.
options:
  timeout:
    description: Timeout of a request including its retries, such as C(2s).
    type: str
  retries:
    description:
      - Retries, as C({attempts, per_try_timeout, retry_on}). C(retry_on) is a list of conditions such as C(5xx),
        C(reset) and C(unavailable), or of status codes. C(attempts=0) disables retries.
      - If it is not set, Istio's default applies, which is two retries after connection failures and similar errors.
    type: dict
  connection_pool:
    description:
      - Limits of each caller's proxy, as C({max_connections, connect_timeout, idle_timeout, max_requests,
        max_pending_requests, max_requests_per_connection, keepalive}). Requests above a limit fail with 503.
      - If all ports of the service are declared TCP or TLS, settings for HTTP requests fail with the code
        C(protocol_cannot). These are C(idle_timeout), C(max_requests), C(max_requests_per_connection), O(timeout) and
        O(retries).
    type: dict
  outlier_detection:
    description:
      - Outlier detection, as C({consecutive_5xx_errors, consecutive_gateway_errors, interval, base_ejection_time,
        max_ejection_percent, min_health_percent}).
      - A pod that returns the given number of errors in a row receives no requests for C(base_ejection_time).
    type: dict
seealso:
  - name: HTTPRetry
    description: Reference of retries.
    link: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRetry
  - name: ConnectionPoolSettings
    description: Reference of connection pools.
    link: https://istio.io/latest/docs/reference/config/networking/destination-rule/#ConnectionPoolSettings
  - name: OutlierDetection
    description: Reference of outlier detection.
    link: https://istio.io/latest/docs/reference/config/networking/destination-rule/#OutlierDetection
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.service_policy
  - servicemesh.istio.service_policy.state
  - servicemesh.istio.service_policy.gateways
  - servicemesh.istio.service_policy.gateway_hosts
  - servicemesh.istio.connection
  - servicemesh.istio.gateway_api
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.writing.preflight
  - servicemesh.istio.writing.proxies
  - servicemesh.istio.writing.shared
"""

EXAMPLES = r"""
- name: Limit requests to the product catalog to two seconds, and eject failing pods
  servicemesh.istio.resilience:
    namespace: online-boutique
    service: productcatalogservice
    timeout: 2s
    retries: {attempts: 2, per_try_timeout: 500ms, retry_on: [connect-failure, reset, unavailable]}
    outlier_detection: {consecutive_5xx_errors: 5, interval: 10s, base_ejection_time: 30s, max_ejection_percent: 50}

- name: Remove these settings
  servicemesh.istio.resilience:
    namespace: online-boutique
    service: productcatalogservice
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
  sample: {code: weights_zero, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.module import run_feature


def main() -> None:
    run_feature("resilience", REVIEW)


if __name__ == "__main__":
    main()
