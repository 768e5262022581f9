# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for all objects at once: one deadline, watches instead of sleeps, and an early end for what will not heal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Optional

from ..._cluster.api import ApiError
from ..._failure import Failure
from ..cluster import Cluster
from ..objects import Object, Ref, ref_of
from ..planning.change import ObjectChange
from .deadline import Deadline, StillWaiting
from .kstatus import CURRENT, FAILED, IN_PROGRESS, WORKLOADS, Status, status_of
from .pod_failures import FailureTracker, PodFailure, find_failures, last_lines

WATCH_SLICE = 30.0
LOOK_AT_PODS_EVERY = 2.0
POLL_EVERY = 1.0
SETTLED_AFTER = 3.0
PROBED = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}
NAMED = 3
# Answers of a server that is away or busy: they say nothing of what is waited for.
PASSING = (0, 429, 500, 503, 504)

Judge = Callable[[Optional[Object]], Status]


class Watched:
    """The live state of some objects, kept up to date by one watch per kind and namespace."""

    def __init__(self, cluster: Cluster, refs: list[Ref], deadline: Deadline) -> None:
        self._cluster, self._deadline = cluster, deadline
        self._refs = set(refs)
        self._objects: dict[Ref, Object | None] = {}
        self._news = threading.Condition()
        self._told = self._looked = 0
        self._stopped = threading.Event()
        self._error: ApiError | None = None
        places = sorted({(ref.group, ref.kind, ref.namespace) for ref in refs})
        self._threads = [threading.Thread(target=self._follow, args=place, daemon=True) for place in places]

    def __enter__(self) -> Watched:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopped.set()

    def state(self) -> dict[Ref, Object | None]:
        """What is known; objects that were not listed yet are missing."""
        with self._news:
            if self._error:
                raise self._error
            self._looked = self._told
            return dict(self._objects)

    def wait(self, seconds: float) -> bool:
        """Until there is news since the last look (True), or the seconds are over (False)."""
        with self._news:
            return self._news.wait_for(lambda: self._told != self._looked, seconds)

    def _tell(self, updates: dict[Ref, Object | None]) -> None:
        with self._news:
            self._objects.update({ref: obj for ref, obj in updates.items() if ref in self._refs})
            self._told += 1
            self._news.notify_all()

    def _follow(self, group: str, kind: str, namespace: str) -> None:
        by_name = False
        while not self._stopped.is_set() and not self._deadline.over:
            try:
                if by_name:
                    self._look_once(group, kind, namespace)
                else:
                    self._follow_once(group, kind, namespace)
            except ApiError as error:
                if error.status == 403 and not by_name:
                    # Who may not list this kind may still read by name.
                    by_name = True
                    continue
                if error.status not in (410, *PASSING):
                    with self._news:
                        self._error = error
                        self._told += 1
                        self._news.notify_all()
                    return
                self._stopped.wait(0.5)

    def _look_once(self, group: str, kind: str, namespace: str) -> None:
        for ref in [ref for ref in self._refs if (ref.group, ref.kind, ref.namespace) == (group, kind, namespace)]:
            self._tell({ref: self._cluster.get(group, kind, namespace, ref.name)})
        self._stopped.wait(POLL_EVERY)

    def _follow_once(self, group: str, kind: str, namespace: str) -> None:
        resource = self._cluster.resource(group, kind)
        mine = [ref for ref in self._refs if (ref.group, ref.kind, ref.namespace) == (group, kind, namespace)]
        if resource is None:
            self._tell({ref: None for ref in mine})
            self._stopped.wait(0.5)
            self._cluster.resources.refresh()
            return
        path = resource.path(namespace)
        # One name can be asked for by field, which also keeps the watch small.
        query = {"fieldSelector": f"metadata.name={mine[0].name}"} if len(mine) == 1 else {}
        listing = self._cluster.api.request("GET", path, query)
        found: dict[Ref, Object | None] = {ref: None for ref in mine}
        for item in listing.get("items") or []:
            item["apiVersion"], item["kind"] = resource.api_version, resource.kind
            found[ref_of(item)] = item
        self._tell(found)
        query = {**query, "resourceVersion": listing["metadata"]["resourceVersion"]}
        for event in self._cluster.api.watch(path, query, min(WATCH_SLICE, self._deadline.left() + 1)):
            if self._stopped.is_set():
                return
            if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                obj = event["object"]
                self._tell({ref_of(obj): None if event["type"] == "DELETED" else obj})


