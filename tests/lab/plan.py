# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that build a lab, and those that add what only some tests use."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

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
    return [
        Step(PACKAGES, lambda: engine.install(packages), (), bool(packages), 40),
        Step(ENGINE, engine.start, (PACKAGES,), not up, 3),
        # One `go build` uses all processors, so the builds follow each other: first what a cluster boots from.
        _go(PROGRAMS_OF_NODE, [*KUBERNETES, *NODE, PROGRAMS["config-reloader"]], (), 480),
        _go(STAND_INS, [PROGRAMS["standin"]], (PROGRAMS_OF_NODE,), 20),
        *_release(settings.DEFAULT_ISTIO, (STAND_INS,), up, fresh),
        _go("build Jaeger", [PROGRAMS["jaeger"]], (f"build Istio {settings.DEFAULT_ISTIO}",), 60),
        Step(DEBIAN, images.DEBIAN.build, (ENGINE,), not up or not images.DEBIAN.current, 60),
        Step(NODE_IMAGE, node.build, (PROGRAMS_OF_NODE, DEBIAN), not held, 40),
        Step(CLUSTER, lambda: cluster.ensure(node.name(), built=True), (NODE_IMAGE,), fresh, 30),
        *_images("Redis and Prometheus", images.of_debian(), (DEBIAN,), up, fresh),
        *_images("the demo", images.of_lab(), (STAND_INS, ENGINE), up, fresh),
        *_images("Jaeger", images.of_jaeger(), ("build Jaeger", DEBIAN), up, fresh),
        Step("serve releases", releases.serve, (STAND_INS, ENGINE, _pack(settings.DEFAULT_ISTIO)), not releases.served(), 3),
    ]


def extra(name: str) -> list[Step]:
    """What site.yml does not run, and some tests do."""
    if name == "helm":
        return [_go("build Helm", programs.HELM, (), 180)]
    return _release(name.removeprefix("istio-"), (), True, False)


def _release(version: str, after: Iterable[str], up: bool, fresh: bool) -> list[Step]:
    """A release of Istio: its programs, its images in the cluster, its archive."""
    build = f"build Istio {version}"
    return [
        _go(build, ISTIO[version], after, 200),
        Step(ENVOY, programs.envoy, (), not store.used(programs.ENVOY_PATH), 10),
        *_images(f"Istio {version}", images.istio(version), (build, ENVOY, DEBIAN), up, fresh),
        Step(_pack(version), lambda: releases.build(version), (build,), not releases.built(version), 8),
    ]


def _pack(version: str) -> str:
    return f"pack release {version}"


def _go(name: str, built: Sequence[Program], after: Iterable[str], seconds: float) -> Step:
    names = [program.name for program in built]
    return Step(name, lambda: programs.build_all(names), tuple(after), bool(programs.missing(names)), seconds)


def _images(name: str, wanted: Sequence[Image], after: Iterable[str], up: bool, fresh: bool) -> list[Step]:
    """One step that builds the images, and one in which the cluster's node imports them."""
    build = Step(f"build the images of {name}", lambda: images.build_all(wanted), tuple(after), not up or bool(images.outdated(wanted)), len(wanted))
    lacks = fresh or bool(cluster.lacks(wanted))
    return [build, Step(f"load the images of {name}", lambda: node.load(cluster.node_name(), wanted), (build.name, CLUSTER), lacks, 5)]


def prune() -> None:
    """Deletes what older labs left in the cache and no run has used for a while."""
    for folder in ("bin", "archives", "locks"):
        store.prune(settings.CACHE / folder, settings.UNUSED_DAYS)
    for path in settings.CACHE.glob(".*-*"):
        _remove_leftover(path)
    images.prune({node.name()})


def _remove_leftover(path: Path) -> None:
    """A temporary folder of a run that was killed."""
    if path.name.startswith((".image-", ".debian-", ".node-", ".load-", ".envoy-")):
        store.remove(path)
