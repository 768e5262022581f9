# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that build a lab, and those that add what only some tests use."""
from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from . import cluster, engine, images, node, programs, releases, settings, store
from .images import Image
from .programs import ISTIO, KUBERNETES, NODE, PROGRAMS, Program
from .steps import Step

PACKAGES, ENGINE, DEBIAN = "install Debian packages", "start the container engine", "create the Debian image"
PROGRAMS_OF_NODE, NODE_IMAGE, CLUSTER = "build Kubernetes, etcd and containerd", "build the node image", "create the cluster"
STAND_INS, ENVOY = "build the stand-ins", "download Envoy"
EXTRAS = ("helm", f"istio-{settings.PREVIOUS_ISTIO}")


def lab() -> list[Step]:
    """From a machine without a container engine to a cluster with every image that site.yml runs, built here."""
    packages, up = engine.missing_packages(), engine.answers()
    held = up and node.exists()
    fresh = not held or not cluster.is_current(node.name(), True)
    istio = settings.DEFAULT_ISTIO
    groups = {
        "Redis": ([images.redis()], (DEBIAN,)),
        "the stand-ins": (images.of_lab(), (STAND_INS, ENGINE)),
        f"Istio {istio}": (images.istio(istio), (f"build Istio {istio}", ENVOY, DEBIAN)),
        "Prometheus and Jaeger": ([images.prometheus(), images.jaeger()], ("build Prometheus", "build Jaeger", DEBIAN)),
    }
    return [
        Step(PACKAGES, lambda: engine.install(packages), (), bool(packages), 40),
        Step(ENGINE, engine.start, (PACKAGES,), not up, 3),
        # One `go build` uses all processors, so the builds follow each other: first what a cluster boots from.
        _go(PROGRAMS_OF_NODE, [*KUBERNETES, *NODE, PROGRAMS["config-reloader"]], (), 480),
        _go(STAND_INS, [PROGRAMS["standin"]], (PROGRAMS_OF_NODE,), 20),
        *_release(istio, (STAND_INS,)),
        _go("build Prometheus", [PROGRAMS["prometheus"]], (f"build Istio {istio}",), 60),
        _go("build Jaeger", [PROGRAMS["jaeger"]], ("build Prometheus",), 60),
        Step(DEBIAN, images.DEBIAN.build, (ENGINE,), not up or not images.DEBIAN.current, 60),
        Step(NODE_IMAGE, node.build, (PROGRAMS_OF_NODE, DEBIAN), not held, 40),
        Step(CLUSTER, lambda: cluster.ensure(node.name(), built=True), (NODE_IMAGE,), fresh, 30),
        *_images(groups, up, fresh),
        Step("serve releases", releases.serve, (STAND_INS, ENGINE, _pack(istio)), not releases.served(), 3),
    ]


def extra(name: str) -> list[Step]:
    """What site.yml does not run, and some tests do."""
    if name == "helm":
        return [_go("build Helm", programs.HELM, (), 180)]
    version = name.removeprefix("istio-")
    return [*_release(version, ()), *_images({f"Istio {version}": (images.istio(version), (f"build Istio {version}", ENVOY))}, True, False)]


def _release(version: str, after: Iterable[str]) -> list[Step]:
    """A release of Istio: its programs and its archive."""
    build = f"build Istio {version}"
    return [
        _go(build, ISTIO[version], after, 200),
        Step(ENVOY, programs.envoy, (), not store.used(programs.ENVOY_PATH), 10),
        Step(_pack(version), lambda: releases.build(version), (build,), not releases.built(version), 8),
    ]


def _pack(version: str) -> str:
    return f"pack release {version}"


def _go(name: str, built: Sequence[Program], after: Iterable[str], seconds: float) -> Step:
    names = [program.name for program in built]
    return Step(name, lambda: programs.build_all(names), tuple(after), bool(programs.missing(names)), seconds)


def _images(groups: Mapping[str, tuple[list[Image], tuple[str, ...]]], up: bool, fresh: bool) -> list[Step]:
    """A step that builds the images of a group, and one in which the cluster's node imports them. What is built already is imported at once."""
    steps, ready = [], []
    for name, (wanted, after) in groups.items():
        if up and not images.outdated(wanted):
            ready += wanted
            continue
        build = f"build the images of {name}"
        steps.append(Step(build, functools.partial(images.build_all, wanted), after, True, len(wanted)))
        steps.append(_load(f"load the images of {name}", wanted, (build,), True))
    return [*steps, _load("load the images that are built", ready, (), bool(ready) and (fresh or bool(cluster.lacks(ready))))]


def _load(name: str, wanted: list[Image], after: tuple[str, ...], needed: bool) -> Step:
    def load() -> None:
        if cluster.exists():
            node.load(cluster.node_name(), wanted)

    return Step(name, load, (*after, CLUSTER), needed, 5)


def prune() -> None:
    """Deletes what older labs left in the cache and no run has used for a while."""
    for folder in ("bin", "archives"):
        store.prune(settings.CACHE / folder, settings.UNUSED_DAYS)
    # Of runs that were killed; a run of today may still be at work.
    store.prune(settings.CACHE / "tmp", 1)
    images.prune({node.name()})
