# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that writes a feature of a service's traffic policy."""

    DOCUMENTATION = r"""
options:
  service:
    description: Service that the traffic policy applies to, as the name of a Service in O(namespace) or as a full host
      name.
    type: str
    required: true
  namespace:
    description: Namespace of the objects that the module writes.
    type: str
    required: true
"""
    STATE = r"""
options:
  state:
    description: Whether this feature of the service's traffic policy exists. Other features are not changed.
    type: str
    choices: [present, absent]
    default: present
notes:
  - All features of a service's traffic policy, such as its split and its faults, share one VirtualService and one
    DestinationRule, because the routes of a service can have only one owner. The options of each feature are stored in
    an annotation, so that the modules for other features keep them.
  - Routes are written only after every istiod has reported that its proxies have acknowledged the subsets.
"""
    GATEWAYS = r"""
options:
  gateways:
    description:
      - Proxies that apply the routes. V(mesh) is every sidecar; a gateway is written as C(NAMESPACE/NAME).
      - The default is the gateways that the service's other features set. If they set none, the default is V(mesh).
    type: list
    elements: str
"""
    GATEWAY_HOSTS = r"""
options:
  gateway_hosts:
    description: Host names for which gateways route requests to the service. V(*) is every host name that has no routes
      of its own.
    type: list
    elements: str
    default: []
"""
    VERSIONS = r"""
options:
  label:
    description: Name of the pod label whose value is the version.
    type: str
    default: version
  port:
    description: Port of the service that routes send traffic to. Required if the service has several ports.
    type: int
"""
