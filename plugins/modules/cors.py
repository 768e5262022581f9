#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: cors
short_description: Allow web pages of other origins to call a service
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Sets the CORS policy of all routes of a service. Proxies answer preflight requests, and add the CORS headers to
    responses.
  - A rule of M(servicemesh.istio.route) with C(cors) keeps its own CORS policy.
options:
  origins:
    description:
      - Origins that may call the service, such as C(https://shop.example.com). V(*) is every origin.
      - A string is an exact match; a trailing C(*) makes it a prefix match. An origin can also be C({exact}),
        C({prefix}) or C({regex}).
      - Required with O(state=present).
    type: list
    elements: raw
  methods:
    description: HTTP methods that pages of these origins may use, in capital letters. If it is not set, the browser's
      default applies.
    type: list
    elements: str
  headers:
    description: Request headers that pages of these origins may send.
    type: list
    elements: str
  expose:
    description: Response headers that pages of these origins may read.
    type: list
    elements: str
  max_age:
    description: Time for which a browser caches the response to a preflight request, such as C(24h). If it is not set,
      the browser's default applies.
    type: str
  credentials:
    description: Whether pages of these origins may send credentials, such as cookies. If it is not set, they may not.
    type: bool
seealso:
  - name: CorsPolicy
    description: Reference of CORS policies.
    link: https://istio.io/latest/docs/reference/config/networking/virtual-service/#CorsPolicy
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
- name: Allow the pages of the shop and of its previews to call the currency service
  servicemesh.istio.cors:
    namespace: online-boutique
    service: currencyservice
    origins:
      - https://shop.example.com
      - {regex: 'https://preview-[0-9]+\.example\.com'}
    methods: [GET, POST]
    headers: [content-type]
    max_age: 24h

- name: Remove the CORS policy
  servicemesh.istio.cors:
    namespace: online-boutique
    service: currencyservice
    state: absent
"""

RETURN = r"""
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs made for the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 1, configured: 0, recreated: 0, unchanged: 0, pruned: 0, failed: 0, dry_runs: 1}
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
  sample: {code: cors_empty, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.module import run_feature


def main() -> None:
    run_feature("cors", REVIEW)


if __name__ == "__main__":
    main()
