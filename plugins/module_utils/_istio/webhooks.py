# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Injection webhooks: which pods they take, when they are armed, and where two of them overlap (analyzer IST0139)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import product
from typing import Any

from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._engine.planning.managed_fields import managed_entry, owned_part, select_owned
from .._engine.selectors import selects
from .._engine.steps import Barrier
from .._engine.waiting.deadline import Deadline
from .._failure import Failure

# The field manager that opens what fails closed. What it owns is what is open; giving that up closes it.
OPENER = "servicemesh.istio-open"
INJECTOR_SUFFIX = "sidecar-injector.istio.io"
# istioctl keeps a default injector that a tag has replaced, with a selector that nothing has.
NEVER_MATCH = {"matchLabels": {"istio.io/deactivated": "never-match"}}


def injectors(cluster: Cluster) -> list[Object]:
    """The injection webhooks of all revisions and tags. Raises ApiError."""
    return cluster.list("admissionregistration.k8s.io", "MutatingWebhookConfiguration", selector="app=sidecar-injector")


def deactivated(webhook: Object) -> Object:
    """The configuration with selectors that match nothing: the default tag's webhook takes its place."""
    result = copy.deepcopy(webhook)
    for hook in result["webhooks"]:
        hook["namespaceSelector"] = copy.deepcopy(NEVER_MATCH)
        hook["objectSelector"] = copy.deepcopy(NEVER_MATCH)
    return result


