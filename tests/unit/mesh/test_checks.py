# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check fails on what it is for, and on nothing that comes near it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Callable

import builders
import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._checks.check import Finding
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._istio import webhooks
from ansible_collections.servicemesh.istio.plugins.module_utils._mesh import facts, registry
from ansible_collections.servicemesh.istio.plugins.module_utils._mesh.facts import PROXIES, SLICES, SOURCES
from ansible_collections.servicemesh.istio.plugins.module_utils._mesh.gate import INSTALL, RUNNING, UPGRADE, Gate
from collection import ROOT
from sound_mesh import (
    SYSTEM,
    SoundMesh,
    agent,
    bundle,
    certificate,
    custom,
    definition,
    injector,
    istiod,
    owned,
    proxied,
    replica_set,
    root,
    routes,
    validator,
)

CODES = [check.code for check in registry.CHECKS]


def gate(phase=RUNNING, **more):
    version = {} if phase == RUNNING else {"version": "1.31.0"}
    return Gate(phase, **{**version, **more})


def read(mesh, the_gate, sources):
    return facts.read_facts(Cluster(mesh.api()), the_gate.namespace, sources)


def asked(mesh, code, the_gate=None):
    """The row of one check, for which only its own sources are read."""
    check = registry.BY_CODE[code]
    the_gate = the_gate or gate(check.phases[0])
    found = read(mesh, the_gate, {*check.reads, *({"istiods"} if check.release else ())})
    rows = [row for row in registry.run_checks(found, the_gate, set(CODES) - {code}) if row["code"] == code]
    return rows[0] if rows else None


@dataclass
class Case:
    """fails: breaks a sound mesh; objects: what is named then; passes: comes near to that and breaks nothing."""

    code: str
    fails: Callable[[SoundMesh], object]
    objects: list[str]
    passes: Callable[[SoundMesh], object]
    gate: Gate | None = None
    near: Gate | None = None

    @property
    def place(self):
        return self.gate or gate(registry.BY_CODE[self.code].phases[0])


def set_field(mesh, kind, name, namespace, **fields):
    mesh.get(kind, name, namespace).update(fields)


def spec(mesh, kind, name, namespace="shop", **fields):
    mesh.get(kind, name, namespace)["spec"].update(fields)


def canary(mesh, version="1.32.0", revision="canary"):
    """A second control plane, with an injector of its own."""
    mesh.put(*istiod(revision, version), injector(f"istio-sidecar-injector-{revision}", revision))


def hooks(mesh, kind="MutatingWebhookConfiguration", **fields):
    for entry in mesh.hooks(kind):
        entry.update(fields)


def pods(mesh, *names, **more):
    mesh.put(*(proxied(name, **more) for name in names))


def budget(mesh, **status):
    mesh.get("PodDisruptionBudget", "istiod", SYSTEM)["status"] = status


def versions(mesh, version):
    """All of the running mesh is of this version."""
    mesh.put(
        *istiod(version=version),
        agent("istio-cni-node", "k8s-app", "istio-cni-node", version),
        agent("ztunnel", "app", "ztunnel", version),
    )
    pods(mesh, "web-a", "web-b", version=version, owner="web-1")


def unselecting(mesh, ready):
    """istiod runs elsewhere, behind a Service without a selector."""
    endpoints = {"addresses": ["192.0.2.7"], "conditions": {"ready": ready}}
    metadata = {"name": "istiod-x", "namespace": SYSTEM, "labels": {"kubernetes.io/service-name": "istiod"}}
    mesh.put(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata,
            "addressType": "IPv4",
            "endpoints": [endpoints],
        }
    )
    others = {"name": "other-x", "namespace": SYSTEM, "labels": {"kubernetes.io/service-name": "other"}}
    mesh.put(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": others,
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.8"]}],
        }
    )
    mesh.get("Service", "istiod", SYSTEM)["spec"].pop("selector")


def images(mesh, name, image, beside=""):
    others = [{"name": "beside", "image": beside}] if beside else []
    mesh.get("Pod", name, SYSTEM)["spec"]["containers"] = [*others, {"name": "discovery", "image": image}]


def tcp_routes(bundle_version):
    return definition(
        "tcproutes.gateway.networking.k8s.io", "", **{"gateway.networking.k8s.io/bundle-version": bundle_version}
    )


def job_pod(mesh, sidecar_ended=False, native=False):
    state = {"terminated": {"exitCode": 0}}
    pod = builders.pod("once", "shop", {}, sidecar="native" if native else "container")
    pod["status"]["containerStatuses"] = [
        {"name": "server", "state": state},
        {"name": "istio-proxy", "ready": True, "state": state if sidecar_ended else {"running": {}}},
    ]
    mesh.put(owned(pod, "batch/v1", "Job", "once"))


INJECTOR, TAG = "MutatingWebhookConfiguration istio-revision-tag-default", "tag default"
UP, BESIDE = gate(UPGRADE), gate(UPGRADE, revision="1-31-0")
ROOT_NAME = f"ConfigMap {SYSTEM}/istio-ca-root-cert"
DEFAULTS = [
    INJECTOR,
    "ValidatingWebhookConfiguration istio-validator-istio-system",
    "ValidatingWebhookConfiguration istiod-default-validator",
]


def fingerprint(*name, **more):
    found = facts.certificates.of_pem(certificate(*name, **more))[0].fingerprint
    return f"root certificate {found[:16]}"


