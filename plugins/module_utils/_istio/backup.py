# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Istio's configuration of a cluster as files that apply cleanly, and those files as objects again.

A folder for each part, in it one for each namespace, in it a file for each kind. The index tells what there is and of
which cluster.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .._engine.cluster import Cluster
from .._engine.files import manifests
from .._engine.files.managed_directory import INDEX, FileChange
from .._engine.objects import NAME, Object, Ref, flatten, ref_of
from .._engine.planning.applyset import PART_OF
from .._engine.planning.change import LAST_APPLIED
from .._engine.planning.managed_fields import owned_part
from .._engine.result import HIDDEN, hide_secrets
from .._engine.steps import Step
from .._failure import Failure, InvalidOption
from .._libraries import yaml
from . import mesh
from .dataplane import revisions
from .dataplane.injection import revision_label
from .install.control_plane import ISTIOD_MANAGER, validate_label

CONFIGURATION, MESH_CONFIG, SECRETS = PARTS = ("configuration", "mesh_config", "secrets")
OTHER_LINE_ENDS = {"\r", "\x85", "\u2028", "\u2029"}
FORMAT = "servicemesh.istio.backup/v1"
CLUSTER_WIDE = "_cluster"
ISTIO = ".istio.io"
GATEWAY_API = {"gateway.networking.k8s.io", "gateway.networking.x-k8s.io"}
HEAD = "# Of the module servicemesh.istio.backup. What is listed under files is its own.\n"
# What people write; all else in metadata is a server's or a controller's.
KEPT_METADATA = ("name", "namespace", "labels", "annotations")
# Membership is the cluster's to tell, not the file's: whoever keeps the set marks the object anew.
DROPPED = {"labels": {PART_OF}, "annotations": {LAST_APPLIED}}


@dataclass(frozen=True)
class BackupScope:
    """What is asked for. secrets: NAME in `namespace`, or NAMESPACE/NAME."""

    namespace: str = "istio-system"
    gateway_api: bool = False
    mesh_config: bool = False
    secrets: list[str] = field(default_factory=list)

    @property
    def secret_refs(self) -> list[Ref]:
        places = [name.partition("/") if "/" in name else (self.namespace, "/", name) for name in self.secrets]
        return sorted({Ref("", "Secret", namespace, name) for namespace, _slash, name in places})


def validate_scope(scope: BackupScope) -> None:
    """Raises InvalidOption."""
    validate_label("istio_namespace", scope.namespace)
    for ref in scope.secret_refs:
        validate_label("secrets", ref.namespace)
        if not NAME.fullmatch(ref.name):
            raise InvalidOption(
                "secrets", f"{ref.name!r} is not a valid Secret name", hint="Use the form NAME or NAMESPACE/NAME."
            )


@dataclass(frozen=True)
class Reason:
    """Why an object is no configuration of users."""

    why: str
    holds: Callable[[Object], bool]


def _written_by_istiod(obj: Object) -> bool:
    managers = {entry.get("manager") for entry in obj["metadata"].get("managedFields") or []}
    return managers == {ISTIOD_MANAGER}


LEFT_OUT = (
    Reason("it is being deleted", lambda obj: bool(obj["metadata"].get("deletionTimestamp"))),
    Reason(
        "its controller creates it again",
        lambda obj: any(owner.get("controller") for owner in obj["metadata"].get("ownerReferences") or []),
    ),
    Reason("istiod creates it again", _written_by_istiod),
)


@dataclass
class BackupContent:
    """What a cluster has.

    objects  {part: objects as they are kept}
    served   {kind.group} of configuration
    lost     what was asked for and is not there
    """

    objects: dict[str, list[Object]]
    served: set[str]
    left_out: list[dict[str, str]]
    lost: list[str]
    cluster: dict[str, str]
    control_planes: list[dict[str, str]]


@dataclass(frozen=True)
class Index:
    """A backup's own list.

    complete  whether no writing of it was cut off
    objects   {kind.group: number}
    asked     names of what was asked for one by one
    files     {name: number of objects}
    """

    complete: bool
    cluster: dict[str, str]
    control_planes: list[dict[str, str]]
    objects: dict[str, int]
    asked: list[str]
    files: dict[str, int]

    @property
    def text(self) -> str:
        return HEAD + yaml.safe_dump({"format": FORMAT, **asdict(self)}, sort_keys=True, default_flow_style=False)


