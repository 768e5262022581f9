# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of every module whose policy is objects of its own, which nobody else has a part in."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..._engine.cluster import Cluster, Forbidden
from ..._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Review, Run, run_module
from ..._engine.objects import Object, Ref, ref_of
from ..._engine.selectors import label_selector
from ..._engine.steps import Step
from ..._failure import Failure, InvalidOption
from ..._proxy.config_dump import listeners
from ..._proxy.sync_barrier import ProxyCondition, proxies_in_sync
from ..host_policy import MANAGED, is_managed
from ..wait_for_proxies import PROXY_WAIT_ARGUMENTS, without_last_wait

ROUTES = ("VirtualService", "HTTPRoute")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_ARGUMENTS,
    **PROXY_WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


@dataclass(frozen=True)
class Single:
    """One such policy.

    arguments  of its module, beside those of all
    possible   every object that the options' name may stand for: those of them that are not wanted go
    wanted     the objects that the options ask for; raises InvalidOption
    marks      words that a proxy's configuration has where it has the object, the first of them not where it is gone; none where there are none
    looks_at_removal  whether `look` has a say there, too
    part       the part of a proxy's configuration dump that has them
    settled    the options with what only the cluster can tell of them
    look       what is wrong with what the options refer to, and warnings
    pods       that are concerned; None for every one of the mesh
    """

    arguments: dict[str, dict[str, Any]]
    possible: Callable[[dict[str, Any]], list[Ref]]
    wanted: Callable[[dict[str, Any]], list[Object]]
    marks: Callable[[Object], list[str]]
    look: Callable[[Cluster, dict[str, Any]], tuple[list[Failure], list[str]]] = lambda _cluster, _options: ([], [])
    pods: Callable[[Cluster, dict[str, Any]], list[Object] | None] = lambda cluster, options: pods_of(cluster, options["namespace"], options["workload"])
    part: Callable[[dict[str, Any]], Any] = listeners
    looks_at_removal: bool = False
    constraints: dict[str, Any] = field(default_factory=dict)
    settled: Callable[[Cluster, dict[str, Any]], dict[str, Any]] = lambda _cluster, options: options


def with_managed_label(obj: Object) -> Object:
    """The object with the mark of what this collection made."""
    return {**obj, "metadata": {**obj["metadata"], "labels": {**(obj["metadata"].get("labels") or {}), **MANAGED}}}


def run_policy(single: Single, review: Review) -> None:
    """The module of such a policy. review: has a say in its plan."""

    def body(call: Run) -> dict[str, Any]:
        if call.options["state"] == "present":
            # What is wrong in itself is told without a cluster.
            single.wanted(call.options)
        cluster = call.cluster
        options = single.settled(cluster, call.options)
        objects = [with_managed_label(obj) for obj in single.wanted(options)] if options["state"] == "present" else []
        if objects or single.looks_at_removal:
            wrong, warnings = single.look(cluster, options)
            call.fail_or_warn(wrong)
            for warning in warnings:
                call.module.warn(warning)
        names = {ref_of(obj) for obj in objects}
        live = [obj for ref in single.possible(options) if ref not in names and (obj := cluster.get(ref.group, ref.kind, ref.namespace, ref.name))]
        if options["state"] == "absent":
            _refuse_theirs(live)
        leaving = [obj for obj in live if is_managed(obj)]
        pods = single.pods(cluster, options)
        if objects and pods == [] and "workload" in options:
            call.module.warn(
                f"no pod in namespace {options['namespace']} has the labels {label_selector(options.get('workload') or {})}: the policy has no effect yet"
            )
        concerned = None if pods is None else frozenset(f"{pod['metadata']['name']}.{pod['metadata']['namespace']}" for pod in pods)
        first, routes = _parted(objects)
        surplus, old_routes = _parted(leaving)
        # How a host is spoken to changes with its ports at once: in between proxies would speak TLS where plaintext is taken.
        hurried = [obj for obj in surplus if first and obj["kind"] == "DestinationRule"]
        steps = []
        # Routes after what they lead to; the reverse on removal.
        if first:
            steps.append(Step("policy", first, deleted=hurried, barrier=None if hurried else _shown(first, single, concerned)))
        if hurried:
            # After the deletion: a barrier of its own step would come before it.
            steps.append(Step("shown", barrier=_shown(first, single, concerned)))
        if routes:
            steps.append(Step("routes", routes, barrier=_shown(routes, single, concerned)))
        for name, part in (("routes that go", old_routes), ("policy that goes", [obj for obj in surplus if obj not in hurried])):
            if part:
                gone = [mark for obj in part for mark in single.marks(obj)[:1] if mark not in _others_marks(cluster, obj, leaving, single)]
                steps.append(Step(name, deleted=part))
                steps.append(Step("gone", barrier=_gone(part, gone, single, concerned)))
        return call.apply(without_last_wait(steps, options), call.apply_options(namespace=options["namespace"]))

    run_module({**ARGUMENTS, **single.arguments}, body, review, **single.constraints)


