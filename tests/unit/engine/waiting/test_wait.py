# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting: for all objects at once, by watch, with an early end for what will not heal, and an error that names the
cause.
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import Ref, ref_of
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.change import (
    CREATED,
    UNCHANGED,
    ObjectChange,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting import pod_failures, wait
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.deadline import Deadline
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.kstatus import status_of
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.wait import until_current, until_gone
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from builders import config, deployment, pod
from memory_api import nothing

DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
READY = dict.fromkeys(("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
LONG, SHORT = 10, 0.3


@pytest.fixture
def cluster(api):
    api.controllers["Deployment"] = nothing
    return Cluster(api)


def have(api, *objects):
    """Changes for objects that were just written."""
    found = []
    for obj in objects:
        api.put(obj)
        ref = ref_of(obj)
        found.append(ObjectChange(ref, "v1", CREATED, obj, None))
    api.requests.clear()
    return found


def soon(function):
    threading.Timer(0.1, function).start()


def broken(api, name="web", status=None, **pod_status):
    """A Deployment whose newest pod is in trouble."""
    obj = deployment(name)
    obj["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
    (change,) = have(api, {**obj, "status": status or {}})
    owners = [{"uid": api.get("Deployment", name, "shop")["metadata"]["uid"]}]
    marks = {
        "labels": {"app": name, "pod-template-hash": "h"},
        "annotations": {"deployment.kubernetes.io/revision": "1"},
    }
    api.put(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": "shop", "ownerReferences": owners, **marks},
            "spec": {},
        }
    )
    api.put(pod(f"{name}-1", labels=marks["labels"], **pod_status))
    return change


def waiting(reason, message="", restarts=0, **more):
    return {
        "name": "server",
        "ready": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
        **more,
    }


def test_all_objects_are_waited_for_at_once_by_one_watch(cluster, api):
    changes = have(api, deployment("a"), deployment("b"), deployment("c"))
    for name in ("c", "a", "b"):
        soon(lambda name=name: api.feed("Deployment", name, "shop", status=READY))
    until_current(cluster, changes, Deadline(LONG))
    assert [change.status for change in changes] == ["Current"] * 3
    assert api.requests.count(("GET", DEPLOYMENTS)) == 1 and api.requests.count(("WATCH", DEPLOYMENTS)) == 1
    assert changes[0].live["status"] == READY, "what became of it is the live object now"


def test_what_the_plan_saw_to_be_done_is_not_looked_at_again(cluster, api):
    (change,) = have(api, config("a", x="1"))
    change.action, change.live = UNCHANGED, api.get("ConfigMap", "a", "shop")
    until_current(cluster, [change], Deadline(LONG))
    assert change.status == "Current" and api.requests == []


def test_a_deadline_that_is_over_before_the_first_news_still_says_what_it_is_like(cluster, api):
    changes = have(api, {**deployment(), "status": {"observedGeneration": 1}})
    with pytest.raises(Failure) as failed:
        until_current(cluster, changes, Deadline(0))
    assert (
        failed.value.code == "timeout"
        and "Unknown" not in failed.value.message
        and "InProgress" in failed.value.message
    )


def test_the_deadline_names_every_object_and_what_was_seen(cluster, api):
    change = broken(api, containerStatuses=[waiting("ErrImagePull", "no such tag")])
    (other,) = have(api, deployment("other"))
    with pytest.raises(Failure) as failed:
        until_current(cluster, [other, change], Deadline(SHORT))
    failure = failed.value
    assert failure.code == "timeout" and f"not ready within {SHORT:g} s" in failure.message
    assert "Deployment shop/other InProgress: its controller has not processed it yet" in failure.message
    assert "pod web-1, container server: ErrImagePull (no such tag)" in failure.message
    assert failure.ref["name"] == "web", "the object with a cause comes before one without"


def test_an_object_that_never_appears_is_named(cluster, api):
    (change,) = have(api, config("a", x="1"))
    api.drop("ConfigMap", "a", "shop")
    with pytest.raises(Failure) as failed:
        until_current(cluster, [change], Deadline(SHORT))
    assert failed.value.code == "timeout" and "ConfigMap shop/a NotFound" in failed.value.message


@pytest.mark.parametrize(
    ("container", "code"),
    [
        (waiting("InvalidImageName"), "image_name"),
        (
            waiting("CrashLoopBackOff", restarts=5, lastState={"terminated": {"exitCode": 1, "reason": "Error"}}),
            "crash",
        ),
    ],
)
def test_what_will_not_heal_ends_the_wait_at_once(cluster, api, container, code):
    api.logs[("shop", "web-1")] = "no database"
    change = broken(api, containerStatuses=[container])
    begun = time.monotonic()
    with pytest.raises(Failure) as failed:
        until_current(cluster, [change], Deadline(LONG))
    assert (
        failed.value.code == code
        and failed.value.ref["name"] == "web"
        and failed.value.hint
        and time.monotonic() - begun < LONG / 2
    )
    assert ("last log lines: no database" in failed.value.message) == (code == "crash")


def test_what_may_heal_is_given_its_time(cluster, api, monkeypatch):
    monkeypatch.setattr(wait, "LOOK_AT_PODS_EVERY", 0.02)
    change = broken(api, containerStatuses=[waiting("ErrImagePull")])
    soon(lambda: api.feed("Deployment", "web", "shop", status=READY))
    until_current(cluster, [change], Deadline(LONG))
    assert change.status == "Current"


def test_a_fault_that_lasts_ends_the_wait_when_its_time_is_over(cluster, api, monkeypatch):
    monkeypatch.setattr(wait, "LOOK_AT_PODS_EVERY", 0.02)
    monkeypatch.setitem(pod_failures.REASONS, "ErrImagePull", ("image_pull", 0.1))
    change = broken(api, containerStatuses=[waiting("ErrImagePull")])
    with pytest.raises(Failure) as failed:
        until_current(cluster, [change], Deadline(LONG))
    assert failed.value.code == "image_pull"


def test_a_status_that_failed_ends_the_wait_with_its_cause_where_one_is_seen(cluster, api):
    stuck = {
        **READY,
        "readyReplicas": 0,
        "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "stuck"}
        ],
    }
    change = broken(api, status=stuck, containerStatuses=[waiting("ErrImagePull")])
    with pytest.raises(Failure) as failed:
        until_current(cluster, [change], Deadline(LONG))
    assert failed.value.code == "image_pull"
    (other,) = have(api, {**deployment("other"), "status": stuck})
    with pytest.raises(Failure) as failed:
        until_current(cluster, [other], Deadline(LONG))
    assert failed.value.code == "progress_deadline" and "stuck" in failed.value.message


def test_pods_that_have_only_just_started_must_stay_up(cluster, api, monkeypatch):
    monkeypatch.setattr(wait, "SETTLED_AFTER", 1e6)
    (change,) = have(api, {**deployment(), "status": READY})
    with pytest.raises(Failure) as failed:
        until_current(cluster, [change], Deadline(SHORT))
    assert failed.value.code == "timeout" and "have just started" in failed.value.message
    monkeypatch.setattr(wait, "SETTLED_AFTER", 0.1)
    until_current(cluster, [change], Deadline(LONG))


def test_pods_that_went_down_again_start_anew(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(wait, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(wait, "SETTLED_AFTER", 3.0)
    up, down = ({**deployment(), "status": {**READY, "readyReplicas": count}} for count in (1, 0))
    settling, ref = wait.Settling(status_of), ref_of(up)
    seen = []
    for now[0], obj in ((0.0, up), (2.0, up), (2.5, down), (3.0, up), (5.9, up), (6.0, up)):
        seen.append(settling.judge(ref, obj).current)
    assert seen == [False, False, False, False, False, True]


def test_a_readiness_probe_is_word_enough(cluster, api, monkeypatch):
    monkeypatch.setattr(wait, "SETTLED_AFTER", 1e6)
    probed = deployment()
    probed["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 80}}
    changes = have(api, {**probed, "status": READY}, config("a", x="1"))
    until_current(cluster, changes, Deadline(LONG))
    assert [change.status for change in changes] == ["Current", "Current"]


def test_a_server_that_is_busy_for_a_moment_ends_no_wait(cluster, api):
    (change,) = have(api, {**deployment(), "status": READY})
    api.faults[("GET", DEPLOYMENTS)] = [ApiError(503, "ServiceUnavailable", "busy")]
    until_current(cluster, [change], Deadline(LONG))
    assert change.status == "Current" and api.faults[("GET", DEPLOYMENTS)] == []


def test_who_may_not_list_waits_by_name(cluster, api, monkeypatch):
    monkeypatch.setattr(wait, "POLL_EVERY", 0.02)
    changes = have(api, deployment("a"), {**deployment("b"), "status": READY})
    api.faults[("GET", DEPLOYMENTS)] = [ApiError(403, "Forbidden", "may not list")] * 9
    soon(lambda: api.feed("Deployment", "a", "shop", status=READY))
    until_current(cluster, changes, Deadline(LONG))
    assert ("GET", f"{DEPLOYMENTS}/a") in api.requests


def test_who_may_list_no_kind_at_all_waits_for_each_by_name(cluster, api, monkeypatch):
    monkeypatch.setattr(wait, "POLL_EVERY", 0.02)
    changes = have(api, {**deployment("a"), "status": READY}, config("b", x="1"), pod("c"))
    for path in (DEPLOYMENTS, "/api/v1/namespaces/shop/configmaps", "/api/v1/namespaces/shop/pods"):
        api.faults[("GET", path)] = [ApiError(403, "Forbidden", "may not list")] * 9
    until_current(cluster, changes, Deadline(LONG))
    assert all(change.status == "Current" for change in changes)


def test_who_may_read_nothing_is_told_so_and_does_not_wait(cluster, api):
    (change,) = have(api, config("a", x="1"))
    for path in ("", "/a"):
        api.faults[("GET", f"/api/v1/namespaces/shop/configmaps{path}")] = [
            ApiError(403, "Forbidden", "may not read")
        ] * 9
    begun = time.monotonic()
    with pytest.raises(ApiError, match="may not read"):
        until_current(cluster, [change], Deadline(LONG))
    assert time.monotonic() - begun < LONG / 2


REFS = [Ref("", "ConfigMap", "shop", "a"), Ref("", "ConfigMap", "shop", "b")]


def test_what_was_deleted_is_waited_for_until_it_is_gone(cluster, api):
    have(api, config("a", x="1"), config("b", x="1"))
    soon(lambda: api.drop("ConfigMap", "a", "shop"))
    soon(lambda: api.drop("ConfigMap", "b", "shop"))
    until_gone(cluster, REFS, Deadline(LONG))
    until_gone(cluster, [], Deadline(0))
    assert api.requests.count(("GET", "/api/v1/namespaces/shop/configmaps")) == 1


def test_what_stays_is_named_with_its_finalizers(cluster, api):
    have(api, config("a", x="1"))
    api.feed("ConfigMap", "a", "shop", metadata={"finalizers": ["example.com/keep"]})
    cluster.delete(api.get("ConfigMap", "a", "shop"))
    with pytest.raises(Failure) as failed:
        until_gone(cluster, REFS, Deadline(SHORT))
    assert (
        failed.value.code == "timeout"
        and "ConfigMap shop/a" in failed.value.message
        and "example.com/keep" in failed.value.reason
    )


def test_objects_of_a_kind_that_went_with_its_definition_are_gone(cluster, api):
    api.kinds = [kind for kind in api.kinds if kind.kind != "Telemetry"]
    until_gone(cluster, [Ref("telemetry.istio.io", "Telemetry", "shop", "t")], Deadline(LONG))
    assert not any("telemetries" in path for _method, path in api.requests)


def test_news_between_a_look_and_the_wait_for_it_end_the_wait(api):
    ref = Ref("", "ConfigMap", "shop", "a")
    watched = wait.Watched(Cluster(api), [ref], Deadline(LONG))
    watched.state()
    assert not watched.wait(SHORT)
    watched._tell({ref: None})
    assert watched.wait(SHORT)
    watched.state()
    assert not watched.wait(SHORT)


def test_what_an_earlier_wait_saw_to_become_ready_is_not_looked_at_again(cluster, api):
    (change,) = have(api, {**deployment("web"), "status": READY})
    until_current(cluster, [change], Deadline(LONG))
    assert change.status == "Current"
    api.requests.clear()
    until_current(cluster, [change], Deadline(LONG))
    assert api.requests == []
