# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine: the one that answers, else Debian's, started here."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import settings, store
from .shell import LabError, run, say, works

PACKAGES = {
    "dockerd": "docker.io", "containerd": "containerd", "runc": "runc", "iptables": "iptables", "nft": "nftables", "ip": "iproute2",
    "conntrack": "conntrack", "ethtool": "ethtool", "socat": "socat", "debootstrap": "debootstrap",
}  # fmt: skip
RUNTIME = Path("/usr/local/bin/runc-within-bounds")
CONFIGURATION = Path("/etc/docker/daemon.json")
PID_FILES = {"dockerd": Path("/var/run/docker.pid"), "containerd": Path("/var/run/docker/containerd/containerd.pid")}
# Bits of linux/capability.h up to CAP_CHECKPOINT_RESTORE.
ALL_CAPABILITIES = (1 << 41) - 1


def answers() -> bool:
    return works("docker", "info", "--format", "{{.ID}}")


def ensure() -> None:
    """Makes an engine answer. Raises LabError saying what is missing."""
    if answers():
        return
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        raise LabError("No container engine answers. Start Docker (or set DOCKER_HOST); on Debian, as root, the lab installs and starts one itself.")
    install(missing_packages())
    start()


def missing_packages() -> list[str]:
    return [package for program, package in PACKAGES.items() if not shutil.which(program)]


def install(packages: list[str]) -> None:
    if not packages:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Another step may hold apt's lock.
    with store.locked(settings.CACHE / "locks", "apt"):
        run("apt-get", "update", "-qq", env=environment)
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, env=environment)


def bounds_are_complete(status: str) -> bool:
    """Whether /proc/self/status shows every capability that a privileged container asks for."""
    bounding = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd"))
    return bounding & ALL_CAPABILITIES == ALL_CAPABILITIES


def start() -> None:
    """Starts dockerd in a session of its own, with a runtime that asks for no more than this machine may give."""
    if not bounds_are_complete(Path("/proc/self/status").read_text(encoding="ascii")):
        shutil.copy(settings.HERE / "runc-within-bounds", RUNTIME)
        RUNTIME.chmod(0o755)
        if not CONFIGURATION.exists():
            CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
            wanted = {"runtimes": {"within-bounds": {"path": str(RUNTIME)}}, "default-runtime": "within-bounds"}
            CONFIGURATION.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    for program, path in PID_FILES.items():
        _remove_stale(program, path)
    settings.CACHE.mkdir(parents=True, exist_ok=True)
    log = settings.CACHE / "dockerd.log"
    with open(log, "ab") as output:
        subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        for _ in range(120):
            if answers():
                return
            time.sleep(0.5)
    raise LabError(f"dockerd did not answer within a minute; the end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]))


def _remove_stale(program: str, path: Path) -> None:
    """A pid file from before a restart may name another program's pid, and the engine would refuse to start."""
    if not path.exists():
        return
    comm = Path("/proc") / path.read_text(encoding="ascii").strip() / "comm"
    if not comm.exists() or comm.read_text(encoding="ascii").strip() != program:
        say(f"lab: removing {path}, left by an engine that died")
        path.unlink()


def forced() -> str:
    """LAB_IMAGES: pulled, built, or auto, which looks."""
    value = os.environ.get("LAB_IMAGES", "auto")
    if value not in ("pulled", "built", "auto"):
        raise LabError(f"LAB_IMAGES is {value!r}: set it to pulled, built or auto.")
    return value


def registry_is_out_of_reach() -> bool:
    """One quick request, before an engine runs: if no registry answers, programs are built while the engine is installed."""
    if settings.REGISTRY:
        return False
    try:
        with urllib.request.urlopen(f"https://{settings.PULL_PROBE.partition('/')[0]}/v2/", timeout=settings.REACH_TIMEOUT):
            return False
    except urllib.error.HTTPError:
        return False
    except OSError:
        return True


def can_pull() -> bool:
    """One quick attempt to pull a small image. LAB_IMAGES=pulled|built decides without it."""
    if forced() != "auto":
        return forced() == "pulled"
    return works("docker", "pull", "-q", settings.PULL_PROBE, timeout=settings.PULL_TIMEOUT)
