# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret shows, however much is asked for: not its value, not its base64, not on failure."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbook_runner import Lab

pytestmark = pytest.mark.long

NAMESPACE = "proof-secrets"
PLAIN, DATA, TOKEN = "plain-value-nobody-sees", "data-value-nobody-sees", "token-nobody-sees"
HIDDEN = [word for value in (PLAIN, DATA, TOKEN) for word in (value, base64.b64encode(value.encode()).decode())]


@pytest.fixture
def namespace(lab: Lab) -> Iterator[Lab]:
    lab.kubectl("create", "namespace", NAMESPACE)
    yield lab
    lab.kubectl("delete", "namespace", NAMESPACE)


def playbook(folder: Path, secret: dict[str, Any], **options: Any) -> Path:
    metadata = {"name": "keys", "namespace": NAMESPACE}
    definition = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **secret}
    task = {"servicemesh.istio.manifests": {"definition": [definition], **options}}
    path = folder / "secrets.yml"
    variables = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    path.write_text(
        yaml.safe_dump(
            [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": [task]}]
        )
    )
    return path


@pytest.mark.parametrize(
    ("secret", "options", "status", "words"),
    [
        ({"stringData": {"one": PLAIN}, "data": {"two": base64.b64encode(DATA.encode()).decode()}}, {}, 0, "(hidden)"),
        ({"stringData": {"one": PLAIN}, "spec": {"two": DATA}}, {}, 2, "invalid_object"),
        ({"stringData": {"one": PLAIN}, "type": "kubernetes.io/tls"}, {}, 2, "tls.crt"),
        ({"stringData": {"one": PLAIN}}, {"host": "https://127.0.0.1:1", "api_key": TOKEN}, 2, "unreachable"),
    ],
)
def test_the_loudest_run_shows_no_secret(
    namespace: Lab, tmp_path: Path, secret: dict[str, Any], options: dict[str, Any], status: int, words: str
) -> None:
    path = playbook(tmp_path, secret, **options)
    for more in (["--check"], []):
        played = namespace.play(path, "-vvv", "--diff", *more)
        assert played.status == status and words in played.text, played.text[-3000:]
        # A field of a Secret that is no data is no secret: the second case's is what the server refuses.
        shown = [
            word
            for word in HIDDEN
            if word in played.text + str(played.rows) and not (word == DATA and "spec" in secret)
        ]
        assert shown == []


def test_a_changed_secret_is_a_diff_that_says_only_that_it_changes(namespace: Lab, tmp_path: Path) -> None:
    namespace.play(playbook(tmp_path, {"stringData": {"one": PLAIN}})).ok()
    played = namespace.play(playbook(tmp_path, {"stringData": {"one": DATA}}), "--diff", "-vvv").ok()
    (entry,) = played.of("manifests")[0]["diff"]
    assert "one: (hidden)" in entry["before"] and "one: (hidden, another value)" in entry["after"]
    assert [word for word in HIDDEN if word in played.text] == []
