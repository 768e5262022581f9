# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json
from pathlib import Path

import builders
import fake_istioctl
import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from builders import actions
from memory_api import MemoryApi, ready

INJECTOR, TAG = "istio-sidecar-injector", "istio-revision-tag-default"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@pytest.fixture
def api():
    """A cluster without any mesh, in which an istiod arms its webhooks at once."""
    memory = MemoryApi(builders.namespace("shop"))
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        memory.controllers[kind] = fake_istioctl.arm
    return memory


@pytest.fixture(scope="module")
def renderings(tmp_path_factory):
    """Kept for all tests that do not count calls: most of them want the same two."""
    return tmp_path_factory.mktemp("renderings")


@pytest.fixture
def istioctl(run, tmp_path, renderings):
    (tmp_path / "cache").symlink_to(renderings)
    return str(fake_istioctl.write(tmp_path))


@pytest.fixture
def nothing_kept(istioctl, tmp_path):
    (tmp_path / "cache").unlink()


@pytest.fixture
def plane(run, istioctl):
    return lambda check=False, **options: run("control_plane", check=check, istioctl=istioctl, **options)


def place(api, name):
    """Number of the write that made an object."""
    return next(number for number, (_method, path) in enumerate(api.writes()) if path.endswith(f"/{name}"))


def test_create_change_and_delete_each_also_in_check_mode_and_again(run, api, plane):
    changed = {"mesh_config": {"accessLogFile": "/dev/stdout"}}
    for options, action in (({}, "created"), (changed, "configured")):
        before = copy.deepcopy(api.objects)
        planned = plane(check=True, **options)
        assert planned["changed"] and api.objects == before
        done = plane(**options)
        assert (done["changed"], done["version"], actions(done)["istio"]) == (True, "1.31.0", action)
        assert {row["header"] for row in heads(done)} == {row["header"] for row in heads(planned)}
        again = plane(**options)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)
    assert api.get("ConfigMap", "istio", "istio-system")["data"]["mesh"] == '{"accessLogFile": "/dev/stdout"}'
    before = copy.deepcopy(api.objects)
    assert run("control_plane", check=True, state="absent")["changed"] and api.objects == before
    assert run("control_plane", state="absent")["changed"]
    assert (
        api.get("Deployment", "istiod", "istio-system") is None and api.get("MutatingWebhookConfiguration", TAG) is None
    )
    assert not run("control_plane", state="absent")["changed"]


def heads(result):
    return [
        {"header": part["after_header"]}
        for part in result["diff"]
        if "ConfigMap istio-system/istio-control-plane" not in part["after_header"]
    ]


def test_namespace_then_istiod_then_webhooks_then_gateways(api, plane):
    assert plane()["changed"]
    order = ["istio-system", "gateways.networking.istio.io", "istiod", INJECTOR, "istio-ingressgateway"]
    assert [place(api, name) for name in order] == sorted(place(api, name) for name in order)
    assert place(api, TAG) > max(
        number for number, (_m, path) in enumerate(api.writes()) if path.endswith("/deployments/istiod")
    )


def test_barriers_say_what_was_seen(plane):
    assert plane()["verified"] == [f"webhooks have their CA: {INJECTOR}, {TAG}"]


def stuck(obj):
    """A Deployment that has given up."""
    obj["status"] = {
        "observedGeneration": 1,
        "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
    }


def test_no_webhook_is_written_before_istiod_is_ready(api, plane):
    api.controllers["Deployment"] = stuck
    result = plane()
    assert result["failure"]["code"] == "progress_deadline" and result["failure"]["ref"]["name"] == "istiod"
    assert api.get("Deployment", "istiod", "istio-system")
    assert (
        api.get("MutatingWebhookConfiguration", INJECTOR) is None
        and api.get("Deployment", "istio-ingressgateway", "istio-system") is None
    )
    assert actions(result)[INJECTOR] == "pending"
    # The next run goes on from there.
    api.controllers["Deployment"] = ready
    ready(api.objects[("apps", "Deployment", "istio-system", "istiod")])
    assert plane()["changed"] and api.get("Deployment", "istio-ingressgateway", "istio-system")


def test_gateways_wait_until_the_webhooks_hold_a_ca(api, plane):
    del api.controllers["MutatingWebhookConfiguration"]
    # Rendered before, so that the time is for waiting.
    plane(check=True)
    result = plane(wait_timeout=2)
    assert result["failure"]["code"] == "webhook_not_armed" and INJECTOR in result["msg"]
    assert api.get("Deployment", "istio-ingressgateway", "istio-system") is None


def test_what_istiod_writes_into_its_webhooks_is_no_drift(api, plane):
    plane()
    assert api.get("MutatingWebhookConfiguration", INJECTOR)["webhooks"][0]["clientConfig"]["caBundle"] == "Q0E="
    assert (
        api.get("ValidatingWebhookConfiguration", "istio-validator-istio-system")["webhooks"][0]["failurePolicy"]
        == "Fail"
    )
    assert not plane()["changed"]


