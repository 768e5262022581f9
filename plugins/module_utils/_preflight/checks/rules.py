# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DestinationRules: their own rules, and how they fit hosts, pods and mutual TLS."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from ..._checks.check import ERROR, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..._traffic.host.host import full_name
from ..findings import ANALYZER, KIALI, WEBHOOK, parts
from ..object_index import EVERYWHERE, World, contains, labels, namespace, place_text, scopes, spec

VERIFIED = ("SIMPLE", "MUTUAL")
LOCALITY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
HOSTNAME = "kubernetes.io/hostname"
# Labels that istiod adds for clusters and networks, which no object tells.
UNKNOWN = ("topology.istio.io/cluster", "topology.istio.io/network")
KEYS = ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")
UNVERIFIED = (
    "{} has no caCertificates: istiod decides whether the server's certificate is verified"
    " (VERIFY_CERTIFICATE_AT_CLIENT)"
)


def policies(obj: Object) -> Iterator[tuple[str, dict[str, Any]]]:
    """(field, policy) of a rule, its ports, its subsets and theirs."""
    places = [("spec", spec(obj)), *parts(spec(obj).get("subsets"), "spec.subsets")]
    for path, holder in places:
        policy = holder.get("trafficPolicy")
        if policy is not None:
            yield f"{path}.trafficPolicy", policy
            yield from parts(policy.get("portLevelSettings"), f"{path}.trafficPolicy.portLevelSettings")


def _all(world: World) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    return ((obj, field, policy) for obj in world["DestinationRule"] for field, policy in policies(obj))


def subset_repeated(world: World) -> Iterator[FieldFinding]:
    for obj in world["DestinationRule"]:
        counted = Counter(subset.get("name") for subset in spec(obj).get("subsets") or [])
        for name, number in counted.items():
            if number > 1:
                yield FieldFinding(obj, "spec.subsets", f"it has subset {name} {number} times")


def rule_host_missing(world: World) -> Iterator[FieldFinding]:
    for obj in world["DestinationRule"]:
        if not spec(obj).get("host"):
            yield FieldFinding(obj, "spec.host", "it has no host")


def policy_empty(world: World) -> Iterator[FieldFinding]:
    for obj, field, policy in _all(world):
        if not set(policy) - {"port"}:
            yield FieldFinding(obj, field, "it is empty")
        elif policy.get("connectionPool") == {}:
            yield FieldFinding(obj, f"{field}.connectionPool", "it is empty")


def tls_incomplete(world: World) -> Iterator[FieldFinding]:
    for obj, field, policy in _all(world):
        tls = policy.get("tls") or {}
        own = tls.get("clientCertificate") and tls.get("privateKey")
        if tls.get("mode") == "MUTUAL" and not own and not tls.get("credentialName"):
            yield FieldFinding(
                obj, f"{field}.tls", "MUTUAL needs clientCertificate and privateKey, or a credentialName"
            )
        if tls.get("mode") == "ISTIO_MUTUAL" and (
            tls.get("clientCertificate")
            or tls.get("privateKey")
            or tls.get("caCertificates")
            or tls.get("credentialName")
        ):
            yield FieldFinding(
                obj, f"{field}.tls", "ISTIO_MUTUAL uses the certificates of the mesh and does not allow others"
            )


def hash_incomplete(world: World) -> Iterator[FieldFinding]:
    for obj, field, policy in _all(world):
        asked = (policy.get("loadBalancer") or {}).get("consistentHash")
        if asked is None:
            continue
        if not any(asked.get(key) for key in KEYS):
            yield FieldFinding(
                obj, f"{field}.loadBalancer.consistentHash", f"it has no key: set one of {', '.join(KEYS)}"
            )
        elif asked.get("httpCookie") is not None and not asked["httpCookie"].get("name"):
            yield FieldFinding(obj, f"{field}.loadBalancer.consistentHash.httpCookie", "the cookie has no name")


def locality_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, policy in _all(world):
        local = (policy.get("loadBalancer") or {}).get("localityLbSetting") or {}
        path = f"{field}.loadBalancer.localityLbSetting"
        if local.get("distribute") and (local.get("failover") or local.get("failoverPriority")):
            yield FieldFinding(obj, path, "it has both distribute and failover: set only one of them")
        for place_, rule in parts(local.get("distribute"), f"{path}.distribute"):
            total = sum((rule.get("to") or {}).values())
            if total != 100:
                yield FieldFinding(obj, f"{place_}.to", f"its weights add up to {total}, not to 100")


