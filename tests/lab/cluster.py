# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's cluster: made, found again, repaired; and the mark without which no test touches a cluster."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import programs, settings
from .shell import LabError, run, say, step, works

KIND_BUILT = """kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  disableDefaultCNI: true
kubeadmConfigPatches:
  - |
    kind: KubeletConfiguration
    failCgroupV1: false
"""


def node_name() -> str:
    return f"{settings.NAME}-control-plane"


def kubectl(*arguments: str, kubeconfig: Path | None = None, timeout: float = 30) -> str:
    return run(programs.build("kubectl"), "--kubeconfig", kubeconfig or settings.kubeconfig(), *arguments, timeout=timeout)


def answers() -> bool:
    return settings.kubeconfig().exists() and works(programs.build("kubectl"), "--kubeconfig", settings.kubeconfig(), "get", "--raw", "/readyz", timeout=10)


def mark(kubeconfig: Path | None = None) -> dict[str, str]:
    """The mark's data; empty where the cluster has none or does not answer."""
    try:
        text = kubectl("-n", "kube-system", "get", "configmap", settings.MARK, "-o", "json", "--ignore-not-found", kubeconfig=kubeconfig)
    except LabError:
        return {}
    return json.loads(text)["data"] if text.strip() else {}


def require_lab(kubeconfig: Path) -> None:
    """Raises LabError unless this is the lab's cluster: tests touch no other."""
    if not mark(kubeconfig):
        raise LabError(f"The cluster of {kubeconfig} does not carry the lab's mark (ConfigMap kube-system/{settings.MARK}): nothing was touched. Run: make lab")


def ensure(image: str, built: bool) -> None:
    """A healthy, marked cluster of this node image."""
    wanted = {"name": settings.NAME, "images": "built" if built else "pulled", "node": image, "istio": ",".join(settings.ISTIO)}
    if _exists() and (answers() or _revive()) and mark() == wanted:
        return
    if _exists():
        say("lab: the cluster is stale or broken: making a new one")
        delete()
    with step("kind cluster"):
        settings.kubeconfig().unlink(missing_ok=True)
        arguments = ["create", "cluster", "--name", settings.NAME, "--image", image, "--kubeconfig", str(settings.kubeconfig()), "--wait", "120s"]
        run(programs.build("kind"), *arguments, *(["--config", "-"] if built else []), text=KIND_BUILT if built else None)
        settings.kubeconfig().chmod(0o600)
        literals = [f"--from-literal={key}={value}" for key, value in wanted.items()]
        kubectl("-n", "kube-system", "create", "configmap", settings.MARK, *literals)


def _exists() -> bool:
    return works("docker", "container", "inspect", node_name())


def _revive() -> bool:
    """A node that went down with its engine comes back by itself once it is started."""
    with step("starting the cluster again"):
        works("docker", "unpause", node_name())
        works("docker", "start", node_name(), timeout=60)
        for _ in range(60):
            if answers():
                return True
            time.sleep(1)
    return False


@contextmanager
def paused() -> Iterator[None]:
    """The cluster takes no processor time meanwhile, and goes on where it was."""
    run("docker", "pause", node_name())
    try:
        yield
    finally:
        run("docker", "unpause", node_name())


def delete() -> None:
    works(programs.build("kind"), "delete", "cluster", "--name", settings.NAME, "--kubeconfig", str(settings.kubeconfig()), timeout=120)
    settings.kubeconfig().unlink(missing_ok=True)


def node_address() -> str:
    return run("docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", node_name()).strip()


def environment() -> dict[str, str]:
    """What a shell or a test needs to use the lab. Raises LabError where it is not up."""
    if not answers():
        raise LabError("The lab is not up. Run: make lab")
    images = mark().get("images", "")
    found = {
        "KUBECONFIG": str(settings.kubeconfig()),
        "PATH": f"{settings.programs()}:{os.environ['PATH']}",
        "LAB_IMAGES": images,
        "LAB_NODE": node_address(),
    }
    if images == "built":
        found["LAB_RELEASES"] = f"http://127.0.0.1:{settings.PORT}"
    return found
