# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The five cases. Each is a state of the cluster, the commands that meet it, and goals."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.shell import step

from . import inputs
from .competitors import CORE, EMPTY, ISTIOCTL, KUBECTL, OURS, Ground, Versions, checks, ok, plain, recap, said
from .measuring import Contender, Series, ratio, settle, side_by_side

NAMESPACE = "istio-system"
KINDS = "virtualservices.networking.istio.io,destinationrules.networking.istio.io"
MEMORY_GOAL = 300.0
# Seconds for each further object, in the upper part of the range over the lower part. Equal would be 1; clocks are not
# that good.
LINEAR = 1.3


@dataclass
class Goal:
    """What is asked of a case. `value` is None where nothing could be measured."""

    text: str
    limit: float
    value: float | None
    against: str = ""

    @property
    def met(self) -> bool:
        return self.value is not None and self.value <= self.limit


@dataclass
class Result:
    """A case as it was measured."""

    title: str
    series: list[Series]
    goals: list[Goal] = field(default_factory=list)

    def of(self, name: str) -> Series:
        return next(series for series in self.series if series.name == name)

    @property
    def failed(self) -> bool:
        return any(series.wrong for series in self.series)


def against(series: list[Series], **limits: float) -> list[Goal]:
    """Goals as ratios of ours to others."""
    ours = next(s for s in series if s.name == OURS)
    goals = []
    for name, limit in limits.items():
        other = next(s for s in series if s.name.replace(".", "_") == name)
        value = None if ours.wrong or other.wrong else ratio(ours, other)
        goals.append(Goal(f"≤ {limit:g} × {other.name}", limit, value, other.name))
    return goals


class ControlPlane:
    """Istio's default profile with the lab's values, as each contender wants it."""

    def __init__(self, ground: Ground) -> None:
        values, mesh_config = inputs.lab_values(ground.built)
        self.ground = ground
        self.operator = inputs.operator(ground.path("operator.yaml"), values, mesh_config)
        self.manifest = inputs.manifest(ground.path("control-plane.yaml"), ground.istioctl(), self.operator)
        # Documents of comments only, such as that of an empty component, are no objects.
        self.objects = sum(
            "\nkind: " in f"\n{document}" for document in self.manifest.read_text(encoding="utf-8").split("\n---\n")
        )
        options = {
            "istioctl": str(ground.istioctl()),
            "profile": "default",
            "values": values,
            "mesh_config": mesh_config,
        }
        self.ours = ground.module("control-plane", f"{OURS}.control_plane", **options)
        self.ours_forced = ground.module(
            "control-plane-forced", f"{OURS}.control_plane", **options, force_conflicts=True
        )
        self.empty = ground.module("empty", "ansible.builtin.ping")

    def remove(self) -> None:
        """Nothing of Istio is left."""
        ground = self.ground
        ok(ground.measure(ground.istioctl(), "uninstall", "--purge", "-y"))
        ground.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
        for kind in ("mutatingwebhookconfigurations", "validatingwebhookconfigurations", "customresourcedefinitions"):
            found = [name for name in ground.kubectl("get", kind, "-o", "name").split() if "istio" in name]
            if found:
                ground.kubectl("delete", *found)

    def installed(self, ran: object = None) -> str:
        """What is missing, or nothing."""
        answer = json.loads(self.ground.kubectl("-n", NAMESPACE, "get", "deployments", "-o", "json"))
        ready = sorted(
            item["metadata"]["name"]
            for item in answer["items"]
            if item.get("status", {}).get("readyReplicas") == item["spec"]["replicas"]
        )
        return "" if ready == ["istio-ingressgateway", "istiod"] else f"ready are {ready}"

    def webhooks_at_rest(self) -> None:
        """istiod has set what it owns in its webhooks: until then somebody is still writing to them."""
        template = "jsonpath={range .items[*].webhooks[*]}{.failurePolicy} {end}"
        for _ in range(60):
            if "Ignore" not in self.ground.kubectl(
                "get", "validatingwebhookconfigurations", "-l", "app=istiod", "-o", template
            ):
                break
            time.sleep(0.5)

    def install(self) -> list[str | Path]:
        return [self.ground.istioctl(), "install", "-y", "-f", self.operator]


