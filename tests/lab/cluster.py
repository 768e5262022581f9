# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's cluster: made, found again, repaired; and the mark without which no test touches a cluster."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import images, node, programs, settings
from .shell import LabError, run, say, works

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
    return run(programs.tool("kubectl"), "--kubeconfig", kubeconfig or settings.kubeconfig(), *arguments, timeout=timeout)


def answers() -> bool:
    return settings.kubeconfig().exists() and works(programs.tool("kubectl"), "--kubeconfig", settings.kubeconfig(), "get", "--raw", "/readyz", timeout=10)


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


def wanted_mark(image: str, built: bool) -> dict[str, str]:
    return {"name": settings.NAME, "images": "built" if built else "pulled", "node": image}


def is_current(image: str, built: bool) -> bool:
    """Whether the cluster answers, was made from this node image, and imported no image that is built differently today."""
    if not exists() or not (answers() or _revive()) or mark() != wanted_mark(image, built):
        return False
    there = node.imported(node_name())
    return all(there.get(entry.name, entry.key) == entry.key for entry in images.imported())


def lacks(wanted: Iterable[images.Image]) -> list[str]:
    """Names of the images that the cluster's node has not imported; none where there is no cluster."""
    there = node.imported(node_name()) if exists() else None
    return [] if there is None else [image.name for image in wanted if there.get(image.name) != image.key]


def ensure(image: str, built: bool) -> None:
    """A healthy, marked cluster of this node image."""
    if is_current(image, built):
        return
    if exists():
        say("lab: the cluster is stale or broken: a new one replaces it")
        delete()
    settings.kubeconfig().unlink(missing_ok=True)
    arguments = ["create", "cluster", "--name", settings.NAME, "--image", image, "--kubeconfig", str(settings.kubeconfig()), "--wait", "120s"]
    if not works("docker", "image", "inspect", image):
        run("docker", "pull", "-q", image)
    # A node image of the lab carries its label, wherever it was pulled from.
    ours = bool(images.key_of(image))
    run(programs.tool("kind"), *arguments, *(["--config", "-"] if ours else []), text=KIND_BUILT if ours else None)
    settings.kubeconfig().chmod(0o600)
    literals = [f"--from-literal={key}={value}" for key, value in wanted_mark(image, built).items()]
    kubectl("-n", "kube-system", "create", "configmap", settings.MARK, *literals)


def exists() -> bool:
    return works("docker", "container", "inspect", node_name())


def _revive() -> bool:
    """A node that went down with its engine comes back by itself once it is started."""
    say("lab: starting the cluster again")
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
    works(programs.tool("kind"), "delete", "cluster", "--name", settings.NAME, "--kubeconfig", str(settings.kubeconfig()), timeout=120)
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
