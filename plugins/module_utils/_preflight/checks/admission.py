# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhooks, definitions, and the shape of what is asked about."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import product
from typing import Any
from urllib.parse import urlsplit

from ..._checks.check import ERROR, INFO, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..._engine.selectors import selects
from ..findings import ANALYZER, KUBERNETES, OURS
from ..object_index import (
    EXTENSIONS,
    KINDS,
    NETWORKING,
    SECURITY,
    TELEMETRY,
    World,
    kind_of,
    labels,
    name,
    namespace,
    spec,
)
from ..schema_guard import misfits

REVISION, INJECTION = "istio.io/rev", "istio-injection"
ISTIOS = (NETWORKING, SECURITY, TELEMETRY, EXTENSIONS)
OLD_VERSIONS = ("v1alpha3", "v1beta1")
# Kinds that have no version v1.
WITHOUT_V1 = {"EnvoyFilter", "ProxyConfig", "WasmPlugin", "TrafficExtension"}
# pkg/config/analysis, GatewayAPICRDVersionBelowMinimum: kind -> the bundle from which on istiod reads it.
BUNDLE, NEEDED = "gateway.networking.k8s.io/bundle-version", {"tlsroutes.gateway.networking.k8s.io": (1, 5)}
PERMUTED: tuple[dict[str, str], ...] = ({}, {INJECTION: "enabled"}, {INJECTION: "disabled"})
PODS: tuple[dict[str, str], ...] = ({}, {"sidecar.istio.io/inject": "true"}, {"sidecar.istio.io/inject": "false"})


def shape_wrong(world: World) -> Iterator[FieldFinding]:
    for obj in world.misshapen:
        for field, wanted in misfits(kind_of(obj), obj):
            yield FieldFinding(obj, field, f"it must be {wanted}")


def version_old(world: World) -> Iterator[FieldFinding]:
    """The server answers in the version that is stored, so that only what is asked about says its own."""
    for kind, (group, _kind) in KINDS.items():
        for obj in world[kind] if group in ISTIOS and kind not in WITHOUT_V1 else ():
            version = obj["apiVersion"].rpartition("/")[2]
            if version in OLD_VERSIONS:
                yield FieldFinding(obj, "apiVersion", f"{version} is an old version")


def _injectors(world: World) -> list[tuple[Object, dict[str, Any]]]:
    """(configuration, entry) of all that inject sidecars."""
    return [
        (obj, hook)
        for obj in world["MutatingWebhookConfiguration"]
        for hook in obj.get("webhooks") or []
        if str(hook.get("name")).endswith("istio.io") or labels(obj).get(REVISION)
    ]


def _revisions(entries: list[tuple[Object, dict[str, Any]]]) -> set[str]:
    found = {labels(obj)[REVISION] for obj, _hook in entries if REVISION in labels(obj)}
    for _obj, hook in entries:
        for selector in (hook.get("namespaceSelector") or {}, hook.get("objectSelector") or {}):
            found |= {value for key, value in (selector.get("matchLabels") or {}).items() if key == REVISION}
            found |= {
                value
                for one in selector.get("matchExpressions") or []
                if one.get("key") == REVISION
                for value in one.get("values") or []
            }
    return found


def injectors_overlap(world: World) -> Iterator[FieldFinding]:
    entries = _injectors(world)
    revisions: list[dict[str, str]] = [{}, *({REVISION: revision} for revision in sorted(_revisions(entries)))]
    told = set()
    for space, pod, own, other in product(PERMUTED, PODS, revisions, revisions):
        taken = [
            (obj, hook)
            for obj, hook in entries
            if selects(hook.get("namespaceSelector"), {**space, **own})
            and selects(hook.get("objectSelector"), {**pod, **other})
        ]
        for obj, hook in taken if len(taken) > 1 else ():
            if (name(obj), hook.get("name")) not in told:
                told.add((name(obj), hook.get("name")))
                others = sorted({f"{name(one)} ({entry.get('name')})" for one, entry in taken if entry is not hook})
                yield FieldFinding(obj, "webhooks", f"{hook.get('name')} injects the same pods as {', '.join(others)}")