def fresh_install(plane: ControlPlane, rounds: int) -> Result:
    ground = plane.ground
    ours = Contender(
        OURS, lambda: ground.play(plane.ours), checks(recap(1), plane.installed), lambda: _cold(ground, plane)
    )
    other = Contender(ISTIOCTL, lambda: ground.measure(*plane.install()), checks(plain, plane.installed), plane.remove)
    with step("first install, so that the node has unpacked all images"):
        ok(ground.measure(*plane.install()))
    series = side_by_side("fresh install", [ours, other], rounds)
    return Result("Control plane, fresh install until Ready", series, against(series, istioctl=1.1))


def _cold(ground: Ground, plane: ControlPlane) -> None:
    """Without what earlier runs have rendered and kept."""
    plane.remove()
    shutil.rmtree(ground.path("cache"), ignore_errors=True)


def same_control_plane(plane: ControlPlane, rounds: int) -> Result:
    """Each timed run comes after an untimed one of the same command, by force: so nothing is left for it to change,
    whoever came before.
    """
    ground = plane.ground
    versions = Versions(ground, "-f", plane.manifest)
    apply = {"state": "present", "src": str(plane.manifest), "apply": True}
    core = ground.module("core", "kubernetes.core.k8s", **apply, server_side_apply={"field_manager": "bench"})
    core_forced = ground.module(
        "core-forced",
        "kubernetes.core.k8s",
        **apply,
        server_side_apply={"field_manager": "bench", "force_conflicts": True},
    )
    kubectl = ["kubectl", "apply", "--server-side", "-f", plane.manifest]

    def after(prepare: Callable[[], object]) -> Callable[[], None]:
        def before() -> None:
            prepare()
            plane.webhooks_at_rest()
            settle()
            versions.look()

        return before

    def unmoved(_ran: object) -> str:
        return versions.moved()

    contenders = [
        Contender(
            OURS,
            lambda: ground.play(plane.ours),
            checks(recap(0), unmoved, plane.installed),
            after(lambda: ok(ground.play(plane.ours_forced))),
        ),
        # It says "changed" whatever happens, so only the cluster is asked.
        Contender(
            CORE,
            lambda: ground.play_rival(core),
            checks(recap(None), unmoved),
            after(lambda: ok(ground.play_rival(core_forced))),
        ),
        Contender(
            KUBECTL,
            lambda: ground.measure(*kubectl),
            checks(said("serverside-applied", plane.objects), unmoved),
            after(lambda: ok(ground.measure(*kubectl, "--force-conflicts"))),
        ),
        # It takes back failurePolicy at each run, and istiod sets it again: its own affair.
        Contender(
            ISTIOCTL,
            lambda: ground.measure(*plane.install()),
            checks(plain, plane.installed),
            after(lambda: ok(ground.measure(*plane.install()))),
        ),
        Contender(EMPTY, lambda: ground.play(plane.empty), recap(0)),
    ]
    series = side_by_side("control plane, nothing to change", contenders, rounds)
    return Result(
        f"Control plane, nothing to change ({plane.objects} rendered objects,"
        f" {plane.manifest.stat().st_size / 1e6:.1f} MB)",
        series,
        against(series, kubernetes_core=0.45),
    )


def at_rest(plane: ControlPlane) -> None:
    """The control plane as ours wants it. It is there in all other cases too: its webhook judges what they write."""
    with step("the control plane is as ours wants it"):
        ok(plane.ground.play(plane.ours_forced))
        plane.webhooks_at_rest()


