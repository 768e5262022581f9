#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: jwt
short_description: Which tokens a workload takes, and whether a request needs one
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Writes a RequestAuthentication, and beside it an AuthorizationPolicy that denies what carries no good token. Without the second, a request without
    any token passes
    (U(https://istio.io/latest/docs/reference/config/security/request_authentication/)).
  - A request with a token that is expired, forged or of an issuer that is not named is answered with 401; one without, where it needs one, with 403.
  - Waits until a proxy of every istiod has the issuers in its own configuration, and all have acknowledged what they were sent.
  - New connections meet the change then. Those that are open meet it when the proxy has drained them, which takes 45 seconds where C(drainDuration)
    says nothing else.
options:
  name:
    description: Names the policy. Its RequestAuthentication is called so, its AuthorizationPolicy so with C(-token).
    type: str
    required: true
  issuers:
    description:
      - Who signs tokens that are taken. Needed with O(state=present).
      - C(issuer) is what they have as C(iss). C(keys) is a JSON Web Key Set of public keys, as data or as text; C(keys_url) is where it can be had.
        With neither, the issuer is a URL that tells it (OpenID Connect Discovery). A private key is refused.
      - C(audiences) are those of which a token must have one.
      - C(from_headers), C(from_params) and C(from_cookies) are where it is looked for; a header is a name or C({name, prefix}). Else in
        C(Authorization) and C(access_token).
      - C(forward) leaves the token in the request, C(payload_header) is a header for its content, C(claim_headers) maps headers to claims.
    type: list
    elements: dict
  required:
    description: Whether a request needs a token. If not, one without passes, and one with a bad token does not.
    type: bool
    default: true
  open_paths:
    description: Paths that need none, with a star at the beginning or the end for anything.
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
- name: The shop takes tokens of one issuer, and asks for one but at its health check
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

- name: Any token and none
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
    - The entries are those of M(servicemesh.istio.preflight).
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
