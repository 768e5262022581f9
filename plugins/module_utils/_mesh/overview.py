# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything about a mesh in one value."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._istio import mesh, webhooks
from .._istio.dataplane import injection, revisions
from .._istio.install.control_plane import TAG
from . import facts, registry
from .facts import PROXIES, Facts, labels_of
from .gate import Gate

# Without these nothing can be told; of the others the result says that they may not be read.
NEEDED = frozenset({"namespaces", "nodes", "pods", "services", "istiods", "injectors"})
MORE = {"replica_sets", "validators", "crds", "sets", "roots", "node_agents"}
KINDS = {"injectors": "injection", "validators": "validation"}


def read_overview(cluster: Cluster, proxies: bool) -> dict[str, Any]:
    """The result of mesh_info. proxies: whether istiods are asked for their proxies. Raises ApiError."""
    found = facts.read_facts(cluster, "istio-system", NEEDED | MORE | ({PROXIES} if proxies else set()), NEEDED)
    planes = mesh.control_plane_rows(found["istiods"])
    places = {plane["namespace"] for plane in planes}
    if places and found.namespace not in places:
        found = replace(found, namespace=min(places))
    return {
        "cluster": {"name": cluster.api.name, "server": cluster.api.server, "version": found.kubernetes},
        "control_planes": planes,
        "tags": [revisions.tag_row(tag, found.known, found["namespaces"]) for tag in sorted(found.known.tags)],
        "namespaces": mesh.namespace_rows(found["namespaces"], found["pods"], found.known),
        "gateways": [
            mesh.gateway_row(service, found["nodes"]) for service in found["services"] if injection.is_gateway(service)
        ],
        "addons": mesh.addon_rows(found["services"], places),
        "webhooks": [
            _webhook(obj, kind, found) for source, kind in KINDS.items() for obj in found.objects.get(source, ())
        ],
        "crds": _crds(found),
        "root_certificates": _root_certificates(found),
        "workloads": _workloads(found),
        "proxies": _proxies(found) if proxies else None,
        "skew": _skew(found),
        "forbidden_kinds": found.refused,
    }


def _webhook(obj: Object, kind: str, found: Facts) -> dict[str, Any]:
    labels, hooks = labels_of(obj), webhooks.active_entries(obj)
    places = sorted({place for hook in hooks if (place := webhooks.service_of(hook))})
    addresses = sorted({hook["clientConfig"]["url"] for hook in hooks if (hook.get("clientConfig") or {}).get("url")})
    services = [found.service(*place) for place in places]
    ready = [found.ready_behind(service) if service else 0 for service in services]
    return {
        "name": obj["metadata"]["name"],
        "kind": kind,
        "revision": injection.revision_label(obj),
        "tag": labels.get(TAG, ""),
        "active": bool(hooks),
        "targets": [*(f"{namespace}/{name}" for namespace, name in places), *addresses],
        "failure_policies": sorted({webhooks.policy_of(hook) for hook in hooks}),
        "has_ca": all(webhooks.armed_entry(hook) for hook in hooks),
        "ready_endpoints": min((count for count in ready if count is not None), default=None),
    }


def _crds(found: Facts) -> dict[str, Any] | None:
    if not {"crds", "sets"} <= set(found.objects):
        return None
    own = [obj for obj in found["crds"] if facts.is_istios(obj)]
    rows = [{"name": obj["metadata"]["name"], "version": str(facts.definition_version(obj) or "")} for obj in own]
    return {"version": str(found.base or "") if own else "", "objects": rows}


def _root_certificates(found: Facts) -> list[dict[str, str]] | None:
    """None where they are not known."""
    if "roots" not in found.objects:
        return None
    try:
        return [
            {
                "fingerprint": root.fingerprint,
                "begins": f"{root.begins:%Y-%m-%dT%H:%M:%SZ}",
                "expires": f"{root.expires:%Y-%m-%dT%H:%M:%SZ}",
            }
            for root in found.roots
        ]
    except ValueError:
        return None if facts.ROOT in {obj["metadata"]["name"] for obj in found["roots"]} else []


def _workloads(found: Facts) -> list[dict[str, Any]] | None:
    """Workloads with pods that have a proxy or should have one."""
    if "replica_sets" not in found.objects:
        return None
    lacking = {facts.proxy_id(pod) for pod in found.living if found.lacks_sidecar(pod)}
    concerned = {
        facts.proxy_id(pod): pod for pod in found.living if injection.has_sidecar(pod) or facts.proxy_id(pod) in lacking
    }
    return [
        _workload(workload, [concerned[f"{name}.{workload.ref.namespace}"] for name in workload.pods], lacking, found)
        for workload in found.workloads(concerned.values())
    ]


def _workload(workload: injection.Workload, pods: list[Object], lacking: set[str], found: Facts) -> dict[str, Any]:
    would = {pod["metadata"]["name"]: found.injects_now(pod) for pod in pods}
    used = sorted({found.revision_of(pod) for pod in pods if injection.has_sidecar(pod)} - {""})
    return {
        **injection.workload_row(workload),
        "revisions": used,
        "uses": next(filter(None, would.values()), ""),
        "missing_sidecar": [pod["metadata"]["name"] for pod in pods if facts.proxy_id(pod) in lacking],
        "stale": [pod["metadata"]["name"] for pod in pods if found.known.stale(pod, would[pod["metadata"]["name"]])],
    }


def _proxies(found: Facts) -> dict[str, Any]:
    connected = found.connected
    ready = [facts.proxy_id(pod) for pod in found.with_sidecar if facts.is_ready(pod)]
    versions = Counter(str(found.version_of(pod) or "unknown") for pod in found.with_sidecar)
    return {
        "unknown": found.silent,
        "connected": len(connected),
        "synced": sum(proxy.synced and not proxy.rejected for proxy in connected.values()),
        "rejected": {name: proxy.rejected for name, proxy in sorted(connected.items()) if proxy.rejected},
        "disconnected": None if found.silent else sorted(set(ready) - set(connected)),
        "versions": dict(sorted(versions.items())),
    }


def _skew(found: Facts) -> dict[str, Any]:
    rows = [
        registry.run_check(registry.BY_CODE[code], found, Gate(namespace=found.namespace)) for code in registry.APART
    ]
    broken = [
        {key: row[key] for key in ("code", "objects", "cause")} for row in rows if row["status"] == registry.FAILED
    ]
    unknown = [
        {key: row[key] for key in ("code", "objects", "cause")} for row in rows if row["status"] == registry.UNKNOWN
    ]
    return {"verdict": "broken" if broken else "unknown" if unknown else "kept", "findings": broken or unknown}
