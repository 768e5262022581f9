# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validates what a policy refers to in the cluster: its host, gateways, other hosts, ports, versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .._engine.objects import ref_of
from .._failure import Failure, InvalidOption
from .backends.istio import live_counterpart, virtual_services
from .backends.registry import BACKENDS
from .host import foreign_routes
from .host.host import MESH, RoutingApi, full_name
from .host.takeover import shadowed_routes
from .host_policy import Policy, targets_own_host


def validate_references(policy: Policy) -> list[Failure]:
    """What is wrong with the objects that the policy refers to, worst first; empty if nothing is.

    Raises InvalidOption "label_conflict", and "gateway_api_cannot" for what the policy's API can never say.
    """
    found = [*_missing_host(policy), *policy.takeover_problems(), *_missing_gateways(policy)]
    found += [*_other_rules(policy), *_other_protocols(policy), *BACKENDS[policy.api].unsupported(policy)]
    found += _missing_hosts(policy)
    if policy.api == RoutingApi.ISTIO and not found:
        found += _shadowed_routes(policy)
    return [*found, *_missing_ports(policy), *_versions_without_pods(policy)]


def _missing_host(policy: Policy) -> Iterator[Failure]:
    if policy.host.service is None and policy.host.service_entry is None:
        yield InvalidOption(
            "service",
            f"{policy.host.full_name} has no Service or ServiceEntry",
            hint="Correct service and namespace, or create the Service or ServiceEntry first.",
            code="no_such_host",
        )


def _missing_gateways(policy: Policy) -> Iterator[Failure]:
    kind = "Gateway API Gateway" if policy.api == RoutingApi.GATEWAY_API else "Istio Gateway"
    for gateway in sorted(policy.host.missing_gateways):
        yield InvalidOption(
            "gateways",
            f"{kind} {gateway} does not exist",
            hint="Use the form NAMESPACE/NAME, and create the Gateway first.",
            code="no_such_gateway",
        )


def _other_rules(policy: Policy) -> Iterator[Failure]:
    """DestinationRules that exclude one for the host, where the policy needs one."""
    if not policy.traffic_policy and not BACKENDS[policy.api].subsets(policy):
        return
    for obj in policy.host.other_destination_rules:
        yield InvalidOption(
            "service",
            f"{ref_of(obj)} is another DestinationRule for {policy.host.full_name}",
            ref=ref_of(obj).as_result("v1"),
            hint=(
                "Istio uses one DestinationRule for a host. Merge the two DestinationRules, and delete or rename the"
                " other one."
            ),
            code="rule_taken",
        )


def _other_protocols(policy: Policy) -> Iterator[Failure]:
    """Ports at which sidecars would never look for such routes. At gateways it is their own ports that count."""
    host = policy.host
    ports = {intent.get("port") for intent in policy.route_intents.values()} if MESH in policy.gateways else set()
    for port, declared in host.declared.items():
        concerned = port in ports or (ports and len(host.declared) == 1)
        if concerned and declared not in ("", policy.protocol):
            yield InvalidOption(
                "protocol",
                (
                    f"port {port} of {host.full_name} has the protocol {declared.upper()}, but the routes are for"
                    f" {policy.protocol.upper()}"
                ),
                hint="Set port, or correct the name or appProtocol of the port in the Service.",
                code="protocol_mismatch",
            )


def _missing_hosts(policy: Policy) -> Iterator[Failure]:
    for name in policy.other_hosts:
        if name in policy.host.missing_hosts:
            yield InvalidOption(
                "to",
                f"{name} has no Service or ServiceEntry",
                hint="Correct the name, or create the Service or ServiceEntry first.",
                code="no_such_host",
            )


def _shadowed_routes(policy: Policy) -> Iterable[Failure]:
    """Routes behind one that takes every request."""
    host, force = policy.host, policy.takeover.force
    for obj in virtual_services(policy):
        shadowed_before = foreign_routes.shadowed(foreign_routes.http_routes(live_counterpart(host, obj)))
        yield from shadowed_routes(foreign_routes.http_routes(obj), shadowed_before, host.full_name, force)


def _missing_ports(policy: Policy) -> Iterator[Failure]:
    """Hosts with several ports of which the policy names none."""
    host = policy.host
    without_port = [target for target in policy.targets if target.port is None]
    if len(host.ports) > 1 and any(targets_own_host(target, host) for target in without_port):
        numbers = ", ".join(map(str, host.ports))
        yield InvalidOption(
            "port", f"{host.full_name} has several ports ({numbers}): set one of them", code="port_needed"
        )
    for target in without_port if policy.api == RoutingApi.GATEWAY_API else []:
        name = full_name(target.host or "", host.namespace)
        if not targets_own_host(target, host) and len(host.other_ports.get(name, ())) > 1:
            yield InvalidOption("to.port", f"{name} has several ports: set one of them", code="port_needed")


def _versions_without_pods(policy: Policy) -> Iterator[Failure]:
    host = policy.host
    if host.pods is None:
        return
    label = policy.label
    served = {labels.get(label) for labels in host.pods}
    for version, weight in _weights(policy).items():
        if weight and version not in served:
            yield InvalidOption(
                "versions",
                f"no pod of {host.full_name} has the label {label}={version}",
                hint="Its requests would fail with status 503. Deploy the version first, or set its weight to 0.",
                code="no_pods",
            )


def _weights(policy: Policy) -> dict[str, int]:
    """{version: the largest weight that a route gives it}."""
    found: dict[str, int] = {}
    targets = [part for rule in policy.route_rules for part in rule.targets] if policy.route_intents else []
    for target, weight, _headers in targets:
        if target.version and targets_own_host(target, policy.host):
            found[target.version] = max(weight, found.get(target.version, 0))
    return found
