# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that are measured, and how their results are judged."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import cluster, programs, settings, store
from lab.shell import LabError, run

from . import inputs
from .measuring import Ran
from .measuring import run as measured

ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"
OURS, CORE, KUBECTL, ISTIOCTL, EMPTY = "servicemesh.istio", "kubernetes.core", "kubectl", "istioctl", "empty module"
RECAP = re.compile(r"^localhost +: ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0 ", re.MULTILINE)


@dataclass(frozen=True)
class Ground:
    """Where everything happens: the lab's cluster, a folder to write to, the other collection's environment."""

    folder: Path
    variables: dict[str, str]
    rival: Path

    @staticmethod
    def of_lab(folder: Path, rival: Path) -> Ground:
        """Raises LabError where the cluster is not the bench's own."""
        lab = cluster.environment()
        cluster.require_lab(Path(lab["KUBECONFIG"]))
        if cluster.mark().get("name") != settings.NAME:
            raise LabError(f"The cluster of {lab['KUBECONFIG']} is not {settings.NAME}: nothing was touched.")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("K8S_AUTH_", "ANSIBLE_"))}
        # What our modules keep between runs starts empty.
        return Ground(folder, {**kept, **lab, "XDG_CACHE_HOME": str(folder / "cache")}, rival)

    @property
    def built(self) -> bool:
        return self.variables["LAB_IMAGES"] == "built"

    def path(self, name: str) -> Path:
        return self.folder / name

    def istioctl(self) -> Path:
        return programs.build(f"istioctl-{settings.DEFAULT_ISTIO}")

    def kubectl(self, *arguments: str | Path) -> str:
        """Untimed. Raises LabError."""
        return run(programs.build("kubectl"), *arguments, env=self.variables)

    def measure(self, *argv: str | Path, cwd: Path | None = None) -> Ran:
        return measured([str(a) for a in argv], self.variables, cwd or self.folder)

    def play(self, playbook: Path) -> Ran:
        """Our ansible-playbook, which finds the collection by the repository's own configuration."""
        return self.measure(Path(sys.executable).parent / "ansible-playbook", playbook, cwd=ROOT)

    def play_rival(self, playbook: Path) -> Ran:
        return self.measure(self.rival / "bin" / "ansible-playbook", playbook)

    def module(self, name: str, module: str, **options: object) -> Path:
        return inputs.playbook(self.path(f"{name}.yml"), module, options)


def plain(ran: Ran) -> str:
    return "" if ran.status == 0 else f"exit status {ran.status}"


def recap(changed: int | None) -> Callable[[Ran], str]:
    """A play of one task that ended well; `changed` tasks of it, where that matters."""

    def check(ran: Ran) -> str:
        found = RECAP.search(ran.text)
        if ran.status or not found or found[1] != "1":
            return f"exit status {ran.status}, no good recap"
        return f"changed={found[2]}, wanted {changed}" if changed is not None and int(found[2]) != changed else ""

    return check


def said(word: str, times: int) -> Callable[[Ran], str]:
    """Ended well and said the word so many times."""

    def check(ran: Ran) -> str:
        count = ran.text.count(word)
        return plain(ran) or ("" if count == times else f"said {word!r} {count} times, wanted {times}")

    return check


def ok(ran: Ran) -> Ran:
    """For runs that are not measured: raises LabError where one failed."""
    if ran.status:
        raise LabError(f"exit status {ran.status}:\n" + "\n".join(ran.text.strip().splitlines()[-25:]))
    return ran


class Versions:
    """Resource versions of some objects. While they stay, the server has written nothing."""

    def __init__(self, ground: Ground, *selection: str | Path) -> None:
        self._ground, self._selection = ground, selection
        self._seen = ""

    def look(self) -> str:
        template = "jsonpath={range .items[*]}{.kind}/{.metadata.name}={.metadata.resourceVersion} {end}"
        self._seen = self._ground.kubectl("get", *self._selection, "-o", template)
        return self._seen

    def moved(self) -> str:
        """Which objects were written since the last look, or nothing."""
        before = dict(item.split("=") for item in self._seen.split())
        after = dict(item.split("=") for item in self.look().split())
        names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        return f"{len(names)} objects were written, such as {names[0]}" if names else ""


def checks(*each: Callable[[Ran], str]) -> Callable[[Ran], str]:
    """The first thing that is wrong."""
    return lambda ran: next((wrong for wrong in (check(ran) for check in each) if wrong), "")


def other_environment() -> Path:
    """Folder of the virtual environment with the other collection, made once outside of the repository: kept by its
    requirements and the Python that made it.
    """
    folder = settings.CACHE / f"bench-venv-{store.key(REQUIREMENTS, sys.version)}"

    def make(target: Path) -> None:
        # Made in its place, not moved there: its programs know where they are. Only the mark comes last.
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-r", REQUIREMENTS)
        target.touch()

    return store.kept(folder / ".done", make, "environment of kubernetes.core").parent


def other_versions(folder: Path) -> dict[str, str]:
    """Versions of what the environment holds."""
    code = (
        "import ansible_collections.kubernetes.core as c, ansible.release as r, importlib.metadata as m, json, pathlib;"
        " manifest = json.loads((pathlib.Path(list(c.__path__)[0]) / 'MANIFEST.json').read_text());"
        " print(manifest['collection_info']['version'], r.__version__, m.version('kubernetes'))"
    )
    collection, core, client = run(folder / "bin" / "python", "-c", code).split()
    return {"kubernetes.core": collection, "ansible-core": core, "kubernetes": client}
