# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces, pods, Deployments and Services as the mesh needs them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..._checks.check import ERROR, INFO, WARNING, Check, FieldFinding, Finding
from ..._engine.objects import Object
from ..._engine.selectors import selects
from ..._istio.dataplane import injection
from ..._mesh.checks import workloads
from ..._mesh.facts import Facts
from ..._mesh.gate import Gate
from ..._traffic.host.port_protocol import protocol
from .. import annotations as known
from ..findings import ANALYZER, parts
from ..object_index import World, annotations_of, contains, labels, name, namespace, place_text, spec, template

PROXY_USER = 1337
CONTROLLERS = ("istio.io-gateway-controller", "istio.io-mesh-controller", "istio.io-eastwest-controller")
MANAGED = "gateway.istio.io/managed"
INJECTOR = "istio-sidecar-injector"
ANNOTATED = ("Namespace", "Service", "Pod", "Deployment")
NUMBER, FLAG = re.compile(r"^\d{1,10}$"), re.compile(r"^(true|false|1|0|t|f|T|F|TRUE|FALSE|True|False)$")
PORTS = re.compile(r"^(\*|\d{1,5}(,\s*\d{1,5})*)?$")
RANGES = re.compile(r"^(\*|[0-9a-fA-F.:]+/\d{1,3}(,\s*[0-9a-fA-F.:]+/\d{1,3})*)?$")
# Annotation -> what its value must look like (istio.io, Resource Annotations).
VALUES = {
    "sidecar.istio.io/interceptionMode": re.compile("^(REDIRECT|TPROXY|NONE)$"),
    "status.sidecar.istio.io/port": NUMBER,
    "readiness.status.sidecar.istio.io/initialDelaySeconds": NUMBER,
    "readiness.status.sidecar.istio.io/periodSeconds": NUMBER,
    "readiness.status.sidecar.istio.io/failureThreshold": NUMBER,
    "traffic.sidecar.istio.io/includeOutboundIPRanges": RANGES,
    "traffic.sidecar.istio.io/excludeOutboundIPRanges": RANGES,
    "traffic.sidecar.istio.io/includeInboundPorts": PORTS,
    "traffic.sidecar.istio.io/excludeInboundPorts": PORTS,
    "traffic.sidecar.istio.io/excludeOutboundPorts": PORTS,
    "prometheus.istio.io/merge-metrics": FLAG,
}


def _facts(world: World) -> Facts:
    """The world as the checks of a live mesh see it."""
    return Facts(world.root, "", frozenset(), {"namespaces": world["Namespace"], "pods": world["Pod"]})


def _shared(world: World, kind: str, found: list[Finding], field: str) -> Iterator[FieldFinding]:
    """Findings of a check of a live mesh, each with its object."""
    by_name = {f"{kind} {place_text(obj)}": obj for obj in world[kind]}
    for one in found:
        yield FieldFinding(by_name[one.object], field, one.message)


def _istios(obj: Object) -> bool:
    return "istio" in labels(obj) or labels(obj).get("release") == "istio"


def namespace_several_labels(world: World) -> Iterator[FieldFinding]:
    return _shared(world, "Namespace", workloads.namespace_several_labels(_facts(world), Gate()), "metadata.labels")


def _by_default(world: World) -> bool:
    """Whether the injector takes namespaces that say nothing."""
    for obj in world["ConfigMap"]:
        if name(obj) == INJECTOR:
            try:
                values = json.loads((obj.get("data") or {}).get("values") or "{}")
            except ValueError:
                continue
            part = values.get("sidecarInjectorWebhook") if isinstance(values, dict) else None
            return isinstance(part, dict) and part.get("enableNamespacesByDefault") is True
    return False


def _silent(world: World) -> list[Object]:
    """Namespaces that say nothing about the mesh."""
    own = [obj for obj in world["Namespace"] if name(obj) not in {world.root, *injection.NEVER_INJECTED}]
    return [
        obj
        for obj in own
        if not labels(obj).get(injection.INJECTION)
        and injection.REVISION not in labels(obj)
        and labels(obj).get("istio.io/dataplane-mode") != "ambient"
    ]


def namespace_not_enrolled(world: World) -> Iterator[FieldFinding]:
    for obj in _silent(world) if not _by_default(world) else ():
        yield FieldFinding(obj, "metadata.labels", "it has no label for the mesh, so its pods get no proxy")


def namespace_by_default(world: World) -> Iterator[FieldFinding]:
    for obj in _silent(world) if _by_default(world) else ():
        yield FieldFinding(
            obj,
            "metadata.labels",
            "it has no label for the mesh, but its pods get a proxy, because the webhook injects all namespaces",
        )


def pod_without_proxy(world: World) -> Iterator[FieldFinding]:
    for pod in world.pods:
        own = world.namespace_labels(namespace(pod))
        asks = own.get(injection.INJECTION) == "enabled" and namespace(pod) not in injection.NEVER_INJECTED
        if asks and not injection.has_sidecar(pod) and injection.wants_sidecar(pod, True):
            yield FieldFinding(pod, "spec.containers", "its namespace is enrolled, but the pod has no proxy")


