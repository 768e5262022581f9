# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies of one host, as data."""

from __future__ import annotations

import datetime
from typing import Any

from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host.host import Host
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host_policy import Policy

FULL = "frontend.shop.svc.cluster.local"
NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)


def split(versions=None, **options):
    usual = {"gateways": ["mesh"], "gateway_hosts": [], "label": "version"}
    return {"versions": {"v1": 90, "v2": 10} if versions is None else versions, **usual, **options}


def host(**live):
    service = {"spec": {"selector": {"app": "frontend"}, "ports": [{"port": 80}]}}
    return Host("frontend", "shop", **{"service": service, "pods": [{"version": "v1"}, {"version": "v2"}], **live})


def policy(live=None, /, rule=None, now=NOW, **routing) -> Policy:
    """Of the host: routing by concern, and what its DestinationRule says by concern."""
    return Policy(live or host(), {name: intent for name, intent in routing.items() if intent}, rule or {}, now)


def dumped(
    obj: dict[str, Any], weights: dict[str, int] | None = None, name: str = "", source: str = ""
) -> dict[str, Any]:
    """A proxy's dump with the routes of a VirtualService; the last of them with these weights, this name, from this
    source.
    """
    place = f"/apis/networking.istio.io/v1/namespaces/{obj['metadata']['namespace']}/virtual-service/{obj['metadata']['name']}"
    routes = []
    for http in obj["spec"]["http"]:
        parts = {part["destination"].get("subset", ""): part.get("weight", 1) for part in http.get("route") or []}
        if http is obj["spec"]["http"][-1] and weights is not None:
            parts = weights
        clusters = [{"name": f"outbound|80|{subset}|{FULL}", "weight": weight} for subset, weight in parts.items()]
        action = (
            {"cluster": clusters[0]["name"]} if len(clusters) == 1 else {"weightedClusters": {"clusters": clusters}}
        )
        metadata = {"filterMetadata": {"istio": {"config": source or place}}}
        routes.append(
            {
                "name": name or http["name"],
                "metadata": metadata,
                **({"route": action} if parts else {"directResponse": {}}),
            }
        )
    table = {"routeConfig": {"name": "80", "virtualHosts": [{"domains": [FULL], "routes": routes}]}}
    return {
        "configs": [{"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamicRouteConfigs": [table]}]
    }
