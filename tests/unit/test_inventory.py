# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each context of a kubeconfig as a host: what ansible-inventory makes of it, what it refuses, and what it never
tells.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.inventory import contexts as plugin
from memory_server import environment

NAME = "servicemesh.istio.contexts"
SECRETS = {
    name: f"never-shown-{name}"
    for name in ("token", "password", "certificate", "key", "authority", "variable", "in-the-address")
}
ARN = "arn:aws:eks:eu-central-1:1:cluster/prod"
EXAMPLES = list(yaml.safe_load_all(plugin.EXAMPLES))


def encoded(name):
    return base64.b64encode(SECRETS[name].encode()).decode()


def kubeconfig(path, *contexts, server="https://{}.example.com:6443", **more):
    """A file in which each context has a cluster and a user of its own name, with every kind of credential."""
    user = {
        "token": SECRETS["token"],
        "username": "me",
        "password": SECRETS["password"],
        "client-certificate-data": encoded("certificate"),
        "client-key-data": encoded("key"),
    }
    exec_plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/nonexistent/plugin",
        "env": [{"name": "TOKEN", "value": SECRETS["variable"]}],
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": "shop"}} for name in contexts
        ],
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server.format(name), "certificate-authority-data": encoded("authority")},
            }
            for name in contexts
        ],
        "users": [{"name": name, "user": {**user, "exec": exec_plugin}} for name in contexts],
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