def image_auto(world: World) -> Iterator[FieldFinding]:
    return _shared(world, "Pod", workloads.image_auto(_facts(world), Gate()), "spec.containers")


def image_auto_not_injected(world: World) -> Iterator[FieldFinding]:
    if not world.knows("MutatingWebhookConfiguration", "Namespace"):
        return
    hooks = [
        hook
        for obj in world["MutatingWebhookConfiguration"]
        for hook in obj.get("webhooks") or []
        if str(hook.get("name")).endswith("istio.io")
    ]
    for obj in world["Deployment"]:
        pod = template(obj)
        own = world.namespace_labels(namespace(obj))
        taken = any(
            selects(hook.get("namespaceSelector"), own) and selects(hook.get("objectSelector"), labels(pod))
            for hook in hooks
        )
        if (
            any(
                container.get("image") == "auto"
                for container in spec(pod).get("containers") or []
                if container.get("name") == injection.SIDECAR
            )
            and not taken
        ):
            yield FieldFinding(
                obj, "spec.template.spec.containers", "the image of its proxy is auto, but no webhook would inject it"
            )


def user_of_proxy(world: World) -> Iterator[FieldFinding]:
    for kind in ("Pod", "Deployment"):
        for obj in world[kind]:
            pod, path = (obj, "spec") if kind == "Pod" else (template(obj), "spec.template.spec")
            if _istios(obj):
                continue
            if (spec(pod).get("securityContext") or {}).get("runAsUser") == PROXY_USER:
                yield FieldFinding(
                    obj, f"{path}.securityContext.runAsUser", "it is the user of the proxy: its traffic is not captured"
                )
            for field, container in parts(spec(pod).get("containers"), f"{path}.containers"):
                if (
                    container.get("name") != injection.SIDECAR
                    and (container.get("securityContext") or {}).get("runAsUser") == PROXY_USER
                ):
                    yield FieldFinding(
                        obj,
                        f"{field}.securityContext.runAsUser",
                        "it is the user of the proxy: its traffic is not captured",
                    )


def _services(world: World) -> Iterator[tuple[Object, list[Object]]]:
    """(Deployment of the mesh, Services that lead to it)"""
    for obj in world["Deployment"]:
        pod = template(obj)
        if world.enrolled(pod) and labels(obj).get(MANAGED) != "istio.io-mesh-controller":
            yield (
                obj,
                [
                    service
                    for service in world["Service"]
                    if namespace(service) == namespace(obj)
                    and spec(service).get("selector")
                    and contains(pod, spec(service)["selector"])
                ],
            )


