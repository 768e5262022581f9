# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Method helm: the plan is ours, the writing is Helm's. The real Helm is shown on the lab."""

from __future__ import annotations

import builders
import fake_helm
import fake_istioctl
import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.install import helm
from builders import actions
from memory_api import MemoryApi

HOME = "istio-system"


@pytest.fixture
def api():
    memory = MemoryApi(builders.namespace("shop"))
    memory.controllers["MutatingWebhookConfiguration"] = fake_istioctl.arm
    return memory


@pytest.fixture
def fake(api, monkeypatch):
    found = fake_helm.FakeHelm(api)
    monkeypatch.setattr(
        helm.Helm, "_run", lambda _self, arguments, text="", timeout=0: found.run(arguments, text, timeout)
    )
    monkeypatch.setattr(helm.Helm, "upgrade", lambda _self, *arguments: found.upgrade(*arguments))
    monkeypatch.setattr(helm.Helm, "uninstall", lambda _self, *arguments: found.uninstall(*arguments))
    return found


@pytest.fixture
def charts(tmp_path):
    return fake_helm.write_charts(tmp_path / "charts")


@pytest.fixture
def plane(run, fake, charts):
    return lambda check=False, **options: run(
        "control_plane", check=check, **{"method": "helm", "helm": "/bin/sh", "charts": str(charts), **options}
    )


def left(api):
    return {(kind, name) for _group, kind, _place, name in api.objects}


def test_create_again_change_and_remove_each_also_in_check_mode(api, fake, plane):
    planned = plane(check=True)
    assert planned["changed"] and api.writes() == [] and fake.calls == []
    done = plane()
    assert done["changed"] and actions(done) == actions(planned) and done["version"] == "1.31.0"
    assert fake.calls == [("upgrade", "istio-base"), ("upgrade", "istiod"), ("upgrade", "istio-ingressgateway")]
    assert actions(done)["sh.helm.release.v1.istiod.v1"] == "created"
    fake.calls.clear()
    for check in (True, False):
        again = plane(check=check)
        assert not again["changed"] and again["diff"] == [] and again["summary"]["dry_runs"] == 0, again["objects"]
    assert fake.calls == []
    change = {"mesh_config": {"accessLogFile": "/dev/stdout"}}
    planned = plane(check=True, **change)
    done = plane(**change)
    assert actions(done) == actions(planned) and fake.calls == [("upgrade", "istiod")]
    assert {name for name, action in actions(done).items() if action != "unchanged"} == {
        "istio",
        "sh.helm.release.v1.istiod.v2",
    }
    assert not plane(**change)["changed"]
    fake.calls.clear()
    planned = plane(check=True, state="absent")
    assert fake.calls == [] and planned["changed"]
    gone = plane(state="absent")
    assert actions(gone) == actions(planned)
    assert fake.calls == [("uninstall", "istio-ingressgateway"), ("uninstall", "istiod"), ("uninstall", "istio-base")]
    assert left(api) == {
        ("Namespace", "shop"),
        ("Namespace", HOME),
        ("CustomResourceDefinition", "gateways.networking.istio.io"),
    }
    assert not plane(state="absent")["changed"]


def test_all_of_it_goes_where_that_is_said(api, plane):
    plane()
    assert plane(state="absent", delete_crds=True, delete_namespace=True)["changed"] and left(api) == {
        ("Namespace", "shop")
    }


def test_what_somebody_edited_is_seen_and_put_right(api, fake, plane):
    plane()
    api.get("ConfigMap", "istio", HOME)["data"]["mesh"] = "edited"
    api.get("ConfigMap", "istio", HOME)["data"]["more"] = "left alone: Helm would not touch it either"
    fake.calls.clear()
    planned = plane(check=True)
    assert [entry["before"] for entry in planned["diff"]][0] == "data:\n  mesh: edited\n"
    assert plane()["changed"] and fake.calls == [("upgrade", "istiod")] and not plane()["changed"]


