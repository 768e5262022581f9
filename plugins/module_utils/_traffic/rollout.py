# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that was asked for a host, in the words of one API, in steps that never give a 503."""

from __future__ import annotations

from typing import Any

from .._engine.cluster import MANAGER
from .._engine.objects import Object, ref_of
from .._engine.planning.adopt import union
from .._engine.steps import Barrier, Step
from .._failure import Failure
from .._proxy.sync_barrier import ProxyCondition, proxies_in_sync
from .backends import tcp_tls_routes
from .backends.istio import (
    changed_beside_ours,
    composed_versions,
    destination_rule,
)
from .backends.proxy_checks import all_acknowledged
from .backends.registry import BACKENDS
from .host import foreign_routes
from .host.external_owners import managers_of
from .host.host import Host, RoutingApi
from .host_policy import Policy, is_managed
from .step_names import StepName


def rollout_steps(policy: Policy) -> list[Step]:
    """What routes lead to, old and new; then routes; then an end of what no route names; converged in between.

    From one API to the other the host's routes are said in both for a while: Istio takes one of the two objects, and
    both are right.
    """
    host = policy.host
    writer = BACKENDS[policy.api]
    known = _subsets(host.destination_rule)
    wanted = writer.subsets(policy)
    backing, objects = writer.backend_objects(policy), writer.route_objects(policy)
    said = [obj for one in BACKENDS.values() for obj in one.current_route_objects(host)]
    foreign = [http for obj in objects for http in foreign_routes.foreign_routes_of(obj)]
    for obj in said:
        foreign += [route for name in _theirs(policy, obj) for route in obj["spec"].get(name) or []]
    for name in foreign_routes.referenced_subsets(foreign, host.full_name, host.namespace) & set(known):
        wanted.setdefault(name, known[name])
    kept = {name: labels for name, labels in known.items() if name not in wanted}
    leaving = _without(said, objects)
    _refuse_theirs(policy, leaving)
    moving = bool(objects) and any(obj["kind"] not in {one["kind"] for one in objects} for obj in leaving)
    traffic_policy = policy.traffic_policy
    lasting = bool(wanted or traffic_policy)
    going = (
        [host.destination_rule]
        if host.destination_rule is not None and not lasting and is_managed(host.destination_rule)
        else []
    )
    going += _without([*host.version_services, *host.version_destination_rules], backing)
    steps = []
    first = ([destination_rule(policy, {**wanted, **kept}, traffic_policy)] if lasting else []) + backing
    if first:
        steps.append(Step(StepName.SUBSETS, first, barrier=writer.targets_ready(policy)))
    if objects:
        taken = policy.deleted_objects() if policy.route_intents else []
        shown = all_acknowledged(host) if moving else writer.routes_ready(policy, objects)
        ours = changed_beside_ours(policy, objects) if policy.api == RoutingApi.ISTIO else frozenset()
        steps.append(
            Step(
                StepName.ROUTES,
                objects,
                wait_ready=writer.has_status,
                deleted=taken,
                barrier=None if taken else shown,
                expected_versions=composed_versions(host, objects),
                preserve_foreign=ours,
            )
        )
        if taken:
            # Of two objects for one host the older one holds.
            steps.append(Step(StepName.TAKEN_OVER, barrier=shown))
    # Where something is deleted, what is waited for is a step of its own: the deletion's own barrier would come before
    # it.
    if leaving:
        steps.append(Step(StepName.REMOVED_ROUTES, deleted=leaving))
    # Routes that an earlier run deleted may still be at proxies.
    if not objects and (leaving or kept or any(obj["kind"] == "Service" for obj in going)):
        steps.append(Step(StepName.ROUTES_GONE, barrier=_routes_gone(host)))
    if moving:
        steps.append(Step(StepName.API_CHANGE, barrier=writer.routes_ready(policy, objects)))
    if lasting and kept:
        steps.append(Step(StepName.UNUSED_SUBSETS, [destination_rule(policy, wanted, traffic_policy)]))
    if going:
        shared = [obj for obj in going if obj["kind"] == "DestinationRule" and _others_part(policy, obj)]
        steps.append(
            Step(
                StepName.REMOVED_SUBSETS,
                [_released(policy, obj) for obj in shared],
                deleted=[obj for obj in going if obj not in shared],
            )
        )
    return steps


def _without(live: list[Object], wanted: list[Object]) -> list[Object]:
    """Those that are not wanted any more."""
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in wanted}
    return [obj for obj in live if (obj["kind"], obj["metadata"]["name"]) not in names]


def _theirs(policy: Policy, obj: Object) -> list[str]:
    """Lists of connections' routes in an object of ours that others wrote: what is in them has no names, so a list is
    whose field it is.
    """
    return (
        [name for name in tcp_tls_routes.LISTS if f"f:{name}" in _others_part(policy, obj)]
        if obj["kind"] == "VirtualService"
        else []
    )


def _refuse_theirs(policy: Policy, leaving: list[Object]) -> None:
    """Raises Failure "conflict" for an object that would go, and with it what others wrote."""
    for obj in leaving:
        if _theirs(policy, obj):
            whose = ", ".join(sorted(managers_of(obj) - {MANAGER}))
            hint = "Remove these routes from it, or set force_conflicts to delete them as well."
            raise Failure(
                "conflict",
                f"{ref_of(obj)} has routes for connections that this collection did not create ({whose})",
                ref=ref_of(obj).as_result("v1"),
                hint=hint,
            )


def _others_part(policy: Policy, obj: Object) -> dict[str, Any]:
    """What others own of an object's spec (fieldsV1), unless all of it is to be ours."""
    takeover = policy.takeover
    mine = {MANAGER, *(takeover.tools if takeover.adopt else ())}
    found: dict[str, Any] = {}
    for entry in obj["metadata"].get("managedFields") or []:
        if entry.get("manager") not in mine and not entry.get("subresource") and not takeover.force:
            found = union(found, (entry.get("fieldsV1") or {}).get("f:spec") or {})
    return found


def _released(policy: Policy, obj: Object) -> Object:
    """The object as we have no part in it any more; its host stays where nobody else says it, for no rule is
    without.
    """
    bare = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"]},
    }
    return bare if "f:host" in _others_part(policy, obj) else {**bare, "spec": {"host": obj["spec"]["host"]}}


def _subsets(rule: Object | None) -> dict[str, dict[str, str]]:
    return {
        subset["name"]: subset.get("labels") or {} for subset in ((rule or {}).get("spec") or {}).get("subsets") or []
    }


def _routes_gone(host: Host) -> Barrier:
    return proxies_in_sync(
        ProxyCondition(
            f"no routes of {host.full_name}",
            host.namespace,
            lambda text: not any(one.has_routes(text, host) for one in BACKENDS.values()),
            gone=True,
        )
    )
