# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Helm that renders a small control plane and writes it into the API in memory, with the records that a real one
keeps.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import APPLY
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.install import helm
from builders import Object, deployment, service

VERSION = "1.31.0"


def write_charts(folder: Path, version: str = VERSION) -> Path:
    for chart in ("base", "istio-control/istio-discovery", "istio-cni", "ztunnel", "gateway"):
        place = folder / chart
        place.mkdir(parents=True, exist_ok=True)
        (place / "Chart.yaml").write_text(yaml.safe_dump({"name": chart.rpartition("/")[2], "version": version}))
        (place / "values.yaml").write_text("{}")
        (place / "templates").mkdir(exist_ok=True)
    # As Istio's: what is declared, what a template reads, and what it takes as a whole. The last two are what the tests
    # here say.
    shared = {"hub": "docker.io/istio", "imagePullPolicy": "", "imagePullSecrets": []}
    values = {
        "_internal_defaults_do_not_set": {
            "global": shared,
            "autoscaleEnabled": True,
            "resources": {"requests": {"cpu": "1"}},
            "unused": "",
            "nonsense": "",
        }
    }
    (folder / "istio-control/istio-discovery/templates/deployment.yaml").write_text(
        "{{ .Values.beside }} {{ .Values.global.proxy.logLevel }} {{ toYaml .Values.resources }} {{"
        " .Values.meshConfig }}"
    )
    (folder / "istio-control/istio-discovery/values.yaml").write_text(yaml.safe_dump(values))
    (folder / "base/files").mkdir(exist_ok=True)
    (folder / "base/files/profile-demo.yaml").write_text("{}")
    return folder


def _obj(api: str, kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def _hub(values: dict[str, Any]) -> str:
    return (values.get("global") or {}).get("hub") or "docker.io/istio"


def _istiod(name: str, namespace: str, values: dict[str, Any]) -> Object:
    obj = deployment(name, namespace, f"{_hub(values)}/pilot:{VERSION}", {"app": "istiod"})
    beside = [{"name": "beside", "image": image} for image in (values.get("pilot") or {}).get("beside") or []]
    obj["spec"]["template"]["spec"]["containers"] += beside
    return obj


def _rendered(release: helm.HelmRelease, upgrade: bool) -> list[Object]:
    chart, values, place = release.chart.name, release.values, release.namespace
    if "nonsense" in values:
        raise helm.Helm._refusal(None, "template", "Error: nonsense")
    if chart == "base":
        definition = _obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gateways.networking.istio.io")
        definition["metadata"]["annotations"] = {helm.KEEP: "keep"}
        definition["spec"] = {"group": "networking.istio.io", "names": {"plural": "gateways", "kind": "Gateway"}}
        return [definition, _obj("v1", "ServiceAccount", "istio-reader-service-account", place)]
    if chart == "istio-discovery":
        suffix = f"-{values['revision']}" if values.get("revision") else ""
        hook: Object = {
            "name": "namespace.sidecar-injector.istio.io",
            "clientConfig": {"service": {"name": "istiod", "namespace": place}},
        }
        hook["namespaceSelector"] = {
            "matchLabels": {"istio.io/rev": values["revision"]} if suffix else {"istio-injection": "enabled"}
        }
        validator: Object = {
            "name": "rev.validation.istio.io",
            "clientConfig": {"service": {"name": "istiod", "namespace": place}},
        }
        # As Istio's charts: only the first revision of a release says it.
        validator.update({} if upgrade else {"failurePolicy": "Ignore"})
        injector = _obj(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            f"istio-sidecar-injector{suffix}",
            webhooks=[hook],
        )
        injector["metadata"]["labels"] = {"app": "sidecar-injector"}
        its_global = {"tag": VERSION, **(values.get("global") or {}), "hub": _hub(values)}
        config = 'defaultTemplates: [sidecar]\ntemplates:\n  gateway: |\n    image: "{{ .ProxyImage }}"\n'
        return [
            _obj(
                "v1",
                "ConfigMap",
                f"istio-sidecar-injector{suffix}",
                place,
                data={"values": json.dumps({"global": its_global}, sort_keys=True), "config": config},
            ),
            _obj("v1", "ConfigMap", f"istio{suffix}", place, data={"mesh": json.dumps(values.get("meshConfig") or {})}),
            _istiod(f"istiod{suffix}", place, values),
            injector,
            _obj(
                "admissionregistration.k8s.io/v1",
                "ValidatingWebhookConfiguration",
                f"istio-validator{suffix}",
                webhooks=[validator],
            ),
        ]
    gateway = deployment(release.name, place, "auto")
    gateway["spec"]["template"]["metadata"]["annotations"] = {"inject.istio.io/templates": "gateway"}
    return [
        gateway,
        {
            **service(release.name, place),
            "spec": {"type": values.get("service", {}).get("type", "LoadBalancer"), "ports": [{"port": 80}]},
        },
    ]


class FakeHelm:
    """The methods of Helm that run the program, by name. fails: releases whose writing ends half way."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.calls: list[tuple[str, str]] = []
        self.fails: set[str] = set()

    def run(self, arguments: list[str], text: str = "", timeout: float = 0) -> str:
        if arguments[0] == "version":
            return "v4.3.1"
        release = helm.HelmRelease(
            arguments[1], arguments[arguments.index("--namespace") + 1], Path(arguments[2]), json.loads(text)
        )
        return "".join(f"---\n{json.dumps(obj)}\n" for obj in _rendered(release, "--is-upgrade" in arguments))

    def upgrade(self, cluster: Any, release: helm.HelmRelease, adopt: bool, force: bool, deadline: Any) -> None:
        self.calls.append(("upgrade", release.name))
        known = helm.helm_revisions(cluster, release.name, release.namespace)
        if known and known[-1].status.startswith("pending"):
            raise Failure("helm", "another operation (install/upgrade/rollback) is in progress")
        objects = _rendered(release, upgrade=bool(known))
        self.keep(
            release,
            objects,
            known[-1].version + 1 if known else 1,
            "pending-upgrade" if release.name in self.fails else "deployed",
        )
        for obj in objects:
            if release.name in self.fails:
                raise Failure("helm", "helm upgrade: killed")
            resource = cluster.resource_of(obj)
            marked = helm._marked(copy.deepcopy(obj), release)
            path = resource.path(obj["metadata"].get("namespace"), obj["metadata"]["name"])
            self.api.request("PATCH", path, {"fieldManager": "helm", "force": "true"}, marked, APPLY)
        for obj in [obj for revision in known[-1:] for obj in revision.deletable]:
            if obj["metadata"]["name"] not in {o["metadata"]["name"] for o in objects}:
                self.api.drop(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))

    def keep(self, release: helm.HelmRelease, objects: list[Object], version: int, status: str) -> None:
        chart = yaml.safe_load((release.chart / "Chart.yaml").read_text())
        manifest = "".join(f"---\n{json.dumps(obj)}\n" for obj in objects)
        content = {
            "version": version,
            "info": {"status": status},
            "chart": {"metadata": chart},
            "config": release.values,
            "manifest": manifest,
        }
        data = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(content).encode()))).decode()
        secret = helm.receipt(release, version)
        self.api.put({**secret, "data": {"release": data}}, manager="helm")

    def uninstall(self, cluster: Any, name: str, namespace: str, deadline: Any) -> None:
        self.calls.append(("uninstall", name))
        known = helm.helm_revisions(cluster, name, namespace)
        for obj in [obj for revision in known[-1:] for obj in revision.deletable]:
            self.api.drop(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        for revision in known:
            self.api.drop("Secret", revision.secret["metadata"]["name"], namespace)
