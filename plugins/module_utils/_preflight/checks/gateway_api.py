# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateway API: what istiod's webhook never sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..._checks.check import ERROR, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..findings import ANALYZER, KIALI, OURS, parts
from ..object_index import GATEWAY_API, World, namespace, overlaps, place_text, spec

ROUTES = ("HTTPRoute", "GRPCRoute")
# Condition -> kinds of which it tells something bad when it is False.
CONDITIONS = {
    "istio.io/WaypointBound": ("Service", "ServiceEntry", "WorkloadEntry"),
    "ZtunnelAccepted": ("AuthorizationPolicy",),
    "WaypointAccepted": ("AuthorizationPolicy",),
    **{condition: ("RouteGateway", *ROUTES) for condition in ("Accepted", "Programmed", "ResolvedRefs")},
}


def routes(world: World) -> Iterator[Object]:
    for kind in ROUTES:
        yield from world[kind]


def route_no_parent(world: World) -> Iterator[FieldFinding]:
    for obj in routes(world):
        for field, ref in parts(spec(obj).get("parentRefs"), "spec.parentRefs"):
            kind = {"Gateway": "RouteGateway", "Service": "Service", "ServiceEntry": "ServiceEntry"}.get(
                ref.get("kind") or "Gateway", ""
            )
            space = ref.get("namespace") or namespace(obj)
            if kind and world.knows(kind) and not world.find(kind, space, ref.get("name") or ""):
                yield FieldFinding(
                    obj, field, f"{ref.get('kind') or 'Gateway'} {space}/{ref.get('name')} does not exist"
                )


def route_no_listener(world: World) -> Iterator[FieldFinding]:
    for obj in routes(world):
        for field, ref in parts(spec(obj).get("parentRefs"), "spec.parentRefs"):
            gateway = (
                world.find("RouteGateway", ref.get("namespace") or namespace(obj), ref.get("name") or "")
                if (ref.get("kind") or "Gateway") == "Gateway"
                else None
            )
            if not gateway:
                continue
            listeners = [
                one for one in spec(gateway).get("listeners") or [] if ref.get("sectionName") in (None, one.get("name"))
            ]
            names = spec(obj).get("hostnames") or []
            if not listeners:
                yield FieldFinding(
                    obj,
                    f"{field}.sectionName",
                    f"Gateway {place_text(gateway)} has no listener {ref.get('sectionName')}",
                )
            elif names and not any(
                not one.get("hostname") or overlaps(one["hostname"], host) for one in listeners for host in names
            ):
                yield FieldFinding(
                    obj, "spec.hostnames", f"no listener of Gateway {place_text(gateway)} matches {', '.join(names)}"
                )


def _backends(world: World) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    for obj in routes(world):
        for field, rule in parts(spec(obj).get("rules"), "spec.rules"):
            for path, ref in parts(rule.get("backendRefs"), f"{field}.backendRefs"):
                if (ref.get("kind") or "Service") == "Service" and not ref.get("group"):
                    yield obj, path, ref


