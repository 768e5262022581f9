# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to become of one object, how a call wants its objects treated, and the server's no in our words."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..._cluster.api import ApiError
from ..._failure import Failure
from ..objects import Object, Ref
from .applyset import NEVER_PRUNED_KINDS, ObjectSet

CREATED, CONFIGURED, RECREATED, UNCHANGED, PRUNED, FAILED = "created", "configured", "recreated", "unchanged", "pruned", "failed"
# A copy of the whole object, a Secret's values included.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Written by servers at every change, or long and of no meaning to people.
HIDDEN_METADATA = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass
class ObjectChange:
    """One object's part of a plan, and later what became of it."""

    ref: Ref
    version: str
    action: str
    wanted: Object | None = None
    live: Object | None = None
    planned: Object | None = None
    message: str = ""
    verified: bool = True
    conflicts: list[dict[str, str]] = field(default_factory=list)
    status: str = ""
    done: bool = False
    before: Object | None = None
    adopted: frozenset[str] = frozenset()
    # As Step has them.
    expected_version: str = ""
    preserve_foreign: bool = False

    def __post_init__(self) -> None:
        # `live` follows the object through the run; what the plan saw stays here.
        self.before = self.live

    @property
    def changes(self) -> bool:
        return self.action in (CREATED, CONFIGURED, RECREATED, PRUNED)

    @property
    def result(self) -> dict[str, str]:
        return self.ref.as_result(self.version)


def _none(_obj: Object) -> bool:
    return False


@dataclass(frozen=True)
class ApplyOptions:
    """How one call wants its objects treated.

    namespace   for namespaced objects that name none
    force       take fields from other managers
    adopt       tools whose fields become ours, as if we had made the object
    recreate    delete and make anew what differs in a field that cannot be changed
    dry_run_all     ask the server about every object, also where the comparison of lists is sure
    ignore_managers    managers whose fields are left to them
    prune       delete members of the set that are wanted no more
    kept        kinds that prune leaves alone
    keep      members that prune leaves alone, too
    prune_limit prune stops before deleting more members than this, a number or a share such as 20%
    values_only    an object that has every wanted value, and none of ours that is wanted no more, is left to its owners
    tolerate_missing     a kind or namespace that is not there may still come from an earlier task, and a conflict is told, not raised (check mode)
    """

    namespace: str | None = None
    force: bool = False
    adopt: frozenset[str] = frozenset()
    recreate: bool = False
    dry_run_all: bool = False
    ignore_managers: frozenset[str] = frozenset()
    set: ObjectSet | None = None
    prune: bool = False
    kept: frozenset[str] = frozenset(NEVER_PRUNED_KINDS)
    keep: Callable[[Object], bool] = _none
    prune_limit: str | None = None
    values_only: bool = False
    tolerate_missing: bool = False


def visible(obj: Object) -> Object:
    """The object less what servers write on their own."""
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in HIDDEN_METADATA}
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != LAST_APPLIED}
    if metadata.get("annotations") == {}:
        del metadata["annotations"]
    return {**{key: value for key, value in obj.items() if key not in ("status", "apiVersion", "kind")}, "metadata": metadata}


def conflicts_of(error: ApiError) -> list[dict[str, str]]:
    """[{field, manager}] of a server-side apply conflict; empty for any other 409."""
    found = []
    for cause in error.causes:
        if cause.get("reason") == "FieldManagerConflict":
            message = str(cause.get("message", ""))
            manager = message.split('"')[1] if message.count('"') >= 2 else message
            found.append({"field": str(cause.get("field", "")), "manager": manager})
    return found


OWNED_BY_OTHERS = "Remove these fields, change them with the tool that owns them, or set force_conflicts to take ownership."


def failure_of(error: ApiError, ref: Ref, version: str = "") -> Failure:
    """The server's no, by kind of no."""
    text = error.message
    if error.status in (0, 429, 503, 504):
        code, hint = "unreachable", "Check that the cluster answers, then run the task again."
    elif error.status == 401:
        code, hint = "unauthorized", "Check the credentials of the kubeconfig or the token."
    elif error.status == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
        code, hint = "terminating", "Wait until the namespace is deleted, then run the task again."
    elif error.status == 403:
        code, hint = "forbidden", "Grant the permission that the reason names (docs/rbac.md)."
    elif error.status == 404 and error.details.get("kind") != "namespaces":
        # Of a path that is served no more there is no more than a word; what is missing where a path is served is named.
        code, hint = "unknown_kind", "The cluster no longer serves its kind: install its CRD again."
    elif error.status == 404:
        code, hint = "namespace_missing", "Create the namespace first, or add it to the objects."
    elif error.status == 409 and conflicts_of(error):
        code, hint = "conflict", OWNED_BY_OTHERS
    elif error.status == 409 and "has been modified" in text:
        code, hint = "moved", "Another client changed the object in the meantime. Run the task again."
    elif error.status == 422 and ("immutable" in text or "may not change once set" in text or "cannot change roleRef" in text):
        code, hint = (
            "immutable",
            "This field is immutable. Set recreate to delete and create the object again, or use another name.",
        )
        text = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in error.causes) or text
    elif error.status == 500 and "failed calling webhook" in text:
        code, hint = "webhook", "The service of the webhook does not answer. Check that its pods are ready."
    elif error.status in (400, 422) or "typed patch object" in text:
        code, hint = "invalid_object", "Correct the field that the reason names."
    else:
        code, hint = "refused", ""
    reason = text if code == "immutable" else error.reason or text
    return Failure(code, f"{ref}: {text}", ref=ref.as_result(version), reason=reason, hint=hint)
