# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of many hosts at once: {namespace: {service: {feature: options}}}, and the end of what left it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._engine.cluster import Cluster
from .._engine.steps import Barrier, Step
from .._engine.waiting.deadline import Deadline
from .._failure import InvalidOption
from .api_selection import API_ARGUMENT, select_api
from .features import desired_annotation
from .features.feature import Intent
from .features.registry import FEATURES
from .host.host import ANY_HOST, Host, Object
from .host.reader import KINDS, NETWORKING, Reader
from .host.takeover import Takeover
from .host_policy import Policy
from .step_names import StepName

# The option of a host beside its features.
API = "api"


@dataclass(frozen=True)
class HostRequest:
    """The policy that is asked for one host. api: None where the request names none."""

    namespace: str
    host: str
    api: str | None
    intents: dict[str, Intent]

    @property
    def option(self) -> str:
        return f"policy.{self.namespace}.{self.host}"

    @property
    def full_name(self) -> str:
        return Host(self.host, self.namespace).full_name


def parse_policy(policy: Any) -> list[HostRequest]:
    """The hosts of {namespace: {host: {feature: options, "api": its name}}}. Raises InvalidOption naming the place."""
    named = [
        (str(namespace), str(host), _mapping(f"policy.{namespace}.{host}", features))
        for namespace, hosts in _mapping("policy", policy).items()
        for host, features in _mapping(f"policy.{namespace}", hosts).items()
    ]
    validated = [
        (namespace, host, features, _validated(f"policy.{namespace}.{host}", features))
        for namespace, host, features in named
    ]
    seen: dict[str, str] = {}
    for namespace, host, _features in named:
        option, name = f"policy.{namespace}.{host}", Host(host, namespace).full_name
        if name in seen:
            raise InvalidOption(
                option,
                f"{seen[name]} is the same service",
                hint="Set the policy of a service in one place only.",
                code="host_twice",
            )
        seen[name] = option
    return [
        _parsed(HostRequest(namespace, host, features.get(API), {}), options)
        for namespace, host, features, options in validated
    ]


def _validated(option: str, features: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{feature: options as the feature's argument spec makes them}."""
    found = {}
    for name, options in features.items():
        if name == API:
            if options not in API_ARGUMENT[API]["choices"]:
                hint = f"Use one of {', '.join(API_ARGUMENT[API]['choices'])}."
                raise InvalidOption(
                    f"{option}.{API}", f"{options!r} is not a valid API", hint=hint, code="options_invalid"
                )
            continue
        if name not in FEATURES:
            raise InvalidOption(
                option,
                f"{name!r} is not a valid feature",
                hint=f"Use one of {', '.join(FEATURES)}.",
                code="unknown_feature",
            )
        result = ArgumentSpecValidator(FEATURES[name].arguments).validate(_mapping(f"{option}.{name}", options))
        if result.error_messages:
            raise InvalidOption(f"{option}.{name}", "; ".join(result.error_messages), code="options_invalid")
        found[name] = result.validated_parameters
    return found


def _parsed(request: HostRequest, options: dict[str, dict[str, Any]]) -> HostRequest:
    intents = {}
    for name, feature in FEATURES.items():
        if name in options:
            try:
                intents[name] = feature.parse(options[name], request.full_name)
            except InvalidOption as error:
                message = error.message.partition(": ")[2] or error.message
                raise InvalidOption(
                    f"{request.option}.{name}.{error.option}", message, ref=error.ref, hint=error.hint, code=error.code
                ) from error
    return replace(request, intents=intents)


def _mapping(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidOption(
            place,
            f"{value!r} is not a mapping",
            hint="Use the form {namespace: {service: {feature: options}}}.",
            code="options_invalid",
        )
    return value


def compose_policies(
    reader: Reader,
    requests: list[HostRequest],
    name: str,
    takeover: Takeover,
    warnings: list[str],
    api: str | None = None,
) -> list[Policy]:
    """The policy of each host: just what is asked for it, marked as of this set; other features are released.

    api: of hosts that name none. Raises ApiError.
    """
    found = []
    for request in requests:
        previous = Policy.of(reader.read(request.host, request.namespace))
        policy = replace(previous, route_intents={}, rule_intents={}, takeover=takeover)
        warnings += policy.takeover_warnings() if request.intents or request.api else []
        for feature, intent in request.intents.items():
            # A fault's end is counted from when it was first asked for.
            policy = policy.with_feature(feature, intent, warnings, previous)
        policy = _marked(policy, name)
        found.append(policy if policy.empty else select_api(policy, request.api or api, reader))
    return found


def _marked(policy: Policy, name: str) -> Policy:
    """The policy with the mark of its set wherever it has an intent."""
    mark = {desired_annotation.SET: {"name": name}}
    routes = {**policy.route_intents, **mark} if policy.route_intents else {}
    return replace(
        policy, route_intents=routes, rule_intents={**policy.rule_intents, **mark} if policy.rule_intents else {}
    )


def released_policies(cluster: Cluster, reader: Reader, kept: list[Policy], name: str) -> list[Policy]:
    """Hosts whose policy came with the set of this name and is asked for no more: each with nothing asked. Raises
    ApiError.
    """
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
    """Steps of many hosts as those of one: of each name one step, and one wait for all of its hosts. Raises ValueError
    for a step without a place.
    """
    steps = [step for plan in plans for step in plan]
    unknown = sorted({step.name for step in steps}.difference(StepName))
    if unknown:
        raise ValueError(f"StepName has no place for the steps {', '.join(unknown)}")
    by_name = [[step for step in steps if step.name == name] for name in StepName]
    return [_merged(same) for same in by_name if same]


def _merged(steps: list[Step]) -> Step:
    barriers = [step.barrier for step in steps if step.barrier]
    return Step(
        steps[0].name,
        [obj for step in steps for obj in step.objects],
        wait_ready=any(step.wait_ready for step in steps),
        deleted=[obj for step in steps for obj in step.deleted],
        barrier=_all_of(barriers) if barriers else None,
        expected_versions={ref: version for step in steps for ref, version in step.expected_versions.items()},
        preserve_foreign=frozenset(ref for step in steps for ref in step.preserve_foreign),
    )


def _all_of(barriers: list[Barrier]) -> Barrier:
    def hold(cluster: Cluster, deadline: Deadline) -> str:
        return "; ".join(barrier.hold(cluster, deadline) for barrier in barriers)

    return Barrier(barriers[0].name, hold)