def test_what_somebody_else_owns_is_a_conflict_until_forced(api, fake, plane):
    plane()
    kept = api.get("ConfigMap", "istio", HOME)
    for entry in kept["metadata"]["managedFields"]:
        entry["manager"] = "kubectl-patch" if entry["manager"] == "helm" else entry["manager"]
    kept["data"]["mesh"] = "edited"
    fake.calls.clear()
    refused = plane()
    assert (
        refused["failure"]["code"] == "conflict"
        and "data.mesh is owned by kubectl-patch" in refused["msg"]
        and fake.calls == []
    )
    planned = plane(check=True)
    assert planned["changed"] and "conflict" in str(planned["warnings"])
    assert plane(force_conflicts=True)["changed"] and fake.calls == [("upgrade", "istiod")] and not plane()["changed"]


def test_what_a_release_has_no_more_is_told_before_helm_deletes_it(api, fake, plane, monkeypatch):
    rendered = fake_helm._rendered
    more = fake_helm._obj("v1", "ConfigMap", "surplus", HOME)
    monkeypatch.setattr(
        fake_helm,
        "_rendered",
        lambda release, upgrade: rendered(release, upgrade) + ([more] if release.name == "istiod" else []),
    )
    plane()
    monkeypatch.setattr(fake_helm, "_rendered", rendered)
    plane_again = plane(check=True, values={"pilot": {}})
    assert actions(plane_again)["surplus"] == "pruned"
    assert actions(plane(values={"pilot": {}}))["surplus"] == "pruned" and api.get("ConfigMap", "surplus", HOME) is None


def test_other_values_are_a_new_revision_even_where_no_object_differs(fake, plane):
    plane()
    done = plane(values={"pilot": {"unused": 1}})
    assert {name: action for name, action in actions(done).items() if action != "unchanged"} == {
        "sh.helm.release.v1.istiod.v2": "created"
    }


def test_a_helm_that_was_killed_is_taken_up_by_the_next_run(api, fake, plane):
    plane()
    fake.fails = {"istiod"}
    broken = plane(mesh_config={"a": "b"})
    assert broken["failure"]["code"] == "helm" and broken["changed"], "the record was written"
    fake.fails = set()
    assert plane(mesh_config={"a": "b"})["changed"] and not plane(mesh_config={"a": "b"})["changed"]


def test_a_newer_base_stays(api, fake, plane, tmp_path):
    plane()
    fake.calls.clear()
    older = fake_helm.write_charts(tmp_path / "older", "1.30.4")
    done = plane(charts=str(older), revision="older", gateways=[])
    assert done["changed"] and fake.calls == [("upgrade", "istiod-older")]


def test_gateways_are_releases_in_namespaces_of_their_own(api, fake, plane):
    gateways = [
        {"name": "edge", "namespace": "edge", "service_type": "NodePort"},
        {"name": "inside", "values": {"service": {"type": "ClusterIP"}}},
    ]
    plane(gateways=gateways)
    assert api.get("Namespace", "edge") and api.get("Service", "edge", "edge")["spec"]["type"] == "NodePort"
    assert api.get("Service", "inside", HOME)["spec"]["type"] == "ClusterIP"
    assert not plane(gateways=gateways)["changed"]


def test_a_gateway_that_left_the_list_goes_also_where_secrets_may_be_listed_by_namespace_only(api, fake, plane):
    edges = [{"name": "edge", "namespace": "shop"}, {"name": "inner"}]
    plane(gateways=edges)
    api.faults[("GET", "/api/v1/secrets")] = [ApiError(403, "Forbidden", "no")] * 9
    kept = plane(check=True, gateways=edges[:1])
    assert {name: action for name, action in actions(kept).items() if action == "pruned"} == {
        "inner": "pruned",
        "sh.helm.release.v1.inner.v1": "pruned",
    }
    plane(gateways=edges[:1])
    assert ("Deployment", "inner") not in left(api) and ("Deployment", "edge") in left(api)
    assert not plane(gateways=edges[:1])["changed"]


