# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that changes a cluster."""

    DOCUMENTATION = r"""
options:
  wait:
    description: Whether to wait until all objects are ready, or gone.
    type: bool
    default: true
  wait_timeout:
    description: Seconds for the whole call, everything that is waited for included.
    type: int
    default: 600
  force_conflicts:
    description: Whether to take over fields that another field manager owns. Without it such a field is an error that names its owner.
    type: bool
    default: false
"""
