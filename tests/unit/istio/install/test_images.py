# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a mesh as data: what istiod injects, where they come from instead, and what is to be copied."""

from __future__ import annotations

import json
import textwrap

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.images import Registries
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.dataplane.injection_templates import injection
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.install import images
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.install.images import Images
from builders import config, deployment

HOME = "istio-system"
MIRROR = Registries.of({"docker.io": "m.example.com/hub", "quay.io": "m.example.com/quay"})


def either(values, otherwise, quote=""):
    """How the charts of 1.31 and, with quote, those of 1.30 name an image: a whole one from the values, or what istiod
    computes.
    """
    value = f"annotation .ObjectMeta `sidecar.istio.io/proxyImage` .Values.global.{values}.image"
    line = f"image: {{{{ {value} | quote }}}}" if quote else f'image: "{{{{ {value} }}}}"'
    return (
        f'  {{{{- if contains "/" ({value}) }}}}\n    {line}\n  {{{{- else }}}}\n    image: "{{{{ .{otherwise} }}}}"\n '
        ' {{- end }}\n    {{with .Values.global.imagePullPolicy }}imagePullPolicy: "{{.}}"{{end}}\n'
    )


def sidecar(init="ProxyInitImage", quote=""):
    return (
        f"spec:\n  initContainers:\n  - name: istio-init\n{either('proxy_init', init, quote)}  containers:\n  - name:"
        f" istio-proxy\n{either('proxy', 'ProxyImage', quote)}"
    )


def control_plane(templates=None, default=("sidecar",), mesh=None, suffix="", own=None, **its_global):
    values = {
        "global": {
            "hub": "docker.io/istio",
            "tag": "1.31.0",
            "variant": "",
            "proxy": {"image": "proxyv2"},
            "proxy_init": {"image": "proxyv2"},
            **its_global,
        }
    }
    values["sidecarInjectorWebhook"] = {"templates": own or {}}
    parts = {"sidecar": sidecar(), **(templates or {}), **(own or {})}
    # Blocks, as the charts write them.
    text = f"defaultTemplates: {json.dumps(list(default))}\ntemplates:\n" + "".join(
        f"  {name}: |\n{textwrap.indent(part, '    ')}\n" for name, part in parts.items()
    )
    maps = [config(f"istio-sidecar-injector{suffix}", HOME, values=json.dumps(values), config=text)]
    return [*maps, config(f"istio{suffix}", HOME, mesh=yaml.safe_dump(mesh or {}))]


def injected(template="sidecar", **options):
    return injection(control_plane(**options)).images(template)[0]


@pytest.mark.parametrize(
    ("options", "init", "proxy"),
    [
        ({}, "docker.io/istio/proxyv2:1.31.0", "docker.io/istio/proxyv2:1.31.0"),
        ({"suffix": "-canary"}, "docker.io/istio/proxyv2:1.31.0", "docker.io/istio/proxyv2:1.31.0"),
        (
            {"variant": "distroless"},
            "docker.io/istio/proxyv2:1.31.0-distroless",
            "docker.io/istio/proxyv2:1.31.0-distroless",
        ),
        (
            {"tag": "1.31.0-debug", "variant": "distroless"},
            "docker.io/istio/proxyv2:1.31.0-distroless",
            "docker.io/istio/proxyv2:1.31.0-distroless",
        ),
        (
            {"tag": "1.31.0-debug", "variant": "default"},
            "docker.io/istio/proxyv2:1.31.0",
            "docker.io/istio/proxyv2:1.31.0",
        ),
        ({"tag": 1.31}, "docker.io/istio/proxyv2:1.31", "docker.io/istio/proxyv2:1.31"),
        (
            {"proxy": {"image": "envoy"}, "proxy_init": {"image": "iptables"}},
            "docker.io/istio/iptables:1.31.0",
            "docker.io/istio/envoy:1.31.0",
        ),
        (
            {"proxy": {"image": "quay.io/ours/envoy:1"}, "proxy_init": {}},
            "docker.io/istio/proxyv2:1.31.0",
            "quay.io/ours/envoy:1",
        ),
        ({"proxy_init": {"image": "quay.io/ours/init:1"}}, "quay.io/ours/init:1", "docker.io/istio/proxyv2:1.31.0"),
        (
            {"mesh": {"defaultConfig": {"image": {"imageType": "debug"}}}},
            "docker.io/istio/proxyv2:1.31.0",
            "docker.io/istio/proxyv2:1.31.0-debug",
        ),
    ],
)
def test_a_sidecar_and_its_init_container_have_the_images_that_istiod_will_say(options, init, proxy):
    assert injected(**options) == [init, proxy]


