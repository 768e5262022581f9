# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules whose policy is objects of their own, which nobody else has a part in."""

from __future__ import annotations

import json
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

Options = dict[str, Any]
ROUTES = ("VirtualService", "HTTPRoute")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_ARGUMENTS,
    **PROXY_WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


class PolicyModule:
    """One such policy. Its module overrides what it differs in.

    arguments           options of the module, beside those of all
    constraints         required_if and the like
    checked_on_removal  whether references are checked with state absent, too
    """

    arguments: dict[str, dict[str, Any]]
    constraints: dict[str, Any] = {}
    checked_on_removal = False

    def owned_refs(self, options: Options) -> list[Ref]:
        """Every object that the options' name may stand for: those of them that are not desired are deleted."""
        raise NotImplementedError

    def desired_objects(self, options: Options) -> list[Object]:
        """Raises InvalidOption."""
        raise NotImplementedError

    def proxy_markers(self, obj: Object) -> list[str]:
        """Words of a proxy's configuration that has the object, the first of them only while the object is there; none
        where there are none.
        """
        raise NotImplementedError

    def complete_options(self, cluster: Cluster, options: Options) -> Options:
        """The options with what only the cluster can tell of them; the same value where it tells nothing. Raises
        ApiError.
        """
        return options

    def check_references(self, cluster: Cluster, options: Options) -> tuple[list[Failure], list[str]]:
        """(what is wrong with what the options refer to, warnings). Raises ApiError."""
        return [], []

    def affected_pods(self, cluster: Cluster, options: Options) -> list[Object] | None:
        """None for every pod of the mesh. Raises ApiError."""
        return pods_of(cluster, options["namespace"], options["workload"])

    def dump_part(self, dump: dict[str, Any]) -> Any:
        """The part of a proxy's configuration dump that has the markers."""
        return listeners(dump)


def with_managed_label(obj: Object) -> Object:
    """The object with the marker of what this collection made."""
    return {**obj, "metadata": {**obj["metadata"], "labels": {**(obj["metadata"].get("labels") or {}), **MANAGED}}}


def run_policy(policy: PolicyModule, review: Review) -> None:
    """Runs the module of such a policy. review: has a say in its plan."""

    def body(call: Run) -> dict[str, Any]:
        present = call.options["state"] == "present"
        # Before the cluster is asked: bad options need none.
        objects = policy.desired_objects(call.options) if present else []
        cluster = call.cluster
        options = policy.complete_options(cluster, call.options)
        if present and options is not call.options:
            objects = policy.desired_objects(options)
        objects = [with_managed_label(obj) for obj in objects]
        if objects or policy.checked_on_removal:
            problems, warnings = policy.check_references(cluster, options)
            call.fail_or_warn(problems)
            for warning in warnings:
                call.module.warn(warning)
        names = {ref_of(obj) for obj in objects}
        surplus_refs = [ref for ref in policy.owned_refs(options) if ref not in names]
        live = [obj for ref in surplus_refs if (obj := cluster.get(ref.group, ref.kind, ref.namespace, ref.name))]
        if not present:
            _require_managed(live)
        pods = policy.affected_pods(cluster, options)
        if objects and pods == [] and "workload" in options:
            labels = label_selector(options.get("workload") or {})
            call.module.warn(
                f"no pod in namespace {options['namespace']} has the labels {labels}: the policy has no effect yet"
            )
        only = (
            None
            if pods is None
            else frozenset(f"{pod['metadata']['name']}.{pod['metadata']['namespace']}" for pod in pods)
        )
        steps = _steps(cluster, policy, objects, [obj for obj in live if is_managed(obj)], only)
        return call.apply(without_last_wait(steps, options), call.apply_options(namespace=options["namespace"]))

    run_module({**ARGUMENTS, **policy.arguments}, body, review, **policy.constraints)