def failover_without_ejection(world: World) -> Iterator[FieldFinding]:
    for obj, field, policy in _all(world):
        local = (policy.get("loadBalancer") or {}).get("localityLbSetting") or {}
        if (local.get("failover") or local.get("failoverPriority")) and not policy.get("outlierDetection"):
            yield FieldFinding(
                obj,
                f"{field}.loadBalancer.localityLbSetting",
                "without outlierDetection no failure is detected, so nothing fails over",
            )


def outlier_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, policy in _all(world):
        outlier = policy.get("outlierDetection") or {}
        if outlier.get("consecutiveLocalOriginFailures") and not outlier.get("splitExternalLocalOriginErrors"):
            yield FieldFinding(
                obj, f"{field}.outlierDetection", "consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors"
            )
        for key in ("maxEjectionPercent", "minHealthPercent"):
            value = outlier.get(key)
            if isinstance(value, (int, float)) and not 0 <= value <= 100:
                yield FieldFinding(obj, f"{field}.outlierDetection.{key}", f"{value} is not a valid percentage")


def export_ambiguous(world: World) -> Iterator[FieldFinding]:
    for kind in ("VirtualService", "DestinationRule", "ServiceEntry"):
        for obj in world[kind]:
            export = spec(obj).get("exportTo") or []
            if EVERYWHERE in export and len(export) > 1:
                yield FieldFinding(obj, "spec.exportTo", "it has * and other entries: * already includes all")
            elif len(set(export)) < len(export):
                yield FieldFinding(obj, "spec.exportTo", "it names a namespace twice")


