# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubectl, Helm and istioctl made is taken over: nothing is deleted, nothing restarted, and from then on it is
ours.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbook_runner import ROOT, Lab, sound

NAMESPACE = "proof-adopt"
IMAGE = "localhost/lab/client:stand-in"
MANAGER = "servicemesh.istio"


def config(**data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "words", "namespace": NAMESPACE, "labels": {"app": "web"}},
        "data": data,
    }


def deployment(replicas: int = 1, **env: str) -> dict[str, Any]:
    container = {"name": "web", "image": IMAGE, "env": [{"name": key, "value": value} for key, value in env.items()]}
    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": spec,
    }


MADE = [config(a="1", b="2"), deployment(STANDIN="client", EXTRA="old")]
# One field less in each, and one value changed.
WANTED = [config(a="1"), deployment(STANDIN="client", EXTRA="old")]


def helm(program: str) -> Any:
    def make(lab: Lab, folder: Path) -> None:
        chart = folder / "chart"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
        (chart / "templates" / "all.yaml").write_text(yaml.safe_dump_all(MADE))
        subprocess.run(
            [program, "install", "web", str(chart), "-n", NAMESPACE],
            env=lab.environment,
            check=True,
            capture_output=True,
        )

    return make


def kubectl(*more: str) -> Any:
    return lambda lab, folder: lab.kubectl("apply", "-f", "-", *more, text=yaml.safe_dump_all(MADE))


@pytest.fixture
def namespace(lab: Lab) -> Iterator[Lab]:
    lab.kubectl("create", "namespace", NAMESPACE)
    yield lab
    lab.kubectl("delete", "namespace", NAMESPACE)


def managers(obj: dict[str, Any]) -> set[str]:
    """Who owns fields of the object itself, less its controllers."""
    return {entry["manager"] for entry in obj["metadata"]["managedFields"] if "subresource" not in entry} - {
        "kube-controller-manager"
    }


@pytest.mark.long
@pytest.mark.parametrize(
    "make",
    [kubectl(), kubectl("--server-side"), helm("helm3"), helm("helm")],
    ids=["kubectl", "kubectl server-side", "helm 3", "helm 4"],
)
def test_what_a_tool_made_becomes_ours_and_what_is_wanted_no_more_goes(
    namespace: Lab, tmp_path: Path, make: Any
) -> None:
    make(namespace, tmp_path)
    before = namespace.get("deployment", "web", "-n", NAMESPACE)
    options: dict[str, Any] = {"definition": WANTED, "adopt": True}
    planned = namespace.module("manifests", check=True, **options)
    assert managers(namespace.get("configmap", "words", "-n", NAMESPACE)) != {MANAGER}, "check mode writes nothing"
    done = namespace.module("manifests", **options)
    assert done["changed"] and done["diff"] == planned["diff"], (done, planned)
    assert {row["ref"]["kind"]: row["action"] for row in done["objects"]} == {
        "ConfigMap": "configured",
        "Deployment": "configured",
    }
    assert all(row["message"].startswith("adopted from ") for row in done["objects"])

    words, web = (
        namespace.get("configmap", "words", "-n", NAMESPACE),
        namespace.get("deployment", "web", "-n", NAMESPACE),
    )
    assert managers(words) == {MANAGER} and managers(web) == {MANAGER}
    assert words["data"] == {"a": "1"}, "a field that only the tool had set is gone"
    assert (web["metadata"]["uid"], web["spec"]) == (before["metadata"]["uid"], before["spec"]), "nothing was restarted"
    assert not any(
        "last-applied" in key or "helm.sh" in key
        for obj in (words, web)
        for key in obj["metadata"].get("annotations", {})
    )
    again = namespace.module("manifests", **options)
    assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)


@pytest.mark.long
def test_without_adopt_the_tool_and_its_field_are_named(namespace: Lab) -> None:
    namespace.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(MADE))
    result = namespace.module("manifests", definition=[config(a="another")])
    assert (
        result["failure"]["code"] == "conflict"
        and "kubectl-client-side-apply" in result["msg"]
        and ".data.a" in result["msg"]
    )


