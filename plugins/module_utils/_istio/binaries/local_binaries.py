# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host where the task runs, known by their sha256: what they said and rendered is kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..._engine.objects import Object
from ..._failure import Failure, InvalidOption
from ..._libraries import SafeLoader, yaml
from . import cache

TIMEOUT = 120


def yaml_documents(manifest: str) -> list[Any]:
    """All that is in a rendered manifest, less empty documents. Raises yaml.YAMLError."""
    return [document for document in yaml.load_all(manifest, Loader=SafeLoader) if document]


class LocalBinary:
    """One binary: the one at a given path, or the one on PATH. Raises InvalidOption if there is none.

    option  the module's option for its path, and its name on PATH; also its failure code
    remedy  how to get one
    """

    option = ""
    remedy = ""

    def __init__(self, path: str | None) -> None:
        self.path = self._locate(path)
        if not os.access(self.path, os.X_OK) or not self.path.is_file():
            raise InvalidOption(
                self.option, f"{self.path} is not an executable file where this task runs", hint=self._hint()
            )
        self._digest = cache.cached_sha256(self.path)

    def _locate(self, given: str | None) -> Path:
        """A given path wins, and a given name is looked up on PATH like the default."""
        name = os.path.expanduser(given) if given else self.option
        found = shutil.which(name)
        if not found and not given:
            raise InvalidOption(self.option, f"{self.option} is not on PATH where this task runs", hint=self._hint())
        return Path(found or name)

    def _hint(self) -> str:
        return f"Set the option {self.option} to its path, or install it on PATH. {self.remedy}"

    def _refusal(self, command: str, text: str) -> Failure:
        """What a failed command means, by its words."""
        raise NotImplementedError

    def _call(self, arguments: list[str], text: str, environment: dict[str, str], timeout: float = TIMEOUT) -> str:
        """Its output. It is told of no cluster but one that the arguments name."""
        own = {"PATH": os.environ.get("PATH", ""), "KUBECONFIG": os.devnull, **environment}
        try:
            done = subprocess.run(
                [str(self.path), *arguments],
                input=text,
                capture_output=True,
                text=True,
                timeout=timeout,
                env=own,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failure(
                self.option,
                f"cannot run {self.path}: {error}",
                hint="Use the binary for the operating system and architecture of that host.",
            ) from error
        if done.returncode:
            raise self._refusal(arguments[0], done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def _version(self, ask: Callable[[], str]) -> str:
        """What it says of its version, asked once."""
        kept = cache.root() / "versions" / self._digest
        if not kept.exists():
            cache.write_atomically(kept, ask().encode())
        return kept.read_text(encoding="utf-8")

    def _rendered(self, key: str, render: Callable[[], list[Object]]) -> list[Object]:
        """Objects that it renders for an input, kept by the sha256 of both."""
        kept = cache.root() / "rendered" / f"{hashlib.sha256((self._digest + key).encode()).hexdigest()}.json"
        try:
            objects: list[Object] = json.loads(kept.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            # Not there, or half of it.
            objects = render()
            cache.write_atomically(kept, json.dumps(objects, ensure_ascii=False).encode())
        return objects
