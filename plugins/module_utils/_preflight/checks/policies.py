# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom policies are for: selectors and targets of all kinds that have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..._checks.check import ERROR, INFO, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..._traffic.host.host import GATEWAY_NAME
from ..findings import ANALYZER, KIALI, KUBERNETES, OURS, parts
from ..object_index import EVERYWHERE, World, contains, labels, namespace, place_text, quoted, spec

KINDS = ("AuthorizationPolicy", "RequestAuthentication", "Telemetry", "WasmPlugin")
# What a target may be -> our word for its kind.
TARGETS = {
    "Gateway": "RouteGateway",
    "Service": "Service",
    "ServiceEntry": "ServiceEntry",
    "GatewayClass": "GatewayClass",
}


def selector(obj: Object) -> dict[str, str]:
    """The labels of the pods that a policy is for; empty: all of its namespace."""
    return (spec(obj).get("selector") or {}).get("matchLabels") or {}


def targets(obj: Object) -> list[tuple[str, dict[str, Any]]]:
    single = spec(obj).get("targetRef")
    return [*([("spec.targetRef", single)] if single else []), *parts(spec(obj).get("targetRefs"), "spec.targetRefs")]


def covers(world: World, policy: Object, pod: Object) -> bool:
    """Whether a policy is for a pod, by its namespace and selector."""
    return not targets(policy) and namespace(policy) in (world.root, namespace(pod)) and contains(pod, selector(policy))


def pods_of(world: World, policy: Object) -> list[Object]:
    return world.selected(EVERYWHERE if namespace(policy) == world.root else namespace(policy), selector(policy))


def selects_nothing(kind: str) -> Callable[[World], Iterator[FieldFinding]]:
    def judge(world: World) -> Iterator[FieldFinding]:
        for obj in world[kind] if world.knows_pods else ():
            if selector(obj) and not pods_of(world, obj):
                yield FieldFinding(obj, "spec.selector", f"no pod has the labels {quoted(selector(obj))}")

    return judge


def whole_namespace_twice(kind: str) -> Callable[[World], Iterator[FieldFinding]]:
    def judge(world: World) -> Iterator[FieldFinding]:
        whole = [obj for obj in world[kind] if not selector(obj) and not targets(obj)]
        for obj in whole:
            others = sorted(
                place_text(other) for other in whole if other is not obj and namespace(other) == namespace(obj)
            )
            if others:
                yield FieldFinding(
                    obj,
                    "spec.selector",
                    f"{kind} {', '.join(others)} also applies to the whole namespace: the oldest one is used",
                )

    return judge


def same_pods_twice(kind: str) -> Callable[[World], Iterator[FieldFinding]]:
    def judge(world: World) -> Iterator[FieldFinding]:
        chosen = [obj for obj in world[kind] if selector(obj)]
        for obj in chosen:
            pods = world.selected(namespace(obj), selector(obj))
            others = sorted(
                place_text(other)
                for other in chosen
                if other is not obj
                and namespace(other) == namespace(obj)
                and any(contains(pod, selector(other)) for pod in pods)
            )
            if others:
                yield FieldFinding(
                    obj,
                    "spec.selector",
                    f"{kind} {', '.join(others)} selects some of the same pods: the oldest one is used",
                )

    return judge


def selector_ineffective(world: World) -> Iterator[FieldFinding]:
    gateways = [pod for pod in world.pods if GATEWAY_NAME in labels(pod)]
    for kind in KINDS:
        for obj in world[kind]:
            caught = next(
                (
                    pod
                    for pod in gateways
                    if selector(obj)
                    and not targets(obj)
                    and namespace(pod) == namespace(obj)
                    and contains(pod, selector(obj))
                ),
                None,
            )
            if caught:
                yield FieldFinding(
                    obj,
                    "spec.selector",
                    f"Gateway {labels(caught)[GATEWAY_NAME]} of the Gateway API needs targetRefs: the selector of its"
                    " pods has no effect",
                )


def selector_and_targets(world: World) -> Iterator[FieldFinding]:
    for kind in KINDS:
        for obj in world[kind]:
            if spec(obj).get("selector") is not None and targets(obj):
                yield FieldFinding(obj, targets(obj)[0][0], "it has both selector and targetRefs: set only one of them")


def target_missing(world: World) -> Iterator[FieldFinding]:
    for kind in KINDS:
        for obj in world[kind]:
            for field, target in targets(obj):
                ours = TARGETS.get(target.get("kind") or "")
                space = "" if ours == "GatewayClass" else namespace(obj)
                if ours and world.knows(ours) and not world.find(ours, space, target.get("name") or ""):
                    yield FieldFinding(
                        obj, field, f"{target['kind']} {target.get('name')} does not exist in its namespace"
                    )


CHECKS = (
    Check("selector_ineffective", WARNING, selector_ineffective, "A policy selects the pods of a Gateway API gateway.",
          "Name the Gateway in targetRefs.", ANALYZER("IST0166")),
    Check("selector_and_targets", ERROR, selector_and_targets, "A policy has both a selector and targetRefs.",
          "Keep one of them.", KUBERNETES),
    Check("target_missing", WARNING, target_missing, "The target of a policy does not exist.",
          "Correct the name, or create the target first.", OURS),
    Check("peer_selects_nothing", WARNING, selects_nothing("PeerAuthentication"),
          "The selector of a PeerAuthentication selects no pod.", "Correct the labels.", KIALI("KIA0004")),
    Check("peer_policies_repeated", WARNING, whole_namespace_twice("PeerAuthentication"),
          "Two PeerAuthentications apply to the whole namespace.", "Keep one.", KIALI("KIA0002")),
    Check("peer_policies_overlap", WARNING, same_pods_twice("PeerAuthentication"),
          "Two PeerAuthentications select the same pod.", "Change the selectors so that they do not overlap.",
          KIALI("KIA0003")),
    Check("authentication_selects_nothing", WARNING, selects_nothing("RequestAuthentication"),
          "The selector of a RequestAuthentication selects no pod.", "Correct the labels.", KIALI("KIA0004")),
    Check("wasm_selects_nothing", INFO, selects_nothing("WasmPlugin"), "The selector of a WasmPlugin selects no pod.",
          "Correct the labels.", KIALI("KIA0004")),
)  # fmt: skip