def injector_no_service(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Service"):
        return
    for obj, hook in _injectors(world):
        service = (hook.get("clientConfig") or {}).get("service") or {}
        place = f"{service.get('namespace')}/{service.get('name')}"
        if service and not world.find("Service", service.get("namespace") or "", service.get("name") or ""):
            yield FieldFinding(obj, "webhooks", f"{hook.get('name')} uses Service {place}, which does not exist")


def _outside(world: World) -> Iterator[tuple[Object, dict[str, Any]]]:
    """(configuration, entry) of webhooks that an istiod elsewhere may answer."""
    for kind, heads in (
        ("ValidatingWebhookConfiguration", ("istiod-default-validator", "istio-validator")),
        ("MutatingWebhookConfiguration", ("istio-sidecar-injector",)),
    ):
        for obj in world[kind]:
            for hook in obj.get("webhooks") or [] if name(obj).startswith(heads) else ():
                yield obj, hook


def webhook_no_address(world: World) -> Iterator[FieldFinding]:
    for obj, hook in _outside(world):
        config = hook.get("clientConfig") or {}
        if config.get("service") is None and not _host(config.get("url") or ""):
            yield FieldFinding(obj, "webhooks", f"{hook.get('name')} has neither a Service nor a URL")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def webhook_at_address(world: World) -> Iterator[FieldFinding]:
    for obj, hook in _outside(world):
        host = _host((hook.get("clientConfig") or {}).get("url") or "")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            continue
        yield FieldFinding(
            obj, "webhooks", f"{hook.get('name')} uses the address {host}, which no certificate for a host name matches"
        )


def validated_by_none(world: World) -> Iterator[FieldFinding]:
    if not world.complete or "ValidatingWebhookConfiguration" in world.refused:
        return
    hooks = [hook for obj in world["ValidatingWebhookConfiguration"] for hook in obj.get("webhooks") or []]
    for kind, (group, _kind) in KINDS.items():
        for obj in world[kind] if group in ISTIOS else ():
            space = {"kubernetes.io/metadata.name": namespace(obj), **world.namespace_labels(namespace(obj))}
            if not any(
                _validates(hook, group)
                and selects(hook.get("objectSelector"), labels(obj))
                and selects(hook.get("namespaceSelector"), space)
                for hook in hooks
            ):
                yield FieldFinding(
                    obj,
                    "metadata.labels",
                    "no webhook validates it: the API server accepts everything that its CRD allows",
                )


def _validates(hook: dict[str, Any], group: str) -> bool:
    return any({group, "*"} & set(rule.get("apiGroups") or []) for rule in hook.get("rules") or [])


def definition_old(world: World) -> Iterator[FieldFinding]:
    for obj in world["CustomResourceDefinition"]:
        found = [
            int(part)
            for part in ((obj["metadata"].get("annotations") or {}).get(BUNDLE) or "").lstrip("v").split(".")[:2]
            if part.isdigit()
        ]
        least = NEEDED.get(name(obj))
        if least and len(found) == 2 and tuple(found) < least:
            yield FieldFinding(
                obj,
                f"metadata.annotations.{BUNDLE}",
                f"its version is {'.'.join(map(str, found))}, and istiod needs {'.'.join(map(str, least))} or newer",
            )


def definition_gone(world: World) -> Iterator[FieldFinding]:
    for obj in world["CustomResourceDefinition"]:
        if (spec(obj).get("group") or name(obj).partition(".")[2]) in (
            "rbac.istio.io",
            "authentication.istio.io",
            "config.istio.io",
        ):
            yield FieldFinding(obj, "spec.group", "Istio has removed this API: nothing reads its objects")


CHECKS = (
    Check("shape_wrong", ERROR, shape_wrong, "A field has the wrong type. The object is not checked any further.",
          "Correct the type of the field.", ANALYZER("IST0106") + ", definition"),
    Check("version_old", WARNING, version_old, "An object uses an old API version.", "Use v1.", KUBERNETES),
    Check("injectors_overlap", ERROR, injectors_overlap, "Two webhooks inject the same pods.",
          "Move the revision tag, or remove the older control plane.", ANALYZER("IST0139")),
    Check("injector_no_service", ERROR, injector_no_service, "The Service of an injection webhook does not exist.",
          "Install the control plane of the webhook, or delete the webhook.", ANALYZER("IST0139")),
    Check("webhook_no_address", WARNING, webhook_no_address, "A webhook has neither a Service nor a URL.",
          "Set the URL of the control plane.", ANALYZER("IST0163")),
    Check("webhook_at_address", INFO, webhook_at_address, "A webhook uses an IP address instead of a host name.",
          "Use a host name that the control plane's certificate contains.", ANALYZER("IST0164")),
    Check("validated_by_none", WARNING, validated_by_none, "No webhook validates an object.",
          "Label the object with its revision, or create a default revision. Its webhook validates objects without a "
          "revision label.", OURS),
    Check("definition_old", WARNING, definition_old, "A Gateway API CRD is so old that istiod ignores its objects.",
          "Install the CRDs of a newer Gateway API release.", ANALYZER("IST0176")),
    Check("definition_gone", WARNING, definition_gone, "A CRD belongs to an API that Istio has removed.",
          "Use AuthorizationPolicies instead, and delete the CRD.", ANALYZER("IST0002")),
)  # fmt: skip
