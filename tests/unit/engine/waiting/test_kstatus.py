# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is an object done? By kind, in the words of kstatus."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting.kstatus import status_of

GROUPS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "APIService": "apiregistration.k8s.io/v1",
    "Certificate": "cert-manager.io/v1",
    "Gateway": "gateway.networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "VirtualService": "networking.istio.io/v1",
}


def status(kind, state=None, spec=None, **metadata):
    obj = {
        "apiVersion": GROUPS.get(kind, "v1"),
        "kind": kind,
        "metadata": {"name": "x", "generation": 2, **metadata},
        "spec": spec or {},
    }
    return status_of({**obj, "status": state} if state is not None else obj)


def condition(kind, value, **more):
    return {"conditions": [{"type": kind, "status": value, **more}]}


def rolled_out(**changed):
    counts = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}
    return {"observedGeneration": 2, **counts, **changed}


REVISIONS = {"currentRevision": "b", "updateRevision": "b"}
EVERYWHERE = {
    "observedGeneration": 2,
    "desiredNumberScheduled": 3,
    "updatedNumberScheduled": 3,
    "numberAvailable": 3,
    "numberReady": 3,
}
THREE = {"replicas": 3}
PARTITION = {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}}
# (kind, status, spec) -> (word, part of the message)
TABLE = [
    ("ConfigMap", None, {}, "Current", ""),
    ("VirtualService", None, {}, "Current", ""),
    ("Service", {"loadBalancer": {}}, {"type": "LoadBalancer"}, "Current", ""),
    ("Deployment", rolled_out(), THREE, "Current", "3 of 3 replicas ready"),
    ("Deployment", None, THREE, "InProgress", "not processed it yet"),
    ("Deployment", rolled_out(observedGeneration=1), THREE, "InProgress", "not processed the change"),
    ("Deployment", rolled_out(updatedReplicas=1), THREE, "InProgress", "1 of 3 replicas updated"),
    ("Deployment", rolled_out(replicas=5), THREE, "InProgress", "2 old replicas still there"),
    ("Deployment", rolled_out(availableReplicas=2), THREE, "InProgress", "2 of 3 replicas available"),
    ("Deployment", rolled_out(readyReplicas=2), THREE, "InProgress", "2 of 3 replicas ready"),
    ("Deployment", {"observedGeneration": 2}, {"replicas": 0}, "Current", ""),
    (
        "Deployment",
        rolled_out(replicas=1, updatedReplicas=1, readyReplicas=1, availableReplicas=1),
        {},
        "Current",
        "1 of 1",
    ),
    ("Deployment", {"observedGeneration": 2}, {"paused": True, **THREE}, "Current", "paused"),
    (
        "Deployment",
        rolled_out(
            readyReplicas=0, **condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="stuck")
        ),
        THREE,
        "Failed",
        "stuck",
    ),
    ("StatefulSet", rolled_out(**REVISIONS), THREE, "Current", ""),
    ("StatefulSet", None, THREE, "InProgress", "not processed it yet"),
    ("StatefulSet", rolled_out(readyReplicas=2, **REVISIONS), THREE, "InProgress", "2 of 3 readyReplicas"),
    ("StatefulSet", rolled_out(currentRevision="a", updateRevision="b"), THREE, "InProgress", "old revision"),
    ("StatefulSet", rolled_out(updatedReplicas=1, currentRevision="a", updateRevision="b"), PARTITION, "Current", ""),
    (
        "StatefulSet",
        rolled_out(updatedReplicas=0, currentRevision="a", updateRevision="b"),
        PARTITION,
        "InProgress",
        "0 of 1 replicas updated",
    ),
    ("StatefulSet", rolled_out(readyReplicas=0), {"updateStrategy": {"type": "OnDelete"}}, "Current", "on deletion"),
    ("DaemonSet", EVERYWHERE, {}, "Current", "3 of 3"),
    ("DaemonSet", None, {}, "InProgress", "not processed it yet"),
    ("DaemonSet", {**EVERYWHERE, "updatedNumberScheduled": 1}, {}, "InProgress", "1 of 3 updatedNumberScheduled"),
    ("DaemonSet", {**EVERYWHERE, "numberReady": 2}, {}, "InProgress", "2 of 3 numberReady"),
    ("ReplicaSet", {"readyReplicas": 2}, THREE, "InProgress", "2 of 3"),
    ("ReplicaSet", {"readyReplicas": 3}, THREE, "Current", ""),
    ("Pod", {"phase": "Running", **condition("Ready", "True")}, {}, "Current", ""),
    (
        "Pod",
        {"phase": "Running", **condition("Ready", "False", message="containers not ready")},
        {},
        "InProgress",
        "containers not ready",
    ),
    ("Pod", {"phase": "Pending"}, {}, "InProgress", "phase Pending"),
    ("Pod", {"phase": "Succeeded"}, {}, "Current", ""),
    ("Pod", {"phase": "Failed", "message": "evicted"}, {}, "Failed", "evicted"),
    ("Job", {"active": 1}, {}, "InProgress", "not completed"),
    ("Job", condition("Complete", "True"), {}, "Current", ""),
    ("Job", {}, {"suspend": True}, "Current", ""),
    ("Job", condition("Failed", "True", message="BackoffLimitExceeded"), {}, "Failed", "BackoffLimitExceeded"),
    ("CustomResourceDefinition", condition("Established", "True"), {}, "Current", ""),
    ("CustomResourceDefinition", {}, {}, "InProgress", "not established"),
    ("CustomResourceDefinition", condition("NamesAccepted", "False", message="taken"), {}, "Failed", "taken"),
    ("PersistentVolumeClaim", {"phase": "Pending"}, {}, "Current", ""),
    ("PersistentVolumeClaim", {"phase": "Lost"}, {}, "Failed", "lost"),
    ("Namespace", {"phase": "Active"}, {}, "Current", ""),
    ("Namespace", {"phase": "Terminating"}, {}, "Terminating", ""),
    ("APIService", condition("Available", "False", message="no endpoints"), {}, "InProgress", "no endpoints"),
    ("APIService", condition("Available", "True"), {}, "Current", ""),
    ("Certificate", condition("Ready", "False", message="pending"), {}, "InProgress", "pending"),
    ("Certificate", condition("Ready", "True"), {}, "Current", ""),
    ("Certificate", condition("Stalled", "True", message="no issuer"), {}, "Failed", "no issuer"),
    ("Certificate", condition("Reconciling", "True", message="working"), {}, "InProgress", "working"),
    ("Gateway", {}, {}, "InProgress", "no controller has accepted"),
    ("Gateway", condition("Accepted", "False", message="bad class"), {}, "Failed", "bad class"),
    ("Gateway", condition("Accepted", "True"), {}, "InProgress", "not programmed"),
    ("HTTPRoute", {}, {}, "InProgress", "no parent"),
    ("HTTPRoute", {"parents": [condition("Accepted", "True")]}, {}, "Current", ""),
    (
        "HTTPRoute",
        {"parents": [{"parentRef": {"name": "main"}, **condition("ResolvedRefs", "False", message="no backend")}]},
        {},
        "InProgress",
        "at main: no backend",
    ),
]


