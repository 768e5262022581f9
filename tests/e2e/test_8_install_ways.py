# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane by istioctl's rendering and by Helm, on a cluster of its own: beside what the programs themselves
leave, and from one to the other.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import programs
from playbook_runner import LEADER, Lab, sound

HOME = "istio-system"
SPACED = (
    "serviceaccounts,configmaps,services,deployments,roles,rolebindings,horizontalpodautoscalers,poddisruptionbudgets"
)
WIDE = "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations,customresourcedefinitions"
# As tests/lab/vars.yml has it: less is asked for, and upstream Envoy is not sent what it lacks.
PILOT = {
    "autoscaleEnabled": False,
    "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
    "env": {"PILOT_ENABLE_ALPN_FILTER": "false", "PILOT_ENABLE_METADATA_EXCHANGE": "false"},
}
VALUES: dict[str, Any] = {"pilot": PILOT, "telemetry": {"enabled": False}}
MESH = {"accessLogFile": "/dev/stdout"}
# The same with istioctl's gateway as it is in the lab.
WITH_GATEWAY = {**VALUES, "gateways": {"istio-ingressgateway": {"type": "NodePort", "autoscaleEnabled": False}}}
GATEWAY = {"imagePullPolicy": "IfNotPresent", "service": {"type": "NodePort"}, "autoscaling": {"enabled": False}}
# Whom an object belongs to, and what servers and istiod fill in.
MARKS = (
    "applyset.kubernetes.io/part-of",
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
    "deployment.kubernetes.io/revision",
)
FILLED = {
    "clusterIP",
    "clusterIPs",
    "nodePort",
    "healthCheckNodePort",
    "caBundle",
    "failurePolicy",
    "managedFields",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "status",
}


def helm(lab: Lab, major: int, *arguments: str, text: str = "") -> str:
    argv = [str(programs.build(f"helm{major}")), *arguments]
    done = subprocess.run(
        argv, env=lab.environment, input=text, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items() if key not in FILLED and key not in MARKS}
    return [bare(item) for item in value] if isinstance(value, list) else value


def left(lab: Lab) -> dict[str, Any]:
    """{object: what it is, less owners' marks} of all that Istio's installers write."""
    found = {}
    for arguments in ((SPACED, "-n", HOME), (WIDE,)):
        for item in json.loads(lab.kubectl("get", *arguments, "-o", "json"))["items"]:
            name = item["metadata"]["name"]
            labels = item["metadata"].get("labels") or {}
            ours = "istio" in name or name == "values"
            elected = LEADER in (item["metadata"].get("annotations") or {})
            if ours and not elected and not name.startswith("istio-ca-") and "applyset.kubernetes.io/id" not in labels:
                item = bare(copy.deepcopy(item))
                for part in ("labels", "annotations"):
                    if not item["metadata"].get(part):
                        item["metadata"].pop(part, None)
                found[f"{item['kind']} {name}"] = item
    return found


@pytest.fixture(scope="module")
def release(elsewhere: Lab) -> dict[str, Any]:
    return elsewhere.module("release", version="1.31.0", mirror=elsewhere.environment["LAB_RELEASES"])


@pytest.fixture(scope="module")
def older(elsewhere: Lab) -> dict[str, Any]:
    return elsewhere.module("release", version="1.30.4", mirror=elsewhere.environment["LAB_RELEASES"])


@pytest.fixture
def empty(elsewhere: Lab) -> Iterator[Lab]:
    lab = elsewhere
    yield lab
    lab.sweep()


def by_helm(lab: Lab, release: dict[str, Any], major: int = 4, **options: Any) -> dict[str, Any]:
    usual = {"values": VALUES, "mesh_config": MESH, "gateways": [{"name": "istio-ingressgateway", "values": GATEWAY}]}
    return lab.module(
        "control_plane",
        method="helm",
        helm=str(programs.build(f"helm{major}")),
        charts=f"{release['path']}/manifests/charts",
        **{**usual, **options},
    )


def by_istioctl(lab: Lab, release: dict[str, Any], **options: Any) -> dict[str, Any]:
    return lab.module(
        "control_plane", istioctl=release["istioctl"], **{"values": WITH_GATEWAY, "mesh_config": MESH, **options}
    )


