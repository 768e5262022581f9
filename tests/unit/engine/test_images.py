# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: what a reference means, where objects name them, and how they move to another registry."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.images import (
    Reference,
    Registries,
    adapted,
    parse_reference,
    uses,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from builders import config, definition, deployment, pod

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("redis", ("docker.io", "library/redis", "latest", "")),
        ("redis:7", ("docker.io", "library/redis", "7", "")),
        ("grafana/grafana:12", ("docker.io", "grafana/grafana", "12", "")),
        ("docker.io/redis", ("docker.io", "library/redis", "latest", "")),
        ("index.docker.io/a/b", ("docker.io", "a/b", "latest", "")),
        ("quay.io/kiali/kiali:v2.27", ("quay.io", "kiali/kiali", "v2.27", "")),
        ("localhost/lab/redis:lab", ("localhost", "lab/redis", "lab", "")),
        ("localhost:5000/grafana", ("localhost:5000", "grafana", "latest", "")),
        ("mirror:5000/a/b_c.d/e--f:1.2-x_y", ("mirror:5000", "a/b_c.d/e--f", "1.2-x_y", "")),
        ("[::1]:5000/a", ("[::1]:5000", "a", "latest", "")),
        ("Mirror/a", ("Mirror", "a", "latest", "")),
        (f"redis@{SHA}", ("docker.io", "library/redis", "", SHA)),
        (f"redis:7@{SHA}", ("docker.io", "library/redis", "7", SHA)),
    ],
)
def test_a_reference_is_read_with_dockers_defaults(image, parts):
    assert parse_reference(image) == Reference(*parts)
    assert parse_reference(str(parse_reference(image))) == parse_reference(image)


@pytest.mark.parametrize(
    "image",
    [
        "",
        "a b",
        "Redis",
        "a//b",
        "a:",
        "a@sha256:short",
        "https://quay.io/a",
        "a:b:c",
        "{{ .ProxyImage }}",
        "a/-b",
        "-a.b/c",
    ],
)
def test_what_is_no_image_is_told(image):
    with pytest.raises(ValueError, match="is not a valid image name"):
        parse_reference(image)
    assert Registries.of({"*": "mirror.example.com"}).rewrite(image) == image


MIRROR = {"docker.io": "m.example.com/hub", "docker.io/istio": "m.example.com/istio", "quay.io/": "m.example.com:5000"}