def cluster_uid(cluster: Cluster) -> str:
    """What tells one cluster from another: the uid of kube-system lasts as long as the cluster."""
    return str(((cluster.get("", "Namespace", "", "kube-system") or {}).get("metadata") or {}).get("uid", ""))


def read_configuration(cluster: Cluster, scope: BackupScope) -> BackupContent:
    """Raises ApiError, also where one kind may not be listed: half a backup would be taken for a whole one."""
    kinds = [
        (group, kind)
        for group in cluster.resources.groups()
        if is_mesh_group(group)
        for kind in cluster.resources.kinds(group)
    ]
    wanted = [(group, kind) for group, kind in kinds if scope.gateway_api or group not in GATEWAY_API]
    live = [obj for objects in cluster.each(lambda item: cluster.list(*item), wanted) for obj in objects]
    reasons = {ref_of(obj): _reason_left_out(obj) for obj in live}
    istiods = cluster.list("apps", "Deployment", selector="app=istiod")
    maps = {ref: cluster.get(*_parts(ref)) for ref in (mesh_configs(istiods) if scope.mesh_config else [])}
    secrets = {ref: cluster.get(*_parts(ref)) for ref in scope.secret_refs}
    return BackupContent(
        {
            CONFIGURATION: [without_server_fields(obj) for obj in live if not reasons[ref_of(obj)]],
            MESH_CONFIG: [without_server_fields(obj) for obj in maps.values() if obj],
            SECRETS: [without_server_fields(obj) for obj in secrets.values() if obj],
        },
        {_name(kind, group) for group, kind in kinds},
        [{"ref": str(ref), "why": why} for ref, why in sorted(reasons.items()) if why],
        [str(ref) for ref, obj in secrets.items() if obj is None]
        + ([MESH_CONFIG] if scope.mesh_config and not any(maps.values()) else []),
        {"uid": cluster_uid(cluster), "version": str(cluster.api.request("GET", "/version").get("gitVersion", ""))},
        [
            {key: plane[key] for key in ("namespace", "revision", "version")}
            for plane in mesh.control_plane_rows(istiods)
        ],
    )


def is_mesh_group(group: str) -> bool:
    """Whether kinds of this group configure a mesh."""
    return group.endswith(ISTIO) or group in GATEWAY_API


def _parts(ref: Ref) -> tuple[str, str, str, str]:
    return ref.group, ref.kind, ref.namespace, ref.name


def _reason_left_out(obj: Object) -> str:
    return next((reason.why for reason in LEFT_OUT if reason.holds(obj)), "")


def mesh_configs(istiods: list[Object]) -> list[Ref]:
    """The ConfigMaps that these istiods read their mesh configuration from, a shared one among them
    (SHARED_MESH_CONFIG).
    """
    found = set()
    for obj in istiods:
        namespace = obj["metadata"]["namespace"]
        found.add(Ref("", "ConfigMap", namespace, revisions.suffixed("istio", revision_label(obj))))
        variables = [
            variable
            for container in obj["spec"]["template"]["spec"]["containers"]
            for variable in container.get("env") or []
        ]
        found.update(
            Ref("", "ConfigMap", namespace, variable["value"])
            for variable in variables
            if variable.get("name") == "SHARED_MESH_CONFIG" and variable.get("value")
        )
    return sorted(found)


def without_server_fields(obj: Object) -> Object:
    """The object as its users know it: less what servers and controllers write, and less its membership of a set."""
    metadata = {key: obj["metadata"][key] for key in KEPT_METADATA if obj["metadata"].get(key)}
    for key, dropped in DROPPED.items():
        words = {name: value for name, value in (metadata.pop(key, None) or {}).items() if name not in dropped}
        metadata.update({key: words} if words else {})
    return {**{key: value for key, value in obj.items() if key not in ("metadata", "status")}, "metadata": metadata}


