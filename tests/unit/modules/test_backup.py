# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import copy
import json

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.planning.applyset import PART_OF, ObjectSet
from builders import config, definition, deployment, istio, namespace, secret
from memory_api import MemoryApi

ROUTE, ROUTES = (
    istio("VirtualService", "web", hosts=["web"], http=[{"route": [{"destination": {"host": "web"}}]}]),
    "configuration/shop/VirtualService.networking.istio.io.yaml",
)
KEY = "private-key-nobody-sees"


@pytest.fixture
def api():
    memory = MemoryApi(*[namespace(name) for name in ("kube-system", "istio-system", "shop", "other")])
    memory.put(ROUTE)
    return memory


@pytest.fixture
def backup(run, tmp_path):
    return lambda check=False, **options: run("backup", check=check, **{"dest": str(tmp_path / "kept"), **options})


@pytest.fixture
def kept(tmp_path):
    """kept() -> {name: text} of all files."""
    root = tmp_path / "kept"
    return lambda: {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def objects(text):
    return list(yaml.safe_load_all(text))


def index(kept):
    return yaml.safe_load(kept()["index.yaml"])


def actions(result):
    return {row["name"]: row["action"] for row in result["files"]}


def test_create_again_change_and_remove_each_also_in_check_mode(api, backup, kept):
    def check(expected):
        before, planned = kept(), backup(check=True)
        assert planned["changed"] and kept() == before
        done = backup()
        assert (done["changed"], done["diff"], actions(done)) == (True, planned["diff"], expected)
        again, text = backup(), kept()
        assert (
            (again["changed"], again["diff"]) == (False, [])
            and kept() == text
            and set(actions(again).values()) <= {"unchanged"}
        )

    check({ROUTES: "created"})
    api.put(istio("VirtualService", "web", hosts=["web", "www"], http=ROUTE["spec"]["http"]))
    api.put(istio("DestinationRule", "web", host="web"))
    check({ROUTES: "configured", "configuration/shop/DestinationRule.networking.istio.io.yaml": "created"})
    api.drop("DestinationRule", "web", "shop")
    check({ROUTES: "unchanged", "configuration/shop/DestinationRule.networking.istio.io.yaml": "pruned"})
    assert set(kept()) == {ROUTES, "index.yaml"} and api.writes() == []


def test_an_object_is_kept_as_its_users_wrote_it(api, backup, kept):
    mine = ObjectSet("routes", "shop").id
    metadata = {
        "name": "full",
        "namespace": "shop",
        "labels": {"team": "web", PART_OF: mine},
        "annotations": {"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    api.put(
        {
            **ROUTE,
            "metadata": {
                **metadata,
                "finalizers": ["a/b"],
                "ownerReferences": [{"kind": "App", "name": "a", "uid": "gone"}],
            },
            "status": {"seen": True},
        }
    )
    backup()
    full, bare = objects(kept()[ROUTES])
    assert full == {
        **ROUTE,
        "metadata": {"name": "full", "namespace": "shop", "labels": {"team": "web"}, "annotations": {"note": "x"}},
    }
    assert bare == ROUTE


def test_the_index_has_counts_versions_and_the_clusters_id(api, backup, kept):
    istiod = deployment(
        "istiod", "istio-system", "docker.io/istio/pilot:1.31.0", {"app": "istiod", "istio.io/rev": "1-31-0"}
    )
    api.put(istiod)
    api.put(istio("VirtualService", "b"))
    api.put(istio("AuthorizationPolicy", "a", "other", group="security.istio.io"))
    done = backup()
    uid = api.get("Namespace", "kube-system")["metadata"]["uid"]
    counts = {"VirtualService.networking.istio.io": 2, "AuthorizationPolicy.security.istio.io": 1}
    assert (done["counts"], done["cluster"]) == (counts, {"uid": uid, "version": "v1.36.3"})
    listed = index(kept)
    assert listed["complete"] is True and listed["objects"] == counts and listed["cluster"]["uid"] == uid
    assert listed["control_planes"] == [{"namespace": "istio-system", "revision": "1-31-0", "version": "1.31.0"}]
    assert listed["files"] == {ROUTES: 2, "configuration/other/AuthorizationPolicy.security.istio.io.yaml": 1}


def test_objects_that_others_make_anew_are_left_out_and_told(api, backup):
    owned = {"ownerReferences": [{"kind": "WorkloadGroup", "name": "vm", "uid": "u", "controller": True}]}
    api.put(istio("WorkloadEntry", "auto", **owned))
    api.put(istio("GatewayClass", "istio", "", group="gateway.networking.k8s.io"), manager="pilot-discovery")
    api.put(istio("DestinationRule", "going", deletionTimestamp="2026-01-01T00:00:00Z"))
    done = backup(gateway_api=True)
    assert [row["ref"] for row in done["left_out"]] == [
        "GatewayClass istio",
        "DestinationRule shop/going",
        "WorkloadEntry shop/auto",
    ]
    assert done["counts"] == {"VirtualService.networking.istio.io": 1}


def test_gateway_api_mesh_configuration_and_secrets_are_kept_when_asked_for(api, backup, kept):
    api.put(istio("HTTPRoute", "web", group="gateway.networking.k8s.io"))
    api.put(deployment("istiod", "istio-system", "pilot:1", {"app": "istiod", "istio.io/rev": "canary"}))
    api.put(config("istio-canary", "istio-system", mesh="accessLogFile: /dev/stdout\nenableTracing: true\n"))
    api.put(config("istio", "istio-system", mesh="of no istiod"))
    api.put(secret("cacerts", "istio-system", {"ca-key.pem": KEY}))
    api.put(secret("tls", "shop", {"tls.key": KEY}), manager="pilot-discovery")
    backup()
    assert set(kept()) == {ROUTES, "index.yaml"}
    backup(gateway_api=True, mesh_config=True, secrets=["cacerts", "shop/tls"])
    files = kept()
    assert set(files) - {ROUTES, "index.yaml"} == {
        "configuration/shop/HTTPRoute.gateway.networking.k8s.io.yaml", "mesh_config/istio-system/ConfigMap.yaml", "secrets/istio-system/Secret.yaml",
        "secrets/shop/Secret.yaml",
    }  # fmt: skip
    assert (
        "  mesh: |\n    accessLogFile: /dev/stdout\n    enableTracing: true\n"
        in files["mesh_config/istio-system/ConfigMap.yaml"]
    ), "its lines can be read"
    assert [obj["metadata"]["name"] for obj in objects(files["mesh_config/istio-system/ConfigMap.yaml"])] == [
        "istio-canary"
    ]
    assert base64.b64decode(objects(files["secrets/shop/Secret.yaml"])[0]["data"]["tls.key"]).decode() == KEY


def test_secrets_are_for_their_owner_alone_and_no_value_of_them_shows(api, backup, tmp_path):
    api.put(secret("cacerts", "istio-system", {"ca-key.pem": KEY}))
    shown = [backup(check=True, secrets=["cacerts"]), backup(secrets=["cacerts"])]
    path = tmp_path / "kept/secrets/istio-system/Secret.yaml"
    assert path.stat().st_mode & 0o777 == 0o600 and base64.b64encode(KEY.encode()).decode() in path.read_text()
    api.put(secret("cacerts", "istio-system", {"ca-key.pem": f"another {KEY}"}))
    changed = backup(secrets=["cacerts"])
    (entry,) = [entry for entry in changed["diff"] if "secrets/" in entry["before_header"]]
    assert "(hidden)" in entry["before"] and "(hidden, another value)" in entry["after"]
    path.write_text("data: [not what we wrote")
    shown += [changed, backup(secrets=["cacerts"]), backup()]
    for value in (KEY, f"another {KEY}"):
        assert not any(word in json.dumps(shown) for word in (value, base64.b64encode(value.encode()).decode()))


def test_a_secret_that_is_not_there_is_a_warning(backup):
    done = backup(secrets=["cacerts"])
    assert "Secret istio-system/cacerts does not exist" in str(done["warnings"]) and "failed" not in done


def test_what_only_the_backup_still_has_is_not_thrown_away(runner, api, tmp_path):
    api.put(secret("cacerts", "istio-system", {"ca-key.pem": KEY}))
    dest = {"dest": str(tmp_path / "kept"), "secrets": ["cacerts"]}
    assert runner(api, "backup", **dest)["changed"]
    before = {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*.yaml")}
    bare = MemoryApi(without=("VirtualService",))
    bare.objects = copy.deepcopy(api.objects)
    refused = runner(bare, "backup", **dest)
    assert refused["failure"]["code"] == "would_be_lost" and "1 VirtualService.networking.istio.io" in refused["msg"]
    api.drop("Secret", "cacerts", "istio-system")
    refused = runner(api, "backup", **dest)
    assert refused["failure"]["code"] == "would_be_lost" and "Secret istio-system/cacerts" in refused["msg"]
    assert {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*.yaml")} == before
    assert runner(api, "backup", dest=dest["dest"])["changed"], "it is no longer asked for"


def test_without_prune_what_is_gone_stays_also_when_all_is_gone(runner, api, backup, kept):
    api.put(deployment("istiod", "istio-system", "pilot:1.31.0", {"app": "istiod"}))
    api.put(config("istio", "istio-system", mesh="a: b"))
    api.put(secret("cacerts", "istio-system", {"ca-key.pem": KEY}))
    options = {"prune": False, "mesh_config": True, "secrets": ["cacerts"]}
    backup(**options)
    first = kept()
    api.drop("VirtualService", "web", "shop")
    api.put(istio("VirtualService", "later"))
    assert backup(**options)["changed"]
    assert [obj["metadata"]["name"] for obj in objects(kept()[ROUTES])] == ["later", "web"] and index(kept)["files"][
        ROUTES
    ] == 2
    for kind, name, place in (
        ("VirtualService", "later", "shop"),
        ("Deployment", "istiod", "istio-system"),
        ("ConfigMap", "istio", "istio-system"),
        ("Secret", "cacerts", "istio-system"),
    ):
        api.drop(kind, name, place)
    before = kept()
    again = backup(**options)
    assert (
        not again["changed"]
        and kept() == before
        and set(before) == set(first)
        and "not there" not in str(again.get("warnings"))
    )
    assert index(kept)["control_planes"][0]["version"] == "1.31.0"


def test_without_prune_what_changed_is_as_it_is_now(api, backup, kept):
    backup()
    api.put(istio("VirtualService", "web", hosts=["www"], http=[]))
    assert backup(prune=False)["changed"] and [obj["spec"]["hosts"] for obj in objects(kept()[ROUTES])] == [["www"]]


def test_the_backup_of_another_cluster_is_left_alone(runner, api, backup, kept):
    backup()
    before = kept()
    other = MemoryApi(namespace("first"), namespace("kube-system"))
    refused = runner(other, "backup", dest=backup(check=True)["dest"])
    assert refused["failure"]["code"] == "other_cluster" and kept() == before


def test_a_folder_with_other_files_is_refused_and_one_in_git_is_not(backup, tmp_path):
    (tmp_path / "kept/.git").mkdir(parents=True)
    assert "failed" not in backup(check=True)
    (tmp_path / "kept/notes.txt").write_text("mine")
    assert backup()["failure"]["code"] == "not_ours"
    (tmp_path / "kept/index.yaml").write_text("files: {notes.txt: 1}\n")
    refused = backup()
    assert refused["failure"]["code"] == "not_ours" and (tmp_path / "kept/notes.txt").read_text() == "mine"


def test_a_strangers_file_beside_ours_survives(api, backup, tmp_path):
    backup()
    (tmp_path / "kept/configuration/shop/README").write_text("mine")
    api.drop("VirtualService", "web", "shop")
    assert backup()["changed"] and (tmp_path / "kept/configuration/shop/README").read_text() == "mine"
    assert not (tmp_path / "kept" / ROUTES).exists()


@pytest.mark.parametrize("name", ["../outside.yaml", "/etc/outside.yaml"])
def test_an_index_that_was_tampered_with_deletes_nothing_outside(backup, tmp_path, name):
    backup()
    (tmp_path / "outside.yaml").write_text("mine")
    path = tmp_path / "kept/index.yaml"
    path.write_text(path.read_text().replace(ROUTES, name))
    assert backup()["failure"]["code"] == "unsafe_path" and (tmp_path / "outside.yaml").read_text() == "mine"


def test_a_backup_that_was_cut_off_says_so_and_the_next_run_ends_it(api, backup, kept, tmp_path, monkeypatch):
    from ansible_collections.servicemesh.istio.plugins.module_utils._engine.files import managed_directory

    write, written = managed_directory.write_text, []

    def killed(path, text, mode):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        write(path, text, mode)

    monkeypatch.setattr(managed_directory, "write_text", killed)
    assert backup()["failure"]["code"] == "host" and index(kept)["complete"] is False
    monkeypatch.setattr(managed_directory, "write_text", write)
    assert backup()["changed"] and index(kept)["complete"] is True and not backup()["changed"]


def test_a_file_that_somebody_edited_is_told_and_put_right(backup, tmp_path):
    backup()
    path = tmp_path / "kept" / ROUTES
    before = path.read_text()
    path.write_text(before + "# a note\n")
    done = backup()
    assert (
        actions(done) == {ROUTES: "configured"}
        and "# a note" in done["diff"][0]["before"]
        and path.read_text() == before
    )


@pytest.mark.parametrize("secrets", ["../configmaps/x", "a/b/c", "Name Space/x", "/x"])
def test_names_of_secrets_are_names(api, backup, secrets):
    refused = backup(secrets=[secrets])
    assert refused["failure"]["code"] == "invalid_option" and api.requests == []


def test_a_kind_that_may_not_be_listed_ends_the_backup(api, backup, tmp_path):
    api.faults[("GET", "/apis/security.istio.io/v1/authorizationpolicies")] = [
        ApiError(403, "Forbidden", "may not list authorizationpolicies")
    ]
    assert backup()["failure"]["code"] == "forbidden" and not (tmp_path / "kept").exists()


def test_definitions_are_not_configuration(api, backup):
    api.put(definition("virtualservices", "VirtualService", "networking.istio.io"))
    assert backup()["counts"] == {"VirtualService.networking.istio.io": 1}