@pytest.mark.long
def test_ours_by_istioctl_is_what_istioctl_installs(empty: Lab, release: dict[str, Any], tmp_path: Path) -> None:
    done = by_istioctl(empty, release)
    assert done["changed"] and "failed" not in done, done
    ours = left(empty)
    subprocess.run(
        [release["istioctl"], "uninstall", "--purge", "-y"],
        env=empty.environment,
        capture_output=True,
        timeout=300,
        check=True,
    )
    # It returns before the last object is gone.
    for _ in range(60):
        if not left(empty).keys() & ours.keys():
            break
        time.sleep(1)
    assert [name for name in left(empty) if name in ours] == [], "istioctl knows all of it as its own"
    assert "failed" not in by_istioctl(empty, release)
    sound(empty, release["istioctl"])
    gone = empty.module("control_plane", state="absent", delete_crds=True, delete_namespace=True)
    assert "failed" not in gone and left(empty) == {}, gone
    spec = {
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "spec": {"profile": "default", "values": WITH_GATEWAY, "meshConfig": MESH},
    }
    (tmp_path / "operator.yaml").write_text(yaml.safe_dump(spec))
    argv = [release["istioctl"], "install", "-y", "-f", str(tmp_path / "operator.yaml")]
    subprocess.run(argv, env=empty.environment, capture_output=True, timeout=300, check=True)
    theirs = left(empty)
    assert sorted(ours) == sorted(theirs)
    # istioctl marks what all revisions share with the one that wrote it last.
    for found in (ours, theirs):
        for name in [
            name for name in found if name.startswith(("CustomResourceDefinition", "ServiceAccount istio-reader"))
        ]:
            found[name]["metadata"]["labels"].pop("istio.io/rev", None)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert json.loads(empty.kubectl("get", "pods", "-n", HOME, "-l", "app=istiod", "-o", "json"))["items"]


@pytest.mark.long
@pytest.mark.parametrize("major", [3, 4])
def test_ours_by_helm_is_what_helm_installs(empty: Lab, release: dict[str, Any], major: int) -> None:
    planned = by_helm(empty, release, major, check=True)
    assert planned["changed"] and left(empty) == {}
    done = by_helm(empty, release, major)
    assert done["changed"] and "failed" not in done, done
    rows = json.loads(helm(empty, major, "list", "-A", "-o", "json"))
    assert {(row["name"], row["status"], row["chart"]) for row in rows} == {
        ("istio-base", "deployed", "base-1.31.0"), ("istiod", "deployed", "istiod-1.31.0"), ("istio-ingressgateway", "deployed", "gateway-1.31.0"),
    }  # fmt: skip
    again = by_helm(empty, release, major)
    assert not again["changed"] and again["summary"]["dry_runs"] == 0, again
    ours = left(empty)
    gone = by_helm(empty, release, major, state="absent", delete_crds=True, delete_namespace=True)
    assert "failed" not in gone and left(empty) == {}, gone
    folder = f"{release['path']}/manifests/charts"
    place = {"global": {"istioNamespace": HOME}}
    for name, chart, values in (
        ("istio-base", "base", {**place, "defaultRevision": "default"}),
        ("istiod", "istio-control/istio-discovery", {**VALUES, **place, "meshConfig": MESH}),
        ("istio-ingressgateway", "gateway", GATEWAY),
    ):
        helm(
            empty,
            major,
            "install",
            name,
            f"{folder}/{chart}",
            "-n",
            HOME,
            "--create-namespace",
            "--wait",
            "-f",
            "-",
            text=json.dumps(values),
        )
    theirs = left(empty)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.long
def test_a_release_is_upgraded_by_another_helm_and_hand_edits_are_seen(
    empty: Lab, release: dict[str, Any], older: dict[str, Any]
) -> None:
    assert "failed" not in by_helm(empty, older, 3)
    done = by_helm(empty, release, 4)
    assert done["changed"] and "failed" not in done and done["version"] == "1.31.0", done
    assert not by_helm(empty, release, 4)["changed"]
    empty.kubectl(
        "-n",
        HOME,
        "patch",
        "configmap",
        "istio",
        "--type",
        "merge",
        "-p",
        json.dumps({"data": {"mesh": "edited: true"}}),
    )
    planned = by_helm(empty, release, 4, check=True)
    assert [entry["before"] for entry in planned["diff"]][0] == "data:\n  mesh: 'edited: true'\n"
    refused = by_helm(empty, release, 4)
    assert refused["failure"]["code"] == "conflict" and "kubectl-patch" in refused["msg"] and not refused["changed"], (
        refused
    )
    healed = by_helm(empty, release, 4, force_conflicts=True)
    assert healed["changed"] and "failed" not in healed and not by_helm(empty, release, 4)["changed"]


