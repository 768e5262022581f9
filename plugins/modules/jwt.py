#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: jwt
short_description: Set which tokens a workload accepts and whether it requires one
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a RequestAuthentication that validates tokens, and an AuthorizationPolicy that denies requests without a
    valid token. With a RequestAuthentication alone, requests without any token would be accepted
    (U(https://istio.io/latest/docs/reference/config/security/request_authentication/)).
  - A request whose token is expired, forged, or from an issuer that is not listed fails with 401. A request without a
    required token fails with 403.
  - Waits until at least one proxy of each istiod has the issuers in its configuration, and all proxies have
    acknowledged the configuration that istiod sent to them.
  - The change then applies to new connections. Open connections are affected when the proxy drains them, which takes
    45 seconds unless Istio's C(drainDuration) is set.
options:
  name:
    description: Name of the policy. The RequestAuthentication has this name. The AuthorizationPolicy is named
      C(NAME-token).
    type: str
    required: true
  issuers:
    description:
      - Issuers whose tokens are accepted. Required with O(state=present).
      - C(issuer) is the value of the claim C(iss).
      - C(keys) is a JSON Web Key Set of public keys, as data or as text. C(keys_url) is the URL of the key set. If
        neither is set, C(issuer) must be a URL that publishes the keys (OpenID Connect Discovery). A private key fails
        with the code C(keys_private).
      - C(audiences) is a list of audiences. A token must have one of them.
      - C(from_headers), C(from_params) and C(from_cookies) list the headers, query parameters and cookies that can
        contain the token. A header is a name or C({name, prefix}). The default is the header C(Authorization) and the
        query parameter C(access_token).
      - C(forward) keeps the token in the request. C(payload_header) is the name of a header that receives the payload
        of the token. C(claim_headers) maps names of headers to claims of the token.
    type: list
    elements: dict
  required:
    description: Whether requests need a token. With V(false), requests without a token are accepted, but requests with
      an invalid token still fail.
    type: bool
    default: true
  open_paths:
    description: Paths that need no token. A leading or trailing C(*) is a wildcard.
    type: list
    elements: str
    default: []
seealso:
  - name: RequestAuthentication
    description: Reference of the RequestAuthentication that this module writes.
    link: https://istio.io/latest/docs/reference/config/security/request_authentication/
  - name: AuthorizationPolicy
    description: Reference of the AuthorizationPolicy that this module writes.
    link: https://istio.io/latest/docs/reference/config/security/authorization-policy/
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
- name: Require a token of one issuer, except for the health check
  servicemesh.istio.jwt:
    name: shop
    namespace: online-boutique
    workload: {app: shippingservice}
    issuers:
      - issuer: https://login.example.com
        keys: {keys: [{kty: RSA, kid: first, e: AQAB, n: "{{ modulus }}"}]}
        audiences: [shop]
    open_paths: [/_healthz]
  vars:
    modulus: "quX6FTh44pDaJzNchF9bJb2rBs2Ss27eGbqFK_g-bV8riUeED4pfrBeTXU1toPJnnY6OZJm-x-EHuJirnBi6DmVhbnzVGnZG74YFoWZ2\
      Gg04drdv-l-zDdAeEeAkc1FOcXRi4whZzhxBA5CO_b9m7vIIIAlt5az_VYLbl1Gy7AWbbJdtaKhWje4LAf96fIuQ7wX5W6CAGCJzJiv9\
      lRwz7n4wXtUzQcE4pFINbAjUQ5DCp8DVE4RDXwgHDVdZeFQVvKImGbu7XCaj_4T4jhQQ4aO0UbWDcWsEVYggScuf30xmgs2x9jEeDHJg\
      2lf-t-oeXdIEfFlVfbQTDH0Nq8NFtw"

- name: Remove the policy
  servicemesh.istio.jwt:
    name: shop
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
  sample: {code: keys_invalid, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.jwt import JWT
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(JWT, REVIEW)


if __name__ == "__main__":
    main()
