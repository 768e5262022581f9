# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from builders import istio, namespace, pod, secret, service
from memory_api import MemoryApi


def route(name="web", host="web", subset="v1", **more):
    to = {"host": host, **({"subset": subset} if subset else {})}
    return istio(
        "VirtualService", name, hosts=more.pop("hosts", [host]), http=[{"route": [{"destination": to}]}], **more
    )


def rule(*names):
    return istio(
        "DestinationRule", "web", host="web", subsets=[{"name": name, "labels": {"version": name}} for name in names]
    )


def gateway(credential):
    port = {"number": 443, "name": "https", "protocol": "HTTPS"}
    return istio(
        "Gateway",
        "web",
        selector={"istio": "ingressgateway"},
        servers=[{"port": port, "hosts": ["web.example.com"], "tls": {"mode": "SIMPLE", "credentialName": credential}}],
    )


@pytest.fixture
def shop(api):
    for obj in (
        service("web"),
        pod("web-1", labels={"app": "web", "version": "v1"}),
        pod("web-2", labels={"app": "web", "version": "v2"}),
        rule("v1", "v2"),
        route(subset="v2"),
    ):
        api.put(obj)
    return api


@pytest.fixture
def alone(run, monkeypatch):
    """The module without a cluster: any request would end the test."""

    def refuse(*_arguments, **_more):
        raise AssertionError("the cluster was asked")

    monkeypatch.setattr(MemoryApi, "request", refuse)
    return lambda **options: run("preflight", cluster=False, **options)


def codes(result, severity=""):
    return sorted({row["code"] for row in result["findings"] if severity in ("", row["severity"])})


def errors(result):
    return [(row["code"], row["ref"]["name"]) for row in result["findings"] if row["severity"] == "error"]


def test_what_is_sound_passes_and_is_counted(run, shop):
    result = run("preflight", definition=[rule("v1", "v2"), route(subset="v1")])
    assert "failed" not in result, result["msg"]
    assert (
        errors(result) == []
        and result["checked"] == {"DestinationRule": 1, "VirtualService": 1}
        and result["changed"] is False
    )


def test_what_is_wrong_fails_the_play_with_its_place(run, shop):
    result = run("preflight", definition=route("other", hosts=["other.example.com"], subset="v3"))
    assert (
        result["failed"]
        and result["failure"]["code"] == "preflight_failed"
        and result["failure"]["reason"] == "subset_undefined"
    )
    assert result["failure"]["ref"] == {
        "group": "networking.istio.io",
        "version": "v1",
        "kind": "VirtualService",
        "namespace": "shop",
        "name": "other",
    }
    found = result["findings"][0]
    assert (
        found["field"] == "spec.http[0].route[0].destination.subset"
        and found["source"].startswith("analyzer IST0101")
        and found["remedy"]
    )
    assert (
        result["counts"]["errors"] == 1
        and result["text"].splitlines()[0]
        == f"error subset_undefined: VirtualService shop/other, {found['field']}: {found['message']}. {found['remedy']}"
    )
    assert result["text"].splitlines()[0] in result["msg"]


def test_it_only_reads_and_check_mode_sees_the_same(run, shop):
    options = {"definition": route("other", subset="v3"), "fail_on": "never"}
    real, dry = run("preflight", **options), run("preflight", check=True, **options)
    assert real["findings"] == dry["findings"] and shop.writes() == []


@pytest.mark.parametrize(
    ("fail_on", "failed"), [("never", False), ("error", False), ("warning", False), ("info", True)]
)
def test_a_finding_fails_the_play_from_its_severity_on(run, shop, fail_on, failed):
    result = run("preflight", definition=service("other", ports=[{"name": "a", "port": 80}]), fail_on=fail_on)
    assert codes(result) == ["port_name_form"] and result.get("failed", False) is failed


def test_what_the_asked_ones_break_elsewhere_is_told_and_what_was_broken_before_is_not(run, shop):
    shop.put(route("broken", hosts=["broken.example.com"], subset="v9"))
    taken = run("preflight", definition=rule("v1"))
    assert errors(taken) == [("subset_undefined", "web")]
    assert errors(run("preflight", definition=rule("v1", "v2"))) == []


