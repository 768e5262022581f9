# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.applyset import PART_OF
from builders import actions, deployment, istio, namespace, secret
from memory_api import MemoryApi

PLACES = ("kube-system", "istio-system", "shop", "other")
ROUTE = istio(
    "VirtualService", "web", hosts=["web"], http=[{"route": [{"destination": {"host": "web", "subset": "v1"}}]}]
)
KEY = "private-key-nobody-sees"


@pytest.fixture
def api():
    memory = MemoryApi(*map(namespace, PLACES))
    memory.put(ROUTE)
    memory.put(istio("DestinationRule", "web", host="web", subsets=[{"name": "v1"}]))
    memory.put(istio("AuthorizationPolicy", "allow", group="security.istio.io", action="ALLOW"))
    memory.put(istio("AuthorizationPolicy", "deny", group="security.istio.io", action="DENY"))
    return memory


@pytest.fixture
def src(run, tmp_path):
    assert run("backup", dest=str(tmp_path / "kept"))["changed"]
    return str(tmp_path / "kept")


@pytest.fixture
def restore(run, api, src):
    api.requests.clear()
    return lambda check=False, **options: run("restore", check=check, **{"src": src, **options})


def lose(api, *kinds):
    for _group, kind, place, name in list(api.objects):
        if kind in kinds:
            api.drop(kind, name, place)


KINDS = ("VirtualService", "DestinationRule", "AuthorizationPolicy")


def test_what_was_lost_comes_back_as_it_was_and_again_changes_nothing(api, restore):
    before = {key: obj["spec"] for key, obj in api.objects.items() if key[1] in KINDS}
    lose(api, *KINDS)
    planned = restore(check=True)
    assert planned["summary"]["created"] == 4 and api.writes() == []
    done = restore()
    assert actions(done) == actions(planned) and done["diff"] == planned["diff"]
    assert {key: obj["spec"] for key, obj in api.objects.items() if key[1] in KINDS} == before
    again = restore()
    assert not again["changed"] and again["summary"]["unchanged"] == 4
    assert not restore(check=True)["changed"]


def test_what_keeps_out_comes_first_and_routes_come_last(api, restore):
    lose(api, *KINDS)
    restore()
    order = [
        path.rpartition("/")[0].rpartition("/")[2] + "/" + path.rpartition("/")[2] for _method, path in api.writes()
    ]
    assert order[0] == "authorizationpolicies/deny" and order[-1] == "virtualservices/web"


def test_what_is_as_it_was_stays_with_its_owners(api, restore):
    before = json.dumps(list(api.objects.values()), sort_keys=True)
    done = restore()
    assert not done["changed"] and done["summary"]["unchanged"] == 4 and api.writes() == []
    assert json.dumps(list(api.objects.values()), sort_keys=True) == before


def test_what_others_changed_since_is_a_conflict_until_forced(api, restore):
    api.put(istio("VirtualService", "web", hosts=["www"], http=ROUTE["spec"]["http"]), manager="kubectl-edit")
    refused = restore()
    assert (
        refused["failure"]["code"] == "conflict"
        and ".spec.hosts is owned by kubectl-edit" in refused["msg"]
        and api.writes() == []
    )
    planned = restore(check=True)
    assert planned["changed"] and "conflict" in str(planned["warnings"])
    done = restore(force_conflicts=True)
    assert done["changed"] and api.get("VirtualService", "web", "shop")["spec"]["hosts"] == ["web"]
    assert actions(done)["deny"] == "unchanged" and not restore()["changed"]


def test_objects_that_came_after_the_backup_stay(api, restore):
    api.put(istio("VirtualService", "new"))
    assert not restore()["changed"] and api.get("VirtualService", "new", "shop")


