# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a workload does not become ready, and how long each reason deserves patience."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.pod_failures import (
    CRASHES,
    IMMEDIATE,
    NEVER,
    PULL_GRACE_SECONDS,
    REASONS,
    TRANSIENT_GRACE_SECONDS,
    FailureTracker,
    PodFailure,
    current_pods,
    failure_of_container,
    failures_of_pod,
    find_failures,
    last_lines,
)
from builders import deployment, pod

REVISION = "deployment.kubernetes.io/revision"


def waiting(reason, restarts=0, message="", last=None):
    return {
        "name": "server",
        "ready": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": {"terminated": last} if last else {},
    }


@pytest.mark.parametrize(
    ("reason", "code", "patience"),
    [
        ("InvalidImageName", "image_name", IMMEDIATE),
        ("ErrImageNeverPull", "image_pull", IMMEDIATE),
        ("CreateContainerConfigError", "container_config", TRANSIENT_GRACE_SECONDS),
        ("CreateContainerError", "container_start", TRANSIENT_GRACE_SECONDS),
        ("ErrImagePull", "image_pull", PULL_GRACE_SECONDS),
        ("ImagePullBackOff", "image_pull", PULL_GRACE_SECONDS),
        ("RegistryUnavailable", "image_pull", NEVER),
    ],
)
def test_each_reason_has_its_code_and_its_patience(reason, code, patience):
    fault = failure_of_container("web-1", waiting(reason, message="why"))
    assert (fault.code, fault.grace_seconds, fault.container, fault.message) == (code, patience, "server", "why")
    assert str(fault) == f"pod web-1, container server: {reason} (why)"


def test_at_once_is_sooner_than_repeated_and_never_is_no_time():
    assert IMMEDIATE == 0 < TRANSIENT_GRACE_SECONDS <= PULL_GRACE_SECONDS and NEVER is None
    assert all(code for code, _patience in REASONS.values())


ENDED = {"exitCode": 1, "reason": "Error", "message": "no database\n"}


@pytest.mark.parametrize(
    ("container", "patience"),
    [
        (waiting("CrashLoopBackOff", CRASHES, last=ENDED), IMMEDIATE),
        (waiting("CrashLoopBackOff", CRASHES - 1, last=ENDED), NEVER),
        (waiting("CrashLoopBackOff", CRASHES, last={"exitCode": 0, "reason": "Completed"}), IMMEDIATE),
        (
            {
                "name": "server",
                "ready": False,
                "restartCount": CRASHES,
                "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            },
            IMMEDIATE,
        ),
    ],
)
def test_a_crash_counts_when_it_repeats(container, patience):
    fault = failure_of_container("web-1", container)
    assert (fault.code, fault.grace_seconds) == ("crash", patience)


def test_a_crash_tells_how_it_ended():
    assert (
        str(failure_of_container("web-1", waiting("CrashLoopBackOff", 3, last=ENDED)))
        == "pod web-1, container server: Error (exit code 1, 3 restarts: no database)"
    )


@pytest.mark.parametrize(
    "container",
    [
        {"name": "server", "ready": True, "restartCount": 0, "state": {"running": {}}},
        {
            "name": "server",
            "ready": True,
            "restartCount": 9,
            "state": {"running": {}},
            "lastState": {"terminated": ENDED},
        },
        {
            "name": "init",
            "ready": True,
            "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "reason": "Completed"}},
        },
        waiting("PodInitializing"),
        waiting("ContainerCreating"),
    ],
)
def test_what_runs_or_is_on_its_way_is_no_fault(container):
    assert failure_of_container("web-1", container) is None


def test_a_pod_tells_of_its_place_and_of_all_its_containers():
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    found = failures_of_pod(
        pod(
            "web-1",
            conditions=[unschedulable],
            initContainerStatuses=[waiting("ErrImagePull")],
            containerStatuses=[waiting("InvalidImageName")],
        )
    )
    assert [(fault.reason, fault.grace_seconds) for fault in found] == [
        ("Unschedulable", NEVER),
        ("ErrImagePull", PULL_GRACE_SECONDS),
        ("InvalidImageName", IMMEDIATE),
    ]


def test_patience_is_by_fault_and_ends_with_its_time():
    now = [100.0]
    patience = FailureTracker(clock=lambda: now[0])
    pull, back_off = (
        PodFailure("web-1", "server", reason, "", "image_pull", PULL_GRACE_SECONDS)
        for reason in ("ErrImagePull", "ImagePullBackOff")
    )
    assert not patience.exhausted(pull)
    now[0] += PULL_GRACE_SECONDS - 1
    assert not patience.exhausted(back_off)
    now[0] += 1
    assert patience.exhausted(back_off), "a pull that fails is one fault, whatever its reason is called by now"
    assert not patience.exhausted(PodFailure("web-2", "server", "ErrImagePull", "", "image_pull", PULL_GRACE_SECONDS))
    assert patience.exhausted(PodFailure("web-2", "server", "InvalidImageName", "", "image_name", IMMEDIATE))
    now[0] += 1e6
    assert not patience.exhausted(
        PodFailure("web-1", "", "Unschedulable", "", "unschedulable", NEVER)
    ) and not patience.exhausted(PodFailure("web-1", "", "Unschedulable", "", "unschedulable", NEVER))


def replica_set(name, revision, uid, **status):
    metadata = {
        "name": name,
        "namespace": "shop",
        "labels": {"app": "web", "pod-template-hash": name},
        "annotations": {REVISION: revision},
        "ownerReferences": [{"uid": uid}],
    }
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": {}, "status": status}


@pytest.fixture
def rollout(api):
    """A Deployment at its second revision, with a broken pod of each."""
    obj = deployment()
    obj["metadata"]["annotations"] = {REVISION: "2"}
    live = api.put(obj)
    uid = live["metadata"]["uid"]
    api.put(replica_set("old", "1", uid))
    api.put(replica_set("new", "2", uid))
    # A set of another Deployment with the same labels, which only its owner tells apart.
    api.put(replica_set("foreign", "2", "another"))
    for name, reason in (("old", "InvalidImageName"), ("new", "ErrImagePull"), ("foreign", "InvalidImageName")):
        api.put(
            pod(f"web-{name}", labels={"app": "web", "pod-template-hash": name}, containerStatuses=[waiting(reason)])
        )
    return api


def test_only_pods_of_the_newest_template_count(rollout):
    cluster, live = Cluster(rollout), rollout.get("Deployment", "web", "shop")
    assert [obj["metadata"]["name"] for obj in current_pods(cluster, live)] == ["web-new"]
    assert [(fault.pod, fault.reason) for fault in find_failures(cluster, live)] == [("web-new", "ErrImagePull")]


def test_before_the_newest_template_has_a_set_no_pod_counts(rollout):
    live = rollout.get("Deployment", "web", "shop")
    live["metadata"]["annotations"][REVISION] = "3"
    assert current_pods(Cluster(rollout), live) == []


@pytest.mark.parametrize(
    ("kind", "labels", "more"),
    [
        ("StatefulSet", {"controller-revision-hash": "new"}, {"status": {"updateRevision": "new"}}),
        ("DaemonSet", {"pod-template-generation": "4"}, {"metadata": {"generation": 4}}),
        ("ReplicaSet", {}, {}),
    ],
)
def test_other_workloads_mark_their_newest_pods_in_their_own_way(api, kind, labels, more):
    api.put(pod("current", labels={"app": "web", **labels}))
    if labels:
        api.put(pod("old", labels={"app": "web", **dict.fromkeys(labels, "old")}))
    metadata = {"name": "web", "namespace": "shop", **more.get("metadata", {})}
    workload = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        **{k: v for k, v in more.items() if k == "status"},
    }
    assert [obj["metadata"]["name"] for obj in current_pods(Cluster(api), workload)] == ["current"]


