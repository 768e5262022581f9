# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the API server as failures with a code and a hint."""

from __future__ import annotations

from ..._cluster.api import ApiError
from ..._failure import Failure
from ..objects import Ref


def conflicts_of(error: ApiError) -> list[dict[str, str]]:
    """[{field, manager}] of a server-side apply conflict; empty for any other 409."""
    found = []
    for cause in error.causes:
        if cause.get("reason") == "FieldManagerConflict":
            message = str(cause.get("message", ""))
            manager = message.split('"')[1] if message.count('"') >= 2 else message
            found.append({"field": str(cause.get("field", "")), "manager": manager})
    return found


OWNED_BY_OTHERS = (
    "Remove these fields, change them with the tool that owns them, or set force_conflicts to take ownership."
)


def failure_of(error: ApiError, ref: Ref, version: str = "") -> Failure:
    """The server's no, by kind of no."""
    text = error.message
    if error.status in (0, 429, 503, 504):
        code, hint = "unreachable", "Check that the cluster answers, then run the task again."
    elif error.status == 401:
        code, hint = "unauthorized", "Check the credentials of the kubeconfig or the token."
    elif error.status == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
        code, hint = "object_terminating", "Wait until the namespace is deleted, then run the task again."
    elif error.status == 403:
        code, hint = "forbidden", "Grant the permission that the reason names (docs/rbac.md)."
    elif error.status == 404 and error.details.get("kind") != "namespaces":
        # Of a path that is served no more there is no more than a word; what is missing where a path is served is
        # named.
        code, hint = "unknown_kind", "The cluster no longer serves its kind: install its CRD again."
    elif error.status == 404:
        code, hint = "namespace_missing", "Create the namespace first, or add it to the objects."
    elif error.status == 409 and conflicts_of(error):
        code, hint = "conflict", OWNED_BY_OTHERS
    elif error.status == 409 and "has been modified" in text:
        code, hint = (
            "resource_version_conflict",
            "Another client changed the object in the meantime. Run the task again.",
        )
    elif error.status == 422 and (
        "immutable" in text or "may not change once set" in text or "cannot change roleRef" in text
    ):
        code, hint = (
            "immutable",
            "This field is immutable. Set recreate to delete and create the object again, or use another name.",
        )
        text = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in error.causes) or text
    elif error.status == 500 and "failed calling webhook" in text:
        code, hint = "webhook_unavailable", "The service of the webhook does not answer. Check that its pods are ready."
    elif error.status in (400, 422) or "typed patch object" in text:
        code, hint = "invalid_object", "Correct the field that the reason names."
    else:
        code, hint = "api_rejected", ""
    reason = text if code == "immutable" else error.reason or text
    return Failure(code, f"{ref}: {text}", ref=ref.as_result(version), reason=reason, hint=hint)
