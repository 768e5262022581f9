# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images built on the spot: those of Kubernetes are in the node image, the others are imported by a running node.

Each image carries the key of its inputs as a label. An image with another key is built again.
"""
from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from . import programs, settings, store
from .programs import PROGRAMS
from .shell import run, works

LABEL = "servicemesh-lab.key"
BASE = "localhost/lab/debian:bookworm"
SYSTEM = (
    "systemd", "systemd-sysv", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "mount", "kmod", "libseccomp2", "pigz", "e2fsprogs",
    "ca-certificates", "curl", "jq", "procps", "runc", "socat",
)  # fmt: skip
K8S = "registry.k8s.io"
PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class File(Protocol):
    """A file of an image: known by its identity before it is made."""

    @property
    def identity(self) -> str: ...

    def locate(self) -> Path: ...


@dataclass(frozen=True)
class Image:
    """A Dockerfile and the files beside it."""

    name: str
    dockerfile: str
    files: dict[str, File] = field(default_factory=dict)
    host_network: bool = False
    base: Image | None = None

    @property
    def key(self) -> str:
        files = (f"{name}={file.identity}" for name, file in sorted(self.files.items()))
        return store.key(self.dockerfile, *([self.base.key] if self.base else []), *files)

    @property
    def current(self) -> bool:
        return key_of(self.name) == self.key

    def build(self) -> None:
        with store.locked(settings.CACHE / "locks", self.name.replace("/", "_")):
            if not self.current:
                self._build()

    def _build(self) -> None:
        if self.base:
            self.base.build()
        with store.temporary() as context:
            for name, file in self.files.items():
                path, copy = file.locate(), context / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                # A link in the build's context would be copied as a link.
                shutil.copytree(path, copy, symlinks=True) if path.is_dir() else shutil.copy(path, copy)
            (context / "Dockerfile").write_text(self.dockerfile, encoding="utf-8")
            network = ["--network", "host"] if self.host_network else []
            run("docker", "build", "-q", *network, "--label", f"{LABEL}={self.key}", "-t", self.name, context)


class Debian(Image):
    """Debian by debootstrap, from the mirror that this machine's own apt uses."""

    @property
    def key(self) -> str:
        return store.key(*SYSTEM)

    def _build(self) -> None:
        mirror = run("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Codename: bookworm").splitlines()[0]
        with store.temporary() as folder:
            root, archive = folder / "root", folder / "root.tar"
            run("debootstrap", "--variant=minbase", f"--include={','.join(SYSTEM)}", "bookworm", root, mirror)
            run("tar", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "-cf", archive, ".")
            run("docker", "import", "--change", f"LABEL {LABEL}={self.key}", archive, BASE)


DEBIAN = Debian(BASE, "")


def key_of(image: str) -> str:
    template = '{{index .Config.Labels "' + LABEL + '"}}'
    return run("docker", "image", "inspect", "-f", template, image).strip() if works("docker", "image", "inspect", image) else ""


def single(name: str, program: str, base: Image | None = None, user: str = "", file: File | None = None) -> Image:
    """An image of one program."""
    place = f"/usr/local/bin/{program}"
    user_line = [f"USER {user}"] if user else []
    lines = [f"FROM {base.name if base else 'scratch'}", PATH, f"COPY {program} {place}", *user_line, f'ENTRYPOINT ["{place}"]']
    return Image(name, "\n".join(lines) + "\n", {program: file or PROGRAMS[program]}, base=base)


