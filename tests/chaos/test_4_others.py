# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others do to a run: a webhook that hangs, a kind or namespace that goes, a controller that fights back, a token
that ends.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from objects import Object, actions, code, config, converges, definition, names, problem, some
from playbook_runner import Lab
from proxy import FOR_EVER, PASS, STAGES, Proxy

NAMES = {"words-a", "words-b", "words-c", "words-d", "web"}


@pytest.fixture(scope="module")
def silent(node_gateway: str) -> Iterator[str]:
    """URL of something that takes connections and never says a word."""
    with socket.create_server((node_gateway, 0), backlog=128) as listener:
        yield f"https://{node_gateway}:{listener.getsockname()[1]}/"


@pytest.fixture(scope="module")
def node_gateway(lab: Lab) -> str:
    """This machine's address as the cluster's node sees it."""
    words = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
    return subprocess.run(
        ["docker", "inspect", "-f", words, "servicemesh-faults-control-plane"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@contextlib.contextmanager
def webhook(lab: Lab, client: Object, mark: str) -> Iterator[str]:
    """A validating webhook of failurePolicy Fail for ConfigMaps that carry the mark, and for nothing else."""
    rules = [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    ]
    hook = {
        "name": f"{mark}.example.com",
        "rules": rules,
        "clientConfig": client,
        "objectSelector": {"matchLabels": {"faults-webhook": mark}},
        "timeoutSeconds": 1,
    }
    hook.update(failurePolicy="Fail", sideEffects="None", admissionReviewVersions=["v1"])
    obj = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"faults-{mark}"},
        "webhooks": [hook],
    }
    lab.kubectl("apply", "-f", "-", text=json.dumps(obj))
    yield f"faults-{mark}"
    lab.kubectl("delete", "validatingwebhookconfiguration", f"faults-{mark}", "--ignore-not-found")


def watched(namespace: str, mark: str) -> Object:
    return config(f"for-{mark}", namespace, {"faults-webhook": mark}, text=mark)


def test_webhooks_that_do_not_answer_are_told_as_such_and_hold_nothing_else_up(
    lab: Lab, namespace: str, silent: str
) -> None:
    lab.kubectl("-n", namespace, "create", "service", "clusterip", "nowhere", "--tcp=443")
    nobody = {"service": {"name": "nowhere", "namespace": namespace}}
    held = {"for-nobody", "for-silent"}
    options: dict[str, Any] = {
        "definition": [*some(namespace), watched(namespace, "nobody"), watched(namespace, "silent")]
    }
    with webhook(lab, nobody, "nobody"), webhook(lab, {"url": silent}, "silent"):
        failed = lab.module("manifests", **options)
    assert code(failed) == "webhook_unavailable" and failed["failure"]["ref"]["name"] in held, problem(failed)
    told = actions(failed)
    messages = {row["ref"]["name"]: row["message"] for row in failed["objects"] if row["ref"]["name"] in held}
    assert all(f"{name.removeprefix('for-')}.example.com" in message for name, message in messages.items()), messages
    # The stage of the ConfigMaps ends as a whole; the Deployment's comes after it.
    assert told == {**dict.fromkeys(NAMES, "created"), **dict.fromkeys(held, "failed"), "web": "pending"} and names(
        lab, namespace
    ) == NAMES - {"web"}
    converges(lab, options)
    assert names(lab, namespace) == NAMES | held


def test_a_webhook_that_goes_during_the_run_is_waited_for(lab: Lab, proxy: Proxy, namespace: str, silent: str) -> None:
    options: dict[str, Any] = {
        "definition": [*some(namespace), watched(namespace, "late")],
        "kubeconfig": proxy.kubeconfig(),
    }
    with webhook(lab, {"url": silent}, "late") as name:
        rule = proxy.on(
            PASS,
            r"^PATCH \S+/for-late\?",
            nth=3,
            before=lambda: lab.kubectl("delete", "validatingwebhookconfiguration", name),
        )
        done = lab.module("manifests", **options)
    assert code(done) == "" and rule.hits == 1 and set(actions(done).values()) == {"created"}, problem(done)
    proxy.clear()
    assert lab.module("manifests", **options)["changed"] is False


