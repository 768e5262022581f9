# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from builders import pod, service


@pytest.fixture
def shop(api, monkeypatch):
    """The API in memory with the host frontend in two versions, on which nothing waits for long."""
    pause = Cluster.sleep
    monkeypatch.setattr(Cluster, "sleep", lambda self, _seconds: pause(self, 0.01))
    api.put(service("frontend"))
    for version in ("v1", "v2"):
        api.put(pod(f"frontend-{version}", labels={"app": "frontend", "version": version}))
    return api
