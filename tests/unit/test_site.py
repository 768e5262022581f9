# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of roles count in the site's playbooks wherever a user sets them, and the site's defaults apply only where
they are not set.
"""

from __future__ import annotations

import json
import re

import builders
import fake_istioctl
import pytest
import yaml
from collection import ROOT
from memory_api import MemoryApi
from memory_server import kubeconfig, play, serve

DEMO = "online-boutique"
ROW = re.compile(r"^(?:ok|changed|fatal|skipping|failed): \[localhost\].*? => (\{.*?^\})$", re.MULTILINE | re.DOTALL)
# Every playbook passes over what needs a program or an image; the variables of those stages go to their roles directly.
SKIPPED = "release,demo,addons,summary"
SPLIT = {"service": "web", "namespace": "theirs", "versions": {"v1": 1}}
SET = {
    "namespaces_enrolled": [{"name": "theirs"}],
    "traffic_gateways": [{"name": "front"}],
    "traffic_splits": [SPLIT],
    "traffic_policy": {"theirs": {"api": {"resilience": {"timeout": "2s"}}}},
    "traffic_preflight": "skip",
    "control_plane_namespace": "istio-infra",
    "control_plane_delete_crds": False,
    "control_plane_delete_namespace": False,
    "control_plane_purge": False,
    "namespaces_delete": True,
}
# One of them at each change; Ansible's own precedence is the same for all playbooks.
SOURCES = ["inventory", *(pytest.param(source, marks=pytest.mark.long) for source in ("group_vars", "command line"))]


class Play:
    """A run of a playbook, with what it asked of each module."""

    def __init__(self, done):
        self.text = done.stdout + done.stderr
        rows = [json.loads(text) for text in ROW.findall(done.stdout)]
        self.asked = [row["invocation"]["module_args"] for row in rows if "invocation" in row]

    def of(self, *keys):
        """Options of the calls that have all of these."""
        return [asked for asked in self.asked if set(keys) <= set(asked)]

    def only(self, *keys):
        found = self.of(*keys)
        assert len(found) == 1, self.text
        return found[0]


@pytest.fixture
def playing(tmp_path):
    objects = [builders.namespace(name) for name in (DEMO, "theirs", "istio-system", "istio-infra")]
    for host, place in (("frontend", DEMO), ("web", "theirs"), ("api", "theirs")):
        objects += [builders.service(host, place), builders.pod(f"{host}-1", place, {"app": host, "version": "v1"})]
        objects.append(builders.pod(f"{host}-2", place, {"app": host, "version": "v2"}))
    always = {"control_plane_istioctl": str(fake_istioctl.write(tmp_path)), "ansible_connection": "local"}
    with serve(MemoryApi(*objects)) as server:
        kubeconfig(tmp_path, server)

        def playing(playbook, variables, source="inventory"):
            places = {
                name: tmp_path / name for name in ("inventory/hosts.yml", "inventory/group_vars/all.yml", "extra.yml")
            }
            places["inventory/group_vars/all.yml"].parent.mkdir(parents=True, exist_ok=True)
            own = {"inventory": {}, "group_vars": {}, "command line": {}}
            own[source] = variables
            host = {**always, **own["inventory"], "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
            places["inventory/hosts.yml"].write_text(yaml.safe_dump({"all": {"hosts": {"localhost": host}}}))
            places["inventory/group_vars/all.yml"].write_text(yaml.safe_dump(own["group_vars"]))
            places["extra.yml"].write_text(yaml.safe_dump(own["command line"]))
            skipped = SKIPPED if playbook == "teardown" else f"{SKIPPED},control_plane"
            argv = ["-i", "inventory", "-e", "@extra.yml", "--skip-tags", skipped, "-vvv"]
            return Play(play(tmp_path, ROOT / f"playbooks/{playbook}.yml", *argv))

        yield playing


def policy(played):
    return played.only("policy")["policy"]


def gateways(played):
    return [gateway["metadata"]["name"] for gateway in played.only("definition", "set")["definition"]]


def enrolled(played):
    return [asked["name"] for asked in played.of("injection", "name")]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("playbook", ["site", "drift"])
def test_variables_of_roles_are_applied_and_planned(playing, playbook, source):
    played = playing(playbook, SET, source)
    assert enrolled(played) == ["theirs"], "namespaces_enrolled"
    assert gateways(played) == ["front"], "traffic_gateways"
    assert policy(played)["theirs"]["web"]["split"] == {"versions": {"v1": 1}} and DEMO not in policy(played), (
        "traffic_splits"
    )
    assert policy(played)["theirs"]["api"] == {"resilience": {"timeout": "2s"}}, "traffic_policy"
    assert played.only("policy")["preflight"] == "skip", "traffic_preflight"


@pytest.mark.parametrize("playbook", ["site", "drift"])
def test_where_nothing_is_set_the_sites_defaults_apply(playing, playbook):
    played = playing(playbook, {})
    assert (enrolled(played), gateways(played)) == ([DEMO], ["ingress"])
    assert {name: list(hosts) for name, hosts in policy(played).items()} == {DEMO: ["frontend"]}
    assert policy(played)[DEMO]["frontend"]["split"]["versions"] == {"v1": 90, "v2": 10}


@pytest.mark.parametrize(
    ("variables", "namespaces", "hosts"),
    [
        ({"site_demo": False}, [], {}),
        ({"demo_namespace": "theirs"}, ["theirs"], {"theirs": ["frontend"]}),
        ({"namespaces_enrolled": []}, [], {DEMO: ["frontend"]}),
        ({"namespaces_enrolled": [{"name": "theirs"}], "site_demo": False}, ["theirs"], {}),
        ({"traffic_splits": [], "traffic_policy": SET["traffic_policy"]}, [DEMO], {"theirs": ["api"]}),
    ],
    ids=["without the demo", "the demo elsewhere", "no namespace", "namespaces without the demo", "a policy alone"],
)
@pytest.mark.long
def test_defaults_follow_the_demo(playing, variables, namespaces, hosts):
    played = playing("drift", variables)
    assert enrolled(played) == namespaces and {name: list(found) for name, found in policy(played).items()} == hosts


@pytest.mark.parametrize("source", SOURCES)
def test_a_teardown_keeps_what_variables_of_roles_keep(playing, source):
    played = playing("teardown", SET, source)
    assert [(asked["name"], asked["delete"]) for asked in played.of("injection", "name")] == [("theirs", True)], (
        "namespaces_enrolled, namespaces_delete"
    )
    assert played.only("policy")["preflight"] == "skip", "traffic_preflight"
    plane = played.only("delete_crds")
    kept = {name: plane[name] for name in ("delete_crds", "delete_namespace", "purge")}
    assert kept == {"delete_crds": False, "delete_namespace": False, "purge": False}


def test_a_teardown_leaves_nothing_but_the_namespaces_that_were_listed(playing):
    played = playing("teardown", {})
    assert [(asked["name"], asked["delete"]) for asked in played.of("injection", "name")] == [(DEMO, True)]
    assert played.only("policy")["preflight"] == "warn"
    plane = played.only("delete_crds")
    assert plane["delete_crds"] and plane["delete_namespace"] and plane["purge"]
    listed = playing("teardown", {"namespaces_enrolled": [{"name": "theirs"}]})
    assert [(asked["name"], asked["delete"]) for asked in listed.of("injection", "name")] == [("theirs", False)]


@pytest.mark.long
def test_the_teardowns_own_switches_win(playing):
    own = {"site_delete_namespaces": False, "site_delete_crds": False, "site_purge": False}
    played = playing("teardown", {**own, "control_plane_delete_crds": True, "namespaces_delete": True})
    assert not played.only("delete_crds")["delete_crds"] and not played.of("injection", "name")[0]["delete"]


@pytest.mark.parametrize(
    ("variables", "namespace"),
    [
        ({}, "istio-system"),
        ({"control_plane_namespace": "istio-infra"}, "istio-infra"),
        ({"upgrade_namespace": "theirs"}, "theirs"),
    ],
)
def test_an_upgrade_is_of_the_control_plane_that_the_variables_name(playing, variables, namespace):
    played = playing("upgrade", variables)
    assert played.only("notes")["namespace"] == namespace, "the checkpoint of the upgrade"
    assert "There is no control plane to upgrade" in played.text


def test_a_state_of_webhooks_has_to_be_said(playing):
    assert "Set webhooks_state to open or closed." in playing("webhooks", {}).text
    assert playing("webhooks", {"webhooks_state": "open"}).of("force", "istio_namespace")[0]["state"] == "open"
    assert (
        playing("webhooks", {"webhooks_state": "closed"}, "command line").of("force", "istio_namespace")[0]["state"]
        == "closed"
    )