def test_a_gateway_that_another_revision_took_over_stays_with_it(api, plane):
    plane(revision="old")
    plane(revision="new")
    assert not plane(revision="new")["changed"]
    plane(revision="old", state="absent")
    assert ("Deployment", "istio-ingressgateway") in left(api) and ("Deployment", "istiod-old") not in left(api)
    plane(revision="new", leave_gateways=True, gateways=[])
    assert ("Deployment", "istio-ingressgateway") in left(api)
    plane(revision="new", state="absent", gateways=[])
    assert ("Deployment", "istio-ingressgateway") not in left(api)


def test_what_the_values_say_of_a_gateway_holds_for_its_chart(api, plane):
    values = {
        "gateways": {"istio-ingressgateway": {"type": "NodePort", "autoscaleEnabled": False}},
        "global": {"imagePullPolicy": "IfNotPresent"},
    }
    plane(values=values)
    kept = helm.helm_revisions(Cluster(api), "istio-ingressgateway", HOME)[-1].values
    assert kept == {
        "service": {"type": "NodePort"},
        "autoscaling": {"enabled": False},
        "imagePullPolicy": "IfNotPresent",
    }
    assert "gateways" not in helm.helm_revisions(Cluster(api), "istiod", HOME)[-1].values
    refused = plane(values={"gateways": {"istio-ingressgateway": {"secretVolumes": []}}})
    assert (
        refused["failure"]["code"] == "invalid_option"
        and "gateways.istio-ingressgateway.secretVolumes" in refused["msg"]
    )


def test_helm_is_given_values_that_name_other_registries_and_pull_secrets(api, fake, plane):
    options = {"registries": {"docker.io": "m.example.com/hub"}, "pull_secrets": ["key"]}
    assert plane(**options)["changed"] and not plane(**options)["changed"]
    kept = {
        name: helm.helm_revisions(Cluster(api), name, HOME)[-1].values
        for name in ("istio-base", "istiod", "istio-ingressgateway")
    }
    assert kept["istiod"]["global"] == {
        "istioNamespace": HOME,
        "hub": "m.example.com/hub/istio",
        "imagePullSecrets": ["key"],
    }
    assert kept["istio-base"]["global"]["imagePullSecrets"] == ["key"] and kept["istio-ingressgateway"] == {}
    containers = [
        api.get("Deployment", name, HOME)["spec"]["template"]["spec"]["containers"][0]["image"]
        for name in ("istiod", "istio-ingressgateway")
    ]
    assert containers == ["m.example.com/hub/istio/pilot:1.31.0", "auto"]
    assert plane(hub="quay.io/istio", **options)["changed"], "a hub of no such registry is the user's"
    assert helm.helm_revisions(Cluster(api), "istiod", HOME)[-1].values["global"]["hub"] == "quay.io/istio"


def test_gateways_move_by_the_values_that_they_are_given(api, plane):
    given = [{"name": "edge", "values": {"additionalContainers": [{"name": "logs", "image": "busybox:1"}]}}]
    plane(gateways=given, registries={"docker.io": "m.example.com/hub"})
    moved = helm.helm_revisions(Cluster(api), "edge", HOME)[-1].values["additionalContainers"]
    assert moved == [{"name": "logs", "image": "m.example.com/hub/library/busybox:1"}]


def test_an_image_that_no_value_moves_is_refused_before_anything_is_written(api, fake, plane):
    refused = plane(values={"pilot": {"beside": ["busybox:1"]}}, registries={"docker.io": "m.example.com/hub"})
    assert (
        refused["failure"]["code"] == "invalid_option"
        and "busybox:1 of Deployment istio-system/istiod, container beside" in refused["msg"]
    )
    assert api.writes() == [] and fake.calls == []


