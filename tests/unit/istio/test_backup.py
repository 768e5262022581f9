# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.files import manifests
from ansible_collections.servicemesh.istio.plugins.module_utils._istio import backup
from builders import config, deployment, istio
from hypothesis import given, settings
from hypothesis import strategies as st

# What YAML reads as something else than what was written, if it is not written with care.
TEXTS = (
    st.text()
    | st.text(alphabet="a \n\r\x85\u2028\t:-#'\"|>\ufeffé=~0.1e", max_size=30)
    | st.sampled_from(["on", "no", "null", "2026-01-01", "0o644", "1e3", "22:22", "=", "<<"])
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_what_is_written_is_read_as_the_same(value):
    obj = {**istio("EnvoyFilter", "a"), "spec": value}
    assert manifests.parse_manifests(backup.to_yaml([obj]), "src") == [obj]


def test_a_part_that_is_there_twice_is_written_twice():
    shared = {"host": "web"}
    assert backup.to_yaml([istio("VirtualService", "a", one=shared, two=shared)]).count("host: web") == 2


def test_documents_are_in_order_whatever_the_servers():
    first, second = istio("VirtualService", "a"), istio("VirtualService", "b")
    assert backup.to_yaml([second, first]) == backup.to_yaml([first, second])


@pytest.mark.parametrize(
    ("labels", "name"),
    [({}, "istio"), ({"istio.io/rev": "default"}, "istio"), ({"istio.io/rev": "1-31-0"}, "istio-1-31-0")],
)
def test_a_revisions_mesh_configuration_is_found_by_its_name(labels, name):
    found = backup.mesh_configs([deployment("istiod", "mesh", labels={"app": "istiod", **labels})])
    assert [str(ref) for ref in found] == [f"ConfigMap mesh/{name}"]


def test_a_shared_mesh_configuration_is_found_by_istiods_own_variable():
    istiod = deployment("istiod", "mesh")
    istiod["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "SHARED_MESH_CONFIG", "value": "shared"},
        {"name": "OTHER", "value": "x"},
    ]
    assert [str(ref) for ref in backup.mesh_configs([istiod])] == ["ConfigMap mesh/istio", "ConfigMap mesh/shared"]


def test_what_keeps_out_comes_before_what_lets_in_and_routes_come_last():
    policies = [
        istio("AuthorizationPolicy", action.lower(), group="security.istio.io", action=action)
        for action in ("ALLOW", "DENY", "CUSTOM")
    ]
    rest = [
        istio("HTTPRoute", "http", group="gateway.networking.k8s.io"),
        istio("VirtualService", "route"),
        istio("WorkloadEntry", "workload"),
        config("mesh"),
    ]
    steps = backup.restore_steps(policies + rest, {}, "servicemesh.istio")
    assert [[obj["metadata"]["name"] for obj in step.objects] for step in steps] == [
        ["mesh"],
        ["deny", "custom"],
        ["allow", "workload"],
        ["http", "route"],
    ]