@pytest.mark.parametrize(
    ("message", "code", "patience"),
    [
        ("exceeded quota", "api_rejected", TRANSIENT_GRACE_SECONDS),
        ('failed calling webhook "namespace.sidecar-injector.istio.io"', "webhook_unavailable", NEVER),
    ],
)
def test_pods_that_cannot_be_made_are_told_by_their_maker(rollout, message, code, patience):
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    rollout.feed("ReplicaSet", "new", "shop", status={"conditions": [failure]})
    found = [
        fault for fault in find_failures(Cluster(rollout), rollout.get("Deployment", "web", "shop")) if not fault.pod
    ]
    assert [(fault.code, fault.grace_seconds, fault.message) for fault in found] == [(code, patience, message)]
    assert "no pod: FailedCreate" in str(found[0])


def test_the_worst_fault_is_the_first(rollout):
    statuses = [waiting("RegistryUnavailable"), waiting("ErrImagePull"), waiting("InvalidImageName")]
    rollout.put(pod("web-new", labels={"app": "web", "pod-template-hash": "new"}, containerStatuses=statuses))
    found = find_failures(Cluster(rollout), rollout.get("Deployment", "web", "shop"))
    assert [fault.reason for fault in found] == ["InvalidImageName", "ErrImagePull", "RegistryUnavailable"]


def test_who_may_not_list_pods_sees_no_faults_and_no_error(rollout):
    for path in ("/apis/apps/v1/namespaces/shop/replicasets", "/api/v1/namespaces/shop/pods"):
        rollout.faults[("GET", path)] = [ApiError(403, "Forbidden", "may not list")]
        assert find_failures(Cluster(rollout), rollout.get("Deployment", "web", "shop")) == []
    rollout.faults[("GET", "/api/v1/namespaces/shop/pods")] = [ApiError(500, "", "broken")]
    with pytest.raises(ApiError):
        find_failures(Cluster(rollout), rollout.get("Deployment", "web", "shop"))


def test_a_crash_comes_with_its_last_words_and_other_faults_with_none(api):
    api.logs[("shop", "web-1")] = "starting\nno database\n"
    crash = PodFailure("web-1", "server", "Error", "", "crash", IMMEDIATE)
    assert last_lines(Cluster(api), "shop", crash) == ["starting", "no database"]
    assert (
        last_lines(
            Cluster(api), "shop", PodFailure("web-1", "server", "ErrImagePull", "", "image_pull", PULL_GRACE_SECONDS)
        )
        == []
    )
    api.logs[("shop", "web-1")] = "unable to retrieve container logs for containerd://1"
    assert last_lines(Cluster(api), "shop", crash) == []
    api.logs.clear()
    assert last_lines(Cluster(api), "shop", crash) == [], "a log that is not there hides no fault"
