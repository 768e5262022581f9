# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the running mesh back to an empty cluster: after all that needs the mesh."""

from __future__ import annotations

import pytest
from playbook_runner import Lab, objects

DEMO = "online-boutique"


def test_teardown_leaves_nothing(mesh: Lab) -> None:
    mesh.site(playbook="teardown").ok()
    left = [name for name in objects(mesh) if "istio" in name.lower() or DEMO in name]
    assert left == []
    assert mesh.site(playbook="teardown").ok().changed == []


@pytest.mark.long
def test_site_again_after_teardown(mesh: Lab) -> None:
    mesh.site(playbook="teardown").ok()
    mesh.site().ok()
    assert mesh.site().ok().changed == []