def _steps(
    cluster: Cluster, policy: PolicyModule, objects: list[Object], leaving: list[Object], only: frozenset[str] | None
) -> list[Step]:
    """Routes after what they lead to; the reverse on removal. only: ids of the affected proxies."""
    first, routes = _without_and_with_routes(objects)
    surplus, old_routes = _without_and_with_routes(leaving)
    # How a host is spoken to changes with its ports at once: in between proxies would speak TLS where plaintext is
    # taken.
    hurried = [obj for obj in surplus if first and obj["kind"] == "DestinationRule"]
    steps = []
    if first:
        steps.append(Step("policy", first, deleted=hurried, barrier=None if hurried else _shown(first, policy, only)))
    if hurried:
        # After the deletion: a barrier of its own step would come before it.
        steps.append(Step("shown", barrier=_shown(first, policy, only)))
    if routes:
        steps.append(Step("routes", routes, barrier=_shown(routes, policy, only)))
    removed = (("routes that go", old_routes), ("removed policy", [obj for obj in surplus if obj not in hurried]))
    for name, part in removed:
        if part:
            markers = [
                marker
                for obj in part
                for marker in policy.proxy_markers(obj)[:1]
                if marker not in _markers_of_others(cluster, obj, leaving, policy)
            ]
            steps += [Step(name, deleted=part), Step("gone", barrier=_gone(part, markers, policy, only))]
    return steps


def _without_and_with_routes(objects: list[Object]) -> tuple[list[Object], list[Object]]:
    """Those that are no routes, and those that are."""
    return [obj for obj in objects if obj["kind"] not in ROUTES], [obj for obj in objects if obj["kind"] in ROUTES]


def _require_managed(live: list[Object]) -> None:
    theirs = next((obj for obj in live if not is_managed(obj)), None)
    if theirs:
        hint = "Delete it with the tool that created it, or with the module manifests."
        raise Failure(
            "not_ours",
            f"{ref_of(theirs)} was not created by this collection",
            ref=ref_of(theirs).as_result(),
            hint=hint,
        )


def pods_of(cluster: Cluster, namespace: str, labels: dict[str, Any]) -> list[Object] | None:
    """Pods of a namespace with these labels; every one of the mesh where the namespace is istiod's, whose policies hold
    everywhere.
    """
    if not labels and cluster.list("", "Pod", namespace, "app=istiod"):
        return None
    return cluster.list("", "Pod", namespace, label_selector(labels))


def _shown(objects: list[Object], policy: PolicyModule, only: frozenset[str] | None) -> Any:
    markers = [marker for obj in objects for marker in policy.proxy_markers(obj)]
    return proxies_in_sync(
        ProxyCondition(
            _text(objects),
            objects[0]["metadata"]["namespace"],
            lambda dump: _found(policy.dump_part(dump), markers) == markers,
            only=only,
        )
    )


def _gone(objects: list[Object], markers: list[str], policy: PolicyModule, only: frozenset[str] | None) -> Any:
    text = f"no more {_text(objects)}"
    return proxies_in_sync(
        ProxyCondition(
            text,
            objects[0]["metadata"]["namespace"],
            lambda dump: not _found(policy.dump_part(dump), markers),
            gone=True,
            only=only,
        )
    )


def _markers_of_others(cluster: Cluster, obj: Object, leaving: list[Object], policy: PolicyModule) -> set[str]:
    """Marks that stay, for other objects have them too."""
    names = {ref_of(one) for one in leaving}
    found = cluster.try_read(lambda: cluster.list(ref_of(obj).group, obj["kind"])) if policy.proxy_markers(obj) else []
    others = [] if isinstance(found, Forbidden) else found
    return {
        marker
        for other in others
        if ref_of({**other, "apiVersion": obj["apiVersion"], "kind": obj["kind"]}) not in names
        for marker in policy.proxy_markers(other)
    }


def another_for_namespace(cluster: Cluster, ref: Ref, selector: str) -> list[Failure]:
    """That another object of the kind is for all of the namespace, too, where Istio takes one of them as it comes
    (analyzers IST0159 and IST0160).
    """
    for other in cluster.list(ref.group, ref.kind, ref.namespace):
        name = other["metadata"]["name"]
        if name != ref.name and not (other.get("spec") or {}).get(selector):
            hint = f"Change that object, set workload, or set name: {name} if that object is yours."
            return [
                InvalidOption(
                    "workload",
                    f"{ref.kind} {ref.namespace}/{name} already applies to the whole namespace",
                    hint=hint,
                    code="policy_twice",
                )
            ]
    return []


def workload_labels(options: dict[str, Any]) -> dict[str, str]:
    """Labels of the pods that a policy is for, as Istio takes them."""
    return {str(key): str(value) for key, value in options["workload"].items()}


def _found(part: Any, markers: list[str]) -> list[str]:
    """Those of the markers that this part of a proxy's configuration has."""
    text = json.dumps(part, ensure_ascii=False)
    return [marker for marker in markers if json.dumps(marker, ensure_ascii=False)[1:-1] in text]


def _text(objects: list[Object]) -> str:
    return ", ".join(str(ref_of(obj)) for obj in objects)
