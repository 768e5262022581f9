# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from builders import deployment, namespace, pod, service

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "192.0.2.9"}]}}


def istiod(name="istiod", place="istio-system", revision="default", image="docker.io/istio/pilot:1.31.0", ready=1):
    labels = {"app": "istiod", "istio.io/rev": revision}
    obj = deployment(name, place, image, labels)
    obj["spec"]["template"]["spec"]["containers"] = [{"name": "other", "image": "x:9"}, {"name": "discovery", "image": image}]
    obj["spec"]["replicas"] = 2
    return {**obj, "status": {"readyReplicas": ready}}


def gateway(name="istio-ingressgateway", ingress=(), labels=None, **spec):
    ports = [{"name": "status-port", "port": 15021, "nodePort": 30021}, {"name": "http2", "port": 80, "nodePort": 30080}]
    obj = service(name, "istio-system", **{"type": "LoadBalancer", "ports": ports, **spec})
    obj["metadata"]["labels"] = labels or {"istio": "ingressgateway"}
    obj["status"] = {"loadBalancer": {"ingress": list(ingress)}}
    return obj


def test_an_empty_cluster_has_a_server_and_no_mesh(run, api):
    result = run("mesh_info")
    assert result["cluster"] == {"name": "memory", "server": "https://memory.invalid", "version": "v1.36.3"}
    assert (result["changed"], result["control_planes"], result["namespaces"], result["gateways"], result["addons"]) == (False, [], [], [], [])
    assert api.writes() == [] and run("mesh_info", check=True)["cluster"] == result["cluster"]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("docker.io/istio/pilot:1.31.0", "1.31.0"),
        ("localhost:5000/istio/pilot:1.31.0-distroless", "1.31.0-distroless"),
        ("docker.io/istio/pilot:1.31.0@sha256:abc", "1.31.0"),
    ],
)
def test_a_control_planes_version_is_its_images(run, api, image, version):
    api.put(istiod(image=image))
    assert run("mesh_info")["control_planes"] == [{"revision": "default", "namespace": "istio-system", "version": version, "ready": 1, "replicas": 2}]


def test_every_control_plane_is_told_by_revision(run, api):
    api.put(istiod("istiod-canary", revision="canary", image="pilot:1.32.0", ready=0))
    api.put(istiod("istiod", revision="1-31-0"))
    api.put(deployment("not-istiod", "istio-system"))
    found = run("mesh_info")["control_planes"]
    assert [(plane["revision"], plane["version"], plane["ready"]) for plane in found] == [("1-31-0", "1.31.0", 1), ("canary", "1.32.0", 0)]


def counts(run):
    return {row["name"]: (row["enrolled"], row["expected"], row["total"]) for row in run("mesh_info")["namespaces"]}


def test_native_sidecars_count_as_those_of_old(run, api):
    api.put(namespace("shop", **{"istio-injection": "enabled"}))
    for obj in (pod("a", sidecar="native"), pod("b", sidecar="container"), pod("c")):
        api.put(obj)
    assert counts(run) == {"shop": (2, 3, 3)}


def test_a_namespace_counts_if_it_asks_for_sidecars_or_has_some(run, api):
    api.put(namespace("by-revision", **{"istio.io/rev": "canary"}))
    api.put(namespace("said-no", **{"istio-injection": "disabled", "istio.io/rev": "canary"}))
    api.put(namespace("by-pod"))
    api.put(pod("a", "by-pod", {"sidecar.istio.io/inject": "true"}, sidecar="native"))
    api.put(pod("b", "by-pod"))
    api.put(pod("c", "said-no"))
    assert counts(run) == {"by-pod": (1, 1, 2), "by-revision": (0, 0, 0)}
    rows = {row["name"]: (row["injection"], row["revision"]) for row in run("mesh_info")["namespaces"]}
    assert rows == {"by-pod": ("", ""), "by-revision": ("", "canary")}