def test_a_component_that_is_switched_off_is_pruned(api, plane):
    plane()
    result = plane(profile="minimal")
    assert actions(result)["istio-ingressgateway"] == "pruned"
    assert api.get("Deployment", "istio-ingressgateway", "istio-system") is None and api.get(
        "Deployment", "istiod", "istio-system"
    )


def test_rendering_is_kept_and_istioctl_is_given_no_cluster(plane, istioctl, nothing_kept):
    plane()
    called = fake_istioctl.calls(istioctl)
    assert [line.split()[0] for line in called] == ["version", "manifest", "manifest"]
    assert all(line.endswith("KUBECONFIG=/dev/null") for line in called)
    plane()
    plane(check=True)
    assert fake_istioctl.calls(istioctl) == called, "a second run asks istioctl nothing"
    plane(hub="registry.example.com/istio")
    # The default tag's objects do not depend on the hub.
    assert len(fake_istioctl.calls(istioctl)) == len(called) + 1


def test_another_istioctl_renders_anew(plane, istioctl, nothing_kept):
    plane()
    before = len(fake_istioctl.calls(istioctl))
    with open(istioctl, "a", encoding="utf-8") as program:
        program.write("# another release\n")
    plane()
    assert len(fake_istioctl.calls(istioctl)) == before + 3


def test_the_default_revision_takes_the_default_tag_and_its_own_injector_sleeps(api, plane):
    plane()
    assert all(
        hook["namespaceSelector"] == {"matchLabels": {"istio.io/deactivated": "never-match"}}
        for hook in api.get("MutatingWebhookConfiguration", INJECTOR)["webhooks"]
    )
    assert api.get("MutatingWebhookConfiguration", TAG)["metadata"]["labels"]["istio.io/rev"] == "default"


def test_a_second_revision_leaves_the_default_tag_alone(api, plane):
    plane()
    result = plane(revision="canary", profile="minimal")
    assert result["changed"] and TAG not in actions(result)
    assert api.get("MutatingWebhookConfiguration", TAG)["metadata"]["labels"]["istio.io/rev"] == "default"
    assert api.get("MutatingWebhookConfiguration", f"{INJECTOR}-canary") and api.get(
        "Deployment", "istiod-canary", "istio-system"
    )
    assert not plane(revision="canary", profile="minimal")["changed"]
    first = actions(plane())
    assert {first[name] for name in ("istiod", INJECTOR, TAG, "istio-ingressgateway")} == {"unchanged"}


def test_a_first_revision_takes_the_default_tag(api, plane):
    assert plane(revision="canary", profile="minimal")["changed"]
    assert api.get("MutatingWebhookConfiguration", TAG)["metadata"]["labels"]["istio.io/rev"] == "canary"
    assert not plane(revision="canary", profile="minimal")["changed"], "a second run wants the same as the first"


def test_two_webhooks_for_one_pod_are_refused_before_anything_is_written(api, plane):
    selector = {"matchExpressions": [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]}
    hooks = [
        {
            "name": "namespace.sidecar-injector.istio.io",
            "namespaceSelector": selector,
            "objectSelector": {},
            "clientConfig": {"caBundle": "Q0E="},
        }
    ]
    metadata = {"name": "made-by-helm", "labels": {"app": "sidecar-injector"}}
    api.put(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": metadata,
            "webhooks": hooks,
        },
        manager="helm",
    )
    result = plane()
    assert result["failure"]["code"] == "webhook_overlap" and "made-by-helm" in result["msg"] and TAG in result["msg"]
    assert api.writes() == []


def image(api, name="istiod"):
    return api.get("Deployment", name, "istio-system")["spec"]["template"]["spec"]["containers"][0]["image"]


