# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of images: from renderings, addons and manifests, without any cluster."""

from __future__ import annotations

import fake_helm
import fake_istioctl
import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.install import helm
from builders import config, deployment

PILOT, PROXY = "docker.io/istio/pilot:1.31.0", "docker.io/istio/proxyv2:1.31.0"


@pytest.fixture
def images(run, api):
    """images(**options) -> result; nobody is asked for it."""

    def call(**options):
        result = run("images_info", **options)
        assert api.requests == []
        return result

    return call


@pytest.fixture
def istioctl(tmp_path):
    return str(fake_istioctl.write(tmp_path))


@pytest.fixture
def charts(tmp_path, api, monkeypatch):
    fake = fake_helm.FakeHelm(api)
    monkeypatch.setattr(
        helm.Helm, "_run", lambda _self, arguments, text="", timeout=0: fake.run(arguments, text, timeout)
    )
    return {"method": "helm", "helm": "/bin/sh", "charts": str(fake_helm.write_charts(tmp_path / "charts"))}


@pytest.fixture
def samples(tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    for name, image in {"grafana": "grafana/grafana:12", "kiali": "quay.io/kiali/kiali:v2"}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(deployment(name, "istio-system", image)))
    return str(folder)


def listed(result):
    assert "failed" not in result, result.get("msg")
    return [row["image"] for row in result["images"]]


def test_a_control_plane_needs_what_it_runs_and_what_it_injects(images, istioctl):
    result = images(istioctl=istioctl, profile="minimal")
    assert (result["changed"], result["plan"], result["unknown"]) == (False, [], []) and "diff" not in result
    assert [(row["image"], row["used_by"]) for row in result["images"]] == [
        (PILOT, ["Deployment istio-system/istiod, container discovery"]),
        (PROXY, ["injection template sidecar"]),
    ]
    assert result["images"][0] == {
        **result["images"][0],
        "registry": "docker.io",
        "repository": "istio/pilot",
        "tag": "1.31.0",
        "digest": "",
    }


def test_it_is_rendered_as_the_control_plane_is(images, istioctl):
    options = {
        "hub": "quay.io/mine",
        "revision": "canary",
        "istio_namespace": "mesh",
        "values": {"global": {"tag": "2", "variant": "distroless"}},
        "pull_secrets": ["key"],
    }
    result = images(istioctl=istioctl, profile="minimal", **options)
    assert listed(result) == ["quay.io/mine/pilot:1.31.0", "quay.io/mine/proxyv2:2-distroless"]
    assert result["images"][0]["used_by"] == ["Deployment mesh/istiod-canary, container discovery"]


def test_charts_tell_of_gateways_what_injection_gives_them(images, charts):
    rows = {row["image"]: row["used_by"] for row in images(**charts)["images"]}
    assert rows == {
        PILOT: ["Deployment istio-system/istiod, container server"],
        PROXY: [
            "Deployment istio-system/istio-ingressgateway, container server, by injection template gateway",
            "injection template gateway",
        ],
    }


def test_charts_are_rendered_for_a_version_of_kubernetes_that_is_said(images, charts, monkeypatch):
    asked = []
    run = helm.Helm._run
    monkeypatch.setattr(
        helm.Helm, "_run", lambda self, arguments, *rest: asked.append(arguments) or run(self, arguments, *rest)
    )
    images(**charts)
    assert asked and not any("--kube-version" in arguments for arguments in asked)
    images(**charts, kubernetes_version="1.35.0")
    assert asked[-1][-2:] == ["--kube-version", "1.35.0"]


