# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares of a host's traffic to its versions: one DestinationRule with subsets, one VirtualService with weights."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .._engine.objects import Object, Ref
from .._engine.steps import Step
from .._failure import InvalidOption
from .._proxy import dump
from .._proxy.convergence import Change, converged
from .hosts import ANY_HOST, INTENTS, MESH, Host, outside

API = "networking.istio.io/v1"
ROUTE = "split"
MANAGED = {"app.kubernetes.io/managed-by": "servicemesh.istio"}


@dataclass(frozen=True)
class Split:
    """What a user asks for. versions: {name: weight}; label: the pod label that tells versions apart."""

    host: str
    namespace: str
    versions: dict[str, Any] = field(default_factory=dict)
    gateways: list[str] = field(default_factory=lambda: [MESH])
    gateway_hosts: list[str] = field(default_factory=list)
    label: str = "version"
    port: int | None = None


def check(split: Split) -> None:
    """Raises InvalidOption "weight_invalid", "weight_negative", "weights_zero" naming the version.

    Weights are shares: they need not add up to 100 (Istio's validation refuses only negative ones and a zero sum).
    """
    if not split.versions:
        raise InvalidOption("versions", f"host {split.host} has no version", hint="Name at least one, such as {v1: 100}.")
    for version, weight in split.versions.items():
        if isinstance(weight, bool) or not isinstance(weight, int):
            raise InvalidOption("versions", f"the weight of {version} is {weight!r}, not a whole number", code="weight_invalid")
        if weight < 0:
            raise InvalidOption("versions", f"the weight of {version} is {weight}", hint="A weight is 0 or more.", code="weight_negative")
    if not any(split.versions.values()):
        raise InvalidOption("versions", f"all weights of host {split.host} are 0", hint="At least one version must get traffic.", code="weights_zero")
    if not split.gateways:
        raise InvalidOption("gateways", "the list is empty", hint="Name mesh, or a gateway as NAMESPACE/NAME.")
    if split.gateway_hosts and not _outside(split):
        raise InvalidOption("gateway_hosts", "they need a gateway other than mesh", hint="Name the gateway as NAMESPACE/NAME in gateways.")


def check_host(split: Split, live: Host) -> list[InvalidOption]:
    """What is wrong with the objects that the split refers to, worst first; empty if nothing is."""
    found = []
    if live.service is None and live.entry is None:
        hint = "Check host and namespace, or create the Service or ServiceEntry first."
        found.append(InvalidOption("host", f"no Service or ServiceEntry is {live.full_name}", hint=hint, code="no_such_host"))
    for other in live.others:
        ref = Ref("networking.istio.io", "VirtualService", other["metadata"]["namespace"], other["metadata"]["name"])
        hint = "A host's routes have one owner: remove that object, or leave its host to it."
        found.append(InvalidOption("host", f"{ref} has routes for {live.full_name} already", ref=ref.as_result("v1"), hint=hint, code="host_taken"))
    for gateway in sorted(live.missing_gateways):
        found.append(InvalidOption("gateways", f"there is no Gateway {gateway}", hint="Write it as NAMESPACE/NAME, and create it first.", code="no_such_gateway"))
    ports = ((live.service or {}).get("spec") or {}).get("ports") or []
    if split.port is None and len(ports) > 1:
        numbers = ", ".join(str(port["port"]) for port in ports)
        found.append(InvalidOption("port", f"{live.full_name} has several ports ({numbers}): name one", code="port_needed"))
    if live.subsets_with_pods is not None:
        for version, weight in split.versions.items():
            if weight and version not in live.subsets_with_pods:
                hint = "Its share of requests would fail with 503. Deploy it first, or give it weight 0."
                found.append(InvalidOption("versions", f"no pod of {live.full_name} has the label {split.label}={version}", hint=hint, code="no_pods"))
    return found


def desired(split: Split, live: Host) -> list[Step]:
    """Subsets of old and new versions, then weights, then an end of subsets that no weight names; converged in between."""
    kept = {name: labels for name, labels in _subsets(live.rule).items() if name not in split.versions}
    wanted = {name: {split.label: name} for name in split.versions}
    steps = [
        Step("subsets", [destination_rule(split, live, {**wanted, **kept})], barrier=converged(_subsets_known(split, live))),
        Step("weights", virtual_services(split, live), barrier=converged(_weights_known(split, live))),
    ]
    if live.own and not any(obj["metadata"]["name"] == live.object_name for obj in virtual_services(split, live)):
        steps.append(Step("no more in the mesh", deleted=[live.own]))
    if live.any_host and "*" not in split.gateway_hosts:
        steps.append(Step("no more any host", deleted=[live.any_host]))
    if kept:
        steps.append(Step("end of subsets", [destination_rule(split, live, wanted)]))
    return steps