@pytest.mark.long
def test_a_controllers_field_is_not_taken_over_by_adopting(namespace: Lab) -> None:
    namespace.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(MADE))
    namespace.kubectl(
        "apply",
        "--server-side",
        "--field-manager",
        "flagger",
        "--force-conflicts",
        "-f",
        "-",
        text=yaml.safe_dump(config(a="theirs")),
    )
    result = namespace.module("manifests", definition=WANTED, adopt=True)
    assert (
        result["failure"]["code"] == "conflict"
        and "flagger" in result["msg"]
        and "kubectl" not in result["failure"]["reason"].split("flagger")[0]
    )
    assert "kubectl-client-side-apply" in managers(namespace.get("deployment", "web", "-n", NAMESPACE)), (
        "nothing was changed"
    )


@pytest.mark.long
def test_an_immutable_field_is_an_error_that_names_it_and_is_made_anew_when_told(namespace: Lab) -> None:
    first = namespace.module("manifests", definition=[deployment(STANDIN="client")], wait_timeout=60)
    assert first["changed"], first
    uid = namespace.get("deployment", "web", "-n", NAMESPACE)["metadata"]["uid"]
    other = json.loads(json.dumps(deployment(STANDIN="client")).replace('{"app": "web"}', '{"app": "shop"}'))
    refused = namespace.module("manifests", definition=[other])
    assert (
        refused["failure"]["code"] == "immutable"
        and "spec.selector" in refused["msg"]
        and "recreate" in refused["failure"]["hint"]
    )
    planned = namespace.module("manifests", check=True, definition=[other], recreate=True)
    assert (
        planned["summary"]["recreated"] == 1
        and namespace.get("deployment", "web", "-n", NAMESPACE)["metadata"]["uid"] == uid
    )
    done = namespace.module("manifests", definition=[other], recreate=True, wait_timeout=60)
    assert done["summary"]["recreated"] == 1 and done["diff"] == planned["diff"], done
    assert namespace.get("deployment", "web", "-n", NAMESPACE)["metadata"]["uid"] != uid
    assert namespace.module("manifests", definition=[other], recreate=True)["changed"] is False


def test_a_control_plane_of_istioctl_is_taken_over_without_a_restart(elsewhere: Lab) -> None:
    values = yaml.safe_load((ROOT / "tests/lab/vars.yml").read_text())
    small = {
        "pilot": {**values["lab_small"]["pilot"], "env": values["lab_upstream_envoy"]["pilot"]["env"]},
        "telemetry": {"enabled": False},
    }
    operator = {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {"profile": "minimal", "values": small},
    }
    subprocess.run(
        ["istioctl", "install", "-y", "-f", "-"],
        input=yaml.safe_dump(operator),
        text=True,
        env=elsewhere.environment,
        check=True,
        capture_output=True,
        timeout=300,
    )
    before = elsewhere.get("pods", "-n", "istio-system")["items"][0]["metadata"]["uid"]
    release = elsewhere.module("release", version="1.31.0", mirror=elsewhere.environment["LAB_RELEASES"])
    options: dict[str, Any] = {"istioctl": release["istioctl"], "profile": "minimal", "values": small, "adopt": True}
    planned = elsewhere.module("control_plane", check=True, **options)
    done = elsewhere.module("control_plane", **options)
    assert done["changed"] and "failed" not in done, done
    assert done["diff"] == planned["diff"]
    assert [
        row["ref"]
        for row in done["objects"]
        if row["action"] == "configured" and "adopted from istio-operator" not in row["message"]
    ] == []
    assert [pod["metadata"]["uid"] for pod in elsewhere.get("pods", "-n", "istio-system")["items"]] == [before]
    again = elsewhere.module("control_plane", **options)
    assert again["changed"] is False, [row for row in again["objects"] if row["action"] != "unchanged"]
    sound(elsewhere, release["istioctl"])
    gone = elsewhere.module("control_plane", state="absent", delete_crds=True)
    assert gone["changed"] and "failed" not in gone, gone