def test_registries_and_pull_secrets_reach_what_runs_and_what_will_be_injected(api, plane):
    plane()
    assert image(api) == "docker.io/istio/pilot:1.31.0"
    options = {"registries": {"docker.io": "m.example.com/hub"}, "pull_secrets": ["key"]}
    done = plane(**options)
    assert done["changed"] and image(api) == "m.example.com/hub/istio/pilot:1.31.0"
    injected = json.loads(api.get("ConfigMap", INJECTOR, "istio-system")["data"]["values"])["global"]
    assert injected["hub"] == "m.example.com/hub/istio" and injected["imagePullSecrets"] == ["key"]
    assert not plane(**options)["changed"]
    plane()
    assert image(api) == "docker.io/istio/pilot:1.31.0", "without them all is as istioctl renders it"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (
            {"registries": {"docker.io": "https://m.example.com"}},
            "invalid_option",
            "registries: 'https://m.example.com' is not a valid registry",
        ),
        (
            {"registries": {"docker.io/istio/pilot": "m.example.com"}},
            "invalid_option",
            "is only a part of docker.io/istio",
        ),
        ({"profile": "nope"}, "unknown_profile", 'profile "nope" not found'),
        ({"values": {"nonsense": 1}}, "invalid_values", 'unknown field "nonsense"'),
        ({"revision": "Canary_1"}, "invalid_option", "'Canary_1' is not a valid DNS label"),
        ({"revision": "-1-31-0"}, "invalid_option", "is not a valid DNS label"),
        ({"revision": "a" * 64}, "invalid_option", "is not a valid DNS label"),
        ({"istio_namespace": "istio.system"}, "invalid_option", "'istio.system' is not a valid DNS label"),
        ({"istioctl": "/nowhere/istioctl"}, "invalid_option", "/nowhere/istioctl is not an executable file"),
        ({"istioctl": "/"}, "invalid_option", "/ is not an executable file"),
    ],
)
def test_bad_options_have_a_code_and_write_nothing(run, api, istioctl, options, code, words):
    result = run("control_plane", **{"istioctl": istioctl, **options})
    assert (
        result["failed"]
        and result["failure"]["code"] == code
        and words in result["msg"]
        and result["failure"]["hint"] is not None
    )
    assert api.writes() == []


def test_a_program_of_another_machine_is_told(run, api, tmp_path):
    (tmp_path / "istioctl").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "istioctl").chmod(0o755)
    assert run("control_plane", istioctl=str(tmp_path / "istioctl"))["failure"]["code"] == "istioctl"
    assert api.writes() == []


@pytest.mark.parametrize(
    "module",
    [("control_plane", {}), ("revision_tag", {"name": "stable", "revision": "default"})],
    ids=lambda module: module[0],
)
def test_istioctl_is_looked_up_on_path_where_none_is_given(run, istioctl, monkeypatch, tmp_path, module):
    (tmp_path / "empty").mkdir()
    name, options = module
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    refused = run(name, check=True, **options)
    assert refused["failure"]["code"] == "invalid_option" and refused["msg"].startswith(
        "istioctl: istioctl is not on PATH where this task runs."
    )
    # Both ways to mend it.
    assert all(words in refused["msg"] for words in ("Set the option istioctl", "install it on PATH", "module release"))
    monkeypatch.setenv("PATH", str(Path(istioctl).parent))
    assert "not on PATH" not in run(name, check=True, **options).get("msg", "")
    assert (
        "/nowhere/istioctl is not an executable file"
        in run(name, check=True, istioctl="/nowhere/istioctl", **options)["msg"]
    ), "a given path wins"
    assert (
        "failed" not in run(name, state="absent", name="stable")
        if name == "revision_tag"
        else run(name, state="absent")
    )


def test_removal_keeps_definitions_and_the_namespace_unless_told(run, api, plane):
    plane()
    run("control_plane", state="absent")
    assert api.get("CustomResourceDefinition", "gateways.networking.istio.io") and api.get("Namespace", "istio-system")
    plane()
    run("control_plane", state="absent", delete_crds=True, delete_namespace=True)
    assert (
        api.get("CustomResourceDefinition", "gateways.networking.istio.io") is None
        and api.get("Namespace", "istio-system") is None
    )
    assert api.get("Namespace", "shop")


def test_a_namespace_of_somebody_else_stays_theirs(run, api, plane):
    api.put(builders.namespace("istio-system", team="platform"), manager="kubectl-create")
    result = plane()
    assert "istio-system" not in actions(result)
    run("control_plane", state="absent", delete_namespace=True)
    assert api.get("Namespace", "istio-system")["metadata"]["labels"] == {"team": "platform"}


def root_certificate(namespace):
    metadata = {"name": "istio-ca-root-cert", "namespace": namespace, "labels": {"istio.io/config": "true"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"root-cert.pem": "x"}}


def test_copies_of_the_root_certificate_go_with_the_last_istiod(run, api, plane):
    plane()
    plane(revision="canary", profile="minimal")
    api.put(root_certificate("shop"), manager="pilot-discovery")
    run("control_plane", state="absent", revision="canary")
    assert api.get("ConfigMap", "istio-ca-root-cert", "shop"), "the other istiod still hands it out"
    planned = run("control_plane", check=True, state="absent")
    assert actions(planned)["istio-ca-root-cert"] == "pruned" and api.get("ConfigMap", "istio-ca-root-cert", "shop")
    result = run("control_plane", state="absent")
    assert (
        actions(result)["istio-ca-root-cert"] == "pruned" and api.get("ConfigMap", "istio-ca-root-cert", "shop") is None
    )


