# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proxies must show before the next step, in whatever API it was said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..._engine.steps import Barrier
from ..._proxy import config_dump
from ..._proxy.sync_barrier import ProxyCondition, proxies_in_sync
from ..host.host import MESH, Host


def clusters_ready(host: Host, what: str, ends: Iterable[str]) -> Barrier:
    """Holds when proxies have a cluster with each of these ends of its name."""
    wanted = tuple(ends)

    def shown(text: dict[str, Any]) -> bool | None:
        names = config_dump.clusters(text)
        return all(any(cluster.endswith(end) for cluster in names) for end in wanted) or (
            False if _visible(text, host) else None
        )

    return proxies_in_sync(ProxyCondition(f"{what} of {host.full_name}", host.namespace, shown))


def routes_visible(shown: bool, text: dict[str, Any], host: Host, gateways: Iterable[str]) -> bool | None:
    """Whether a proxy shows routes that are for these gateways; None where it does not and need not."""
    bound = set(gateways)
    kind = config_dump.proxy_kind(text)
    elsewhere = (kind == config_dump.ProxyKind.GATEWAY and bound == {MESH}) or (
        kind == config_dump.ProxyKind.SIDECAR and MESH not in bound
    )
    return shown or (None if elsewhere or not _visible(text, host) else False)


def _visible(text: dict[str, Any], host: Host) -> bool:
    """Whether a proxy knows the host: a Sidecar may hide it."""
    return any(cluster.endswith(f"|{host.full_name}") for cluster in config_dump.clusters(text))


def all_acknowledged(host: Host) -> Barrier:
    """Holds when all proxies have taken what they were sent, whether or not it shows: where two objects say a host's
    routes, Istio takes one of them.
    """
    return proxies_in_sync(
        ProxyCondition(f"routes of {host.full_name} in both APIs", host.namespace, lambda _text: True)
    )


def destination_weights(route: dict[str, Any]) -> dict[tuple[str, str], int]:
    """Of a route of a VirtualService, by (subset, host)."""
    return {
        (part["destination"].get("subset", ""), part["destination"]["host"]): part.get("weight", 1)
        for part in route.get("route") or []
    }


def same_weights(
    found: config_dump.ProxyRoute | config_dump.FilterChain, wanted: Mapping[tuple[str, str], int]
) -> bool:
    """Whether a proxy's route has just these weights, by (subset, host)."""
    has = {(parts[2], parts[3]): weight for cluster, weight in found.weights if len(parts := cluster.split("|")) == 4}
    if len(has) == 1 or len(wanted) == 1:
        # One destination is written without a weight.
        return set(has) >= {key for key, weight in wanted.items() if weight}
    return {key: weight for key, weight in has.items() if weight} == {
        key: weight for key, weight in wanted.items() if weight
    }
