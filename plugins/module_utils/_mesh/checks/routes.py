# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes and policies that name what is not there. Only what is sure without Istio's own analysis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..._checks.check import Finding
from ..._engine.objects import Object
from ..facts import Facts, labels_of, object_text, selected
from ..gate import Gate

MESH = "mesh"
# Labels that istiod adds to endpoints, and that no pod has.
PLACES = ("topology.", "kubernetes.io/hostname")


def _domain(facts: Facts) -> str:
    """The cluster's domain as istiod was told it."""
    for obj in facts["istiods"]:
        for container in obj["spec"]["template"]["spec"]["containers"]:
            arguments = container.get("args") or []
            if "--domain" in arguments[:-1]:
                return str(arguments[arguments.index("--domain") + 1])
    return "cluster.local"


def _full(facts: Facts, host: str, namespace: str) -> str:
    """A host as istiod resolves it: a name without dots is a Service of the object's own namespace."""
    return host if "." in host or host.startswith("*") else f"{host}.{namespace}.svc.{_domain(facts)}"


def _service(facts: Facts, host: str) -> Object | None:
    name, _dot, rest = host.partition(".")
    namespace, _dot, rest = rest.partition(".")
    return facts.service(namespace, name) if rest == f"svc.{_domain(facts)}" else None


def _exists(facts: Facts, host: str) -> bool:
    if host.startswith("*") or _service(facts, host):
        return True
    entries = {entry for obj in facts["service_entries"] for entry in (obj.get("spec") or {}).get("hosts") or []}
    return host in entries or any(entry.startswith("*.") and host.endswith(entry[1:]) for entry in entries)


def _destinations(obj: Object) -> Iterator[dict[str, Any]]:
    spec = obj.get("spec") or {}
    for kind in ("http", "tcp", "tls"):
        for route in spec.get(kind) or []:
            yield from (part["destination"] for part in [*(route.get("route") or []), *(route.get("mirrors") or [])])
            if route.get("mirror"):
                yield route["mirror"]


def _routes(facts: Facts) -> Iterator[tuple[Object, dict[str, Any], str]]:
    """(VirtualService, destination, its host in full)"""
    for obj in facts["virtual_services"]:
        for destination in _destinations(obj):
            yield obj, destination, _full(facts, destination.get("host", ""), obj["metadata"]["namespace"])


def virtual_service_no_gateway(facts: Facts, _gate: Gate) -> list[Finding]:
    there = {(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in facts["gateways"]}
    found = []
    for obj in facts["virtual_services"]:
        for gateway in (obj.get("spec") or {}).get("gateways") or []:
            namespace, _slash, name = gateway.rpartition("/")
            if gateway != MESH and (namespace or obj["metadata"]["namespace"], name) not in there:
                found.append(Finding(object_text(obj), f"Gateway {gateway} does not exist"))
    return found


def virtual_service_no_host(facts: Facts, _gate: Gate) -> list[Finding]:
    missing = {(object_text(obj), host) for obj, _destination, host in _routes(facts) if not _exists(facts, host)}
    return [
        Finding(name, f"it routes to {host}, which has no Service or ServiceEntry in this cluster")
        for name, host in sorted(missing)
    ]


def subset_undefined(facts: Facts, _gate: Gate) -> list[Finding]:
    defined = {(host, subset["name"]) for rule, host in _rules(facts) for subset in rule["spec"].get("subsets") or []}
    missing = {
        (object_text(obj), host, destination["subset"])
        for obj, destination, host in _routes(facts)
        if destination.get("subset") and (host, destination["subset"]) not in defined
    }
    return [
        Finding(name, f"it routes to subset {subset} of {host}, which no DestinationRule defines")
        for name, host, subset in sorted(missing)
    ]


def _rules(facts: Facts) -> Iterator[tuple[Object, str]]:
    """(DestinationRule, its host in full)"""
    return (
        (obj, _full(facts, obj["spec"].get("host", ""), obj["metadata"]["namespace"]))
        for obj in facts["destination_rules"]
    )


def destination_rule_no_host(facts: Facts, _gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), f"its host {host} has no Service or ServiceEntry in this cluster")
        for obj, host in _rules(facts)
        if not _exists(facts, host)
    ]


def subset_without_pods(facts: Facts, _gate: Gate) -> list[Finding]:
    found = []
    for obj, host in _rules(facts):
        selector = ((_service(facts, host) or {}).get("spec") or {}).get("selector")
        if not selector:
            continue
        own = [pod for pod in facts.living_in[host.split(".")[1]] if selected(pod, selector)]
        for subset in obj["spec"].get("subsets") or []:
            labels = {key: value for key, value in (subset.get("labels") or {}).items() if not key.startswith(PLACES)}
            if not any(labels.items() <= labels_of(pod).items() for pod in own):
                found.append(Finding(object_text(obj), f"its subset {subset['name']} selects no pod of {host}"))
    return found


def _mode(obj: Object) -> str:
    return str((((obj.get("spec") or {}).get("mtls")) or {}).get("mode", "UNSET"))


def mtls_permissive(facts: Facts, gate: Gate) -> list[Finding]:
    whole = [
        obj
        for obj in facts["peer_authentications"]
        if obj["metadata"]["namespace"] == gate.namespace and not (obj.get("spec") or {}).get("selector")
    ]
    if not facts.planes or any(_mode(obj) == "STRICT" for obj in whole):
        return []
    return [
        Finding(
            f"PeerAuthentication in {gate.namespace}",
            "none sets STRICT for the whole mesh, so workloads also accept plaintext",
        )
    ]


def mtls_disabled(facts: Facts, gate: Gate) -> list[Finding]:
    return [
        Finding(object_text(obj), "it turns off mutual TLS")
        for obj in facts["peer_authentications"]
        if gate.concerns(obj["metadata"]["namespace"]) and _mode(obj) == "DISABLE"
    ]