@pytest.mark.parametrize(
    ("kind", "state", "spec", "word", "message"), TABLE, ids=[f"{row[0]} {row[3]} {row[4]}" for row in TABLE]
)
def test_a_status_is_that_of_its_kind(kind, state, spec, word, message):
    found = status(kind, state, spec)
    assert found.word == word and message in found.message and found.current == (word == "Current")


def test_what_failed_has_a_code():
    assert status("Job", condition("Failed", "True")).code == "job_failed"
    assert (
        status("Deployment", condition("Progressing", "False", reason="ProgressDeadlineExceeded")).code
        == "progress_deadline"
    )


def test_what_is_not_there_and_what_is_going_is_never_current():
    assert status_of(None).word == "NotFound"
    assert status("Deployment", rolled_out(), THREE, deletionTimestamp="2026-01-01T00:00:00Z").word == "Terminating"
    assert status("ConfigMap", deletionTimestamp="2026-01-01T00:00:00Z").word == "Terminating"


def test_istios_own_gateway_is_no_gateway_of_the_gateway_api():
    assert status_of({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "x"}}).current


def test_a_gateway_without_an_address_is_done_where_there_are_none():
    conditions = [
        {"type": "Accepted", "status": "True"},
        {"type": "Programmed", "status": "False", "reason": "AddressNotAssigned"},
    ]
    assert status("Gateway", {"conditions": conditions}).current
