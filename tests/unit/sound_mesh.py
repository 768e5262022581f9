# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh of which nothing is wrong, to be broken in one place at a time."""

from __future__ import annotations

import base64
import functools
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import builders
from builders import Object
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_istiod import FakeIstiod
from memory_api import MemoryApi

VERSION = "1.31.0"
SYSTEM = "istio-system"
DEFINITIONS = (
    "virtualservices.networking.istio.io",
    "destinationrules.networking.istio.io",
    "authorizationpolicies.security.istio.io",
)


@functools.cache
def certificate(name: str = "root", days: float = 3650, begins: float = -1) -> str:
    """A self-signed certificate in PEM; days and begins: from now."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
    )
    made = made.not_valid_before(now + timedelta(days=begins)).not_valid_after(now + timedelta(days=days))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def bundle(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def where(key: str, operator: str, *values: str) -> Object:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def hook(name: str, space: Object, pod: Object, path: str = "/inject", **more: Any) -> Object:
    service = {"name": "istiod", "namespace": SYSTEM, "path": path}
    config = {"service": service, "caBundle": bundle(certificate())}
    return {
        "name": name,
        "namespaceSelector": space,
        "objectSelector": pod,
        "clientConfig": config,
        "failurePolicy": "Fail",
        **more,
    }


def injector(name: str, revision: str = "default", tag: str = "", answers_to: str = "") -> Object:
    """As Istio's chart makes it for a revision or, with a tag, for that name. answers_to: the name in istio.io/rev."""
    own = answers_to or tag or revision
    not_off, none = where("sidecar.istio.io/inject", "NotIn", "false"), where("istio.io/rev", "DoesNotExist")
    free = where("istio-injection", "DoesNotExist")
    hooks = [
        hook(
            "rev.namespace.sidecar-injector.istio.io",
            {"matchExpressions": [where("istio.io/rev", "In", own), free]},
            {"matchExpressions": [not_off]},
        ),
        hook(
            "rev.object.sidecar-injector.istio.io",
            {"matchExpressions": [none, free]},
            {"matchExpressions": [not_off, where("istio.io/rev", "In", own)]},
        ),
    ]
    if own == "default":
        hooks.append(
            hook(
                "namespace.sidecar-injector.istio.io",
                {"matchExpressions": [where("istio-injection", "In", "enabled")]},
                {"matchExpressions": [not_off]},
            )
        )
        asks = [where("sidecar.istio.io/inject", "In", "true"), none]
        hooks.append(
            hook("object.sidecar-injector.istio.io", {"matchExpressions": [free, none]}, {"matchExpressions": asks})
        )
    labels = {"app": "sidecar-injector", "istio.io/rev": revision, **({"istio.io/tag": tag} if tag else {})}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "labels": labels},
        "webhooks": hooks,
    }


def validator(name: str, pod: Object, revision: str = "default") -> Object:
    rules = [
        {
            "apiGroups": ["security.istio.io", "networking.istio.io"],
            "apiVersions": ["*"],
            "operations": ["CREATE"],
            "resources": ["*"],
        }
    ]
    labels = {"app": "istiod", "istio.io/rev": revision}
    hooks = [hook("validation.istio.io", {}, pod, "/validate", rules=rules)]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name, "labels": labels},
        "webhooks": hooks,
    }


