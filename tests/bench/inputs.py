# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is applied: a control plane with the lab's values, and many small objects; as manifests and as playbooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lab import settings
from lab.shell import run

Objects = dict[str, Any]

# A live istiod writes into these. With its fields in a manifest, every apply would be a change that istiod takes back.
WEBHOOKS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")

ROUTES = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    app: {name}
spec:
  hosts:
    - {name}
  http:
    - name: canary
      match:
        - headers:
            x-canary:
              exact: "true"
      route:
        - destination:
            host: {name}
            subset: v2
    - name: split
      route:
        - destination:
            host: {name}
            subset: v1
          weight: 90
        - destination:
            host: {name}
            subset: v2
          weight: 10
      timeout: 5s
      retries:
        attempts: 2
        perTryTimeout: 2s
        retryOn: 5xx,reset
"""
SUBSETS = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {name}
  namespace: {namespace}
  labels:
    app: {name}
spec:
  host: {name}
  trafficPolicy:
    connectionPool:
      http:
        http1MaxPendingRequests: 100
    outlierDetection:
      consecutive5xxErrors: 5
      interval: 10s
      baseEjectionTime: 30s
  subsets:
    - name: v1
      labels:
        version: v1
    - name: v2
      labels:
        version: v2
"""


def many(path: Path, namespace: str, count: int) -> Path:
    """Half VirtualServices, half DestinationRules. Written piece by piece: what this process holds would count in its
    children's peak.
    """
    with open(path, "w", encoding="utf-8") as file:
        for template in (ROUTES, SUBSETS):
            for number in range(count // 2):
                file.write(template.format(name=f"host-{number:05}", namespace=namespace) + "---\n")
    return path


def lab_values(built: bool) -> tuple[Objects, Objects]:
    """(values, meshConfig) as tests/lab/vars.yml gives them to the control_plane role."""
    lab: Objects = yaml.safe_load((settings.HERE / "vars.yml").read_text(encoding="utf-8"))
    values = combined(lab["lab_small"], lab["lab_upstream_envoy"] if built else {})
    service = {"gateways": {"istio-ingressgateway": {"type": lab["control_plane_ingress_service_type"]}}}
    return combined(service, values), lab["control_plane_mesh_config"]


def combined(one: Objects, two: Objects) -> Objects:
    result = dict(one)
    for key, value in two.items():
        result[key] = (
            combined(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        )
    return result


def operator(path: Path, values: Objects, mesh_config: Objects) -> Path:
    spec = {"profile": "default", "values": values, "meshConfig": mesh_config}
    return _dump(
        path,
        {
            "apiVersion": "install.istio.io/v1alpha1",
            "kind": "IstioOperator",
            "metadata": {"namespace": "istio-system"},
            "spec": spec,
        },
    )


def manifest(path: Path, istioctl: Path, operator_file: Path) -> Path:
    """What istioctl renders, less what istiod owns once it runs."""
    documents = run(istioctl, "manifest", "generate", "-f", operator_file).split("\n---\n")
    path.write_text("\n---\n".join(_without_istiods_fields(document) for document in documents), encoding="utf-8")
    return path


def _without_istiods_fields(document: str) -> str:
    if not any(f"kind: {kind}" in document for kind in WEBHOOKS):
        return document
    obj = yaml.safe_load(document)
    if obj and obj["kind"] in WEBHOOKS:
        for webhook in obj["webhooks"]:
            if obj["kind"] == "ValidatingWebhookConfiguration":
                webhook.pop("failurePolicy", None)
            webhook["clientConfig"].pop("caBundle", None)
        return str(yaml.safe_dump(obj, sort_keys=False))
    return document


def playbook(path: Path, module: str, options: Objects) -> Path:
    """One play on this machine, of one task."""
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "tasks": [{"name": "The one task", module: options}],
    }
    return _dump(path, [play])


def _dump(path: Path, data: Any) -> Path:
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path
