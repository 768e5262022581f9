# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line."""
from __future__ import annotations

import shlex
import sys

from . import cluster, engine, images, programs, releases, settings, store
from .shell import LabError, say, step

USAGE = """usage: python3 tests/lab up | down | env | status
  up      a kind cluster, with images that are pulled where that works, else built on the spot
  down    removes the cluster and the server of release archives; what was built stays cached
  env     shell exports for work by hand
  status  what there is"""


def up() -> None:
    with store.locked(settings.CACHE):
        engine.ensure()
        built = not engine.can_pull()
        if built:
            say("lab: images cannot be pulled here: kind with images that are built on the spot")
            engine.install(engine.missing_packages())
            images.base()
            node = images.node()
        else:
            say("lab: images can be pulled: kind with official images")
            node = settings.OFFICIAL_NODE
        cluster.ensure(node, built)
        programs.link_on_path()
        if built:
            for version in settings.ISTIO:
                releases.build(version)
            releases.serve()
    say(f"lab: up ({'built' if built else 'pulled'} images), kubeconfig {settings.kubeconfig()}")


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
    print(f"cache     {settings.CACHE}")


def main() -> int:
    commands = {"up": up, "down": down, "env": env, "status": status}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        commands[sys.argv[1]]()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0