def test_charts_of_an_older_minor_have_one_computed_image():
    own = {"templates": {"sidecar": sidecar("ProxyImage", quote="|")}}
    mesh = {"defaultConfig": {"image": {"imageType": "debug"}}}
    assert injected(**own, mesh=mesh) == ["docker.io/istio/proxyv2:1.31.0-debug"] * 2
    assert injected(**own, proxy_init={"image": "quay.io/ours/init:1"}) == [
        "quay.io/ours/init:1",
        "docker.io/istio/proxyv2:1.31.0",
    ]


def test_images_of_other_templates_are_read_as_they_stand():
    text = (
        "spec:\n  containers:\n  - image: busybox:1.28  # small\n  - name: b\n    image: '{{ .Values.global.hub"
        ' }}/b:{{.Values.global.tag}}\'\n  - name: c\n    image: "{{ .Wild }}"\n'
    )
    found = injection(control_plane(own={"mine": text}))
    assert found.images("mine") == (["busybox:1.28", "docker.io/istio/b:1.31.0"], ["{{ .Wild }}"])
    assert found.images("nowhere") == ([], [])
    assert injected("agentgateway", templates={"agentgateway": "image: {{ .AgentgatewayImage }}"}) == [
        "docker.io/istio/agentgateway:1.31.0"
    ]


def listed(objects, asked=()):
    found, inside = Images(), injection(objects)
    found.add_objects(objects, inside)
    if inside:
        found.add_injection(inside, asked)
    return found


def names(found):
    return [row["image"] for row in found.rows()]


def test_templates_on_request_count_where_somebody_asks_or_wrote_one():
    plane = control_plane({"grpc-simple": "image: busybox:1.28"})
    assert names(listed(plane)) == ["docker.io/istio/proxyv2:1.31.0"]
    assert names(listed(plane, ["grpc-simple"])) == ["docker.io/istio/proxyv2:1.31.0", "docker.io/library/busybox:1.28"]
    assert "docker.io/library/busybox:1.28" in names(
        listed(control_plane({"grpc-simple": "image: busybox:1.28"}, ["grpc-simple"]))
    )
    assert "docker.io/library/mine:1" in names(listed(control_plane(own={"grpc-simple": "image: mine:1"})))
    with pytest.raises(InvalidOption, match="nope is not an injection template") as error:
        listed(plane, ["nope"])
    assert error.value.hint == "Use one of grpc-simple, sidecar."


def test_the_image_auto_is_told_as_what_injection_puts_there():
    gateway = deployment("gateway", HOME, "auto")
    asks = deployment("asks", HOME, "auto")
    asks["spec"]["template"]["metadata"]["annotations"] = {"inject.istio.io/templates": "sidecar, gateway"}
    plane = control_plane({"gateway": "image: gateway:1"})
    rows = {row["image"]: row["used_by"] for row in listed([*plane, gateway, asks]).rows()}
    assert rows == {
        "docker.io/istio/proxyv2:1.31.0": [
            "Deployment istio-system/asks, container server, by injection template sidecar",
            "Deployment istio-system/gateway, container server, by injection template sidecar",
            "injection template sidecar",
        ],
        "docker.io/library/gateway:1": [
            "Deployment istio-system/asks, container server, by injection template gateway",
            "injection template gateway",
        ],
    }
    alone = listed([gateway])
    assert alone.rows() == [] and alone.unknown == {
        "Deployment istio-system/gateway, container server: injection sets its image, and no control plane is set"
    }


def test_no_injector_injects_nothing():
    assert injection([config("istio", HOME, mesh="{}")]) is None
    assert injection([config("istio-sidecar-injector", HOME, values="{", config="a: 1")]) is None


def test_each_image_is_listed_once_in_order_with_its_parts_and_users():
    sha = "sha256:" + "b" * 64
    found = listed(
        [
            deployment("b", image=f"quay.io/x/y@{sha}"),
            deployment("a", image="redis:7"),
            deployment("c", image="docker.io/library/redis:7"),
            deployment("d", image="No Image"),
        ]
    )
    found.add("redis", "extra")
    assert found.rows() == [
        {
            "image": "docker.io/library/redis:7",
            "registry": "docker.io",
            "repository": "library/redis",
            "tag": "7",
            "digest": "",
            "used_by": ["Deployment shop/a, container server", "Deployment shop/c, container server"],
        },
        {
            "image": "docker.io/library/redis:latest",
            "registry": "docker.io",
            "repository": "library/redis",
            "tag": "latest",
            "digest": "",
            "used_by": ["extra"],
        },
        {
            "image": f"quay.io/x/y@{sha}",
            "registry": "quay.io",
            "repository": "x/y",
            "tag": "",
            "digest": sha,
            "used_by": ["Deployment shop/b, container server"],
        },
    ]
    assert found.unknown == {"Deployment shop/d, container server: 'No Image' is not a valid image name"}


def plan(registries, *given):
    found = Images()
    for image in given:
        found.add(image, "extra")
    return [(row["source"], row["target"]) for row in found.plan(Registries.of(registries))]


