# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the steps in which a host's policy is changed."""

from __future__ import annotations

from enum import Enum


class StepName(str, Enum):
    """In the order in which the steps of many hosts are merged."""

    # Of rollback_checkpoint.py; the others are of rollout.py.
    CHECKPOINT = "before"
    SUBSETS = "subsets"
    ROUTES = "weights"
    TAKEN_OVER = "taken over"
    REMOVED_ROUTES = "routes that go"
    ROUTES_GONE = "routes gone"
    API_CHANGE = "change of API"
    UNUSED_SUBSETS = "end of subsets"
    REMOVED_SUBSETS = "subsets that go"

    def __str__(self) -> str:
        return self.value
