# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """In which API the routes of a host are said."""

    DOCUMENTATION = r"""
options:
  api:
    description:
      - In which API the host's routes are said. V(istio) is a VirtualService and subsets of a DestinationRule. V(gateway_api) is Gateway API, an
        HTTPRoute and a Service for each version, named C(HOST-VERSION). V(auto) is V(gateway_api) where its CRDs are installed and it can say
        all of the host's policy, else V(istio); a host that has routes stays where it is as long as that can say them.
      - Without it the host stays with the API that it has, and one without routes gets V(istio). All concerns of a host are said in one API;
        going over to the other one gives no 503.
      - Gateway API has no faults, no answers of the proxy's own but redirects, no conditions on callers, ports, hosts or headers that are not there,
        no path without regard to case and no rewriting by a regular expression. It tries the narrower condition first, whatever their
        order, and says routes of a Service in its own namespace alone. It says retries in its experimental channel alone. What it cannot
        say is refused with the code C(gateway_api_cannot).
      - Limits, ejection and load balancing stay in a DestinationRule of Istio, one for the host and one for each version's Service.
      - With V(gateway_api), names in C(gateways) are Gateways of Gateway API, and a path whose prefix is rewritten is met by whole parts (C(/shop/*) is
        C(/shop), too).
    type: str
    choices: [istio, gateway_api, auto]
"""
