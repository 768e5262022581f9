# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from one version to another, and what a release changes on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..._checks.check import Finding
from ..._engine.objects import Object
from ..._istio import version_skew
from ..._libraries import yaml
from ..facts import Facts, object_text
from ..gate import Gate, Judge, Unknown, allowed_skew, replaced_planes

# On entries that istiod made for workloads that registered themselves, and on those that are reached by HBONE.
REGISTERED, TUNNEL = "istio.io/autoRegistrationGroup", "networking.istio.io/tunnel"


def _jumps(
    facts: Facts, gate: Gate, how: str
) -> Iterator[tuple[dict[str, Any], version_skew.Version, version_skew.Version]]:
    """(control plane, its version, the new one) where the upgrade is broken in this direction."""
    for plane in replaced_planes(facts, gate):
        old, new = plane["number"], gate.number
        if old is None:
            raise Unknown(f"the version of revision {plane['revision']} is not known")
        if new and allowed_skew(facts, gate).broken(old, new) == how:
            yield plane, old, new


def downgrade(facts: Facts, gate: Gate) -> list[Finding]:
    return [
        Finding(
            f"revision {plane['revision']}",
            f"{version_skew.release_text(old.release)} → {version_skew.release_text(new.release)} is a downgrade, which"
            " Istio does not support",
        )
        for plane, old, new in _jumps(facts, gate, "ahead")
    ]


def minor_skipped(facts: Facts, gate: Gate) -> list[Finding]:
    rule = allowed_skew(facts, gate)
    found = []
    for plane, old, new in _jumps(facts, gate, "behind"):
        steps = (
            ", then ".join(version_skew.upgrade_path(old, new, rule.behind or 1))
            or "described in Istio's release notes"
        )
        found.append(
            Finding(
                f"revision {plane['revision']}",
                f"{version_skew.release_text(old.release)} → {version_skew.release_text(new.release)} skips a release:"
                f" {rule.text}. The steps: {steps}",
            )
        )
    return found


def _environment(obj: Object) -> set[str]:
    return {
        entry["name"]
        for container in obj["spec"]["template"]["spec"]["containers"]
        for entry in container.get("env") or []
    }


def flag_unset(flag: str, cause: str) -> Judge:
    """Judges control planes that have not decided for themselves what a release decides for them."""
    return lambda facts, _gate: [
        Finding(object_text(obj), cause) for obj in facts["istiods"] if flag not in _environment(obj)
    ]


def flag_set(flag: str, cause: str) -> Judge:
    """Judges control planes that set a flag which a release has taken away."""
    return lambda facts, _gate: [
        Finding(object_text(obj), cause) for obj in facts["istiods"] if flag in _environment(obj)
    ]


def entries_without_tunnel(facts: Facts, _gate: Gate) -> list[Finding]:
    own = [obj for obj in facts["workload_entries"] if REGISTERED in (obj["metadata"].get("annotations") or {})]
    return [
        Finding(object_text(obj), "it was registered before the upgrade: it is still reached in plaintext")
        for obj in own
        if TUNNEL not in {**(obj["metadata"].get("labels") or {}), **((obj.get("spec") or {}).get("labels") or {})}
    ]


def mcp_readers(facts: Facts, _gate: Gate) -> list[Finding]:
    """Readers outside the mesh are not to be seen from here; those that are istiods say so in their configuration."""
    found = []
    for obj in facts["mesh_configs"]:
        try:
            config = yaml.safe_load((obj.get("data") or {}).get("mesh", "")) or {}
        except yaml.YAMLError as error:
            raise Unknown(f"{object_text(obj)} does not contain valid YAML: {str(error).splitlines()[0]}") from error
        if any(str(source.get("address", "")).startswith("xds://") for source in config.get("configSources") or []):
            found.append(Finding(object_text(obj), "it reads configuration from another istiod by MCP over xDS"))
    return found


def envoy_filters(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), "it patches generated configuration, which can change in each release")
        for obj in facts["envoy_filters"]
    ]