@pytest.mark.parametrize(
    ("targets", "image", "moved"),
    [
        (MIRROR, "redis", "m.example.com/hub/library/redis:latest"),
        (MIRROR, "docker.io/istio/pilot:1", "m.example.com/istio/pilot:1"),
        (MIRROR, "docker.io/istio-testing/pilot:1", "m.example.com/hub/istio-testing/pilot:1"),
        (MIRROR, f"quay.io/kiali/kiali:v2@{SHA}", f"m.example.com:5000/kiali/kiali:v2@{SHA}"),
        (MIRROR, "ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        (MIRROR, "m.example.com/istio/pilot:1", "m.example.com/istio/pilot:1"),
        ({"*": "m.example.com/x"}, "quay.io/a/b:1", "m.example.com/x/a/b:1"),
        ({"*": "m.example.com/x"}, "redis:7", "m.example.com/x/library/redis:7"),
        ({"*": "m.example.com/x"}, "m.example.com/x/a:1", "m.example.com/x/a:1"),
        ({"*": "m.example.com/x"}, "m.example.com/xy/a:1", "m.example.com/x/xy/a:1"),
        ({"*": "m.example.com", "quay.io": "quay.io"}, "quay.io/a/b:1", "quay.io/a/b:1"),
        ({"docker.io": "docker.io/ours"}, "docker.io/ours/a:1", "docker.io/ours/a:1"),
        ({"docker.io/library/redis": "m.example.com/cache"}, "redis:7", "m.example.com/cache:7"),
        ({}, "redis", "redis"),
    ],
)
def test_the_longest_registry_that_fits_says_where_an_image_comes_from_and_twice_is_as_once(targets, image, moved):
    registries = Registries.of(targets)
    assert registries.rewrite(image) == moved
    assert registries.rewrite(moved) == moved


@pytest.mark.parametrize(
    ("targets", "hub", "moved"),
    [
        (MIRROR, "docker.io/istio", "m.example.com/istio"),
        (MIRROR, "istio", "m.example.com/istio"),
        (MIRROR, "docker.io/other", "m.example.com/hub/other"),
        (MIRROR, "registry.istio.io/release", "registry.istio.io/release"),
        ({"*": "m.example.com/x"}, "registry.istio.io/release", "m.example.com/x/release"),
        ({"*": "m.example.com/x"}, "registry.istio.io", "m.example.com/x"),
        ({"*": "m.example.com/x"}, "m.example.com/x/istio", "m.example.com/x/istio"),
        (MIRROR, "no hub", "no hub"),
    ],
)
def test_a_hub_moves_like_its_images(targets, hub, moved):
    assert Registries.of(targets).hub(hub) == moved


def test_a_hub_cannot_part():
    with pytest.raises(InvalidOption, match="docker.io/istio/pilot is only a part of docker.io/istio"):
        Registries.of({"docker.io/istio/pilot": "m.example.com/pilot"}).hub("docker.io/istio")


@pytest.mark.parametrize(
    "wrong",
    [
        "https://m.example.com",
        "mirror",
        "mirror/istio",
        "m.example.com/a:1",
        "m.example.com/A",
        "",
        "m.example.com//a",
        None,
    ],
)
def test_what_is_no_registry_is_refused_as_key_and_as_target(wrong):
    for option in ({"docker.io": wrong}, {wrong: "m.example.com"}):
        with pytest.raises(InvalidOption, match="registries: .* is not a valid registry") as error:
            Registries.of(option)
        assert "without scheme and tag" in error.value.hint


def spec(image="a:1", **more):
    return {"containers": [{"name": "c", "image": image}], **more}


def workload(kind, inner):
    return {
        "apiVersion": "x.example.com/v1",
        "kind": kind,
        "metadata": {"name": "w", "namespace": "shop"},
        "spec": inner,
    }


CRON = workload("CronJob", {"jobTemplate": {"spec": {"template": {"spec": spec()}}}})
ROLLOUT = workload("Rollout", {"template": {"metadata": {}, "spec": spec()}})
TEMPLATE = {
    "apiVersion": "v1",
    "kind": "PodTemplate",
    "metadata": {"name": "w", "namespace": "shop"},
    "template": {"spec": spec()},
}


@pytest.mark.parametrize(
    "obj", [deployment("w", image="a:1"), workload("Pod", spec()), CRON, ROLLOUT, TEMPLATE], ids=lambda obj: obj["kind"]
)
def test_images_are_found_and_moved_in_whatever_makes_pods(obj):
    before = copy.deepcopy(obj)
    (use,) = uses([obj])
    assert (use.image, use.ref.kind, use.place.partition(" ")[0]) == ("a:1", obj["kind"], "container")
    moved = adapted(obj, lambda image: f"m/{image}", ["key"])
    assert [use.image for use in uses([moved])] == ["m/a:1"] and uses([moved])[0].template["spec"][
        "imagePullSecrets"
    ] == [{"name": "key"}]
    assert obj == before


def test_every_kind_of_container_counts_and_images_that_are_volumes():
    inner = spec("b", initContainers=[{"name": "i", "image": "a"}], ephemeralContainers=[{"name": "e", "image": "c"}])
    inner["volumes"] = [{"name": "model", "image": {"reference": "d"}}, {"name": "none", "emptyDir": {}}]
    obj = workload("Pod", inner)
    assert [(use.image, str(use)) for use in uses([obj])] == [
        ("a", "Pod shop/w, container i"),
        ("b", "Pod shop/w, container c"),
        ("c", "Pod shop/w, container e"),
        ("d", "Pod shop/w, volume model"),
    ]
    assert [use.image for use in uses([adapted(obj, str.upper)])] == ["A", "B", "C", "D"]


def test_what_only_looks_like_a_pod_is_left_alone():
    crd = definition("webs", "Web", "example.com")
    crd["spec"]["versions"] = [
        {"schema": {"properties": {"template": {"spec": {"containers": {"type": "array", "image": "a"}}}}}}
    ]
    text = config("a", spec="containers: [{image: a}]")
    strange = workload("Web", {"image": "a", "template": "a", "containers": [{"image": "a"}]})
    for obj in (crd, text, strange):
        assert uses([obj]) == [] and adapted(obj, str.upper, ["key"]) is obj
    assert uses([workload("Pod", {"containers": [{"name": "c"}, "words"], "volumes": None})]) == []


def test_pull_secrets_stand_beside_those_that_are_there():
    obj = pod("a")
    obj["spec"]["imagePullSecrets"] = [{"name": "own"}]
    assert adapted(obj, str, ["key", "own"])["spec"]["imagePullSecrets"] == [{"name": "own"}, {"name": "key"}]
    assert "imagePullSecrets" not in adapted(pod("a"), str)["spec"]
