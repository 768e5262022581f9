# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that was asked for a host, composed into one VirtualService and one DestinationRule, in steps that never give a 503."""
from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .._engine.objects import Object, Ref, ref_of
from .._engine.steps import Step
from .._failure import Failure, InvalidOption
from .._proxy import dump
from .._proxy.convergence import Change, converged
from . import fault, intents, load_balancing, resilience, route, split, taking, theirs
from .hosts import ANY_HOST, MESH, Host, full_name, outside
from .intents import Intents
from .pieces import Piece, Target
from .taking import Taking

API = "networking.istio.io/v1"
MANAGED = {"app.kubernetes.io/managed-by": "servicemesh.istio"}
# A route with one of these is not sent to every proxy.
LIMITS = ("gateways", "sourceLabels", "sourceNamespace", "port")


@dataclass(frozen=True)
class Policy:
    """A host, and all that is asked for it.

    routing  by concern, kept with the VirtualService
    rule     by concern, kept with the DestinationRule
    taking   what becomes of other people's routes for it
    """

    live: Host
    routing: Intents
    rule: Intents
    now: datetime.datetime
    taking: Taking = Taking()

    @staticmethod
    def of(live: Host) -> Policy:
        """What was asked so far. Raises Failure "intents_unreadable"."""
        routing = intents.of(live.own) or intents.of(live.any_host)
        return Policy(live, routing, intents.of(live.rule), Policy.time())

    @staticmethod
    def time() -> datetime.datetime:
        return datetime.datetime.now(datetime.timezone.utc)

    def at(self, live: Host) -> Policy:
        return replace(self, live=live)

    def asking(self, concern: str, routing: Any = None, rule: Any = None) -> Policy:
        """The same with this concern's intents replaced; None releases them."""
        return replace(self, routing=intents.changed(self.routing, concern, routing), rule=intents.changed(self.rule, concern, rule))

    @property
    def empty(self) -> bool:
        return not self.routing and not self.rule

    @property
    def gateways(self) -> list[str]:
        """Where the host's routes hold: wherever one of its concerns says, else in every sidecar."""
        named = [gateway for intent in self.routing.values() for gateway in intent.get("gateways") or []]
        return list(dict.fromkeys(named)) or [MESH]

    @property
    def gateway_hosts(self) -> list[str]:
        return list(dict.fromkeys(name for intent in self.routing.values() for name in intent.get("gateway_hosts") or []))

    @property
    def inside_hosts(self) -> list[str]:
        """Hosts of the object for the mesh and named outside hosts."""
        return [self.live.full_name, *(host for host in self.gateway_hosts if host != "*")]

    @property
    def label(self) -> str:
        """The label that tells versions apart. Raises InvalidOption where two concerns name two."""
        named = {intent["label"] for intent in self.routing.values() if intent.get("label")}
        if len(named) > 1:
            raise InvalidOption("label", f"other policy of {self.live.full_name} tells versions apart by another one ({', '.join(sorted(named))})", code="label_conflict")
        return next(iter(named), "version")

    @property
    def port(self) -> int | None:
        return next((intent["port"] for intent in self.routing.values() if intent.get("port")), None)

    def pieces(self) -> list[Piece]:
        """All routes in their order. Raises InvalidOption."""
        found: list[Piece] = []
        for concern, module in (("route", route), ("split", split)):
            if concern in self.routing:
                found += self._where(module.pieces(self.routing[concern]), self.routing[concern])
        if not found or found[-1].matches:
            found.append(Piece("default", (), [(Target(port=self.port), 1, {})]))
        if "resilience" in self.routing:
            found = resilience.into(found, self.routing["resilience"])
        if "fault" in self.routing and not fault.over(self.routing["fault"], self.now):
            found = fault.into(found, self.routing["fault"])
        return found

    def _where(self, pieces: list[Piece], intent: dict[str, Any]) -> list[Piece]:
        """The pieces of a concern that holds in fewer places than the host's other policy."""
        own = intent.get("gateways") or self.gateways
        if set(own) == set(self.gateways):
            return pieces
        here: dict[str, Any] = {"gateways": own}
        return [replace(piece, matches=tuple({**match, **here} for match in piece.matches or ({},))) for piece in pieces]

    def targets(self) -> Iterator[Target]:
        for piece in self.pieces() if self.routing else []:
            yield from piece.every

    def other_hosts(self) -> list[str]:
        """Full names of the hosts that a route names beside the policy's own."""
        return sorted({full_name(target.host, self.live.namespace) for target in self.targets() if target.host and not _own(target, self.live)})

    def versions(self) -> dict[str, None]:
        """Versions of the host itself that a route names."""
        return {target.version: None for target in self.targets() if target.version and _own(target, self.live)}

    def traffic_policy(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for concern, module in (("load_balancing", load_balancing), ("resilience", resilience)):
            if concern in self.rule:
                found.update(module.of_rule(self.rule[concern]))
        return found


def _own(target: Target, live: Host) -> bool:
    return target.host is None or full_name(target.host, live.namespace) == live.full_name


def check(policy: Policy) -> list[Failure]:
    """What is wrong with the objects that the policy refers to, worst first; empty if nothing is. Raises InvalidOption "label_conflict"."""
    live = policy.live
    found: list[Failure] = []
    if live.service is None and live.entry is None:
        hint = "Check host and namespace, or create the Service or ServiceEntry first."
        found.append(InvalidOption("host", f"no Service or ServiceEntry is {live.full_name}", hint=hint, code="no_such_host"))
    found += policy.taking.refusals(live, policy.inside_hosts, policy.gateways)
    for gateway in sorted(live.missing_gateways):
        found.append(InvalidOption("gateways", f"there is no Gateway {gateway}", hint="Write it as NAMESPACE/NAME, and create it first.", code="no_such_gateway"))
    pieces = policy.pieces() if policy.routing else []
    targets = [target for piece in pieces for target in piece.every]
    for name in sorted({full_name(target.host, live.namespace) for target in targets if not _own(target, live) and target.host} & live.missing_hosts):
        found.append(InvalidOption("to", f"no Service or ServiceEntry is {name}", hint="Check its name, or create it first.", code="no_such_host"))
    for obj in virtual_services(policy) if not found else []:
        dead = theirs.shadowed(theirs.routes(_before(live, obj)))
        found += taking.shadowed(obj["spec"]["http"], dead, live.full_name, policy.taking.force)
    ports = ((live.service or {}).get("spec") or {}).get("ports") or []
    if len(ports) > 1 and any(target.port is None and _own(target, live) for target in targets):
        numbers = ", ".join(str(port["port"]) for port in ports)
        found.append(InvalidOption("port", f"{live.full_name} has several ports ({numbers}): name one", code="port_needed"))
    if live.pods is not None:
        label = policy.label
        served = {labels.get(label) for labels in live.pods}
        for version, weight in _weights(pieces, live).items():
            if weight and version not in served:
                hint = "Its share of requests would fail with 503. Deploy it first, or give it weight 0."
                found.append(InvalidOption("versions", f"no pod of {live.full_name} has the label {label}={version}", hint=hint, code="no_pods"))
    return found


def _weights(pieces: list[Piece], live: Host) -> dict[str, int]:
    """{version: the largest weight that a route gives it}."""
    found: dict[str, int] = {}
    for piece in pieces:
        for target, weight, _headers in piece.targets:
            if target.version and _own(target, live):
                found[target.version] = max(weight, found.get(target.version, 0))
    return found


def desired(policy: Policy) -> list[Step]:
    """Subsets of old and new versions, then routes, then an end of subsets that no route names; converged in between."""
    live, label = policy.live, policy.label
    before = _subsets(live.rule)
    wanted = {version: {label: version} for version in policy.versions()}
    objects = virtual_services(policy)
    for name in theirs.subsets([http for obj in objects for http in theirs.of(obj)], live.full_name, live.namespace) & set(before):
        wanted.setdefault(name, before[name])
    kept = {name: labels for name, labels in before.items() if name not in wanted}
    names = {obj["metadata"]["name"] for obj in objects}
    leaving = [obj for obj in (live.own, live.any_host) if obj and obj["metadata"]["name"] not in names]
    traffic_policy = policy.traffic_policy()
    ours = live.rule is not None and is_managed(live.rule)
    lasting = bool(wanted or traffic_policy)
    steps = []
    if lasting:
        steps.append(Step("subsets", [destination_rule(policy, {**wanted, **kept}, traffic_policy)], barrier=_subsets_known(live, list(wanted))))
    if objects:
        taken = policy.taking.gone(live) if policy.routing else []
        known = _routes_known(live, objects)
        steps.append(Step("weights", objects, deleted=taken, barrier=None if taken else known, seen=_seen(live, objects), merged=_merged(policy, objects)))
        if taken:
            # Of two objects for one host the older one holds.
            steps.append(Step("taken over", barrier=known))
    if leaving:
        steps.append(Step("routes that go", deleted=leaving))
        if not objects:
            # A step of its own: the barrier of that one would come before the deletion.
            steps.append(Step("routes gone", barrier=_routes_gone(live)))
    if lasting and kept:
        steps.append(Step("end of subsets", [destination_rule(policy, wanted, traffic_policy)]))
    if not lasting and live.rule is not None and ours:
        steps.append(Step("subsets that go", deleted=[live.rule]))
    return steps


def _before(live: Host, obj: Object) -> Object | None:
    """The live object of ours that the composed one takes the place of."""
    return next((one for one in (live.own, live.any_host) if one and one["metadata"]["name"] == obj["metadata"]["name"]), None)


def _seen(live: Host, objects: list[Object]) -> dict[Ref, str]:
    found = {ref_of(obj): (_before(live, obj) or {"metadata": {}})["metadata"].get("resourceVersion", "") for obj in objects}
    return {ref: version for ref, version in found.items() if version}


def _merged(policy: Policy, objects: list[Object]) -> frozenset[Ref]:
    """Those that nobody has changed but by routes beside ours."""
    was = {obj["metadata"]["name"]: obj["spec"] for obj in virtual_services(Policy.of(policy.live))}
    found = set()
    for obj in objects:
        live, spec = _before(policy.live, obj), was.get(obj["metadata"]["name"])
        if live and spec and theirs.untouched(live, spec["hosts"], spec["gateways"]):
            found.add(ref_of(obj))
    return frozenset(found)


def is_managed(obj: Object) -> bool:
    return MANAGED.items() <= (obj["metadata"].get("labels") or {}).items()


def _subsets(rule: Object | None) -> dict[str, dict[str, str]]:
    return {subset["name"]: subset.get("labels") or {} for subset in ((rule or {}).get("spec") or {}).get("subsets") or []}


def destination_rule(policy: Policy, subsets: dict[str, dict[str, str]], traffic_policy: dict[str, Any]) -> Object:
    live = policy.live
    metadata: dict[str, Any] = {"name": live.object_name, "namespace": live.namespace, "labels": dict(MANAGED)}
    if policy.rule:
        metadata["annotations"] = intents.annotation(policy.rule)
    spec: dict[str, Any] = {"host": live.full_name}
    if traffic_policy:
        spec["trafficPolicy"] = traffic_policy
    if subsets:
        spec["subsets"] = [{"name": name, "labels": labels} for name, labels in sorted(subsets.items())]
    return {"apiVersion": API, "kind": "DestinationRule", "metadata": metadata, "spec": spec}


def virtual_services(policy: Policy) -> list[Object]:
    """One for the mesh, the gateways and named outside hosts; and one for any other host at the gateways, if asked for. None where nothing is."""
    live, gateways = policy.live, policy.gateways
    if not policy.routing:
        return [_virtual_service(policy, obj["metadata"]["name"], obj["spec"]["hosts"], obj["spec"]["gateways"], _rest(live)) for obj in (live.own, live.any_host) if obj and theirs.of(obj)]
    pieces = policy.pieces()
    inside = policy.inside_hosts
    any_host = "*" in policy.gateway_hosts
    bound = [gateway for gateway in gateways if gateway == MESH or inside[1:] or not any_host]
    objects = []
    if bound:
        objects.append(_virtual_service(policy, live.object_name, inside, bound, pieces))
    if any_host:
        objects.append(_virtual_service(policy, live.object_name + ANY_HOST, ["*"], outside(gateways), pieces))
    return objects


def _rest(live: Host) -> list[Piece]:
    """Where only routes of others are left: all else goes to the host, as before they were written."""
    return [Piece("default", (), [(Target(port=Policy.of(live).port), 1, {})])]


def _virtual_service(policy: Policy, name: str, hosts: list[str], gateways: list[str], pieces: list[Piece]) -> Object:
    live = policy.live
    http = [written for piece in pieces if (written := _http(piece, live, gateways))]
    metadata = {"name": name, "namespace": live.namespace, "labels": dict(MANAGED), "annotations": intents.annotation(policy.routing)}
    obj = {"apiVersion": API, "kind": "VirtualService", "metadata": metadata, "spec": {"hosts": hosts, "gateways": gateways}}
    http = theirs.merged(http, theirs.routes(_before(live, obj)))
    if name == live.object_name and policy.routing:
        http = theirs.joined(http, [one for other in policy.taking.adopted(live) for one in theirs.routes(other)])
    return {**obj, "spec": {**obj["spec"], "http": http}}


def _http(piece: Piece, live: Host, gateways: list[str]) -> dict[str, Any] | None:
    """Istio's HTTPRoute of a piece, for a VirtualService that is bound to these gateways; None where it concerns none of them."""
    matches = []
    for match in piece.matches:
        if "gateways" in match:
            here = [gateway for gateway in match["gateways"] if gateway in gateways]
            if not here:
                continue
            match = {**match, "gateways": here} if set(here) != set(gateways) else {key: value for key, value in match.items() if key != "gateways"}
        if not match:
            matches = []
            break
        matches.append(match)
    else:
        if piece.matches and not matches:
            return None
    fields = {key: value for key, value in piece.fields.items() if value and key != "mirrors"}
    content: dict[str, Any] = {"match": matches} if matches else {}
    if piece.targets:
        lone = len(piece.targets) == 1
        content["route"] = [
            {"destination": _destination(target, live), **({} if lone and not target.version else {"weight": weight}), **({"headers": headers} if headers else {})} for target, weight, headers in piece.targets
        ]
    if piece.fields.get("mirrors"):
        content["mirrors"] = [{"destination": _destination(target, live), "percentage": {"value": percent}} for target, percent in piece.fields["mirrors"]]
    content.update(fields)
    return {"name": f"{piece.name}-{theirs.digest(content)}", **content}


def _destination(target: Target, live: Host) -> dict[str, Any]:
    found: dict[str, Any] = {"host": full_name(target.host, live.namespace) if target.host else live.full_name}
    if target.version:
        found["subset"] = target.version
    if target.port is not None:
        found["port"] = {"number": target.port}
    return found


def _subsets_known(live: Host, versions: list[str]) -> Any:
    if not versions:
        return None
    ends = tuple(f"|{version}|{live.full_name}" for version in versions)
    change = Change(
        f"subsets {', '.join(sorted(versions))} of {live.full_name}",
        live.namespace,
        lambda text: all(any(cluster.endswith(end) for cluster in dump.clusters(text)) for end in ends),
    )
    return converged(change)


def source_of(obj: Object) -> str:
    """How proxies name the object that a route comes from, less the version of its API."""
    return f"/namespaces/{obj['metadata']['namespace']}/virtual-service/{obj['metadata']['name']}"


def _routes_known(live: Host, objects: list[Object]) -> Any:
    bound = objects[0]["spec"]["gateways"]
    # A gateway's pods are looked at first where no sidecar has the routes.
    place = live.namespace if MESH in bound else bound[0].partition("/")[0]
    names = dict.fromkeys(http["name"].rpartition("-")[0] for obj in objects for http in obj["spec"]["http"] if theirs.is_ours(http))
    return converged(Change(f"{', '.join(names)} of {live.full_name}", place, lambda text: any(has_routes(text, obj) for obj in objects)))


def has_routes(text: dict[str, Any], obj: Object) -> bool:
    """Whether a dump has the object's routes, all that go to every proxy and none that it no longer has, with their weights."""
    wanted = {http["name"]: http for http in obj["spec"]["http"] if theirs.is_ours(http)}
    everywhere = {name for name, http in wanted.items() if not limited(http)}
    found = {one.name: one for one in dump.routes(text) if one.source.endswith(source_of(obj)) and theirs.is_ours({"name": one.name})}
    if not everywhere <= set(found) or not set(found) <= set(wanted):
        return False
    return all(same_weights(one, wanted[name]) for name, one in found.items())


def limited(http: dict[str, Any]) -> bool:
    """Whether a route may be for some proxies only."""
    return any(limit in match for match in http.get("match") or [] for limit in LIMITS)


def same_weights(found: dump.Route, http: dict[str, Any]) -> bool:
    """Whether a proxy's route has the weights of a route as it is written."""
    wanted = {(part["destination"].get("subset", ""), part["destination"]["host"]): part.get("weight", 1) for part in http.get("route") or []}
    has = {(parts[2], parts[3]): weight for cluster, weight in found.weights if len(parts := cluster.split("|")) == 4}
    if len(has) == 1 or len(wanted) == 1:
        # One destination is written without a weight.
        return set(has) >= {key for key, weight in wanted.items() if weight}
    return {key: weight for key, weight in has.items() if weight} == {key: weight for key, weight in wanted.items() if weight}


def _routes_gone(live: Host) -> Any:
    sources = tuple(source_of(obj) for obj in (live.own, live.any_host) if obj)
    change = Change(f"no routes of {live.full_name}", live.namespace, lambda text: not any(one.source.endswith(sources) for one in dump.routes(text)), gone=True)
    return converged(change)
