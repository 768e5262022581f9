# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Of which kinds each check tells, and by which others its verdict on an object may change: what a few objects take to
be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._checks.check import ERROR
from .._engine.objects import Object
from .._traffic.host.host import gateways_only
from .checks.routes import CLAIM
from .object_index import EXTENSIONS, KINDS, NETWORKING, SECURITY, TELEMETRY, kind_of, spec


@dataclass(frozen=True)
class CheckDependency:
    """Checks that need the same.

    of     kinds that they tell of
    needs  kinds by which the verdict on one of these objects may change, beside the object itself; its own kind where
           others of it count
    when   {kind: whether an object of it counts}: others of the kind give the checks nothing to say
    """

    of: frozenset[str]
    needs: frozenset[str]
    codes: tuple[str, ...]
    when: Mapping[str, Callable[[Object], bool]] = field(default_factory=dict)

    def touched(self, written: Iterable[Object]) -> set[str]:
        """Kinds of written objects that count."""
        return {kind_of(obj) for obj in written if kind_of(obj) not in self.when or self.when[kind_of(obj)](obj)}


def _dependency(of: str, needs: str, codes: str, **when: Callable[[Object], bool]) -> CheckDependency:
    return CheckDependency(frozenset(of.split()), frozenset(needs.split()), tuple(codes.split()), when)


def _contains_key(value: Any, word: str) -> bool:
    """Whether a key anywhere in a value has this word in it."""
    if isinstance(value, dict):
        return any(word in str(key) or _contains_key(item, word) for key, item in value.items())
    return isinstance(value, list) and any(_contains_key(item, word) for item in value)


def _mentions(word: str) -> Callable[[Object], bool]:
    return lambda obj: _contains_key(spec(obj), word)


def _at_gateway(obj: Object) -> bool:
    return bool(gateways_only(spec(obj).get("gateways") or []))


