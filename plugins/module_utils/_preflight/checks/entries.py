# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts outside, workloads outside, and what sidecars see: ServiceEntry, WorkloadEntry, WorkloadGroup, Sidecar."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterator

from ..._checks.check import ERROR, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..._traffic.host.host import full_name
from ..findings import ANALYZER, KIALI, KUBERNETES, WEBHOOK, parts
from ..object_index import EVERYWHERE, World, contains, labels, namespace, overlaps, place_text, quoted, scopes, spec

FIXED = ("", "NONE", "STATIC")
DNS = ("DNS", "DNS_ROUND_ROBIN")
BY_NAME = ("HTTP", "HTTPS", "HTTP2", "GRPC", "GRPC-WEB", "TLS")
# Of the mesh configuration's proxyMetadata: proxies give hosts addresses of their own.
CAPTURE, ALLOCATE = "ISTIO_META_DNS_CAPTURE", ("ISTIO_META_DNS_AUTO_ALLOCATE", "PILOT_ENABLE_IP_AUTOALLOCATE")


def entry_incomplete(world: World) -> Iterator[FieldFinding]:
    for obj in world["ServiceEntry"]:
        if not spec(obj).get("hosts"):
            yield FieldFinding(obj, "spec.hosts", "it has no host")
        for number, host in enumerate(spec(obj).get("hosts") or []):
            if host == "*":
                yield FieldFinding(obj, f"spec.hosts[{number}]", "the host * is rejected: it would match every host")
        counted = Counter(port.get("number") for port in spec(obj).get("ports") or [])
        for number, times in counted.items():
            if times > 1:
                yield FieldFinding(obj, "spec.ports", f"it has port {number} {times} times")


def entry_resolution_wrong(world: World) -> Iterator[FieldFinding]:
    for obj in world["ServiceEntry"]:
        own = spec(obj)
        resolution, endpoints = own.get("resolution") or "", own.get("endpoints") or []
        if own.get("workloadSelector") and endpoints:
            yield FieldFinding(
                obj, "spec.endpoints", "it has both workloadSelector and endpoints: set only one of them"
            )
        if resolution in ("", "NONE") and endpoints:
            yield FieldFinding(obj, "spec.endpoints", "resolution NONE does not allow endpoints")
        if resolution == "STATIC" and not endpoints and not own.get("workloadSelector"):
            yield FieldFinding(obj, "spec.endpoints", "STATIC needs endpoints or a workloadSelector")
        if resolution == "DNS_ROUND_ROBIN" and len(endpoints) > 1:
            yield FieldFinding(obj, "spec.endpoints", "DNS_ROUND_ROBIN allows only one endpoint")
        if resolution in DNS and not endpoints:
            for host in own.get("hosts") or []:
                if host.startswith("*") and host != "*":
                    yield FieldFinding(
                        obj, "spec.hosts", f"{host} cannot be resolved: DNS without endpoints needs full host names"
                    )
        if resolution not in FIXED and any("/" in address for address in own.get("addresses") or []):
            yield FieldFinding(
                obj, "spec.addresses", f"only resolutions NONE and STATIC allow address ranges, not {resolution}"
            )


def entry_hosts_not_told_apart(world: World) -> Iterator[FieldFinding]:
    for obj in world["ServiceEntry"]:
        plain = [
            str(port.get("number"))
            for port in spec(obj).get("ports") or []
            if str(port.get("protocol") or "").upper() not in BY_NAME
        ]
        if len(spec(obj).get("hosts") or []) > 1 and plain:
            yield FieldFinding(
                obj,
                "spec.hosts",
                f"it has several hosts on port {', '.join(plain)}: only HTTP and TLS carry a host name that"
                " distinguishes them",
            )


def entry_address_needed(world: World) -> Iterator[FieldFinding]:
    metadata = (world.mesh.get("defaultConfig") or {}).get("proxyMetadata") or {}
    if str(metadata.get(CAPTURE)).lower() == "true" and any(
        str(metadata.get(key)).lower() == "true" for key in ALLOCATE
    ):
        return
    for obj in world["ServiceEntry"]:
        if spec(obj).get("addresses") or (obj.get("status") or {}).get("addresses"):
            continue
        for field, port in parts(spec(obj).get("ports"), "spec.ports"):
            if str(port.get("protocol") or "TCP").upper() == "TCP":
                yield FieldFinding(
                    obj, field, "without addresses, a TCP port captures all traffic to that port, for any destination"
                )


