# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time of one of our playbooks goes.

Ansible packs a module and all it imports into one file. That file is kept and run again by itself: so imports come from
the same
archive as in a real run, and the module's own `duration` is that of the same work.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from lab.shell import LabError

from .competitors import Ground, ok
from .measuring import Ran, run, settle

IMPORT = re.compile(r"^import time: +(\d+) \| +\d+ \| *(\S+)$", re.MULTILINE)
PHASES = ("render", "plan", "apply", "wait")
# Packages whose imports are told one by one; what is left counts as the standard library and the rest.
PACKAGES = {
    "ansible_collections.servicemesh": "servicemesh.istio", "ansible": "ansible", "kubernetes": "kubernetes", "urllib3": "urllib3", "yaml": "yaml",
    "cryptography": "cryptography", "requests": "requests", "pydantic": "pydantic", "pydantic_core": "pydantic", "oauthlib": "oauthlib",
}  # fmt: skip


@dataclass
class Breakdown:
    """Seconds.

    total    the whole command
    ansible  of which Ansible itself, as it takes for an empty module
    alone    the packed module by itself, imports and phases included
    imports  by package, as -X importtime sees them
    payload  bytes of the packed module
    """

    title: str
    total: float
    ansible: float
    alone: float
    payload: int
    phases: dict[str, float] = field(default_factory=dict)
    imports: dict[str, float] = field(default_factory=dict)

    @property
    def importing(self) -> float:
        return sum(self.imports.values())

    @property
    def inside(self) -> float:
        """What the module does besides importing and its phases: reading and parsing its input, the result."""
        return self.alone - self.importing - sum(self.phases.values())

    @property
    def outside(self) -> float:
        """What Ansible does for this module beyond what it does for an empty one: packing it, reading its result."""
        return self.total - self.ansible - self.alone


def ansible_itself(ground: Ground, playbook: Path, total: float, rounds: int) -> float:
    """Seconds of an empty module's command (total) less those of the module's own process."""
    return total - median(ran.seconds for ran in _alone(ground, _packed(ground, playbook), rounds))


def of(ground: Ground, title: str, playbook: Path, total: float, ansible: float, rounds: int) -> Breakdown:
    """The cluster must be as the playbook wants it. Raises LabError where the module fails or changes something."""
    packed = _packed(ground, playbook)
    runs = _alone(ground, packed, rounds)
    answers = [json.loads(ran.text.strip().splitlines()[-1]) for ran in runs]
    if any(answer.get("changed") for answer in answers):
        raise LabError(f"{title}: the module changed something where nothing was to change")
    phases = {name: median(answer["duration"].get(name, 0.0) for answer in answers) for name in PHASES}
    imports = _imports(ok(run([sys.executable, "-X", "importtime", str(packed)], ground.variables, ground.folder)).text)
    return Breakdown(title, total, ansible, median(ran.seconds for ran in runs), packed.stat().st_size, phases, imports)


def _alone(ground: Ground, packed: Path, rounds: int) -> list[Ran]:
    found = []
    for _ in range(rounds):
        settle()
        found.append(ok(ground.measure(sys.executable, packed)))
    return found


def _packed(ground: Ground, playbook: Path) -> Path:
    """The module as Ansible packs it, with the playbook's options."""
    folder = ground.path("packed")
    shutil.rmtree(folder, ignore_errors=True)
    keeping = Ground(
        ground.folder,
        {**ground.variables, "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": str(folder)},
        ground.rival,
    )
    ok(keeping.play(playbook))
    found = list(folder.rglob("AnsiballZ_*.py"))
    if not found:
        raise LabError("Ansible kept no packed module")
    return found[0].replace(ground.path(f"{playbook.stem}.packed.py"))


def _imports(text: str) -> dict[str, float]:
    """Seconds by package, largest first."""
    found: Counter[str] = Counter()
    for microseconds, name in IMPORT.findall(text):
        package = next(
            (label for prefix, label in PACKAGES.items() if name == prefix or name.startswith(f"{prefix}.")), "others"
        )
        found[package] += int(microseconds)
    return {name: microseconds / 1e6 for name, microseconds in found.most_common()}