VERSIONED = " ".join(
    kind for kind, (group, _kind) in KINDS.items() if group in (NETWORKING, SECURITY, TELEMETRY, EXTENSIONS)
)
SELECTING = "AuthorizationPolicy RequestAuthentication Telemetry WasmPlugin"
# As workloads.py has them.
ANNOTATED = "Namespace Service Pod Deployment StatefulSet DaemonSet"
DEPENDENCIES: tuple[CheckDependency, ...] = (
    _dependency(" ".join(KINDS), "", "shape_wrong"),
    _dependency(VERSIONED, "", "version_old"),
    _dependency("VirtualService", "",
                "virtual_service_empty delegate_wrong route_ambiguous host_wildcard_in_mesh host_repeated "
                "weights_invalid destination_missing destination_repeated match_empty regex_invalid claim_in_mesh "
                "duration_invalid fault_invalid retries_invalid mirror_invalid direct_response_invalid "
                "header_invalid authority_twice tls_match_wrong gateway_name_form fault_with_retries "
                "route_unreachable match_ineffective gateway_generated"),
    _dependency("VirtualService", "VirtualService", "delegate_missing hosts_conflict subset_ineffective_at_gateway"),
    _dependency("VirtualService", "Service ServiceEntry",
                "virtual_service_no_host destination_no_port destination_port_needed"),
    _dependency("VirtualService", "DestinationRule Service", "subset_undefined"),
    _dependency("VirtualService", "DestinationRule", "sticky_with_weights"),
    _dependency("VirtualService", "Gateway", "virtual_service_no_gateway host_not_in_gateway",
                VirtualService=_at_gateway),
    _dependency("VirtualService", "HTTPRoute GRPCRoute", "routes_of_two_kinds"),
    _dependency("VirtualService", "Gateway Pod RequestAuthentication", "claim_without_authentication",
                VirtualService=_mentions(CLAIM)),
    _dependency("VirtualService Sidecar", "", "deprecated_field"),
    _dependency("VirtualService DestinationRule ServiceEntry", "", "export_ambiguous"),
    _dependency("VirtualService DestinationRule ServiceEntry", "Namespace", "export_unknown",
                **dict.fromkeys(("VirtualService", "DestinationRule", "ServiceEntry"), _mentions("exportTo"))),
    _dependency("DestinationRule", "",
                "rule_host_missing subset_repeated policy_empty tls_incomplete hash_incomplete locality_invalid "
                "failover_without_ejection outlier_invalid tls_unverified port_tls_unverified subset_without_labels"),
    _dependency("DestinationRule", "DestinationRule", "subset_in_two_rules rules_of_host_conflict"),
    _dependency("DestinationRule", "Service ServiceEntry", "destination_rule_no_host"),
    _dependency("DestinationRule", "PeerAuthentication Service", "tls_off_while_strict mtls_while_off",
                DestinationRule=_mentions("tls")),
    _dependency("DestinationRule", "Pod", "rule_selects_nothing", DestinationRule=_mentions("workloadSelector")),
    _dependency("Gateway", "",
                "gateway_incomplete gateway_port_name_repeated gateway_tls_wrong gateway_tls_incomplete "
                "gateway_tls_old"),
    _dependency("Gateway", "Gateway Pod", "gateways_conflict"),
    _dependency("Gateway", "Gateway", "gateway_certificate_repeated"),
    _dependency("Gateway", "Pod", "gateway_selects_nothing"),
    _dependency("Gateway", "Pod Service", "gateway_without_service gateway_port_not_on_service"),
    _dependency("ServiceEntry", "", "entry_incomplete entry_resolution_wrong entry_hosts_not_told_apart"),
    _dependency("ServiceEntry", "ServiceEntry", "entry_protocols_conflict entry_repeated"),
    _dependency("ServiceEntry", "ConfigMap", "entry_address_needed"),
    _dependency("ServiceEntry", "Pod WorkloadEntry", "entry_selects_nothing",
                ServiceEntry=_mentions("workloadSelector")),
    _dependency("WorkloadEntry", "", "workload_no_address"),
    _dependency("WorkloadGroup", "", "workload_group_incomplete"),
    _dependency("WorkloadEntry WorkloadGroup", "ServiceAccount", "workload_account_missing"),
    _dependency("Sidecar", "", "sidecar_egress_wrong sidecar_global_with_selector"),
    _dependency("Sidecar", "Pod Sidecar", "sidecars_overlap", Sidecar=_mentions("workloadSelector")),
    _dependency("Sidecar", "Namespace Sidecar", "sidecars_without_selector"),
    _dependency("Sidecar", "Namespace Pod", "sidecar_ineffective"),
    _dependency("Sidecar", "Namespace Service ServiceEntry", "sidecar_host_unknown"),
    _dependency("AuthorizationPolicy", "",
                "authorization_incomplete authorization_values_wrong condition_unknown method_unknown"),
    _dependency("AuthorizationPolicy", "Namespace", "authorization_no_namespace",
                AuthorizationPolicy=_mentions("amespaces")),
    _dependency("AuthorizationPolicy", "PeerAuthentication", "identity_without_mtls"),
    _dependency("AuthorizationPolicy", "ConfigMap ServiceAccount", "principal_unknown",
                AuthorizationPolicy=_mentions("principals")),
    _dependency("AuthorizationPolicy", "Pod Service", "deny_of_http_on_tcp"),
    _dependency("AuthorizationPolicy", "Gateway HTTPRoute Service ServiceEntry VirtualService",
                "authorization_host_unknown", AuthorizationPolicy=_mentions("osts")),
    _dependency("AuthorizationPolicy", "AuthorizationPolicy Gateway Namespace Pod Service VirtualService",
                "deny_all_shuts_out_ingress", VirtualService=_at_gateway),
    _dependency("AuthorizationPolicy", "AuthorizationPolicy Namespace Pod", "deny_all_shuts_out_scrape"),
    _dependency("RequestAuthentication", "", "jwt_incomplete jwt_private_key"),
    _dependency("RequestAuthentication", "AuthorizationPolicy", "token_not_required"),
    _dependency("Deployment", "RequestAuthentication", "jwks_unrestricted"),
    _dependency("PeerAuthentication", "", "peer_ports_without_selector peer_mode_unknown"),
    _dependency("PeerAuthentication", "PeerAuthentication", "peer_policies_repeated"),
    _dependency("PeerAuthentication", "PeerAuthentication Pod", "peer_policies_overlap",
                PeerAuthentication=_mentions("selector")),
    _dependency("PeerAuthentication", "Namespace Pod", "pods_of_strict_not_enrolled"),
    _dependency("Service", "Namespace PeerAuthentication Pod", "strict_from_outside"),
    _dependency("Telemetry", "", "telemetry_values_wrong"),
    _dependency("Telemetry", "Telemetry", "telemetries_without_selector"),
    _dependency("Telemetry", "Pod Telemetry", "telemetries_overlap", Telemetry=_mentions("selector")),
    _dependency("Telemetry", "ConfigMap", "telemetry_no_provider telemetry_provider_unknown"),
    _dependency("WasmPlugin", "Pod", "wasm_selects_nothing"),
    _dependency(SELECTING, "", "selector_and_targets"),
    _dependency(SELECTING, "Pod", "selector_ineffective", **dict.fromkeys(SELECTING.split(), _mentions("selector"))),
    _dependency(SELECTING, "GatewayClass RouteGateway Service ServiceEntry", "target_missing",
                **dict.fromkeys(SELECTING.split(), _mentions("targetRef"))),
    _dependency("EnvoyFilter", "",
                "filter_relative filter_replaces_wrongly filter_adds_wrongly filter_removes_wrongly "
                "filter_relative_by_version"),
    _dependency("HTTPRoute GRPCRoute", "", "route_weights_zero"),
    _dependency("HTTPRoute GRPCRoute", "RouteGateway", "route_no_listener"),
    _dependency("HTTPRoute GRPCRoute", "RouteGateway Service ServiceEntry", "route_no_parent"),
    _dependency("HTTPRoute GRPCRoute", "Service", "route_no_backend"),
    _dependency("HTTPRoute GRPCRoute", "ReferenceGrant Service", "backend_not_granted"),
    _dependency("RouteGateway", "", "listeners_conflict"),
    _dependency("RouteGateway", "GatewayClass", "route_gateway_no_class"),
    _dependency("ReferenceGrant", "Namespace", "grant_no_namespace"),
    _dependency("Service", "", "port_name_form external_name_port"),
    _dependency(ANNOTATED, "", "annotation_unknown annotation_misplaced annotation_invalid annotation_deprecated"),
)  # fmt: skip
# What is not asked of a change of policy, and why.
PODS, SECRETS, ELSEWHERE = (
    "the modules refuse a share for a version without pods",
    "the module gateway asks for its Secret by name",
    "of kinds that are not policy, and that no policy makes right or wrong",
)
COMING = "the modules warn of it, for a policy may come before its pods"
NOT_REVIEWED = {
    **dict.fromkeys(
        (
            "sidecar_selects_nothing",
            "authorization_selects_nothing",
            "authentication_selects_nothing",
            "peer_selects_nothing",
            "telemetry_selects_nothing",
        ),
        COMING,
    ),
    **dict.fromkeys(("subset_without_pods", "weight_on_nothing_ready"), PODS),
    **dict.fromkeys(("gateway_no_secret", "gateway_credential_invalid", "listener_no_secret"), SECRETS),
    "strict_with_plain_clients": "the module mtls finds the callers itself, and its options decide on them",
    "weight_alone": "the modules write a share as it was given, and alone it is all",
    "validated_by_none": "webhooks are the control plane's",
    "condition_negative": "the status is that of the object as it was",
    **dict.fromkeys(
        (
            "injectors_overlap",
            "injector_no_service",
            "webhook_no_address",
            "webhook_at_address",
            "definition_old",
            "definition_gone",
        ),
        ELSEWHERE,
    ),
    **dict.fromkeys(
        (
            "namespace_not_enrolled",
            "namespace_by_default",
            "namespace_several_labels",
            "pod_without_proxy",
            "image_auto",
            "image_auto_not_injected",
            "user_of_proxy",
        ),
        ELSEWHERE,
    ),
    **dict.fromkeys(("port_of_two_protocols", "ports_of_one_target"), ELSEWHERE),
}