@functools.cache
def _readable() -> type[yaml.SafeDumper]:
    """Texts of several lines as such, so that their differences can be read."""

    class Readable(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    Readable.add_representer(str, _text)
    return Readable


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    # A line that ends otherwise than by a line feed would be read as one that does.
    style = '"' if OTHER_LINE_ENDS & set(value) else "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def to_yaml(objects: list[Object]) -> str:
    """YAML documents in order of name."""
    ordered = sorted(objects, key=ref_of)
    return "".join(
        "---\n"
        + yaml.dump(obj, Dumper=_readable(), sort_keys=True, default_flow_style=False, allow_unicode=True, width=160)
        for obj in ordered
    )


def _name(kind: str, group: str) -> str:
    return f"{kind}.{group}" if group else kind


def backup_files(found: BackupContent) -> tuple[dict[str, str], Index]:
    """({name: text}, the index of them)."""
    by_file: dict[str, list[Object]] = {}
    for part, objects in found.objects.items():
        for obj in objects:
            ref = ref_of(obj)
            by_file.setdefault(f"{part}/{ref.namespace or CLUSTER_WIDE}/{_name(ref.kind, ref.group)}.yaml", []).append(
                obj
            )
    counts = Counter(_name(ref.kind, ref.group) for objects in found.objects.values() for ref in map(ref_of, objects))
    asked = [str(ref_of(obj)) for obj in found.objects[SECRETS]] + ([MESH_CONFIG] if found.objects[MESH_CONFIG] else [])
    index = Index(
        True,
        found.cluster,
        found.control_planes,
        dict(counts),
        asked,
        {name: len(objects) for name, objects in by_file.items()},
    )
    return {name: to_yaml(objects) for name, objects in by_file.items()}, index


INDEX_PARTS = {"complete": bool, "cluster": dict, "control_planes": list, "objects": dict, "asked": list, "files": dict}


def index_of(text: str, option: str) -> Index:
    """Raises InvalidOption where it is none."""
    try:
        words = manifests.parse_manifests(text, option)[0]
        if (
            words.pop("format") != FORMAT
            or set(words) != set(INDEX_PARTS)
            or not all(isinstance(words[key], kind) for key, kind in INDEX_PARTS.items())
        ):
            raise ValueError
        if not all(
            isinstance(name, str) and isinstance(count, int)
            for name, count in [*words["files"].items(), *words["objects"].items()]
        ):
            raise ValueError
    except (InvalidOption, LookupError, AttributeError, TypeError, ValueError):
        raise InvalidOption(
            option,
            f"its {INDEX} does not belong to a backup",
            hint="Use a folder that the module backup wrote.",
            code="not_ours",
        ) from None
    return Index(**words)


def fail_if_lost(known: Index, found: BackupContent) -> None:
    """Raises Failure where only the backup still has what the cluster cannot have any more, or what is asked for by
    name.
    """
    gone = [
        f"{count} {kind}"
        for kind, count in sorted(known.objects.items())
        if is_mesh_group(kind.partition(".")[2]) and kind not in found.served
    ]
    gone += [name for name in found.lost if name in known.asked]
    if gone:
        raise Failure(
            "would_be_lost",
            f"dest: the cluster no longer has objects of this backup: {', '.join(gone)}",
            hint="Use another folder, or set prune to false.",
        )


def merge_with_backup(found: BackupContent, known: Index, texts: dict[str, str | None]) -> BackupContent:
    """What is there, and of the backup what is there no more. Raises InvalidOption for a file that cannot be read."""
    live = {ref_of(obj) for objects in found.objects.values() for obj in objects}
    objects = {part: list(there) for part, there in found.objects.items()}
    for name, text in texts.items():
        kept_before = flatten(manifests.parse_manifests(text or "", f"dest {name}"), f"dest {name}")
        objects.setdefault(name.partition("/")[0], []).extend(obj for obj in kept_before if ref_of(obj) not in live)
    return replace(found, objects=objects, control_planes=found.control_planes or known.control_planes)


def require_same_cluster(known: Index, uid: str, option: str, hint: str) -> None:
    """Raises Failure "other_cluster"."""
    if known.cluster.get("uid") != uid:
        raise Failure(
            "other_cluster",
            f"{option}: this backup belongs to cluster {known.cluster.get('uid')}, but the current cluster is {uid}",
            hint=hint,
        )


def difference(change: FileChange, path: str) -> dict[str, str]:
    """{before, after, before_header, after_header}, of Secrets without their values."""
    before, after = change.before or "", change.after or ""
    if change.private:
        before, after = _hidden(before, after)
    return {"before": before, "after": after, "before_header": path, "after_header": f"{path} ({change.action})"}


def _hidden(before: str, after: str) -> tuple[str, str]:
    try:
        old, new = (
            {ref_of(obj): obj for obj in flatten(manifests.parse_manifests(text, "dest"), "dest")}
            for text in (before, after)
        )
    except InvalidOption:
        return (before and HIDDEN), (after and HIDDEN)
    pairs = [hide_secrets("Secret", old.get(ref), new.get(ref)) for ref in {**old, **new}]
    return to_yaml([left for left, _right in pairs if left]), to_yaml([right for _left, right in pairs if right])


def validate_backup(index: Index, uid: str, to_other_cluster: bool) -> None:
    """Raises Failure "backup_incomplete", "other_cluster"."""
    if not index.complete:
        raise Failure(
            "backup_incomplete",
            f"src: this backup is incomplete, according to its {INDEX}",
            hint="Run the backup again, or use an older backup.",
        )
    if not to_other_cluster:
        require_same_cluster(index, uid, "src", "To restore the backup to this cluster, set to_other_cluster.")


def wanted_files(index: Index, parts: list[str]) -> list[str]:
    return [name for name in sorted(index.files) if str(name).partition("/")[0] in parts]


def objects_of(index: Index, texts: dict[str, str | None]) -> list[Object]:
    """Raises Failure "backup_incomplete", InvalidOption naming the file and the cause."""
    found = []
    for name, text in texts.items():
        objects = flatten(manifests.parse_manifests(text or "", f"src {name}"), f"src {name}")
        if len(objects) != index.files[name]:
            raise Failure(
                "backup_incomplete",
                f"src: {name} should contain {index.files[name]} objects, but contains {len(objects)}",
                hint=f"Restore the file, or correct its number in {INDEX}.",
            )
        found += objects
    return found


def missing_prerequisites(cluster: Cluster, objects: list[Object]) -> list[Failure]:
    """Kinds and namespaces that must come first: what to restore into is not there yet."""
    found = []
    kinds = Counter((obj["kind"], obj["apiVersion"]) for obj in objects if cluster.resource_of(obj) is None)
    if kinds:
        words = ", ".join(f"{kind} in {version} ({count})" for (kind, version), count in sorted(kinds.items()))
        found.append(
            Failure(
                "unknown_kind",
                f"src: the cluster does not serve {words}",
                hint="Install the control plane or its CRDs first.",
            )
        )
    wanted: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in sorted({ref_of(obj).namespace for obj in objects} - {""})
    ]
    live = cluster.live(wanted)
    absent = [obj["metadata"]["name"] for obj in wanted if ref_of(obj) not in live]
    if absent:
        found.append(
            Failure(
                "namespace_missing", f"src: namespace {', '.join(absent)} does not exist", hint="Create them first."
            )
        )
    return found


