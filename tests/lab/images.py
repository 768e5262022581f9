# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images made on the spot, and the node image that holds them all, so that nothing is loaded twice.

Each image carries the key of its inputs as a label; another key means that it is built again.
"""
from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from . import programs, settings, store
from .shell import run, step, works

LABEL = "servicemesh-lab.key"
BASE = "localhost/lab/debian:bookworm"
SYSTEM = (
    "systemd", "systemd-sysv", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "mount", "kmod", "libseccomp2", "pigz", "e2fsprogs",
    "ca-certificates", "curl", "jq", "procps", "runc", "socat",
)  # fmt: skip
K8S = "registry.k8s.io"
PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """A Dockerfile and the files beside it."""

    name: str
    dockerfile: str
    files: dict[str, Path] = field(default_factory=dict)
    host_network: bool = False

    @property
    def key(self) -> str:
        # Programs carry their inputs' key in their names, so their content need not be read.
        return store.key(self.dockerfile, *(f"{name}={path.name}" for name, path in sorted(self.files.items())))

    def build(self) -> None:
        if self.key == key_of(self.name):
            return
        with step(f"image {self.name}"), tempfile.TemporaryDirectory(dir=settings.CACHE) as context:
            for name, path in self.files.items():
                shutil.copytree(path, Path(context) / name) if path.is_dir() else shutil.copy(path, Path(context) / name)
            (Path(context) / "Dockerfile").write_text(self.dockerfile, encoding="utf-8")
            network = ["--network", "host"] if self.host_network else []
            run("docker", "build", "-q", *network, "--label", f"{LABEL}={self.key}", "-t", self.name, context)


def key_of(image: str) -> str:
    template = '{{index .Config.Labels "' + LABEL + '"}}'
    return run("docker", "image", "inspect", "-f", template, image).strip() if works("docker", "image", "inspect", image) else ""


def base() -> None:
    """Debian by debootstrap, from the mirror that this machine's own apt uses."""
    key = store.key(*SYSTEM)
    if key_of(BASE) == key:
        return
    root = settings.CACHE / "root"
    with step("Debian system"):
        mirror = run("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Codename: bookworm").splitlines()[0]
        shutil.rmtree(root, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={','.join(SYSTEM)}", "bookworm", root, mirror)
        archive = settings.CACHE / "root.tar"
        run("tar", "-C", root, "-cf", archive, ".")
        run("docker", "import", "--change", f"LABEL {LABEL}={key}", archive, BASE)
        archive.unlink()
        shutil.rmtree(root)


def single(name: str, program: str, base_image: str = "scratch", user: str = "") -> Image:
    """An image of one program."""
    place = f"/usr/local/bin/{program}"
    lines = [f"FROM {base_image}", PATH, f"COPY {program} {place}", *([f"USER {user}"] if user else []), f'ENTRYPOINT ["{place}"]']
    return Image(name, "\n".join(lines) + "\n", {program: programs.pause() if program == "pause" else programs.build(program)})


def kubernetes() -> list[Image]:
    """The images that kubeadm of this version asks for, under their own names."""
    version = settings.KUBERNETES
    return [
        *(single(f"{K8S}/{name}:{version}", name) for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")),
        single(f"{K8S}/kube-proxy:{version}", "kube-proxy", BASE),
        single(f"{K8S}/etcd:3.6.8-0", "etcd"),
        single(f"{K8S}/coredns/coredns:v1.14.2", "coredns"),
        single(f"{K8S}/pause:3.10", "pause"),
    ]


def istio(version: str) -> list[Image]:
    """pilot and proxyv2 under their own names: Istio's real programs, and upstream Envoy."""
    # istiod's pod asks for runAsNonRoot, so its image must name a user by number.
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
    bootstrap = programs.source(version) / "tools/packaging/common/envoy_bootstrap.json"
    files = {"envoy": programs.envoy(), "pilot-agent": programs.build(f"pilot-agent-{version}"), "envoy_bootstrap_tmpl.json": bootstrap}
    return [
        Image(f"docker.io/istio/pilot:{version}", pilot, {"pilot-discovery": programs.build(f"pilot-discovery-{version}")}),
        Image(f"docker.io/istio/proxyv2:{version}", proxy, files),
    ]


def addons() -> list[Image]:
    """Real programs under the lab's own names: Redis from Debian, the others as Go modules."""
    apt = "RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {package} && rm -rf /var/lib/apt/lists/*"
    serve = '["/usr/bin/redis-server", "--protected-mode", "no", "--save", ""]'
    redis = f"FROM {BASE}\n{PATH}\n{apt.format(package='redis-server')}\nUSER 1000:1000\nWORKDIR /data\nENTRYPOINT {serve}\n"
    # This release refuses the addon's configuration, so the image brings its own and ignores arguments.
    serve = '["/bin/sh", "-c", "exec /usr/local/bin/jaeger --config /etc/jaeger.yaml"]'
    jaeger = f"FROM {BASE}\n{PATH}\nCOPY jaeger /usr/local/bin/\nCOPY jaeger.yaml /etc/jaeger.yaml\nENTRYPOINT {serve}\n"
    return [
        single("localhost/lab/prometheus:lab", "prometheus", user="65534:65534"),
        Image("localhost/lab/redis:lab", redis, host_network=True),
        Image("localhost/lab/jaeger:lab", jaeger, {"jaeger": programs.build("jaeger"), "jaeger.yaml": settings.HERE / "jaeger.yaml"}),
        single("localhost/lab/config-reloader:lab", "config-reloader", user="65534:65534"),
    ]


def stand_ins() -> list[Image]:
    """One image for each program that cannot be had; its name says that it is a stand-in."""
    text = "FROM scratch\nCOPY standin /usr/local/bin/standin\n{extra}ENV STANDIN={role}\nUSER 1000:1000\nENTRYPOINT [\"/usr/local/bin/standin\"]\n"
    # Kiali's manifest names the program's place.
    extra = {"kiali": "COPY standin /opt/kiali/kiali\n"}
    standin = programs.build("standin")
    return [Image(f"localhost/lab/{role}:stand-in", text.format(role=role, extra=extra.get(role, "")), {"standin": standin}) for role in settings.STAND_INS]


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


def node() -> str:
    """Name of the node image, built with every other image in its own image store."""
    held = [*kubernetes(), *(image for version in settings.ISTIO for image in istio(version)), *addons(), *stand_ins()]
    empty = "localhost/lab/node-empty:lab"
    with tempfile.TemporaryDirectory() as folder:
        skeleton = _node_files(Path(folder))
        name = f"localhost/lab/node:{store.key(skeleton.key, *(image.key for image in held))}"
        if works("docker", "image", "inspect", name):
            return name
        for image in held:
            image.build()
        skeleton.build()
    with step(f"node image with {len(held)} images"):
        _fill(empty, name, [image.name for image in held])
    return name


def _node_files(folder: Path) -> Image:
    module = settings.HERE / "go" / "kubernetes"
    run("go", "mod", "download", "sigs.k8s.io/kind", cwd=module)
    files = folder / "files"
    shutil.copytree(Path(run("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind", cwd=module).strip()) / "images/base/files", files)
    run("chmod", "-R", "u+w", files)
    # Without CAP_SYS_RESOURCE runc may not lower oom_score_adj: containerd clamps it.
    config = files / "etc/containerd/config.toml"
    config.write_text(config.read_text().replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"))
    for place, names in (
        ("bin", ("kubeadm", "kubelet", "kubectl", "containerd", "ctr", "containerd-shim-runc-v2")),
        ("cni", tuple(p.name for p in programs.CNI)),
    ):
        (folder / place).mkdir()
        for name in names:
            shutil.copy(programs.build(name), folder / place / name.removeprefix("cni-"))
    (folder / "10-bridge.conflist").write_text(CONTAINER_NETWORK)
    parts = {name: folder / name for name in ("files", "bin", "cni", "10-bridge.conflist")}
    inputs = store.key(files, CONTAINER_NETWORK, *(programs.PROGRAMS[p].path.name for p in ("kubelet", "containerd", "cni-bridge")))
    return Image("localhost/lab/node-empty:lab", f"# {inputs}\n{NODE}", parts)


def _fill(empty: str, name: str, held: list[str]) -> None:
    """Puts images into the node's own store, as content that is unpacked on first use."""
    archive, container = settings.CACHE / "images.tar", f"{settings.NAME}-node-build"
    run("docker", "save", "-o", archive, *held)
    works("docker", "rm", "-f", container)
    run("docker", "run", "-d", "--name", container, "--privileged", "--entrypoint", "sleep", "-v", f"{archive}:/images.tar:ro", empty, "infinity")
    script = """containerd >/dev/null 2>&1 & until ctr version >/dev/null 2>&1; do sleep 0.2; done
ctr -n k8s.io images import --all-platforms --no-unpack --digests /images.tar >/dev/null && kill %1; wait"""
    run("docker", "exec", container, "bash", "-c", script)
    run("docker", "commit", "--change", 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]', container, name)
    run("docker", "rm", "-f", container)
    archive.unlink()