def test_charts_that_do_not_say_their_hub_need_one(api, plane, charts):
    (charts / "istio-control/istio-discovery/values.yaml").write_text("{}")
    refused = plane(registries={"*": "m.example.com"})
    assert refused["failure"]["code"] == "invalid_option" and refused["msg"].startswith(
        "hub: is required with registries"
    )
    assert plane(registries={"*": "m.example.com"}, hub="docker.io/istio")["changed"] and "failed" not in plane()


def test_gateways_that_istiod_makes_are_set_by_its_own_chart(api, plane):
    seccomp = {"type": "RuntimeDefault"}
    plane(values={"gateways": {"seccompProfile": seccomp, "istio-ingressgateway": {"type": "NodePort"}}})
    assert helm.helm_revisions(Cluster(api), "istiod", HOME)[-1].values["gateways"] == {"seccompProfile": seccomp}


def test_from_istioctl_to_helm_and_back_nothing_is_deleted_but_records(run, api, fake, plane, tmp_path):
    istioctl = str(fake_istioctl.write(tmp_path))
    run("control_plane", istioctl=istioctl)
    uid = {key: obj["metadata"]["uid"] for key, obj in api.objects.items()}
    planned = plane(check=True, adopt=True, gateways=[])
    done = plane(adopt=True, gateways=[])
    assert actions(done) == actions(planned)
    assert (
        next(
            row["action"]
            for row in done["objects"]
            if (row["ref"]["kind"], row["ref"]["name"]) == ("Deployment", "istiod")
        )
        == "configured"
    )
    istiod = api.get("Deployment", "istiod", HOME)
    assert {entry["manager"] for entry in istiod["metadata"]["managedFields"]} == {
        "helm"
    } and "applyset.kubernetes.io/part-of" not in istiod["metadata"]["labels"]
    assert api.get("MutatingWebhookConfiguration", "istio-revision-tag-default") is None
    assert not plane(gateways=[])["changed"]
    back = run("control_plane", istioctl=istioctl, adopt=True)
    assert back["changed"] and actions(back)["sh.helm.release.v1.istiod.v1"] == "pruned"
    assert not run("control_plane", istioctl=istioctl)["changed"]
    kept = {key for key in uid if key in api.objects and api.objects[key]["metadata"]["uid"] == uid[key]}
    assert {name for _group, _kind, _place, name in kept} >= {
        "istiod",
        "istio-reader-service-account",
        "gateways.networking.istio.io",
        "istio-sidecar-injector",
    }


def test_what_helm_did_not_make_is_refused_before_anything_is_written(run, api, fake, plane, tmp_path):
    run("control_plane", istioctl=str(fake_istioctl.write(tmp_path)))
    api.requests.clear()
    for check in (True, False):
        refused = plane(check=check)
        assert (
            refused["failure"]["code"] == "not_helms"
            and "was not created by Helm" in refused["msg"]
            and "adopt" in refused["failure"]["hint"]
        )
    assert api.writes() == [] and fake.calls == []


