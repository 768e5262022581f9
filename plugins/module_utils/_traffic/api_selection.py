# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which API a host's routes are said: the one that is asked for, the one that says them already, or Gateway API
where it can.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._failure import InvalidOption
from .backends.gateway_api import service_names
from .backends.registry import BACKENDS
from .host.host import RoutingApi
from .host.reader import Reader
from .host_policy import Policy

AUTO = "auto"
# Without one, a host stays with what it has: a feature that says nothing of it must not move the others.
API_ARGUMENT: dict[str, dict[str, Any]] = {
    "api": {"type": "str", "choices": [RoutingApi.ISTIO.value, RoutingApi.GATEWAY_API.value, AUTO]}
}


def select_api(policy: Policy, asked: str | None, reader: Reader) -> Policy:
    """The policy in the API that it is to be said in, with what it refers to. Raises ApiError."""
    *may, must = _candidates(policy, asked, reader)
    for api in may:
        tried = _with_api(policy, api, reader)
        if _is_supported(tried):
            return tried
    return _with_api(policy, must, reader)


def _candidates(policy: Policy, asked: str | None, reader: Reader) -> list[RoutingApi]:
    """APIs in the order in which they are tried; the last of them is taken whatever it can say."""
    host = policy.host
    has = policy.api if host.http_routes or host.managed_virtual_service or host.wildcard_virtual_service else None
    if asked == AUTO:
        # What is said already stays where it is, unless that API cannot say it any more.
        stays = has == RoutingApi.ISTIO or not reader.gateway_api_channel
        return [RoutingApi.ISTIO] if stays else [RoutingApi.GATEWAY_API, RoutingApi.ISTIO]
    return [RoutingApi(asked) if asked else has or RoutingApi.ISTIO]


def _with_api(policy: Policy, api: RoutingApi, reader: Reader) -> Policy:
    spoken = replace(policy, api=api)
    services = service_names(spoken) if api == RoutingApi.GATEWAY_API else []
    return spoken.at(reader.with_references(spoken.host, api, spoken.gateways, spoken.other_hosts, services))


def _is_supported(policy: Policy) -> bool:
    """Whether the policy's API can say it, and its gateways are of that API."""
    try:
        return not BACKENDS[policy.api].unsupported(policy) and not policy.host.missing_gateways
    except InvalidOption:
        return False