class Settling:
    """A container without a readiness probe is ready the moment it starts, also one that ends a moment later: such a
    workload must stay Current.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._since: dict[Ref, float] = {}

    def judge(self, ref: Ref, obj: Object | None) -> Status:
        status = self._judge(obj)
        if obj is None or not status.current or not _unproven(obj):
            self._since.pop(ref, None)
            return status
        since = self._since.setdefault(ref, time.monotonic())
        return (
            status
            if time.monotonic() - since >= SETTLED_AFTER
            else Status(IN_PROGRESS, "its pods have just started and have no readiness probe")
        )


def _unproven(obj: Object) -> bool:
    if obj["kind"] not in PROBED or not obj["spec"].get("replicas", 1):
        return False
    return any("readinessProbe" not in container for container in obj["spec"]["template"]["spec"]["containers"])


def until_current(cluster: Cluster, changes: list[ObjectChange], deadline: Deadline, judge: Judge = status_of) -> None:
    """Waits until every object is Current, as `judge` sees it. Raises Failure naming the object and the cause.

    Codes: those of pod_failures.REASONS, "crash", "timeout", those of status rules.
    """
    waiting = {change.ref: change for change in changes}
    for ref, change in list(waiting.items()):
        # What the plan saw to be unchanged and Current, or an earlier wait of this run to have become so, needs no
        # second look.
        if change.live is not None and (not change.changes or change.status == CURRENT) and judge(change.live).current:
            change.status = CURRENT
            del waiting[ref]
    if not waiting:
        return
    patience = FailureTracker(deadline.progress.get("seen"))
    settling = Settling(judge)
    with Watched(cluster, list(waiting), deadline) as watched:
        looked = 0.0
        while True:
            state = watched.state()
            if deadline.over:
                # What no watch has told yet is asked for, so that the error can say what it is like.
                state = {
                    **{
                        ref: cluster.get(ref.group, ref.kind, ref.namespace, ref.name)
                        for ref in waiting
                        if ref not in state
                    },
                    **state,
                }
            statuses = {ref: settling.judge(ref, obj) for ref, obj in state.items() if ref in waiting}
            _note(waiting, state, statuses)
            open_refs = [ref for ref in waiting if ref not in statuses or not statuses[ref].current]
            if not open_refs:
                return
            if deadline.over or time.monotonic() - looked >= LOOK_AT_PODS_EVERY:
                looked = time.monotonic()
                try:
                    _fail_if_hopeless(
                        cluster, state, {r: statuses.get(r, Status("Unknown")) for r in open_refs}, patience, deadline
                    )
                except ApiError as error:
                    if deadline.over or error.status not in PASSING:
                        raise
            if deadline.slice_over:
                deadline.progress["seen"] = patience.export()
                raise StillWaiting(_open_text({r: statuses.get(r, Status("Unknown")) for r in open_refs}))
            watched.wait(min(1.0, max(deadline.left(), 0.01)))


def _open_text(open_: dict[Ref, Status]) -> str:
    """What is not ready yet, the first few by name."""
    named = [f"{ref}: {status.message or status.word}" for ref, status in list(open_.items())[:NAMED]]
    more = len(open_) - len(named)
    return f"waiting for {'; '.join(named)}" + (f"; and {more} more" if more > 0 else "")


def _note(waiting: dict[Ref, ObjectChange], state: dict[Ref, Object | None], statuses: dict[Ref, Status]) -> None:
    for ref, status in statuses.items():
        waiting[ref].status = status.word
        waiting[ref].live = state[ref] or waiting[ref].live


def _fail_if_hopeless(
    cluster: Cluster,
    state: dict[Ref, Object | None],
    open_: dict[Ref, Status],
    patience: FailureTracker,
    deadline: Deadline,
) -> None:
    seen: list[tuple[Ref, PodFailure]] = []
    for ref in open_:
        obj = state.get(ref)
        if obj is not None and (ref.kind in WORKLOADS or ref.kind == "Pod"):
            for fault in find_failures(cluster, obj):
                seen.append((ref, fault))
                if patience.exhausted(fault):
                    raise _failure(cluster, ref, fault)
    for ref, status in open_.items():
        if status.word == FAILED:
            cause = next((fault for r, fault in seen if r == ref), None)
            if cause:
                raise _failure(cluster, ref, cause)
            raise Failure(
                status.code or "failed", f"{ref}: {status.message}", ref=ref.as_result(), reason=status.message
            )
    if deadline.over:
        rest = "; ".join(f"{ref} {status.word}: {status.message}" for ref, status in open_.items())
        causes = "; ".join(f"{ref}: {fault}" for ref, fault in seen)
        first = seen[0][0] if seen else next(iter(open_))
        raise Failure(
            "timeout",
            f"not ready within {deadline.seconds:g} s: {rest}" + (f". Seen: {causes}" if causes else ""),
            ref=first.as_result(),
            reason=causes or rest,
            hint="Fix the cause, or increase wait_timeout. Run the task again to continue.",
        )


def _failure(cluster: Cluster, ref: Ref, fault: PodFailure) -> Failure:
    lines = last_lines(cluster, ref.namespace, fault)
    text = f"{ref} cannot become ready: {fault}" + ("; last log lines: " + " | ".join(lines) if lines else "")
    return Failure(
        fault.code, text, ref=ref.as_result(), reason=f"{fault.reason}: {fault.message}", hint=HINTS.get(fault.code, "")
    )


HINTS = {
    "image_pull": "Check the name and tag of the image, the registry and its credentials.",
    "image_name": "Correct the name of the image.",
    "container_config": (
        "Create the ConfigMap or Secret that the message names, or correct the security context of the container."
    ),
    "container_start": "Check the command and mounts of the container.",
    "crash": "Check the log of the container.",
    "api_rejected": (
        "The API server rejected the pods of the workload: check quota, admission policy and ServiceAccount."
    ),
}


def until_gone(cluster: Cluster, refs: list[Ref], deadline: Deadline) -> None:
    """Waits until the objects are deleted. Raises Failure "timeout" naming what stays and its finalizers."""
    if not refs:
        return
    with Watched(cluster, refs, deadline) as watched:
        while True:
            state = watched.state()
            left = [ref for ref in refs if ref not in state or state[ref] is not None]
            if not left:
                return
            if deadline.over:
                obj = state.get(left[0]) or {}
                why = (obj.get("metadata") or {}).get("finalizers") or [
                    c.get("message") for c in (obj.get("status") or {}).get("conditions") or []
                ]
                raise Failure(
                    "timeout",
                    f"{left[0]} is not deleted after {deadline.seconds:g} s: {why}",
                    ref=left[0].as_result(),
                    reason=str(why),
                )
            if deadline.slice_over:
                raise StillWaiting(
                    f"waiting until {left[0]} is deleted" + (f", and {len(left) - 1} more" if len(left) > 1 else "")
                )
            watched.wait(min(2.0, max(deadline.left(), 0.01)))