def test_a_cluster_that_does_not_answer_is_unreachable(api, plane):
    api.faults[("GET", "/api")] = [ApiError(0, "Unreachable", "connection refused")] * 9
    assert plane()["failure"]["code"] == "unreachable"
    assert ("GET", WEBHOOKS) not in api.requests


def test_the_default_tag_may_go_again(api, plane):
    plane()
    gone = plane(default_tag=False)
    assert actions(gone)[TAG] == "pruned" and api.get("MutatingWebhookConfiguration", TAG) is None
    assert not plane(default_tag=False)["changed"]
    assert plane()["changed"] and api.get("MutatingWebhookConfiguration", TAG)


def test_two_revisions_share_a_base_and_neither_run_disturbs_the_other(api, plane):
    plane()
    assert plane(revision="canary", profile="minimal")["changed"]
    assert not plane()["changed"] and not plane(revision="canary", profile="minimal")["changed"]
    assert (
        api.get("ConfigMap", "istio-base", "istio-system")["metadata"]["annotations"]["servicemesh.istio/version"]
        == "1.31.0"
    )


def test_what_revisions_share_goes_with_the_last_one(run, api, plane):
    plane()
    plane(revision="canary", profile="minimal")
    for option in ("delete_crds", "delete_namespace"):
        refused = run("control_plane", state="absent", revision="canary", **{option: True})
        assert (
            refused["failure"]["code"] == "invalid_option"
            and "revision default still exists" in refused["msg"]
            and not refused["changed"]
        )
    gone = actions(run("control_plane", state="absent", revision="canary"))
    assert gone["istiod-canary"] == "pruned" and "istio-reader-service-account" not in gone
    assert not plane()["changed"]
    gone = actions(run("control_plane", state="absent", delete_crds=True, delete_namespace=True))
    assert {
        gone[name]
        for name in ("istio-reader-service-account", "gateways.networking.istio.io", "istio-system", "istio-base")
    } == {"pruned"}


def test_an_older_revision_leaves_the_base_of_a_newer_one_alone(api, plane):
    plane()
    parent = api.get("ConfigMap", "istio-base", "istio-system")
    parent["metadata"]["annotations"]["servicemesh.istio/version"] = "1.32.1"
    account = api.get("ServiceAccount", "istio-reader-service-account", "istio-system")
    account["metadata"]["labels"]["istio.io/rev"] = "of-a-newer-one"
    result = plane(revision="canary", profile="minimal")
    assert (
        "istio-reader-service-account" not in actions(result)
        and api.get("ServiceAccount", "istio-reader-service-account", "istio-system") == account
    )
    assert (
        api.get("ConfigMap", "istio-base", "istio-system")["metadata"]["annotations"]["servicemesh.istio/version"]
        == "1.32.1"
    )
    assert not plane()["changed"], "also for the one that installed it when it was newest"


def test_members_that_move_to_the_base_are_not_lost(api, plane, monkeypatch):
    """As a set was before there was a base, and where the move is killed half way."""
    plane()
    account = api.get("ServiceAccount", "istio-reader-service-account", "istio-system")
    own = api.get("ConfigMap", "istio-control-plane-default", "istio-system")["metadata"]["labels"][
        "applyset.kubernetes.io/id"
    ]
    account["metadata"]["labels"]["applyset.kubernetes.io/part-of"] = own
    moved = plane()
    assert actions(moved)["istio-reader-service-account"] == "configured" and api.get(
        "ServiceAccount", "istio-reader-service-account", "istio-system"
    )
    assert not plane()["changed"]


def test_gateways_that_are_left_are_neither_changed_nor_pruned(api, plane, run, istioctl):
    plane()
    before = copy.deepcopy(api.get("Deployment", "istio-ingressgateway", "istio-system"))
    left = run("control_plane", istioctl=istioctl, profile="minimal", leave_gateways=True)
    assert "istio-ingressgateway" not in {row["ref"]["name"] for row in left["objects"]}
    assert api.get("Deployment", "istio-ingressgateway", "istio-system") == before
    assert "istio-ingressgateway" in {
        row["ref"]["name"]
        for row in run("control_plane", istioctl=istioctl, profile="minimal")["objects"]
        if row["action"] == "pruned"
    }


def test_gateways_move_to_the_revision_that_is_told_to_have_them(api, run, istioctl):
    run("control_plane", istioctl=istioctl, revision="old")
    run("control_plane", istioctl=istioctl, revision="new", leave_gateways=True)
    moved = run("control_plane", istioctl=istioctl, revision="new")
    assert {row["ref"]["name"]: row["action"] for row in moved["objects"] if row["ref"]["kind"] == "Deployment"}[
        "istio-ingressgateway"
    ] == "configured"
    gone = run("control_plane", state="absent", revision="old")
    assert "istio-ingressgateway" not in {row["ref"]["name"] for row in gone["objects"]}
