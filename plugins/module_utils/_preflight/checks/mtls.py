# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom mutual TLS would shut out, as far as objects tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..._checks.check import ERROR, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..._istio.dataplane import injection
from ..findings import KUBERNETES, OURS, WEBHOOK
from ..object_index import World, contains, name, namespace, place_text, spec
from .policies import covers, selector

MODES = ("UNSET", "DISABLE", "PERMISSIVE", "STRICT")
FROM_OUTSIDE = ("NodePort", "LoadBalancer")


def strict(world: World, pod: Object) -> Object | None:
    """The policy by which a pod takes nothing but mutual TLS; the narrowest one holds."""
    own = [obj for obj in world["PeerAuthentication"] if covers(world, obj, pod) and _mode(obj) != "UNSET"]
    ranked = sorted(own, key=lambda obj: (not selector(obj), namespace(obj) != namespace(pod)))
    return ranked[0] if ranked and _mode(ranked[0]) == "STRICT" and not spec(ranked[0]).get("portLevelMtls") else None


def _mode(obj: Object) -> str:
    return str((spec(obj).get("mtls") or {}).get("mode") or "UNSET")


def peer_ports_without_selector(world: World) -> Iterator[FieldFinding]:
    for obj in world["PeerAuthentication"]:
        if spec(obj).get("portLevelMtls") and not selector(obj):
            yield FieldFinding(obj, "spec.portLevelMtls", "it sets modes for ports, but has no selector")


def peer_mode_unknown(world: World) -> Iterator[FieldFinding]:
    for obj in world["PeerAuthentication"]:
        given = [
            ("spec.mtls.mode", _mode(obj)),
            *(
                (f"spec.portLevelMtls.{port}.mode", (level or {}).get("mode") or "UNSET")
                for port, level in (spec(obj).get("portLevelMtls") or {}).items()
            ),
        ]
        for field, mode in given:
            if mode not in MODES:
                yield FieldFinding(obj, field, f"{mode} is not one of {', '.join(MODES)}")


def strict_with_plain_clients(world: World) -> Iterator[FieldFinding]:
    """Clients without a proxy, known by what their containers are given: a Service's name in an argument or
    variable.
    """
    if not any(_mode(obj) == "STRICT" for obj in world["PeerAuthentication"]):
        return
    plain = [pod for own in world.members.values() for pod in own if not world.enrolled(pod) and not world.ambient(pod)]
    texts = [(pod, text) for pod in plain for text in _given(pod)]
    told = set()
    for service, policy in _strict_services(world):
        for pod, text in texts:
            host = f"{name(service)}.{namespace(service)}" if namespace(pod) != namespace(service) else name(service)
            if (place_text(policy), place_text(pod)) not in told and re.search(
                rf"(^|[/@,\s=]){re.escape(host)}(\.[a-z.]*)?(:\d+|/|,|\s|$)", text
            ):
                told.add((place_text(policy), place_text(pod)))
                yield FieldFinding(
                    policy,
                    "spec.mtls.mode",
                    f"Pod {place_text(pod)} has no proxy and uses {host}: it would lose access",
                )


def _strict_services(world: World) -> list[tuple[Object, Object]]:
    """(Service, policy) of Services with pods in the mesh that take nothing but mutual TLS."""
    found = []
    for service in world["Service"]:
        wanted = spec(service).get("selector")
        pods = [pod for pod in world.selected(namespace(service), wanted) if world.enrolled(pod)] if wanted else []
        policy = next(filter(None, (strict(world, pod) for pod in pods)), None)
        if policy:
            found.append((service, policy))
    return found


def _given(pod: Object) -> list[str]:
    """Texts that containers are given: arguments, commands and variables."""
    containers: list[dict[str, Any]] = spec(pod).get("containers") or []
    found: list[Any] = []
    for container in containers:
        found += [entry.get("value") for entry in container.get("env") or []]
        found += [*(container.get("command") or []), *(container.get("args") or [])]
    return [text for text in found if isinstance(text, str)]


def strict_from_outside(world: World) -> Iterator[FieldFinding]:
    for service, policy in _strict_services(world):
        pods = world.selected(namespace(service), spec(service)["selector"])
        if (
            spec(service).get("type") in FROM_OUTSIDE
            and not any(injection.is_gateway(pod) for pod in pods)
            and not injection.is_gateway(service)
        ):
            yield FieldFinding(
                service,
                "spec.type",
                f"{spec(service)['type']} is for external clients without a proxy, but PeerAuthentication"
                f" {place_text(policy)} accepts only mutual TLS",
            )


def pods_of_strict_not_enrolled(world: World) -> Iterator[FieldFinding]:
    for obj in world["PeerAuthentication"]:
        if _mode(obj) != "STRICT" or namespace(obj) == world.root:
            continue
        bare = [
            pod
            for pod in world.pods
            if namespace(pod) == namespace(obj)
            and contains(pod, selector(obj))
            and not world.enrolled(pod)
            and not world.ambient(pod)
        ]
        if bare:
            yield FieldFinding(
                obj, "spec.mtls.mode", f"Pod {place_text(bare[0])} has no proxy: it still accepts plaintext"
            )


CHECKS = (
    Check("peer_ports_without_selector", ERROR, peer_ports_without_selector,
          "A PeerAuthentication sets modes for ports, but has no selector.", "Select the workload of the ports.",
          KUBERNETES),
    Check("peer_mode_unknown", ERROR, peer_mode_unknown, "The mode of mutual TLS is not valid.",
          "Use STRICT, PERMISSIVE, DISABLE or UNSET.", WEBHOOK),
    Check("strict_with_plain_clients", ERROR, strict_with_plain_clients,
          "Pods without a proxy are clients of pods that accept only mutual TLS.",
          "Enroll the clients, or use PERMISSIVE until they are enrolled.", OURS),
    Check("strict_from_outside", WARNING, strict_from_outside,
          "A Service for external clients leads to pods that accept only mutual TLS.",
          "Route external clients through a gateway.", OURS),
    Check("pods_of_strict_not_enrolled", WARNING, pods_of_strict_not_enrolled,
          "STRICT applies to pods without a proxy.", "Enroll them.", OURS),
)  # fmt: skip
