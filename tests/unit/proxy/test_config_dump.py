# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration dumps in Envoy's form."""

from __future__ import annotations

from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import config_dump


def test_a_listener_that_is_only_drained_takes_nothing():
    entries = [
        {"name": "new", "active_state": {"listener": {"name": "a"}}},
        {"name": "old", "draining_state": {"listener": {"name": "b"}}},
    ]
    assert config_dump.listeners(
        {"configs": [{"@type": "x/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": entries}]}
    ) == [{"listener": {"name": "a"}}]


def test_a_proxy_says_what_it_is():
    found = {
        "configs": [
            {
                "@type": "x/envoy.admin.v3.BootstrapConfigDump",
                "bootstrap": {"node": {"id": "router~10.0.0.1~in-1.istio-system~istio-system.svc.cluster.local"}},
            }
        ]
    }
    assert (
        config_dump.proxy_kind(found) == config_dump.ProxyKind.GATEWAY
        and config_dump.proxy_kind({"configs": [{"@type": "x/envoy.admin.v3.BootstrapConfigDump"}]})
        == config_dump.proxy_kind({})
        == ""
    )
