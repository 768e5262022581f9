# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows progress while the module of this name waits. The other files here are links to this one."""
from __future__ import annotations

from ansible_collections.servicemesh.istio.plugins.plugin_utils.progress import ActionModule

__all__ = ["ActionModule"]
