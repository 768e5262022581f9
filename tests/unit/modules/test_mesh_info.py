# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import sound_mesh
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._istio import webhooks
from builders import deployment, namespace, pod, service
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sound_mesh import SoundMesh, certificate, injector, owned, proxied, root

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n"},
    "status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "192.0.2.9"}]},
}


def istiod(name="istiod", place="istio-system", revision="default", image="docker.io/istio/pilot:1.31.0", ready=1):
    labels = {"app": "istiod", "istio.io/rev": revision}
    obj = deployment(name, place, image, labels)
    obj["spec"]["template"]["spec"]["containers"] = [
        {"name": "other", "image": "x:9"},
        {"name": "discovery", "image": image},
    ]
    obj["spec"]["replicas"] = 2
    return {**obj, "status": {"readyReplicas": ready}}


def gateway(name="istio-ingressgateway", ingress=(), labels=None, **spec):
    ports = [
        {"name": "status-port", "port": 15021, "nodePort": 30021},
        {"name": "http2", "port": 80, "nodePort": 30080},
    ]
    obj = service(name, "istio-system", **{"type": "LoadBalancer", "ports": ports, **spec})
    obj["metadata"]["labels"] = labels or {"istio": "ingressgateway"}
    obj["status"] = {"loadBalancer": {"ingress": list(ingress)}}
    return obj


def test_an_empty_cluster_has_a_server_and_no_mesh(run, api):
    result = run("mesh_info")
    assert result["cluster"] == {"name": "memory", "server": "https://memory.invalid", "version": "v1.36.3"}
    assert (
        result["changed"],
        result["control_planes"],
        result["namespaces"],
        result["gateways"],
        result["addons"],
    ) == (False, [], [], [], [])
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
    assert run("mesh_info")["control_planes"] == [
        {"revision": "default", "namespace": "istio-system", "version": version, "ready": 1, "replicas": 2}
    ]


def test_every_control_plane_is_told_by_revision(run, api):
    api.put(istiod("istiod-canary", revision="canary", image="pilot:1.32.0", ready=0))
    api.put(istiod("istiod", revision="1-31-0"))
    api.put(deployment("not-istiod", "istio-system"))
    found = run("mesh_info")["control_planes"]
    assert [(plane["revision"], plane["version"], plane["ready"]) for plane in found] == [
        ("1-31-0", "1.31.0", 1),
        ("canary", "1.32.0", 0),
    ]


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
        (
            gateway(ingress=[{"hostname": "lb.example.com"}], ports=[{"name": "http2", "port": 8080}]),
            ["lb.example.com"],
            "http://lb.example.com:8080",
        ),
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
    for name, place in (
        ("kiali", "istio-system"),
        ("tracing", "istio-system"),
        ("grafana", "shop"),
        ("web", "istio-system"),
    ):
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
        api.put(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": name, "labels": labels},
                "webhooks": [],
            }
        )
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


def about(runner, mesh, **options):
    return runner(mesh.api(), "mesh_info", **options)


def test_a_whole_mesh_in_one_value(runner):
    mesh = SoundMesh()
    mesh.put(sound_mesh.definition("others.example.com"))
    result = about(runner, mesh)
    assert [plane["version"] for plane in result["control_planes"]] == ["1.31.0"] and result["forbidden_kinds"] == {}
    assert result["webhooks"][0] == {
        "name": "istio-revision-tag-default", "kind": "injection", "revision": "default", "tag": "default", "active": True,
        "targets": ["istio-system/istiod"], "failure_policies": ["Fail"], "has_ca": True, "ready_endpoints": 2,
    }  # fmt: skip
    assert {row["name"]: row["kind"] for row in result["webhooks"][1:]} == {
        "istio-validator-istio-system": "validation",
        "istiod-default-validator": "validation",
    }
    assert result["crds"] == {
        "version": "1.31.0",
        "objects": [{"name": name, "version": "1.31.0"} for name in sorted(sound_mesh.DEFINITIONS)],
    }
    assert result["root_certificates"] == [
        {
            "fingerprint": known().fingerprint(hashes.SHA256()).hex(),
            "begins": written(known().not_valid_before_utc),
            "expires": written(known().not_valid_after_utc),
        }
    ]
    assert result["proxies"] == {
        "unknown": "",
        "connected": 4,
        "synced": 4,
        "rejected": {},
        "disconnected": [],
        "versions": {"1.31.0": 4},
    }
    assert result["skew"] == {"verdict": "kept", "findings": []}
    web = next(row for row in result["workloads"] if row["name"] == "web")
    assert web == {
        "kind": "Deployment",
        "name": "web",
        "namespace": "shop",
        "pods": ["web-a", "web-b"],
        "restartable": True,
        "revisions": ["default"],
        "uses": "default",
        "missing_sidecar": [],
        "stale": [],
    }


