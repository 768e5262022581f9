# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry and EnvoyFilter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..._checks.check import ERROR, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..findings import ANALYZER, WEBHOOK, parts
from ..object_index import World, contains, namespace, place_text, quoted, spec
from .policies import selector, targets

NOT_OF_ROUTES = ("ROUTE_CONFIGURATION", "HTTP_ROUTE")
REPLACED = ("NETWORK_FILTER", "HTTP_FILTER", "VIRTUAL_HOST")
RELATIVE = ("INSERT_BEFORE", "INSERT_AFTER", "REPLACE", "REMOVE")


def telemetry_no_provider(world: World) -> Iterator[FieldFinding]:
    if (world.mesh.get("defaultProviders") or {}).get("accessLogging"):
        return
    for obj in world["Telemetry"]:
        for field, logging in parts(spec(obj).get("accessLogging"), "spec.accessLogging"):
            if not logging.get("disabled") and not logging.get("providers"):
                yield FieldFinding(
                    obj, field, "it names no provider, and the mesh has no default provider, so nothing is logged"
                )


def telemetry_provider_unknown(world: World) -> Iterator[FieldFinding]:
    if not world.mesh:
        return
    known = {str(provider.get("name")) for provider in world.mesh.get("extensionProviders") or []} | {
        "prometheus",
        "stackdriver",
        "envoy",
    }
    for obj in world["Telemetry"]:
        for key in ("accessLogging", "tracing", "metrics"):
            for field, part in parts(spec(obj).get(key), f"spec.{key}"):
                for provider in part.get("providers") or []:
                    if provider.get("name") not in known:
                        yield FieldFinding(
                            obj,
                            f"{field}.providers",
                            f"the mesh config does not define provider {provider.get('name')}",
                        )


def telemetry_values_wrong(world: World) -> Iterator[FieldFinding]:
    for obj in world["Telemetry"]:
        for field, tracing in parts(spec(obj).get("tracing"), "spec.tracing"):
            percent = tracing.get("randomSamplingPercentage")
            if percent is not None and not 0 <= percent <= 100:
                yield FieldFinding(obj, f"{field}.randomSamplingPercentage", f"{percent} is not a valid percentage")
            if len(tracing.get("providers") or []) > 1:
                yield FieldFinding(obj, f"{field}.providers", "only one tracing provider is supported")
        for key in ("accessLogging", "tracing", "metrics"):
            for field, part in parts(spec(obj).get(key), f"spec.{key}"):
                if any(not provider.get("name") for provider in part.get("providers") or []):
                    yield FieldFinding(obj, f"{field}.providers", "a provider has no name")


def telemetry_selects_nothing(world: World) -> Iterator[FieldFinding]:
    if not world.knows_pods:
        return
    for obj in world["Telemetry"]:
        if selector(obj) and not world.selected(namespace(obj), selector(obj)):
            yield FieldFinding(obj, "spec.selector", f"no pod of its namespace has the labels {quoted(selector(obj))}")


def telemetries_overlap(world: World) -> Iterator[FieldFinding]:
    chosen = [obj for obj in world["Telemetry"] if selector(obj)]
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
                f"Telemetry {', '.join(others)} selects some of the same pods, and it is not defined which one is used",
            )


def telemetries_without_selector(world: World) -> Iterator[FieldFinding]:
    whole = [obj for obj in world["Telemetry"] if spec(obj).get("selector") is None and not targets(obj)]
    for obj in whole:
        others = sorted(place_text(other) for other in whole if other is not obj and namespace(other) == namespace(obj))
        if others:
            yield FieldFinding(
                obj, "spec.selector", f"Telemetry {', '.join(others)} also applies to the whole namespace"
            )


def _patches(world: World) -> Iterator[tuple[Object, str, dict[str, Any], str, str]]:
    """(EnvoyFilter, field, patch, operation, what it is applied to) of each patch that says one."""
    for obj in world["EnvoyFilter"]:
        for field, patch in parts(spec(obj).get("configPatches"), "spec.configPatches"):
            if patch.get("patch") is None:
                break
            yield (
                obj,
                f"{field}.patch.operation",
                patch,
                str(patch["patch"].get("operation") or ""),
                str(patch.get("applyTo") or ""),
            )


def filter_replaces_wrongly(world: World) -> Iterator[FieldFinding]:
    for obj, field, _patch, operation, target in _patches(world):
        if operation == "REPLACE" and target not in REPLACED:
            yield FieldFinding(
                obj, field, f"REPLACE is supported for {', '.join(REPLACED)}, not for {target or 'an empty target'}"
            )


