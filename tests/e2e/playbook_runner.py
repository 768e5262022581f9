# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs playbooks and modules as a user does, on the lab's cluster and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
MODULES = "ansible_collections.servicemesh.istio.plugins.modules"


SECOND = "servicemesh-second"


OF_SECOND = {"LAB_NAME": SECOND, "LAB_PORT": "18731"}
# Programs that only some tests use are built when the first of them asks.
BUILD_SECONDS = 2400


def command_line(*arguments: str, **environment: str) -> str:
    """Output of the lab's own command line."""
    argv, variables = [sys.executable, "tests/lab", *arguments], {**os.environ, **environment}
    done = subprocess.run(
        argv, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def second_lab(*arguments: str) -> str:
    """The same for a second cluster beside the first."""
    return command_line(*arguments, **OF_SECOND)


def examples(module: str) -> str:
    """A playbook of the tasks in a module's documentation. Releases come from where the lab serves them."""
    text = (ROOT / f"plugins/modules/{module}.py").read_text(encoding="utf-8")
    tasks = yaml.safe_load(text.partition('EXAMPLES = r"""')[2].partition('"""')[0])
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "module_defaults": {
            "servicemesh.istio.release": {"mirror": "{{ lookup('ansible.builtin.env', 'LAB_RELEASES') }}"},
            # Upstream Envoy is sent nothing that it lacks.
            "servicemesh.istio.control_plane": {"values": "{{ control_plane_values }}"},
        },
        "tasks": tasks,
    }
    return yaml.safe_dump([play])


@dataclass
class Played:
    """What a playbook did: exit status, terminal output, and one row per task result."""

    status: int
    text: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def of(self, module: str) -> list[dict[str, Any]]:
        """Results of all tasks that ran servicemesh.istio.<module>; the items of a loop one by one."""
        found = []
        for row in self.rows:
            if row["action"].endswith(f"istio.{module}") and row["kind"] in ("ok", "failed"):
                found.extend(row["result"].get("results") or [row["result"]])
        return found

    @property
    def diffs(self) -> list[dict[str, Any]]:
        """What our modules show as differences."""
        results = [
            item
            for row in self.rows
            if ".istio." in row["action"]
            for item in row["result"].get("results") or [row["result"]]
        ]
        return [entry for result in results for entry in result.get("diff") or []]

    @property
    def changed(self) -> list[str]:
        return [row["task"] for row in self.rows if row["kind"] == "ok" and row["result"].get("changed")]

    def ok(self) -> Played:
        assert self.status == 0, self.text[-6000:]
        return self


class Lab:
    """environment: what a shell gets from `make -s lab-env`."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("K8S_AUTH_", "ANSIBLE_"))}
        self.environment = {**kept, **environment, "ANSIBLE_NOCOLOR": "1"}
        self.kubeconfig = Path(environment["KUBECONFIG"])
        self._folder = folder

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json", "--show-managed-fields"))
        return answer

    def play(self, *arguments: str | Path, cwd: Path = ROOT, timeout: float = 900, **environment: str) -> Played:
        """ansible-playbook with the arguments."""
        record = self._folder / "record.jsonl"
        record.unlink(missing_ok=True)
        own = {
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/e2e/callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "RECORD": str(record),
        }
        argv = [str(BIN / "ansible-playbook"), *map(str, arguments)]
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**self.environment, **own, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()] if record.exists() else []
        return Played(done.returncode, done.stdout + done.stderr, rows)

    def sweep(self) -> None:
        """Takes away what a run that was cut off may have left: proxies that trust an authority of the past answer
        nobody.
        """
        for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations", "customresourcedefinitions"):
            self.kubectl("delete", kind, "--all", "--timeout=120s")
        self.kubectl("delete", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/part-of")
        names = [item["metadata"]["name"] for item in self.get("namespaces")["items"]]
        strange = [name for name in names if name not in ("default", "kube-public", *OWN_WRITERS)]
        if strange:
            self.kubectl("delete", "namespaces", *strange, "--timeout=170s")

    def site(self, *arguments: str, playbook: str = "site") -> Played:
        return self.play(f"playbooks/{playbook}.yml", "-e", "@tests/lab/vars.yml", *arguments)

    def module(
        self,
        name: str,
        /,
        check: bool = False,
        diff: bool = True,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """One module, run as Ansible runs it, without a playbook around it."""
        arguments = json.dumps(
            {"ANSIBLE_MODULE_ARGS": {**options, "_ansible_check_mode": check, "_ansible_diff": diff}}
        )
        path = {"PYTHONPATH": str(ROOT / ".collections")}
        argv = [sys.executable, "-m", f"{MODULES}.{name}"]
        done = subprocess.run(
            argv,
            env={**self.environment, **path, **(environment or {})},
            input=arguments,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.stdout.strip(), done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer


def account(lab: Lab, folder: Path, rbac_for: list[str]) -> str:
    """Path of a kubeconfig of a ServiceAccount with the ClusterRole that playbooks/rbac.yml makes for these roles and
    modules.
    """
    name, role, kubeconfig = f"proof-{rbac_for[0].replace('_', '-')}", folder / "role.yaml", folder / "kubeconfig"
    lab.play(
        "playbooks/rbac.yml", "-e", json.dumps({"rbac_for": rbac_for, "rbac_name": name, "rbac_dest": str(role)})
    ).ok()
    subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": reference,
        "subjects": [subject],
    }
    of_account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}}
    lab.kubectl(
        "apply",
        "-f",
        "-",
        text=yaml.safe_dump_all([yaml.safe_load(role.read_text(encoding="utf-8")), of_account, binding]),
    )
    config = yaml.safe_load(lab.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": lab.kubectl("create", "token", name, "-n", "default").strip()}
    kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
    kubeconfig.chmod(0o600)
    return str(kubeconfig)


def sound(lab: Lab, istioctl: str, proxies: int = 0) -> None:
    """istioctl itself finds nothing to complain of, and at least so many proxies that have what they should."""
    analyzed = json.loads(
        subprocess.run(
            [istioctl, "analyze", "-A", "-o", "json"],
            env=lab.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        ).stdout
        or "[]"
    )
    assert [entry for entry in analyzed if entry["level"] in ("Error", "Warning")] == []
    status = subprocess.run(
        [istioctl, "proxy-status"], env=lab.environment, capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert "STALE" not in status and len(status.splitlines()) > proxies, status


LISTED = "namespaces,deployments,services,configmaps,serviceaccounts,clusterroles,mutatingwebhookconfigurations,customresourcedefinitions"
ISTIO_KINDS = "virtualservices.networking.istio.io,destinationrules.networking.istio.io,gateways.networking.istio.io,telemetries.telemetry.istio.io"
# What Kubernetes and istiod rewrite while nobody looks.
LEADER = "control-plane.alpha.kubernetes.io/leader"
OWN_WRITERS = ("kube-system", "kube-node-lease", "local-path-storage")


def objects(lab: Lab) -> dict[str, Any]:
    """{object: its generation or resourceVersion} of what our modules write, less what Kubernetes and istiod keep for
    themselves.
    """
    found = {}
    definitions = lab.kubectl("get", "customresourcedefinitions", "-o", "name")
    kinds = [LISTED] + [ISTIO_KINDS] * ("virtualservices.networking.istio.io" in definitions)
    for item in lab.get(",".join(kinds), "--all-namespaces")["items"]:
        metadata = item["metadata"]
        if metadata.get("namespace") not in OWN_WRITERS and LEADER not in metadata.get("annotations", {}):
            found[f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"] = (
                metadata.get("generation") or metadata["resourceVersion"]
            )
    return found