def known():
    return x509.load_pem_x509_certificate(certificate().encode())


def written(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_workloads_say_which_of_their_pods_lack_a_sidecar_or_have_a_stale_one(runner):
    mesh = SoundMesh()
    bare = owned(pod("web-c", labels={"istio.io/rev": "next"}), "apps/v1", "ReplicaSet", "web-1")
    mesh.put(
        injector("istio-sidecar-injector-next", "next"),
        proxied("web-a", revision="1-30-4", owner="web-1"),
        bare,
        pod("alone", "plain"),
    )
    rows = {row["name"]: row for row in about(runner, mesh)["workloads"] if row["namespace"] != "istio-system"}
    assert set(rows) == {"web"} and (rows["web"]["revisions"], rows["web"]["uses"]) == (
        ["1-30-4", "default"],
        "default",
    )
    assert (rows["web"]["missing_sidecar"], rows["web"]["stale"]) == (["web-c"], ["web-a"])


def test_a_webhook_that_a_tag_replaced_is_not_active_and_one_without_a_service_has_nothing_behind(runner):
    mesh = SoundMesh()
    mesh.put(webhooks.deactivated(injector("istio-sidecar-injector")))
    mesh.get("ValidatingWebhookConfiguration", "istiod-default-validator")["webhooks"][0].update(
        clientConfig={"service": {"namespace": "istio-system", "name": "gone"}}, failurePolicy="Ignore"
    )
    mesh.get("ValidatingWebhookConfiguration", "istio-validator-istio-system")["webhooks"][0].update(
        clientConfig={"url": "https://istiod.example.com/validate"}
    )
    mesh.put(service("outside", "istio-system", type="ExternalName", selector={}))
    mesh.get("MutatingWebhookConfiguration", "istio-revision-tag-default")["webhooks"][0]["clientConfig"]["service"][
        "name"
    ] = "outside"
    rows = {row["name"]: row for row in about(runner, mesh)["webhooks"]}
    assert (rows["istio-revision-tag-default"]["targets"], rows["istio-revision-tag-default"]["ready_endpoints"]) == (
        ["istio-system/istiod", "istio-system/outside"],
        2,
    )
    assert rows["istio-sidecar-injector"]["active"] is False and rows["istio-revision-tag-default"]["active"] is True
    row = rows["istiod-default-validator"]
    assert (row["ready_endpoints"], row["has_ca"], row["failure_policies"]) == (0, False, ["Ignore"])
    row = rows["istio-validator-istio-system"]
    assert (row["targets"], row["has_ca"], row["ready_endpoints"]) == (
        ["https://istiod.example.com/validate"],
        True,
        None,
    )


def test_proxies_that_are_behind_lost_or_refuse_are_told(runner):
    mesh = SoundMesh()
    mesh.behind, mesh.rejected = {"web-a.shop"}, {"web-b.shop": "no such filter"}
    mesh.put(proxied("web-c", version="1.29.0"), proxied("web-d", conditions=[{"type": "Ready", "status": "False"}]))
    result = about(runner, mesh)
    assert result["proxies"] == {
        "unknown": "",
        "connected": 4,
        "synced": 2,
        "rejected": {"web-b.shop": "no such filter"},
        "disconnected": ["web-c.shop"],
        "versions": {"1.29.0": 1, "1.31.0": 5},
    }
    assert result["skew"]["verdict"] == "broken" and result["skew"]["findings"][0]["code"] == "proxies_too_old"


def test_where_istiod_cannot_be_asked_nothing_is_guessed(runner):
    mesh = SoundMesh()
    mesh.mute = True
    told = about(runner, mesh)["proxies"]
    assert (
        "cannot read the proxy status" in told["unknown"]
        and told["disconnected"] is None
        and told["versions"] == {"1.31.0": 4}
    )


def test_istiods_are_not_asked_where_that_is_not_wanted(runner):
    api = SoundMesh().api()
    result = runner(api, "mesh_info", proxies=False)
    assert result["proxies"] is None and not [path for method, path in api.requests if method == "ASK"]


def test_a_control_plane_elsewhere_has_its_own_root(runner):
    mesh = SoundMesh()
    mesh.no_control_plane()
    mesh.put(namespace("mesh"), *sound_mesh.istiod(place="mesh"), root("mesh", certificate("its own")))
    theirs = x509.load_pem_x509_certificate(certificate("its own").encode()).fingerprint(hashes.SHA256()).hex()
    assert [row["fingerprint"] for row in about(runner, mesh)["root_certificates"]] == [theirs]


def test_a_root_certificate_that_cannot_be_read_is_not_known_and_one_that_is_not_there_is_none(runner):
    mesh = SoundMesh()
    mesh.put(root("istio-system", "none"))
    assert about(runner, mesh)["root_certificates"] is None
    for place in ("istio-system", "shop", "plain"):
        mesh.drop("ConfigMap", "istio-ca-root-cert", place)
    assert about(runner, mesh)["root_certificates"] == []


@pytest.mark.parametrize(
    ("path", "part", "unread"),
    [
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "crds", "crds"),
        ("/apis/apps/v1/replicasets", "workloads", "replica_sets"),
        ("/apis/apps/v1/daemonsets", None, "node_agents"),
        ("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", None, "validators"),
    ],
)
def test_what_may_not_be_read_is_missing_with_the_servers_words_and_all_else_is_told(runner, path, part, unread):
    api = SoundMesh().api()
    api.faults[("GET", path)] = [ApiError(403, "Forbidden", "viewer may not list these")]
    result = runner(api, "mesh_info")
    assert result["forbidden_kinds"] == {unread: "viewer may not list these"} and result["proxies"]["connected"] == 4
    assert part is None or result[part] is None
    assert result["skew"]["verdict"] == ("unknown" if unread in ("crds", "node_agents") else "kept")


