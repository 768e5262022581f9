# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes' label selectors (apimachinery meta/v1 LabelSelector)."""

from __future__ import annotations

from typing import Any


def label_selector(labels: dict[str, Any]) -> str:
    """Labels as a selector in a query."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def selects(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """Whether an object with these labels is selected. An empty selector takes everything."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _holds(expression: dict[str, Any], labels: dict[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return key in labels if operator == "Exists" else key not in labels
