# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment of the collection that ours is measured against: made once, outside of the repository."""
from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lab import settings, store
from lab.shell import run

REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"


def environment() -> Path:
    """Folder of the virtual environment, kept by its requirements and the Python that made it."""
    folder = settings.CACHE / f"bench-venv-{store.key(REQUIREMENTS, sys.version)}"

    def make(target: Path) -> None:
        # Made in its place, not moved there: its programs know where they are. Only the mark comes last.
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-r", REQUIREMENTS)
        target.touch()

    return store.kept(folder / ".done", make, "environment of kubernetes.core").parent


def versions(folder: Path) -> dict[str, str]:
    """Versions of what the environment holds."""
    code = "import ansible_collections.kubernetes.core as c, ansible.release as r, importlib.metadata as m, json, pathlib; " \
        "manifest = json.loads((pathlib.Path(list(c.__path__)[0]) / 'MANIFEST.json').read_text()); " \
        "print(manifest['collection_info']['version'], r.__version__, m.version('kubernetes'))"
    collection, core, client = run(folder / "bin" / "python", "-c", code).split()
    return {"kubernetes.core": collection, "ansible-core": core, "kubernetes": client}