def removal(live: Host) -> list[Step]:
    """Routes first, subsets when no proxy names them any more. Only what this collection made."""
    ours = live.rule is not None and _managed(live.rule)
    if live.own is None and live.any_host is None and not ours:
        return []
    routes = [obj for obj in (live.own, live.any_host) if obj]
    gone = Change(f"no split of {live.full_name}", live.namespace, lambda text: not any(_is_ours(route, live) for route in dump.routes(text)), gone=True)
    return [Step("routes", deleted=routes), Step("subsets", deleted=[live.rule] if live.rule and ours else [], barrier=converged(gone))]


def _managed(obj: Object) -> bool:
    return MANAGED.items() <= (obj["metadata"].get("labels") or {}).items()


def route_name(split: Split) -> str:
    """Carries the weights, so that a proxy's configuration says by itself which split it has."""
    return f"{ROUTE}-" + "-".join(f"{version}-{weight}" for version, weight in sorted(split.versions.items()))


def destination_rule(split: Split, live: Host, subsets: dict[str, dict[str, str]]) -> Object:
    listed = [{"name": name, "labels": labels} for name, labels in sorted(subsets.items())]
    return {"apiVersion": API, "kind": "DestinationRule", "metadata": _metadata(live, live.object_name), "spec": {"host": live.full_name, "subsets": listed}}


def virtual_services(split: Split, live: Host) -> list[Object]:
    """One for the mesh, the gateways and named outside hosts; and one for any other host at the gateways, if asked for."""
    http = [{"name": route_name(split), "route": [_destination(split, live, version, weight) for version, weight in sorted(split.versions.items())]}]
    named = [host for host in split.gateway_hosts if host != "*"]
    any_host = "*" in split.gateway_hosts
    bound = [gateway for gateway in split.gateways if gateway == MESH or named or not any_host]
    intents = {"split": {"versions": split.versions, "gateways": split.gateways, "gateway_hosts": split.gateway_hosts, "label": split.label}}
    objects = []
    if bound:
        objects.append(_virtual_service(live, live.object_name, [live.full_name, *named], bound, http, intents))
    if any_host:
        objects.append(_virtual_service(live, live.object_name + ANY_HOST, ["*"], _outside(split), http, intents))
    return objects


def _virtual_service(live: Host, name: str, hosts: list[str], gateways: list[str], http: list[Object], intents: dict[str, Any]) -> Object:
    metadata = {**_metadata(live, name), "annotations": {INTENTS: json.dumps(intents, sort_keys=True)}}
    return {"apiVersion": API, "kind": "VirtualService", "metadata": metadata, "spec": {"hosts": hosts, "gateways": gateways, "http": http}}


def _metadata(live: Host, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": live.namespace, "labels": dict(MANAGED)}


def _destination(split: Split, live: Host, version: str, weight: int) -> dict[str, Any]:
    destination: dict[str, Any] = {"host": live.full_name, "subset": version}
    if split.port is not None:
        destination["port"] = {"number": split.port}
    return {"destination": destination, "weight": weight}


def _outside(split: Split) -> list[str]:
    return outside(split.gateways)


def _subsets(rule: Object | None) -> dict[str, dict[str, str]]:
    return {subset["name"]: subset.get("labels") or {} for subset in ((rule or {}).get("spec") or {}).get("subsets") or []}


def _subsets_known(split: Split, live: Host) -> Change:
    wanted = {f"|{version}|{live.full_name}" for version in split.versions}
    return Change(
        f"subsets {', '.join(sorted(split.versions))} of {live.full_name}",
        live.namespace,
        lambda text: all(any(cluster.endswith(end) for cluster in dump.clusters(text)) for end in wanted),
    )


def _weights_known(split: Split, live: Host) -> Change:
    text = ", ".join(f"{version}={weight}" for version, weight in sorted(split.versions.items()))
    return Change(f"split {text} of {live.full_name}", live.namespace, lambda found: any(has_split(route, split, live) for route in dump.routes(found)))


def has_split(route: dump.Route, split: Split, live: Host) -> bool:
    """Whether a proxy's route sends exactly the wanted shares."""
    shares = {cluster.split("|")[2]: weight for cluster, weight in route.weights if cluster.endswith(f"|{live.full_name}")}
    wanted = {version: weight for version, weight in split.versions.items() if weight}
    if len(wanted) == 1:
        return _is_ours(route, live) and set(shares) >= set(wanted) and route.name == route_name(split)
    return route.name == route_name(split) and {version: weight for version, weight in shares.items() if weight} == wanted


def _is_ours(route: dump.Route, live: Host) -> bool:
    return route.name.startswith(f"{ROUTE}-") and any(cluster.endswith(f"|{live.full_name}") for cluster, _weight in route.weights)