def webhooks_armed(names: list[str]) -> Barrier:
    """Holds when istiod has written its CA into every webhook: before that, each labeled pod would be refused."""

    def hold(cluster: Cluster, deadline: Deadline) -> str:
        while True:
            bare = [
                name
                for name in names
                if not _has_ca(cluster.get("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "", name))
            ]
            if not bare:
                return f"webhooks have their CA: {', '.join(names)}"
            if deadline.over:
                raise Failure(
                    "webhook_not_armed",
                    f"istiod has not written its CA to {', '.join(bare)}",
                    hint="Check istiod's log, and the revision label of the webhook.",
                )
            cluster.sleep(0.2)

    return Barrier("armed", hold)


def _has_ca(webhook: Object | None) -> bool:
    return webhook is not None and all(armed_entry(hook) for hook in webhook["webhooks"])


def armed_entry(hook: dict[str, Any]) -> bool:
    config = hook.get("clientConfig") or {}
    # A webhook behind a URL may be served with a public certificate: no CA belongs there.
    return bool(config.get("caBundle") or config.get("url"))


def service_of(hook: dict[str, Any]) -> tuple[str, str] | None:
    """(namespace, name) of the Service that an entry leads to; None for one with a URL."""
    service = (hook.get("clientConfig") or {}).get("service")
    return (service["namespace"], service["name"]) if service else None


def policy_of(hook: dict[str, Any]) -> str:
    """What Kubernetes does where nothing answers; it takes Fail where none is named."""
    return str(hook.get("failurePolicy") or "Fail")


@dataclass(frozen=True)
class Overlap:
    first: str
    second: str
    namespace: dict[str, str]
    pod: dict[str, str]


def overlap(wanted: list[Object], others: list[Object]) -> Overlap | None:
    """The first pair of configurations of which both would inject some pod; tried on every combination of labels that
    Istio reads.
    """
    everything = wanted + others
    revisions = sorted({value for obj in everything for value in _revisions(obj)})
    namespaces = [
        {},
        {"istio-injection": "enabled"},
        {"istio-injection": "disabled"},
        *({"istio.io/rev": r} for r in revisions),
    ]
    pods = [
        {},
        {"sidecar.istio.io/inject": "true"},
        {"sidecar.istio.io/inject": "false"},
        *({"istio.io/rev": r} for r in revisions),
    ]
    for namespace, pod in product(namespaces, pods):
        taken = [obj["metadata"]["name"] for obj in everything if injects_pod(obj, namespace, pod)]
        new = {obj["metadata"]["name"] for obj in wanted}
        if len(taken) > 1 and new & set(taken):
            return Overlap(taken[0], taken[1], namespace, pod)
    return None


def _revisions(obj: Object) -> set[str]:
    found: set[str] = set()
    for hook in obj.get("webhooks") or []:
        for selector in (hook.get("namespaceSelector") or {}, hook.get("objectSelector") or {}):
            for expression in selector.get("matchExpressions") or []:
                if expression["key"] == "istio.io/rev":
                    found.update(expression.get("values") or [])
    return found


def injects_pod(obj: Object, namespace: dict[str, str], pod: dict[str, str]) -> bool:
    """Whether a configuration injects a pod with these labels in a namespace with those."""
    return any(
        hook["name"].endswith(INJECTOR_SUFFIX)
        and selects(hook.get("namespaceSelector"), namespace)
        and selects(hook.get("objectSelector"), pod)
        for hook in obj.get("webhooks") or []
    )


def active_entries(webhook: Object) -> list[dict[str, Any]]:
    """A configuration's entries less those that were switched off."""
    return [hook for hook in webhook.get("webhooks") or [] if hook.get("namespaceSelector") != NEVER_MATCH]


def closed_entries(obj: Object) -> list[dict[str, Any]]:
    """The entries of a configuration without whose answer nothing goes on."""
    return [hook for hook in active_entries(obj) if policy_of(hook) == "Fail"]


def opened_entries(obj: Object) -> list[dict[str, Any]]:
    """The entries of a configuration that were opened here, and that nobody has closed since."""
    names = {
        hook.get("name") for hook in (owned_part(obj, OPENER) or {}).get("webhooks") or [] if hook.get("failurePolicy")
    }
    return [hook for hook in obj.get("webhooks") or [] if hook["name"] in names]


def was_opened(obj: Object) -> bool:
    """Whether the opener has an entry in the object, also one of which somebody has closed everything since."""
    return managed_entry(obj, OPENER) is not None


def open_patch(obj: Object) -> Object:
    """What the opener applies: nothing but the policy of what is closed, and of what it has opened before."""
    names = {hook["name"] for hook in [*closed_entries(obj), *opened_entries(obj)]}
    # The order of entries is that of the last who applied some: theirs stays.
    return {
        **_identity(obj),
        "webhooks": [
            {"name": hook["name"], "failurePolicy": "Ignore"} for hook in obj["webhooks"] if hook["name"] in names
        ],
    }


def close_patches(objects: list[Object]) -> dict[str, list[Object]]:
    """{field manager: what it applies to close them}. Where somebody applies the entries, their policy is his again, as
    it was.

    Those of a tool that updates instead fall back to the API's default, Fail, when the opener gives them up.
    """
    found: dict[str, list[Object]] = {}
    for obj in objects:
        names = {hook["name"] for hook in opened_entries(obj)}
        manager = _applier(obj) if names else None
        if manager is None:
            found.setdefault(OPENER, []).append(_identity(obj))
            continue
        part = select_owned((managed_entry(obj, manager) or {})["fieldsV1"], obj)
        hooks = [{**hook, **({"failurePolicy": "Fail"} if hook["name"] in names else {})} for hook in part["webhooks"]]
        metadata = {**(part.get("metadata") or {}), "name": obj["metadata"]["name"]}
        found.setdefault(manager, []).append({**part, **_identity(obj), "metadata": metadata, "webhooks": hooks})
    return found


def _identity(obj: Object) -> Object:
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {"name": obj["metadata"]["name"]}}


def _applier(obj: Object) -> str | None:
    """Who applies the entries of a configuration with all that they need."""
    for item in obj["metadata"].get("managedFields") or []:
        part = (
            owned_part(obj, item["manager"]) if item.get("operation") == "Apply" and item["manager"] != OPENER else None
        )
        if part and all(hook.get("clientConfig") for hook in part.get("webhooks") or [{}]):
            return str(item["manager"])
    return None
