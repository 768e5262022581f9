#!/usr/bin/env python3
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run over many clusters costs on the machine that runs it: site.yml over clusters in memory, each a process of
its own.

Prints the table of docs/many-clusters.md. Real API servers answer elsewhere; here their processor time is left out, and
their share of the wall time is not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/unit"), str(ROOT / "tests"), str(ROOT / ".collections")]

import conftest  # noqa: E402, F401  (makes the checkout known as a collection)
import yaml  # noqa: E402

# (clusters, forks)
CASES = [(1, 1), (2, 2), (5, 5), (10, 10), (10, 5)]
VARIABLES = {"site_hosts": "mesh", "site_release": False, "site_addons": False, "site_summary": False}


def cluster(pipe: Any) -> None:
    """Serves one cluster until its process is ended."""
    import builders
    import fake_istioctl
    from memory_api import MemoryApi
    from memory_server import serve

    demo = "online-boutique"
    api = MemoryApi(
        builders.namespace(demo),
        *(
            builders.pod(f"frontend-{version}", demo, {"app": "frontend", "version": version})
            for version in ("v1", "v2")
        ),
    )
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        api.controllers[kind] = fake_istioctl.arm
    with serve(api) as server:
        pipe.send(server)
        threading.Event().wait()


class Memory(threading.Thread):
    """Peak of the memory that a process and its descendants have together, shared pages counted once, in MiB."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak, self._pid, self._ended = 0.0, pid, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.25):
            self.peak = max(self.peak, sum(map(_pss, _family(self._pid))) / 1024)

    def stop(self) -> float:
        self._ended.set()
        self.join()
        return self.peak


def _family(pid: int) -> list[int]:
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [pid] + [member for child in children for member in _family(child)]


def _pss(pid: int) -> int:
    try:
        return next(
            int(line.split()[1])
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        )
    except (OSError, StopIteration):
        return 0


def played(folder: Path, forks: int) -> tuple[float, float, float, str]:
    """(seconds, seconds of processor, MiB, output) of one run. Raises SystemExit with the output of one that fails."""
    from memory_server import environment, playbook_command

    argv = playbook_command(
        ROOT / "playbooks/site.yml", "-i", "contexts.yml", "-f", str(forks), "-e", "@variables.json"
    )
    with tempfile.TemporaryFile() as output:
        begun = time.monotonic()
        child = subprocess.Popen(argv, cwd=folder, env=environment(folder), stdout=output, stderr=output)
        memory = Memory(child.pid)
        memory.start()
        _pid, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        peak = memory.stop()
        output.seek(0)
        text = output.read().decode(errors="replace")
    if child.returncode:
        raise SystemExit(text)
    return seconds, usage.ru_utime + usage.ru_stime, peak, text


def measure(clusters: int, forks: int, rounds: int) -> str:
    """A row: a first run into empty clusters, then runs that change nothing."""
    import fake_istioctl

    context = multiprocessing.get_context("spawn")
    processes = []
    with tempfile.TemporaryDirectory(prefix="clusters-") as name:
        folder, servers = Path(name), []
        try:
            for _number in range(clusters):
                here, there = context.Pipe()
                processes.append(context.Process(target=cluster, args=(there,), daemon=True))
                processes[-1].start()
                servers.append(here.recv())
            names = [f"cluster-{number}" for number in range(clusters)]
            (folder / "kubeconfig").write_text(
                yaml.safe_dump(
                    {
                        "contexts": [{"name": one, "context": {"cluster": one, "user": "me"}} for one in names],
                        "clusters": [
                            {"name": one, "cluster": {"server": server}} for one, server in zip(names, servers)
                        ],
                        "users": [{"name": "me", "user": {}}],
                    }
                )
            )
            (folder / "contexts.yml").write_text(
                yaml.safe_dump({"plugin": "servicemesh.istio.contexts", "groups": {"mesh": True}})
            )
            (folder / "variables.json").write_text(
                json.dumps({**VARIABLES, "control_plane_istioctl": str(fake_istioctl.write(folder))})
            )
            first = played(folder, forks)
            runs = [played(folder, forks) for _round in range(rounds)]
            if any(text.count("changed=0 ") != clusters + 1 for *_figures, text in runs):
                raise SystemExit("a run that had nothing to change changed something")
        finally:
            for process in processes:
                process.terminate()
                process.join()
    seconds, processor, peak = (median(run[part] for run in runs) for part in range(3))
    return (
        f"| {clusters} | {forks} | {first[0]:.1f} s | {seconds:.1f} s | {seconds / clusters:.1f} s |"
        f" {processor / clusters:.1f} s | {peak:.0f} MiB |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures site.yml over many clusters in memory.")
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs that change nothing, of which the median is told (default 3)"
    )
    parser.add_argument("--clusters", type=int, help="only so many")
    parser.add_argument("--forks", type=int, help="with --clusters, how many at a time (default all)")
    options = parser.parse_args()
    print(
        "| clusters | forks | first run | nothing to change | per cluster | processor per cluster | memory of all"
        " processes |\n|---:|---:|---:|---:|---:|---:|---:|"
    )
    for clusters, forks in [(options.clusters, options.forks or options.clusters)] if options.clusters else CASES:
        print(measure(clusters, forks, options.rounds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