def test_a_kind_that_goes_between_plan_and_apply_is_told_as_such(lab: Lab, proxy: Proxy, namespace: str) -> None:
    group = f"{namespace}.example.com"
    crd = definition(group, "Widget", "widgets")
    widgets = [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Widget",
            "metadata": {"name": f"widget-{n}", "namespace": namespace},
            "spec": {"size": n},
        }
        for n in range(2)
    ]
    options: dict[str, Any] = {
        "definition": [*some(namespace), *widgets],
        "kubeconfig": proxy.kubeconfig(),
        "wait_timeout": 120,
    }
    lab.kubectl("apply", "-f", "-", text=json.dumps(crd))
    lab.kubectl("wait", "--for=condition=Established", f"crd/widgets.{group}")

    def gone() -> None:
        lab.kubectl("delete", "crd", f"widgets.{group}")

    rule = proxy.on(PASS, STAGES["apply"], before=gone)
    failed = lab.module("manifests", **options)
    assert code(failed) == "unknown_kind" and rule.hits == 1 and failed["failure"]["ref"]["kind"] == "Widget", problem(
        failed
    )
    told = {name for name, action in actions(failed).items() if action == "created"}
    assert told == names(lab, namespace) == NAMES
    proxy.clear()
    assert code(lab.module("manifests", **options)) == "unknown_kind"
    converges(lab, {**options, "definition": [crd, *options["definition"]]})
    lab.kubectl("delete", "crd", f"widgets.{group}", "--wait=false")


class Fighter:
    """A controller that keeps a field of a ConfigMap at its own value, by force."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        from ansible_collections.servicemesh.istio.plugins.module_utils._cluster import connection
        from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster

        self._cluster = Cluster(connection.connect({"kubeconfig": str(lab.kubeconfig)}, 30.0), manager="fighter")
        self._object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "words-a", "namespace": namespace},
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fight, daemon=True)

    def strike(self, text: str = "theirs") -> None:
        self._cluster.apply({**self._object, "data": {"text": text}}, force=True)

    def _fight(self) -> None:
        number = 0
        while not self._stopped.wait(0.02):
            number += 1
            self.strike(f"theirs {number}")

    def __enter__(self) -> Fighter:
        self.strike()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopped.set()
        self._thread.join()


def test_a_controller_that_fights_for_a_field_is_named_and_beaten_when_told(lab: Lab, namespace: str) -> None:
    options: dict[str, Any] = {"definition": some(namespace)}
    assert code(lab.module("manifests", **options)) == ""
    with Fighter(lab, namespace):
        refused = lab.module("manifests", **options)
        assert code(refused) == "conflict" and refused["changed"] is False, problem(refused)
        assert (
            refused["failure"]["ref"]["name"] == "words-a"
            and "fighter" in refused["msg"]
            and ".data.text" in refused["msg"]
        )
        forced = lab.module("manifests", force_conflicts=True, **options)
        assert (code(forced), forced["changed"], actions(forced)["words-a"]) == ("", True, "configured"), problem(
            forced
        )
    converges(lab, {**options, "force_conflicts": True})
    assert lab.get("configmap", "words-a", "-n", namespace)["data"] == {"text": "a"}


def test_a_field_that_is_taken_between_plan_and_apply_is_a_conflict_too(lab: Lab, proxy: Proxy, namespace: str) -> None:
    changed = [
        {**obj, "data": {"text": "changed"}} if obj["metadata"]["name"] == "words-a" else obj for obj in some(namespace)
    ]
    options: dict[str, Any] = {"definition": changed, "kubeconfig": proxy.kubeconfig()}
    assert code(lab.module("manifests", definition=some(namespace))) == ""
    fighter = Fighter(lab, namespace)
    rule = proxy.on(PASS, STAGES["apply"], before=fighter.strike)
    refused = lab.module("manifests", **options)
    assert code(refused) == "conflict" and rule.hits == 1, problem(refused)
    assert {row["ref"]["name"]: row["conflicts"] for row in refused["objects"] if row["conflicts"]} == {
        "words-a": [{"field": ".data.text", "manager": "fighter"}]
    }
    proxy.clear()
    converges(lab, {**options, "force_conflicts": True})


@pytest.mark.parametrize("stage", STAGES)
def test_a_token_that_ends_during_the_run_is_told_and_the_next_one_goes_on(
    lab: Lab, proxy: Proxy, namespace: str, stage: str
) -> None:
    several = stage in ("discovery", "dry run", "apply")
    rule = proxy.on(401, STAGES[stage], nth=2 if several else 1, times=FOR_EVER, token="old")
    options: dict[str, Any] = {"definition": some(namespace), "wait_timeout": 120}
    failed = lab.module("manifests", kubeconfig=proxy.kubeconfig("old"), **options)
    assert code(failed) == "unauthorized" and 0 < rule.hits <= 4, problem(failed)
    told = {name for name, action in (actions(failed) if "objects" in failed else {}).items() if action == "created"}
    assert told == names(lab, namespace) and (stage != "apply" or told), failed
    converges(lab, {**options, "kubeconfig": proxy.kubeconfig("new")})
    assert names(lab, namespace) == NAMES


def hold(lab: Lab, namespace: str) -> None:
    """Deletes the namespace, in which a finalizer of nobody's keeps one object."""
    kept = config("kept", namespace, text="kept")
    kept["metadata"]["finalizers"] = ["faults.example.com/kept"]
    lab.kubectl("apply", "-f", "-", text=json.dumps(kept))
    lab.kubectl("delete", "namespace", namespace, "--wait=false")


