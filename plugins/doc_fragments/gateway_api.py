# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """The API of the routes of a service."""

    DOCUMENTATION = r"""
options:
  api:
    description:
      - API of the routes. V(istio) writes a VirtualService and subsets of a DestinationRule. V(gateway_api) writes an HTTPRoute, and a Service named
        C(SERVICE-VERSION) for each version. V(auto) is V(gateway_api) if its CRDs are installed and support the whole traffic policy, and V(istio)
        otherwise; a service with routes keeps its API as long as that supports the policy.
      - If it is not set, a service keeps its API, and a service without routes uses V(istio). All features of a traffic policy use the same API. A
        change of the API causes no 503 errors.
      - The Gateway API does not support faults, direct responses other than redirects, conditions on callers, ports, hosts and missing headers,
        case-insensitive paths, and rewrites by regular expression. It evaluates the narrower condition first, in any order, and applies only the
        routes of a Service in its own namespace. Retries require its experimental channel. Settings that it does not support fail with the code
        C(gateway_api_cannot).
      - Connection pools, outlier detection and load balancing remain in DestinationRules, one for the service and one for each version.
      - With V(gateway_api), names in C(gateways) are Gateways of the Gateway API, and the prefix of a rewritten path matches whole path elements
        (C(/shop/*) also matches C(/shop)).
    type: str
    choices: [istio, gateway_api, auto]
"""
