# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground that a mesh stands on: Kubernetes, the control plane's namespace, and the CRDs."""

from __future__ import annotations

from ..._checks.check import Finding
from ..._istio import version_skew
from ..facts import Facts, definition_version, is_istios, object_text
from ..gate import Gate, Unknown, control_plane_versions, versions_to_support


def _range(release: version_skew.Release) -> tuple[int, int]:
    if release not in version_skew.KUBERNETES:
        raise Unknown(f"the supported Kubernetes versions of Istio {version_skew.release_text(release)} are not known")
    return version_skew.KUBERNETES[release]


def _kubernetes(facts: Facts) -> version_skew.Version:
    number = version_skew.parse_version(facts.kubernetes)
    if number is None:
        raise Unknown(f"the server reports {facts.kubernetes!r}, which is not a valid Kubernetes version")
    return number


def kubernetes_too_old(facts: Facts, gate: Gate) -> list[Finding]:
    minor = _kubernetes(facts).minor
    oldest = {version.release: _range(version.release)[0] for version in versions_to_support(facts, gate)}
    return [
        Finding(
            f"Kubernetes {facts.kubernetes}",
            f"Istio {version_skew.release_text(release)} needs Kubernetes 1.{least} or newer",
        )
        for release, least in oldest.items()
        if minor < least
    ]


def kubernetes_untested(facts: Facts, gate: Gate) -> list[Finding]:
    minor = _kubernetes(facts).minor
    newest = {version.release: _range(version.release)[1] for version in versions_to_support(facts, gate)}
    return [
        Finding(
            f"Kubernetes {facts.kubernetes}",
            f"Istio {version_skew.release_text(release)} is supported up to Kubernetes 1.{most}",
        )
        for release, most in newest.items()
        if minor > most
    ]


def version_unknown(facts: Facts, gate: Gate) -> list[Finding]:
    newest = version_skew.release_text(version_skew.NEWEST_KNOWN)
    message = f"the newest release that this collection knows is Istio {newest}"
    unknown = [one for one in versions_to_support(facts, gate) if one.release > version_skew.NEWEST_KNOWN]
    return [Finding(f"Istio {version}", message) for version in unknown]


def namespace_terminating(facts: Facts, gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), "it is being deleted")
        for obj in facts["namespaces"]
        if obj["metadata"]["name"] == gate.namespace and obj["metadata"].get("deletionTimestamp")
    ]


def crds_terminating(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), "it is being deleted, together with all objects of its kind")
        for obj in facts["crds"]
        if is_istios(obj) and obj["metadata"].get("deletionTimestamp")
    ]


def crds_missing(facts: Facts, _gate: Gate) -> list[Finding]:
    if not facts.planes:
        return []
    return [
        Finding(f"{kind}.{group}", "the cluster does not serve this kind")
        for group, kinds in version_skew.KINDS.items()
        for kind in kinds
        if (group, kind) not in facts.served
    ]


def crds_old(facts: Facts, _gate: Gate) -> list[Finding]:
    versions = control_plane_versions(facts)
    if not versions:
        return []
    newest = versions[-1]
    carried = {object_text(obj): definition_version(obj) or facts.base for obj in facts["crds"] if is_istios(obj)}
    if carried and not any(carried.values()):
        raise Unknown("the CRDs have no version label")
    return [
        Finding(name, f"its version is {version}, the newest control plane has {newest}")
        for name, version in carried.items()
        if version and version_skew.BASE.broken(version, newest)
    ]


def crds_newer(facts: Facts, gate: Gate) -> list[Finding]:
    if gate.number is None:
        raise Unknown("the option version is not set")
    if facts.base is None or facts.base.release <= gate.number.release:
        return []
    return [Finding("istio-base", f"its version is {facts.base}, newer than {gate.number}")]


def crds_leftover(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), "no control plane uses it")
        for obj in facts["crds"]
        if is_istios(obj) and not facts.planes
    ]


def gateway_api_old(facts: Facts, gate: Gate) -> list[Finding]:
    release = versions_to_support(facts, gate)[-1].release
    found = []
    for obj in facts["crds"]:
        bundle = version_skew.parse_version(
            (obj["metadata"].get("annotations") or {}).get("gateway.networking.k8s.io/bundle-version", "")
        )
        for since, least in version_skew.GATEWAY_API.get(obj["metadata"]["name"], ()):
            if bundle and release >= since and bundle < least:
                found.append(
                    Finding(
                        object_text(obj),
                        f"its version is Gateway API {bundle}, and Istio {version_skew.release_text(release)} ignores"
                        f" versions older than {least}",
                    )
                )
    return found
