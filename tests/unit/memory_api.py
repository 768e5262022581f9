# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server in memory: enough of server-side apply, lists, deletes and errors to run a module's main().

tests/e2e compares it with the real one, so that what unit tests rest on is true.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import JSON_PATCH, ApiError

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True


KINDS = [
    Kind("", "v1", "Namespace", "namespaces", False),
    Kind("", "v1", "Node", "nodes", False),
    Kind("", "v1", "ConfigMap", "configmaps"),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "Service", "services"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    Kind("", "v1", "Pod", "pods"),
    Kind("apps", "v1", "Deployment", "deployments"),
    Kind("apps", "v1", "ReplicaSet", "replicasets"),
    Kind("apps", "v1", "StatefulSet", "statefulsets"),
    Kind("apps", "v1", "DaemonSet", "daemonsets"),
    Kind("batch", "v1", "Job", "jobs"),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False),
    Kind("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False),
    Kind(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
    ),
    Kind("networking.istio.io", "v1", "VirtualService", "virtualservices"),
    Kind("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
    Kind("networking.istio.io", "v1", "ServiceEntry", "serviceentries"),
    Kind("networking.istio.io", "v1", "Gateway", "gateways"),
    Kind("networking.istio.io", "v1", "EnvoyFilter", "envoyfilters"),
    Kind("networking.istio.io", "v1", "WorkloadEntry", "workloadentries"),
    Kind("security.istio.io", "v1", "AuthorizationPolicy", "authorizationpolicies"),
    Kind("telemetry.istio.io", "v1", "Telemetry", "telemetries"),
    Kind("gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses", False),
    Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    Kind("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes"),
    Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways"),
    Kind("networking.istio.io", "v1", "Sidecar", "sidecars"),
    Kind("networking.istio.io", "v1", "ProxyConfig", "proxyconfigs"),
    Kind("networking.istio.io", "v1", "WorkloadGroup", "workloadgroups"),
    Kind("security.istio.io", "v1", "PeerAuthentication", "peerauthentications"),
    Kind("security.istio.io", "v1", "RequestAuthentication", "requestauthentications"),
    Kind("extensions.istio.io", "v1", "WasmPlugin", "wasmplugins"),
]
PATH = re.compile(
    r"^(?:/api/(?P<core>v1)|/apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?$"
)
LOG = re.compile(r"^/api/v1/namespaces/(?P<namespace>[^/]+)/pods/(?P<name>[^/]+)/log$")
METADATA_ONLY = "as=PartialObjectMetadataList"
# A server ends each watch after a while; here soon, so that no thread outlives its test for long.
LONGEST_WATCH = 1.0


class MemoryApi:
    """An Api whose objects are in memory.

    requests     (method, path) of all calls; a dry run's path ends in "?dryRun"
    faults       ApiErrors raised for the next calls of (method, path), written as in requests
    controllers  {kind: what its controller does to an object as soon as it is stored}
    logs         {(namespace, pod): text}
    tunnels      {(namespace, pod, port): function that returns the near end of a connection}
    version      of Kubernetes
    """

    name = "memory"
    server = "https://memory.invalid"

    def __init__(self, *objects: Object, without: tuple[str, ...] = ()) -> None:
        self.kinds = [kind for kind in KINDS if kind.kind not in without]
        self.objects: dict[tuple[str, str, str, str], Object] = {}
        self.requests: list[tuple[str, str]] = []
        self.faults: dict[tuple[str, str], list[ApiError]] = {}
        self.controllers: dict[str, Callable[[Object], None]] = {
            "Deployment": ready,
            "CustomResourceDefinition": established,
            "HTTPRoute": taken,
            "Gateway": programmed,
        }
        self.logs: dict[tuple[str, str], str] = {}
        self.tunnels: dict[tuple[str, str, int], Callable[[], Any]] = {}
        self.version = "v1.36.3"
        self._counter = 0
        self._events: list[tuple[int, str, tuple[str, str, str, str], Object]] = []
        self._news = threading.Condition(threading.RLock())
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object, manager: str = "somebody") -> Object:
        """An object as somebody else made it, with its status and all of its metadata."""
        rest = {
            key: copy.deepcopy(value)
            for key, value in obj["metadata"].items()
            if key not in ("name", "namespace", "labels", "annotations")
        }
        with self._news:
            self._apply(
                self._kind(obj["kind"], obj["apiVersion"].rpartition("/")[0]),
                {key: value for key, value in copy.deepcopy(obj).items() if key != "status"},
                manager,
                force=True,
                operation="Update",
            )
            live = self.objects[
                self._key(
                    obj["kind"],
                    obj["metadata"]["name"],
                    obj["metadata"].get("namespace", ""),
                    obj["apiVersion"].rpartition("/")[0],
                )
            ]
            live["metadata"].update(rest)
            live.update({"status": copy.deepcopy(obj["status"])} if "status" in obj else {})
            return copy.deepcopy(live)

    def feed(self, kind: str, name: str, namespace: str = "", **parts: Any) -> None:
        """A controller's work on a live object: `status`, or parts of `metadata`. Watches see it."""
        with self._news:
            obj = self.objects[self._key(kind, name, namespace)]
            obj["metadata"].update(parts.pop("metadata", {}))
            obj.update(parts)
            self._counter += 1
            obj["metadata"]["resourceVersion"] = str(self._counter)
            self._tell("MODIFIED", self._key(kind, name, namespace), obj)

    def drop(self, kind: str, name: str, namespace: str = "", group: str | None = None) -> None:
        """The object is gone, as the last of its finalizers would have it."""
        with self._news:
            self._counter += 1
            key = self._key(kind, name, namespace, group)
            self._tell("DELETED", key, self.objects.pop(key))

    def get(self, kind: str, name: str, namespace: str = "", group: str | None = None) -> Object | None:
        """group: where two have a kind of this name, and the first of KINDS is not meant."""
        return self.objects.get(self._key(kind, name, namespace, group))

    def writes(self) -> list[tuple[str, str]]:
        return [
            (method, path) for method, path in self.requests if method in ("PATCH", "DELETE") and "dryRun" not in path
        ]

    def request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = "",
        accept: str = "",
    ) -> Any:
        query = query or {}
        with self._news:
            answer = self._answer(method, path, query, json.loads(json.dumps(body)), content_type)
        if METADATA_ONLY in accept:
            return {**answer, "items": [{"metadata": item["metadata"]} for item in answer["items"]]}
        return answer

    def _answer(self, method: str, path: str, query: dict[str, str], body: Any, content_type: str) -> Any:
        call = (method, path + ("?dryRun" if query.get("dryRun") else ""))
        self.requests.append(call)
        if self.faults.get(call):
            raise self.faults[call].pop(0)
        if path in ("/api", "/apis"):
            return self._discovery(core=path == "/api")
        if path == "/version":
            return {"gitVersion": self.version}
        log = LOG.match(path)
        if log and (log["namespace"], log["name"]) in self.logs:
            return self.logs[(log["namespace"], log["name"])]
        match = PATH.match(path)
        kind = next(
            (k for k in self.kinds if match and k.plural == match["plural"] and k.group == (match["group"] or "")), None
        )
        if not match or kind is None:
            raise ApiError(404, "NotFound", f"the server could not find the requested resource ({path})")
        namespace, name = match["namespace"] or "", match["name"]
        if method == "GET":
            return self._read(kind, namespace, name, query) if name else self._list(kind, namespace, query)
        if method == "DELETE":
            return self._delete(kind, namespace, name, body, bool(query.get("dryRun")))
        if content_type == JSON_PATCH:
            return self._patch((kind.group, kind.kind, namespace, name), body)
        return self._apply(
            kind, body, query["fieldManager"], query.get("force") == "true", dry_run=bool(query.get("dryRun"))
        )

    def watch(self, path: str, query: dict[str, str], timeout: float) -> Iterator[dict[str, Any]]:
        with self._news:
            self.requests.append(("WATCH", path))
        match = PATH.match(path)
        assert match
        field, seen = query.get("fieldSelector", "").partition("=")[2], int(query["resourceVersion"])
        end = time.monotonic() + min(timeout, LONGEST_WATCH)
        while time.monotonic() < end:
            with self._news:
                news = [event for event in self._events if event[0] > seen]
                if not news:
                    self._news.wait(end - time.monotonic())
            for number, word, (group, kind, namespace, name), obj in news:
                seen = number
                [plural] = {k.plural for k in self.kinds if k.kind == kind and k.group == group}
                if (
                    (group, plural) == (match["group"] or "", match["plural"])
                    and match["namespace"] in (None, namespace)
                    and field in ("", name)
                ):
                    yield {"type": word, "object": copy.deepcopy(obj)}

    def kubeconfig(self, folder: Path) -> Path:
        path = folder / "kubeconfig"
        path.write_text("of memory")
        return path

    def detach(self, folder: Path) -> None:
        """A process of its own has a copy of the objects, and needs no credentials."""

    def tunnel(self, namespace: str, pod: str, port: int) -> Any:
        if (namespace, pod, port) not in self.tunnels:
            raise ApiError(404, "NotFound", f"pods {pod} has no port {port} in memory")
        return self.tunnels[(namespace, pod, port)]()

    def _kind(self, kind: str, group: str | None = None) -> Kind:
        return next(k for k in self.kinds if k.kind == kind and group in (None, k.group))

    def _key(self, kind: str, name: str, namespace: str, group: str | None = None) -> tuple[str, str, str, str]:
        return (next(k for k in KINDS if k.kind == kind and group in (None, k.group)).group, kind, namespace, name)

    def _tell(self, word: str, key: tuple[str, str, str, str], obj: Object) -> None:
        self._events.append((self._counter, word, key, copy.deepcopy(obj)))
        self._news.notify_all()

    def _discovery(self, core: bool) -> dict[str, Any]:
        groups = sorted({kind.group for kind in self.kinds if (kind.group == "") == core})
        items = []
        for group in groups:
            resources = [
                {
                    "resource": k.plural,
                    "responseKind": {"kind": k.kind},
                    "scope": "Namespaced" if k.namespaced else "Cluster",
                }
                for k in self.kinds
                if k.group == group
            ]
            items.append({"metadata": {"name": group}, "versions": [{"version": "v1", "resources": resources}]})
        return {"items": items}

    def _read(self, kind: Kind, namespace: str, name: str, query: dict[str, str]) -> Object:
        obj = self.objects.get((kind.group, kind.kind, namespace, name))
        if obj is None:
            raise ApiError(404, "NotFound", f'{kind.plural} "{name}" not found')
        return copy.deepcopy(obj)

    def _list(self, kind: Kind, namespace: str, query: dict[str, str]) -> dict[str, Any]:
        selector = [part.partition("=") for part in query.get("labelSelector", "").split(",") if part]
        field = query.get("fieldSelector", "").partition("=")[2]
        items = [
            copy.deepcopy(obj)
            for key, obj in sorted(self.objects.items())
            if key[:2] == (kind.group, kind.kind)
            and (not namespace or key[2] == namespace)
            and (not field or key[3] == field)
            and all(_selected(obj["metadata"].get("labels") or {}, *part) for part in selector)
        ]
        first, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(items)
        more = {"continue": str(first + limit)} if len(items) > first + limit else {}
        return {"items": items[first : first + limit], "metadata": {"resourceVersion": str(self._counter), **more}}

    def _delete(self, kind: Kind, namespace: str, name: str, body: Any, dry_run: bool) -> dict[str, Any]:
        obj = self._read(kind, namespace, name, {})
        uid = ((body or {}).get("preconditions") or {}).get("uid")
        if uid and uid != obj["metadata"]["uid"]:
            raise ApiError(409, "Conflict", "the object has been replaced")
        if dry_run:
            return {"kind": "Status", "status": "Success"}
        if obj["metadata"].get("finalizers"):
            self.feed(kind.kind, name, namespace, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
        else:
            self.drop(kind.kind, name, namespace, kind.group)
        return {"kind": "Status", "status": "Success"}

    def _patch(self, key: tuple[str, str, str, str], operations: list[dict[str, Any]]) -> Object:
        """A JSON patch of whole fields of metadata; a resourceVersion that is not the live one is a conflict."""
        obj = copy.deepcopy(self.objects[key])
        for operation in operations:
            obj["metadata"][operation["path"].rpartition("/")[2]] = operation["value"]
        if obj["metadata"]["resourceVersion"] != self.objects[key]["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        self._counter += 1
        obj["metadata"]["resourceVersion"] = str(self._counter)
        self.objects[key] = obj
        self._tell("MODIFIED", key, obj)
        return copy.deepcopy(obj)

    def _apply(
        self, kind: Kind, wanted: Object, manager: str, force: bool, operation: str = "Apply", dry_run: bool = False
    ) -> Object:
        metadata = wanted["metadata"]
        namespace = metadata.get("namespace", "") if kind.namespaced else ""
        if namespace and (("", "Namespace", "", namespace) not in self.objects):
            raise ApiError(
                404, "NotFound", f'namespaces "{namespace}" not found', {"name": namespace, "kind": "namespaces"}
            )
        key = (kind.group, kind.kind, namespace, metadata["name"])
        live = copy.deepcopy(self.objects.get(key))
        new = live is None
        if metadata.get("resourceVersion") not in (
            None,
            "",
            (live or {"metadata": {}})["metadata"].get("resourceVersion"),
        ):
            raise ApiError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.plural} "{metadata["name"]}": the object has been modified',
            )
        live = live or {
            "apiVersion": wanted["apiVersion"],
            "kind": kind.kind,
            "metadata": {"name": metadata["name"], **({"namespace": namespace} if namespace else {})},
        }
        managed = live["metadata"].pop("managedFields", [])
        mine = {k: v for k, v in wanted.items() if k not in ("apiVersion", "kind", "metadata")}
        marks = {k: v for k, v in metadata.items() if k in ("labels", "annotations") and v}
        if marks:
            mine["metadata"] = marks
        # Istio's definitions say of no list that it has keys.
        keyed = not kind.group.endswith("istio.io")
        fields = _fields(mine, keyed)
        others = [entry for entry in managed if entry["manager"] != manager]
        _refuse_conflicts(fields, mine, live, others, force)
        before = copy.deepcopy(
            {
                **live,
                "metadata": {k: v for k, v in live["metadata"].items() if k not in ("resourceVersion", "generation")},
            }
        )
        for entry in managed:
            if entry["manager"] == manager:
                _drop(live, _minus(entry["fieldsV1"], [fields, *(other["fieldsV1"] for other in others)]))
        _merge(live, mine, keyed)
        after = {
            **live,
            "metadata": {k: v for k, v in live["metadata"].items() if k not in ("resourceVersion", "generation")},
        }
        if (
            new
            or after != before
            or all(entry["manager"] != manager or entry["fieldsV1"] != fields for entry in managed)
        ):
            self._counter += 0 if dry_run else 1
            live["metadata"]["resourceVersion"] = str(self._counter)
            if new or after.get("spec") != before.get("spec"):
                live["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1
        if new:
            live["metadata"]["uid"] = f"uid-{self._counter}"
        live["metadata"]["managedFields"] = [
            *others,
            {
                "manager": manager,
                "operation": operation,
                "apiVersion": wanted["apiVersion"],
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
            },
        ]
        if not dry_run:
            self.controllers.get(kind.kind, nothing)(live)
            self.objects[key] = live
            self._tell("ADDED" if new else "MODIFIED", key, live)
        return copy.deepcopy(live)


def nothing(obj: Object) -> None:
    """A controller that is not there."""


def ready(obj: Object) -> None:
    """A Deployment all of whose replicas run."""
    count = obj["spec"].get("replicas", 1)
    obj["status"] = {key: count for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
    obj["status"]["observedGeneration"] = obj["metadata"].get("generation", 1)


def established(obj: Object) -> None:
    obj["status"] = {"conditions": [{"type": "Established", "status": "True"}]}


def taken(obj: Object) -> None:
    """A route of Gateway API that each of its parents has taken."""
    conditions = [{"type": kind, "status": "True"} for kind in ("Accepted", "ResolvedRefs")]
    obj["status"] = {
        "parents": [{"parentRef": ref, "conditions": conditions} for ref in obj["spec"].get("parentRefs") or []]
    }


def programmed(obj: Object) -> None:
    """A Gateway of Gateway API with its workload; Istio's own kind has no status."""
    if obj["apiVersion"].startswith("gateway.networking.k8s.io/"):
        obj["status"] = {"conditions": [{"type": kind, "status": "True"} for kind in ("Accepted", "Programmed")]}


def _selected(labels: dict[str, str], key: str, sign: str, value: str) -> bool:
    return labels.get(key) == value if sign else key in labels


def _keyed(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "name" in item for item in value)


def _fields(value: Any, keyed: bool = True) -> dict[str, Any]:
    """fieldsV1 of a value: maps, and lists with names where these are keys, are open, all else is one leaf."""
    if isinstance(value, dict) and value:
        return {f"f:{key}": _fields(item, keyed) for key, item in value.items() if item is not None}
    if keyed and _keyed(value):
        return {f'k:{{"name":{json.dumps(item["name"])}}}': {".": {}, **_fields(item)} for item in value}
    return {}


def _leaves(fields: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inner = {key: value for key, value in fields.items() if key != "."}
    if not inner:
        yield path
    for key, value in inner.items():
        yield from _leaves(value, (*path, key))


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        obj = _item(obj, part)
        if obj is None:
            return None
    return obj


def _item(obj: Any, part: str) -> Any:
    if part.startswith("f:"):
        return obj.get(part[2:]) if isinstance(obj, dict) else None
    name = json.loads(part[2:])["name"]
    return next((item for item in obj if item.get("name") == name), None) if isinstance(obj, list) else None


def _refuse_conflicts(fields: dict[str, Any], mine: Object, live: Object, others: list[Object], force: bool) -> None:
    if not fields:
        return
    causes = []
    for entry in others:
        owned = set(_leaves(entry["fieldsV1"]))
        for path in _leaves(fields):
            if path not in owned or _at(mine, path) == _at(live, path):
                continue
            if force:
                _drop_field(entry["fieldsV1"], path)
            else:
                causes.append(
                    {
                        "reason": "FieldManagerConflict",
                        "message": f'conflict with "{entry["manager"]}"',
                        "field": "".join(_written(part) for part in path),
                    }
                )
    if causes:
        raise ApiError(409, "Conflict", f"Apply failed with {len(causes)} conflicts", {"causes": causes})


def _written(part: str) -> str:
    """A part of a field's path as the server writes it: .name, or [key="value"] of a list's item."""
    if part.startswith("f:"):
        return f".{part[2:]}"
    return "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(part[2:]).items()) + "]"


def _drop_field(fields: dict[str, Any], path: tuple[str, ...]) -> None:
    for part in path[:-1]:
        fields = fields[part]
    fields.pop(path[-1], None)


def _minus(fields: dict[str, Any], others: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    kept = {leaf for other in others for leaf in _leaves(other)}
    return [leaf for leaf in _leaves(fields) if leaf not in kept and leaf]


def _drop(obj: Object, leaves: list[tuple[str, ...]]) -> None:
    """Takes the leaves out, and each map that is empty then (structured-merge-diff)."""
    for path in leaves:
        parent = _at(obj, path[:-1])
        if isinstance(parent, dict):
            parent.pop(path[-1][2:], None)
            if not parent and path[:-1] and path[-2].startswith("f:"):
                _drop(obj, [path[:-1]])
        elif isinstance(parent, list):
            name = json.loads(path[-1][2:])["name"]
            parent[:] = [item for item in parent if item.get("name") != name]


def _merge(live: Object, wanted: Object, keyed: bool = True) -> None:
    for key, value in wanted.items():
        if value is None:
            continue
        if isinstance(value, dict) and isinstance(live.get(key), dict):
            _merge(live[key], value, keyed)
        elif keyed and _keyed(value) and _keyed(live.get(key)):
            live[key] = _merge_items(live[key], value)
        else:
            live[key] = copy.deepcopy(value)


def _merge_items(live: list[Object], wanted: list[Object]) -> list[Object]:
    """A list by name in the order of what is applied; what only the live one has goes before the next that both have
    (structured-merge-diff).
    """
    there, asked = {item["name"]: item for item in live}, {item["name"] for item in wanted}
    shared = [item["name"] for item in wanted if item["name"] in there]
    result: list[Object] = []
    left, right = list(live), list(wanted)
    while left or right:
        if left and left[0]["name"] not in asked:
            result.append(left.pop(0))
        elif left and left[0]["name"] not in shared[:1]:
            left.pop(0)
        else:
            item = right.pop(0)
            if shared[:1] == [item["name"]]:
                shared.pop(0)
                _merge(there[item["name"]], item)
            result.append(there.get(item["name"]) or copy.deepcopy(item))
    return result
