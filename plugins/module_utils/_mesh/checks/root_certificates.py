# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh's root certificates, as istiod copies them to every namespace. The Secret with the CA's key is never
read.
"""

from __future__ import annotations

from datetime import timedelta

from ..._checks.check import Finding
from ..._istio import certificates
from ..facts import ROOT, Facts
from ..gate import Gate, Unknown

SOON = timedelta(days=30)


def _roots(facts: Facts) -> list[certificates.Certificate]:
    try:
        return facts.roots
    except ValueError as error:
        raise Unknown(f"ConfigMap {facts.namespace}/{ROOT}: {error}") from error


def root_missing(facts: Facts, _gate: Gate) -> list[Finding]:
    name = f"ConfigMap {facts.namespace}/{ROOT}"
    if facts.namespace not in facts.root_copies:
        return [Finding(name, "it does not exist, so no proxy can trust istiod")]
    try:
        certificates.of_pem(facts.root_copies[facts.namespace])
    except ValueError as error:
        return [Finding(name, f"it is not valid: {error}")]
    return []


def root_expired(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(f"root certificate {root.fingerprint[:16]}", f"it expired at {root.expires:%Y-%m-%d %H:%M} UTC")
        for root in _roots(facts)
        if root.expires <= facts.now
    ]


def root_expires_soon(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(f"root certificate {root.fingerprint[:16]}", f"it expires at {root.expires:%Y-%m-%d %H:%M} UTC")
        for root in _roots(facts)
        if facts.now < root.expires <= facts.now + SOON
    ]


def roots_several(facts: Facts, _gate: Gate) -> list[Finding]:
    found = sorted({root.fingerprint[:16] for root in _roots(facts)})
    return (
        [Finding(f"root certificate {name}", "proxies trust it and others, as during a rotation") for name in found]
        if len(found) > 1
        else []
    )


def root_copies_differ(facts: Facts, gate: Gate) -> list[Finding]:
    own = {root.fingerprint for root in _roots(facts)}
    return [
        Finding(f"ConfigMap {place}/{ROOT}", "its root certificates differ from those of the control plane")
        for place, text in sorted(facts.root_copies.items())
        if gate.concerns(place) and _of(text) != own
    ]


def _of(text: str) -> set[str]:
    try:
        return {root.fingerprint for root in certificates.of_pem(text)}
    except ValueError:
        return set()
