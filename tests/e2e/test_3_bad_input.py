# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot work is told early, by a stable code, and changes nothing."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from playbook_runner import Lab, objects

DEMO = "online-boutique"
SPLIT = {"namespace": DEMO, "service": "frontend", "port": 80}


def archive(path: Path, member: str, link: str = "") -> Path:
    """An archive of a release with one member that has no business there."""
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(member)
        if link:
            info.type, info.linkname = tarfile.SYMTYPE, link
        tar.addfile(info, io.BytesIO(b""))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
    return path


@pytest.fixture(scope="module")
def istioctl(mesh: Lab) -> str:
    found = mesh.module("release", version="1.31.0", mirror=mesh.environment["LAB_RELEASES"])
    return str(found["istioctl"])


@pytest.mark.parametrize(
    ("module", "options", "code", "words"),
    [
        ("traffic_split", {**SPLIT, "versions": {"v1": 110, "v2": -10}}, "weight_negative", "the weight of v2 is -10"),
        (
            "traffic_split",
            {**SPLIT, "versions": {"v1": 0, "v2": 0}},
            "weights_zero",
            "all weights of service frontend are 0",
        ),
        ("traffic_split", {**SPLIT, "versions": {"v1": 50, "v3": 50}}, "no_pods", "version=v3"),
        (
            "traffic_split",
            {**SPLIT, "service": "frontent", "versions": {"v1": 1}},
            "no_such_host",
            f"frontent.{DEMO}.svc.cluster.local",
        ),
        (
            "traffic_split",
            {**SPLIT, "versions": {"v1": 1}, "gateways": ["istio-system/nowhere"]},
            "no_such_gateway",
            "istio-system/nowhere",
        ),
        (
            "namespace",
            {"name": "proof-labels", "injection": "enabled", "revision": "prod"},
            "both_labels",
            "proof-labels",
        ),
        (
            "mesh_info",
            {"kubeconfig": "/nonexistent/kubeconfig"},
            "kubeconfig",
            "/nonexistent/kubeconfig does not exist",
        ),
        ("mesh_info", {"context": "nowhere"}, "kubeconfig", "nowhere"),
        (
            "control_plane",
            {"istioctl": "/bin/true", "host": "https://127.0.0.1:1", "revision": "Not_A_Label"},
            "invalid_option",
            "revision",
        ),
        (
            "manifests",
            {
                "definition": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
                "host": "https://127.0.0.1:1",
                "api_key": "t0ken-that-nobody-sees",
            },
            "unreachable",
            "https://127.0.0.1:1",
        ),
    ],
)
def test_bad_options_are_refused_by_code_and_change_nothing(
    mesh: Lab, module: str, options: dict[str, Any], code: str, words: str
) -> None:
    before = objects(mesh)
    environment = {"KUBECONFIG": "/nonexistent"} if "host" in options and options["host"].startswith("https") else {}
    result = mesh.module(module, environment=environment, **options)
    assert result["failed"] and result["failure"]["code"] == code and words in result["msg"], result
    assert "t0ken-that-nobody-sees" not in str(result)
    assert objects(mesh) == before


def test_an_unknown_profile_is_refused_with_the_ones_that_there_are(mesh: Lab, istioctl: str) -> None:
    before = objects(mesh)
    result = mesh.module("control_plane", istioctl=istioctl, profile="defualt")
    assert result["failure"]["code"] == "unknown_profile" and "defualt" in result["msg"] and "minimal" in result["msg"]
    assert objects(mesh) == before


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(mesh: Lab, tmp_path: Path) -> None:
    result = mesh.module(
        "release",
        version="1.31.0",
        mirror=mesh.environment["LAB_RELEASES"],
        checksum="0" * 64,
        dest=str(tmp_path / "kept"),
    )
    assert result["failure"]["code"] == "checksum" and "0" * 64 in result["msg"]
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("member", "link"),
    [("../outside", ""), ("/outside", ""), ("istio-1.31.0/bin", "/etc"), ("istio-1.31.0/bin", "../../..")],
)
def test_an_archive_that_leaves_its_folder_is_refused_and_nothing_is_kept(
    mesh: Lab, tmp_path: Path, member: str, link: str
) -> None:
    source = archive(tmp_path / "istio-1.31.0-linux-amd64.tar.gz", member, link)
    result = mesh.module("release", version="1.31.0", src=str(source), dest=str(tmp_path / "kept"))
    assert result["failure"]["code"] == "unsafe_archive" and member in result["msg"], result
    assert not (tmp_path / "outside").exists()
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


def test_a_namespace_that_somebody_labelled_for_a_revision_is_not_labelled_for_injection_too(mesh: Lab) -> None:
    mesh.kubectl("create", "namespace", "proof-labels")
    try:
        mesh.kubectl("label", "namespace", "proof-labels", "istio.io/rev=prod")
        result = mesh.module("namespace", name="proof-labels", injection="enabled")
        assert (
            result["failure"]["code"] == "both_labels"
            and "kubectl label namespace proof-labels istio.io/rev-" in result["msg"]
        )
        assert mesh.get("namespace", "proof-labels")["metadata"]["labels"].get("istio-injection") is None
    finally:
        mesh.kubectl("delete", "namespace", "proof-labels")


def test_a_control_plane_whose_image_cannot_start_is_told_with_pod_container_and_reason(
    mesh: Lab, istioctl: str
) -> None:
    """Long before wait_timeout. How long is measured and said here, and asserted nowhere."""
    options = {"istioctl": istioctl, "profile": "minimal", "revision": "broken", "default_tag": False}
    values = {"pilot": {"autoscaleEnabled": False, "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}}
    start = time.monotonic()
    result = mesh.module("control_plane", tag="no-such-tag", values=values, wait_timeout=600, **options)
    seconds = time.monotonic() - start
    print(f"a broken image was reported after {seconds:.0f} s")
    try:
        assert result["failed"] and result["failure"]["code"] == "image_pull", result
        assert (
            result["failure"]["ref"]["name"] == "istiod-broken"
            and "container discovery" in result["msg"]
            and "no-such-tag" in result["msg"]
        )
        # Objects that were written before are told, too.
        assert result["changed"] and result["summary"]["created"] > 0
    finally:
        gone = mesh.module("control_plane", revision="broken", state="absent")
    assert gone["changed"] and "failed" not in gone, gone
    assert mesh.module("control_plane", revision="broken", state="absent")["changed"] is False
    assert [name for name in objects(mesh) if "broken" in name] == []
