# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every istiod's own word on its proxies, for what is told and checked about a mesh."""
from __future__ import annotations

from .._cluster.api import ApiError
from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._proxy.istiod import Istiod
from .facts import Answer


def answers(cluster: Cluster, pods: list[Object]) -> list[Answer]:
    """What each of these istiods says, or why it cannot be asked."""
    return cluster.each(lambda pod: _answer(Istiod(cluster, pod)), pods)


def _answer(one: Istiod) -> Answer:
    name = f"istiod {one.namespace}/{one.name}"
    try:
        return Answer(name, one.revision, tuple(one.proxies()))
    except ApiError as error:
        return Answer(name, one.revision, refused=error.message)