class Folder:
    """Where a person works: an inventory file, kubeconfigs beside it, and nothing else in sight."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def inventory(self, name="contexts.yml", **options):
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text(yaml.safe_dump({"plugin": NAME, **options}))
        return name

    def run(self, name="contexts.yml", **more):
        given = {key: value for key, value in environment(self.path).items() if key != "KUBECONFIG"}
        argv = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", name, "--list"]
        variables = {**given, "HOME": str(self.path), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1", **more}
        return subprocess.run(
            argv, cwd=self.path, env=variables, capture_output=True, text=True, timeout=60, check=False
        )

    def list(self, options=None, name="contexts.yml", **more):
        """({host: variables}, {group: hosts}, standard error)"""
        if options is not None:
            self.inventory(name, **options)
        done = self.run(name, **more)
        assert done.returncode == 0, done.stderr
        # A text that came from elsewhere is no template, and shown as one that never is.
        content = json.loads(done.stdout, object_hook=lambda found: found.get("__ansible_unsafe", found))
        # Long lines of a warning are broken where they are shown.
        return (
            content["_meta"]["hostvars"],
            {group: about.get("hosts", []) for group, about in content.items() if group != "_meta"},
            " ".join(done.stderr.split()),
        )

    def refused(self, options, **more):
        self.inventory(**options)
        done = self.run(**more)
        assert done.returncode != 0, done.stdout
        return " ".join(done.stderr.split())


@pytest.fixture
def folder(tmp_path):
    kubeconfig(tmp_path / "kubeconfig", "prod-eu", "prod-us", "canary")
    return Folder(tmp_path)


def test_each_context_is_a_host_with_what_modules_need_to_reach_it(folder):
    hosts, _groups, said = folder.list({"kubeconfig": "kubeconfig"})
    assert sorted(hosts) == ["canary", "prod-eu", "prod-us"] and "WARNING" not in said
    assert hosts["prod-eu"] == {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "context": "prod-eu",
        "kubeconfig": str(folder.path / "kubeconfig"),
        "api_server": "https://prod-eu.example.com:6443",
        "context_cluster": "prod-eu",
        "context_user": "prod-eu",
        "context_namespace": "shop",
    }


def test_nothing_that_is_secret_is_told(folder):
    kubeconfig(
        folder.path / "other", "by-password", server=f"https://me:{SECRETS['in-the-address']}@" + "{}.example.com"
    )
    folder.inventory(
        kubeconfig=["kubeconfig", "other"], compose={"everything": "dict(vars=context_user)"}, groups={"mesh": True}
    )
    done = folder.run(ANSIBLE_VERBOSITY="4")
    told = done.stdout + done.stderr
    assert "https://by-password.example.com" in told and "prod-eu" in told
    assert "never-shown" not in told
    for name in SECRETS:
        assert encoded(name)[:12] not in told, name


@pytest.mark.parametrize(
    "text",
    [
        "token: never-shown\nbroken: [",
        "- never-shown",
        "never-shown",
        "",
        "contexts: never-shown",
        "contexts: [never-shown]",
        "users: [{name: a, user: never-shown}]",
        "contexts: [{never-shown: 1}]",
    ],
)
def test_a_file_that_is_no_kubeconfig_is_named_and_its_text_is_not_repeated(folder, text):
    (folder.path / "broken").write_text(text)
    said = folder.refused({"kubeconfig": ["kubeconfig", "broken"]})
    assert re.search(
        r"contexts\.yml: kubeconfig: \S+/broken is not (valid YAML, line [23]|a valid kubeconfig)\. Fix the file", said
    ), said
    assert "never-shown" not in said


def test_files_are_merged_as_kubectl_does_and_a_host_has_the_files_that_it_needs(folder):
    second = {
        "contexts": [
            {"name": "prod-eu", "context": {"cluster": "late", "user": "late"}},
            {"name": "joined", "context": {"cluster": "prod-us", "user": "late"}},
        ]
    }
    kubeconfig(folder.path / "late" / "config", "late", **second)
    hosts, _groups, _said = folder.list({"kubeconfig": ["kubeconfig", "late/config"]})
    first, late = str(folder.path / "kubeconfig"), str(folder.path / "late/config")
    assert (hosts["prod-eu"]["api_server"], hosts["prod-eu"]["kubeconfig"]) == (
        "https://prod-eu.example.com:6443",
        first,
    )
    assert (hosts["joined"]["api_server"], hosts["joined"]["kubeconfig"]) == (
        "https://prod-us.example.com:6443",
        os.pathsep.join([first, late]),
    )


def test_a_relative_path_begins_at_the_inventory_wherever_one_stands(folder):
    kubeconfig(folder.path / "inventory" / "clusters", "near")
    hosts, _groups, _said = folder.list({"kubeconfig": "clusters"}, name="inventory/contexts.yaml")
    assert hosts["near"]["kubeconfig"] == str(folder.path / "inventory/clusters")


def test_the_environment_and_then_the_usual_place_name_the_files(folder):
    kubeconfig(folder.path / ".kube" / "config", "usual")
    kubeconfig(folder.path / "second", "second")
    both = f"{folder.path}/second{os.pathsep}/nonexistent/third{os.pathsep}kubeconfig"
    assert list(folder.list({})[0]) == ["usual"]
    assert list(folder.list({}, KUBECONFIG=both)[0]) == ["canary", "prod-eu", "prod-us", "second"]
    assert list(folder.list({}, KUBECONFIG=both, K8S_AUTH_KUBECONFIG="second")[0]) == ["second"]
    assert list(folder.list({}, KUBECONFIG="second", K8S_AUTH_KUBECONFIG="")[0]) == ["second"]
    assert list(folder.list({"kubeconfig": "~/.kube/config"}, KUBECONFIG=both)[0]) == ["usual"]


@pytest.mark.parametrize(
    ("options", "more", "missing"),
    [
        ({"kubeconfig": ["kubeconfig", "gone"]}, {}, "/gone"),
        ({}, {"KUBECONFIG": "/nonexistent/a:/nonexistent/b"}, "/nonexistent/a or /nonexistent/b"),
        ({}, {}, "/.kube/config"),
    ],
)
def test_a_file_that_is_not_there_is_told_with_the_option_and_the_remedy(folder, options, more, missing):
    said = folder.refused(options, **more)
    assert f"{missing} does not exist. Set the option kubeconfig" in said and "kubeconfig: file" in said


def test_a_whole_kubeconfig_instead_of_a_path_is_refused_without_its_text(folder):
    text = (folder.path / "kubeconfig").read_text()
    for said in (
        folder.refused({"kubeconfig": text}),
        folder.refused({"kubeconfig": yaml.safe_load(text)}),
        folder.refused({}, K8S_AUTH_KUBECONFIG=text),
    ):
        assert "it is neither a path nor a list of paths" in said and "never-shown" not in said


def test_patterns_take_contexts_in_and_leave_them_out(folder):
    hosts, _groups, said = folder.list(
        {"kubeconfig": "kubeconfig", "contexts": ["prod-*", "can?ry"], "exclude": ["*-us"]}
    )
    assert sorted(hosts) == ["canary", "prod-eu"] and "WARNING" not in said


def test_a_pattern_that_fits_nothing_is_told_and_a_name_that_is_not_there_is_an_error(folder):
    hosts, _groups, said = folder.list(
        {
            "kubeconfig": "kubeconfig",
            "contexts": ["prod-*", "test-*"],
            "exclude": ["old-*"],
            "vars": {"dev-*": {"ring": 1}},
        }
    )
    assert list(hosts) == ["prod-eu", "prod-us"]
    for words in (
        "contexts: no context matches test-*.",
        "exclude: no context matches old-*.",
        "vars: no context matches dev-*.",
    ):
        assert words in said
    said = folder.refused({"kubeconfig": "kubeconfig", "contexts": ["prod-*", "prod-asia"]})
    assert "contexts: context prod-asia does not exist. Contexts: prod-eu, prod-us, canary." in said


def test_a_context_without_a_cluster_is_left_out_and_told(folder):
    more = [
        {"name": "stale", "context": {"cluster": "gone", "user": "x"}},
        {"name": "bare"},
        {"name": "odd", "context": {"cluster": "odd"}},
        {"name": "anonymous", "context": {"cluster": "fine"}},
    ]
    clusters = [
        {"name": name, "cluster": {"server": server}}
        for name, server in (("fine", "https://192.0.2.1"), ("odd", "https://[never"))
    ]
    kubeconfig(folder.path / "other", contexts=more, clusters=clusters)
    hosts, _groups, said = folder.list({"kubeconfig": "other"})
    assert list(hosts) == ["anonymous"] and hosts["anonymous"]["context_user"] == ""
    assert (
        f"context stale of {folder.path}/other is skipped: its cluster 'gone' does not exist in any of the files."
        in said
    )
    assert "context bare" in said and "its cluster 'odd' has no server" in said


def test_variables_by_pattern_make_groups(folder):
    options = {
        "kubeconfig": "kubeconfig",
        "vars": {
            "*": {"ring": 2, "mesh_name": "blue"},
            "*-eu": {"ring": 1},
            "canary": {"ring": 0, "ansible_connection": "ssh"},
        },
        "compose": {"domain": "mesh_name ~ '.' ~ context_cluster"},
        "groups": {"mesh": True, "europe": "'eu' in context"},
        "keyed_groups": [{"key": "ring | string", "prefix": "ring"}],
    }
    hosts, groups, _said = folder.list(options)
    assert (hosts["prod-us"]["ring"], hosts["prod-eu"]["ring"], hosts["canary"]["ansible_connection"]) == (2, 1, "ssh")
    assert hosts["canary"]["domain"] == "blue.canary"
    assert groups["mesh"] == ["prod-eu", "prod-us", "canary"] and groups["europe"] == ["prod-eu"]
    assert (groups["ring_0"], groups["ring_1"], groups["ring_2"]) == (["canary"], ["prod-eu"], ["prod-us"])


def test_a_name_that_would_be_a_pattern_of_hosts_is_written_without_its_signs(folder):
    kubeconfig(folder.path / "kubeconfig", ARN, "admin@kubernetes", "name[0]", server="https://192.0.2.1")
    hosts, _groups, _said = folder.list({"kubeconfig": "kubeconfig", "contexts": ["*", "name[0]"]})
    assert sorted(hosts) == ["admin@kubernetes", "arn-aws-eks-eu-central-1-1-cluster-prod", "name-0-"]
    assert hosts["arn-aws-eks-eu-central-1-1-cluster-prod"]["context"] == ARN
    named, _groups, _said = folder.list(
        {
            "kubeconfig": "kubeconfig",
            "contexts": ["arn:*"],
            "hostname": "context.split('/') | last ~ '-' ~ context.split(':')[3]",
        }
    )
    assert list(named) == ["prod-eu-central-1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hostname": "'same'"}, "hostname: contexts prod-eu and prod-us result in the same host same."),
        ({"hostname": "nothing_of_that_name"}, "hostname: cannot evaluate it for context prod-eu"),
        ({"hostname": "5"}, "hostname: for context prod-eu it results in 5, which is not a valid name"),
        ({"context": "prod-eu"}, "context: it is not an option of this plugin"),
        ({"vars": {"prod-*": "ring"}}, "vars: the value of prod-* is not a mapping"),
        ({"strict": True, "compose": {"a": "nothing_of_that_name"}}, "nothing_of_that_name"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder, options, words):
    assert words in folder.refused({"kubeconfig": "kubeconfig", **options})


def test_what_would_send_all_hosts_to_one_server_is_told(folder):
    _hosts, _groups, said = folder.list(
        {"kubeconfig": "kubeconfig"}, K8S_AUTH_HOST="https://one.example.com", K8S_AUTH_API_KEY="never-shown"
    )
    assert (
        "K8S_AUTH_HOST is set in the environment" in said
        and "K8S_AUTH_API_KEY is set" in said
        and "never-shown" not in said
    )


def test_other_files_are_left_to_other_plugins(folder):
    assert not plugin.InventoryModule().verify_file(str(kubeconfig(folder.path / "hosts.yml", "a")))
    assert plugin.InventoryModule().verify_file(str(folder.path / folder.inventory("prod.contexts.yml")))


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_gives_what_it_says(folder, example):
    regions = {"europe": ["prod-eu-1", "prod-eu-old"], "america": ["prod-us-1", "canary", "test"]}
    for region, names in regions.items():
        kubeconfig(folder.path / "clusters" / f"{region}.kubeconfig", *names)
    kubeconfig(folder.path / ".kube" / "config", ARN, *([] if "hostname" in example else ["other"]))
    hosts, groups, said = folder.list({key: value for key, value in example.items() if key != "plugin"})
    assert "WARNING" not in said
    expected = [
        lambda: groups["mesh"] == sorted(hosts) == ["arn-aws-eks-eu-central-1-1-cluster-prod", "other"],
        lambda: (
            (groups["mesh"], groups["ring_0"], groups["ring_1"], groups["ring_2"], groups["europe"])
            == (["prod-eu-1", "prod-us-1", "canary"], ["canary"], ["prod-eu-1"], ["prod-us-1"], ["prod-eu-1"])
        ),
        lambda: (
            (list(hosts), hosts["prod"]["region"], groups["region_eu_central_1"])
            == (["prod"], "eu-central-1", ["prod"])
        ),
    ]
    assert expected[EXAMPLES.index(example)](), (hosts, groups)


def test_the_documentation_is_read_by_ansible_doc_and_tells_of_every_variable_of_a_host(folder):
    argv = [str(Path(sys.executable).with_name("ansible-doc")), "-t", "inventory", NAME, "--json"]
    shown = json.loads(
        subprocess.run(
            argv, cwd=folder.path, env=environment(folder.path), capture_output=True, text=True, timeout=60, check=True
        ).stdout
    )[NAME]["doc"]
    assert {
        "plugin",
        "kubeconfig",
        "contexts",
        "exclude",
        "hostname",
        "vars",
        "compose",
        "groups",
        "keyed_groups",
        "strict",
    } <= set(shown["options"])
    variables = folder.list({"kubeconfig": "kubeconfig"})[0]["canary"]
    assert all(f"C({name})" in " ".join(shown["description"]) for name in variables)
