# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that writes a feature of a service's traffic policy."""

    DOCUMENTATION = r"""
options:
  service:
    description: Name of a Service in O(namespace), or a full host name.
    type: str
    required: true
  namespace:
    description: Namespace of the objects that are written.
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
  - All features of a service's traffic policy are composed into one VirtualService and one DestinationRule, because a service's routes have one
    owner. Each feature is stored in an annotation, so that modules for other features do not change it.
  - Between subsets and routes, every istiod must report that its proxies have acknowledged the change.
"""
    GATEWAYS = r"""
options:
  gateways:
    description:
      - Proxies that apply the routes. V(mesh) is every sidecar; a gateway is written as C(NAMESPACE/NAME).
      - If it is not set, the gateways of the service's other policy apply. Without other policy, the default is V(mesh).
    type: list
    elements: str
"""
    GATEWAY_HOSTS = r"""
options:
  gateway_hosts:
    description: Host names for which gateways route requests to the service. V(*) is every host name without its own routes.
    type: list
    elements: str
    default: []
"""
    VERSIONS = r"""
options:
  label:
    description: Label of pods that distinguishes versions.
    type: str
    default: version
  port:
    description: Port of the service. Required if the service has several ports.
    type: int
"""
