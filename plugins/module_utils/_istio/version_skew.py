# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions, how far apart the parts of a mesh may be, and which Kubernetes a release is for. Rules are data."""

from __future__ import annotations

import re
from dataclasses import dataclass

Release = tuple[int, int]
NUMBERS = re.compile(r"^v?(\d+)\.(\d+)(?:\.(\d+))?(?![\d.])")
# Minor versions between two major ones: more than any rule allows.
FAR = 1000


@dataclass(frozen=True, order=True)
class Version:
    major: int
    minor: int
    patch: int = 0

    @property
    def release(self) -> Release:
        return self.major, self.minor

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(text: str) -> Version | None:
    """The numbers of such as 1.31.0, v1.36.3 or 1.31.0-distroless; None for what names no version, such as latest."""
    found = NUMBERS.match(text)
    return Version(int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def release_text(release: Release) -> str:
    return f"{release[0]}.{release[1]}"


@dataclass(frozen=True)
class Skew:
    """How many minor versions one part may be behind and ahead of another; None for any number."""

    behind: int | None
    ahead: int | None
    text: str
    source: str

    def broken(self, part: Version, whole: Version) -> str:
        """ "behind" or "ahead" where the part is too far from the whole, else empty."""
        distance = (whole.major - part.major) * FAR + whole.minor - part.minor
        if self.behind is not None and distance > self.behind:
            return "behind"
        return "ahead" if self.ahead is not None and -distance > self.ahead else ""


CANARY = "istio.io, Canary upgrades and In-place upgrades"
AMBIENT = "istio.io, Upgrade with Helm (ambient)"
PROXY = Skew(
    1,
    0,
    "a proxy may be one minor version older than its control plane, but not newer",
    "istio.io, Supported releases, control plane and data plane skew",
)
NODE_AGENT = Skew(1, 0, "a node agent supports control planes of its own minor version and of the next one", AMBIENT)
BASE = Skew(0, None, "CRDs must be at least as new as the newest control plane", CANARY)
IN_PLACE = Skew(1, 0, "an upgrade in place may span one minor version", CANARY)
BY_REVISION = Skew(2, 0, "an upgrade with a new revision may span two minor versions", CANARY)

# Istio's release -> oldest and newest minor version of Kubernetes 1.x that it is supported on (istio.io, Supported
# releases; for 1.30 the oldest
# is what its own istioctl asks for, istioctl/pkg/install/k8sversion).
KUBERNETES: dict[Release, tuple[int, int]] = {
    (1, 24): (28, 31),
    (1, 25): (29, 32),
    (1, 26): (29, 33),
    (1, 27): (29, 33),
    (1, 28): (30, 34),
    (1, 29): (31, 35),
    (1, 30): (32, 35),
    (1, 31): (32, 37),
}
NEWEST_KNOWN = max(KUBERNETES)

# Istio's release since which a definition of the Gateway API must come from a bundle of at least this version: older
# ones are ignored by istiod
# (pkg/config/schema/gatewayapi/minimumversions.go, analyzer IST0176).
GATEWAY_API: dict[str, list[tuple[Release, Version]]] = {
    "grpcroutes.gateway.networking.k8s.io": [((1, 30), Version(1, 1))],
    "backendtlspolicies.gateway.networking.k8s.io": [((1, 30), Version(1, 4))],
    "tlsroutes.gateway.networking.k8s.io": [((1, 30), Version(1, 5))],
    "tcproutes.gateway.networking.k8s.io": [((1, 31), Version(1, 6))],
}

# Kinds that Istio's base brings (manifests/charts/base/files/crd-all.gen.yaml), the same in all releases that are known
# here.
KINDS: dict[str, tuple[str, ...]] = {
    "networking.istio.io": (
        "DestinationRule",
        "EnvoyFilter",
        "Gateway",
        "ProxyConfig",
        "ServiceEntry",
        "Sidecar",
        "VirtualService",
        "WorkloadEntry",
        "WorkloadGroup",
    ),
    "security.istio.io": ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"),
    "telemetry.istio.io": ("Telemetry",),
    "extensions.istio.io": ("WasmPlugin",),
}


def crosses(old: Version, new: Version, release: Release) -> bool:
    """Whether an upgrade brings what a release changed."""
    return old.release < release <= new.release


def upgrade_path(old: Version, new: Version, stride: int) -> list[str]:
    """The releases of a lawful upgrade, the last one included; empty where there is none."""
    if old.major != new.major:
        return []
    minors = list(range(old.minor + stride, new.minor, stride))
    return [release_text((old.major, minor)) for minor in [*minors, new.minor]]