@pytest.mark.long
def test_a_helm_that_was_killed_half_way_is_taken_up(empty: Lab, release: dict[str, Any]) -> None:
    assert "failed" not in by_helm(empty, release)
    secret = json.loads(empty.kubectl("-n", HOME, "get", "secret", "sh.helm.release.v1.istiod.v1", "-o", "json"))
    content = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    content["version"], content["info"]["status"] = 2, "pending-upgrade"
    secret["data"]["release"] = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(content).encode()))).decode()
    labels = {**secret["metadata"]["labels"], "version": "2", "status": "pending-upgrade"}
    secret["metadata"] = {"name": "sh.helm.release.v1.istiod.v2", "namespace": HOME, "labels": labels}
    empty.kubectl("create", "-f", "-", text=json.dumps(secret))
    stuck = subprocess.run(
        [
            str(programs.build("helm4")),
            "upgrade",
            "istiod",
            f"{release['path']}/manifests/charts/istio-control/istio-discovery",
            "-n",
            HOME,
        ],
        env=empty.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert stuck.returncode != 0 and "in progress" in stuck.stderr, "Helm itself is stuck there"
    done = by_helm(empty, release)
    assert done["changed"] and "failed" not in done, done
    assert not by_helm(empty, release)["changed"]


@pytest.mark.parametrize("major", [pytest.param(3, marks=pytest.mark.long), 4])
def test_from_istioctl_to_helm_and_back_without_a_restart(empty: Lab, release: dict[str, Any], major: int) -> None:
    def identities() -> dict[str, str]:
        # The default tag's Service is no part of the charts: it goes, and comes back.
        items = json.loads(
            empty.kubectl(
                "get",
                "deployments,services,configmaps,pods",
                "-n",
                HOME,
                "-l",
                "app=istiod,!istio.io/tag",
                "-o",
                "json",
            )
        )["items"]
        return {f"{item['kind']} {item['metadata']['name']}": item["metadata"]["uid"] for item in items}

    options = {"gateways": []}
    plane = {"profile": "minimal", "values": VALUES}
    assert "failed" not in by_istioctl(empty, release, **plane)
    before = identities()
    planned = by_helm(empty, release, major, check=True, adopt=True, **options)
    done = by_helm(empty, release, major, adopt=True, **options)
    assert done["changed"] and "failed" not in done, done
    assert [row["ref"] for row in planned["objects"] if row["action"] != "unchanged"] == [
        row["ref"] for row in done["objects"] if row["action"] != "unchanged"
    ]
    helm_again = by_helm(empty, release, major, **options)
    assert not helm_again["changed"], helm_again["diff"]
    assert {row["name"] for row in json.loads(helm(empty, major, "list", "-A", "-o", "json"))} == {
        "istio-base",
        "istiod",
    }
    helm(
        empty,
        major,
        "upgrade",
        "istiod",
        f"{release['path']}/manifests/charts/istio-control/istio-discovery",
        "-n",
        HOME,
        "--reuse-values",
    )
    back = by_istioctl(empty, release, adopt=True, **plane)
    assert back["changed"] and "failed" not in back, back
    again = by_istioctl(empty, release, **plane)
    assert not again["changed"], again["diff"]
    sound(empty, release["istioctl"])
    assert json.loads(helm(empty, major, "list", "-A", "-o", "json")) == []
    after = identities()
    assert {name: uid for name, uid in after.items() if not name.startswith("Pod")} == {
        name: uid for name, uid in before.items() if not name.startswith("Pod")
    }


@pytest.mark.long
def test_every_profile_of_the_release_has_a_plan(empty: Lab, release: dict[str, Any]) -> None:
    profiles = sorted(path.stem for path in Path(release["path"]).glob("manifests/profiles/*.yaml"))
    assert {"ambient", "default", "demo", "empty", "minimal", "preview", "remote"} <= set(profiles)
    kinds = {}
    for profile in profiles:
        planned = by_istioctl(empty, release, profile=profile, values=VALUES, check=True)
        if profile == "empty":
            assert planned["failure"]["code"] == "istioctl" and "rendered no objects" in planned["msg"], planned
            continue
        assert "failed" not in planned, (profile, planned["msg"])
        kinds[profile] = {(row["ref"]["kind"], row["ref"]["name"]) for row in planned["objects"]}
    assert {("DaemonSet", "istio-cni-node"), ("DaemonSet", "ztunnel")} <= kinds["ambient"]
    assert left(empty) == {}, "a plan leaves nothing"


@pytest.mark.long
def test_ambient_is_applied_and_what_lacks_an_image_is_named(empty: Lab, release: dict[str, Any]) -> None:
    """The lab has no image of istio-cni and ztunnel, and can pull none: all else comes, and the cause is told."""
    done = by_istioctl(empty, release, profile="ambient", values=VALUES, wait_timeout=180)
    assert done["failure"]["code"] == "image_pull" and done["failure"]["ref"]["name"] in (
        "istio-cni-node",
        "ztunnel",
    ), done
    there = left(empty)
    nodes = json.loads(empty.kubectl("get", "daemonsets", "-n", HOME, "-o", "json"))["items"]
    assert (
        done["changed"]
        and "Deployment istiod" in there
        and {item["metadata"]["name"] for item in nodes} == {"istio-cni-node", "ztunnel"}
    )
    gone = empty.module("control_plane", state="absent", delete_crds=True, delete_namespace=True)
    assert "failed" not in gone and left(empty) == {}, gone
