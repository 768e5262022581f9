#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: jwt
short_description: Validate and require JSON Web Tokens
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a RequestAuthentication, and an AuthorizationPolicy that denies requests without a valid token. Without the second, requests without a
    token are allowed (U(https://istio.io/latest/docs/reference/config/security/request_authentication/)).
  - A request with an expired token, a forged token or a token of another issuer receives 401. A request without a required token receives 403.
  - The module waits until a proxy of every istiod has the issuers in its configuration, and all proxies have acknowledged them.
  - The change applies to new connections at once, and to open connections when the proxy has drained them. This takes 45 seconds unless
    C(drainDuration) sets another value.
options:
  name:
    description: Name of the policy. The RequestAuthentication has this name, and the AuthorizationPolicy has the suffix C(-token).
    type: str
    required: true
  issuers:
    description:
      - Trusted issuers. Required with O(state=present).
      - C(issuer) is the value of the claim C(iss). C(keys) is a JSON Web Key Set of public keys, as data or as a string; C(keys_url) is its URL.
        Without both, the issuer is a URL that supports OpenID Connect Discovery. A private key is rejected.
      - C(audiences) lists audiences, of which a token must have one.
      - C(from_headers), C(from_params) and C(from_cookies) are the locations of the token; a header is a name or C({name, prefix}). The default is
        the header C(Authorization) and the parameter C(access_token).
      - C(forward) keeps the token in the request, C(payload_header) is a header for its payload, and C(claim_headers) maps headers to claims.
    type: list
    elements: dict
  required:
    description: Whether a request requires a token. With V(false), a request without a token is allowed, and a request with an invalid token is denied.
    type: bool
    default: true
  open_paths:
    description: Paths without a required token. A C(*) at the start or the end is a wildcard.
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
    modulus: "quX6FTh44pDaJzNchF9bJb2rBs2Ss27eGbqFK_g-bV8riUeED4pfrBeTXU1toPJnnY6OZJm-x-EHuJirnBi6DmVhbnzVGnZG74YFoWZ2Gg04drdv-l-zDdAeEeAkc1FOcXRi4whZzhxB\
      A5CO_b9m7vIIIAlt5az_VYLbl1Gy7AWbbJdtaKhWje4LAf96fIuQ7wX5W6CAGCJzJiv9lRwz7n4wXtUzQcE4pFINbAjUQ5DCp8DVE4RDXwgHDVdZeFQVvKImGbu7XCaj_4T4jhQQ4aO0\
      UbWDcWsEVYggScuf30xmgs2x9jEeDHJg2lf-t-oeXdIEfFlVfbQTDH0Nq8NFtw"

- name: Remove the requirement
  servicemesh.istio.jwt:
    name: shop
    namespace: online-boutique
    state: absent
"""

RETURN = r"""
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs for the plan.
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
      description: Group, version, kind, namespace and name.
      type: dict
    action:
      description: One of created, configured, recreated, unchanged, pruned, failed, pending.
      type: str
    conflicts:
      description: Fields that other field managers own, each with its manager.
      type: list
      elements: dict
    status:
      description: Status as kstatus reports it, if the module waited for the object.
      type: str
    message:
      description: Further information.
      type: str
verified:
  description: Conditions that were verified between steps.
  returned: when a plan was made
  type: list
  elements: str
findings:
  description: Findings of M(servicemesh.istio.preflight) for the written objects and for other objects that they affect. Errors come first.
  returned: when something is to be changed
  type: list
  elements: dict
  sample: []
forbidden_kinds:
  description: Kinds that the account may not list, with the server's message. Checks that need them do not run.
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
  sample: {code: keys_invalid, ref: null, reason: "", hint: ""}
"""

from ..module_utils._preflight.plan_review import REVIEW
from ..module_utils._traffic.policies.jwt import JWT
from ..module_utils._traffic.policies.policy_module import run_policy


def main() -> None:
    run_policy(JWT, REVIEW)


if __name__ == "__main__":
    main()
