# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """The API in which the routes of a service are written."""

    DOCUMENTATION = r"""
options:
  api:
    description:
      - API in which the service's routes are written. V(istio) writes a VirtualService, and the subsets of a
        DestinationRule. V(gateway_api) writes HTTPRoutes of Gateway API, and a Service for each version, named
        C(SERVICE-VERSION).
      - V(auto) selects V(gateway_api) if its CRDs are installed and it supports the whole policy of the service, else
        V(istio). A service with routes keeps its API as long as that API supports the policy.
      - If it is not set, the service keeps its API, and a service without routes uses V(istio). All features of a
        service use the same API. A change of the API causes no 503 errors.
      - "Gateway API does not support these settings: faults; direct responses other than redirects; conditions on the
        caller, the port, the host name or a missing header; case-insensitive paths; rewrites with a regular
        expression; the routes of a Service in another namespace."
      - Gateway API supports retries only in its experimental channel. It evaluates the narrowest condition first, so
        rules that need another order are not supported.
      - Settings that Gateway API does not support fail with the code C(gateway_api_cannot).
      - Connection pools, outlier detection and load balancing remain in Istio DestinationRules, one for the service
        and one for the Service of each version.
      - With V(gateway_api), C(gateways) contains names of Gateway API Gateways. If a rule rewrites a path prefix, its
        condition matches whole path segments, so C(/shop/*) also matches C(/shop).
    type: str
    choices: [istio, gateway_api, auto]
"""
