# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks what a user would download: the built collection, by ansible-core's own sanity tests and by Galaxy's importer.

  python tests/sanity [CORE...]   ansible-test sanity of these versions of ansible-core (2.18 2.19), with every Python
  that is here
  python tests/sanity galaxy      galaxy-importer, which may find nothing that it would warn of

What is not run here, for lack of a Python, is named at the end. There is no file of findings to be ignored.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lab.store import key, locked  # noqa: E402
from sanity.cores import CORES, USUAL, Core, pythons  # noqa: E402

ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "servicemesh-istio"
IMPORTER = "galaxy-importer==0.4.44"
CONFIG = HERE / "galaxy-importer.cfg"
# pycodestyle's rules that a formatter breaks by design: ansible-test's own pep8 test ignores them as well.
FORMATTER = re.compile(r":\d+:\d+: (?:W503|E203) ")
# Megabytes; far more than the collection has, so that nothing gets in unseen.
LARGEST = 2.0
# What a user finds in the archive, beside what Galaxy makes itself.
CONTENTS = {
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "changelogs",
    "docs",
    "examples",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "roles",
    "tests",
}
# There from the first release on.
MADE_BY_RELEASE = {"CHANGELOG.rst"}
MADE_BY_GALAXY = {"MANIFEST.json", "FILES.json"}
# What ansible-test tells of its own environments.
NOISE = re.compile(
    r"\s+(Downloading|━)|Collecting |Installing |Successfully |Using cached|WARNING: (Using locale|Reviewing)"
)


def environment(python: Path, requirement: str) -> Path:
    """The bin folder of an environment with this in it, kept by what is in it. What is half-made has no mark."""
    folder = CACHE / "environments" / f"{re.split('[=<>~]', requirement)[0]}-{key(requirement, str(python))}"
    with locked(CACHE / "locks" / folder.name):
        if not (folder / ".done").exists():
            print(f"sanity: {requirement} ...", flush=True)
            subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
            subprocess.run(
                [
                    folder / "bin" / "python",
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    requirement,
                ],
                check=True,
            )
            (folder / ".done").touch()
    return folder / "bin"