def entry_protocols_conflict(world: World) -> Iterator[FieldFinding]:
    by_port: dict[tuple[str, str, int], list[tuple[Object, str]]] = defaultdict(list)
    for obj in world["ServiceEntry"]:
        for scope in scopes(obj, spec(obj).get("exportTo")):
            for host in spec(obj).get("hosts") or []:
                for port in spec(obj).get("ports") or []:
                    by_port[(scope, host, port.get("number") or 0)].append(
                        (obj, str(port.get("protocol") or "").upper())
                    )
    told = set()
    for (scope, host, number), own in sorted(by_port.items()):
        every = own if scope == EVERYWHERE else [*own, *by_port.get((EVERYWHERE, host, number), [])]
        protocols = sorted({protocol for _obj, protocol in every})
        for obj, _protocol in every if len(protocols) > 1 else ():
            if place_text(obj) not in told:
                told.add(place_text(obj))
                yield FieldFinding(
                    obj, "spec.ports", f"port {number} of {host} has several protocols: {' and '.join(protocols)}"
                )


def entry_repeated(world: World) -> Iterator[FieldFinding]:
    by_host: dict[tuple[str, int], list[Object]] = defaultdict(list)
    for obj in world["ServiceEntry"]:
        for host in spec(obj).get("hosts") or []:
            for number in {port.get("number") or 0 for port in spec(obj).get("ports") or []}:
                by_host[(host, number)].append(obj)
    for (host, number), entries in sorted(by_host.items()):
        for obj in entries:
            mine = scopes(obj, spec(obj).get("exportTo"))
            others = sorted(
                place_text(other)
                for other in entries
                if other is not obj
                and (
                    mine | scopes(other, spec(other).get("exportTo")) >= {EVERYWHERE}
                    or mine & scopes(other, spec(other).get("exportTo"))
                )
            )
            if others:
                yield FieldFinding(
                    obj, "spec.hosts", f"ServiceEntry {', '.join(others)} also has port {number} of {host}"
                )


def workload_no_address(world: World) -> Iterator[FieldFinding]:
    for obj in world["WorkloadEntry"]:
        address = spec(obj).get("address") or ""
        if not address and not spec(obj).get("network"):
            yield FieldFinding(obj, "spec.address", "it has no address")
        elif address and not address.startswith("unix://") and all(part.isdigit() for part in address.split(".")):
            try:
                ipaddress.ip_address(address)
            except ValueError:
                yield FieldFinding(obj, "spec.address", f"{address} is not a valid address")


def workload_group_incomplete(world: World) -> Iterator[FieldFinding]:
    for obj in world["WorkloadGroup"]:
        if spec(obj).get("template") is None:
            yield FieldFinding(obj, "spec.template", "it has no template, so no workload can register with it")


def workload_account_missing(world: World) -> Iterator[FieldFinding]:
    if not world.knows("ServiceAccount"):
        return
    for kind in ("WorkloadEntry", "WorkloadGroup"):
        for obj in world[kind]:
            holder = (spec(obj).get("template") or {}) if kind == "WorkloadGroup" else spec(obj)
            account = holder.get("serviceAccount")
            if account and account != "default" and not world.find("ServiceAccount", namespace(obj), account):
                yield FieldFinding(
                    obj,
                    "spec.template.serviceAccount" if kind == "WorkloadGroup" else "spec.serviceAccount",
                    f"ServiceAccount {namespace(obj)}/{account} does not exist",
                )


def _selector(obj: Object) -> dict[str, str]:
    return (spec(obj).get("workloadSelector") or {}).get("labels") or {}


def sidecar_selects_nothing(world: World) -> Iterator[FieldFinding]:
    if not world.knows_pods:
        return
    for obj in world["Sidecar"]:
        if _selector(obj) and not world.selected(namespace(obj), _selector(obj)):
            yield FieldFinding(
                obj, "spec.workloadSelector", f"no pod of its namespace has the labels {quoted(_selector(obj))}"
            )