@dataclass(frozen=True)
class ReviewScope:
    """codes: of checks that may say something else for what is written -> kinds that must have been read for it; kinds:
    all of these.
    """

    codes: dict[str, frozenset[str]]
    kinds: frozenset[str]


def review_scope(written: Iterable[Object], severities: Mapping[str, str]) -> ReviewScope:
    """What is to be asked of objects that are written, as they were and as they will be.

    Errors are looked for on every object, all else on those that are written, and elsewhere where that takes nothing
    more to read. severities: by code.
    """
    objects = list(written)
    codes: dict[str, frozenset[str]] = {}
    free: list[CheckDependency] = []
    for scope in DEPENDENCIES:
        kinds = scope.touched(objects)
        worst = any(severities[code] == ERROR for code in scope.codes)
        if kinds & scope.needs and worst:
            codes.update(dict.fromkeys(scope.codes, scope.of | scope.needs))
        elif kinds & scope.of:
            codes.update(dict.fromkeys(scope.codes, scope.needs))
        if kinds & scope.needs and not worst:
            free.append(scope)
    read = frozenset(kind for needed in codes.values() for kind in needed)
    for scope in free:
        if scope.of | scope.needs <= read:
            codes.update(dict.fromkeys(scope.codes, scope.of | scope.needs))
    return ReviewScope(codes, read)
