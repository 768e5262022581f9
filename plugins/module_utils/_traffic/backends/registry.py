# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The APIs that can have a host's routes, and what each of them must be able to do."""

from __future__ import annotations

from typing import Any, Protocol

from ..._engine.objects import Object
from ..._engine.steps import Barrier
from ..._failure import Failure
from ..host.host import Host, RoutingApi
from ..host_policy import Policy
from .gateway_api import GatewayApi
from .istio import Istio


class RouteBackend(Protocol):
    """An API in which a host's routes can be said.

    has_status  whether its objects tell by their status that they were taken
    """

    has_status: bool

    def unsupported(self, policy: Policy) -> list[Failure]:
        """What the API cannot say as things stand. Raises InvalidOption for what it can never say."""

    def subsets(self, policy: Policy) -> dict[str, dict[str, str]]:
        """Labels of the subsets that routes name, by name."""

    def backend_objects(self, policy: Policy) -> list[Object]:
        """What routes lead to, beside the host's DestinationRule."""

    def targets_ready(self, policy: Policy) -> Barrier | None:
        """Holds when proxies know what routes lead to; None where they need nothing new."""

    def current_route_objects(self, host: Host) -> list[Object]:
        """Objects that say the host's routes so far."""

    def route_objects(self, policy: Policy) -> list[Object]:
        """Objects that are to say them."""

    def routes_ready(self, policy: Policy, objects: list[Object]) -> Barrier:
        """Holds when proxies have just these routes."""

    def has_routes(self, text: dict[str, Any], host: Host) -> bool:
        """Whether a proxy's dump has a route of what was said of the host, also where its objects are gone already."""


BACKENDS: dict[str, RouteBackend] = {RoutingApi.ISTIO: Istio(), RoutingApi.GATEWAY_API: GatewayApi()}