def istiod(
    revision: str = "default",
    version: str = VERSION,
    replicas: int = 2,
    ready: int = 2,
    place: str = SYSTEM,
    **env: str,
) -> list[Object]:
    """The Deployment of a control plane and its pods."""
    name = "istiod" if revision == "default" else f"istiod-{revision}"
    labels = {"app": "istiod", "istio.io/rev": revision}
    env = {"PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS": "false", **env}
    container = {
        "name": "discovery",
        "image": f"docker.io/istio/pilot:{version}",
        "args": ["discovery", "--domain", "cluster.local"],
        "env": [{"name": k, "value": v} for k, v in env.items()],
    }
    obj = builders.deployment(name, place, labels=labels)
    obj["spec"].update(
        replicas=replicas, template={"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    )
    obj["status"] = {"readyReplicas": ready}
    pods = []
    for number in range(replicas):
        pod = builders.pod(f"{name}-{number}", place, {**labels, "sidecar.istio.io/inject": "false"})
        pod["spec"]["containers"] = [{"name": "discovery", "image": f"docker.io/istio/pilot:{version}"}]
        pods.append(
            pod
            if number < ready
            else {**pod, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}}
        )
    return [obj, *pods]


def proxied(
    name: str,
    namespace: str = "shop",
    revision: str = "default",
    version: str = VERSION,
    owner: str = "",
    labels: dict[str, str] | None = None,
    **status: Any,
) -> Object:
    """A pod with a native sidecar, as the injector leaves it. owner: its ReplicaSet."""
    pod = builders.pod(
        name,
        namespace,
        labels or {"app": "web"},
        **{"initContainerStatuses": [{"name": "istio-proxy", "ready": True}], **status},
    )
    pod["spec"]["initContainers"] = [{"name": "istio-proxy", "image": f"docker.io/istio/proxyv2:{version}"}]
    pod["metadata"]["annotations"] = {
        "istio.io/rev": revision,
        "sidecar.istio.io/status": json.dumps({"revision": revision}),
    }
    return owned(pod, "apps/v1", "ReplicaSet", owner) if owner else pod


def owned(obj: Object, api: str, kind: str, name: str) -> Object:
    obj["metadata"]["ownerReferences"] = [
        {"apiVersion": api, "kind": kind, "name": name, "controller": True, "uid": "x"}
    ]
    return obj


def replica_set(name: str, namespace: str = "shop", owner: str = "web") -> Object:
    metadata = {"name": name, "namespace": namespace, "annotations": {"deployment.kubernetes.io/revision": "1"}}
    return owned(
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": {}},
        "apps/v1",
        "Deployment",
        owner,
    )


def gateway_pod(name: str) -> Object:
    pod = proxied(
        name,
        SYSTEM,
        owner="istio-ingressgateway-1",
        labels={"istio": "ingressgateway", "sidecar.istio.io/inject": "true"},
    )
    del pod["spec"]["initContainers"], pod["status"]["initContainerStatuses"]
    pod["spec"]["containers"] = [{"name": "istio-proxy", "image": f"docker.io/istio/proxyv2:{VERSION}"}]
    return pod


def agent(name: str, label: str, value: str, version: str = VERSION, ready: int = 3) -> Object:
    template = {
        "metadata": {"labels": {label: value}},
        "spec": {"containers": [{"name": name, "image": f"docker.io/istio/{name}:{version}"}]},
    }
    status = {"desiredNumberScheduled": 3, "numberReady": ready}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {"template": template},
        "status": status,
    }


def custom(kind: str, name: str, namespace: str = "shop", group: str = "networking.istio.io", **spec: Any) -> Object:
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def definition(name: str, version: str = VERSION, **annotations: str) -> Object:
    plural, _dot, group = name.partition(".")
    obj = builders.definition(plural, plural, group)
    obj["metadata"].update(labels={"operator.istio.io/version": version} if version else {}, annotations=annotations)
    return obj


def root(namespace: str, pem: str | None = None) -> Object:
    metadata = {"name": "istio-ca-root-cert", "namespace": namespace, "labels": {"istio.io/config": "true"}}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"root-cert.pem": certificate() if pem is None else pem},
    }


def routes(host: str = "web", subset: str = "v1", gateways: tuple[str, ...] = ("mesh", f"{SYSTEM}/ingress")) -> Object:
    return custom(
        "VirtualService",
        "web",
        hosts=[host],
        gateways=list(gateways),
        http=[{"route": [{"destination": {"host": host, "subset": subset}}]}],
    )