def export_unknown(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Namespace"):
        return
    for kind in ("VirtualService", "DestinationRule", "ServiceEntry"):
        for obj in world[kind]:
            for space in sorted(scopes(obj, spec(obj).get("exportTo")) - {EVERYWHERE, "~", namespace(obj)}):
                if not world.find("Namespace", "", space):
                    yield FieldFinding(obj, "spec.exportTo", f"namespace {space} does not exist")


def _unverified(tls: dict[str, Any], obj: Object) -> bool:
    by_name = tls.get("credentialName") and spec(obj).get("workloadSelector") is not None
    return tls.get("mode") in VERIFIED and not tls.get("caCertificates") and not by_name


def tls_unverified(world: World) -> Iterator[FieldFinding]:
    for obj in world["DestinationRule"]:
        tls = (spec(obj).get("trafficPolicy") or {}).get("tls") or {}
        if _unverified(tls, obj):
            yield FieldFinding(obj, "spec.trafficPolicy.tls", UNVERIFIED.format(tls["mode"]))


def port_tls_unverified(world: World) -> Iterator[FieldFinding]:
    for obj in world["DestinationRule"]:
        policy = spec(obj).get("trafficPolicy") or {}
        for field, port in parts(policy.get("portLevelSettings"), "spec.trafficPolicy.portLevelSettings"):
            tls = port.get("tls") or {}
            if _unverified(tls, obj):
                yield FieldFinding(obj, f"{field}.tls", UNVERIFIED.format(tls["mode"]))


def destination_rule_no_host(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Service"):
        return
    for obj in world["DestinationRule"]:
        host = spec(obj).get("host") or ""
        # A wildcard is for hosts that come and go.
        if host and not host.startswith("*") and world.ports_of(host, obj, spec(obj).get("exportTo")) is None:
            yield FieldFinding(
                obj, "spec.host", f"{host} has no Service or ServiceEntry that is visible in namespace {namespace(obj)}"
            )


def subset_without_pods(world: World) -> Iterator[FieldFinding]:
    if not world.knows_pods:
        return
    for obj, host in world.rules:
        service = world.service(host, namespace(obj))
        entry = next((entry for entry in world["ServiceEntry"] if host in (spec(entry).get("hosts") or [])), None)
        selector = (
            spec(service).get("selector")
            if service
            else ((spec(entry).get("workloadSelector") or {}).get("labels") if entry else None)
        )
        # Where endpoints are written down, their labels are not those of pods.
        if (not service and not entry) or (service and not selector) or (entry and not selector):
            continue
        pods = world.selected(namespace(service or entry or {}), selector or {})
        for field, subset in parts(spec(obj).get("subsets"), "spec.subsets"):
            wanted = {key: value for key, value in (subset.get("labels") or {}).items() if key not in UNKNOWN}
            if not any(wanted.items() <= _augmented(world, pod).items() for pod in pods):
                yield FieldFinding(obj, field, f"subset {subset.get('name')} selects no pod of {host}")


def _augmented(world: World, pod: Object) -> dict[str, str]:
    """A pod's labels and those that istiod adds by its node; a node that says no locality adds none."""
    node_name = spec(pod).get("nodeName") or ""
    node = world.find("Node", "", node_name)
    by_node = {key: labels(node)[key] for key in LOCALITY if labels(node).get(key)} if node else {}
    return {**labels(pod), **by_node, **({HOSTNAME: node_name} if node_name else {})}


def subset_without_labels(world: World) -> Iterator[FieldFinding]:
    for obj in world["DestinationRule"]:
        for field, subset in parts(spec(obj).get("subsets"), "spec.subsets"):
            if not subset.get("labels") and not subset.get("trafficPolicy"):
                yield FieldFinding(
                    obj, field, f"subset {subset.get('name')} has no labels, so it selects all pods of the host"
                )


def subset_in_two_rules(world: World) -> Iterator[FieldFinding]:
    by_subset: dict[tuple[str, str, str], list[Object]] = defaultdict(list)
    for obj, host in world.rules:
        for scope in scopes(obj, spec(obj).get("exportTo")):
            for name in {subset.get("name") or "" for subset in spec(obj).get("subsets") or []} or {""}:
                # Rules of several namespaces are chosen between by the client's.
                by_subset[(f"{namespace(obj)} {scope}", host, name)].append(obj)
    for (_scope, host, name), rules in sorted(by_subset.items()):
        for obj in rules if len(rules) > 1 else ():
            others = ", ".join(sorted(place_text(other) for other in rules if other is not obj))
            yield FieldFinding(
                obj,
                "spec.subsets" if name else "spec.host",
                f"DestinationRule {others} also has {f'subset {name} of ' if name else ''}{host}: the older one is"
                " used",
            )


def _mode(world: World, obj: Object, host: str) -> str:
    """The mode of mutual TLS that a host's pods are under, as far as policies say it for all of their namespace."""
    service = world.service(host, namespace(obj))
    space = namespace(service) if service else ""
    for where in (space, world.root):
        for policy in world["PeerAuthentication"]:
            mode = str((spec(policy).get("mtls") or {}).get("mode") or "UNSET")
            if (
                service
                and namespace(policy) == where
                and not (spec(policy).get("selector") or {}).get("matchLabels")
                and mode != "UNSET"
            ):
                return mode
    return ""


def tls_off_while_strict(world: World) -> Iterator[FieldFinding]:
    for obj, host in world.rules:
        for field, policy in policies(obj):
            if (policy.get("tls") or {}).get("mode") in ("DISABLE", "SIMPLE") and _mode(world, obj, host) == "STRICT":
                yield FieldFinding(
                    obj,
                    f"{field}.tls.mode",
                    f"{policy['tls']['mode']}: clients of {host} send without mutual TLS, but its pods require it"
                    " (STRICT)",
                )


def mtls_while_off(world: World) -> Iterator[FieldFinding]:
    for obj, host in world.rules:
        for field, policy in policies(obj):
            if (policy.get("tls") or {}).get("mode") == "ISTIO_MUTUAL" and _mode(world, obj, host) == "DISABLE":
                yield FieldFinding(
                    obj,
                    f"{field}.tls.mode",
                    f"clients of {host} send mutual TLS, but its pods do not accept it (DISABLE)",
                )


def rule_selects_nothing(world: World) -> Iterator[FieldFinding]:
    if not world.knows_pods:
        return
    for obj in world["DestinationRule"]:
        wanted = (spec(obj).get("workloadSelector") or {}).get("matchLabels") or {}
        if wanted and not any(contains(pod, wanted) for pod in world.members.get(namespace(obj), [])):
            yield FieldFinding(
                obj, "spec.workloadSelector", "no pod of its namespace has these labels, so it applies to no client"
            )


def rules_of_host_conflict(world: World) -> Iterator[FieldFinding]:
    """Of two rules with a policy for one host the newer one's is not used."""
    by_host: dict[tuple[str, str], list[Object]] = defaultdict(list)
    for obj in world["DestinationRule"]:
        if spec(obj).get("trafficPolicy") and not spec(obj).get("workloadSelector"):
            by_host[(namespace(obj), full_name(spec(obj).get("host") or "", namespace(obj)))].append(obj)
    for (_space, host), rules in sorted(by_host.items()):
        for obj in rules if len(rules) > 1 else ():
            others = ", ".join(sorted(place_text(other) for other in rules if other is not obj))
            yield FieldFinding(
                obj,
                "spec.trafficPolicy",
                f"DestinationRule {others} also has a policy for {host}: only the policy of the older one is used",
            )


CHECKS = (
    Check("rule_host_missing", ERROR, rule_host_missing, "A DestinationRule has no host.", "Set the host.", WEBHOOK),
    Check("subset_repeated", ERROR, subset_repeated, "A DestinationRule has two subsets with the same name.",
          "Rename one of the subsets.", WEBHOOK),
    Check("policy_empty", ERROR, policy_empty, "A traffic policy, or a part of it, is empty.",
          "Remove it, or set its fields.", WEBHOOK),
    Check("tls_incomplete", ERROR, tls_incomplete,
          "The TLS settings lack certificates that the mode needs, or set certificates that it does not allow.",
          "MUTUAL needs certificate and key, or a credentialName. ISTIO_MUTUAL allows none.", WEBHOOK),
    Check("hash_incomplete", ERROR, hash_incomplete, "A consistent hash has no key.",
          "Set a header, a cookie with a name, a query parameter, or useSourceIp.", WEBHOOK),
    Check("locality_invalid", ERROR, locality_invalid,
          "The weights of locality load balancing do not add up to 100, or both distribute and failover are set.",
          "Set only one of distribute and failover. Make each set of weights add up to 100.", WEBHOOK),
    Check("failover_without_ejection", WARNING, failover_without_ejection, "Locality failover has no outlierDetection.",
          "Add outlierDetection to the same policy.", WEBHOOK),
    Check("outlier_invalid", ERROR, outlier_invalid,
          "outlierDetection has a percentage that is not valid, or counts local failures without splitting them off.",
          "Set splitExternalLocalOriginErrors, and use percentages from 0 to 100.", WEBHOOK),
    Check("export_ambiguous", ERROR, export_ambiguous, "exportTo contains * and other entries, or a namespace twice.",
          "Keep only *, or list each namespace once.",
          WEBHOOK),
    Check("export_unknown", WARNING, export_unknown, "exportTo names a namespace that does not exist.",
          "Correct the name, or create the namespace first.", KIALI("KIA0005")),
    Check("tls_unverified", WARNING, tls_unverified,
          "A DestinationRule originates TLS without a CA to verify the server's certificate.",
          "Set caCertificates, or a credentialName together with a workloadSelector.", ANALYZER("IST0128")),
    Check("port_tls_unverified", WARNING, port_tls_unverified,
          "A port of a DestinationRule originates TLS without a CA to verify the server's certificate.",
          "Set caCertificates in the port's tls, or a credentialName together with a workloadSelector.",
          ANALYZER("IST0129")),
    Check("destination_rule_no_host", WARNING, destination_rule_no_host,
          "The host of a DestinationRule has no Service or ServiceEntry.",
          "Correct the name, or create the Service or ServiceEntry first.", ANALYZER("IST0174") + ", Kiali KIA0202"),
    Check("subset_without_pods", ERROR, subset_without_pods, "A subset selects no pod of the host.",
          "Correct the labels, or deploy that version.", ANALYZER("IST0173") + ", Kiali KIA0203"),
    Check("subset_without_labels", WARNING, subset_without_labels, "A subset has no labels.",
          "Set the labels of its version.", KIALI("KIA0209")),
    Check("subset_in_two_rules", WARNING, subset_in_two_rules,
          "Two DestinationRules of a namespace define the same subset of a host, or both apply to the whole host.",
          "Keep one DestinationRule for the host.", KIALI("KIA0201")),
    Check("rules_of_host_conflict", WARNING, rules_of_host_conflict,
          "Two DestinationRules of a namespace have a policy for the same host.",
          "Merge the policies into one DestinationRule.", "istio.io, Traffic management best practices"),
    Check("tls_off_while_strict", ERROR, tls_off_while_strict,
          "A DestinationRule turns off mutual TLS for pods that accept only mutual TLS.",
          "Remove tls from the rule: the mesh then selects mutual TLS automatically.", KIALI("KIA0207, KIA0208")),
    Check("mtls_while_off", ERROR, mtls_while_off,
          "A DestinationRule requires mutual TLS for pods that do not accept it.",
          "Remove tls from the rule, or the mode DISABLE from the PeerAuthentication.", KIALI("KIA0205, KIA0206")),
    Check("rule_selects_nothing", WARNING, rule_selects_nothing,
          "The workloadSelector of a DestinationRule selects no clients.",
          "Correct the labels of the workloadSelector.", KIALI("KIA0004")),
)  # fmt: skip
