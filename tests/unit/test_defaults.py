# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults of the action group reach every module: a real playbook, and two servers of which only one may be asked."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from collection import ROOT

TASKS = [
    {"servicemesh.istio.mesh_info": {}},
    {"servicemesh.istio.namespace": {"name": "shop", "injection": "enabled"}},
    {
        "servicemesh.istio.manifests": {
            "definition": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}}
        }
    },
    {"servicemesh.istio.traffic_split": {"namespace": "shop", "service": "frontend", "versions": {"v1": 1}}},
    {"servicemesh.istio.route": {"namespace": "shop", "service": "frontend", "rules": [{"direct_response": 404}]}},
]


@contextmanager
def server():
    """A server that knows nothing; yields its URL and the paths that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_args):
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}", asked
    found.shutdown()
    found.server_close()


def test_the_server_of_the_groups_defaults_is_the_one_that_every_module_asks(tmp_path):
    with ExitStack() as stack:
        (named, asked), (ambient, never) = stack.enter_context(server()), stack.enter_context(server())
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "users": [{"name": "c", "user": {}}],
        }
        kubeconfig.update(
            contexts=[{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            clusters=[{"name": "c", "cluster": {"server": ambient}}],
        )
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        for number, task in enumerate(TASKS):
            play = {"hosts": "localhost", "gather_facts": False, "vars": {"url": named}, "tasks": [task]}
            play["module_defaults"] = {"group/servicemesh.istio.all": {"host": "{{ url }}"}}
            (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
            environment = {
                **os.environ,
                "KUBECONFIG": str(tmp_path / "kubeconfig"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
                "no_proxy": "127.0.0.1",
            }
            argv = [
                str(Path(sys.executable).with_name("ansible-playbook")),
                "-i",
                "localhost,",
                "-c",
                "local",
                "-e",
                f"ansible_python_interpreter={sys.executable}",
                "play.yml",
            ]
            done = subprocess.run(
                argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
            )
            assert asked and not never, (number, done.stdout + done.stderr)
            asked.clear()