def objects() -> list[Object]:
    budget = {"selector": {"matchLabels": {"app": "istiod", "istio.io/rev": "default"}}, "minAvailable": 1}
    mesh = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": SYSTEM, "labels": {"istio.io/rev": "default"}},
        "data": {"mesh": "rootNamespace: istio-system\n"},
    }
    gateway = builders.service(
        "istio-ingressgateway", SYSTEM, type="LoadBalancer", selector={"istio": "ingressgateway"}
    )
    gateway["metadata"]["labels"] = {"istio": "ingressgateway"}
    return [
        builders.namespace(SYSTEM),
        builders.namespace("shop", **{"istio-injection": "enabled"}),
        builders.namespace("plain"),
        *istiod(),
        builders.service("istiod", SYSTEM, selector={"app": "istiod", "istio.io/rev": "default"}),
        injector("istio-revision-tag-default", tag="default"),
        validator("istio-validator-istio-system", {"matchExpressions": [where("istio.io/rev", "In", "default")]}),
        validator("istiod-default-validator", {"matchExpressions": [where("istio.io/rev", "DoesNotExist")]}),
        *(definition(name) for name in DEFINITIONS),
        *(root(name) for name in (SYSTEM, "shop", "plain")),
        mesh,
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "istiod", "namespace": SYSTEM},
            "spec": budget,
            "status": {"disruptionsAllowed": 1},
        },
        agent("istio-cni-node", "k8s-app", "istio-cni-node"),
        agent("ztunnel", "app", "ztunnel"),
        {**gateway, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
        replica_set("istio-ingressgateway-1", SYSTEM, "istio-ingressgateway"),
        gateway_pod("ingress-1"),
        gateway_pod("ingress-2"),
        builders.service("web"),
        replica_set("web-1"),
        proxied("web-a", owner="web-1", labels={"app": "web", "version": "v1"}),
        proxied("web-b", owner="web-1", labels={"app": "web", "version": "v1"}),
        custom("Gateway", "ingress", SYSTEM, selector={"istio": "ingressgateway"}, servers=[]),
        routes(),
        custom("DestinationRule", "web", host="web", subsets=[{"name": "v1", "labels": {"version": "v1"}}]),
        custom("PeerAuthentication", "default", SYSTEM, "security.istio.io", mtls={"mode": "STRICT"}),
    ]


class SoundMesh:
    """Its objects, by kind, name and namespace.

    kubernetes  the server's version
    keeper      field manager that wrote the objects
    without     kinds that the server does not serve
    proxies     ids of those that are connected, shared among the two istiods; behind, rejected, versions: as FakeIstiod
                has them
    mute        istiods cannot be asked
    """

    def __init__(self) -> None:
        self.objects = {self._key(obj): obj for obj in objects()}
        self.kubernetes = "v1.36.3"
        self.keeper = "servicemesh.istio"
        self.without: tuple[str, ...] = ()
        self.proxies = ("ingress-1.istio-system", "ingress-2.istio-system", "web-a.shop", "web-b.shop")
        self.behind: set[str] = set()
        self.rejected: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.mute = False

    def _key(self, obj: Object) -> tuple[str, str, str]:
        return obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", "")

    def put(self, *more: Object) -> None:
        self.objects.update({self._key(obj): obj for obj in more})

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        return self.objects[(kind, name, namespace)]

    def drop(self, kind: str, name: str = "", namespace: str = "") -> None:
        """One object, or all of a kind."""
        self.objects = {
            key: obj
            for key, obj in self.objects.items()
            if not (key[0] == kind and name in ("", key[1]) and (not name or namespace == key[2]))
        }

    def hooks(self, kind: str = "MutatingWebhookConfiguration") -> list[Object]:
        return [entry for key, obj in self.objects.items() if key[0] == kind for entry in obj["webhooks"]]

    def going(self, kind: str, name: str, namespace: str = "") -> None:
        self.get(kind, name, namespace)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    def no_control_plane(self) -> None:
        for key in list(self.objects):
            if key[1].startswith("istiod") and key[0] in ("Deployment", "Pod", "Service"):
                del self.objects[key]
        self.drop("MutatingWebhookConfiguration")
        self.drop("ValidatingWebhookConfiguration")

    def api(self) -> MemoryApi:
        api = MemoryApi(without=self.without)
        api.version = self.kubernetes
        # Statuses are the objects' own.
        api.controllers.clear()
        for obj in sorted(self.objects.values(), key=lambda obj: obj["kind"] != "Namespace"):
            api.put(obj, self.keeper)
        for name, proxies in (("istiod-0", self.proxies[::2]), ("istiod-1", self.proxies[1::2])):
            if self.mute or ("Pod", name, SYSTEM) not in self.objects:
                continue
            asked = FakeIstiod(api, name, proxies)
            asked.behind, asked.rejected, asked.versions = self.behind, self.rejected, self.versions
            api.put(self.get("Pod", name, SYSTEM), "somebody")
        return api
