# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run over many clusters: real playbooks, an inventory of contexts, and clusters in memory."""

from __future__ import annotations

import configparser
import contextlib
import json
import re
import shlex

import pytest
import yaml
from ansible import constants
from collection import ROOT, load
from memory_api import MemoryApi
from memory_server import play, serve

GUIDE = (ROOT / "docs/many-clusters.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]
COMMANDS = [line for text in re.findall(r"```shell\n(.*?)```", GUIDE, re.DOTALL) for line in text.strip().splitlines()]
CLUSTERS = ("canary", "prod-eu", "prod-us")
# What is at work here is which cluster gets what; the namespaces' part is enough for that.
PARTS = {f"site_{name}": False for name in ("release", "control_plane", "demo", "addons", "traffic", "summary")}
OVER_CLUSTERS = {
    path.name: plays[-1]
    for path in sorted((ROOT / "playbooks").glob("*.yml"))
    if "site_hosts" in str((plays := load(f"playbooks/{path.name}"))[-1].get("hosts"))
}


class Clusters:
    """{name: API}, a kubeconfig with a context for each, and an inventory of them."""

    def __init__(self, folder, apis, servers):
        self.folder, self.apis = folder, apis
        self.folder.joinpath("kubeconfig").write_text(yaml.safe_dump(_kubeconfig(servers)))
        own = {name: {"namespaces_enrolled": [{"name": f"of-{name}"}]} for name in apis}
        rings = {"canary": {"ring": 0}, "prod-*": {"ring": 1}}
        merged = {name: {**own.get(name, {}), **rings.get(name, {})} for name in (*own, *rings)}
        content = {
            "plugin": "servicemesh.istio.contexts",
            "kubeconfig": "kubeconfig",
            "vars": merged,
            "groups": {"mesh": True},
            "keyed_groups": [{"key": "ring | string", "prefix": "ring"}],
        }
        self.folder.joinpath("contexts.yml").write_text(yaml.safe_dump(content))

    def play(self, playbook="site", **variables):
        given = {"site_hosts": "mesh", **PARTS, **variables}
        (self.folder / "variables.json").write_text(json.dumps(given))
        # The variable that a play falls back to names no cluster.
        return play(
            self.folder,
            ROOT / f"playbooks/{playbook}.yml",
            "-i",
            "contexts.yml",
            "-f",
            "3",
            "-e",
            "@variables.json",
            KUBECONFIG="/nonexistent/kubeconfig",
        )

    def down(self, name):
        """From now on nobody answers there."""
        path = self.folder / "kubeconfig"
        content = yaml.safe_load(path.read_text())
        next(entry for entry in content["clusters"] if entry["name"] == name)["cluster"]["server"] = (
            "http://127.0.0.1:9"
        )
        path.write_text(yaml.safe_dump(content))

    def made(self):
        """{cluster: namespaces that were made in it}"""
        return {
            name: sorted(key[3] for key in api.objects if key[1] == "Namespace" and key[3].startswith("of-"))
            for name, api in self.apis.items()
        }


def _kubeconfig(servers):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        # Nothing may fall back to it.
        "current-context": "gone",
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in servers],
        "clusters": [{"name": name, "cluster": {"server": server}} for name, server in servers.items()],
        "users": [{"name": "me", "user": {}}],
    }


@pytest.fixture
def clusters(tmp_path):
    apis = {name: MemoryApi() for name in CLUSTERS}
    with contextlib.ExitStack() as stack:
        yield Clusters(tmp_path, apis, {name: stack.enter_context(serve(api)) for name, api in apis.items()})


def failed_hosts(done):
    return sorted(re.findall(r"^(\S+)\s+: ok=.*failed=[1-9]", done.stdout, re.MULTILINE))


def test_each_cluster_gets_what_its_context_says_and_nothing_else(clusters):
    done = clusters.play()
    assert done.returncode == 0, done.stdout + done.stderr
    assert clusters.made() == {name: [f"of-{name}"] for name in CLUSTERS}
    for name in CLUSTERS:
        assert re.search(rf"ok: \[{name}\] => \{{\s+\"msg\": \"Cluster {name} at http://127.0.0.1", done.stdout)
    again = clusters.play()
    assert again.returncode == 0 and len(re.findall(r"changed=0 ", again.stdout)) == len(CLUSTERS) + 1
    # Namespaces that were listed may have been there before.
    for deleted in (False, True):
        gone = clusters.play("teardown", **({"site_delete_namespaces": True} if deleted else {}))
        assert gone.returncode == 0, gone.stdout + gone.stderr
        assert clusters.made() == {name: [] if deleted else [f"of-{name}"] for name in CLUSTERS}


