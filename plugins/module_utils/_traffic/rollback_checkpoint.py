# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's policy was before its last change, kept in the cluster, and the way back to it.

One checkpoint for each host, of one step: undone twice, a change is there again. Routes of other people are not part of
it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from .._engine.checkpoint import Checkpoint, ObjectSelector, read_checkpoint
from .._engine.cluster import Cluster
from .._engine.objects import Object, ref_of
from .._engine.steps import Step
from .._failure import Failure
from .backends.gateway_api import API as ROUTE_API
from .backends.gateway_api import ROUTE
from .backends.istio import API
from .features import desired_annotation
from .host.host import ANY_HOST, Host, RoutingApi
from .host_policy import Policy, is_managed
from .step_names import StepName

PREFIX = "servicemesh-rollback-"
# The note that says to which policy the change led, so that one that was cut off and begun again does not take its half
# for what was before.
TO = "to"


def checkpoint(host: Host) -> Checkpoint:
    kinds = [
        ("VirtualService", host.object_name),
        ("VirtualService", host.object_name + ANY_HOST),
        ("DestinationRule", host.object_name),
    ]
    choices = [ObjectSelector(API, kind, host.namespace, name) for kind, name in kinds] + [
        ObjectSelector(ROUTE_API, ROUTE, host.namespace, obj["metadata"]["name"]) for obj in host.http_routes
    ]
    return Checkpoint(PREFIX + host.object_name, host.namespace, choices)


def differ(one: Policy, two: Policy) -> bool:
    """Whether they ask for something else; in which set they came does not matter."""
    return _asked(one) != _asked(two)


def _asked(policy: Policy) -> list[object]:
    parts = [
        {feature: intent for feature, intent in part.items() if feature != desired_annotation.SET}
        for part in (policy.route_intents, policy.rule_intents)
    ]
    # Where nothing is routed, the API says nothing; Istio's own is not named, as in what was kept before there were
    # two.
    return [*parts, *([policy.api.value] if parts[0] and policy.api != RoutingApi.ISTIO else [])]


def _digest(policy: Policy) -> str:
    return hashlib.sha256(json.dumps(_asked(policy), sort_keys=True).encode("utf-8")).hexdigest()[:16]


def checkpoint_steps(cluster: Cluster, wanted: Policy) -> list[Step]:
    """The step that keeps what the host's policy is now, where the wanted one differs. Raises Failure, ApiError."""
    now = Policy.of(wanted.host)
    if not differ(now, wanted):
        return []
    known = checkpoint(wanted.host).live(cluster)
    if known and read_checkpoint(known).notes.get(TO) == _digest(wanted):
        return []
    return [_step(now, wanted)]


def _step(now: Policy, wanted: Policy) -> Step:
    host = wanted.host
    objects = [
        obj
        for obj in (
            *host.http_routes,
            host.managed_virtual_service,
            host.wildcard_virtual_service,
            host.destination_rule,
        )
        if obj and is_managed(obj)
    ]
    taken = replace(checkpoint(host), notes={TO: _digest(wanted)}).as_config_map(objects, frozenset())
    # Whoever wrote to it: what it keeps is made anew each time.
    return Step(StepName.CHECKPOINT, [taken], preserve_foreign=frozenset({ref_of(taken)}))


def previous_policy(cluster: Cluster, now: Policy) -> Policy:
    """The policy before the last change; that of now where an undo was cut off behind its last write. Raises Failure
    "nothing_to_roll_back".
    """
    host = now.host
    found = checkpoint(host).live(cluster)
    hint = "Only the last change that a module of this collection made can be rolled back."
    if found is None:
        raise Failure("nothing_to_roll_back", f"service: no change of {host.full_name} is stored", hint=hint)
    taken = read_checkpoint(found)
    objects = taken.objects
    routes = [obj for obj in objects if obj["kind"] != "DestinationRule"]
    rules = [obj for obj in objects if obj["kind"] == "DestinationRule"]
    api = (
        now.api
        if not routes
        else RoutingApi.GATEWAY_API
        if any(obj["kind"] == ROUTE for obj in routes)
        else RoutingApi.ISTIO
    )
    before = replace(now, route_intents=_first(routes), rule_intents=_first(rules), api=api)
    # Where the note names another policy, what keeps it is still to be written.
    if not differ(now, before) and taken.notes.get(TO, _digest(now)) == _digest(now):
        raise Failure(
            "nothing_to_roll_back", f"service: the last change of {host.full_name} is already rolled back", hint=hint
        )
    return before


def _first(objects: list[Object]) -> desired_annotation.Intents:
    return next((found for obj in objects if (found := desired_annotation.read_intents(obj))), {})


def swap_step(now: Policy, before: Policy) -> Step:
    """What keeps the policy that is undone. Behind all other steps: one that was cut off can be undone again."""
    return _step(now, before)
