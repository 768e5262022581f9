# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a newcomer does: the README's commands in a fresh clone, and the built tarball in an empty folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from playbook_runner import BIN, ROOT, Lab, command_line

COMMANDS, OTHERS = (
    [
        line
        for block in re.findall(r"```shell\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
        for line in block.strip().splitlines()
    ]
    for page in ("README.md", "CONTRIBUTING.md")
)
# The clone's own Makefile makes its own environment; the others get the one that runs these tests.
VARIABLES = ["-e", "@tests/lab/vars.yml"]


def shell(lab: Lab, command: str, cwd: Path, **environment: str) -> str:
    """Output of a command, as a shell in this folder runs it."""
    path = f"{BIN}:{lab.environment['PATH']}"
    # A user's shell knows nothing of the make that runs these tests.
    own = {name: value for name, value in lab.environment.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    argv = ["bash", "-euc", command]
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**own, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {(done.stdout + done.stderr)[-4000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone of what is committed, with what is not yet committed on top."""
    target = tmp_path_factory.mktemp("newcomer") / "any name"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
    changes = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    if changes:
        subprocess.run(["git", "apply"], cwd=target, input=changes, check=True)
    return target


def test_every_command_of_the_readme_is_run_by_a_test_of_this_file() -> None:
    tested = {
        "make site": test_make_site_in_a_fresh_clone,
        "make test": "what runs this test",
        "pip install -r requirements.txt": test_the_requirements_are_enough,
        "ansible-playbook playbooks/site.yml --check --diff": test_site_in_a_fresh_clone_uses_the_cluster_that_is_named,
        "ansible-playbook playbooks/site.yml": test_site_in_a_fresh_clone_uses_the_cluster_that_is_named,
        "ansible-playbook playbooks/teardown.yml": "test_9_teardown",
        "ansible-playbook playbooks/dashboard.yml": "test_2_effects",
        "ansible-playbook playbooks/dashboard.yml -e dashboard_state=absent": "test_2_effects",
        "ansible-galaxy collection build": test_the_tarball_in_an_empty_folder_runs_the_site,
        "ansible-galaxy collection install servicemesh-istio-1.0.0.tar.gz": (
            test_the_tarball_in_an_empty_folder_runs_the_site
        ),
        "ansible-playbook servicemesh.istio.site": test_the_tarball_in_an_empty_folder_runs_the_site,
        "make lab": test_the_lab_says_what_a_shell_needs,
        'eval "$(make -s lab-env)"': test_the_lab_says_what_a_shell_needs,
        "make lab-down": "test_a_second_lab_beside_the_first_comes_and_goes",
    }
    assert sorted(COMMANDS) == sorted(tested)
    assert OTHERS == [
        "make help",
        "make unit",
        "make lab",
        ". .venv/bin/activate",
        "antsibull-changelog release",
        "ansible-galaxy collection build",
    ]


def test_help_names_every_command_once(mesh: Lab, clone: Path) -> None:
    lines = [line.split(maxsplit=1) for line in shell(mesh, "make help", clone).strip().splitlines()]
    targets = re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in lines] == [name for name in targets if name in dict(lines)] and sorted(
        dict(lines)
    ) == sorted(targets)


def test_a_release_has_a_changelog_with_every_module(mesh: Lab, clone: Path, tmp_path: Path) -> None:
    shutil.copytree(clone, tmp_path / "release", symlinks=True)
    for command in OTHERS[-2:]:
        shell(mesh, command, tmp_path / "release")
    told = set(
        re.findall(r"^- (\w+) - ", (tmp_path / "release/CHANGELOG.rst").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert told >= {path.stem for path in (ROOT / "plugins/modules").glob("[a-z]*.py")}
    (archive,) = (tmp_path / "release").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        assert "CHANGELOG.rst" in opened.getnames()


@pytest.mark.long
def test_make_site_in_a_fresh_clone(mesh: Lab, clone: Path) -> None:
    text = shell(mesh, "make site", clone, KUBECONFIG="/nonexistent/never-used", K8S_AUTH_CONTEXT="nowhere")
    assert "changed=0" in text and "Measured" in text and "servicemesh-lab" in text
    assert shell(mesh, "git status --porcelain", clone).strip() == "", "what is generated is ignored"


@pytest.mark.long
def test_the_requirements_are_enough(mesh: Lab, clone: Path, tmp_path: Path) -> None:
    shell(mesh, f"python3 -m venv '{tmp_path}/venv' && '{tmp_path}/venv/bin/pip' install -q -r requirements.txt", clone)
    text = shell(
        mesh,
        f"'{tmp_path}/venv/bin/ansible-playbook' playbooks/site.yml --tags control_plane --check {' '.join(VARIABLES)}",
        clone,
    )
    assert "changed=0" in text


@pytest.mark.long
def test_site_in_a_fresh_clone_uses_the_cluster_that_is_named(mesh: Lab, clone: Path) -> None:
    server = re.search(r"server: (\S+)", mesh.kubeconfig.read_text()).group(1)
    for more in (["--check", "--diff"], []):
        played = mesh.play("playbooks/site.yml", *more, *VARIABLES, cwd=clone).ok()
        assert f"at {server}" in played.text.partition("TASK [Install the release]")[0], (
            "the first task says which cluster it is"
        )
        assert played.changed == []
    elsewhere = mesh.play("playbooks/site.yml", *VARIABLES, "-e", "kubeconfig=/nonexistent/kubeconfig", cwd=clone)
    assert elsewhere.status != 0 and elsewhere.of("mesh_info")[0]["failure"]["code"] == "kubeconfig"


def test_an_edit_in_the_clone_takes_effect_without_installing_anything(mesh: Lab, clone: Path) -> None:
    template = clone / "playbooks/templates/summary.j2"
    before = template.read_text()
    template.write_text(f"An edited summary\n{before}")
    module = clone / "plugins/modules/mesh_info.py"
    code = module.read_text()
    call = "overview.read_overview(run.cluster,"
    assert call in code
    module.write_text(
        code.replace(call, "(lambda *read: {**overview.read_overview(*read), 'addons': []})(run.cluster,")
    )
    try:
        text = mesh.play("playbooks/site.yml", "--tags", "summary", *VARIABLES, cwd=clone).ok().text
        assert "An edited summary" in text and "Addon " not in text
    finally:
        template.write_text(before)
        module.write_text(code)


def test_the_tarball_in_an_empty_folder_runs_the_site(mesh: Lab, clone: Path, tmp_path: Path) -> None:
    shell(mesh, f"ansible-galaxy collection build --output-path '{tmp_path}'", clone)
    shell(
        mesh,
        f"cd '{tmp_path}' && ansible-galaxy collection install -p collections servicemesh-istio-1.0.0.tar.gz",
        tmp_path,
    )
    variables = ROOT / "tests/lab/vars.yml"
    played = mesh.play(
        "servicemesh.istio.site",
        "-e",
        f"@{variables}",
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "collections"),
    ).ok()
    assert played.changed == [] and "Measured" in played.text
    shipped = {
        path.relative_to(tmp_path / "collections/ansible_collections/servicemesh/istio").parts[0]
        for path in (tmp_path / "collections/ansible_collections/servicemesh/istio").rglob("*")
        if path.is_file()
    }
    assert not shipped & {".ci", ".collections", ".venv", ".git", "Makefile"}, shipped


def test_the_lab_says_what_a_shell_needs(mesh: Lab, clone: Path) -> None:
    command_line("add", "helm")
    text = shell(
        mesh,
        'make lab && eval "$(make -s lab-env)" && kubectl get nodes && istioctl version --remote=false && kind get'
        " clusters && helm version",
        clone,
        KUBECONFIG="",
    )
    assert "servicemesh-lab-control-plane" in text and "1.31.0" in text


def test_a_cluster_without_the_mark_is_refused(mesh: Lab, tmp_path: Path) -> None:
    from lab import cluster
    from lab.shell import LabError

    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(re.sub(r"server: \S+", "server: https://127.0.0.1:1", mesh.kubeconfig.read_text()))
    with pytest.raises(LabError, match="does not carry the lab's mark"):
        cluster.require_lab(elsewhere)
    cluster.require_lab(mesh.kubeconfig)
