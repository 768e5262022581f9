# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server goes away and comes back, in the middle of an apply and in the middle of a wait."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import Any

from objects import actions, code, converges, names, problem, some
from playbook_runner import Lab
from proxy import FOR_EVER, PASS, RESET, STAGES, Proxy

# Longer than one request is repeated.
LONG = 75.0
NAMES = {"words-a", "words-b", "words-c", "words-d", "web"}


def kill_api_server(node: str) -> None:
    subprocess.run(["docker", "exec", node, "pkill", "-KILL", "kube-apiserver"], check=True, capture_output=True)


def answers(lab: Lab) -> bool:
    done = subprocess.run(
        ["kubectl", "get", "--raw", "/readyz", "--request-timeout=3s"],
        env=lab.environment,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def until(condition: Any, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_an_api_server_that_restarts_during_the_apply_costs_nothing(
    lab: Lab, proxy: Proxy, namespace: str, node: str
) -> None:
    rule = proxy.on(PASS, STAGES["apply"], nth=3, before=lambda: kill_api_server(node))
    options: dict[str, Any] = {"definition": some(namespace), "kubeconfig": proxy.kubeconfig(), "wait_timeout": 300}
    done = lab.module("manifests", **options)
    # A server that is away for longer than a request is repeated is told; either way nothing is lost.
    assert code(done) in ("", "unreachable") and rule.hits == 1, problem(done)
    until(lambda: answers(lab))
    told = {name for name, action in actions(done).items() if action == "created"}
    assert told and told <= names(lab, namespace)
    assert code(done) or told == NAMES
    converges(lab, options)
    assert names(lab, namespace) == NAMES


def test_an_api_server_that_restarts_during_the_wait_is_waited_for(lab: Lab, namespace: str, node: str) -> None:
    results: list[dict[str, Any]] = []
    conditions = [{"kind": "Deployment", "query": "metadata.annotations.late"}]
    options: dict[str, Any] = {"definition": some(namespace), "kubeconfig": str(lab.kubeconfig), "wait_timeout": 300}
    thread = threading.Thread(target=lambda: results.append(lab.module("manifests", wait_for=conditions, **options)))
    thread.start()
    ready = ["deployment", "web", "-n", namespace, "--ignore-not-found", "-o", "jsonpath={.status.readyReplicas}"]
    until(lambda: lab.kubectl("get", *ready) == "1")
    kill_api_server(node)
    until(lambda: not answers(lab), 30)
    until(lambda: answers(lab))
    lab.kubectl("-n", namespace, "annotate", "deployment", "web", "late=yes")
    thread.join()
    (done,) = results
    assert code(done) == "" and set(actions(done).values()) == {"created"}, problem(done)
    assert {row["status"] for row in done["objects"]} == {"Current"}
    converges(lab, options)


def test_a_server_that_is_away_for_long_during_the_wait_is_waited_for_until_the_deadline(
    lab: Lab, proxy: Proxy, namespace: str
) -> None:
    conditions = [{"kind": "Deployment", "query": "metadata.annotations.late"}]
    rules = []

    def away() -> None:
        rules.append(proxy.on(RESET, "", times=FOR_EVER))
        threading.Timer(LONG, back).start()

    def back() -> None:
        lab.kubectl("-n", namespace, "annotate", "deployment", "web", "late=yes")
        proxy.rules.clear()

    proxy.on(PASS, STAGES["watch"], after=away)
    done = lab.module(
        "manifests", definition=some(namespace), kubeconfig=proxy.kubeconfig(), wait_for=conditions, wait_timeout=300
    )
    assert code(done) == "" and rules[0].hits > 1, problem(done)
    assert {row["status"] for row in done["objects"]} == {"Current"}
