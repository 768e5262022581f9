# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""istioctl as a renderer: an IstioOperator in, Kubernetes objects out. It is never given a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..._engine.objects import Object
from ..._failure import Failure, InvalidOption
from ..._libraries import yaml
from ..binaries.local_binaries import LocalBinary, yaml_documents
from .helm_values import nearest_in


class Istioctl(LocalBinary):
    """One istioctl binary. Raises Failure "istioctl" where it cannot be run."""

    option = "istioctl"
    remedy = "The module release downloads istioctl and returns its path."

    def version(self) -> str:
        """Its own version, such as 1.31.0."""
        return self._version(self._ask_version)

    def _ask_version(self) -> str:
        try:
            version = json.loads(self._run(["version", "--remote=false", "-o", "json"]))["clientVersion"]["version"]
            if not isinstance(version, str):
                raise TypeError(f"{version!r} is not a valid version")
            return version
        except (ValueError, LookupError, TypeError) as error:
            raise InvalidOption(
                "istioctl",
                f"{self.path} is not istioctl: it does not print its version",
                hint="Use the path that the module release returns.",
            ) from error

    def render(self, operator: dict[str, Any]) -> list[Object]:
        """Objects that an IstioOperator renders to, in istioctl's order.

        Raises InvalidOption for an unknown profile or value, with istioctl's words.
        """
        text = json.dumps(operator, sort_keys=True, ensure_ascii=False)
        return self._rendered(text, lambda: self._render(text))

    def _render(self, text: str) -> list[Object]:
        manifest = self._run(["manifest", "generate", "-f", "-"], text)
        try:
            objects = yaml_documents(manifest)
        except yaml.YAMLError as error:
            raise Failure("istioctl", f"{self.path} did not render valid YAML", reason=str(error)) from error
        if not objects or not all(isinstance(obj, dict) and obj.get("kind") and obj.get("metadata") for obj in objects):
            # Made so, everything that is there would be removed.
            raise Failure(
                "istioctl",
                f"{self.path} rendered no objects",
                hint="Check profile and components. To remove a control plane, set state: absent.",
            )
        return objects

    def _run(self, arguments: list[str], text: str = "") -> str:
        return self._call(arguments, text, {"HOME": str(Path.home())})

    def _refusal(self, command: str, text: str) -> Failure:
        last = text.splitlines()[-1] if text else "no output"
        if "profile" in last and "not found" in last:
            hint = "Use a profile of this release: default, demo, minimal, empty, ambient, remote, ..."
            return InvalidOption("profile", last, hint=hint, code="unknown_profile")
        return InvalidOption(
            "values",
            f"istioctl rejects the configuration: {last}",
            code="invalid_values",
            hint=nearest_in(self.path, last) or "Correct profile, values, mesh_config or overlays.",
        )
