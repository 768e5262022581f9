# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of connections, of which nothing is read but a server's name in TLS: what they cannot have, which of them hold
where, and what proxies show.

They have no names in Istio, so a proxy's own are told by the object that they come from, and by where they lead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..._failure import InvalidOption
from ..._proxy import config_dump
from ..features.match import Match
from ..features.route_rule import RouteRule, matches_at
from ..host.host import MESH, Host, gateways_only
from ..host.port_protocol import RouteProtocol
from ..host_policy import Policy
from .proxy_checks import destination_weights, same_weights

Route = dict[str, Any]
# The lists of a VirtualService.
LISTS = (RouteProtocol.TCP.value, RouteProtocol.TLS.value)
# What is of requests alone: the option, by the field of a route or of its match.
FIELDS = {
    "delay": "delay",
    "abort": "abort",
    "timeout": "timeout",
    "retries": "retries",
    "mirrors": "mirror",
    "redirect": "redirect",
    "directResponse": "direct_response",
    "rewrite": "rewrite",
    "headers": "headers",
    "corsPolicy": "cors",
}
MATCHES = {
    "uri": "path",
    "method": "method",
    "authority": "authority",
    "headers": "headers",
    "withoutHeaders": "headers",
    "queryParams": "query",
    "ignoreUriCase": "ignore_case",
}


def require_supported(policy: Policy) -> None:
    """Raises InvalidOption "protocol_cannot" for what connections of the host cannot have."""
    if policy.route_intents and policy.protocol != RouteProtocol.HTTP:
        rules = policy.route_rules
        # A cookie's own routes come first, and read headers that nobody asked for.
        if any(headers for rule in rules for _target, _weight, headers in rule.targets):
            raise _unsupported("sticky", "only requests have cookies", policy)
        for rule in rules:
            _require_supported_rule(rule, policy)
        if policy.protocol == RouteProtocol.TLS and MESH in policy.gateways:
            hint = "Set only gateways that pass TLS through."
            raise _unsupported(
                "gateways", "in the mesh, each host name of the service would need its own route", policy, hint
            )
    if set(policy.host.declared.values()) in (
        {RouteProtocol.TCP},
        {RouteProtocol.TLS},
        {RouteProtocol.TCP, RouteProtocol.TLS},
    ):
        for option in policy.http_options:
            raise _unsupported(option, "connections have no requests", policy)


def _require_supported_rule(rule: RouteRule, policy: Policy) -> None:
    fields = {**rule.fields, **(rule.fields.get("fault") or {})}
    named = f" (rule {rule.name.removeprefix('route-')})" if rule.name.startswith("route-") else ""
    for field, option in FIELDS.items():
        if fields.get(field):
            raise _unsupported(option, f"this option is for requests{named}", policy)
    for field, option in MATCHES.items():
        if any(field in match for match in rule.matches):
            raise _unsupported(
                f"match.{option}", f"only the caller and the port of a connection can be matched{named}", policy
            )


def _unsupported(option: str, reason: str, policy: Policy, hint: str = "") -> InvalidOption:
    host = policy.host
    stated = any(intent.get("protocol") for intent in policy.route_intents.values())
    how = (
        "as set in protocol"
        if stated
        else "as do its gateways"
        if policy.gateway_protocol
        else f"as its {'Service' if host.service else 'ServiceEntry'} declares"
    )
    other = "set protocol: http" if stated else "correct the declared protocol"
    return InvalidOption(
        option,
        f"{host.full_name} accepts {policy.protocol.upper()} connections, {how}: {reason}",
        hint=hint or f"Remove the option, or {other}.",
        code="protocol_cannot",
    )


def route_matches(rule: RouteRule, policy: Policy, hosts: list[str], gateways: list[str]) -> list[Match] | None:
    """The rule's matches in an object for these hosts that is bound to these gateways; None where it concerns none of
    them.

    In the mesh connections to one port are meant, and those to other ports of the host go as before; at a gateway it is
    the gateway's own ports that count.
    """
    asked = matches_at(rule, gateways)
    if asked is None:
        return None
    found: list[Match] = []
    for match in asked or ({},):
        here = match.get("gateways", gateways)
        if MESH not in here or "port" in match or rule.port is None:
            found.append(match)
            continue
        only = {"gateways": [MESH]} if gateways != [MESH] else {}
        found += [
            {**match, **only, "port": rule.port},
            *([{**match, "gateways": gateways_only(here)}] if gateways_only(here) else []),
        ]
    if policy.protocol == RouteProtocol.TLS:
        found = [{**match, "sniHosts": hosts} for match in found]
    return [match for match in found if match]


def routes_of(obj: dict[str, Any] | None) -> list[Route]:
    """An object's routes of connections."""
    spec = (obj or {}).get("spec") or {}
    return [route for name in LISTS for route in spec.get(name) or []]


def dump_differences(text: dict[str, Any], host: Host, source: str, routes: list[Route]) -> list[str]:
    """What a proxy's dump lacks of an object's routes, or has too much, in words. source: how proxies name the
    object.
    """
    gateway = config_dump.proxy_kind(text) == config_dump.ProxyKind.GATEWAY
    words, met = [], False
    for chain in config_dump.chains(text):
        ours = chain.source.endswith(source)
        if not ours and (chain.source or not _leads_to(chain, f"|{host.full_name}")):
            continue
        found, surely = _holding(routes, gateway, chain.port)
        if any(_same(chain, route) for route in found):
            met = True
        elif ours and not found:
            words.append(f"still a route for connections to port {chain.port}")
        elif ours or (surely and not gateway):
            words.append(f"other weights for connections to port {chain.port}: {dict(chain.weights)}")
    if not met and not words and _holding(routes, gateway, None)[1]:
        words.append("no route for connections")
    return words


def has_leftovers(text: dict[str, Any], host: Host, sources: tuple[str, ...]) -> bool:
    """Whether a dump has a route of connections of ours, also where its object is gone already: only ours lead to
    subsets.
    """
    return any(
        chain.source.endswith(sources)
        or (not chain.source and _leads_to(chain, f"|{host.full_name}") and not _leads_to(chain, f"||{host.full_name}"))
        for chain in config_dump.chains(text)
    )


def _leads_to(chain: config_dump.FilterChain, end: str) -> bool:
    return any(cluster.endswith(end) for cluster, _weight in chain.weights)


def _holding(routes: Iterable[Route], gateway: bool, port: int | None) -> tuple[list[Route], bool]:
    """Routes of which the first that is for this very proxy holds at a port of its kind, None for any port; and whether
    one surely is.
    """
    found = []
    for route in routes:
        here = [match for match in route.get("match") or [{}] if _is_here(match, gateway, port)]
        found += [route] if here else []
        if any(not match.get("sourceLabels") and not match.get("sourceNamespace") for match in here):
            return found, True
    return found, False


def _is_here(match: Match, gateway: bool, port: int | None) -> bool:
    names = match.get("gateways")
    if names and not (gateways_only(names) if gateway else MESH in names):
        return False
    # A gateway's pods may listen at other ports than the Gateway names.
    return gateway or port is None or match.get("port", port) == port


def _same(chain: config_dump.FilterChain, route: Route) -> bool:
    ports = {str(part["destination"]["port"]["number"]) for part in route["route"] if part["destination"].get("port")}
    return same_weights(chain, destination_weights(route)) and (
        not ports or {cluster.split("|")[1] for cluster, _weight in chain.weights if cluster.count("|") == 3} <= ports
    )
