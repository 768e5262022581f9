# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways: the Services by which they are reached, and the pods behind them."""

from __future__ import annotations

from ..._checks.check import Finding
from ..facts import Facts, object_text, selected
from ..gate import Gate

ENOUGH = 2


def gateway_no_pods(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), "it has no ready pod")
        for obj in facts.gateway_services
        if obj["spec"].get("selector") and facts.ready_behind(obj) == 0
    ]


def gateway_single(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), "it has one ready pod: requests fail while that pod is replaced")
        for obj in facts.gateway_services
        if obj["spec"].get("selector") and facts.ready_behind(obj) == 1
    ]


def gateway_no_address(facts: Facts, _gate: Gate) -> list[Finding]:
    waiting = [
        obj
        for obj in facts.gateway_services
        if obj["spec"].get("type") == "LoadBalancer"
        and not ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    ]
    return [Finding(object_text(obj), "it has type LoadBalancer and no address") for obj in waiting]


def gateway_selects_nothing(facts: Facts, _gate: Gate) -> list[Finding]:
    found = []
    for obj in facts["gateways"]:
        selector = (obj.get("spec") or {}).get("selector") or {}
        if selector and not any(selected(pod, selector) for pod in facts.living):
            found.append(Finding(object_text(obj), f"no pod has the labels {selector}, so no proxy serves it"))
    return found