def release(lab: Lab, namespace: str) -> None:
    lab.kubectl(
        "-n",
        namespace,
        "patch",
        "configmap",
        "kept",
        "--type=json",
        "-p",
        '[{"op": "remove", "path": "/metadata/finalizers"}]',
    )
    lab.kubectl("wait", "--for=delete", f"namespace/{namespace}", "--timeout=120s")


def test_a_namespace_that_cannot_end_is_told_until_it_is_gone(lab: Lab, namespace: str) -> None:
    with_namespace = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, *some(namespace)]
    hold(lab, namespace)
    for objects in (with_namespace, some(namespace)):
        failed = lab.module("manifests", definition=objects)
        assert code(failed) == "object_terminating" and failed["changed"] is False, problem(failed)
        assert names(lab, namespace) == {"kept"}
    release(lab, namespace)
    converges(lab, {"definition": with_namespace})
    assert names(lab, namespace) == NAMES


def test_a_namespace_that_begins_to_end_between_plan_and_apply_is_told(lab: Lab, proxy: Proxy, namespace: str) -> None:
    rule = proxy.on(PASS, STAGES["apply"], before=lambda: hold(lab, namespace))
    failed = lab.module("manifests", definition=some(namespace), kubeconfig=proxy.kubeconfig())
    assert code(failed) == "object_terminating" and rule.hits == 1, problem(failed)
    release(lab, namespace)
    converges(
        lab,
        {"definition": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, *some(namespace)]},
    )


def test_what_is_held_by_a_finalizer_is_told_when_it_is_not_gone_in_time(lab: Lab, namespace: str) -> None:
    kept = config("kept", namespace, text="kept")
    kept["metadata"]["finalizers"] = ["faults.example.com/kept"]
    lab.kubectl("apply", "-f", "-", text=json.dumps(kept))
    failed = lab.module(
        "manifests", state="absent", definition=[config("kept", namespace, text="kept")], wait_timeout=3
    )
    assert code(failed) == "timeout" and "faults.example.com/kept" in failed["msg"], problem(failed)
    again = lab.module("manifests", definition=[config("kept", namespace, text="kept")])
    assert code(again) == "object_terminating", problem(again)
    lab.kubectl(
        "-n",
        namespace,
        "patch",
        "configmap",
        "kept",
        "--type=json",
        "-p",
        '[{"op": "remove", "path": "/metadata/finalizers"}]',
    )
    time.sleep(0.5)
    converges(lab, {"definition": [config("kept", namespace, text="kept")]})
