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
  - Sets the CORS policy of all routes of a service. Proxies answer preflight requests, and add the CORS headers to responses.
  - A rule of M(servicemesh.istio.route) with C(cors) keeps its own CORS policy.
options:
  origins:
    description:
      - Origins that may call the service, such as C(https://shop.example.com). V(*) is every origin.
      - An item is a string, which is an exact match, or C({exact}), C({prefix}) or C({regex}).
      - Required with O(state=present).
    type: list
    elements: raw
  methods:
    description: HTTP methods that pages of these origins may use, in capital letters. If it is not set, the browser's default applies.
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
    description: How long a browser caches the response to a preflight request, such as C(24h). If it is not set, the browser's default applies.
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
  description: Counts of objects by what was done with them. C(dry_runs) counts the dry runs of the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 1, configured: 0, recreated: 0, unchanged: 0, pruned: 0, failed: 0, dry_runs: 1}
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
  sample: {code: cors_empty, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.module import run_feature


def main() -> None:
    run_feature("cors", REVIEW)


if __name__ == "__main__":
    main()