def sidecars_overlap(world: World) -> Iterator[FieldFinding]:
    for obj in world["Sidecar"]:
        pods = (
            [pod for pod in world.selected(namespace(obj), _selector(obj)) if not world.ambient(pod)]
            if _selector(obj)
            else []
        )
        others = [
            other
            for other in world["Sidecar"]
            if other is not obj
            and namespace(other) == namespace(obj)
            and _selector(other)
            and any(contains(pod, _selector(other)) for pod in pods)
        ]
        if others:
            yield FieldFinding(
                obj,
                "spec.workloadSelector",
                f"Sidecar {', '.join(sorted(map(place_text, others)))} selects some of the same pods, and it is not"
                " defined which one is used",
            )


def _ambient_namespace(world: World, space: str) -> bool:
    own = world.namespace_labels(space)
    return (
        own.get("istio.io/dataplane-mode") == "ambient"
        and own.get("istio-injection") != "enabled"
        and not own.get("istio.io/rev")
    )


def sidecars_without_selector(world: World) -> Iterator[FieldFinding]:
    for obj in world["Sidecar"]:
        if not _selector(obj) and not _ambient_namespace(world, namespace(obj)):
            others = [
                other
                for other in world["Sidecar"]
                if other is not obj and namespace(other) == namespace(obj) and not _selector(other)
            ]
            if others:
                yield FieldFinding(
                    obj,
                    "spec.workloadSelector",
                    f"Sidecar {', '.join(sorted(map(place_text, others)))} also applies to the whole namespace",
                )


def sidecar_ineffective(world: World) -> Iterator[FieldFinding]:
    for obj in world["Sidecar"]:
        selector = _selector(obj)
        pods = world.selected(namespace(obj), selector) if selector else []
        if any(world.ambient(pod) for pod in pods) or (not selector and _ambient_namespace(world, namespace(obj))):
            yield FieldFinding(obj, "spec.workloadSelector", "its pods are in ambient mode and have no sidecar")


def sidecar_egress_wrong(world: World) -> Iterator[FieldFinding]:
    for obj in world["Sidecar"]:
        listeners = list(parts(spec(obj).get("egress"), "spec.egress"))
        for number, (field, listener) in enumerate(listeners):
            if not listener.get("hosts"):
                yield FieldFinding(obj, f"{field}.hosts", "it has no host")
            for host in listener.get("hosts") or []:
                if host.count("/") != 1:
                    yield FieldFinding(obj, f"{field}.hosts", f"{host} does not have the form NAMESPACE/HOST")
            if not listener.get("port") and number < len(listeners) - 1:
                yield FieldFinding(
                    obj, field, "a listener without a port matches all remaining traffic: move it to the end"
                )


