# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check says something about what is wrong, and nothing about what comes near it; and no object, however wrong,
stops it.
"""

from __future__ import annotations

import copy
import random
import re
from typing import Any

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import ref_of
from ansible_collections.servicemesh.istio.plugins.module_utils._preflight import registry
from ansible_collections.servicemesh.istio.plugins.module_utils._preflight.loader import (
    Picture,
    default_gateway,
    mesh_config_of,
    normalize_objects,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._preflight.object_index import GLOBAL, KINDS, World
from builders import READY, namespace, secret
from collection import ROOT
from sound_mesh import SYSTEM, certificate, injector, validator

CASES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "tests/unit/preflight/cases.yml").read_text(encoding="utf-8"))
VERSIONS = {"gateway.networking.k8s.io": "v1", "": "v1", "apps": "v1"}
MESH = {"defaultProviders": {}, "extensionProviders": [{"name": "jaeger"}]}
SOUND = {
    "Service web": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    "Service two": {"ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 81}]},
    "Service istio-system/istiod": {"ports": [{"name": "https-webhook", "port": 443}]},
    "Pod web-v1": {
        "+labels": {"app": "web", "version": "v1"},
        "containers": [{"name": "web"}],
        "initContainers": [{"name": "istio-proxy", "image": "proxy"}],
        "=status": {"phase": "Running", "conditions": [READY]},
    },
    "Pod web-v2": {
        "+labels": {"app": "web", "version": "v2"},
        "containers": [{"name": "web"}, {"name": "istio-proxy", "image": "proxy"}],
        "=status": {"phase": "Running", "conditions": [READY]},
    },
    "Pod istio-system/prometheus": {
        "+labels": {"app.kubernetes.io/name": "prometheus"},
        "containers": [{"name": "prometheus"}],
    },
    "ServiceAccount web": {},
    "Gateway web": {
        "selector": {"istio": "ingressgateway"},
        "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*.example.com"]}],
    },
    "VirtualService web": {
        "hosts": ["web", "web.example.com"],
        "gateways": ["mesh", "web"],
        "http": [{"route": [{"destination": {"host": "web", "subset": "v1"}}]}],
    },
    "DestinationRule web": {
        "host": "web",
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}],
    },
    "GatewayClass /istio": {},
    "RouteGateway web": {
        "gatewayClassName": "istio",
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP", "hostname": "*.example.com"}],
    },
}


def laid(written: dict[str, Any]) -> list[dict[str, Any]]:
    """Objects as the cases write them: {"Kind name", "Kind namespace/name" or, without a namespace, "Kind /name":
    spec}.
    """
    found = []
    for key, fields in written.items():
        kind, place = key.split(" ")
        space, _slash, name = place.rpartition("/")
        group, real = KINDS[kind]
        version = VERSIONS.get(group, "v1")
        obj: dict[str, Any] = {
            "apiVersion": f"{group}/{version}" if group else version,
            "kind": real,
            "metadata": {"name": name},
            "spec": {},
        }
        if kind not in GLOBAL:
            obj["metadata"]["namespace"] = space or "shop"
        for field, value in (fields or {}).items():
            holder, field = {"+": (obj["metadata"], field[1:]), "=": (obj, field[1:])}.get(
                field[0], (obj["spec"], field)
            )
            # A test may change what it was given, and the cases are everybody's.
            holder[field] = copy.deepcopy(value)
        found.append(obj)
    return found


def sound() -> list[dict[str, Any]]:
    spaces = [
        namespace("shop", **{"istio-injection": "enabled"}),
        namespace(SYSTEM),
        namespace("plain", **{"istio-injection": "disabled"}),
    ]
    hooks = [
        injector("istio-sidecar-injector"),
        validator(
            "istiod-default-validator", {"matchExpressions": [{"key": "istio.io/rev", "operator": "DoesNotExist"}]}
        ),
    ]
    hooks[1]["webhooks"][0]["rules"][0]["apiGroups"] += ["telemetry.istio.io", "extensions.istio.io"]
    keys = secret("web", SYSTEM, {"tls.crt": certificate(), "tls.key": "key"})
    return [*spaces, *hooks, keys, *default_gateway(SYSTEM), *laid(SOUND)]


def mesh(written: dict[str, Any], **more: Any) -> Picture:
    """These objects, laid over the sound mesh."""
    new, gone = (
        laid({key: value for key, value in written.items() if value is not None}),
        laid({key: None for key, value in written.items() if value is None}),
    )
    own = {ref_of(obj) for obj in [*new, *gone]}
    options = {"complete": True, "mesh": MESH, **more}
    return Picture(
        World([*(obj for obj in sound() if ref_of(obj) not in own), *new], new, **options),
        new,
        World(sound(), **options),
    )


def found(code: str, picture: Picture) -> list[str]:
    return [
        f"{row['ref']['kind']} {row['ref']['name']} {row['field']}"
        for row in registry.run_checks(picture, set(registry.BY_CODE) - {code})
    ]


def test_every_check_has_its_cases_in_the_order_of_the_table():
    assert list(CASES) == list(registry.BY_CODE) and len(CASES) == len(registry.CHECKS) >= 40
    assert all(case["told"] for case in CASES.values())


def test_nothing_is_found_on_a_sound_mesh():
    rows = registry.run_checks(Picture(World(sound(), complete=True, mesh=MESH), []))
    assert [registry.finding_text(row) for row in rows] == []


@pytest.mark.parametrize("code", CASES)
def test_it_says_so(code):
    assert found(code, mesh(CASES[code]["fails"])) == CASES[code]["told"]


@pytest.mark.parametrize("code", CASES)
def test_it_is_silent_on_what_comes_near(code):
    assert found(code, mesh(CASES[code]["passes"])) == []


@pytest.mark.parametrize("code", CASES)
def test_what_is_wrong_may_be_suppressed_as_istioctl_has_it(code):
    check = registry.BY_CODE[code]
    picture = mesh(CASES[code]["fails"])
    for finding in list(check.judge(picture.world)):
        finding.obj["metadata"].setdefault("annotations", {})[registry.SUPPRESS] = (
            registry.analyzer_codes(check) or ["*"]
        )[0]
    assert found(code, picture) == []


ODD = [
    None,
    "",
    "x",
    "*",
    -1,
    0,
    70000,
    True,
    [],
    {},
    [None],
    ["x"],
    [[]],
    [{}],
    {"x": None},
    {"x": "y"},
    "a/b/c",
    "http://[",
    "(",
    "1.2.3.4/99",
    "{{ x }}",
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place inside a value, as (holder, key)."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


@pytest.mark.parametrize("seed", range(12))
def test_nothing_that_a_file_may_hold_stops_it(seed):
    """Objects pass the checks of kind, name, labels and annotations that every file goes through; all else may be
    anything.
    """
    chance = random.Random(seed)
    for case in chance.sample(list(CASES.values()), 60):
        written = copy.deepcopy(
            laid({key: value for key, value in {**SOUND, **case["fails"]}.items() if value is not None})
        )
        for _time in range(3):
            inside = [
                place
                for obj in written
                for key in ("spec", "status", "webhooks", "data")
                if key in obj
                for place in [(obj, key), *places(obj[key])]
            ]
            holder, key = chance.choice(inside)
            holder[key] = copy.deepcopy(chance.choice(ODD))
        written = normalize_objects(written, "shop")
        own = {ref_of(obj) for obj in written}
        world = World(
            [*(obj for obj in sound() if ref_of(obj) not in own), *written],
            complete=chance.random() < 0.5,
            mesh=mesh_config_of(written, SYSTEM),
        )
        rows = registry.run_checks(Picture(world, []))
        assert all(row["message"] and row["field"] for row in rows)


def test_codes_and_sentences_have_one_form():
    for check in registry.CHECKS:
        assert re.fullmatch(r"[a-z0-9_]+", check.code) and check.severity in registry.SEVERITIES
        assert (
            all(text[0].isupper() or text[0].islower() for text in (check.fails, check.remedy))
            and check.fails.endswith(".")
            and check.remedy.endswith(".")
        ), check.code
        assert "|" not in check.fails + check.remedy + check.source


def test_objects_without_a_namespace_come_into_the_one_that_is_given_and_the_last_of_one_name_counts():
    given = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": []}},
    ]
    assert [(obj["metadata"].get("namespace"), obj.get("spec")) for obj in normalize_objects(given, "shop")] == [
        ("shop", {"ports": []}),
        (None, None),
    ]


def test_a_share_may_go_to_what_a_deployment_brings_along():
    split = {
        "VirtualService web": {
            "hosts": ["web"],
            "http": [{"route": [{"destination": {"host": "web", "subset": "v3"}}]}],
        },
        "DestinationRule web": {"host": "web", "subsets": [{"name": "v3", "labels": {"version": "v3"}}]},
    }
    assert found("weight_on_nothing_ready", mesh(split)) == ["VirtualService web spec.http[0].route[0]"]
    template = {"metadata": {"labels": {"app": "web", "version": "v3"}}}
    assert found("weight_on_nothing_ready", mesh({**split, "Deployment web-v3": {"template": template}})) == []


def test_a_live_deployment_without_pods_is_none_that_a_subset_may_mean():
    live = laid(
        {
            "Deployment web-v3": {"template": {"metadata": {"labels": {"app": "web", "version": "v3"}}}},
            "DestinationRule web": {"host": "web", "subsets": [{"name": "v3", "labels": {"version": "v3"}}]},
        }
    )
    assert found("subset_without_pods", Picture(World([*sound()[:-2], *live], complete=True), live)) == [
        "DestinationRule web spec.subsets[0]"
    ]