class Many:
    """Some number of VirtualServices and DestinationRules in a namespace of their own."""

    def __init__(self, ground: Ground, count: int, name: str = "") -> None:
        self.ground, self.count = ground, count
        self.namespace = name or f"bench-{count}"
        self.file = inputs.many(ground.path(f"{self.namespace}.yaml"), self.namespace, count)
        self.ours = ground.module(self.namespace, f"{OURS}.manifests", src=str(self.file))
        self.versions = Versions(ground, KINDS, "-n", self.namespace)

    def empty_namespace(self) -> None:
        self.ground.kubectl("delete", "namespace", self.namespace, "--ignore-not-found")
        self.ground.kubectl("create", "namespace", self.namespace)

    def complete(self, _ran: object = None) -> str:
        found = len(self.versions.look().split())
        return "" if found == self.count else f"{found} objects are there, wanted {self.count}"

    def unmoved(self, _ran: object) -> str:
        return self.versions.moved()

    def create(self) -> None:
        self.empty_namespace()
        ok(self.ground.play(self.ours))

    def kubectl(self) -> list[str | Path]:
        return ["kubectl", "apply", "--server-side", "-f", self.file]


def created(ground: Ground, rounds: int, count: int) -> Result:
    many = Many(ground, count, "bench-created")

    def before() -> None:
        many.empty_namespace()
        settle()

    contenders = [
        Contender(OURS, lambda: ground.play(many.ours), checks(recap(1), many.complete), before),
        Contender(
            KUBECTL,
            lambda: ground.measure(*many.kubectl()),
            checks(said("serverside-applied", count), many.complete),
            before,
        ),
    ]
    series = side_by_side(f"{count} objects, created", contenders, rounds)
    ground.kubectl("delete", "namespace", many.namespace)
    return Result(f"{count:,} objects, created", series, against(series, kubectl=0.5))


def same_objects(ground: Ground, rounds: int, count: int) -> Result:
    many = Many(ground, count)
    core = ground.module(
        "many-core",
        "kubernetes.core.k8s",
        state="present",
        src=str(many.file),
        apply=True,
        server_side_apply={"field_manager": "bench"},
    )
    with step(f"{count} objects, applied once by each"):
        many.create()
        ok(ground.play_rival(core))
        ok(ground.measure(*many.kubectl()))

    def before() -> None:
        settle()
        many.versions.look()

    contenders = [
        Contender(OURS, lambda: ground.play(many.ours), checks(recap(0), many.unmoved), before),
        Contender(CORE, lambda: ground.play_rival(core), checks(recap(None), many.unmoved), before),
        Contender(
            KUBECTL,
            lambda: ground.measure(*many.kubectl()),
            checks(said("serverside-applied", count), many.unmoved),
            before,
        ),
    ]
    series = side_by_side(f"{count} objects, nothing to change", contenders, rounds)
    return Result(f"{count:,} objects, nothing to change", series, against(series, kubernetes_core=0.12, kubectl=0.4))


def growth(ground: Ground, rounds: int, counts: list[int]) -> Result:
    """Ours alone; the counts take turns. Names of the series are the counts."""
    sets = {count: Many(ground, count) for count in counts}
    for count, many in sets.items():
        with step(f"{count} objects, created once"):
            many.create()

    def contender(many: Many) -> Contender:
        def before() -> None:
            settle()
            many.versions.look()

        return Contender(str(many.count), lambda: ground.play(many.ours), checks(recap(0), many.unmoved), before)

    series = side_by_side("growth", [contender(many) for many in sets.values()], rounds)
    return Result("Growth: servicemesh.istio, nothing to change", series, _growth_goals(series))


def _growth_goals(series: list[Series]) -> list[Goal]:
    """Linear in the upper range, and memory of the largest."""
    low, middle, high = series[-3:]
    # Where noise has eaten the slope there is nothing to compare with.
    sound = not any(s.wrong for s in (low, middle, high)) and _per_object(low, middle) > 0
    bend = _per_object(middle, high) / _per_object(low, middle) if sound else None
    names = [f"{int(s.name):,}" for s in (low, middle, high)]
    return [
        Goal(
            f"linear: an object more costs between {names[1]} and {names[2]} ≤ {LINEAR:g} × the cost between {names[0]}"
            f" and {names[1]}",
            LINEAR,
            bend,
        ),
        Goal(f"≤ {MEMORY_GOAL:g} MiB for {names[2]}", MEMORY_GOAL, None if high.wrong else high.peak),
    ]


def _per_object(one: Series, two: Series) -> float:
    """Seconds for each further object."""
    return (two.median - one.median) / (int(two.name) - int(one.name))
