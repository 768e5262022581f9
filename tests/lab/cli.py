# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line."""
from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable

from . import cluster, engine, plan, programs, releases, settings, steps, store
from .shell import LabError, say, step

USAGE = f"""usage: python3 tests/lab up | add NAME... | down | env | status | program NAME
  up            a kind cluster, with images that are pulled where that works, else built here
  add NAME...   what site.yml does not run: {', '.join(plan.EXTRAS)}
  down          deletes the cluster and the server of release archives; what was built stays cached
  env           shell exports for work by hand
  status        what there is
  program NAME  path of a program, built if it is not cached"""


def up() -> None:
    """Raises LabError."""
    with store.locked(settings.CACHE):
        if _pulls():
            say("lab: images can be pulled: kind with official images, nothing is built")
            cluster.ensure(settings.OFFICIAL_NODE, built=False)
        else:
            say("lab: images cannot be pulled here: kind with images that are built here")
            steps.execute(plan.lab())
            plan.prune()
        programs.link_on_path()
        images = cluster.mark()["images"]
    say(f"lab: up ({images} images), kubeconfig {settings.kubeconfig()}")


def _pulls() -> bool:
    if engine.forced() == "auto" and not engine.answers() and engine.registry_is_out_of_reach():
        return False
    if engine.forced() == "built":
        return False
    engine.ensure()
    return engine.can_pull()


def add(*names: str) -> None:
    """Raises LabError."""
    unknown = sorted(set(names) - set(plan.EXTRAS))
    if unknown:
        raise LabError(f"{', '.join(unknown)}: not known. Add some of: {', '.join(plan.EXTRAS)}.")
    if cluster.mark().get("images") == "pulled":
        return
    steps.execute([entry for name in names for entry in plan.extra(name)])
    programs.link_on_path()


def down() -> None:
    with store.locked(settings.CACHE), step("down"):
        cluster.delete()
        releases.stop()


def env() -> None:
    for name, value in cluster.environment().items():
        print(f"export {name}={shlex.quote(value)}")


def status() -> None:
    print(f"engine    {'answers' if engine.answers() else 'does not answer'}")
    print(f"cluster   {'answers' if cluster.answers() else 'is not up'} ({settings.kubeconfig()})")
    for key, value in cluster.mark().items():
        print(f"  {key:8}{value}")
    print(f"releases  {releases.url() if releases.served() else 'not served'}")
    size = subprocess.run(["du", "-sh", settings.CACHE], capture_output=True, text=True, check=False).stdout.split()
    print(f"cache     {settings.CACHE} ({size[0] if size else 'empty'})")


def program(name: str) -> None:
    """Raises LabError."""
    if name not in programs.PROGRAMS:
        raise LabError(f"{name}: not known. Programs: {', '.join(programs.PROGRAMS)}.")
    print(programs.build(name))


COMMANDS: dict[str, tuple[Callable[..., None], int, int]] = {
    "up": (up, 0, 0), "add": (add, 1, 9), "down": (down, 0, 0), "env": (env, 0, 0), "status": (status, 0, 0), "program": (program, 1, 1),
}  # fmt: skip


def main() -> int:
    name, *arguments = sys.argv[1:] or [""]
    command, least, most = COMMANDS.get(name, (up, 1, 0))
    if not least <= len(arguments) <= most:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        command(*arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0