def route_no_backend(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Service"):
        return
    for obj, field, ref in _backends(world):
        space = ref.get("namespace") or namespace(obj)
        service = world.find("Service", space, ref.get("name") or "")
        if not service:
            yield FieldFinding(obj, field, f"Service {space}/{ref.get('name')} does not exist")
        elif ref.get("port") and ref["port"] not in [port.get("port") for port in spec(service).get("ports") or []]:
            yield FieldFinding(obj, f"{field}.port", f"Service {space}/{ref['name']} has no port {ref['port']}")


def backend_not_granted(world: World) -> Iterator[FieldFinding]:
    if not world.knows("ReferenceGrant", "Service"):
        return
    for obj, field, ref in _backends(world):
        space = ref.get("namespace") or namespace(obj)
        if space != namespace(obj) and not any(
            _grants(grant, obj, ref) for grant in world["ReferenceGrant"] if namespace(grant) == space
        ):
            yield FieldFinding(
                obj,
                f"{field}.namespace",
                f"namespace {space} has no ReferenceGrant for a {obj['kind']} of {namespace(obj)}",
            )


def _grants(grant: Object, route: Object, ref: dict[str, Any]) -> bool:
    given = any(
        one.get("group") == GATEWAY_API
        and one.get("kind") == route["kind"]
        and one.get("namespace") == namespace(route)
        for one in spec(grant).get("from") or []
    )
    return given and any(
        (one.get("kind") or "Service") == "Service" and one.get("name") in (None, ref.get("name"))
        for one in spec(grant).get("to") or []
    )


def grant_no_namespace(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Namespace"):
        return
    for obj in world["ReferenceGrant"]:
        for field, one in parts(spec(obj).get("from"), "spec.from"):
            if one.get("namespace") and not world.find("Namespace", "", one["namespace"]):
                yield FieldFinding(obj, f"{field}.namespace", f"namespace {one['namespace']} does not exist")


def route_weights_zero(world: World) -> Iterator[FieldFinding]:
    for obj in routes(world):
        for field, rule in parts(spec(obj).get("rules"), "spec.rules"):
            backends = rule.get("backendRefs") or []
            if backends and all(ref.get("weight") == 0 for ref in backends):
                yield FieldFinding(
                    obj, f"{field}.backendRefs", "all its backends have weight 0: every request fails with status 500"
                )


def listeners_conflict(world: World) -> Iterator[FieldFinding]:
    for obj in world["RouteGateway"]:
        listeners = spec(obj).get("listeners") or []
        names = Counter(one.get("name") for one in listeners)
        ports = Counter((one.get("port"), one.get("protocol"), one.get("hostname") or "*") for one in listeners)
        for number, one in enumerate(listeners):
            if names[one.get("name")] > 1:
                yield FieldFinding(
                    obj, f"spec.listeners[{number}].name", f"another listener has the name {one.get('name')}"
                )
            elif ports[(one.get("port"), one.get("protocol"), one.get("hostname") or "*")] > 1:
                yield FieldFinding(
                    obj,
                    f"spec.listeners[{number}]",
                    f"another listener has port {one.get('port')} and host {one.get('hostname') or '*'}",
                )


def route_gateway_no_class(world: World) -> Iterator[FieldFinding]:
    if not world.knows("GatewayClass"):
        return
    for obj in world["RouteGateway"]:
        if not world.find("GatewayClass", "", spec(obj).get("gatewayClassName") or ""):
            yield FieldFinding(
                obj, "spec.gatewayClassName", f"GatewayClass {spec(obj).get('gatewayClassName')} does not exist"
            )


def listener_no_secret(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Secret"):
        return
    for obj in world["RouteGateway"]:
        for field, one in parts(spec(obj).get("listeners"), "spec.listeners"):
            for path, ref in parts((one.get("tls") or {}).get("certificateRefs"), f"{field}.tls.certificateRefs"):
                space = ref.get("namespace") or namespace(obj)
                if ref.get("kind", "Secret") == "Secret" and not world.find("Secret", space, ref.get("name") or ""):
                    yield FieldFinding(obj, path, f"Secret {space}/{ref.get('name')} does not exist")


def condition_negative(world: World) -> Iterator[FieldFinding]:
    for kind in sorted({kind for kinds in CONDITIONS.values() for kind in kinds}):
        for obj in world[kind]:
            status = obj.get("status") or {}
            given = [
                *(status.get("conditions") or []),
                *(one for parent in status.get("parents") or [] for one in parent.get("conditions") or []),
            ]
            for one in given:
                partial = one.get("type") == "WaypointAccepted" and one.get("reason") == "PartiallyInvalid"
                if kind in CONDITIONS.get(one.get("type") or "", ()) and (one.get("status") == "False" or partial):
                    yield FieldFinding(
                        obj,
                        "status.conditions",
                        f"{one['type']} is {one.get('status')} ({one.get('reason') or 'no reason'}):"
                        f" {one.get('message') or 'no message'}",
                    )


CHECKS = (
    Check("route_no_parent", ERROR, route_no_parent, "The parent of a Gateway API route does not exist.",
          "Correct the name, or create the Gateway first.", KIALI("KIA1401")),
    Check("route_no_listener", ERROR, route_no_listener, "No listener of the Gateway accepts a route.",
          "Correct sectionName or hostnames.", OURS),
    Check("route_no_backend", ERROR, route_no_backend, "The Service or port of a Gateway API route does not exist.",
          "Correct the name, or create the Service first.", KIALI("KIA1402")),
    Check("backend_not_granted", ERROR, backend_not_granted,
          "A route sends to a Service of another namespace without a ReferenceGrant.",
          "Create a ReferenceGrant in the namespace of the Service.", OURS),
    Check("grant_no_namespace", WARNING, grant_no_namespace, "A ReferenceGrant names a namespace that does not exist.",
          "Correct the name.", KIALI("KIA1601")),
    Check("route_weights_zero", ERROR, route_weights_zero, "All backends of a rule have weight 0.",
          "Set a weight above 0 for one of them.", OURS),
    Check("listeners_conflict", ERROR, listeners_conflict,
          "Two listeners of a Gateway have the same name, or the same port and host.", "Change one of them.",
          KIALI("KIA1501 to KIA1504")),
    Check("route_gateway_no_class", ERROR, route_gateway_no_class, "The GatewayClass of a Gateway does not exist.",
          "Use a class that istiod serves, such as istio.",
          OURS),
    Check("listener_no_secret", ERROR, listener_no_secret, "The Secret of a listener does not exist.",
          "Create the Secret, or correct the name.", OURS),
    Check("condition_negative", WARNING, condition_negative, "A controller reports that an object is not in effect.",
          "Fix the reason that the controller reports.",
          ANALYZER("IST0171")),
)  # fmt: skip