@pytest.mark.long
def test_tasks_wait_for_the_slowest_cluster(clusters):
    done = clusters.play()
    tasks = [block.splitlines() for block in done.stdout.split("\nTASK ")[1:]]
    whole = [
        {name for name in CLUSTERS for row in lines if f"[{name}]" in row and row.startswith(("ok:", "changed:"))}
        for lines in tasks
    ]
    assert [found for found in whole if found] and all(found in (set(), set(CLUSTERS)) for found in whole), done.stdout


RINGS = {
    "site_hosts": "ring_0:ring_1",
    "site_serial": "{{ ['ring_0', 'ring_1'] | map('extract', groups) | map('length') | list }}",
}


@pytest.mark.long
def test_rings_of_clusters_go_one_after_the_other(clusters):
    done = clusters.play(**RINGS)
    assert done.returncode == 0, done.stdout
    plays = done.stdout.split("\nPLAY [Install the mesh")[1:]
    assert [{name for name in CLUSTERS if f"[{name}]" in text} for text in plays] == [
        {"canary"},
        {"prod-eu", "prod-us"},
    ]


@pytest.mark.long
def test_one_cluster_that_is_down_does_not_hold_up_the_others_in_its_ring(clusters):
    clusters.down("prod-eu")
    done = clusters.play(**RINGS)
    assert done.returncode == 2 and failed_hosts(done) == ["prod-eu"], done.stdout
    assert clusters.made() == {"canary": ["of-canary"], "prod-eu": [], "prod-us": ["of-prod-us"]}


@pytest.mark.long
def test_a_ring_in_which_all_failed_ends_the_run(clusters):
    clusters.down("canary")
    done = clusters.play(**RINGS)
    assert done.returncode == 2 and not any(clusters.made().values()), done.stdout


@pytest.mark.parametrize(("share", "goes_on"), [(0, False), (33, False), (34, True)])
@pytest.mark.long
def test_a_share_of_clusters_may_fail_before_all_stop(clusters, share, goes_on):
    clusters.down("canary")
    done = clusters.play(site_max_fail_percentage=share)
    assert done.returncode == 2 and any(clusters.made().values()) is goes_on, done.stdout


@pytest.mark.long
def test_one_folder_for_the_backups_of_several_clusters_is_refused(clusters):
    refused = clusters.play(control_plane_backup="backup")
    assert refused.returncode == 2 and "control_plane_backup names one file for several hosts" in refused.stdout
    assert not any(clusters.made().values())
    assert clusters.play(control_plane_backup="backup-{{ inventory_hostname }}").returncode == 0


@pytest.mark.parametrize("name", OVER_CLUSTERS)
def test_a_playbook_over_many_clusters_takes_each_from_its_host(name):
    assert OVER_CLUSTERS[name]["environment"] == "{{ site_environment }}"


def test_playbooks_that_change_clusters_go_by_rings_and_stop_as_they_are_told():
    assert {"site.yml", "upgrade.yml", "teardown.yml", "mtls.yml"} <= set(OVER_CLUSTERS)
    words = [
        {key: OVER_CLUSTERS[name].get(key) for key in ("serial", "max_fail_percentage")}
        for name in ("site.yml", "upgrade.yml", "teardown.yml", "mtls.yml")
    ]
    assert all(found == words[0] and None not in found.values() for found in words)


@pytest.mark.parametrize("role", ["upgrade", "mtls"])
def test_probes_of_two_clusters_on_one_machine_have_two_names(role):
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    text = trust_as_template(load(f"roles/{role}/vars/main.yml")[f"{role}_probe_name"])
    hosts = [
        {"inventory_hostname": "localhost"},
        {"inventory_hostname": "localhost", "context": "b"},
        *(
            {"inventory_hostname": name, "context": "arn:aws:eks:" + "x" * 80 + name, "kubeconfig": "k"}
            for name in CLUSTERS
        ),
    ]
    names = [Templar(loader=DataLoader(), variables=host).template(text) for host in hosts]
    assert len(set(names)) == len(hosts) and all(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name) for name in names
    )