CASES = [
    Case("kubernetes_too_old", lambda m: setattr(m, "kubernetes", "v1.31.9"), ["Kubernetes v1.31.9"],
         lambda m: setattr(m, "kubernetes", "v1.32.0")),
    Case("kubernetes_too_old", lambda m: setattr(m, "kubernetes", "v1.31.9"), ["Kubernetes v1.31.9"],
         lambda m: setattr(m, "kubernetes", "v1.32.0+k3s1"), gate()),
    Case("kubernetes_untested", lambda m: setattr(m, "kubernetes", "v1.38.0"), ["Kubernetes v1.38.0"],
         lambda m: setattr(m, "kubernetes", "v1.37.9")),
    Case("version_unknown", lambda m: m.put(*istiod(version="1.99.0")), ["Istio 1.99.0"],
         lambda m: m.put(*istiod(version="1.31.9-distroless")), gate()),
    Case("namespace_terminating", lambda m: m.going("Namespace", SYSTEM), ["Namespace istio-system"],
         lambda m: m.going("Namespace", "plain")),
    Case("crds_terminating", lambda m: m.going("CustomResourceDefinition", "virtualservices.networking.istio.io"),
         ["CustomResourceDefinition virtualservices.networking.istio.io"],
         lambda m: m.put(definition("others.example.com")) or m.going("CustomResourceDefinition", "others.example.com")),
    Case("crds_missing", lambda m: setattr(m, "without", ("WasmPlugin",)), ["WasmPlugin.extensions.istio.io"],
         lambda m: setattr(m, "without", ("Job",))),
    Case("crds_old", lambda m: m.put(definition("virtualservices.networking.istio.io", "1.30.4")),
         ["CustomResourceDefinition virtualservices.networking.istio.io"],
         lambda m: m.put(definition("virtualservices.networking.istio.io", "1.31.9"), definition("others.example.com", "1.2.3"))),
    Case("crds_newer", lambda _m: None, ["istio-base"], lambda _m: None, gate(INSTALL, version="1.30.4"),
         gate(INSTALL, version="1.31.9")),
    Case("crds_leftover", lambda m: m.no_control_plane(),
         [f"CustomResourceDefinition {name}" for name in ("authorizationpolicies.security.istio.io", "destinationrules.networking.istio.io",
          "virtualservices.networking.istio.io")],
         lambda m: m.no_control_plane() or m.drop("CustomResourceDefinition") or m.put(definition("others.example.com"))),
    Case("gateway_api_old",
         lambda m: m.put(definition("tlsroutes.gateway.networking.k8s.io", "", **{"gateway.networking.k8s.io/bundle-version": "v1.4.1"})),
         ["CustomResourceDefinition tlsroutes.gateway.networking.k8s.io"],
         lambda m: m.put(definition("tlsroutes.gateway.networking.k8s.io", "", **{"gateway.networking.k8s.io/bundle-version": "v1.5.0"}))),
    Case("gateway_api_old", lambda m: m.put(tcp_routes("v1.5.1")),
         ["CustomResourceDefinition tcproutes.gateway.networking.k8s.io"], lambda m: m.put(tcp_routes("v1.5.1")),
         gate(INSTALL), gate(INSTALL, version="1.30.4")),
    Case("control_plane_missing", lambda m: m.no_control_plane(), ["Namespace istio-system"],
         lambda m: m.put(*istiod(ready=0))),
    Case("istiod_unavailable", lambda m: m.put(*istiod(ready=0)), ["Deployment istio-system/istiod"],
         lambda m: m.put(*istiod(ready=1))),
    Case("istiod_incomplete", lambda m: m.put(*istiod(ready=1)), ["Deployment istio-system/istiod"],
         lambda m: m.put(*istiod(replicas=1, ready=1))),
    Case("istiod_mixed_versions", lambda m: m.put(istiod(version="1.30.4")[1]), ["revision default in istio-system"],
         canary),
    Case("istiod_incomplete", lambda m: m.put(*istiod(ready=1)), ["Deployment istio-system/istiod"],
         lambda m: m.put(*istiod(ready=0))),
    Case("istiod_mixed_versions", lambda m: [images(m, f"istiod-{n}", f"pilot@sha256:{n}") for n in (0, 1)],
         ["revision default in istio-system"],
         lambda m: images(m, "istiod-0", "docker.io/istio/pilot:1.31.0@sha256:0", beside="logs:2")),
    Case("istiod_single", lambda m: m.put(*istiod(replicas=1, ready=1)), ["Deployment istio-system/istiod"],
         lambda m: m.put(*istiod(ready=1))),
    Case("istiod_no_budget", lambda m: m.drop("PodDisruptionBudget"), ["Deployment istio-system/istiod"],
         lambda m: m.drop("PodDisruptionBudget") or m.put(*istiod(replicas=1, ready=1))),
    Case("istiod_budget_blocks", lambda m: budget(m, disruptionsAllowed=0),
         ["PodDisruptionBudget istio-system/istiod"],
         lambda m: m.put({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "other", "namespace": SYSTEM}, "spec": {
             "selector": {"matchLabels": {"app": "other"}}}, "status": {"disruptionsAllowed": 0}})),
    Case("foreign_control_plane", lambda m: setattr(m, "keeper", "istio-operator"), ["Deployment istio-system/istiod"],
         lambda _m: None),
    Case("foreign_control_plane", lambda m: setattr(m, "keeper", "helm"), ["Deployment istio-system/istiod"],
         lambda m: setattr(m, "keeper", "helm"), None, gate(INSTALL, revision="1-31-0")),
    Case("revision_is_tag", lambda m: m.put(injector("istio-revision-tag-stable", tag="stable")), ["tag stable"],
         lambda m: canary(m, revision="stable"), gate(UPGRADE, revision="stable")),
    Case("revision_unused", canary, ["revision canary"],
         lambda m: canary(m) or m.put(builders.namespace("next", **{"istio.io/rev": "canary"}))),
    Case("revision_unused", canary, ["revision canary"], lambda m: canary(m) or pods(m, "web-c", revision="canary")),
    Case("foreign_workloads", lambda m: m.put(builders.pod("miner", SYSTEM, {"app": "miner"})),
         ["Pod istio-system/miner"],
         lambda m: m.put(builders.pod("kiali-1", SYSTEM, {"app": "kiali"}), builders.pod("miner", "plain", {"app": "miner"}))),
    Case("node_agents_not_ready", lambda m: m.put(agent("ztunnel", "app", "ztunnel", ready=2)),
         ["DaemonSet istio-system/ztunnel"], lambda m: m.put(agent("logs", "app", "logs", ready=0))),
    Case("cni_skew", lambda m: m.put(agent("istio-cni-node", "k8s-app", "istio-cni-node", "1.29.9")),
         ["DaemonSet istio-system/istio-cni-node"],
         lambda m: m.put(agent("istio-cni-node", "k8s-app", "istio-cni-node", "1.30.4"))),
    Case("cni_skew", lambda m: m.put(agent("istio-cni-node", "k8s-app", "istio-cni-node", "1.32.0")),
         ["DaemonSet istio-system/istio-cni-node"], lambda m: m.put(agent("ztunnel", "app", "ztunnel", "1.32.0"))),
    Case("cni_skew", lambda m: m.put(agent("istio-cni-node", "k8s-app", "istio-cni-node", "1.30.4")),
         ["DaemonSet istio-system/istio-cni-node"], lambda _m: None, gate(UPGRADE, version="1.32.0")),
    Case("cni_skew", lambda m: m.put(agent("istio-cni-node", "k8s-app", "istio-cni-node", "1.30.4")),
         ["DaemonSet istio-system/istio-cni-node"],
         lambda m: m.put(agent("istio-cni-node", "k8s-app", "istio-cni-node", "1.30.4")),
         gate(UPGRADE, version="1.32.0"), gate(version="1.32.0")),
    Case("ztunnel_skew", lambda m: m.put(agent("ztunnel", "app", "ztunnel", "1.29.9")),
         ["DaemonSet istio-system/ztunnel"], lambda m: m.put(agent("ztunnel", "app", "ztunnel", "1.30.4"))),
    Case("injector_missing", lambda m: m.put(*istiod("canary")), ["revision canary"], canary),
    Case("webhook_no_ca", lambda m: m.hooks()[0]["clientConfig"].pop("caBundle"), [INJECTOR],
         lambda m: m.hooks()[0].update(clientConfig={"url": "https://istiod.example.com/inject"})),
    Case("webhook_no_ca", lambda m: m.hooks()[0]["clientConfig"].pop("caBundle"), [INJECTOR],
         lambda m: m.put(webhooks.deactivated(injector("asleep"))) or m.get("MutatingWebhookConfiguration", "asleep")["webhooks"][0][
         "clientConfig"].pop("caBundle")),
    Case("webhook_ca_foreign", lambda m: m.hooks()[0]["clientConfig"].update(caBundle=bundle(certificate("another"))),
         [INJECTOR],
         lambda m: m.hooks()[0]["clientConfig"].update(caBundle=bundle(certificate("another") + certificate()))),
    Case("webhook_ca_foreign", lambda m: m.hooks()[0]["clientConfig"].update(caBundle="Q0E="), [INJECTOR],
         lambda m: m.hooks()[0].update(clientConfig={"url": "https://istiod.example.com", "caBundle": bundle(certificate("another"))})),
    Case("webhook_service_missing", lambda m: m.drop("Service", "istiod", SYSTEM), DEFAULTS,
         lambda m: m.put(*istiod(ready=0))),
    Case("webhook_unanswered", lambda m: m.put(*istiod(ready=0)), DEFAULTS,
         lambda m: m.put(*istiod(ready=0)) or hooks(m, failurePolicy="Ignore") or hooks(m, "ValidatingWebhookConfiguration", failurePolicy="Ignore")),
    Case("webhook_unanswered", lambda m: unselecting(m, ready=False), DEFAULTS, lambda m: unselecting(m, ready=True)),
    Case("webhook_unanswered", lambda m: m.drop("Service", "istiod", SYSTEM), DEFAULTS,
         lambda m: spec(m, "Service", "istiod", SYSTEM, type="ExternalName", externalName="istiod.example.com", selector={})),
    Case("injector_open", lambda m: m.hooks()[1].update(failurePolicy="Ignore"), [INJECTOR],
         lambda m: m.hooks()[1].pop("failurePolicy")),
    Case("validator_open", lambda m: hooks(m, "ValidatingWebhookConfiguration", failurePolicy="Ignore"), DEFAULTS[1:],
         lambda m: m.hooks()[0].update(failurePolicy="Ignore")),
    Case("default_validator_missing", lambda m: m.drop("ValidatingWebhookConfiguration", "istiod-default-validator"),
         ["objects without a revision"],
         lambda m: m.drop("ValidatingWebhookConfiguration") or m.put(validator("all", {}))),
    Case("webhooks_overlap", lambda m: m.put(injector("old", "old", answers_to="default")), [INJECTOR],
         lambda m: m.put(webhooks.deactivated(injector("old", "old", answers_to="default")))),
    Case("default_tag_missing", lambda m: m.drop("MutatingWebhookConfiguration") or canary(m), [TAG],
         lambda m: m.drop("MutatingWebhookConfiguration") or m.put(injector("istio-sidecar-injector"))),
    Case("tag_dangling", lambda m: m.put(injector("istio-revision-tag-stable", "1-30-4", "stable")), ["tag stable"],
         lambda m: m.put(injector("istio-revision-tag-stable", tag="stable"))),
    Case("tag_dangling", lambda m: m.put(injector("istio-revision-tag-stable", "elsewhere", "stable")), ["tag stable"],
         lambda m: m.put(injector("istio-revision-tag-stable", "elsewhere", "stable"), injector("istio-sidecar-injector-elsewhere", "elsewhere"))),
    Case("namespace_unknown_revision", lambda m: m.put(builders.namespace("lost", **{"istio.io/rev": "1-30-4"})),
         ["Namespace lost"], lambda m: m.put(builders.namespace("found", **{"istio.io/rev": "default"}))),
    Case("namespace_unknown_revision", lambda m: m.put(builders.namespace("lost", **{"istio.io/rev": "1-30-4"})),
         ["Namespace lost"], lambda m: m.put(builders.namespace("lost", **{"istio.io/rev": "1-30-4"})), None,
         gate(namespaces=("shop",))),
    Case("namespace_several_labels",
         lambda m: m.put(builders.namespace("two", **{"istio.io/rev": "default", "istio-injection": "enabled"})),
         ["Namespace two"],
         lambda m: m.put(builders.namespace("two", **{"istio.io/rev": "default", "istio-injection": "disabled"}))),
    Case("namespace_several_labels",
         lambda m: m.put(builders.namespace("two", **{"istio.io/rev": "default", "istio.io/dataplane-mode": "ambient"})),
         ["Namespace two"], lambda m: m.put(builders.namespace("one", **{"istio.io/dataplane-mode": "ambient"}))),
    Case("pods_missing_sidecar", lambda m: m.put(owned(builders.pod("web-c"), "apps/v1", "ReplicaSet", "web-1")),
         ["Deployment shop/web"],
         lambda m: m.put(owned(builders.pod("web-c", labels={"sidecar.istio.io/inject": "false"}), "apps/v1", "ReplicaSet", "web-1"), builders.pod("bare"))),
    Case("pods_missing_sidecar",
         lambda m: m.put(owned(builders.pod("web-c", "plain", {"sidecar.istio.io/inject": "true"}), "apps/v1", "ReplicaSet", "plain-1"), replica_set(
             "plain-1", "plain", "plain")),
         ["Deployment plain/plain"], lambda m: m.put(owned(builders.pod("web-c"), "apps/v1", "ReplicaSet", "web-1")),
         None, gate(namespaces=("plain",))),
    Case("proxies_stale", lambda m: pods(m, "web-c", revision="1-30-4", owner="web-1"), ["Deployment shop/web"],
         lambda m: pods(m, "web-c", revision="1-30-4", namespace="plain", owner="web-1")),
    Case("proxies_stale", lambda m: pods(m, "web-c", revision="1-30-4", owner="web-1"), ["Deployment shop/web"],
         lambda m: pods(m, "bare", revision="1-30-4")),
    Case("proxies_stale", lambda m: canary(m) or m.put(builders.namespace("shop", **{"istio.io/rev": "canary"})),
         ["Deployment shop/web"], canary),
    Case("proxies_stale", lambda m: pods(m, "web-c", revision="1-30-4", owner="web-1"), ["Deployment shop/web"],
         lambda m: pods(m, "web-c", revision="1-30-4", owner="web-1", phase="Succeeded")),
    Case("proxies_stale", lambda m: pods(m, "web-c", revision="1-30-4", owner="web-1"), ["Deployment shop/web"],
         lambda m: pods(m, "web-c", revision="1-30-4", owner="web-1") or m.get("Pod", "web-c", "shop")["metadata"]["annotations"].update({
             "sidecar.istio.io/inject": "false"})),
    Case("pods_not_restartable", lambda m: pods(m, "bare", revision="1-30-4"), ["Pod shop/bare"],
         lambda m: m.put(builders.namespace("kube-system")) or pods(m, "bare", revision="1-30-4", namespace="kube-system", labels={
             "sidecar.istio.io/inject": "true"})),
    Case("pods_not_restartable", lambda m: m.put(builders.pod("bare")), ["Pod shop/bare"],
         lambda m: m.put(owned(builders.pod("web-c"), "apps/v1", "ReplicaSet", "web-1"))),
    Case("pods_not_restartable", lambda m: m.put(owned(proxied("once", revision="1-30-4"), "batch/v1", "Job", "once")),
         ["Job shop/once"], lambda m: m.put(owned(proxied("once"), "batch/v1", "Job", "once"))),
    Case("pods_not_restartable",
         lambda m: m.put(builders.namespace("lost", **{"istio.io/rev": "nowhere"}), builders.pod("bare", "lost")),
         ["Pod lost/bare"], lambda m: m.put(builders.pod("bare", "plain"))),
    Case("pods_not_restartable",
         lambda m: m.put(builders.pod("bare", "plain")) or m.hooks()[2].update(namespaceSelector={}),
         ["Pod plain/bare"], lambda m: m.hooks()[2].update(namespaceSelector={})),
    Case("proxies_orphaned", lambda m: pods(m, "web-c", revision="1-30-4"), ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", revision="elsewhere") or m.put(injector("istio-sidecar-injector-elsewhere", "elsewhere"))),
    Case("sidecar_not_ready",
         lambda m: pods(m, "web-c", initContainerStatuses=[{"name": "istio-proxy", "ready": False}]),
         ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", phase="Pending", initContainerStatuses=[{"name": "istio-proxy", "ready": False}])),
    Case("image_auto", lambda m: m.get("Pod", "ingress-1", SYSTEM)["spec"]["containers"][0].update(image="auto"),
         ["Pod istio-system/ingress-1"],
         lambda m: m.get("Pod", "ingress-1", SYSTEM)["spec"]["containers"][0].update(image="automatic")),
    Case("job_kept_by_sidecar", job_pod, ["Pod shop/once"], lambda m: job_pod(m, sidecar_ended=True)),
    Case("job_kept_by_sidecar", job_pod, ["Pod shop/once"], lambda m: job_pod(m, native=True)),
    Case("proxies_newer", lambda m: pods(m, "web-c", version="1.32.0"), ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", version="1.31.9")),
    Case("proxies_newer", lambda m: m.versions.update({"web-a.shop": "1.32.0"}), ["Pod shop/web-a"],
         lambda m: pods(m, "web-a", version="1.32.0") or m.versions.update({"web-a.shop": "1.31.0"})),
    Case("proxies_too_old", lambda m: pods(m, "web-c", version="1.29.9"), ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", version="1.30.0")),
    Case("proxies_too_old", lambda m: pods(m, "web-c", version="1.29.9"), ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", version="1.29.9", namespace="plain"), None, gate(namespaces=("shop",))),
    Case("proxies_too_old", lambda m: canary(m, "1.33.0") or pods(m, "web-c", revision="canary"), ["Pod shop/web-c"],
         lambda m: canary(m, "1.33.0")),
    Case("proxies_older", lambda m: pods(m, "web-c", version="1.30.4"), ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", version="1.29.9")),
    Case("proxies_left_behind", lambda m: pods(m, "web-c", version="1.30.4"), ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", version="1.31.0"), gate(UPGRADE, version="1.32.0")),
    Case("proxies_left_behind", lambda m: pods(m, "web-c", version="1.30.4"), ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", version="1.30.4"), gate(UPGRADE, version="1.32.0"),
         gate(UPGRADE, version="1.32.0", revision="1-32-0")),
    Case("proxies_disconnected", lambda m: pods(m, "web-c"), ["Pod shop/web-c"],
         lambda m: pods(m, "web-c", conditions=[{"type": "Ready", "status": "False"}])),
    Case("proxies_not_synced", lambda m: m.behind.add("web-a.shop"), ["proxy web-a.shop"],
         lambda m: m.behind.add("web-a.shop"), None, gate(namespaces=("plain",))),
    Case("proxies_rejected", lambda m: m.rejected.update({"web-b.shop": "no such filter"}), ["proxy web-b.shop"],
         lambda m: m.behind.add("web-b.shop")),
    Case("root_missing", lambda m: m.drop("ConfigMap", "istio-ca-root-cert", SYSTEM), [ROOT_NAME],
         lambda m: m.drop("ConfigMap", "istio-ca-root-cert", "plain")),
    Case("root_missing", lambda m: m.put(root(SYSTEM, "none")), [ROOT_NAME], lambda m: m.put(root("plain", "none"))),
    Case("root_expired", lambda m: m.put(root(SYSTEM, certificate("old", days=-0.5))), [fingerprint("old", days=-0.5)],
         lambda m: m.put(root(SYSTEM, certificate("soon", days=1)))),
    Case("root_expires_soon", lambda m: m.put(root(SYSTEM, certificate("soon", days=29))),
         [fingerprint("soon", days=29)], lambda m: m.put(root(SYSTEM, certificate("later", days=31)))),
    Case("root_expires_soon", lambda m: m.put(root(SYSTEM, certificate("soon", days=29))),
         [fingerprint("soon", days=29)], lambda m: m.put(root(SYSTEM, certificate("old", days=-0.5)))),
    Case("roots_several", lambda m: m.put(root(SYSTEM, certificate() + certificate("new"))),
         sorted([fingerprint(), fingerprint("new")]), lambda m: m.put(root(SYSTEM, certificate() + certificate()))),
    Case("root_copies_differ", lambda m: m.put(root("shop", certificate("another"))),
         ["ConfigMap shop/istio-ca-root-cert"], lambda m: m.put(root("shop", "\n" + certificate() + "\n"))),
    Case("root_copies_differ", lambda m: m.put(root("shop", "none")), ["ConfigMap shop/istio-ca-root-cert"],
         lambda m: m.put(root("shop", "none")), None, gate(namespaces=("plain",))),
    Case("root_copy_missing", lambda m: m.drop("ConfigMap", "istio-ca-root-cert", "shop"), ["Namespace shop"],
         lambda m: m.drop("ConfigMap", "istio-ca-root-cert", "plain")),
    Case("gateway_no_pods", lambda m: spec(m, "Service", "istio-ingressgateway", SYSTEM, selector={"istio": "other"}),
         ["Service istio-system/istio-ingressgateway"], lambda m: m.put(builders.service("idle"))),
    Case("gateway_no_pods",
         lambda m: [set_field(m, "Pod", f"ingress-{n}", SYSTEM, status={"phase": "Running"}) for n in (1, 2)],
         ["Service istio-system/istio-ingressgateway"], lambda m: m.drop("Pod", "ingress-1", SYSTEM)),
    Case("gateway_single", lambda m: m.drop("Pod", "ingress-1", SYSTEM), ["Service istio-system/istio-ingressgateway"],
         lambda m: m.drop("Pod", "web-a", "shop")),
    Case("gateway_no_address", lambda m: set_field(m, "Service", "istio-ingressgateway", SYSTEM, status={}),
         ["Service istio-system/istio-ingressgateway"],
         lambda m: set_field(m, "Service", "istio-ingressgateway", SYSTEM, status={}) or spec(m, "Service", "istio-ingressgateway", SYSTEM, type="NodePort")),
    Case("gateway_selects_nothing",
         lambda m: spec(m, "Gateway", "ingress", SYSTEM, selector={"istio": "egressgateway"}),
         ["Gateway istio-system/ingress"], lambda m: spec(m, "Gateway", "ingress", SYSTEM, selector={})),
    Case("virtual_service_no_gateway", lambda m: m.put(routes(gateways=("mesh", "ingress"))),
         ["VirtualService shop/web"], lambda m: m.put(routes(gateways=("mesh",)))),
    Case("virtual_service_no_host", lambda m: m.drop("Service", "web", "shop"), ["VirtualService shop/web"],
         lambda m: m.drop("Service", "web", "shop") or m.put(custom("ServiceEntry", "web", hosts=["*.shop.svc.cluster.local"]))),
    Case("virtual_service_no_host",
         lambda m: m.drop("Service", "web", "shop") or m.put(custom("ServiceEntry", "web", hosts=["xeb.shop.svc.cluster.local"])),
         ["VirtualService shop/web"],
         lambda m: m.drop("Service", "web", "shop") or m.put(custom("ServiceEntry", "web", hosts=["web.shop.svc.cluster.local"]))),
    Case("virtual_service_no_host", lambda m: m.put(routes(host="web.shop")), ["VirtualService shop/web"],
         lambda m: m.put(routes(host="web.shop.svc.cluster.local"))),
    Case("subset_undefined", lambda m: m.put(routes(subset="v2")), ["VirtualService shop/web"],
         lambda m: m.put(routes(subset=""))),
    Case("subset_undefined", lambda m: m.put(routes(subset="v2")), ["VirtualService shop/web"],
         lambda m: m.put(routes(subset="v2"), custom("DestinationRule", "elsewhere", SYSTEM, host="web.shop.svc.cluster.local", subsets=[{
             "name": "v2", "labels": {}}]))),
    Case("destination_rule_no_host", lambda m: spec(m, "DestinationRule", "web", host="wbe"),
         ["DestinationRule shop/web"], lambda m: spec(m, "DestinationRule", "web", host="*.example.com")),
    Case("subset_without_pods",
         lambda m: spec(m, "DestinationRule", "web", subsets=[{"name": "v2", "labels": {"version": "v2"}}]),
         ["DestinationRule shop/web"],
         lambda m: spec(m, "DestinationRule", "web", subsets=[{"name": "here", "labels": {"topology.kubernetes.io/zone": "a"}}])),
    Case("subset_without_pods",
         lambda m: m.put(builders.pod("other", labels={"app": "other", "version": "v2"})) or spec(m, "DestinationRule", "web", subsets=[{
             "name": "v2", "labels": {"version": "v2"}}]),
         ["DestinationRule shop/web"],
         lambda m: spec(m, "DestinationRule", "web", subsets=[{"name": "v1", "labels": {"app": "web", "version": "v1"}}])),
    Case("mtls_permissive", lambda m: spec(m, "PeerAuthentication", "default", SYSTEM, mtls={"mode": "PERMISSIVE"}),
         ["PeerAuthentication in istio-system"],
         lambda m: m.put(custom("PeerAuthentication", "loose", "shop", "security.istio.io", mtls={"mode": "PERMISSIVE"}))),
    Case("mtls_permissive",
         lambda m: spec(m, "PeerAuthentication", "default", SYSTEM, selector={"matchLabels": {"app": "istiod"}}),
         ["PeerAuthentication in istio-system"], lambda m: m.no_control_plane() or m.drop("PeerAuthentication")),
    Case("mtls_disabled",
         lambda m: m.put(custom("PeerAuthentication", "loose", "shop", "security.istio.io", mtls={"mode": "DISABLE"})),
         ["PeerAuthentication shop/loose"],
         lambda m: m.put(custom("PeerAuthentication", "loose", "shop", "security.istio.io"))),
    Case("downgrade", lambda _m: None, ["revision default"], lambda _m: None, gate(UPGRADE, version="1.30.9"),
         gate(UPGRADE, version="1.31.0")),
    Case("downgrade", canary, ["revision canary"], canary, gate(UPGRADE, version="1.31.9", revision="1-31-9"),
         gate(UPGRADE, version="1.31.9")),
    Case("minor_skipped", lambda _m: None, ["revision default"], lambda _m: None, gate(UPGRADE, version="1.33.0"),
         gate(UPGRADE, version="1.32.0")),
    Case("minor_skipped", lambda _m: None, ["revision default"], lambda _m: None,
         gate(UPGRADE, version="1.34.0", revision="1-34-0"), gate(UPGRADE, version="1.33.0", revision="1-33-0")),
    Case("minor_skipped", lambda m: canary(m, "1.31.0"), ["revision canary"], lambda m: canary(m, "1.32.0"),
         gate(UPGRADE, version="1.33.0", revision="canary")),
    Case("envoy_filters", lambda m: m.put(custom("EnvoyFilter", "own", "shop")), ["EnvoyFilter shop/own"],
         lambda m: m.put(custom("Sidecar", "own", "shop"))),
    Case("change_unhealthy_endpoints",
         lambda m: versions(m, "1.30.4") or m.get("Deployment", "istiod", SYSTEM)["spec"]["template"]["spec"]["containers"][0].update(env=[]),
         ["Deployment istio-system/istiod"], lambda m: versions(m, "1.30.4"), UP),
    Case("change_tracing_flag",
         lambda m: m.put(*istiod(version="1.30.4", PILOT_SPAWN_UPSTREAM_SPAN_FOR_GATEWAY="false")),
         ["Deployment istio-system/istiod"], lambda m: versions(m, "1.30.4"), BESIDE),
    Case("change_workload_entries", lambda m: versions(m, "1.30.4") or m.put(registered()), ["WorkloadEntry shop/vm"],
         lambda m: versions(m, "1.30.4") or m.put(registered(labels={"networking.istio.io/tunnel": "http"}))),
    Case("change_workload_entries", lambda m: versions(m, "1.30.4") or m.put(registered()), ["WorkloadEntry shop/vm"],
         lambda m: versions(m, "1.30.4") or m.put(custom("WorkloadEntry", "by-hand"))),
    Case("change_mcp_readers",
         lambda m: versions(m, "1.30.4") or mesh_config(m, "configSources: [{address: xds://istiod.other:15012}]"),
         ["ConfigMap istio-system/istio"],
         lambda m: versions(m, "1.30.4") or mesh_config(m, "configSources: [{address: k8s://}]")),
]  # fmt: skip


def registered(**more):
    entry = custom("WorkloadEntry", "vm", **more)
    entry["metadata"]["annotations"] = {"istio.io/autoRegistrationGroup": "vms"}
    return entry


def mesh_config(mesh, text):
    mesh.get("ConfigMap", "istio", SYSTEM)["data"]["mesh"] = text


def names(case):
    return f"{case.code}-{case.place.phase}"


@pytest.mark.parametrize("case", CASES, ids=names)
def test_it_fails_on_what_it_is_for_and_names_the_objects(case):
    mesh = SoundMesh()
    case.fails(mesh)
    row = asked(mesh, case.code, case.place)
    assert (row["status"], row["objects"]) == ("failed", case.objects), row["cause"]
    assert row["cause"] and row["remedy"] == registry.BY_CODE[case.code].remedy


@pytest.mark.parametrize("case", CASES, ids=names)
def test_it_passes_on_what_only_comes_near(case):
    mesh = SoundMesh()
    case.passes(mesh)
    row = asked(mesh, case.code, case.near or case.place)
    assert row["status"] == "passed", (row["objects"], row["cause"])


def test_every_check_has_a_case_of_both():
    assert sorted({case.code for case in CASES}) == sorted(CODES) and len(CODES) == len(set(CODES))


@pytest.mark.parametrize(
    "the_gate",
    [gate(INSTALL), gate(), gate(UPGRADE, version="1.32.0"), gate(UPGRADE, version="1.32.0", revision="1-32-0")],
    ids=lambda g: g.phase + g.revision,
)
def test_nothing_is_wrong_with_a_sound_mesh(the_gate):
    mesh = SoundMesh()
    found = read(mesh, the_gate, registry.required_sources(the_gate))
    rows = registry.run_checks(found, the_gate)
    # No rules are known here for a release that is not out.
    unsure = {"version_unknown", "kubernetes_too_old", "kubernetes_untested"} if the_gate.version == "1.32.0" else set()
    assert {row["code"]: row["cause"] for row in rows if row["status"] != "passed" and row["code"] not in unsure} == {}
    assert [row["code"] for row in rows] == [
        check.code for check in registry.CHECKS if the_gate.phase in check.phases and not check.release
    ]


PATHS = {
    "namespaces": "/api/v1/namespaces", "pods": "/api/v1/pods", "services": "/api/v1/services", "istiods": "/apis/apps/v1/deployments",
    "replica_sets": "/apis/apps/v1/replicasets",
    "node_agents": "/apis/apps/v1/daemonsets", "budgets": "/apis/policy/v1/namespaces/istio-system/poddisruptionbudgets",
    "injectors": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "validators": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "crds": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "sets": "/api/v1/configmaps", "roots": "/api/v1/configmaps",
    "mesh_configs": "/api/v1/namespaces/istio-system/configmaps",
    "gateways": "/apis/networking.istio.io/v1/gateways", "virtual_services": "/apis/networking.istio.io/v1/virtualservices",
    "destination_rules": "/apis/networking.istio.io/v1/destinationrules",
    "service_entries": "/apis/networking.istio.io/v1/serviceentries", "workload_entries": "/apis/networking.istio.io/v1/workloadentries",
    "envoy_filters": "/apis/networking.istio.io/v1/envoyfilters",
    "peer_authentications": "/apis/security.istio.io/v1/peerauthentications",
}  # fmt: skip


def test_every_source_is_read_by_a_check_or_told_by_mesh_info():
    assert {name for check in registry.CHECKS for name in check.reads} == {*SOURCES, PROXIES, SLICES} - {"nodes"}
    assert set(PATHS) == set(SOURCES) - {"nodes"}


@pytest.mark.parametrize("path", sorted(set(PATHS.values())))
@pytest.mark.parametrize("the_gate", [gate(INSTALL), gate(), UP], ids=lambda g: g.phase)
def test_what_may_not_be_read_makes_its_checks_unknown_and_no_other(path, the_gate):
    api = SoundMesh().api()
    names = {name for name, place in PATHS.items() if place == path}
    api.faults[("GET", path)] = [ApiError(403, "Forbidden", "this is forbidden") for _name in names]
    rows = registry.run_checks(facts.read_facts(Cluster(api), SYSTEM, registry.required_sources(the_gate)), the_gate)
    # Without pods nobody knows whom to ask.
    names |= {PROXIES} if "pods" in names else set()
    lost = {check.code for check in registry.checks_of_phase(the_gate) if set(check.reads) & names}
    assert {row["code"] for row in rows if row["status"] == "unknown"} >= {row["code"] for row in rows} & lost
    assert {row["status"] for row in rows if row["code"] not in lost} == {"passed"}
    assert all("this is forbidden" in row["cause"] for row in rows if row["code"] in lost)


def test_definitions_are_read_without_their_schemas():
    found = read(SoundMesh(), gate(), {"crds"})
    assert found["crds"] and all(set(obj) == {"apiVersion", "kind", "metadata"} for obj in found["crds"])


def test_what_is_behind_a_service_without_pods_may_be_forbidden_too():
    mesh = SoundMesh()
    unselecting(mesh, ready=True)
    api = mesh.api()
    api.faults[("GET", "/apis/discovery.k8s.io/v1/namespaces/istio-system/endpointslices")] = [
        ApiError(403, "Forbidden", "this is forbidden")
    ]
    found = facts.read_facts(Cluster(api), SYSTEM, registry.required_sources(gate()))
    (row,) = (row for row in registry.run_checks(found, gate()) if row["status"] == "unknown")
    assert (
        row["code"] == "webhook_unanswered"
        and "this is forbidden" in row["cause"]
        and found.ready_behind(found.service(SYSTEM, "istiod")) is None
    )


def test_a_server_that_breaks_off_is_no_unknown():
    api = SoundMesh().api()
    api.faults[("GET", "/api/v1/pods")] = [ApiError(0, "Unreachable", "reset")]
    with pytest.raises(ApiError):
        facts.read_facts(Cluster(api), SYSTEM, {"pods"})


ASKED = ("proxies_disconnected", "proxies_not_synced", "proxies_rejected")


@pytest.mark.parametrize("code", ASKED)
def test_where_istiod_cannot_be_asked_it_is_unknown(code):
    mesh = SoundMesh()
    mesh.mute = True
    row = asked(mesh, code)
    assert (
        row["status"] == "unknown" and "cannot read the proxy status from istiod istio-system/istiod-0" in row["cause"]
    )
    mesh.put(*istiod(ready=0))
    assert asked(mesh, code)["cause"] == "no istiod is ready"


def test_one_istiod_that_can_be_asked_is_enough_for_what_is_wrong_but_not_for_what_is_right():
    mesh = SoundMesh()
    mesh.behind, mesh.rejected = {"web-a.shop", "ingress-1.istio-system"}, {"ingress-1.istio-system": "no"}
    the_gate, sources = gate(), {PROXIES, "pods"}
    api = mesh.api()
    del api.tunnels[(SYSTEM, "istiod-1", 8080)]
    found = facts.read_facts(Cluster(api), SYSTEM, sources)
    statuses = {code: registry.run_check(registry.BY_CODE[code], found, the_gate)["status"] for code in ASKED}
    assert statuses == {"proxies_disconnected": "unknown", "proxies_not_synced": "failed", "proxies_rejected": "failed"}


@pytest.mark.parametrize(("days", "expired", "soon"), [(0, "failed", "passed"), (30, "passed", "failed")])
def test_a_root_certificate_ends_at_the_second_that_it_names(days, expired, soon):
    found = read(SoundMesh(), gate(), {"roots"})
    found = replace(found, now=found.roots[0].expires - timedelta(days=days))
    assert [
        registry.run_check(registry.BY_CODE[code], found, gate())["status"]
        for code in ("root_expired", "root_expires_soon")
    ] == [expired, soon]


@pytest.mark.parametrize("code", ASKED)
def test_an_istiod_that_is_on_its_way_out_may_still_have_proxies(code):
    mesh = SoundMesh()
    mesh.proxies = mesh.proxies[:1]
    mesh.going("Pod", "istiod-1", SYSTEM)
    row = asked(mesh, code)
    assert row["status"] == "unknown" and row["cause"] == "istiod istio-system/istiod-1 is running but not ready"


@pytest.mark.parametrize(
    "code", ["webhook_ca_foreign", "root_expired", "root_expires_soon", "roots_several", "root_copies_differ"]
)
def test_without_a_root_certificate_what_rests_on_it_is_unknown(code):
    mesh = SoundMesh()
    mesh.drop("ConfigMap", "istio-ca-root-cert", SYSTEM)
    assert asked(mesh, code)["status"] == "unknown"


@pytest.mark.parametrize(
    ("code", "change", "the_gate"),
    [
        ("kubernetes_too_old", lambda m: None, gate(INSTALL, version="")),
        ("kubernetes_too_old", lambda m: None, gate(INSTALL, version="1.99.0")),
        ("kubernetes_too_old", lambda m: setattr(m, "kubernetes", "unknown"), gate(INSTALL)),
        ("kubernetes_untested", lambda m: m.put(*istiod(version="latest")), gate()),
        *(
            (code, lambda m: m.put(*istiod(version="latest")), gate())
            for code in (
                "version_unknown",
                "crds_old",
                "gateway_api_old",
                "cni_skew",
                "ztunnel_skew",
                "proxies_newer",
                "proxies_too_old",
            )
        ),
        *(
            (code, lambda m: m.put(*istiod(version="latest")), UP)
            for code in ("downgrade", "minor_skipped", "proxies_left_behind")
        ),
        *((code, lambda m: pods(m, "web-c", version="own"), gate()) for code in ("proxies_newer", "proxies_too_old")),
        ("proxies_left_behind", lambda m: pods(m, "web-c", version="own"), UP),
        ("cni_skew", lambda m: m.put(agent("istio-cni-node", "k8s-app", "istio-cni-node", "own")), gate()),
        ("kubernetes_too_old", lambda m: m.no_control_plane(), gate()),
        ("crds_newer", lambda m: None, gate(INSTALL, version="")),
        (
            "crds_old",
            lambda m: m.put(
                *(
                    definition(name, "")
                    for name in (
                        "virtualservices.networking.istio.io",
                        "destinationrules.networking.istio.io",
                        "authorizationpolicies.security.istio.io",
                    )
                )
            ),
            gate(),
        ),
        ("change_mcp_readers", lambda m: versions(m, "1.30.4") or mesh_config(m, "a: ["), UP),
    ],
)
def test_what_cannot_be_known_is_unknown(code, change, the_gate):
    mesh = SoundMesh()
    change(mesh)
    assert asked(mesh, code, the_gate)["status"] == "unknown"


@pytest.mark.parametrize(("version", "crossed"), [("1.30.4", True), ("1.31.0", False), ("latest", True)])
def test_what_a_release_changed_is_asked_only_on_the_way_across_it(version, crossed):
    mesh = SoundMesh()
    versions(mesh, version)
    assert (asked(mesh, "change_unhealthy_endpoints", gate(UPGRADE, version="1.31.2")) is not None) is crossed


def test_an_unknown_revision_is_told_with_those_that_there_are():
    mesh = SoundMesh()
    canary(mesh)
    mesh.put(builders.namespace("lost", **{"istio.io/rev": "1-30-4"}))
    assert asked(mesh, "namespace_unknown_revision")["cause"].endswith("Revisions and tags: canary, default")


def test_the_words_of_a_downgrade_and_of_a_jump_say_from_where_to_where():
    assert "1.31 → 1.30 is a downgrade" in asked(SoundMesh(), "downgrade", gate(UPGRADE, version="1.30.0"))["cause"]
    assert asked(SoundMesh(), "minor_skipped", gate(UPGRADE, version="1.34.0"))["cause"].endswith(
        "The steps: 1.32, then 1.33, then 1.34"
    )
    assert asked(SoundMesh(), "minor_skipped", gate(UPGRADE, version="1.34.0", revision="next"))["cause"].endswith(
        "The steps: 1.33, then 1.34"
    )


def test_one_proxy_that_is_too_old_counts_whatever_is_not_known_of_others():
    mesh = SoundMesh()
    pods(mesh, "web-c", version="own")
    pods(mesh, "web-d", version="1.29.0")
    assert asked(mesh, "proxies_too_old")["objects"] == ["Pod shop/web-d"]


def test_a_proxy_that_told_its_version_needs_no_tag():
    mesh = SoundMesh()
    pods(mesh, "web-a", "web-b", version="own", owner="web-1")
    mesh.versions = {"web-a.shop": "1.31.0", "web-b.shop": "1.31.0"}
    assert asked(mesh, "proxies_newer")["status"] == "passed"


def test_a_control_plane_of_another_tool_is_told_with_that_tools_name():
    mesh = SoundMesh()
    mesh.keeper = "helm"
    api = mesh.api()
    api.get("Deployment", "istiod", SYSTEM)["metadata"]["managedFields"].append(
        {"manager": "kube-controller-manager", "fieldsV1": {}}
    )
    found = facts.read_facts(Cluster(api), SYSTEM, {"istiods"})
    assert registry.run_check(registry.BY_CODE["foreign_control_plane"], found, gate(INSTALL))["cause"].endswith(
        "is managed by helm"
    )


def test_the_base_that_the_collection_noted_counts_where_definitions_say_nothing():
    mesh = SoundMesh()
    mesh.put(
        *(
            definition(name, "")
            for name in (
                "virtualservices.networking.istio.io",
                "destinationrules.networking.istio.io",
                "authorizationpolicies.security.istio.io",
            )
        )
    )
    parent = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "istio-base",
            "namespace": SYSTEM,
            "labels": {"applyset.kubernetes.io/id": "x"},
            "annotations": {"servicemesh.istio/version": "1.30.4"},
        },
    }
    mesh.put(parent)
    assert asked(mesh, "crds_old")["status"] == "failed"
    label = {"helm.sh/chart": "base-1.31.0"}
    mesh.get("CustomResourceDefinition", "virtualservices.networking.istio.io")["metadata"]["labels"] = label
    assert asked(mesh, "crds_old")["objects"] == [
        f"CustomResourceDefinition {name}"
        for name in ("authorizationpolicies.security.istio.io", "destinationrules.networking.istio.io")
    ]
    # The charts inside istioctl.
    label["helm.sh/chart"] = "base-1.0.0"
    assert len(asked(mesh, "crds_old")["objects"]) == 3
    parent["metadata"]["annotations"]["servicemesh.istio/version"] = "1.31.0"
    assert asked(mesh, "crds_old")["status"] == "passed"


def test_a_cluster_of_another_domain_has_its_own_hosts():
    mesh = SoundMesh()
    mesh.get("Deployment", "istiod", SYSTEM)["spec"]["template"]["spec"]["containers"][0]["args"] = [
        "discovery",
        "--domain",
        "example.org",
    ]
    mesh.put(routes(host="web.shop.svc.example.org"))
    assert asked(mesh, "virtual_service_no_host")["status"] == "passed"


def test_mirrors_are_destinations_too():
    mesh = SoundMesh()
    mesh.put(
        custom(
            "VirtualService",
            "web",
            hosts=["web"],
            http=[{"route": [], "mirror": {"host": "one"}, "mirrors": [{"destination": {"host": "two"}}]}],
            tcp=[{"route": [{"destination": {"host": "three"}}]}],
        )
    )
    cause = asked(mesh, "virtual_service_no_host")["cause"]
    assert [host for host in ("one", "two", "three") if f"it routes to {host}.shop.svc.cluster.local" in cause] == [
        "one",
        "two",
        "three",
    ]


def test_of_many_objects_the_sentence_names_the_first_and_the_list_has_all():
    findings = [Finding(f"Pod shop/p{number}", "it is broken") for number in range(9)]
    assert registry.summarize_findings(findings) == "Pod shop/p0, Pod shop/p1, Pod shop/p2 and 6 more: it is broken"
    assert registry.summarize_findings(findings[:3]) == "Pod shop/p0, Pod shop/p1, Pod shop/p2: it is broken"
    causes = [Finding("a", str(number)) for number in range(7)]
    assert registry.summarize_findings(causes).endswith("a: 4; and 2 more causes") and registry.summarize_findings(
        causes[:5]
    ).endswith("a: 4")


@pytest.mark.parametrize(
    ("options", "skip", "option", "words"),
    [
        ({}, ["istiod_singel"], "skip", "Did you mean istiod_single?"),
        ({}, ["nothing like it"], "skip", "docs/checks.md"),
        ({"version": "latest"}, [], "version", "1.31.0"),
        ({"revision": "1.31.0"}, [], "revision", "dashes"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_could_be(options, skip, option, words):
    with pytest.raises(InvalidOption) as refused:
        registry.validate_gate(Gate(**options), skip)
    assert refused.value.option == option and words in refused.value.hint


def test_what_only_skipped_checks_need_is_not_read():
    assert "envoy_filters" in registry.required_sources(UP) and "envoy_filters" not in registry.required_sources(
        UP, ["envoy_filters"]
    )


DOCUMENT = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
SHOWN = {INSTALL: "install", RUNNING: "running", UPGRADE: "upgrade"}


def test_the_document_says_what_the_table_says():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]+) \| (.*?) \| (.*?) \| (.*?) \|$", DOCUMENT, re.MULTILINE)
    assert rows == [
        (
            check.code,
            check.severity,
            ", ".join(SHOWN[phase] for phase in check.phases),
            check.fails,
            check.remedy,
            check.source,
        )
        for check in registry.CHECKS
    ]
    assert f"{len(registry.CHECKS)} checks" in DOCUMENT


def test_every_check_is_written_in_sentences():
    for check in registry.CHECKS:
        assert re.match(r"^[a-z][a-z_]*$", check.code) and check.severity in ("error", "warning", "info")
        assert not check.title.endswith(".") and check.fails.endswith(".") and check.remedy.endswith("."), check.code
