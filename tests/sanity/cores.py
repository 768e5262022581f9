# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ansible-core is checked with which Python, and where on this machine such a Python is."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Core:
    """A release of ansible-core; `pythons` of its controllers and of the hosts on which its modules run, as
    ansible-test has them.
    """

    release: str
    controllers: tuple[str, ...]
    hosts: tuple[str, ...]


# From the oldest that meta/runtime.yml allows. Hosts with Python 3.8 are none of ours: tests/config.yml.
CORES = {
    "2.18": Core("2.18.19", ("3.11", "3.12", "3.13"), ("3.9", "3.10", "3.11", "3.12", "3.13")),
    "2.19": Core("2.19.14", ("3.11", "3.12", "3.13"), ("3.9", "3.10", "3.11", "3.12", "3.13")),
    "2.20": Core("2.20.10", ("3.12", "3.13", "3.14"), ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")),
    "2.21": Core("2.21.5", ("3.12", "3.13", "3.14"), ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")),
}
# What is checked where nobody says otherwise: what this collection is said to run on.
USUAL = ("2.18", "2.19")


def pythons() -> dict[str, Path]:
    """{version: interpreter} of all that PATH or pyenv has. One that does not start, as a shim of pyenv's, is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    folders = [Path(name) for name in os.get_exec_path() if Path(name).name != "shims"] + sorted(
        pyenv.glob("*/bin"), reverse=True
    )
    found: dict[str, Path] = {}
    for version in sorted({version for core in CORES.values() for version in core.controllers + core.hosts}):
        for path in (folder / f"python{version}" for folder in folders):
            if (
                path.exists()
                and subprocess.run([path, "-c", "import ssl, venv"], capture_output=True, check=False).returncode == 0
            ):
                found[version] = path.resolve()
                break
    return found