def port_of_two_protocols(world: World) -> Iterator[FieldFinding]:
    for obj, services in _services(world):
        by_port: dict[Any, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for service in services:
            for port in spec(service).get("ports") or []:
                by_port[port.get("port")][port.get("protocol") or "TCP"].append(name(service))
        for number, protocols in by_port.items():
            if len(protocols) > 1:
                names = ", ".join(sorted(service for own in protocols.values() for service in own))
                yield FieldFinding(
                    obj,
                    "metadata.name",
                    f"port {number} has the protocols {' and '.join(sorted(protocols))} in Services {names}",
                )


def ports_of_one_target(world: World) -> Iterator[FieldFinding]:
    for obj, services in _services(world):
        by_target: dict[str, dict[Any, str]] = defaultdict(dict)
        for service in services:
            for port in spec(service).get("ports") or []:
                by_target[str(port.get("targetPort") or port.get("port"))][port.get("port")] = name(service)
        for target, ports in by_target.items():
            if len(ports) > 1:
                yield FieldFinding(
                    obj,
                    "metadata.name",
                    f"its port {target} is the target of the ports {', '.join(map(str, sorted(ports)))} of"
                    f" {', '.join(sorted(set(ports.values())))}",
                )


def _user_services(world: World) -> Iterator[Object]:
    return (
        obj
        for obj in world["Service"]
        if not _istios(obj)
        and labels(obj).get(MANAGED) not in CONTROLLERS
        and namespace(obj) not in injection.NEVER_INJECTED
    )


def port_name_form(world: World) -> Iterator[FieldFinding]:
    for obj in _user_services(world):
        for field, port in parts(spec(obj).get("ports"), "spec.ports"):
            if not protocol(port) and spec(obj).get("type") != "ExternalName":
                yield FieldFinding(
                    obj,
                    f"{field}.name",
                    f"{port.get('name') or 'no name'} has no protocol: proxies detect it, or istiod assumes TCP",
                )


def external_name_port(world: World) -> Iterator[FieldFinding]:
    for obj in _user_services(world):
        for field, port in parts(spec(obj).get("ports"), "spec.ports"):
            if spec(obj).get("type") == "ExternalName" and (not protocol(port) or port.get("name") == "tcp"):
                yield FieldFinding(
                    obj,
                    f"{field}.name",
                    f"{port.get('name') or 'no name'} is treated as TCP: an ExternalName Service then captures all"
                    " traffic to the port",
                )


def _annotated(world: World) -> Iterator[tuple[Object, str, str]]:
    """(object, annotation, value) of all that are in Istio's names."""
    for kind in ANNOTATED:
        for obj in world[kind]:
            for key, value in annotations_of(obj).items():
                if (
                    key.partition("/")[0].endswith("istio.io") or key == "kubernetes.io/ingress.class"
                ) and key not in known.OWN:
                    yield obj, key, value


def annotation_unknown(world: World) -> Iterator[FieldFinding]:
    for obj, key, _value in _annotated(world):
        if key not in known.BELONGS:
            yield FieldFinding(obj, f"metadata.annotations.{key}", "Istio has no such annotation")


def annotation_misplaced(world: World) -> Iterator[FieldFinding]:
    for obj, key, _value in _annotated(world):
        places = known.BELONGS.get(key, ("Any",))
        if "Any" not in places and obj["kind"] not in places:
            yield FieldFinding(obj, f"metadata.annotations.{key}", f"it belongs on {', '.join(places)}")


def annotation_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, key, value in _annotated(world):
        if key in VALUES and obj["kind"] in known.BELONGS[key] and not VALUES[key].match(str(value)):
            yield FieldFinding(obj, f"metadata.annotations.{key}", f"{value!r} is not a valid value")


def annotation_deprecated(world: World) -> Iterator[FieldFinding]:
    for obj, key, _value in _annotated(world):
        # Who has the label too means older control planes.
        if key in known.DEPRECATED and not (key == injection.POD_INJECT and injection.POD_INJECT in labels(obj)):
            yield FieldFinding(
                obj,
                f"metadata.annotations.{key}",
                "it is deprecated" + (": use the label of the same name" if key == injection.POD_INJECT else ""),
            )


CHECKS = (
    Check("namespace_not_enrolled", INFO, namespace_not_enrolled, "A namespace has no label for the mesh.",
          "Set a label. Use istio-injection=disabled if the namespace is not meant to be enrolled.",
          ANALYZER("IST0102")),
    Check("namespace_by_default", INFO, namespace_by_default,
          "A namespace has no label for the mesh, but its pods are injected.",
          "Set istio-injection=disabled if the pods are not meant to be injected.", ANALYZER("IST0148")),
    Check("namespace_several_labels", WARNING, namespace_several_labels,
          "A namespace has several labels for the mesh.", "Keep one of them.", ANALYZER("IST0123")),
    Check("pod_without_proxy", WARNING, pod_without_proxy, "A pod of an enrolled namespace has no proxy.",
          "Restart its workload.", ANALYZER("IST0103")),
    Check("image_auto", ERROR, image_auto, "The image of a pod's proxy is still auto.",
          "Delete the pod as soon as the webhook works. Check the labels of the pod.",
          ANALYZER("IST0147")),
    Check("image_auto_not_injected", WARNING, image_auto_not_injected,
          "The image of a Deployment's proxy is auto, but no webhook would inject it.",
          "Set the label sidecar.istio.io/inject on the pods, and a revision label on the namespace or the pods.",
          ANALYZER("IST0146")),
    Check("user_of_proxy", WARNING, user_of_proxy, "A container runs as user 1337.", "Use another user.",
          ANALYZER("IST0144")),
    Check("port_of_two_protocols", WARNING, port_of_two_protocols,
          "Services of a Deployment set two protocols for the same port.", "Set the same protocol in all of them.",
          ANALYZER("IST0116")),
    Check("ports_of_one_target", WARNING, ports_of_one_target,
          "Several ports of Services lead to the same port of a Deployment.", "Use one Service port for each.",
          ANALYZER("IST0137")),
    Check("port_name_form", INFO, port_name_form, "The port of a Service has no protocol.",
          "Use a name such as http-web, or set appProtocol.", ANALYZER("IST0118") + ", Kiali KIA0601"),
    Check("external_name_port", WARNING, external_name_port, "A port of an ExternalName Service is treated as TCP.",
          "Use a name such as https or tls.", ANALYZER("IST0150")),
    Check("annotation_unknown", WARNING, annotation_unknown,
          "An annotation with an Istio prefix does not exist in Istio.", "Correct or remove it.", ANALYZER("IST0108")),
    Check("annotation_misplaced", WARNING, annotation_misplaced,
          "An annotation is set on a kind that does not support it.",
          "Move the annotation. For pods, set it in the pod template.", ANALYZER("IST0107")),
    Check("annotation_invalid", WARNING, annotation_invalid, "The value of an annotation is not valid.",
          "Correct the value.", ANALYZER("IST0125")),
    Check("annotation_deprecated", INFO, annotation_deprecated, "An annotation is deprecated.", "Use its replacement.",
          ANALYZER("IST0135")),
)  # fmt: skip
