# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node image: Debian, Kubernetes and containerd, kind's own files, and the images that kubeadm needs."""
from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from . import images, programs, settings, store
from .images import BASE, DEBIAN, Image
from .programs import PROGRAMS
from .shell import LabError, run, works
from .store import Made

EMPTY = "localhost/lab/node-empty:lab"
# In the node: which images were imported, each with its key.
IMPORTED = "/kind/lab-images.json"
BINARIES = ("kubeadm", "kubelet", "kubectl", "containerd", "ctr", "containerd-shim-runc-v2")
CONTAINER_NETWORK = """{"cniVersion": "0.4.0", "name": "bridge", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
"""
NODE = f"""FROM {BASE}
COPY files/usr/local/bin/ /usr/local/bin/
COPY files/kind/ /kind/
COPY files/etc/ /etc/
COPY bin/ /usr/local/bin/
COPY cni/ /opt/cni/bin/
COPY 10-bridge.conflist /etc/cni/net.d/
RUN chmod 755 /usr/local/bin/* /kind/bin/* /opt/cni/bin/* \\
 && ln -s /usr/local/bin/kubelet /usr/local/bin/kubeadm /usr/local/bin/kubectl /usr/bin/ \\
 && rm -f /etc/systemd/system/*.wants/* /lib/systemd/system/*.target.wants/*udev* /lib/systemd/system/*.target.wants/*initctl* \\
      /lib/systemd/system/multi-user.target.wants/* /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/basic.target.wants/* \\
      /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \\
 && echo ReadKMsg=no >>/etc/systemd/journald.conf \\
 && systemctl enable kubelet containerd undo-mount-hacks && systemctl mask systemd-binfmt && mkdir -p /etc/kubernetes/manifests \\
 && ctr oci spec | jq '.hooks.createContainer += [{{path: "/kind/bin/mount-product-files.sh"}}] | del(.process.rlimits)' >/etc/containerd/cri-base.json \\
 && echo {settings.KUBERNETES} >/kind/version
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
"""


def name() -> str:
    """The node image of this lab, built or not."""
    return f"localhost/lab/node:{store.key(_skeleton().key, *(image.key for image in images.kubernetes()))}"


def exists() -> bool:
    return works("docker", "image", "inspect", name())


def build() -> None:
    with store.locked(settings.CACHE / "locks", "node"):
        if not exists():
            held = images.kubernetes()
            images.build_all(held)
            _skeleton().build()
            _fill(name(), [image.name for image in held])


def _skeleton() -> Image:
    """The node without images."""
    module = settings.HERE / "go" / "cluster"
    files: dict[str, images.File] = {
        "files": Made(store.key(module / "go.mod", "restrict_oom_score_adj"), _kind_files),
        "10-bridge.conflist": Made(store.key(CONTAINER_NETWORK), _network),
        **{f"bin/{program}": PROGRAMS[program] for program in BINARIES},
        **{f"cni/{program.output}": program for program in programs.CNI},
    }
    return Image(EMPTY, NODE, files, base=DEBIAN)


def _kind_files() -> Path:
    """kind's own files for a node, changed for hosts that lack a capability."""
    place = settings.CACHE / "kind-files"
    store.remove(place)
    shutil.copytree(programs.module_folder("cluster", "sigs.k8s.io/kind") / "images/base/files", place)
    run("chmod", "-R", "u+w", place)
    # Without CAP_SYS_RESOURCE runc may not lower oom_score_adj: containerd clamps it.
    config = place / "etc/containerd/config.toml"
    config.write_text(config.read_text().replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"))
    return place


def _network() -> Path:
    path = settings.CACHE / "10-bridge.conflist"
    path.write_text(CONTAINER_NETWORK)
    return path


def _fill(target: str, held: list[str]) -> None:
    """Puts images into the node's own store, as content that is unpacked on first use."""
    container = f"{settings.NAME}-node-build"
    works("docker", "rm", "-f", container)
    with store.temporary() as folder:
        archive = folder / "images.tar"
        run("docker", "save", "-o", archive, *held)
        run("docker", "run", "-d", "--name", container, "--privileged", "--entrypoint", "sleep", "-v", f"{archive}:/images.tar:ro", EMPTY, "infinity")
        script = """containerd >/dev/null 2>&1 & until ctr version >/dev/null 2>&1; do sleep 0.2; done
ctr -n k8s.io images import --all-platforms --no-unpack --digests /images.tar >/dev/null && kill %1; wait"""
        run("docker", "exec", container, "bash", "-c", script)
        run("docker", "commit", "--change", 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]', container, target)
        run("docker", "rm", "-f", container)


def imported(container: str) -> dict[str, str]:
    """Image -> key, of what the running node has imported."""
    try:
        found: dict[str, str] = json.loads(run("docker", "exec", container, "cat", IMPORTED))
    except (LabError, ValueError):
        return {}
    return found


def load(container: str, wanted: Iterable[Image]) -> None:
    """Imports the images that the running node does not have yet. They are unpacked on first use."""
    with store.locked(settings.CACHE / "locks", f"load-{container}"):
        there = imported(container)
        left = {image.name: image.key for image in wanted if there.get(image.name) != image.key}
        if not left:
            return
        with store.temporary() as folder:
            archive = folder / "images.tar"
            run("docker", "save", "-o", archive, *left)
            with archive.open("rb") as content:
                command = "ctr -n k8s.io images import --all-platforms --no-unpack --digests - >/dev/null"
                run("docker", "exec", "-i", container, "sh", "-c", command, stdin=content)
        text = json.dumps({**there, **left}, indent=1)
        run("docker", "exec", "-i", container, "sh", "-c", f"cat > {IMPORTED}.new && mv {IMPORTED}.new {IMPORTED}", text=text)
