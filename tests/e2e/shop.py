# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with two versions and a client in the mesh, on which policies are shown: its objects, its requests and what
becomes of them.
"""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playbook_runner import Lab

SPACE = "proof-policies"
RECORD = "/var/policies-record"
# A host outside of the mesh.
FAR = "far.example.com"
HOST = {"namespace": SPACE, "service": "web"}
NEIGHBORS = (
    "PRODUCT_CATALOG",
    "CURRENCY",
    "CART",
    "RECOMMENDATION",
    "SHIPPING",
    "CHECKOUT",
    "AD",
    "SHOPPING_ASSISTANT",
)
WELL, SICK = "/_healthz", "/"
BOTH = {"v1": 50, "v2": 50}


def server(version: str) -> dict[str, Any]:
    """A stand-in for the demo's frontend with no neighbors: WELL answers 200, SICK 500. It writes down each numbered
    request.
    """
    env = {**{f"{name}_SERVICE_ADDR": "nowhere.invalid:1" for name in NEIGHBORS}, "RECORD": f"/record/{version}"}
    container = {
        "name": "server", "image": "localhost/lab/frontend:stand-in", "ports": [{"containerPort": 8080}],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": WELL, "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 100},
        "volumeMounts": [{"name": "record", "mountPath": f"/record/{version}"}],
    }  # fmt: skip
    return workload(f"web-{version}", {"app": "web", "version": version}, container, f"{RECORD}/{version}")


def workload(name: str, labels: dict[str, str], container: dict[str, Any], record: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 1}
    if record:
        spec.update(
            volumes=[{"name": "record", "hostPath": {"path": record, "type": "DirectoryOrCreate"}}],
            securityContext={"runAsUser": 0},
        )
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


@pytest.fixture(scope="module")
def shop(mesh: Lab) -> Iterator[Lab]:
    assert "failed" not in mesh.module("namespace", name=SPACE, injection="enabled")
    client = workload("client", {"app": "client"}, {"name": "client", "image": "localhost/lab/client:stand-in"})
    done = mesh.module("manifests", definition=[service("web"), server("v1"), server("v2"), client], wait_timeout=180)
    assert "failed" not in done, done
    yield mesh
    assert mesh.module("namespace", name=SPACE, state="absent", delete=True)["changed"]


@contextmanager
def policy(lab: Lab, **concerns: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The host has just these concerns, each by its own module; afterwards none of them."""
    result: dict[str, Any] = {}
    try:
        for module, options in concerns.items():
            result = lab.module(module, **HOST, **options)
            assert "failed" not in result, result
            assert all("proxies of" in barrier for barrier in result["verified"]), result["verified"]
        yield result
    finally:
        gone = lab.module("traffic", policy={SPACE: {"web": {}}})
        assert "failed" not in gone, gone


def send(lab: Lab, path: str = WELL, count: int = 100, *flags: str, host: str = "web") -> dict[str, Any]:
    """What became of so many requests of a pod in the mesh."""
    argv = [
        "exec",
        "deploy/client",
        "-n",
        SPACE,
        "-c",
        "client",
        "--",
        "standin",
        "client",
        "-n",
        str(count),
        "-c",
        "4",
        *flags,
        f"http://{host}.{SPACE}{path}",
    ]
    figures: dict[str, Any] = json.loads(lab.kubectl(*argv))
    return figures


def arrived(lab: Lab, run: str) -> Counter[str]:
    """{version: numbered requests of a run that reached it}."""
    script = (
        f"cd {RECORD} && grep -rh . /dev/null v1 2>/dev/null | grep -c '^{run} '; grep -rh . /dev/null v2 2>/dev/null |"
        f" grep -c '^{run} '"
    )
    lines = subprocess.run(
        ["docker", "exec", "servicemesh-lab-control-plane", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout.split()
    return Counter(dict(zip(("v1", "v2"), map(int, lines))))


def one_run() -> tuple[str, tuple[str, str]]:
    name = f"policy-{uuid.uuid4().hex}"
    return name, ("-run", name)


def stand_still(lab: Lab, deployment: str, signal: str, program: str = "standin") -> None:
    """Sends a signal to a program of the deployment's one pod, on the node."""
    version = deployment.removeprefix("web-")
    pod = lab.get("pods", "-n", SPACE, "-l", f"app=web,version={version}")["items"][0]["metadata"]["name"]
    script = f"""for p in /proc/[0-9]*; do
        tr '\\0' '\\n' <$p/environ 2>/dev/null | grep -qx 'HOSTNAME={pod}' || continue
        case "$(readlink $p/exe)" in *{program}*) kill -{signal} ${{p#/proc/}} && echo done;; esac
    done"""
    done = subprocess.run(
        ["docker", "exec", "servicemesh-lab-control-plane", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "done" in done.stdout, done


def drained(lab: Lab, path: str, statuses: dict[str, int]) -> None:
    """New connections meet a listener's change at once, open ones when the proxy has drained them (45 s)."""
    for _ in range(40):
        if (found := send(lab, path)["statuses"]) == statuses:
            return
        time.sleep(2)
    raise AssertionError(found)
