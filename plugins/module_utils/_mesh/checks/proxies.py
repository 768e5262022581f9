# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies: their versions beside their control plane's, and what their istiods say of them."""

from __future__ import annotations

from collections.abc import Iterator

from ..._checks.check import Finding
from ..._engine.objects import Object
from ..._istio import version_skew
from ..._proxy.istiod import Proxy
from ..facts import Facts, is_ready, object_text, proxy_id
from ..gate import Gate, Unknown, control_plane_versions, planes_replaced_in_place, versions_to_support


def _pods(facts: Facts, gate: Gate) -> list[Object]:
    return [pod for pod in facts.with_sidecar if gate.concerns(pod["metadata"]["namespace"])]


def _versions(facts: Facts, gate: Gate) -> list[tuple[Object, version_skew.Version, version_skew.Version]]:
    """(pod, its proxy's version, its control plane's), of all of which both are known."""
    return [
        (pod, own, plane)
        for pod in _pods(facts, gate)
        if (own := facts.version_of(pod)) and (plane := facts.plane_of(pod))
    ]


def _broken(facts: Facts, gate: Gate, how: str) -> list[Finding]:
    rows = [row for row in _versions(facts, gate) if version_skew.PROXY.broken(row[1], row[2]) == how]
    return _or_unsaid(
        facts,
        _pods(facts, gate),
        [
            Finding(
                object_text(pod), f"its proxy has version {own}, its control plane {plane}: {version_skew.PROXY.text}"
            )
            for pod, own, plane in rows
        ],
    )


def _or_unsaid(facts: Facts, pods: list[Object], findings: list[Finding]) -> list[Finding]:
    """What is too far apart counts; that nothing is can only be said when all versions are known."""
    if not findings:
        control_plane_versions(facts)
        unsaid = [pod for pod in pods if facts.version_of(pod) is None]
        if unsaid:
            raise Unknown(f"the version of {len(unsaid)} proxies is not known, for example of {object_text(unsaid[0])}")
    return findings


def proxies_newer(facts: Facts, gate: Gate) -> list[Finding]:
    return _broken(facts, gate, "ahead")


def proxies_too_old(facts: Facts, gate: Gate) -> list[Finding]:
    return _broken(facts, gate, "behind")


def proxies_older(facts: Facts, gate: Gate) -> list[Finding]:
    """Within what is allowed; analyzer IST0158 has a like word for images."""
    rows = [row for row in _versions(facts, gate) if row[1] < row[2] and not version_skew.PROXY.broken(row[1], row[2])]
    return [
        Finding(object_text(pod), f"its proxy has version {own}, its control plane {plane}") for pod, own, plane in rows
    ]


def proxies_left_behind(facts: Facts, gate: Gate) -> list[Finding]:
    """Beside a new revision old proxies keep their own control plane; in place they get the new one under them."""
    new, taken = (
        versions_to_support(facts, gate)[0],
        {plane["revision"] for plane in planes_replaced_in_place(facts, gate)},
    )
    own = [pod for pod in _pods(facts, gate) if facts.revision_of(pod) in taken]
    broken = [
        (pod, version) for pod in own if (version := facts.version_of(pod)) and version_skew.PROXY.broken(version, new)
    ]
    return _or_unsaid(
        facts,
        own,
        [
            Finding(
                object_text(pod),
                f"its proxy has version {version}, its control plane would have {new}: {version_skew.PROXY.text}",
            )
            for pod, version in broken
        ],
    )


def _or_unknown(facts: Facts, findings: list[Finding]) -> list[Finding]:
    """What one istiod says counts; that all is well only all of them can say."""
    if not findings and facts.silent:
        raise Unknown(facts.silent)
    return findings


def _connected(facts: Facts, gate: Gate) -> Iterator[Proxy]:
    return (proxy for name, proxy in sorted(facts.connected.items()) if gate.concerns(name.rpartition(".")[2]))


def proxies_disconnected(facts: Facts, gate: Gate) -> list[Finding]:
    """Which proxies are missing can only be told when all istiods have answered."""
    if facts.silent:
        raise Unknown(facts.silent)
    return [
        Finding(object_text(pod), "its proxy is connected to no istiod")
        for pod in _pods(facts, gate)
        if is_ready(pod) and proxy_id(pod) not in facts.connected
    ]


def proxies_not_synced(facts: Facts, gate: Gate) -> list[Finding]:
    return _or_unknown(
        facts,
        [
            Finding(f"proxy {proxy.id}", "it has not acknowledged its configuration")
            for proxy in _connected(facts, gate)
            if not proxy.synced and not proxy.rejected
        ],
    )


def proxies_rejected(facts: Facts, gate: Gate) -> list[Finding]:
    return _or_unknown(
        facts,
        [
            Finding(f"proxy {proxy.id}", f"it rejected its configuration: {proxy.rejected}")
            for proxy in _connected(facts, gate)
            if proxy.rejected
        ],
    )
