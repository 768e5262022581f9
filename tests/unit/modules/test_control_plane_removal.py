# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a control plane: not while it is used, in an order that leaves nothing stuck, and with a list of what is
left.
"""

from __future__ import annotations

import copy
import json

import fake_istioctl
import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from builders import actions, config, definition, deployment, istio, namespace, pod, secret
from memory_api import MemoryApi

HOME = "istio-system"
ADMISSION = "admissionregistration.k8s.io/v1"


@pytest.fixture
def api():
    memory = MemoryApi(namespace("shop"), namespace("other"))
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        memory.controllers[kind] = fake_istioctl.arm
    return memory


@pytest.fixture(scope="module")
def renderings(tmp_path_factory):
    return tmp_path_factory.mktemp("renderings")


@pytest.fixture
def istioctl(run, tmp_path, renderings):
    (tmp_path / "cache").symlink_to(renderings)
    return str(fake_istioctl.write(tmp_path))


@pytest.fixture
def plane(run, istioctl, api):
    """The default control plane, or another one; after it no request is counted."""

    def install(**options):
        assert "failed" not in run("control_plane", istioctl=istioctl, **options)
        api.requests.clear()

    return install


@pytest.fixture
def remove(run):
    return lambda check=False, **options: run("control_plane", check=check, state="absent", **options)


def proxied(name, place="shop", revision="default", sidecar="native"):
    made = pod(name, place, {"app": "web"}, sidecar=sidecar)
    made["metadata"]["annotations"] = {"istio.io/rev": revision} if revision else {}
    return made


def ambient(name):
    made = pod(name)
    made["metadata"]["annotations"] = {"ambient.istio.io/redirection": "enabled"}
    return made


def going(obj):
    return {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


def hook(name, kind="MutatingWebhookConfiguration", **labels):
    app = "sidecar-injector" if kind.startswith("Mutating") else "istiod"
    return {
        "apiVersion": ADMISSION,
        "kind": kind,
        "metadata": {"name": name, "labels": {"app": app, **labels}},
        "webhooks": [],
    }


def tag(name, revision="default"):
    labels = {"istio.io/tag": name, "istio.io/rev": revision}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"istiod-revision-tag-{name}", "namespace": HOME, "labels": labels},
        "spec": {"ports": [{"port": 443}]},
    }
    return [hook(f"istio-revision-tag-{name}", **labels), service]


def left(result):
    return {row["ref"] for row in result["leftovers"]}


# What uses the revision default, and the words that tell it.
USES = {
    "pods": ([proxied("a"), proxied("b"), proxied("c", "other", sidecar="container")], "pods: 3 (other 1, shop 2)"),
    "an unknown proxy": ([proxied("a", revision="")], "pods: 1 (shop 1)"),
    "a pod of a node's proxy": ([ambient("a")], "pods: 1 (shop 1)"),
    "a namespace by injection": ([namespace("shop", **{"istio-injection": "enabled"})], "namespaces: 1 (shop)"),
    "a namespace by revision": ([namespace("shop", **{"istio.io/rev": "default"})], "namespaces: 1 (shop)"),
    "an ambient namespace": ([namespace("shop", **{"istio.io/dataplane-mode": "ambient"})], "namespaces: 1 (shop)"),
    "a tag": (tag("stable"), "revision tags: 1 (stable)"),
}


@pytest.mark.parametrize(("objects", "words"), USES.values(), ids=USES)
def test_a_control_plane_in_use_stays_and_its_users_are_named(api, plane, remove, objects, words):
    plane()
    for obj in objects:
        api.put(obj)
    refused = remove()
    assert (refused["failure"]["code"], refused["changed"], api.writes()) == ("revision_in_use", False, [])
    assert words in refused["msg"] and "delete_in_use" in refused["failure"]["hint"]
    planned = remove(check=True)
    assert words in str(planned["warnings"]) and actions(planned)["istiod"] == "pruned" and api.writes() == []
    done = remove(delete_in_use=True)
    assert done["changed"] and api.get("Deployment", "istiod", HOME) is None
    again = remove()
    assert not again["changed"] and "failed" not in again, "what is gone is used by nobody"


def test_many_users_are_counted_and_the_first_ones_named(api, plane, remove):
    plane()
    for number in range(14):
        api.put(namespace(f"team-{number:02}", **{"istio-injection": "enabled"}))
    assert "namespaces: 14 (team-00, " in remove()["msg"] and "team-09 and 4 more)" in remove()["msg"]


def finished(name):
    return pod(name, phase="Succeeded", sidecar="container")


def test_what_uses_another_revision_or_nothing_is_no_user(api, plane, remove):
    plane()
    plane(revision="canary", profile="minimal")
    api.put(namespace("shop", **{"istio-injection": "enabled"}))
    api.put(namespace("off", **{"istio-injection": "disabled"}))
    api.put(namespace("ambient", **{"istio.io/dataplane-mode": "ambient"}))
    api.put(going(namespace("going", **{"istio.io/rev": "canary"})))
    for obj in (
        proxied("a"),
        proxied("unknown", revision=""),
        ambient("b"),
        finished("done"),
        going(proxied("going", revision="canary")),
        *tag("stable"),
    ):
        api.put(obj)
    done = remove(revision="canary")
    assert done["changed"] and "failed" not in done and "leftovers" not in done
    assert api.get("MutatingWebhookConfiguration", "istio-revision-tag-stable")
    assert remove()["failure"]["code"] == "revision_in_use"


def test_gateways_that_go_with_it_are_no_users(api, plane, remove):
    plane()
    gateway = proxied("istio-ingressgateway-1", HOME)
    gateway["metadata"]["labels"] = {"app": "istio-ingressgateway"}
    api.put(gateway)
    done = remove()
    assert "failed" not in done and "Pod istio-system/istio-ingressgateway-1" not in left(done)


def test_node_agents_that_go_with_it_are_no_users(api, plane, remove):
    plane()
    own = api.get("Deployment", "istiod", HOME)["metadata"]["labels"]["applyset.kubernetes.io/part-of"]
    agent = deployment("ztunnel", HOME, labels={"app": "ztunnel", "applyset.kubernetes.io/part-of": own})
    api.put({**agent, "kind": "DaemonSet"})
    running = proxied("ztunnel-1", HOME, revision="")
    running["metadata"]["labels"] = {"app": "ztunnel"}
    api.put(running)
    done = remove()
    assert "failed" not in done, done


def test_a_gateway_of_somebody_else_is_a_user(api, plane, remove):
    plane()
    api.put(deployment("edge", "other"))
    gateway = proxied("edge-1", "other")
    gateway["metadata"]["labels"] = {"app": "edge"}
    api.put(gateway)
    assert "pods: 1 (other 1)" in remove()["msg"]


def test_tags_of_a_revision_that_goes_go_first_whoever_made_them(run, api, plane, remove, istioctl):
    plane()
    plane(revision="canary", profile="minimal")
    assert run("revision_tag", name="ours", revision="canary", istioctl=istioctl)["changed"]
    for obj in tag("theirs", "canary"):
        api.put(obj)
    api.requests.clear()
    done = remove(revision="canary", delete_in_use=True)
    assert done["changed"] and not [key for key in api.objects if "tag-ours" in key[3] or "tag-theirs" in key[3]]
    paths = [path for _method, path in api.writes()]
    assert max(number for number, path in enumerate(paths) if "revision-tag" in path) < min(
        number for number, path in enumerate(paths) if path.endswith("istiod-canary")
    )


def test_an_istiod_that_somebody_else_installed_is_not_thought_gone(api, plane, remove):
    api.put(namespace(HOME))
    api.put(deployment("istiod", HOME, labels={"app": "istiod"}), manager="istio-operator")
    for options in ({}, {"purge": True}):
        refused = remove(**options)
        assert (
            refused["failure"]["code"] == "not_ours"
            and "Deployment istio-system/istiod" in refused["msg"]
            and api.writes() == []
        )


def test_a_control_plane_of_another_namespace_is_not_thought_gone(plane, remove):
    plane(istio_namespace="mesh")
    refused = remove()
    assert refused["failure"]["code"] == "not_ours" and "Deployment mesh/istiod" in refused["msg"]
    assert remove(istio_namespace="mesh")["changed"]


def test_users_objects_that_go_with_the_definitions_are_planned_counted_and_go_before_them(api, plane, remove):
    plane()
    api.put(istio("Gateway", "front"))
    api.put(istio("Gateway", "back", "other"))
    planned = remove(check=True, delete_crds=True, delete_namespace=True)
    assert "all objects of their kinds: Gateway 2" in str(planned["warnings"]) and {
        actions(planned)[name] for name in ("front", "back")
    } == {"pruned"}
    assert api.writes() == [] and "Gateway" not in str(remove(check=True).get("warnings")), (
        "they stay where the definitions do"
    )
    done = remove(delete_crds=True, delete_namespace=True)
    assert actions(done) == actions(planned) and done["diff"] == planned["diff"]
    ends = (
        "/istio-sidecar-injector",
        "/deployments/istiod",
        "/gateways/front",
        "/gateways.networking.istio.io",
        f"/namespaces/{HOME}",
    )
    order = [next(number for number, (_method, path) in enumerate(api.writes()) if path.endswith(end)) for end in ends]
    assert order == sorted(order)


def test_an_object_that_a_finalizer_holds_is_named_and_neither_definitions_nor_namespace_are_touched(
    api, plane, remove
):
    plane()
    api.put(istio("Gateway", "stuck", finalizers=["example.com/of-nobody"]))
    result = remove(delete_crds=True, delete_namespace=True, wait_timeout=1)
    assert (
        result["failure"]["code"] == "timeout"
        and "Gateway shop/stuck" in result["msg"]
        and "example.com/of-nobody" in result["msg"]
    )
    assert api.get("CustomResourceDefinition", "gateways.networking.istio.io") and api.get("Namespace", HOME)
    api.drop("Gateway", "stuck", "shop")
    assert "failed" not in remove(delete_crds=True, delete_namespace=True) and api.get("Namespace", HOME) is None


ELECTED = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "istio-leader",
        "namespace": HOME,
        "annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"},
    },
}
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "istiod-clusterrole-istio-system", "labels": {"app": "istiod"}},
}
# What Istio leaves of its own -> which purge takes.
OWN = {
    "MutatingWebhookConfiguration old": hook("old"),
    "ValidatingWebhookConfiguration old": hook("old", "ValidatingWebhookConfiguration"),
    "Service istio-system/istiod-revision-tag-old": tag("old", "gone")[1],
    "ConfigMap istio-system/istio-leader": ELECTED,
    "Lease istio-system/istio-gateway-status-leader": {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "istio-gateway-status-leader", "namespace": HOME},
    },
    "Secret istio-system/istio-ca-secret": secret("istio-ca-secret", HOME, {"ca-key.pem": "private-key-nobody-sees"}),
    "ClusterRole istiod-clusterrole-istio-system": ROLE,
    "ClusterRoleBinding istio-reader-clusterrole-istio-system": {
        **ROLE,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "istio-reader-clusterrole-istio-system", "labels": {"app": "istio-reader"}},
    },
    "GatewayClass istio": istio(
        "GatewayClass", "istio", "", group="gateway.networking.k8s.io", controllerName="istio.io/gateway-controller"
    ),
}
# What people gave to it, or still use -> which purge leaves.
THEIRS = {
    "Secret istio-system/cacerts": secret("cacerts", HOME, {"ca-key.pem": "private-key-nobody-sees"}),
    "Secret other/remote": {
        **secret("remote", "other", {"kubeconfig": "x"}),
        "metadata": {"name": "remote", "namespace": "other", "labels": {"istio/multiCluster": "true"}},
    },
    "CustomResourceDefinition sidecars.networking.istio.io": definition("sidecars", "Sidecar", "networking.istio.io"),
    "Namespace other": namespace("other", **{"istio-injection": "enabled"}),
    "Pod shop/a": proxied("a", revision="gone"),
}
# What only looks like it.
STRANGE = [
    config("istio-notes", HOME, text="x"),
    config("kube-leader", HOME),
    {**ELECTED, "metadata": {**ELECTED["metadata"], "namespace": "shop"}},
    {**ROLE, "metadata": {"name": "team-istiod", "labels": {"app": "istiod"}}},
    {**ROLE, "metadata": {"name": "istiod-dashboard", "labels": {"app": "dashboard"}}},
    hook("other", "ValidatingWebhookConfiguration", app="cert-manager"),
    secret("tls", HOME, {"tls.key": "x"}),
    definition("certificates", "Certificate", "cert-manager.io"),
    istio("GatewayClass", "nginx", "", group="gateway.networking.k8s.io", controllerName="nginx.org/gateway"),
    going(namespace("going", **{"istio-injection": "enabled"})),
    going({**ROLE, "metadata": {"name": "istiod-going", "labels": {"app": "istiod"}}}),
    namespace("plain"),
    pod("plain"),
    pod("done", phase="Succeeded", sidecar="container"),
]


@pytest.fixture
def ruins(api):
    api.put(namespace(HOME))
    for obj in [*OWN.values(), *THEIRS.values(), *STRANGE]:
        api.put(obj)
    return api


def test_what_is_left_is_listed_with_its_reason_and_nothing_that_only_looks_like_it(ruins, remove):
    result = remove()
    assert left(result) == {*OWN, *THEIRS} and not result["changed"] and ruins.writes() == []
    assert all(row["why"] for row in result["leftovers"])
    assert (
        next(row for row in result["leftovers"] if row["ref"] == "Namespace other")["why"]
        == "it has the label istio-injection=enabled"
    )


def test_purge_takes_istios_own_and_leaves_what_people_gave_it(ruins, remove):
    before = copy.deepcopy(ruins.objects)
    planned = remove(check=True, purge=True)
    assert planned["summary"]["pruned"] == len(OWN) and left(planned) == set(THEIRS) and ruins.writes() == []
    done = remove(purge=True)
    assert (actions(done), left(done), done["diff"]) == (actions(planned), set(THEIRS), planned["diff"])
    assert "private-key" not in json.dumps(done) and "cHJpdmF0ZS1rZXktbm9ib2R5LXNlZXM=" not in json.dumps(done)
    gone = {key[1:] for key in before if key not in ruins.objects}
    assert (
        len(gone) == len(OWN)
        and {(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) for obj in OWN.values()}
        == gone
    )
    again = remove(purge=True)
    assert not again["changed"] and left(again) == set(THEIRS)


def test_purge_takes_labels_that_the_namespace_module_set_and_no_other(run, api, remove):
    api.put(namespace("shop", team="web"))
    run("namespace", name="shop", injection="enabled", labels={"tier": "front"})
    api.put(namespace("other", **{"istio-injection": "enabled"}))
    planned = remove(check=True, purge=True)
    assert actions(planned) == {"shop": "configured"}
    done = remove(purge=True)
    assert (
        actions(done) == {"shop": "configured"}
        and left(done) == {"Namespace other"}
        and not remove(purge=True)["changed"]
    )
    assert api.get("Namespace", "shop")["metadata"]["labels"] == {"team": "web", "tier": "front"}
    assert api.get("Namespace", "other")["metadata"]["labels"] == {"istio-injection": "enabled"}


def test_what_goes_in_the_same_run_is_not_left_also_in_check_mode(api, plane, remove):
    plane()
    for obj in (ELECTED, proxied("a")):
        api.put(obj)
    options = {"delete_crds": True, "delete_namespace": True, "delete_in_use": True}
    planned = remove(check=True, **options)
    assert left(planned) == {"Pod shop/a"} and left(remove(**options)) == {"Pod shop/a"}


def test_after_a_whole_removal_nothing_is_left(api, plane, remove):
    plane()
    assert remove(delete_crds=True, delete_namespace=True, purge=True)["leftovers"] == []
    assert {key[1] for key in api.objects} == {"Namespace"} and {key[3] for key in api.objects} == {"shop", "other"}


def test_purge_waits_for_the_last_one(api, plane, remove):
    plane()
    plane(revision="canary", profile="minimal")
    refused = remove(revision="canary", purge=True)
    assert (
        refused["failure"]["code"] == "invalid_option"
        and refused["msg"].startswith("purge: revision default still exists")
        and api.writes() == []
    )


def test_what_may_not_be_listed_is_unknown_and_not_thought_gone(ruins, remove):
    ruins.faults[("GET", "/apis/coordination.k8s.io/v1/namespaces/istio-system/leases")] = [
        ApiError(403, "Forbidden", "may not list leases")
    ]
    result = remove()
    assert {"ref": "Lease *", "why": "unknown: may not list leases"} in result["leftovers"]
    ruins.faults[("GET", "/apis/coordination.k8s.io/v1/namespaces/istio-system/leases")] = [
        ApiError(0, "", "connection refused")
    ]
    assert remove()["failure"]["code"] == "unreachable"