def build(ansible: Path, folder: Path) -> Path:
    """The archive, of what git knows or would take: no stray file of a checkout gets in."""
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
            (source / name).chmod((ROOT / name).stat().st_mode)
    subprocess.run(
        [ansible / "python", "-m", "ansible.cli.galaxy", "collection", "build", source, "--output-path", folder],
        check=True,
        capture_output=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    return archive


def contents(archive: Path) -> list[str]:
    """What is wrong with what lies in the archive; it is told, too."""
    with tarfile.open(archive) as opened:
        files = [member.name for member in opened if member.isfile()]
    size = archive.stat().st_size / 1e6
    top = {name.split("/")[0] for name in files} - MADE_BY_GALAXY
    print(f"sanity: {archive.name}: {size:.2f} MB, {len(files)} files, in {', '.join(sorted(top))}", flush=True)
    wrong = [f"{name} is in the archive and is not meant to be" for name in sorted(top - CONTENTS - MADE_BY_RELEASE)]
    wrong += [f"{name} is not in the archive" for name in sorted(CONTENTS - top)]
    return wrong + ([f"the archive has {size:.2f} MB, more than {LARGEST}"] if size > LARGEST else [])


def bootstrap(home: Path, bin_folder: Path) -> None:
    """Where ansible-test looks for the script that installs pip, which it would download: one that takes pip from the
    package index.
    """
    (source,) = bin_folder.parent.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")
    for version in set(re.findall(r"pip='([\d.]+)'", source.read_text(encoding="utf-8"))):
        wheels = home / "wheels"
        script = home / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
        if script.exists():
            continue
        subprocess.run(
            [
                bin_folder / "python",
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--dest",
                wheels,
                f"pip=={version}",
            ],
            check=True,
        )
        (wheel,) = wheels.glob(f"pip-{version}-*.whl")
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(
            f"import runpy, sys\nsys.path.insert(0, {str(wheel)!r})\nsys.argv[1:] = ['install', *(word for word in"
            " sys.argv[1:] if word not in ('--no-setuptools', '--no-wheel'))]\nrunpy.run_module('pip',"
            " run_name='__main__', alter_sys=True)\n",
            encoding="utf-8",
        )


def home(name: str) -> Path:
    """What the ansible-test of this ansible-core takes for the home folder: it keeps its environments there. pip's own
    settings stay in force.
    """
    folder = CACHE / f"home-{name}"
    for name in (".config/pip", ".pip"):
        link, real = folder / name, Path.home() / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if real.exists() and not link.is_symlink():
            link.symlink_to(real)
    return folder


def links(folder: Path, found: dict[str, Path]) -> Path:
    """A folder of Pythons by their versions, for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    for version, python in found.items():
        link = folder / f"python{version}"
        link.unlink(missing_ok=True)
        link.symlink_to(python)
    return folder


def sanity(name: str, core: Core, found: dict[str, Path]) -> tuple[list[str], list[str]]:
    """(what failed, what was not run) of one version of ansible-core."""
    controller = next((version for version in core.controllers if version in found), "")
    if not controller:
        return [], [f"ansible-core {name}: all of it, for there is no Python {' or '.join(core.controllers)}"]
    begun = time.monotonic()
    bin_folder = environment(found[controller], f"ansible-core=={core.release}")
    own = home(name)
    with locked(own), tempfile.TemporaryDirectory(prefix="sanity-") as temporary:
        bootstrap(own, bin_folder)
        path = [
            str(bin_folder),
            str(
                links(own / "pythons", {version: python for version, python in found.items() if version != controller})
            ),
            *(part for part in os.get_exec_path() if Path(part).name != "shims"),
        ]
        archive = build(bin_folder, Path(temporary))
        wrong = contents(archive)
        collection = Path(temporary) / "ansible_collections" / "servicemesh" / "istio"
        collection.mkdir(parents=True)
        with tarfile.open(archive) as opened:
            opened.extractall(collection)
        print(f"sanity: ansible-core {core.release} with Python {controller}", flush=True)
        env = {**os.environ, "HOME": str(own), "PATH": os.pathsep.join(path), "NO_COLOR": "1"}
        command = [bin_folder / "ansible-test", "sanity", "--local", "--color", "no"]
        told = []
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=collection, env=env, text=True, **streams) as running:
            for line in running.stdout or ():
                told.append(line.rstrip())
                if not NOISE.match(line):
                    print(f"sanity: {name}: {line}", end="", flush=True)
    skipped = sorted({line.removeprefix("WARNING: ") for line in told if line.startswith("WARNING: Skipping")})
    if running.returncode:
        wrong.append(f"ansible-core {name}: ansible-test ended with {running.returncode}")
    print(f"sanity: ansible-core {name}: {time.monotonic() - begun:.0f} s", flush=True)
    absent = [version for version in core.hosts if version not in found]
    return wrong, [f"ansible-core {name}: {line}" for line in skipped] + (
        [f"ansible-core {name}: compile and import on Python {', '.join(absent)}, which is not here"] if absent else []
    )


def galaxy(found: dict[str, Path]) -> list[str]:
    """What Galaxy would refuse the archive for, or warn of."""
    version = next(version for version in CORES["2.19"].controllers if version in found)
    bin_folder = environment(found[version], IMPORTER)
    with tempfile.TemporaryDirectory(prefix="galaxy-") as temporary:
        archive = build(bin_folder, Path(temporary))
        wrong = contents(archive)
        env = {
            **os.environ,
            "GALAXY_IMPORTER_CONFIG": str(CONFIG),
            "PATH": os.pathsep.join([str(bin_folder), *os.get_exec_path()]),
        }
        done = subprocess.run(
            [bin_folder / "python", "-m", "galaxy_importer.main", archive],
            cwd=temporary,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    told = done.stdout.splitlines()
    found_by_it = [
        line for line in told if line.startswith(("WARNING", "ERROR", "CRITICAL")) and not FORMATTER.search(line)
    ]
    if done.returncode or found_by_it or not any("Importer processing completed successfully" in line for line in told):
        print(done.stdout)
    return wrong + found_by_it + ([f"galaxy-importer ended with {done.returncode}"] if done.returncode else [])


def main(arguments: list[str]) -> int:
    unknown = [name for name in arguments if name not in CORES and name != "galaxy"]
    if unknown:
        print(
            __doc__,
            f"No version of ansible-core in tests/sanity/cores.py: {', '.join(unknown)}",
            sep="\n",
            file=sys.stderr,
        )
        return 2
    found = pythons()
    wrong: list[str] = []
    not_run: list[str] = []
    cores = [name for name in arguments or USUAL if name != "galaxy"]
    # Each of them keeps one processor busy.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for failed, left in pool.map(lambda name: sanity(name, CORES[name], found), cores):
            wrong, not_run = wrong + failed, not_run + left
    if "galaxy" in arguments:
        wrong += galaxy(found)
    for line in not_run:
        print(f"sanity: not run here: {line}")
    for line in wrong:
        print(f"sanity: WRONG: {line}")
    print("sanity: " + (f"{len(wrong)} wrong" if wrong else "nothing wrong"))
    return 1 if wrong else 0


sys.exit(main(sys.argv[1:]))
