# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself, on a second cluster beside the first: it comes, is found again, repairs itself, and goes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import engine, images, node, settings
from playbook_runner import ROOT, SECOND, Lab, command_line, examples, second_lab

pytestmark = pytest.mark.long


def docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=120, check=True
    ).stdout.strip()


def test_a_second_lab_beside_the_first_comes_and_goes(second: str, lab: Lab) -> None:
    assert "answers (" in second_lab("status")
    assert docker("inspect", "-f", "{{.State.Running}}", second) == "true"
    assert "servicemesh-lab-control-plane" in lab.kubectl("get", "nodes")


def test_a_lab_that_is_up_is_left_as_it_is(second: str) -> None:
    before = docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", second)
    second_lab("up")
    assert docker("inspect", "-f", "{{.Id}} {{.State.StartedAt}}", second) == before


def test_a_node_that_died_comes_back_as_the_same_cluster(second: str) -> None:
    before = docker("inspect", "-f", "{{.Id}}", second)
    docker("kill", second)
    second_lab("up")
    assert docker("inspect", "-f", "{{.Id}} {{.State.Running}}", second) == f"{before} true"


def test_a_cluster_without_the_mark_is_replaced_only_by_the_one_of_its_name(second: str) -> None:
    kubeconfig = settings.CACHE / f"{SECOND}.kubeconfig"
    before = docker("inspect", "-f", "{{.Id}}", second)
    subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), "-n", "kube-system", "delete", "configmap", settings.MARK],
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": f"{settings.programs()}:{os.environ['PATH']}"},
    )
    assert "stale or broken" in second_lab("up")
    assert docker("inspect", "-f", "{{.Id}}", second) != before


def test_the_examples_of_the_control_plane_run_from_an_empty_cluster_to_an_empty_cluster(
    elsewhere: Lab, tmp_path: Path
) -> None:
    playbook = tmp_path / "examples.yml"
    playbook.write_text(examples("control_plane"))
    played = elsewhere.play(playbook, "-e", "@tests/lab/vars.yml").ok()
    first, taken, last = played.of("control_plane")
    assert (
        taken["changed"]
        and first["summary"]["created"] > 30
        and last["summary"]["pruned"] >= first["summary"]["created"]
    )


def test_half_of_a_program_is_never_used(lab: Lab) -> None:
    from lab import programs

    program = programs.PROGRAMS["standin"]
    whole = program.path.read_bytes()
    half = program.path.with_name(f".{program.path.name}.half")
    program.path.unlink()
    half.write_bytes(whole[: len(whole) // 2])
    program.build()
    assert program.path.stat().st_size == len(whole) and not half.exists()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Address of a registry on loopback that has the lab's own node image under the official name."""
    if not shutil.which("docker-registry"):
        engine.install(["docker-registry"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\nhttp: {{addr: {address}}}\n"
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    names = {
        node.name(): f"{address}/kindest/node:{settings.KUBERNETES}",
        "registry.k8s.io/pause:3.10": f"{address}/pause:3.9",
    }
    try:
        for _ in range(100):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.1)
        for name, official in names.items():
            docker("tag", name, official)
            docker("push", "-q", official)
            docker("rmi", official)
        yield address
    finally:
        server.terminate()
        server.wait(20)
        for official in names.values():
            subprocess.run(["docker", "rmi", official], capture_output=True, check=False)


def test_where_images_can_be_pulled_nothing_is_built(registry: str, lab: Lab, tmp_path: Path) -> None:
    """The registry stands in for the public ones. kind and kubectl are the user's own."""
    cache = tmp_path / "cache"
    programs = f"{settings.programs()}:{os.environ['PATH']}"
    pulling = {"LAB_NAME": "servicemesh-pulled", "LAB_CACHE": str(cache), "LAB_REGISTRY": registry, "PATH": programs}
    try:
        assert "nothing is built" in command_line("up", **pulling)
        status = command_line("status", **pulling)
        assert "images  pulled" in status and f"node    {registry}/kindest/node:{settings.KUBERNETES}" in status
        assert not (cache / "bin").exists() and not (cache / "archives").exists()
        assert (cache / "path/kubectl").resolve() == Path(shutil.which("kubectl", path=programs) or "").resolve()
        started = docker("inspect", "-f", "{{.State.StartedAt}}", "servicemesh-pulled-control-plane")
        command_line("up", **pulling)
        assert docker("inspect", "-f", "{{.State.StartedAt}}", "servicemesh-pulled-control-plane") == started
    finally:
        command_line("down", **pulling)


def test_a_build_that_is_killed_at_any_moment_goes_on(lab: Lab, tmp_path: Path) -> None:
    """Its own cache and images, so that every step runs; compiled packages come from Go's cache."""
    name = "servicemesh-killed"
    killed = {**os.environ, "LAB_NAME": name, "LAB_PORT": "18733", "LAB_CACHE": str(tmp_path)}
    removed = [node.name(), node.EMPTY, *(image.name for image in images.imported())]
    subprocess.run(["docker", "rmi", *removed], capture_output=True, check=False)
    moments = [random.uniform(2, 60) for _ in range(5)]
    print("killed after", [round(moment) for moment in moments], "s")
    try:
        for moment in moments:
            run = subprocess.Popen(
                [sys.executable, "tests/lab", "up"],
                cwd=ROOT,
                env=killed,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                run.wait(moment)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
            run.wait(20)
        both = [
            subprocess.Popen(
                [sys.executable, "tests/lab", "up"], cwd=ROOT, env=killed, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        texts = [run.communicate(timeout=1500)[1] for run in both]
        assert [run.returncode for run in both] == [0, 0], texts
        built = [line.split(": ")[2] for text in texts for line in text.splitlines() if ": done in " in line]
        assert len(built) == len(set(built)), "of two runs at a time, one builds"
        there = node.imported(f"{name}-control-plane")
        assert set(there) == {image.name for image in images.imported() if settings.PREVIOUS_ISTIO not in image.name}
        assert (
            docker(
                "exec", f"{name}-control-plane", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "nodes"
            ).count(" Ready ")
            == 1
        )
    finally:
        command_line("down", **{key: value for key, value in killed.items() if key.startswith("LAB_")})