def test_a_live_object_of_ours_stays_in_its_set(run, api, src):
    rule = istio("DestinationRule", "ours", host="a")
    assert run("manifests", set="rules", namespace="shop", definition=[rule])["changed"]
    assert run("backup", dest=src)["changed"]
    marked = api.get("DestinationRule", "ours", "shop")["metadata"]["labels"][PART_OF]
    assert run("restore", src=src)["changed"] is False
    rule["spec"]["host"] = "b"
    run("manifests", set="rules", namespace="shop", definition=[rule])
    assert actions(run("restore", src=src))["ours"] == "configured"
    live = api.get("DestinationRule", "ours", "shop")
    assert live["spec"]["host"] == "a" and live["metadata"]["labels"][PART_OF] == marked


def test_a_lost_object_of_ours_is_nobodys_member_until_its_own_run(run, api, src):
    rule = istio("DestinationRule", "ours", host="a")
    run("manifests", set="rules", namespace="shop", definition=[rule])
    run("backup", dest=src)
    api.drop("DestinationRule", "ours", "shop")
    run("restore", src=src)
    assert PART_OF not in api.get("DestinationRule", "ours", "shop")["metadata"].get("labels", {})
    assert run("manifests", set="rules", namespace="shop", definition=[rule])["changed"]
    assert PART_OF in api.get("DestinationRule", "ours", "shop")["metadata"]["labels"]


def other(*places, without=()):
    """Another cluster, whose kube-system is not the first thing in it."""
    return MemoryApi(*map(namespace, ("default", "kube-system", *places)), without=without)


def test_another_cluster_is_refused_until_it_is_named(runner, src):
    elsewhere = other("shop")
    for check in (True, False):
        refused = runner(elsewhere, "restore", check=check, src=src)
        assert (
            refused["failure"]["code"] == "other_cluster"
            and "to_other_cluster" in refused["failure"]["hint"]
            and elsewhere.writes() == []
        )
    assert runner(elsewhere, "restore", src=src, to_other_cluster=True)["summary"]["created"] == 4


def test_missing_kinds_are_told_at_once_and_in_check_mode_may_still_come(runner, src):
    elsewhere = other("shop", without=("VirtualService", "AuthorizationPolicy"))
    refused = runner(elsewhere, "restore", src=src, to_other_cluster=True)
    assert refused["failure"]["code"] == "unknown_kind" and elsewhere.writes() == []
    assert (
        "AuthorizationPolicy in security.istio.io/v1 (2)" in refused["msg"]
        and "VirtualService in networking.istio.io/v1 (1)" in refused["msg"]
    )
    planned = runner(elsewhere, "restore", check=True, src=src, to_other_cluster=True)
    assert planned["summary"]["created"] == 4 and "unknown_kind" in str(planned["warnings"])


def test_missing_namespaces_are_told_at_once(runner, src):
    elsewhere = other()
    refused = runner(elsewhere, "restore", src=src, to_other_cluster=True)
    assert (
        refused["failure"]["code"] == "namespace_missing"
        and "namespace shop does not exist" in refused["msg"]
        and elsewhere.writes() == []
    )
    assert "namespace_missing" in str(
        runner(elsewhere, "restore", check=True, src=src, to_other_cluster=True)["warnings"]
    )


def test_secrets_and_mesh_configuration_come_back_only_when_named(run, api, tmp_path):
    api.put(deployment("istiod", "istio-system", "pilot:1", {"app": "istiod"}))
    api.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": "a: b"},
        }
    )
    api.put(secret("istio-ca-secret", "istio-system", {"ca-key.pem": KEY}), manager="pilot-discovery")
    src = str(tmp_path / "kept")
    run("backup", dest=src, mesh_config=True, secrets=["istio-ca-secret"])
    lose(api, "Secret", "ConfigMap")
    assert not run("restore", src=src)["changed"]
    done = run("restore", src=src, parts=["secrets", "mesh_config"])
    assert actions(done) == {"istio-ca-secret": "created", "istio": "created"} and KEY not in json.dumps(done)
    assert (
        api.get("ConfigMap", "istio", "istio-system")["data"] == {"mesh": "a: b"}
        and api.get("Secret", "istio-ca-secret", "istio-system")["type"] == "Opaque"
    )


