# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution environment of docs/awx.md, built on the lab's engine, run as ansible-navigator and as AWX run it.

No registry answers where the lab builds its images, so the base is the lab's Debian with Python; the definition is the
one that users get.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from lab import images
from playbook_runner import BIN, ROOT, Lab, account

pytestmark = pytest.mark.long
EXAMPLE = ROOT / "examples/awx"
COMMANDS = [
    line
    for block in re.findall(r"```shell\n(.*?)```", (ROOT / "docs/awx.md").read_text(encoding="utf-8"), re.S)
    for line in block.strip().splitlines()
]
IMAGE = "localhost/servicemesh-istio-ee:1.0.0"
BASE = "localhost/lab/ee-base:lab"
PYTHON = "/opt/python/bin"
RELEASE = "servicemesh.istio.release : Have the release, verified and unpacked"


def shell(command: str, cwd: Path, environment: dict[str, str], timeout: float = 1200) -> str:
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {(done.stdout + done.stderr)[-5000:]}"
    return done.stdout + done.stderr


def base() -> list[str]:
    """Arguments for ansible-builder that replace the base image: none where images can be pulled."""
    authorities = os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"
    text = "\n".join([
        f"FROM {images.BASE}",
        f"ENV PATH={PYTHON}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
        f"RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv && python3 -m venv "
        f"{PYTHON.rpartition('/')[0]}",
        "COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt",
        "",
    ])  # fmt: skip
    images.Image(BASE, text, {"ca-certificates.crt": Path(authorities)}, host_network=True).build()
    given = {
        "EE_BASE_IMAGE": BASE,
        "PKGMGR": "/usr/bin/apt-get",
        "PYPKG": "python3",
        "PYCMD": f"{PYTHON}/python3",
        "ANSIBLE_GALAXY_CLI_COLLECTION_OPTS": "--offline",
    }
    return [
        *(f"--build-arg {name}={value}" for name, value in given.items()),
        "--extra-build-cli-args='--network host'",
    ]


@pytest.fixture(scope="module")
def image(mesh: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("awx")
    clone = folder / "clone"
    for name in subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    more = ["--container-runtime docker", *(base() if mesh.environment["LAB_IMAGES"] == "built" else [])]
    environment = {**mesh.environment, "PATH": f"{BIN}:{mesh.environment['PATH']}"}
    shell(COMMANDS[0], clone, environment)
    shell(" ".join([COMMANDS[1], *more]), clone, environment)
    return IMAGE


def test_the_commands_of_the_page_are_those_that_are_run_here() -> None:
    assert (
        [command.split()[0] for command in COMMANDS] == ["ansible-galaxy", "cd", "ansible-navigator"]
        and IMAGE in COMMANDS[1]
        and IMAGE in COMMANDS[2]
    )


def test_navigator_runs_the_site_in_it_and_nothing_differs(mesh: Lab, image: str, tmp_path: Path) -> None:
    environment = {**mesh.environment, "PATH": f"{BIN}:{mesh.environment['PATH']}"}
    given = [
        f"-e @{ROOT / 'tests/lab/vars.yml'}",
        f"--senv LAB_IMAGES={mesh.environment['LAB_IMAGES']} --senv LAB_RELEASES={mesh.environment['LAB_RELEASES']}",
    ]
    command, _, rest = COMMANDS[2].partition(" -- ")
    text = shell(
        f"{command} --container-engine docker {given[1]} --eev {ROOT / 'tests/lab'}:{ROOT / 'tests/lab'}:ro -- {rest}"
        f" {given[0]}",
        tmp_path,
        environment,
    )
    # ansible-runner writes events between the lines, each overwritten at once.
    tasks = re.split(r"(?m)^TASK \[", re.sub(r"\x1b\[K(?:[\w+/=]+\x1b\[\d+D(?:\x1b\[K)?)*", "", text))
    # A container is new each time, so the release would be fetched.
    assert [task.partition("]")[0] for task in tasks if "\nchanged: " in task] == [RELEASE], text[-3000:]
    assert re.search(r"changed=1 .*failed=0", text), text[-3000:]


def test_a_job_of_awx_with_its_credential_and_its_survey(mesh: Lab, image: str, tmp_path: Path) -> None:
    """What AWX would start: the environment of its Kubernetes credential, the template's variables, and the answers as
    extra variables.
    """
    survey = json.loads((EXAMPLE / "survey.json").read_text(encoding="utf-8"))
    variables = yaml.safe_load((EXAMPLE / "extra_vars.yml").read_text(encoding="utf-8"))
    answers = {question["variable"]: question["default"] for question in survey["spec"]}
    assert all(name in json.dumps(variables) for name in answers), "each answer is used"
    config = yaml.safe_load(
        Path(
            account(mesh, tmp_path, ["control_plane", "namespaces", "demo", "addons", "traffic", "mesh_info", "probe"])
        ).read_text(encoding="utf-8")
    )
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    authority = tmp_path / "ca.crt"
    authority.write_text(
        subprocess.run(
            ["base64", "-d"], input=cluster["certificate-authority-data"], capture_output=True, text=True, check=True
        ).stdout
    )
    (tmp_path / "job.json").write_text(
        json.dumps(
            {
                **yaml.safe_load((ROOT / "tests/lab/vars.yml").read_text(encoding="utf-8")),
                **variables,
                **answers,
                "mesh_canary_share": 25,
            }
        )
    )
    tmp_path.chmod(0o755)
    for path in (authority, tmp_path / "job.json"):
        path.chmod(0o644)
    injected = {
        "K8S_AUTH_HOST": cluster["server"],
        "K8S_AUTH_VERIFY_SSL": "True",
        "K8S_AUTH_SSL_CA_CERT": "/job/ca.crt",
        **{name: mesh.environment[name] for name in ("LAB_IMAGES", "LAB_RELEASES")},
    }
    argv = [
        "docker",
        "run",
        "--rm",
        "--network",
        "host",
        "-v",
        f"{tmp_path}:/job:ro",
        *(f"-e{name}={value}" for name, value in injected.items()),
        "-e",
        "K8S_AUTH_API_KEY",
        image,
    ]
    try:
        done = subprocess.run(
            [*argv, "ansible-playbook", "servicemesh.istio.site", "-v", "--diff", "-e", "@/job/job.json"],
            env={**mesh.environment, "K8S_AUTH_API_KEY": token}, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        assert "v1 75, v2 25" in done.stdout and token not in done.stdout + done.stderr
    finally:
        mesh.site("--tags", "traffic").ok()
