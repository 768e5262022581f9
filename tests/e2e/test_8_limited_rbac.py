# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Roles of docs/rbac.md are enough for what is said there, and not for what is said to need more."""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbook_runner import ROOT, Lab

pytestmark = pytest.mark.long

DOCUMENT = (ROOT / "docs/rbac.md").read_text(encoding="utf-8")
ROLES = {
    role["metadata"]["name"]: role
    for role in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL))
}
COMMANDS = [line for block in re.findall(r"```shell\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.splitlines()]
IMAGE = "localhost/lab/client:stand-in"


def objects(namespace: str, text: str = "one", image: str = IMAGE) -> list[dict[str, Any]]:
    """More ConfigMaps than are read one by one where lists are allowed, a Service, and a workload to wait for."""
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "Never",
        "env": [{"name": "STANDIN", "value": "client"}],
    }
    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    specs = {
        "Service": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        "Deployment": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": pod},
    }
    found = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"words-{n}", "namespace": namespace},
            "data": {"text": text},
        }
        for n in range(4)
    ]
    return found + [
        {
            "apiVersion": "apps/v1" if kind == "Deployment" else "v1",
            "kind": kind,
            "metadata": {"name": "web", "namespace": namespace},
            "spec": spec,
        }
        for kind, spec in specs.items()
    ]


class Account:
    """A ServiceAccount made as the document says, with one of its Roles, in a namespace of its own."""

    def __init__(self, lab: Lab, role: str, folder: Path) -> None:
        self._lab, self.namespace = lab, f"proof-rights-{role}"
        lab.kubectl("create", "namespace", self.namespace)
        (folder / "role.yaml").write_text(yaml.safe_dump(ROLES[role]))
        for line in COMMANDS:
            command = re.sub(r"\bshop\b", self.namespace, line).replace("--role=writer", f"--role={role}")
            output = subprocess.run(
                shlex.split(command), cwd=folder, env=lab.environment, check=True, capture_output=True, text=True
            ).stdout
        cluster = yaml.safe_load(lab.kubeconfig.read_text())["clusters"][0]["cluster"]
        (folder / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        # What the last of the commands prints.
        self._options = {"host": cluster["server"], "ca_cert": str(folder / "ca.crt"), "api_key": output.strip()}

    def manifests(self, definition: list[dict[str, Any]] | None = None, **options: Any) -> dict[str, Any]:
        more = {"definition": definition} if definition else {}
        return self._lab.module("manifests", namespace=self.namespace, **more, **self._options, **options)

    def names(self) -> set[str]:
        """Names of the live objects, less what Kubernetes and istiod put into every namespace."""
        found = {
            item["metadata"]["name"]
            for item in self._lab.get("configmaps,services,deployments", "-n", self.namespace)["items"]
        }
        return {name for name in found if not name.startswith(("kube-root-ca", "istio-ca-"))}

    def may(self, verb: str, resource: str) -> bool:
        name = f"system:serviceaccount:{self.namespace}:writer"
        argv = ["kubectl", "auth", "can-i", verb, resource, "-n", self.namespace, "--as", name]
        return subprocess.run(argv, env=self._lab.environment, capture_output=True, check=False).returncode == 0


@pytest.fixture
def account(lab: Lab, tmp_path: Path, request: Any) -> Iterator[Account]:
    made = Account(lab, request.param, tmp_path)
    yield made
    lab.kubectl("delete", "namespace", made.namespace)


@pytest.mark.parametrize("account", ["writer"], indirect=True)
def test_four_verbs_by_name_are_enough_to_create_change_wait_and_delete(account: Account) -> None:
    assert (
        not account.may("list", "configmaps")
        and not account.may("watch", "deployments")
        and not account.may("list", "pods")
    )
    wanted, changed = objects(account.namespace), objects(account.namespace, "two")
    planned = account.manifests(wanted)
    assert "failed" not in planned and planned["summary"]["created"] == 6, planned
    assert {row["status"] for row in planned["objects"]} == {"Current"}
    again = account.manifests(wanted)
    assert (again["changed"], again["summary"]["dry_runs"]) == (False, 0), again
    done = account.manifests(changed)
    assert (done["summary"]["configured"], done["summary"]["unchanged"]) == (4, 2), done
    assert account.manifests(changed)["changed"] is False
    gone = account.manifests(changed, state="absent")
    assert "failed" not in gone and gone["summary"]["pruned"] == 6 and account.names() == set(), gone
    assert account.manifests(changed, state="absent")["changed"] is False


@pytest.mark.parametrize("account", ["writer"], indirect=True)
def test_check_mode_needs_no_more(lab: Lab, account: Account) -> None:
    wanted = objects(account.namespace)
    planned = lab.module("manifests", check=True, namespace=account.namespace, definition=wanted, **account._options)
    assert "failed" not in planned and planned["summary"]["created"] == 6 and account.names() == set(), planned
    done = account.manifests(wanted)
    assert done["diff"] == planned["diff"]


@pytest.mark.parametrize("account", ["writer"], indirect=True)
def test_a_set_can_be_kept_without_lists_but_not_pruned(account: Account) -> None:
    wanted = objects(account.namespace)
    done = account.manifests(wanted, set="all")
    assert "failed" not in done and done["changed"], done
    assert account.manifests(wanted, set="all")["changed"] is False
    for options in ({"definition": wanted[:-1], "prune": True}, {"state": "absent"}):
        refused = account.manifests(set="all", **options)
        assert refused["failure"]["code"] == "forbidden" and "list" in refused["msg"] and refused["changed"] is False, (
            refused
        )
    assert account.names() == {obj["metadata"]["name"] for obj in wanted} | {"all"}


@pytest.mark.parametrize("account", ["writer"], indirect=True)
def test_without_lists_a_workload_that_cannot_start_ends_at_the_deadline(account: Account) -> None:
    result = account.manifests(objects(account.namespace, image="localhost/lab/nowhere:1"), wait_timeout=5)
    assert result["failure"]["code"] == "timeout" and result["failure"]["ref"]["kind"] == "Deployment", result


@pytest.mark.parametrize("account", ["pruner"], indirect=True)
def test_with_lists_a_set_is_pruned_and_its_ruins_are_told_with_their_pod(account: Account) -> None:
    wanted = objects(account.namespace)
    assert "failed" not in account.manifests(wanted, set="all", prune=True)
    pruned = account.manifests(wanted[1:], set="all", prune=True)
    assert "failed" not in pruned and pruned["summary"]["pruned"] == 1 and "words-0" not in account.names(), pruned
    assert account.manifests(wanted[1:], set="all", prune=True)["changed"] is False
    broken = account.manifests(objects(account.namespace, image="localhost/lab/nowhere:1"), set="all", prune=True)
    assert broken["failure"]["code"] == "image_pull" and "container web" in broken["msg"], broken
    gone = account.manifests(set="all", state="absent")
    assert "failed" not in gone and account.names() == set(), gone


@pytest.mark.parametrize("account", ["writer"], indirect=True)
def test_a_verb_that_is_missing_is_named(account: Account) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hidden", "namespace": account.namespace},
        "stringData": {"a": "b"},
    }
    refused = account.manifests([secret])
    assert refused["failure"]["code"] == "forbidden" and 'cannot get resource "secrets"' in refused["msg"], refused