def test_pods_that_are_over_or_going_do_not_count(run, api):
    api.put(namespace("shop", **{"istio-injection": "enabled"}))
    going = pod("going")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for obj in (pod("done", phase="Succeeded"), pod("broken", phase="Failed"), going, pod("web", sidecar="native")):
        api.put(obj)
    assert counts(run) == {"shop": (1, 1, 1)}


def test_a_gateways_own_pods_are_no_enrolled_ones(run, api):
    api.put(pod("ingress", "istio-system", {"istio": "ingressgateway"}, sidecar="container"))
    assert counts(run) == {}


@pytest.mark.parametrize(
    ("live", "addresses", "url"),
    [
        (gateway(ingress=[{"ip": "192.0.2.1"}]), ["192.0.2.1"], "http://192.0.2.1"),
        (gateway(ingress=[{"hostname": "lb.example.com"}], ports=[{"name": "http2", "port": 8080}]), ["lb.example.com"], "http://lb.example.com:8080"),
        (gateway(ingress=[{"ip": "2001:db8::1"}]), ["2001:db8::1"], "http://[2001:db8::1]"),
        (gateway(), ["192.0.2.9"], "http://192.0.2.9:30080"),
        (gateway(type="NodePort"), ["192.0.2.9"], "http://192.0.2.9:30080"),
        (gateway(type="ClusterIP"), [], ""),
        (gateway(ingress=[{"ip": "192.0.2.1"}], ports=[{"name": "tls", "port": 443}]), ["192.0.2.1"], ""),
    ],
)
def test_a_gateway_is_reached_at_its_own_address_or_else_at_a_nodes(run, api, live, addresses, url):
    api.put(NODE)
    api.put(live)
    (found,) = run("mesh_info")["gateways"]
    assert (found["addresses"], found["url"]) == (addresses, url)


def test_gateways_of_the_gateway_api_are_gateways(run, api):
    api.put(gateway("made-for-me", labels={"gateway.networking.k8s.io/gateway-name": "main"}))
    api.put(service("web"))
    assert [row["name"] for row in run("mesh_info")["gateways"]] == ["made-for-me"]


def test_addons_are_those_beside_a_control_plane(run, api):
    api.put(istiod())
    for name, place in (("kiali", "istio-system"), ("tracing", "istio-system"), ("grafana", "shop"), ("web", "istio-system")):
        api.put(service(name, place))
    assert run("mesh_info")["addons"] == [
        {"name": "jaeger", "namespace": "istio-system", "address": "http://tracing.istio-system:80"},
        {"name": "kiali", "namespace": "istio-system", "address": "http://kiali.istio-system:20001"},
    ]


@pytest.mark.parametrize(("status", "code"), [(0, "unreachable"), (403, "forbidden"), (401, "unauthorized")])
def test_what_may_not_be_read_is_told_and_is_never_nothing(run, api, status, code):
    api.faults[("GET", "/api/v1/services")] = [ApiError(status, "", "services is forbidden")]
    assert run("mesh_info")["failure"]["code"] == code


def test_tags_lead_to_revisions_and_stale_pods_are_counted(run, api):
    for name, revision, tag in (("old", "1-30-4", ""), ("new", "1-31-0", ""), ("stable", "1-31-0", "stable")):
        labels = {"app": "sidecar-injector", "istio.io/rev": revision, **({"istio.io/tag": tag} if tag else {})}
        api.put({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": name, "labels": labels}, "webhooks": []})
    api.put({**namespace("shop"), "metadata": {"name": "shop", "labels": {"istio.io/rev": "stable"}}})
    for name, revision in (("a", "1-30-4"), ("b", "1-31-0")):
        made = pod(name)
        made["spec"]["containers"].append({"name": "istio-proxy"})
        api.put(made)
        api.get("Pod", name, "shop")["metadata"]["annotations"] = {"istio.io/rev": revision}
    result = run("mesh_info")
    assert result["tags"] == [{"name": "stable", "revision": "1-31-0", "namespaces": ["shop"]}]
    row = result["namespaces"][0]
    assert (row["uses"], row["stale"], row["enrolled"]) == ("1-31-0", 1, 2)