def _parted(objects: list[Object]) -> tuple[list[Object], list[Object]]:
    """Those that are no routes, and those that are."""
    return [obj for obj in objects if obj["kind"] not in ROUTES], [obj for obj in objects if obj["kind"] in ROUTES]


def _refuse_theirs(live: list[Object]) -> None:
    theirs = next((obj for obj in live if not is_managed(obj)), None)
    if theirs:
        hint = "Delete it with the tool that created it, or with the module manifests."
        raise Failure("not_ours", f"{ref_of(theirs)} was not created by this collection", ref=ref_of(theirs).as_result(), hint=hint)


def pods_of(cluster: Cluster, namespace: str, labels: dict[str, Any]) -> list[Object] | None:
    """Pods of a namespace with these labels; every one of the mesh where the namespace is istiod's, whose policies hold everywhere."""
    if not labels and cluster.list("", "Pod", namespace, "app=istiod"):
        return None
    return cluster.list("", "Pod", namespace, label_selector(labels))


def _shown(objects: list[Object], single: Single, concerned: frozenset[str] | None) -> Any:
    marks = [mark for obj in objects for mark in single.marks(obj)]
    return proxies_in_sync(
        ProxyCondition(_text(objects), objects[0]["metadata"]["namespace"], lambda dump: _found(single.part(dump), marks) == marks, only=concerned)
    )


def _gone(objects: list[Object], marks: list[str], single: Single, concerned: frozenset[str] | None) -> Any:
    text = f"no more {_text(objects)}"
    return proxies_in_sync(
        ProxyCondition(text, objects[0]["metadata"]["namespace"], lambda dump: not _found(single.part(dump), marks), gone=True, only=concerned)
    )


def _others_marks(cluster: Cluster, obj: Object, leaving: list[Object], single: Single) -> set[str]:
    """Marks that stay, for other objects have them too."""
    names = {ref_of(one) for one in leaving}
    found = cluster.try_read(lambda: cluster.list(ref_of(obj).group, obj["kind"])) if single.marks(obj) else []
    others = [] if isinstance(found, Forbidden) else found
    return {mark for other in others if ref_of({**other, "apiVersion": obj["apiVersion"], "kind": obj["kind"]}) not in names for mark in single.marks(other)}


def another_for_namespace(cluster: Cluster, ref: Ref, selector: str) -> list[Failure]:
    """That another object of the kind is for all of the namespace, too, where Istio takes one of them as it comes (analyzers IST0159 and IST0160)."""
    for other in cluster.list(ref.group, ref.kind, ref.namespace):
        name = other["metadata"]["name"]
        if name != ref.name and not (other.get("spec") or {}).get(selector):
            hint = f"Change that object, set workload, or set name: {name} if that object is yours."
            return [InvalidOption("workload", f"{ref.kind} {ref.namespace}/{name} already applies to the whole namespace", hint=hint, code="policy_twice")]
    return []


def workload_labels(options: dict[str, Any]) -> dict[str, str]:
    """Labels of the pods that a policy is for, as Istio takes them."""
    return {str(key): str(value) for key, value in options["workload"].items()}


def _found(part: Any, marks: list[str]) -> list[str]:
    """Those of the marks that this part of a proxy's configuration has."""
    text = json.dumps(part, ensure_ascii=False)
    return [mark for mark in marks if json.dumps(mark, ensure_ascii=False)[1:-1] in text]


def _text(objects: list[Object]) -> str:
    return ", ".join(str(ref_of(obj)) for obj in objects)
