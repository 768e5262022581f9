# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy

import pytest
import yaml
from builders import actions, config, deployment, service

HOME = "istio-system"


def kiali():
    webs = config("kiali", HOME, **{"config.yaml": "server: {port: 20001}\n"})
    obj = deployment("kiali", HOME, "quay.io/kiali/kiali:v2")
    obj["spec"]["template"]["spec"]["volumes"] = [{"name": "config", "configMap": {"name": "kiali"}}]
    return [webs, obj]


FILES = {
    "prometheus": [deployment("prometheus", HOME, "prom/prometheus:v3"), service("prometheus", HOME, (9090,))],
    "grafana": [deployment("grafana", HOME, "docker.io/grafana/grafana:12"), service("grafana", HOME, (3000,))],
    "jaeger": [deployment("jaeger", HOME, "jaegertracing/jaeger:2"), service("tracing", HOME)],
    "zipkin": [deployment("zipkin", HOME, "openzipkin/zipkin:3"), service("tracing", HOME, selector={"app": "zipkin"})],
    "kiali": kiali(),
    "extras/prometheus-operator": [config("monitor", HOME, a="1")],
}


@pytest.fixture
def samples(tmp_path):
    folder = tmp_path / "samples"
    for name, objects in FILES.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(objects))
    return str(folder)


@pytest.fixture
def addons(run, samples):
    return lambda check=False, **options: run("addons", check=check, samples=samples, **options)


def image(api, name):
    return api.get("Deployment", name, HOME)["spec"]["template"]["spec"]["containers"][0]["image"]


def test_create_change_and_delete_each_also_in_check_mode_and_again(run, api, addons):
    for options, name, action in (
        ({}, "kiali", "created"),
        ({"images": {"docker.io/grafana/grafana": "mine:1"}}, "grafana", "configured"),
    ):
        before = copy.deepcopy(api.objects)
        planned = addons(check=True, **options)
        assert planned["changed"] and actions(planned)[name] == action and api.objects == before
        done = addons(**options)
        assert done["changed"] and actions(done)[name] == action
        again = addons(**options)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)
    assert image(api, "grafana") == "mine:1"
    before = copy.deepcopy(api.objects)
    assert run("addons", check=True, state="absent")["changed"] and api.objects == before
    assert run("addons", state="absent")["changed"]
    assert [key for key in api.objects if key[1] != "Namespace"] == []
    assert not run("addons", state="absent")["changed"]


def test_images_come_from_other_registries_but_for_those_that_are_named(api, addons):
    registries = {"docker.io": "m.example.com/hub", "quay.io": "m.example.com/quay"}
    addons(registries=registries, images={"docker.io/grafana/grafana": "docker.io/mine:1"}, pull_secrets=["key"])
    assert (
        image(api, "prometheus") == "m.example.com/hub/prom/prometheus:v3"
        and image(api, "kiali") == "m.example.com/quay/kiali/kiali:v2"
    )
    assert image(api, "grafana") == "docker.io/mine:1"
    assert api.get("Deployment", "kiali", HOME)["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "key"}]


def test_an_addon_that_is_named_no_more_is_removed(api, addons):
    addons()
    planned = addons(check=True, names=["prometheus", "kiali"])
    assert planned["summary"]["pruned"] == 4 and api.get("Deployment", "grafana", HOME)
    result = addons(names=["prometheus", "kiali"])
    assert {name for name, action in actions(result).items() if action == "pruned"} == {"grafana", "jaeger", "tracing"}
    assert api.get("Deployment", "grafana", HOME) is None and api.get("Deployment", "prometheus", HOME)
    joined = yaml.safe_load(api.get("ConfigMap", "kiali", HOME)["data"]["config.yaml"])
    assert joined["external_services"]["grafana"]["enabled"] is False


def test_a_backend_may_take_the_place_of_another_and_of_its_service(api, addons):
    addons(names=["jaeger"])
    result = addons(names=["zipkin"])
    assert actions(result) == {"zipkin": "created", "tracing": "configured", "jaeger": "pruned"}
    assert api.get("Service", "tracing", HOME)["spec"]["selector"] == {"app": "zipkin"}


def test_kiali_rolls_when_its_configuration_changes(api, addons):
    addons()
    result = addons(kiali_config={"auth": {"strategy": "token"}})
    changed = {
        f"{row['ref']['kind']} {row['ref']['name']}" for row in result["objects"] if row["action"] == "configured"
    }
    assert changed == {"ConfigMap kiali", "Deployment kiali"}


def test_traces_are_set_for_the_mesh(api, addons):
    addons(sampling=25)
    assert api.get("Telemetry", "mesh-default", HOME)["spec"]["tracing"] == [
        {"providers": [{"name": "jaeger"}], "randomSamplingPercentage": 25.0}
    ]
    addons()
    assert api.get("Telemetry", "mesh-default", HOME) is None, "unset, it goes"


def test_files_in_folders_are_named_by_their_path(api, addons):
    assert addons(names=["extras/prometheus-operator"])["changed"] and api.get("ConfigMap", "monitor", HOME)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"names": ["prometheus", "tempo"]}, "unknown_addon", "tempo is not an addon of this release"),
        ({"names": ["jaeger", "zipkin"]}, "two_tracing_backends", "jaeger and zipkin"),
        ({"names": ["grafana", "grafana"]}, "invalid_option", "duplicate"),
        ({"registries": {"docker.io": "mirror"}}, "invalid_option", "registries: 'mirror' is not a valid registry"),
        ({"namespace": "nowhere"}, "namespace_missing", 'namespaces "nowhere" not found'),
    ],
)
def test_bad_options_have_a_code_and_write_nothing(api, addons, options, code, words):
    result = addons(**options)
    assert result["failed"] and result["failure"]["code"] == code and words in result["msg"]
    assert api.writes() == []


def test_an_unknown_addon_is_told_with_those_that_there_are(addons):
    assert (
        "extras/prometheus-operator, grafana, jaeger, kiali, prometheus, zipkin"
        in addons(names=["tempo"])["failure"]["hint"]
    )


def test_a_broken_sample_names_its_file(api, addons, samples):
    with open(f"{samples}/grafana.yaml", "a", encoding="utf-8") as file:
        file.write("---\na: [\n")
    result = addons()
    assert result["failure"]["code"] == "invalid_option" and "grafana.yaml" in result["msg"] and api.writes() == []


def test_samples_are_needed_to_install_and_not_to_remove(run):
    assert "samples" in run("addons")["msg"]
    assert "failed" not in run("addons", state="absent")