@pytest.mark.long
def test_the_guides_inventory_and_its_play_give_what_is_said(clusters):
    inventory, own_play = (
        next(block for block in BLOCKS if "plugin" in block),
        next(block for block in BLOCKS if isinstance(block, list)),
    )
    (clusters.folder / "contexts.yml").write_text(yaml.safe_dump({**inventory, "kubeconfig": "kubeconfig"}))
    (clusters.folder / "play.yml").write_text(yaml.safe_dump(own_play))
    done = play(clusters.folder, "play.yml", "-i", "contexts.yml", KUBECONFIG="/nonexistent/kubeconfig")
    assert done.returncode == 0 and all(f'"msg": "{name}: "' in done.stdout for name in CLUSTERS), (
        done.stdout + done.stderr
    )
    # The same inventory, for site.yml: one cluster has namespaces of its own.
    assert clusters.play(site_serial="50%").returncode == 0
    assert {key[3] for key in clusters.apis["canary"].objects if key[1] == "Namespace"} >= {"canary"}
    assert "canary" not in {key[3] for key in clusters.apis["prod-eu"].objects}


@pytest.mark.parametrize(
    "variables", [block for block in BLOCKS if "site_hosts" in block], ids=["by number", "by group"]
)
@pytest.mark.long
def test_the_guides_rings_are_those_that_it_tells_of(clusters, variables):
    done = clusters.play(**{name: value for name, value in variables.items() if name.startswith("site_")})
    assert done.returncode == 0, done.stdout
    plays = done.stdout.split("\nPLAY [Install the mesh")[1:]
    rings = [sorted(name for name in CLUSTERS if f"[{name}]" in text) for text in plays]
    # Of three clusters a quarter is one.
    assert rings == (
        [["canary"], ["prod-eu"], ["prod-us"]]
        if isinstance(variables["site_serial"], list)
        else [["canary"], ["prod-eu", "prod-us"]]
    )
    assert set(variables) - {"release_version", "control_plane_revision"} <= set(
        re.findall(r"site_\w+", (ROOT / "playbooks/upgrade.yml").read_text())
    )


def test_the_guides_commands_name_playbooks_and_options_that_are_there(clusters):
    for command in COMMANDS:
        words = shlex.split(command)
        assert words[0] in ("ansible-inventory", "ansible-playbook") and all(
            (ROOT / word).exists() for word in words if word.startswith("playbooks/")
        )
        if words[0] == "ansible-playbook":
            (clusters.folder / "upgrade.yml").write_text(
                yaml.safe_dump(next(block for block in BLOCKS if "site_hosts" in block))
            )
            checked = play(
                clusters.folder,
                *(str(ROOT / word) if word.startswith("playbooks/") else word for word in [*words[1:], "--list-hosts"]),
            )
            assert checked.returncode == 0 and "prod-eu" in checked.stdout, checked.stdout + checked.stderr


def test_the_guides_setting_is_one_of_ansibles_and_makes_a_broken_inventory_an_error(clusters):
    parser = configparser.ConfigParser()
    parser.read_string(re.search(r"```ini\n(.*?)```", GUIDE, re.DOTALL)[1])
    known = {
        (entry["section"], entry["key"])
        for about in constants.config.get_configuration_definitions().values()
        for entry in about.get("ini") or []
    }
    assert {(section, key) for section in parser.sections() for key in parser[section]} <= known
    (clusters.folder / "contexts.yml").write_text(
        yaml.safe_dump({"plugin": "servicemesh.istio.contexts", "kubeconfig": "kubeconfig", "contexts": ["prod-asia"]})
    )
    assert clusters.play().returncode == 0
    (clusters.folder / "ansible.cfg").write_text(re.search(r"```ini\n(.*?)```", GUIDE, re.DOTALL)[1])
    refused = clusters.play()
    assert refused.returncode != 0 and "context prod-asia does not exist" in " ".join(
        (refused.stdout + refused.stderr).split()
    )
