# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed at any point, the next run ends in the state of an undisturbed one, and the set knows all that was made."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from objects import Object, code, config, definition, deployment, problem
from playbook_runner import MODULES, ROOT, Lab
from proxy import PASS, RESET, STAGES, Proxy

SEED, POINTS = 20261, 12
MARK = "faults.example.com/of"
KINDS = (
    "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,priorityclasses,validatingwebhookconfigurations,serviceaccounts,roles,rolebindings,"
    "configmaps,secrets,services,deployments,poddisruptionbudgets,networkpolicies"
)
KEPT = {"Namespace", "CustomResourceDefinition"}
SERVERS_OWN = ("uid", "resourceVersion", "creationTimestamp")


def install(tag: str) -> list[Object]:
    """About forty objects: of the cluster and of two namespaces, with a kind of their own. Every name carries the
    tag.
    """
    one, two = f"{tag}-one", f"{tag}-two"
    rbac, core = "rbac.authorization.k8s.io/v1", "v1"
    found: list[Object] = [make(core, "Namespace", name) for name in (one, two)]
    found.append(definition(f"{tag}.example.com", "Widget", "widgets"))
    found += [
        make(rbac, "ClusterRole", f"{tag}-{name}", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": [name]}])
        for name in ("get", "list")
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{tag}-get"}
    found.append(
        make(
            rbac,
            "ClusterRoleBinding",
            f"{tag}-get",
            roleRef=role,
            subjects=[{"kind": "ServiceAccount", "name": "sa-0", "namespace": one}],
        )
    )
    found.append(make("scheduling.k8s.io/v1", "PriorityClass", f"{tag}-low", value=1))
    found.append(
        make("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", f"{tag}-hook", webhooks=[hook(tag)])
    )
    for space in (one, two):
        found += [make(core, "ServiceAccount", f"sa-{n}", space) for n in range(2)]
        found.append(
            make(
                rbac,
                "Role",
                "reader",
                space,
                rules=[{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
            )
        )
        binding = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
        found.append(
            make(
                rbac,
                "RoleBinding",
                "reader",
                space,
                roleRef=binding,
                subjects=[{"kind": "ServiceAccount", "name": "sa-0", "namespace": space}],
            )
        )
        found += [config(f"words-{n}", space, text=str(n)) for n in range(4)]
        found += [make(core, "Secret", f"secret-{n}", space, stringData={"text": f"value {n}"}) for n in range(2)]
        found += [
            make(core, "Service", f"web-{n}", space, spec={"selector": {"app": f"web-{n}"}, "ports": [{"port": 80}]})
            for n in range(2)
        ]
        found.append(
            make("networking.k8s.io/v1", "NetworkPolicy", "open", space, spec={"podSelector": {}, "ingress": [{}]})
        )
        found.append(
            make(
                "policy/v1",
                "PodDisruptionBudget",
                "web",
                space,
                spec={"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web-0"}}},
            )
        )
        found += [make(f"{tag}.example.com/v1", "Widget", f"widget-{n}", space, spec={"size": n}) for n in range(2)]
        found.append(deployment("web-0", space))
    for obj in found:
        obj["metadata"]["labels"] = {MARK: tag}
    return found


def make(version: str, kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        **fields,
    }


def hook(tag: str) -> Object:
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]
    client = {"service": {"name": "nowhere", "namespace": f"{tag}-one"}}
    selector = {"matchLabels": {MARK: "nothing"}}
    return {
        "name": "hook.example.com",
        "rules": rules,
        "clientConfig": client,
        "objectSelector": selector,
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }


def options_for(tag: str, proxy: Proxy) -> dict[str, Any]:
    # The set's own ConfigMap lies in a namespace that the same run makes.
    return {
        "definition": install(tag),
        "set": "everything",
        "namespace": f"{tag}-one",
        "kubeconfig": proxy.kubeconfig(),
        "wait_timeout": 300,
    }


def absent(lab: Lab, options: dict[str, Any]) -> dict[str, Any]:
    return lab.module(
        "manifests", state="absent", **{key: value for key, value in options.items() if key != "definition"}
    )


def live(lab: Lab, tag: str) -> list[Object]:
    """All that carries the tag, and the set itself."""
    kinds = (
        f"{KINDS},widgets.{tag}.example.com"
        if f"widgets.{tag}.example.com" in lab.kubectl("get", "customresourcedefinitions", "-o", "name")
        else KINDS
    )
    found = lab.get(kinds, "-A", "-l", f"{MARK}={tag}", "--show-managed-fields")["items"]
    return (
        found
        + lab.get(
            "configmaps",
            "-A",
            "-l",
            "applyset.kubernetes.io/id",
            "--field-selector",
            f"metadata.namespace={tag}-one",
            "--show-managed-fields",
        )["items"]
    )


def state(lab: Lab, tag: str) -> dict[str, Any]:
    """{object: what we had a say in}, less what servers write; the tag is taken out, so that two installs can be
    compared.
    """
    found = {}
    for obj in live(lab, tag):
        metadata = {key: value for key, value in obj["metadata"].items() if key not in SERVERS_OWN}
        ours = [entry for entry in metadata.pop("managedFields") if entry["manager"] == "servicemesh.istio"]
        owned = [(entry["operation"], entry["apiVersion"], entry["fieldsV1"]) for entry in ours]
        spec = {key: value for key, value in (obj.get("spec") or {}).items() if key not in ("clusterIP", "clusterIPs")}
        rest = {key: value for key, value in obj.items() if key not in ("metadata", "spec", "status")}
        # The set's id is a hash of its place.
        text = (
            json.dumps({**rest, "metadata": metadata, "spec": spec, "owned": owned}, sort_keys=True)
            .replace(part_of(tag), "ID")
            .replace(tag, "TAG")
        )
        found[f"{obj['kind']} {metadata.get('namespace', '')}/{metadata['name']}".replace(tag, "TAG")] = json.loads(
            text
        )
    return found


def part_of(tag: str) -> str:
    from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.applyset import ObjectSet

    return ObjectSet("everything", f"{tag}-one").id


def clean(lab: Lab, tag: str) -> None:
    lab.kubectl("delete", "namespaces,customresourcedefinitions", "-l", f"{MARK}={tag}", "--wait=false")


def nothing_left(lab: Lab, tag: str) -> None:
    left = [f"{obj['kind']} {obj['metadata']['name']}" for obj in live(lab, tag) if obj["kind"] not in KEPT]
    assert left == [], "all that was made is known to the set"


def killed(lab: Lab, proxy: Proxy, options: dict[str, Any], pattern: str, nth: int, served: bool) -> None:
    """A run that is killed at the n-th request, before the server gets it or after it has answered."""
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": options})
    environment = {**lab.environment, "PYTHONPATH": str(ROOT / ".collections")}
    argv = [sys.executable, "-m", f"{MODULES}.manifests"]
    process = subprocess.Popen(
        argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    rule = (
        proxy.on(PASS, pattern, nth=nth, after=process.kill)
        if served
        else proxy.on(RESET, pattern, nth=nth, before=process.kill)
    )
    output, _errors = process.communicate(arguments, timeout=600)
    assert (process.returncode, output, rule.hits) == (-signal.SIGKILL, "", 1)
    proxy.clear()


@pytest.fixture(scope="module")
def undisturbed(lab: Lab, tmp_path_factory: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """(the state after a run that nothing disturbed, number of its requests up to the last write)."""
    with Proxy(lab.kubeconfig, tmp_path_factory.mktemp("undisturbed")) as proxy:
        options = options_for("calm", proxy)
        assert len(options["definition"]) >= 40
        done = lab.module("manifests", **options)
        assert code(done) == "" and done["summary"]["created"] == len(options["definition"]) + 1, problem(done)
        writes = [number for number, request in enumerate(proxy.requests, 1) if request.startswith("PATCH")]
        yield state(lab, "calm"), writes[-1]
        assert code(absent(lab, options)) == ""
        nothing_left(lab, "calm")
        clean(lab, "calm")


def point(number: int, requests: int) -> tuple[str, int, bool]:
    """(pattern, which match of it, whether the server has answered): one in each part of the run, and one while it
    waits.
    """
    chance = random.Random(SEED + number)
    if number == POINTS - 1:
        return STAGES["watch"], 1, True
    width = requests / (POINTS - 1)
    return "", int(number * width) + chance.randint(1, int(width)), chance.random() < 0.5


@pytest.mark.parametrize("number", range(POINTS))
def test_an_install_that_is_killed_is_completed_by_the_next_run(
    lab: Lab, proxy: Proxy, undisturbed: tuple[dict[str, Any], int], number: int
) -> None:
    expected, requests = undisturbed
    tag = f"kill{number}"
    options = options_for(tag, proxy)
    killed(lab, proxy, options, *point(number, requests))
    if number % 2:
        assert code(absent(lab, options)) == ""
        nothing_left(lab, tag)
    mended = lab.module("manifests", **options)
    assert code(mended) == "", problem(mended)
    assert state(lab, tag) == expected
    again = lab.module("manifests", **options)
    assert (code(again), again["changed"], again["summary"]["dry_runs"]) == ("", False, 0), problem(again)
    assert code(absent(lab, options)) == ""
    nothing_left(lab, tag)
    clean(lab, tag)