def test_without_objects_the_whole_cluster_is_asked_about(run, shop):
    shop.put(route("broken", hosts=["broken.example.com"], subset="v9"))
    result = run("preflight")
    assert errors(result) == [("subset_undefined", "broken")] and result["checked"]["VirtualService"] == 2
    assert run("preflight", skip=["subset_undefined"])["counts"]["errors"] == 0


def test_an_empty_list_of_objects_is_not_the_whole_cluster(run, shop):
    shop.put(route("broken", hosts=["broken.example.com"], subset="v9"))
    result = run("preflight", definition=[])
    assert result["findings"] == [] and result["checked"] == {}


def test_a_live_status_counts_for_what_is_applied_over_it(run, api):
    entry = istio(
        "ServiceEntry", "db", hosts=["db.example.com"], ports=[{"number": 5432, "name": "tcp", "protocol": "TCP"}]
    )
    assert "entry_address_needed" in codes(run("preflight", definition=entry))
    api.put({**entry, "status": {"addresses": [{"value": "240.240.0.1"}]}})
    assert "entry_address_needed" not in codes(run("preflight", definition=entry))


def test_files_and_folders_are_read_and_named_when_they_are_wrong(alone, tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all([service("web"), rule("v1", "v1")]))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.yml").write_text(yaml.safe_dump(route(subset="v1")))
    result = alone(src=[str(tmp_path / "a.yaml"), str(tmp_path / "folder")])
    assert result["failure"]["reason"] == "subset_repeated" and result["checked"] == {
        "DestinationRule": 1,
        "Service": 1,
        "VirtualService": 1,
    }
    (tmp_path / "folder" / "b.yml").write_text("a: [")
    assert "b.yml" in alone(src=[str(tmp_path / "folder")])["msg"]


def test_objects_that_name_no_namespace_come_into_the_given_one(alone):
    nowhere = route(subset="v1")
    del nowhere["metadata"]["namespace"]
    found = alone(definition=[nowhere, rule("v2")], namespace="shop")
    assert found["findings"][0]["ref"]["namespace"] == "shop" and found["failure"]["reason"] == "subset_undefined"


def test_files_alone_find_missing_only_what_they_hold_something_of(alone):
    result = alone(definition=route(host="elsewhere", subset="v1", gateways=["far/away"]), fail_on="info")
    assert result["findings"] == []
    known = alone(
        definition=[
            route(host="elsewhere", subset="v1", gateways=["far/away"]),
            service("web"),
            istio("Gateway", "other", servers=[]),
        ],
        fail_on="never",
    )
    assert {"virtual_service_no_host", "subset_undefined", "virtual_service_no_gateway"} <= set(codes(known))


