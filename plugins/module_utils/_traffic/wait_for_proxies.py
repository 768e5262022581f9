# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a change of policy is waited for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._engine.steps import Step

PROXY_WAIT_ARGUMENTS: dict[str, dict[str, Any]] = {"wait_for_proxies": {"type": "bool", "default": True}}


def without_last_wait(steps: list[Step], options: dict[str, Any]) -> list[Step]:
    """The steps, less the wait behind the last of them where it is not asked for: no later step rests on it, while
    those before keep requests from a 503.
    """
    if options["wait_for_proxies"] or not steps or steps[-1].deleted:
        return steps
    return [*steps[:-1], replace(steps[-1], barrier=None)]