def test_the_plan_says_what_is_copied_to_which_name():
    sha = "sha256:" + "c" * 64
    mirror = {"docker.io": "m.example.com/hub"}
    assert plan(mirror, "redis:7", "quay.io/a/b:1", "m.example.com/hub/a:1") == [
        ("docker.io/library/redis:7", "m.example.com/hub/library/redis:7")
    ]
    assert plan(mirror, f"a/b:1@{sha}", f"a/c@{sha}") == [
        (f"docker.io/a/b@{sha}", "m.example.com/hub/a/b:1"),
        (f"docker.io/a/c@{sha}", f"m.example.com/hub/a/c@{sha}"),
    ]
    assert plan(mirror, "a/b:1", f"a/b:1@{sha}") == [(f"docker.io/a/b@{sha}", "m.example.com/hub/a/b:1")]
    assert plan({}, "redis:7") == []


def test_two_images_that_would_become_one_are_refused():
    with pytest.raises(
        InvalidOption, match="docker.io/a/b:1 and quay.io/a/b:1 would both be copied to m.example.com/a/b:1"
    ) as error:
        plan({"*": "m.example.com"}, "quay.io/a/b:1", "a/b:1")
    assert error.value.code == "same_target"


def test_values_move_by_hub_whole_image_container_and_template():
    values = {
        "global": {
            "hub": "docker.io/istio",
            "proxy": {"image": "proxyv2"},
            "proxy_init": {"image": "quay.io/ours/init:1"},
            "imagePullSecrets": ["key"],
        },
        "pilot": {
            "hub": "",
            "image": "docker.io/ours/pilot:1",
            "initContainers": [{"name": "wait", "image": "busybox:1"}],
        },
        "meshConfig": {"defaultConfig": {"image": {"imageType": "debug"}}},
        "sidecarInjectorWebhook": {
            "templates": {"mine": "a: 1\nimage: 'busybox:1' # why\nimage: \"{{ .ProxyImage }}\"\n"}
        },
    }
    before = json.dumps(values)
    assert images.of_values(values, MIRROR) == {
        "global": {
            "hub": "m.example.com/hub/istio",
            "proxy": {"image": "proxyv2"},
            "proxy_init": {"image": "m.example.com/quay/ours/init:1"},
            "imagePullSecrets": ["key"],
        },
        "pilot": {
            "hub": "",
            "image": "m.example.com/hub/ours/pilot:1",
            "initContainers": [{"name": "wait", "image": "m.example.com/hub/library/busybox:1"}],
        },
        "meshConfig": {"defaultConfig": {"image": {"imageType": "debug"}}},
        "sidecarInjectorWebhook": {
            "templates": {
                "mine": "a: 1\nimage: 'm.example.com/hub/library/busybox:1' # why\nimage: \"{{ .ProxyImage }}\"\n"
            }
        },
    }
    assert json.dumps(values) == before


def test_a_rendered_control_plane_moves_with_all_that_it_will_inject():
    plane = [
        *control_plane({"mine": "image: busybox:1"}),
        deployment("istiod", HOME, "docker.io/istio/pilot:1"),
        deployment("gateway", HOME, "auto"),
        config("values", HOME, **{"merged-values": '{"global": {"hub": "docker.io/istio"}}'}),
    ]
    moved = [images.of_control_plane(obj, MIRROR) for obj in plane]
    assert names(listed(moved)) == [
        "m.example.com/hub/istio/pilot:1",
        "m.example.com/hub/istio/proxyv2:1.31.0",
        "m.example.com/hub/library/busybox:1",
    ]
    assert moved[3]["spec"]["template"]["spec"]["containers"][0]["image"] == "auto"
    assert json.loads(moved[4]["data"]["merged-values"]) == {"global": {"hub": "m.example.com/hub/istio"}}
    assert moved[1] == plane[1] and names(listed(plane))[0] == "docker.io/istio/pilot:1"
    assert [images.of_control_plane(obj, Registries()) is obj for obj in plane] == [True] * 5
    assert [use.image for use in images.beyond(plane, MIRROR)] == ["docker.io/istio/pilot:1"] and images.beyond(
        moved, MIRROR
    ) == []


def test_configuration_of_others_is_not_mistaken_for_that_of_a_control_plane():
    for data in (
        {"values": "not: json", "config": "image: busybox"},
        {"values": '{"hub": "docker.io/istio"}', "config": "image: busybox"},
        {},
    ):
        obj = config("own", **data)
        assert images.of_control_plane(obj, MIRROR) == obj


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ({}, ["key"]),
        ({"global": {"network": "n"}}, ["key"]),
        ({"global": {"imagePullSecrets": ["own"]}}, ["own", "key"]),
        ({"global": {"imagePullSecrets": ["key"]}}, ["key"]),
    ],
)
def test_pull_secrets_stand_beside_those_of_the_values(values, known):
    found = images.with_pull_secrets(values, ["key"])
    assert found["global"] == {**values.get("global", {}), "imagePullSecrets": known}
    assert images.with_pull_secrets(values, []) is values