def test_each_list_is_read_once(runner):
    mesh = SoundMesh()
    mesh.put(service("by-hand", selector={}))
    api = mesh.api()
    runner(api, "mesh_info")
    read = [path for method, path in api.requests if method == "GET"]
    assert sorted(path for path in set(read) if read.count(path) > 1) == ["/api/v1/configmaps"], (
        "two selectors of one kind"
    )
    assert not [path for path in read if "endpointslices" in path], "only for Services that select no pods"


def test_a_query_is_answered_beside_the_result(runner):
    result = about(runner, SoundMesh(), query="control_planes[?ready > `1`].version | [0]")
    assert result["answer"] == "1.31.0" and result["control_planes"] and "answer" not in about(runner, SoundMesh())
    assert about(runner, SoundMesh(), query="nothing.like.it")["answer"] is None


@pytest.mark.parametrize(("query", "asked"), [("control_planes[", False), ("length(answer)", True)])
def test_a_query_that_cannot_be_answered_is_refused_with_its_option_and_if_it_can_before_anything_is_read(
    runner, query, asked
):
    api = SoundMesh().api()
    result = runner(api, "mesh_info", query=query)
    assert (
        result["failure"]["code"] == "invalid_option"
        and result["msg"].startswith("query: ")
        and bool(api.requests) is asked
    )