def test_pods_that_a_deployment_would_make_are_what_selectors_mean(alone):
    template = {"metadata": {"labels": {"app": "web", "version": "v1"}}, "spec": {"containers": [{"name": "web"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": template},
    }
    result = alone(definition=[service("web"), deployment, rule("v1", "v2")], fail_on="never")
    assert [row["field"] for row in result["findings"] if row["code"] == "subset_without_pods"] == ["spec.subsets[1]"]


def test_the_gateway_that_every_mesh_has_is_taken_for_granted_without_a_cluster(alone, run):
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": template},
    }
    other = istio("Gateway", "mine", selector={"istio": "mine"}, servers=[])
    found = alone(definition=[service("web"), deployment, gateway("web"), other], fail_on="never")
    assert [row["ref"]["name"] for row in found["findings"] if row["code"] == "gateway_selects_nothing"] == ["mine"]
    assert "gateway_port_not_on_service" not in codes(found) and found["checked"] == {
        "Deployment": 1,
        "Gateway": 2,
        "Service": 1,
    }


def test_the_mesh_configuration_is_read_from_the_control_plane(run, api):
    logs = istio("Telemetry", "logs", group="telemetry.istio.io", accessLogging=[{}])
    assert "telemetry_no_provider" in codes(run("preflight", definition=logs))
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system", "labels": {"istio.io/rev": "default"}},
        "data": {"mesh": "defaultProviders: {accessLogging: [envoy]}"},
    }
    api.put(config)
    assert "telemetry_no_provider" not in codes(run("preflight", definition=logs))


def test_of_secrets_only_names_are_read_and_only_where_a_gateway_names_one(run, api):
    api.put(pod("gateway", "istio-system", {"istio": "ingressgateway"}))
    run("preflight", definition=service("web"))
    assert not [path for _method, path in api.requests if "secrets" in path]
    missing = run("preflight", definition=gateway("web"))
    assert ("gateway_no_secret", "web") in errors(missing)
    api.put(secret("web", "istio-system", {"tls.crt": "no certificate", "tls.key": "key"}))
    found = run("preflight", definition=gateway("web"))
    assert not {"gateway_no_secret", "gateway_credential_invalid"} & set(codes(found))


def test_what_may_not_be_read_is_said_and_nothing_is_missing_of_it(run, shop, monkeypatch):
    whole = shop.request

    def forbid(method, path, *rest, **more):
        if path.startswith("/api/v1/services"):
            raise ApiError(403, "Forbidden", "no right to services")
        return whole(method, path, *rest, **more)

    monkeypatch.setattr(shop, "request", forbid)
    result = run("preflight", definition=route(host="elsewhere", subset=""))
    assert result["forbidden_kinds"] == {"Service": "no right to services"} and errors(result) == []


def test_a_server_that_does_not_answer_is_no_finding(run, api, monkeypatch):
    def silent(*_arguments, **_more):
        raise ApiError(0, "", "no route to host")

    monkeypatch.setattr(api, "request", silent)
    assert run("preflight", definition=service("web"))["failure"]["code"] == "unreachable"


@pytest.mark.parametrize(
    ("options", "option", "words"),
    [
        ({"skip": ["subset_undefind"]}, "skip", "Did you mean subset_undefined?"),
        ({"skip": ["nothing like it"]}, "skip", "docs/preflight.md"),
    ],
)
def test_a_code_that_is_none_is_refused_with_the_nearest(run, options, option, words):
    result = run("preflight", **options)
    assert (
        result["failure"]["code"] == "no_such_check"
        and result["msg"].startswith(f"{option}: ")
        and words in result["msg"]
    )


def test_without_a_cluster_there_must_be_objects(run):
    result = run("preflight", cluster=False)
    assert result["failed"] and "src, definition" in result["msg"]


def test_an_object_of_another_shape_is_said_to_be_so_and_the_others_are_judged(alone):
    bent = route()
    bent["spec"]["http"] = {"route": []}
    result = alone(definition=[bent, rule("v1", "v1"), namespace("shop")], fail_on="never")
    assert errors(result) == [("shape_wrong", "web"), ("subset_repeated", "web")]


def test_what_the_modules_of_this_collection_write_is_sound(run, api):
    for name in ("web", "cart"):
        api.put(service(name))
        for version in ("v1", "v2"):
            api.put(pod(f"{name}-{version}", labels={"app": name, "version": version}, sidecar="native"))
    api.put(pod("ingress", "istio-system", {"istio": "ingressgateway"}, sidecar="container"))
    api.put(service("istio-ingressgateway", "istio-system", selector={"istio": "ingressgateway"}))
    split = {"versions": {"v1": 90, "v2": 10}, "gateways": ["mesh", "shop/web"], "gateway_hosts": ["web.example.com"]}
    done = [
        run("gateway", name="web", namespace="shop", hosts=["web.example.com"], http_port=80),
        run(
            "traffic",
            policy={
                "shop": {
                    "web": {"split": split, "resilience": {"retries": {"attempts": 2}}},
                    "cart": {"load_balancing": {"algorithm": "random"}, "fault": {"delay": "1s"}},
                }
            },
        ),
        run(
            "authorization",
            name="default",
            namespace="shop",
            default="deny",
            allow=[{"from": [{"namespaces": ["istio-system"]}]}],
        ),
        run("mtls", namespace="shop", mode="strict", plaintext_callers="ignore"),
        run(
            "jwt",
            name="web",
            namespace="shop",
            issuers=[{"issuer": "https://login.example.com", "keys_url": "https://login.example.com/keys"}],
        ),
        run("egress", name="api", namespace="shop", hosts=["api.example.com"]),
        run("sidecar", namespace="shop", egress_hosts=["."]),
        run("telemetry", namespace="shop", tracing={"percent": 1}),
    ]
    assert not [result["msg"] for result in done if result.get("failed")]
    found = run("preflight", skip=["validated_by_none", "namespace_not_enrolled"])
    assert found["checked"]["VirtualService"] == 2 and found["findings"] == []