@dataclass(frozen=True)
class RestoreStage:
    name: str
    takes: Callable[[Object], bool]


ROUTES = {"VirtualService", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute"}
# What keeps out comes before what lets in, and what a route leads to before the route.
RESTORE_ORDER = (
    RestoreStage("secrets and mesh configuration", lambda obj: obj["kind"] in ("Secret", "ConfigMap")),
    RestoreStage(
        "refusals",
        lambda obj: (
            obj["kind"] == "AuthorizationPolicy" and (obj.get("spec") or {}).get("action") in ("DENY", "CUSTOM")
        ),
    ),
    RestoreStage("destinations and policies", lambda obj: obj["kind"] not in ROUTES),
    RestoreStage("routes", lambda obj: True),
)


def restore_steps(objects: list[Object], live: dict[Ref, Object], manager: str) -> list[Step]:
    """In turns. A live object of ours stays in its set."""
    turns: dict[str, list[Object]] = {turn.name: [] for turn in RESTORE_ORDER}
    for obj in objects:
        turns[next(turn.name for turn in RESTORE_ORDER if turn.takes(obj))].append(
            _in_its_set(obj, live.get(ref_of(obj)), manager)
        )
    return [Step(name, found) for name, found in turns.items() if found]


def _in_its_set(obj: Object, live: Object | None, manager: str) -> Object:
    own = ((owned_part(live, manager) or {}).get("metadata") or {}).get("labels") or {} if live else {}
    if PART_OF not in own:
        return obj
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), PART_OF: own[PART_OF]}}}
