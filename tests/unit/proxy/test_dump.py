# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration dumps in Envoy's form."""
from __future__ import annotations

from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import dump


def test_a_listener_that_is_only_drained_takes_nothing():
    entries = [{"name": "new", "active_state": {"listener": {"name": "a"}}}, {"name": "old", "draining_state": {"listener": {"name": "b"}}}]
    assert dump.listeners({"configs": [{"@type": "x/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": entries}]}) == [{"listener": {"name": "a"}}]
