# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""istioctl as a renderer: an IstioOperator in, Kubernetes objects out. It is never given a cluster."""
from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from .._failure import Failure, InvalidOption
from . import cache

try:
    from yaml import CSafeLoader as Loader
except ImportError:
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

TIMEOUT = 120


class Istioctl:
    """One istioctl binary. Raises Failure "istioctl" where it cannot be run."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        if not os.access(self.path, os.X_OK) or not self.path.is_file():
            raise InvalidOption("istioctl", f"{self.path} is no program that can be run where this task runs", hint="Run the release module first and pass its result's istioctl.")
        self._digest = cache.kept_sha256(self.path)

    def version(self) -> str:
        """Its own version, such as 1.31.0."""
        kept = cache.root() / "versions" / self._digest
        if not kept.exists():
            try:
                version = json.loads(self._run(["version", "--remote=false", "-o", "json"]))["clientVersion"]["version"].encode()
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise InvalidOption("istioctl", f"{self.path} is no istioctl: it does not say its version", hint="Pass what the release module returns.") from error
            cache.write_atomically(kept, version)
        return kept.read_text(encoding="utf-8")

    def render(self, operator: dict[str, Any]) -> list[dict[str, Any]]:
        """Objects that an IstioOperator renders to, in istioctl's order. Kept by the binary's and the input's sha256.

        Raises InvalidOption for an unknown profile or value, with istioctl's words.
        """
        text = json.dumps(operator, sort_keys=True, ensure_ascii=False)
        kept = cache.root() / "rendered" / f"{hashlib.sha256((self._digest + text).encode()).hexdigest()}.json"
        try:
            objects: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))
            return objects
        except (OSError, ValueError):
            pass  # not there, or half of it: render again
        manifest = self._run(["manifest", "generate", "-f", "-"], text)
        try:
            objects = [document for document in yaml.load_all(manifest, Loader=Loader) if document]
        except yaml.YAMLError as error:
            raise Failure("istioctl", f"{self.path} rendered what is no YAML", reason=str(error)) from error
        if not objects or not all(isinstance(obj, dict) and obj.get("kind") and obj.get("metadata") for obj in objects):
            # Made so, everything that is there would be removed.
            raise Failure("istioctl", f"{self.path} rendered no objects", hint="Check profile and components; to remove a control plane say state: absent.")
        cache.write_atomically(kept, json.dumps(objects, ensure_ascii=False).encode())
        return objects

    def _run(self, arguments: list[str], text: str = "") -> str:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(Path.home()), "KUBECONFIG": os.devnull}
        try:
            done = subprocess.run([str(self.path), *arguments], input=text, capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failure("istioctl", f"{self.path} could not be run: {error}", hint="Check that it is the binary of this machine's OS and architecture.") from error
        if done.returncode:
            raise _refusal(done.stderr.strip() or done.stdout.strip())
        return done.stdout


def _refusal(text: str) -> Failure:
    last = text.splitlines()[-1] if text else "no output"
    if "profile" in last and "not found" in last:
        return InvalidOption("profile", last, hint="istioctl of this release knows other profiles: default, demo, minimal, empty, ambient, remote, ...", code="unknown_profile")
    return InvalidOption("values", f"istioctl refuses the configuration: {last}", code="invalid_values", hint="Correct profile, values, mesh_config or overlays.")