def test_an_authority_that_is_in_use_is_not_replaced_unasked(run, api, tmp_path):
    api.put(secret("istio-ca-secret", "istio-system", {"ca-key.pem": KEY}), manager="pilot-discovery")
    src = str(tmp_path / "kept")
    run("backup", dest=src, secrets=["istio-ca-secret"])
    api.put(
        secret("istio-ca-secret", "istio-system", {"ca-key.pem": "of the new control plane"}), manager="pilot-discovery"
    )
    refused = run("restore", src=src, parts=["secrets"])
    assert (
        refused["failure"]["code"] == "conflict"
        and "pilot-discovery" in refused["msg"]
        and KEY not in json.dumps(refused)
    )


def test_a_server_that_quotes_a_secret_is_not_repeated(run, api, tmp_path):
    api.put(secret("key", "shop", {"key": KEY}))
    src, value = str(tmp_path / "kept"), base64.b64encode(KEY.encode()).decode()
    run("backup", dest=src, secrets=["shop/key"])
    api.drop("Secret", "key", "shop")
    api.faults[("PATCH", "/api/v1/namespaces/shop/secrets/key?dryRun")] = [
        ApiError(422, "Invalid", f"data.key: {value} is too short")
    ]
    refused = run("restore", src=src, parts=["secrets"])
    assert (
        refused["failure"]["code"] == "invalid_object"
        and value not in json.dumps(refused)
        and KEY not in json.dumps(refused)
    )


@pytest.mark.parametrize("harm", ["gone", "shortened", "cut off"])
def test_half_of_a_backup_is_refused(api, restore, tmp_path, harm):
    lose(api, *KINDS)
    index, path = (
        tmp_path / "kept/index.yaml",
        tmp_path / "kept/configuration/shop/AuthorizationPolicy.security.istio.io.yaml",
    )
    if harm == "gone":
        path.unlink()
    elif harm == "shortened":
        path.write_text("---" + path.read_text().split("---")[1])
    else:
        index.write_text(index.read_text().replace("complete: true", "complete: false"))
    refused = restore()
    assert refused["failure"]["code"] == "backup_incomplete" and api.writes() == []


def test_what_somebody_edited_in_the_files_is_what_comes(api, restore, tmp_path):
    path = tmp_path / "kept/configuration/shop/VirtualService.networking.istio.io.yaml"
    edited = yaml.safe_load(path.read_text())
    edited["spec"]["hosts"] = ["edited"]
    path.write_text(yaml.safe_dump(edited))
    lose(api, "VirtualService")
    restore()
    assert api.get("VirtualService", "web", "shop")["spec"]["hosts"] == ["edited"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "invalid_option"),
        ("a: [", "not_ours"),
        ("- 1", "not_ours"),
        ("format: servicemesh.istio.backup/v1", "not_ours"),
        ("format: servicemesh.istio.backup/v2", "not_ours"),
        ("", "not_ours"),
    ],
)
def test_a_folder_that_is_no_backup_is_told(run, api, tmp_path, text, code):
    if text is not None:
        (tmp_path / "index.yaml").write_text(text)
    api.requests.clear()
    assert run("restore", src=str(tmp_path))["failure"]["code"] == code and api.requests == []


def test_a_file_that_does_not_parse_is_named_and_nothing_of_it_shown(api, restore, tmp_path):
    path = tmp_path / "kept/configuration/shop/VirtualService.networking.istio.io.yaml"
    path.write_text(f"a: [{KEY}")
    refused = restore()
    assert (
        refused["failure"]["code"] == "invalid_option"
        and "VirtualService.networking.istio.io.yaml" in refused["msg"]
        and KEY not in json.dumps(refused)
    )