def test_what_helm_keeps_is_removed_by_helm_alone(run, api, plane):
    plane()
    refused = run("control_plane", state="absent")
    assert (
        refused["failure"]["code"] == "wrong_method"
        and not refused["changed"]
        and api.get("Deployment", "istiod", HOME)
    )


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"profile": "nope"}, "unknown_profile", "'nope' is not a profile of the charts"),
        ({"charts": "/nowhere"}, "invalid_option", "/nowhere contains no Istio charts"),
        ({"helm": "/nowhere/helm"}, "invalid_option", "/nowhere/helm is not an executable file"),
        ({"overlays": {"pilot": []}}, "invalid_option", "overlays: not supported with method helm"),
        (
            {"components": {"pilot": {"enabled": False}}},
            "invalid_option",
            "pilot has settings that method helm does not support",
        ),
        ({"values": {"nonsense": 1}}, "invalid_values", "nonsense"),
        (
            {"values": {"pilot": {"autoscaleEnable": False}}},
            "unknown_value",
            "do not use pilot.autoscaleEnable. Did you mean pilot.autoscaleEnabled?",
        ),
        (
            {"values": {"global": {"proxy": {"loglevel": "debug"}}, "glob": {}}},
            "unknown_value",
            "global.proxy.loglevel, glob. Did you mean global.proxy.logLevel, global?",
        ),
        ({"values": {"global": {"autoscaleEnabled": False}}}, "unknown_value", "Did you mean autoscaleEnabled?"),
        ({"values": {"zzzz": 1}}, "unknown_value", "do not use zzzz. Remove them."),
        ({"charts": None}, "invalid_option", "is required with method helm"),
    ],
)
def test_bad_options_have_a_code_and_write_nothing(api, fake, plane, options, code, words):
    result = plane(**options)
    assert result["failure"]["code"] == code and words in result["msg"], result
    assert api.writes() == [] and fake.calls == []


def test_what_a_template_takes_as_a_whole_may_hold_anything(plane):
    values = {
        "pilot": {"resources": {"limits": {"cpu": "2"}}},
        "meshConfig": {"anything": {"at": "all"}},
        "global": {"proxy": {"logLevel": "info"}},
    }
    assert plane(values=values)["changed"]


def test_a_helm_of_an_unknown_major_version_is_refused(api, fake, plane, monkeypatch):
    monkeypatch.setattr(helm.Helm, "_run", lambda *_: "v5.0.0")
    assert plane()["failure"]["code"] == "unknown_helm" and api.writes() == []


def test_a_release_in_use_stays_and_its_own_gateways_are_no_users(api, fake, plane):
    plane()
    for name, place in (("istio-ingressgateway", HOME), ("web", "shop")):
        proxied = builders.pod(name, place, {"app": name}, sidecar="container")
        proxied["metadata"]["annotations"] = {"istio.io/rev": "default"}
        api.put(proxied)
    fake.calls.clear()
    refused = plane(state="absent")
    assert refused["failure"]["code"] == "revision_in_use" and "pods: 1 (shop 1)" in refused["msg"] and fake.calls == []
    done = plane(state="absent", delete_in_use=True)
    assert done["changed"] and [row["ref"] for row in done["leftovers"] if row["ref"].startswith("Pod")] == [
        "Pod shop/web"
    ]


def test_what_istioctls_rendering_made_is_not_thought_gone(run, api, fake, plane, tmp_path):
    run("control_plane", istioctl=str(fake_istioctl.write(tmp_path)))
    assert plane(state="absent")["failure"]["code"] == "not_ours" and api.get("Deployment", "istiod", HOME)


def test_users_objects_go_before_definitions_that_helm_made(api, plane):
    plane()
    api.put(builders.istio("Gateway", "front"))
    done = plane(state="absent", delete_crds=True)
    assert (
        "Gateway 1" in str(done["warnings"])
        and actions(done)["front"] == "pruned"
        and api.get("Gateway", "front", "shop") is None
    )


def test_helm_is_looked_up_on_path_where_none_is_given(run, fake, charts, monkeypatch, tmp_path):
    options = {"method": "helm", "charts": str(charts)}
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    refused = run("control_plane", check=True, **options)
    assert refused["failure"]["code"] == "invalid_option" and refused["msg"].startswith(
        "helm: helm is not on PATH where this task runs."
    )
    assert "Set the option helm" in refused["msg"] and "install it on PATH" in refused["msg"]
    for name in ("helm", "helm-4"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    assert run("control_plane", check=True, **options)["changed"]
    assert run("control_plane", check=True, helm="helm-4", **options)["changed"], "a name is looked up there, too"
    assert (
        "/nowhere/helm is not an executable file"
        in run("control_plane", check=True, helm="/nowhere/helm", **options)["msg"]
    ), "a given path wins"