def kubernetes() -> list[Image]:
    """The images that kubeadm of this version requests, under their own names."""
    version = settings.KUBERNETES
    return [
        *(single(f"{K8S}/{name}:{version}", name) for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")),
        single(f"{K8S}/kube-proxy:{version}", "kube-proxy", DEBIAN),
        single(f"{K8S}/etcd:3.6.8-0", "etcd"),
        single(f"{K8S}/coredns/coredns:v1.14.2", "coredns"),
        single(f"{K8S}/pause:3.10", "pause", file=programs.PAUSE),
    ]


def istio(version: str) -> list[Image]:
    """pilot and proxyv2 under their own names: Istio's real programs, and upstream Envoy."""
    # The pod of istiod sets runAsNonRoot, so its image must name a user by number.
    pilot = f"FROM scratch\n{PATH}\nCOPY pilot-discovery /usr/local/bin/\nUSER 1337:1337\nENTRYPOINT [\"/usr/local/bin/pilot-discovery\"]\n"
    # Envoy first: one layer for both releases.
    proxy = f"""FROM {BASE}
{PATH}
RUN useradd -u 1337 -m istio-proxy && mkdir -p /var/lib/istio/envoy /etc/istio/proxy && chown -R 1337:1337 /var/lib/istio /etc/istio
COPY envoy /usr/local/bin/
COPY envoy_bootstrap_tmpl.json /var/lib/istio/envoy/
COPY pilot-agent /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/pilot-agent"]
"""
    place = "tools/packaging/common/envoy_bootstrap.json"
    pinned = store.key(settings.HERE / "go" / settings.ISTIO[version] / "go.mod", place)
    bootstrap = store.Made(pinned, lambda: programs.source(version) / place)
    files = {"envoy": programs.ENVOY, "pilot-agent": PROGRAMS[f"pilot-agent-{version}"], "envoy_bootstrap_tmpl.json": bootstrap}
    return [
        Image(f"docker.io/istio/pilot:{version}", pilot, {"pilot-discovery": PROGRAMS[f"pilot-discovery-{version}"]}),
        Image(f"docker.io/istio/proxyv2:{version}", proxy, files, base=DEBIAN),
    ]


def redis() -> Image:
    """Redis, as Debian's package."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server"
    packages = f"RUN apt-get update -qq && {install} && apt-get clean && rm -rf /var/lib/apt/lists/*"
    start = 'USER 1000:1000\nWORKDIR /data\nENTRYPOINT ["/usr/bin/redis-server", "--protected-mode", "no", "--save", ""]'
    return Image("localhost/lab/redis:lab", f"FROM {BASE}\n{PATH}\n{packages}\n{start}\n", host_network=True, base=DEBIAN)


def prometheus() -> Image:
    return single("localhost/lab/prometheus:lab", "prometheus", user="65534:65534")


def jaeger() -> Image:
    # The addon's arguments are those of another version: the image ignores them.
    text = f'FROM {BASE}\n{PATH}\nCOPY jaeger /usr/local/bin/\nENTRYPOINT ["/bin/sh", "-c", "exec /usr/local/bin/jaeger"]\n'
    return Image("localhost/lab/jaeger:lab", text, {"jaeger": PROGRAMS["jaeger"]}, base=DEBIAN)


def of_lab() -> list[Image]:
    """Prometheus' reloader, and one image for each program that cannot be had; its name says that it is a stand-in."""
    text = "FROM scratch\nCOPY standin /usr/local/bin/standin\n{extra}ENV STANDIN={role}\nUSER 1000:1000\nENTRYPOINT [\"/usr/local/bin/standin\"]\n"
    # Kiali's manifest names the program's place.
    extra = {"kiali": "COPY standin /opt/kiali/kiali\n"}
    files: dict[str, File] = {"standin": PROGRAMS["standin"]}
    return [
        single("localhost/lab/config-reloader:lab", "config-reloader", user="65534:65534"),
        *(Image(f"localhost/lab/{role}:stand-in", text.format(role=role, extra=extra.get(role, "")), files) for role in settings.STAND_INS),
    ]


def imported() -> list[Image]:
    """Every image that a node may import."""
    return [redis(), prometheus(), jaeger(), *of_lab(), *(image for version in settings.ISTIO for image in istio(version))]


def build_all(images: Iterable[Image]) -> None:
    for image in images:
        image.build()


def outdated(images: Iterable[Image]) -> list[Image]:
    return [image for image in images if not image.current]


def prune(keep: Iterable[str]) -> None:
    """Removes node images of older labs that no container uses. Images of one name replace each other."""
    names = set(keep)
    listed = run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "localhost/lab/node").split()
    for name in listed:
        if name not in names:
            works("docker", "image", "rm", name)
    works("docker", "image", "prune", "-f", "--filter", f"label={LABEL}", timeout=120)
