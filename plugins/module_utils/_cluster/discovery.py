# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kinds a server knows, and where they are. Aggregated discovery (KEP-3352): one request each for /api and
/apis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .api import Api

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@dataclass(frozen=True)
class Resource:
    """One served (group, version, kind)."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        middle = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{middle}/{self.plural}" + (f"/{name}" if name else "")

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


class Resources:
    """What the server serves, asked for once and again after `refresh`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._by_kind: dict[tuple[str, str], list[Resource]] | None = None

    def refresh(self) -> None:
        self._by_kind = None

    def find(self, group: str, kind: str, version: str | None = None) -> Resource | None:
        """The resource at `version`, or at the version that the server prefers; None if it is not served."""
        candidates = self._known().get((group, kind), [])
        if version is None:
            return candidates[0] if candidates else None
        return next((r for r in candidates if r.version == version), None)

    def groups(self) -> list[str]:
        return sorted({group for group, _kind in self._known()})

    def kinds(self, group: str) -> list[str]:
        return sorted({kind for g, kind in self._known() if g == group})

    def _known(self) -> dict[tuple[str, str], list[Resource]]:
        if self._by_kind is None:
            known: dict[tuple[str, str], list[Resource]] = {}
            for path in ("/api", "/apis"):
                for resource in _parse(self._api.request("GET", path, accept=AGGREGATED)):
                    known.setdefault((resource.group, resource.kind), []).append(resource)
            self._by_kind = known
        return self._by_kind


def _parse(answer: dict[str, Any]) -> list[Resource]:
    found = []
    for item in answer.get("items", []):
        group = item.get("metadata", {}).get("name", "")
        for version in item.get("versions", []):
            for resource in version.get("resources", []):
                kind = resource.get("responseKind", {}).get("kind", "")
                found.append(
                    Resource(
                        group, version["version"], kind, resource["resource"], resource.get("scope") == "Namespaced"
                    )
                )
    return found
