# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An istioctl that renders a small control plane. Its calls are listed in a file beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from builders import Object

PROGRAM = """#!{python} -SE
import json, os, sys

with open(__file__ + ".calls", "a") as calls:
    print(" ".join(sys.argv[1:]), "KUBECONFIG=" + os.environ["KUBECONFIG"], file=calls)
if sys.argv[1] == "version":
    print(json.dumps({{"clientVersion": {{"version": "1.31.0"}}}}))
    sys.exit()
document = json.load(sys.stdin)
spec, namespace = document["spec"], document["metadata"]["namespace"]
profile, values = spec["profile"], spec["values"]
if profile not in ("default", "minimal", "empty"):
    # istio.io/istio operator/pkg/render/manifest.go, readProfileInternal.
    sys.exit('Error: merge inputs: profile "%s" not found: open profiles/%s.yaml: file does not exist' % (profile, profile))
if "nonsense" in values:
    sys.exit('Error: unknown field "nonsense" in v1alpha1.Values')
revision = values.get("revision") or "default"
suffix = "" if revision == "default" else "-" + revision


def obj(api, kind, name, component="Pilot", space=namespace, labels=(), **fields):
    own = {{"helm.sh/chart": "base-1.0.0"}} if component == "Base" else {{"istio.io/rev": revision, "operator.istio.io/component": component}}
    own.update(labels)
    metadata = {{"name": name, "labels": own, **({{"namespace": space}} if space else {{}})}}
    return {{"apiVersion": api, "kind": kind, "metadata": metadata, **fields}}


def hook(name, space, pod, path):
    service = {{"service": {{"name": "istiod" + suffix, "namespace": namespace, "path": path}}}}
    policy = "Ignore" if path == "/validate" else "Fail"
    return {{"name": name, "namespaceSelector": space, "objectSelector": pod, "clientConfig": service, "failurePolicy": policy}}


def where(key, operator, *values):
    return {{"key": key, "operator": operator, **({{"values": list(values)}} if values else {{}})}}


def injector(name, revision, labels):
    here, none = [where("istio-injection", "DoesNotExist")], [where("istio.io/rev", "DoesNotExist")]
    not_off = where("sidecar.istio.io/inject", "NotIn", "false")
    hooks = [
        hook("rev.namespace.sidecar-injector.istio.io",
             {{"matchExpressions": [where("istio.io/rev", "In", revision), *here]}}, {{"matchExpressions": [not_off]}}, "/inject"),
        hook("rev.object.sidecar-injector.istio.io",
             {{"matchExpressions": here + none}}, {{"matchExpressions": [where("istio.io/rev", "In", revision), not_off]}}, "/inject"),
    ]
    if revision == "default":
        enabled = {{"matchExpressions": [where("istio-injection", "In", "enabled")]}}
        hooks.append(hook("namespace.sidecar-injector.istio.io", enabled, {{"matchExpressions": [not_off]}}, "/inject"))
    labels = {{"app": "sidecar-injector", **labels}}
    return obj("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", name, labels=labels, space="", webhooks=hooks)


def validator(name):
    hooks = [hook("validation.istio.io", {{}}, {{"matchExpressions": [where("istio.io/rev", "In", revision)]}}, "/validate")]
    return obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", name, "Base" if "default" in name else "Pilot", space="", webhooks=hooks)


def workload(name, component, app):
    container = {{"name": "discovery", "image": (spec.get("hub") or "docker.io/istio") + "/pilot:1.31.0"}}
    template = {{"metadata": {{"labels": {{"app": app}}}}, "spec": {{"containers": [container]}}}}
    return obj("apps/v1", "Deployment", name, component, labels={{"app": app}}, spec={{"selector": {{"matchLabels": {{"app": app}}}}, "template": template}})


hub, its_global = spec.get("hub") or "docker.io/istio", values.get("global") or {{}}
injected = {{"global": {{"proxy": {{"image": "proxyv2"}}, "proxy_init": {{"image": "proxyv2"}}, "tag": "1.31.0", "variant": "", **its_global, "hub": hub}}}}
sidecar = 'spec:\\n  initContainers:\\n  - name: istio-init\\n    image: "{{{{ .ProxyInitImage }}}}"\\n'
sidecar += '  containers:\\n  - name: istio-proxy\\n    image: "{{{{ .ProxyImage }}}}"\\n'
grpc = "spec:\\n  initContainers:\\n  - image: busybox:1.28\\n"
config = json.dumps({{"defaultTemplates": ["sidecar"], "templates": {{"sidecar": sidecar, "grpc-simple": grpc}}}})
names = {{"plural": "gateways", "kind": "Gateway"}}
rendered = [
    obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gateways.networking.istio.io", "Base", "",
        spec={{"group": "networking.istio.io", "names": names}}),
    obj("v1", "ServiceAccount", "istio-reader-service-account", "Base"),
    obj("v1", "ServiceAccount", "istiod" + suffix),
    obj("v1", "ConfigMap", "istio" + suffix, data={{"mesh": json.dumps(spec.get("meshConfig") or {{}}, sort_keys=True)}}),
    obj("v1", "ConfigMap", "istio-sidecar-injector" + suffix, data={{"values": json.dumps(injected), "config": config}}),
    obj("v1", "Service", "istiod" + suffix, spec={{"ports": [{{"name": "https", "port": 15017}}], "selector": {{"app": "istiod"}}}}),
    workload("istiod" + suffix, "Pilot", "istiod"),
    injector("istio-sidecar-injector" + suffix, revision, {{}}),
    validator("istio-validator" + suffix + "-" + namespace),
]
for tag in values.get("revisionTags") or []:
    rendered.append(injector("istio-revision-tag-" + tag, tag, {{"istio.io/tag": tag}}))
    rendered.append(obj("v1", "Service", "istiod-revision-tag-" + tag, labels={{"istio.io/tag": tag}}, spec={{"ports": [{{"name": "https", "port": 15017}}]}}))
if values.get("defaultRevision"):
    rendered.append(validator("istiod-default-validator"))
if profile == "default" and not (spec.get("components") or {{}}).get("ingressGateways") == [{{"name": "istio-ingressgateway", "enabled": False}}]:
    rendered.append(workload("istio-ingressgateway", "IngressGateways", "istio-ingressgateway"))
for document in rendered:
    print("---")
    print(json.dumps(document))
"""


def write(folder: Path) -> Path:
    path = folder / "istioctl"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


def calls(path: Path) -> list[str]:
    listed = Path(f"{path}.calls")
    return listed.read_text().splitlines() if listed.exists() else []


ISTIOD = "pilot-discovery"


def arm(webhook: Object) -> None:
    """What istiod does to its webhooks: its CA and, of validators, the policy on failure, which from then on are its
    own.
    """
    mine: dict[str, Any] = {}
    others = [entry for entry in webhook["metadata"]["managedFields"] if entry["manager"] != ISTIOD]
    for hook in webhook["webhooks"]:
        key = f'k:{{"name":"{hook["name"]}"}}'
        hook["clientConfig"]["caBundle"] = "Q0E="
        mine[key] = {"f:clientConfig": {"f:caBundle": {}}}
        if webhook["kind"] == "ValidatingWebhookConfiguration":
            hook["failurePolicy"] = "Fail"
            mine[key]["f:failurePolicy"] = {}
            for entry in others:
                entry["fieldsV1"]["f:webhooks"].get(key, {}).pop("f:failurePolicy", None)
    own = {
        "manager": ISTIOD,
        "operation": "Update",
        "apiVersion": webhook["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:webhooks": mine},
    }
    webhook["metadata"]["managedFields"] = [*others, own]
