# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python's environment for make: python_environment.py FOLDER REQUIREMENTS... Two runs at a time do not disturb each other."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

from lab import engine, store
from lab.shell import LabError, say

ROOT = Path(__file__).resolve().parent.parent
LINK = ROOT / ".collections/ansible_collections/servicemesh/istio"


def main(folder: Path, requirements: list[str]) -> None:
    """Raises LabError if Python lacks what an environment needs."""
    with store.locked(folder.parent / ".cache", "venv"):
        mark = folder / f".{'-'.join(name.replace('/', '-') for name in requirements)}.done"
        wanted = store.key(*(Path(name) for name in requirements))
        if not mark.exists() or mark.read_text(encoding="ascii") != wanted:
            # Debian has this part of Python in a package of its own.
            if not importlib.util.find_spec("ensurepip"):
                if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
                    raise LabError("Python has no ensurepip. Install the package python3-venv.")
                engine.install(["python3-venv"])
            # A program of an environment that is in use cannot be written again.
            if not (folder / "bin/pip").exists():
                venv.create(folder, with_pip=True)
            arguments = [argument for name in requirements for argument in ("-r", name)]
            subprocess.run(
                [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *arguments], check=True
            )
            mark.write_text(wanted, encoding="ascii")
        LINK.parent.mkdir(parents=True, exist_ok=True)
        if not LINK.is_symlink():
            LINK.symlink_to("../../..")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except LabError as error:
        say(f"python environment: {error}")
        sys.exit(1)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