def test_addons_manifests_and_further_images_join_and_each_is_there_once(images, istioctl, samples):
    objects = [
        deployment("web", image="web:1"),
        deployment("other", image="docker.io/library/web:1"),
        deployment("edge", image="auto"),
        config("none"),
    ]
    result = images(
        istioctl=istioctl,
        profile="minimal",
        samples=samples,
        addons=["grafana", "kiali"],
        definition=objects,
        extra=["redis", PILOT],
    )
    assert listed(result) == [
        "docker.io/grafana/grafana:12",
        PILOT,
        PROXY,
        "docker.io/library/redis:latest",
        "docker.io/library/web:1",
        "quay.io/kiali/kiali:v2",
    ]
    users = {row["repository"]: row["used_by"] for row in result["images"]}
    assert users["library/web"] == ["Deployment shop/other, container server", "Deployment shop/web, container server"]
    assert (
        "extra" in users["istio/pilot"]
        and "Deployment shop/edge, container server, by injection template sidecar" in users["istio/proxyv2"]
    )


def test_each_part_may_stand_alone(images, samples, tmp_path):
    assert listed(images(samples=samples, addons=["kiali"])) == ["quay.io/kiali/kiali:v2"]
    assert listed(images(samples=samples, addons=["kiali"], addon_images={"quay.io/kiali/kiali": "mine:1"})) == [
        "docker.io/library/mine:1"
    ]
    assert listed(images(extra=["redis:7"])) == ["docker.io/library/redis:7"]
    (tmp_path / "web.yaml").write_text(yaml.safe_dump(deployment(image="web:2")))
    assert listed(images(src=str(tmp_path / "web.yaml"))) == ["docker.io/library/web:2"]


def test_the_plan_says_where_each_goes_and_the_list_where_it_comes_from(images, istioctl, samples):
    registries = {"docker.io": "m.example.com/hub"}
    result = images(istioctl=istioctl, profile="minimal", samples=samples, addons=["kiali"], registries=registries)
    assert listed(result) == [PILOT, PROXY, "quay.io/kiali/kiali:v2"]
    assert result["plan"] == [
        {"source": PILOT, "target": "m.example.com/hub/istio/pilot:1.31.0"},
        {"source": PROXY, "target": "m.example.com/hub/istio/proxyv2:1.31.0"},
    ]


def test_templates_on_request_are_listed_where_they_are_named(images, istioctl):
    assert "docker.io/library/busybox:1.28" not in listed(images(istioctl=istioctl))
    assert "docker.io/library/busybox:1.28" in listed(images(istioctl=istioctl, injection_templates=["grpc-simple"]))


def test_what_cannot_be_told_is_a_warning_and_not_left_out_in_silence(images):
    result = images(definition=deployment("edge", image="auto"), extra=["No Image"])
    assert result["images"] == [] and len(result["unknown"]) == 2
    assert [
        word
        for word in ("Deployment shop/edge, container server", "'No Image' is not a valid image name")
        if word not in str(result["warnings"])
    ] == []


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"istioctl": "/nowhere/istioctl"}, "invalid_option", "/nowhere/istioctl is not an executable file"),
        (
            {"extra": ["a"], "method": "helm", "helm": "/bin/sh"},
            "invalid_option",
            "charts: is required with method helm",
        ),
        ({"extra": ["a"], "registries": {"docker.io": "mirror"}}, "invalid_option", "'mirror' is not a valid registry"),
        (
            {"extra": ["a/b", "quay.io/a/b"], "registries": {"*": "m.example.com"}},
            "same_target",
            "would both be copied to m.example.com/a/b:latest",
        ),
        ({"samples": "/nowhere"}, "invalid_option", "samples: /nowhere is not a folder"),
        ({"extra": ["a"], "revision": "A_1"}, "invalid_option", "is not a valid DNS label"),
        ({"definition": {"kind": "Pod"}}, "invalid_option", "has no apiVersion"),
    ],
)
def test_bad_options_have_a_code(images, options, code, words):
    result = images(**options)
    assert result["failed"] and result["failure"]["code"] == code and words in result["msg"], result


def test_there_must_be_something_to_list(images):
    assert "one of the following is required: istioctl, charts, samples, definition, src, extra" in images()["msg"]


def test_an_unknown_template_is_told_with_those_that_there_are(images, istioctl):
    assert (
        images(istioctl=istioctl, injection_templates=["nope"])["failure"]["hint"] == "Use one of grpc-simple, sidecar."
    )
