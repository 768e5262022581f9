# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of many hosts at once: {namespace: {host: {concern: options}}}, and the end of what left it."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._engine.cluster import Cluster
from .._engine.steps import Barrier, Step
from .._engine.waiting.deadline import Deadline
from .._failure import InvalidOption
from .api_selection import API_ARGUMENT, select_api
from .features import desired_annotation
from .host.host import ANY_HOST, Host, Object
from .host.reader import KINDS, NETWORKING, Reader
from .host.takeover import Takeover
from .host_policy import Policy
from .module import FEATURES, with_feature
from .rollout import STEPS

# {(namespace, host): {concern: its options, "api": its name}}.
PolicyByHost = dict[tuple[str, str], dict[str, Any]]
# Beside the concerns of a host, the API in which its routes are said.
API = "api"


def parse_policy(policy: Any) -> PolicyByHost:
    """{(namespace, host): {concern: options}} as each concern's argument spec makes them, and the host's api beside. Raises InvalidOption naming the place."""
    found: PolicyByHost = {}
    for namespace, hosts in _mapping("policy", policy).items():
        for host, concerns in _mapping(f"policy.{namespace}", hosts).items():
            place = f"policy.{namespace}.{host}"
            found[(str(namespace), str(host))] = {}
            for concern, options in _mapping(place, concerns).items():
                if concern == API:
                    if options not in API_ARGUMENT[API]["choices"]:
                        raise InvalidOption(
                            f"{place}.{API}",
                            f"{options!r} is not a valid API",
                            hint=f"Use one of {', '.join(API_ARGUMENT[API]['choices'])}.",
                            code="options_invalid",
                        )
                    found[(str(namespace), str(host))][API] = options
                    continue
                if concern not in FEATURES:
                    raise InvalidOption(place, f"{concern!r} is not a valid feature", hint=f"Use one of {', '.join(FEATURES)}.", code="concern_unknown")
                validator = ArgumentSpecValidator(FEATURES[concern].ARGUMENTS)
                result = validator.validate(_mapping(f"{place}.{concern}", options))
                if result.error_messages:
                    raise InvalidOption(f"{place}.{concern}", "; ".join(result.error_messages), code="options_invalid")
                found[(str(namespace), str(host))][concern] = result.validated_parameters
    full: dict[tuple[str, str], str] = {}
    for namespace, host in found:
        place, same = f"policy.{namespace}.{host}", (namespace, Host(host, namespace).full_name)
        if same in full:
            raise InvalidOption(place, f"{full[same]} is the same service", hint="Set the policy of a service in one place only.", code="host_twice")
        full[same] = place
    return found


def _mapping(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidOption(place, f"{value!r} is not a mapping", hint="Use the form {namespace: {service: {feature: options}}}.", code="options_invalid")
    return value


def compose_policies(reader: Reader, wanted: PolicyByHost, name: str, taking: Takeover, warnings: list[str], api: str | None = None) -> list[Policy]:
    """Each host with just what is asked for it, marked as of this set; what else was asked before goes. api: of hosts that name none.

    Raises InvalidOption naming the place, ApiError.
    """
    found = []
    for (namespace, host), concerns in wanted.items():
        before = Policy.of(reader.read(host, namespace))
        policy = replace(before, route_intents={}, rule_intents={}, takeover=taking)
        warnings += taking.warnings(policy.host) if concerns else []
        for concern in FEATURES:
            if concern not in concerns:
                continue
            try:
                # A fault's end is counted from when it was first asked for.
                known = (
                    replace(policy, route_intents={**policy.route_intents, **{concern: before.route_intents[concern]}})
                    if concern in before.route_intents
                    else policy
                )
                policy = with_feature(known, concern, concerns[concern], warnings)
            except InvalidOption as error:
                message = error.message.partition(": ")[2] or error.message
                raise InvalidOption(f"policy.{namespace}.{host}.{concern}.{error.option}", message, ref=error.ref, hint=error.hint, code=error.code) from error
        mark = {desired_annotation.SET: {"name": name}}
        policy = replace(
            policy,
            route_intents={**policy.route_intents, **mark} if policy.route_intents else {},
            rule_intents={**policy.rule_intents, **mark} if policy.rule_intents else {},
        )
        found.append(select_api(policy, concerns.get(API) or api, reader) if not policy.empty else policy)
    return found


def released_policies(cluster: Cluster, reader: Reader, kept: list[Policy], name: str) -> list[Policy]:
    """Hosts whose policy came with the set of this name and is asked for no more: each with nothing asked. Raises ApiError."""
    seen = {_place(policy) for policy in kept}
    gone = []
    for obj in [*reader.virtual_services, *reader.gateway_routes, *cluster.list(NETWORKING, "DestinationRule")]:
        host = _host_of(obj)
        if desired_annotation.read_intents(obj).get(desired_annotation.SET) != {"name": name} or host is None:
            continue
        before = Policy.of(reader.read(host, obj["metadata"]["namespace"]))
        if _place(before) not in seen:
            seen.add(_place(before))
            gone.append(replace(before, route_intents={}, rule_intents={}))
    return gone


def _place(policy: Policy) -> tuple[str, str]:
    return policy.host.namespace, policy.host.object_name


def _host_of(obj: Object) -> str | None:
    """The host that an object of ours is for."""
    if obj["metadata"]["name"].endswith(ANY_HOST) and obj["spec"].get("hosts") == ["*"]:
        return str(obj["metadata"]["name"].removesuffix(ANY_HOST))
    if obj["kind"] in KINDS:
        # Of a route for a gateway the name goes on with the gateway's.
        return str(obj["metadata"]["name"].partition(".")[0])
    spec = obj.get("spec") or {}
    return str(spec["host"]) if spec.get("host") else next(iter(spec.get("hosts") or []), None)


def merge_steps(plans: list[list[Step]]) -> list[Step]:
    """Steps of many hosts as those of one: of each name one step, and one wait for all of its hosts."""
    found = []
    for name in STEPS:
        same = [step for steps in plans for step in steps if step.name == name]
        if not same:
            continue
        barriers = [step.barrier for step in same if step.barrier]
        objects = [obj for step in same for obj in step.objects]
        seen = {ref: version for step in same for ref, version in step.expected_versions.items()}
        merged = frozenset(ref for step in same for ref in step.preserve_foreign)
        barrier = _all_of(barriers) if barriers else None
        found.append(
            Step(
                name,
                objects,
                wait_ready=any(step.wait_ready for step in same),
                deleted=[obj for step in same for obj in step.deleted],
                barrier=barrier,
                expected_versions=seen,
                preserve_foreign=merged,
            )
        )
    return found


def _all_of(barriers: list[Barrier]) -> Barrier:
    def hold(cluster: Cluster, deadline: Deadline) -> str:
        return "; ".join(barrier.hold(cluster, deadline) for barrier in barriers)

    return Barrier(barriers[0].name, hold)
