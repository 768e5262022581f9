# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proxies must show before the next step, in whatever API it was said."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._engine.steps import Barrier
from .._proxy import dump
from .._proxy.convergence import Change, converged
from .hosts import Host


def clusters_known(live: Host, what: str, ends: Iterable[str]) -> Barrier:
    """Holds when proxies have a cluster with each of these ends of its name."""
    wanted = tuple(ends)
    return converged(Change(f"{what} of {live.full_name}", live.namespace, lambda text: all(any(cluster.endswith(end) for cluster in dump.clusters(text)) for end in wanted)))


def acknowledged(live: Host) -> Barrier:
    """Holds when all proxies have taken what they were sent, whether or not it shows: where two objects say a host's routes, Istio takes one of them."""
    return converged(Change(f"routes of {live.full_name} in both APIs", live.namespace, lambda _text: True))


def same_weights(found: dump.Route, wanted: Mapping[tuple[str, str], int]) -> bool:
    """Whether a proxy's route has just these weights, by (subset, host)."""
    has = {(parts[2], parts[3]): weight for cluster, weight in found.weights if len(parts := cluster.split("|")) == 4}
    if len(has) == 1 or len(wanted) == 1:
        # One destination is written without a weight.
        return set(has) >= {key for key, weight in wanted.items() if weight}
    return {key: weight for key, weight in has.items() if weight} == {key: weight for key, weight in wanted.items() if weight}
