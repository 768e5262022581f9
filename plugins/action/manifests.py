# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows progress while a module waits: the module of this name, and those that meta/runtime.yml leads here."""

from __future__ import annotations

from ansible_collections.servicemesh.istio.plugins.plugin_utils.progress import ActionModule

__all__ = ["ActionModule"]
