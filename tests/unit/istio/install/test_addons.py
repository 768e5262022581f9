# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release's addons as data: their images, their namespace, and how they know each other."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.install.addons import (
    CONFIGURATION,
    Addons,
    addon_steps,
)


def workload(name, *images, volume=""):
    volumes = [{"name": "config", "configMap": {"name": volume}}, {"name": "data", "emptyDir": {}}] if volume else []
    pod = {
        "containers": [{"name": f"c{number}", "image": image} for number, image in enumerate(images)],
        "volumes": volumes,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "istio-system"},
        "spec": {"template": {"spec": pod}},
    }


def config(name, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "istio-system"},
        "data": data,
    }


KIALI = config("kiali", **{"config.yaml": "auth: {strategy: anonymous}\nserver: {port: 20001, web_root: /kiali}\n"})
DOCUMENTS = {
    "prometheus": [
        config("prometheus", **{"prometheus.yml": "{}"}),
        workload("prometheus", "prom/prometheus:v3", volume="prometheus"),
    ],
    "grafana": [workload("grafana", "docker.io/grafana/grafana:12")],
    "jaeger": [workload("jaeger", "jaegertracing/jaeger:2")],
    "kiali": [KIALI, workload("kiali", "quay.io/kiali/kiali:v2", volume="kiali")],
}


def objects(names=("prometheus", "grafana", "jaeger", "kiali"), documents=None, **options):
    (step,) = addon_steps(Addons(names=list(names), **options), documents or DOCUMENTS)
    return {f"{obj['kind']} {obj['metadata']['name']}": obj for obj in step.objects}


def kiali(**options):
    return yaml.safe_load(objects(**options)["ConfigMap kiali"]["data"]["config.yaml"])


@pytest.mark.parametrize(
    ("image", "images", "used"),
    [
        ("docker.io/grafana/grafana:12", {}, "docker.io/grafana/grafana:12"),
        ("docker.io/grafana/grafana:12", {"docker.io/grafana/grafana": "mine:1"}, "mine:1"),
        ("docker.io/grafana/grafana:12", {"docker.io/grafana/grafana:12": "mine:1"}, "mine:1"),
        ("docker.io/grafana/grafana:12", {"docker.io/grafana/grafana:11": "mine:1"}, "docker.io/grafana/grafana:12"),
        ("docker.io/grafana/grafana:12", {"grafana/grafana": "mine:1"}, "docker.io/grafana/grafana:12"),
        ("localhost:5000/grafana", {"localhost:5000/grafana": "mine:1"}, "mine:1"),
        ("localhost:5000/grafana", {"localhost": "mine:1"}, "localhost:5000/grafana"),
        ("grafana@sha256:abc", {"grafana": "mine:1"}, "mine:1"),
        ("grafana:12@sha256:abc", {"grafana": "mine:1"}, "mine:1"),
    ],
)
def test_an_image_is_replaced_by_its_repository_or_by_its_whole_name(image, images, used):
    found = objects(["grafana"], {"grafana": [workload("grafana", image)]}, images=images)["Deployment grafana"]
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == used


def test_every_container_gets_its_image_also_before_the_start():
    obj = workload("loki", "a:1", "b:1")
    obj["spec"]["template"]["spec"]["initContainers"] = [{"name": "init", "image": "c:1"}]
    spec = objects(["loki"], {"loki": [obj]}, images={"a": "x", "b": "y", "c": "z"})["Deployment loki"]["spec"][
        "template"
    ]["spec"]
    assert [c["image"] for c in spec["containers"] + spec["initContainers"]] == ["x", "y", "z"]


def test_kiali_is_joined_to_its_neighbours_and_keeps_the_rest():
    services = kiali()["external_services"]
    assert services["prometheus"]["url"] == "http://prometheus.istio-system:9090"
    assert services["grafana"] == {"enabled": True, "internal_url": "http://grafana.istio-system:3000"}
    assert services["tracing"]["enabled"] and services["tracing"]["internal_url"].startswith(
        "http://tracing.istio-system:16685"
    )
    assert kiali()["auth"] == {"strategy": "anonymous"} and kiali()["server"] == {"port": 20001, "web_root": "/kiali"}


def test_kiali_is_not_joined_to_what_is_not_there():
    services = kiali(names=["prometheus", "kiali"])["external_services"]
    assert services["grafana"]["enabled"] is False and services["tracing"] == {"enabled": False}


def test_the_users_word_on_kiali_is_the_last():
    found = kiali(kiali_config={"auth": {"strategy": "token"}, "external_services": {"grafana": {"enabled": False}}})
    assert found["auth"] == {"strategy": "token"}
    assert found["external_services"]["grafana"] == {
        "enabled": False,
        "internal_url": "http://grafana.istio-system:3000",
    }
    assert found["external_services"]["prometheus"]["url"]


def test_another_namespace_is_everywhere_where_the_releases_own_was():
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kiali"},
    }
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "kiali", "namespace": "istio-system"}]
    found = objects(
        documents={**DOCUMENTS, "kiali": [*DOCUMENTS["kiali"], binding]}, namespace="observability", sampling=1.0
    )
    assert {obj["metadata"].get("namespace", "observability") for obj in found.values()} == {"observability"}
    assert found["ClusterRoleBinding kiali"]["subjects"][0]["namespace"] == "observability"
    assert "namespace" not in found["ClusterRoleBinding kiali"]["metadata"]
    assert (
        kiali(namespace="observability")["external_services"]["prometheus"]["url"]
        == "http://prometheus.observability:9090"
    )


def mark(**options):
    metadata = objects(**options)["Deployment kiali"]["spec"]["template"].get("metadata") or {}
    return (metadata.get("annotations") or {}).get(CONFIGURATION)


def test_a_deployment_rolls_when_its_configuration_changes_and_only_then():
    assert mark() and mark() == mark(images={"prom/prometheus": "mine:1"})
    assert mark() != mark(kiali_config={"auth": {"strategy": "token"}})


def test_prometheus_does_not_roll_for_it_would_lose_its_data():
    assert "metadata" not in objects()["Deployment prometheus"]["spec"]["template"]


@pytest.mark.parametrize(
    ("names", "sampling", "there"),
    [
        (["jaeger"], 10.0, True),
        (["zipkin"], 10.0, True),
        (["jaeger"], 0.0, True),
        (["jaeger"], None, False),
        (["prometheus"], 10.0, False),
    ],
)
def test_sampling_is_written_where_there_is_a_tracing_backend(names, sampling, there):
    documents = {**DOCUMENTS, "zipkin": [workload("zipkin", "openzipkin/zipkin:3")]}
    telemetry = objects(names, documents, sampling=sampling, tracing_provider="mine").get("Telemetry mesh-default")
    assert bool(telemetry) is there
    if there:
        assert telemetry["spec"]["tracing"] == [{"providers": [{"name": "mine"}], "randomSamplingPercentage": sampling}]


def test_the_releases_own_objects_are_not_changed():
    before = yaml.safe_dump(DOCUMENTS)
    objects(namespace="other", images={"prom/prometheus": "x"}, kiali_config={"a": 1})
    assert yaml.safe_dump(DOCUMENTS) == before