def filter_adds_wrongly(world: World) -> Iterator[FieldFinding]:
    for obj, field, _patch, operation, target in _patches(world):
        if operation == "ADD" and target in NOT_OF_ROUTES:
            yield FieldFinding(obj, field, f"ADD has no effect on {target}")


def filter_removes_wrongly(world: World) -> Iterator[FieldFinding]:
    for obj, field, _patch, operation, target in _patches(world):
        if operation == "REMOVE" and target in NOT_OF_ROUTES:
            yield FieldFinding(obj, field, f"REMOVE has no effect on {target}")


def _relative(world: World) -> Iterator[tuple[Object, str, str, bool]]:
    """(EnvoyFilter, field, operation, whether a patch of the same filter before it is for one version of the proxy)"""
    versioned: list[str] = []
    for obj, field, patch, operation, target in _patches(world):
        named = _filter_name(patch)
        wrong = (operation == "REPLACE" and target not in REPLACED) or (
            operation == "REMOVE" and target in NOT_OF_ROUTES
        )
        if operation in RELATIVE and not wrong and not spec(obj).get("priority"):
            yield obj, field, operation, named in versioned
        if ((patch.get("match") or {}).get("proxy") or {}).get("proxyVersion"):
            versioned.append(named)


def _filter_name(patch: dict[str, Any]) -> str:
    value = patch["patch"].get("value") or {}
    chain = (((patch.get("match") or {}).get("listener") or {}).get("filterChain") or {}) if value else {}
    return str(value.get("name") or (chain.get("filter") or {}).get("name") or "")


def filter_relative(world: World) -> Iterator[FieldFinding]:
    for obj, field, operation, versioned in _relative(world):
        if not versioned:
            yield FieldFinding(obj, field, f"{operation} depends on the order of the filters, and it has no priority")


def filter_relative_by_version(world: World) -> Iterator[FieldFinding]:
    for obj, field, operation, versioned in _relative(world):
        if versioned:
            yield FieldFinding(
                obj,
                field,
                f"{operation} has no priority, and a filter of the same name applies only to one proxy version",
            )


CHECKS = (
    Check("telemetry_no_provider", WARNING, telemetry_no_provider,
          "Access logging names no provider, and the mesh has no default provider.", "Set a provider, such as envoy.",
          ANALYZER("IST0157")),
    Check("telemetry_provider_unknown", ERROR, telemetry_provider_unknown,
          "Telemetry names a provider that the mesh config does not define.",
          "Add the provider to extensionProviders of the mesh config, or correct the name.", "istio.io, Telemetry API"),
    Check("telemetry_values_wrong", ERROR, telemetry_values_wrong,
          "Telemetry has a percentage that is not valid, several tracing providers, or a provider without a name.",
          "Set a percentage from 0 to 100, and the name of one provider.", WEBHOOK),
    Check("telemetry_selects_nothing", ERROR, telemetry_selects_nothing, "The selector of a Telemetry selects no pod.",
          "Correct the labels.", ANALYZER("IST0101") + ", Kiali KIA0004"),
    Check("telemetries_overlap", ERROR, telemetries_overlap, "Two Telemetries select the same pod.",
          "Change the selectors so that they do not overlap.", ANALYZER("IST0159") + ", Kiali KIA0003"),
    Check("telemetries_without_selector", ERROR, telemetries_without_selector,
          "Two Telemetries of a namespace have no selector.", "Keep one for the whole namespace.",
          ANALYZER("IST0160") + ", Kiali KIA0002"),
    Check("filter_relative", WARNING, filter_relative, "An EnvoyFilter uses a relative operation without a priority.",
          "Set priority, or use an operation that does not depend on other filters.", ANALYZER("IST0151")),
    Check("filter_replaces_wrongly", ERROR, filter_replaces_wrongly,
          "An EnvoyFilter uses REPLACE for something that cannot be replaced.",
          "Use MERGE, or apply the patch to a filter or virtual host.", ANALYZER("IST0152")),
    Check("filter_adds_wrongly", ERROR, filter_adds_wrongly, "An EnvoyFilter uses ADD where it has no effect.",
          "Use MERGE or INSERT_BEFORE.", ANALYZER("IST0153")),
    Check("filter_removes_wrongly", ERROR, filter_removes_wrongly,
          "An EnvoyFilter uses REMOVE where it has no effect.", "Apply the patch to another element.",
          ANALYZER("IST0154")),
    Check("filter_relative_by_version", WARNING, filter_relative_by_version,
          "An EnvoyFilter uses an operation relative to a filter for one proxy version.", "Set priority.",
          ANALYZER("IST0155")),
)  # fmt: skip