def sidecar_host_unknown(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Service"):
        return
    for obj in world["Sidecar"]:
        for field, listener in parts(spec(obj).get("egress"), "spec.egress"):
            for host in listener.get("hosts") or []:
                space, _slash, wanted = host.partition("/")
                space = namespace(obj) if space == "." else space
                if wanted and not _seen(world, space, wanted) and space != "~":
                    yield FieldFinding(obj, f"{field}.hosts", f"{host} has no Service or ServiceEntry")


def _seen(world: World, space: str, host: str) -> bool:
    """Whether a namespace, or any with "*", has a host; all hosts of one are always right."""
    if host == "*":
        return space == EVERYWHERE or not world.knows("Namespace") or world.find("Namespace", "", space) is not None
    services = [
        full_name(str(obj["metadata"]["name"]), namespace(obj))
        for obj in world["Service"]
        if space in (EVERYWHERE, namespace(obj))
    ]
    entries = [
        entry
        for obj in world["ServiceEntry"]
        if space in (EVERYWHERE, namespace(obj))
        for entry in spec(obj).get("hosts") or []
    ]
    return any(overlaps(host, other) for other in [*services, *entries])


def sidecar_global_with_selector(world: World) -> Iterator[FieldFinding]:
    for obj in world["Sidecar"]:
        if namespace(obj) == world.root and _selector(obj):
            yield FieldFinding(
                obj,
                "spec.workloadSelector",
                f"in {world.root}, a Sidecar applies to the whole mesh only if it has no selector",
            )


def entry_selects_nothing(world: World) -> Iterator[FieldFinding]:
    if not world.knows_pods and not world.knows("WorkloadEntry"):
        return
    for obj in world["ServiceEntry"]:
        wanted = _selector(obj)
        outside = [
            entry
            for entry in world["WorkloadEntry"]
            if namespace(entry) == namespace(obj)
            and wanted.items() <= {**labels(entry), **(spec(entry).get("labels") or {})}.items()
        ]
        if wanted and not outside and not world.selected(namespace(obj), wanted):
            yield FieldFinding(
                obj,
                "spec.workloadSelector",
                f"no pod or WorkloadEntry of its namespace has the labels {quoted(wanted)}",
            )


CHECKS = (
    Check("entry_incomplete", ERROR, entry_incomplete, "A ServiceEntry has no hosts, the host *, or a port twice.",
          "List the hosts, and each port once.", WEBHOOK),
    Check("entry_resolution_wrong", ERROR, entry_resolution_wrong,
          "Endpoints, addresses or hosts of a ServiceEntry do not match its resolution.",
          "STATIC needs endpoints. DNS needs full host names or endpoints. NONE allows neither.",
          WEBHOOK + ", definition"),
    Check("entry_hosts_not_told_apart", ERROR, entry_hosts_not_told_apart,
          "A ServiceEntry has several hosts on a port whose protocol does not carry the host name.",
          "Create a ServiceEntry with addresses for each host.", WEBHOOK),
    Check("entry_address_needed", WARNING, entry_address_needed, "A TCP port of a ServiceEntry has no addresses.",
          "Set addresses, or let the mesh assign them.",
          ANALYZER("IST0134")),
    Check("entry_protocols_conflict", WARNING, entry_protocols_conflict,
          "ServiceEntries set two protocols for the same port of a host.", "Set the same protocol in all of them.",
          ANALYZER("IST0177") + ", Kiali KIA1212"),
    Check("entry_repeated", WARNING, entry_repeated, "Several ServiceEntries have the same port of a host.",
          "Keep one, or limit them with exportTo.", KIALI("KIA1211")),
    Check("entry_selects_nothing", WARNING, entry_selects_nothing,
          "The selector of a ServiceEntry selects no workload.",
          "Correct the labels, or create the WorkloadEntry first.", KIALI("KIA0004")),
    Check("workload_no_address", ERROR, workload_no_address, "A WorkloadEntry has no valid address.",
          "Set the address or the network of the workload.", WEBHOOK),
    Check("workload_group_incomplete", ERROR, workload_group_incomplete, "A WorkloadGroup has no template.",
          "Set the template.", KUBERNETES),
    Check("workload_account_missing", WARNING, workload_account_missing,
          "The ServiceAccount of a workload outside the cluster does not exist.",
          "Correct the name, or create the ServiceAccount first.", KIALI("KIA1701, KIA1702")),
    Check("sidecar_selects_nothing", ERROR, sidecar_selects_nothing, "The selector of a Sidecar selects no pod.",
          "Correct the labels.", ANALYZER("IST0101") + ", Kiali KIA0004"),
    Check("sidecars_overlap", ERROR, sidecars_overlap, "Two Sidecars select the same pod.",
          "Change the selectors so that they do not overlap.", ANALYZER("IST0110") + ", Kiali KIA0003"),
    Check("sidecars_without_selector", ERROR, sidecars_without_selector,
          "Two Sidecars of a namespace have no selector.", "Keep one for the whole namespace.",
          ANALYZER("IST0111") + ", Kiali KIA0002"),
    Check("sidecar_ineffective", WARNING, sidecar_ineffective, "A Sidecar applies to pods without a sidecar.",
          "Remove it. In ambient mode, a waypoint applies the policy.", ANALYZER("IST0167")),
    Check("sidecar_egress_wrong", ERROR, sidecar_egress_wrong,
          "The egress of a Sidecar has no hosts, hosts that are not NAMESPACE/HOST, or a catch-all listener that is "
          "not the last one.", "Use the form ./name, namespace/name or */name for hosts.", WEBHOOK),
    Check("sidecar_host_unknown", WARNING, sidecar_host_unknown,
          "A Sidecar names a host without a Service or ServiceEntry.",
          "Correct the name, or create the Service or ServiceEntry first.", KIALI("KIA1004")),
    Check("sidecar_global_with_selector", WARNING, sidecar_global_with_selector,
          "A Sidecar in the control plane's namespace has a selector.",
          "Remove the selector, or move the Sidecar to another namespace.", KIALI("KIA1006")),
)  # fmt: skip
