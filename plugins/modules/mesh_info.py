#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_info
short_description: Tell what a mesh consists of
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Reads the cluster's name and server, the control planes and their versions, revision tags, webhooks, the CRDs' version, the root
    certificates, the namespaces and workloads with their pods' sidecars, what istiods say of their proxies, gateways with their addresses,
    addons, and whether all of that is near enough in version.
  - What this account may not read is named in RV(forbidden_kinds), and its part of the result is null; without Namespaces, Nodes, Pods, Services,
    the Deployments of istiod and the injection webhooks nothing can be told, and the module fails.
  - M(servicemesh.istio.mesh_check) judges what it finds.
options:
  query:
    description:
      - A JMESPath expression. What it gives for the result comes as RV(answer).
      - It is refused before anything is read where it is no expression.
    type: str
  proxies:
    description: Whether istiods are asked for their proxies. That takes a tunnel into each of their pods.
    type: bool
    default: true
seealso:
  - name: istioctl
    description: Reference of istioctl.
    link: https://istio.io/latest/docs/reference/commands/istioctl/
extends_documentation_fragment:
  - servicemesh.istio.attributes.info
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
"""

EXAMPLES = r"""
- name: What is there
  servicemesh.istio.mesh_info:
  register: mesh

- name: Namespaces in which pods lack their sidecar or have a stale one
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.enrolled }} of {{ item.expected }} pods have their sidecar, {{ item.stale }} a stale one"
  loop: "{{ mesh.namespaces }}"
  loop_control: {label: "{{ item.name }}"}
  when: item.enrolled < item.expected or item.stale > 0

- name: The versions of all control planes
  servicemesh.istio.mesh_info:
    query: control_planes[].version
    proxies: false
  register: versions

- name: Tell them
  ansible.builtin.debug:
    var: versions.answer
"""

RETURN = r"""
cluster:
  description: Name (the context), server and Kubernetes version.
  returned: success
  type: dict
  sample: {name: kind-mesh, server: "https://127.0.0.1:6443", version: v1.36.3}
control_planes:
  description: Each control plane's revision, namespace, version, ready and wanted replicas.
  returned: success
  type: list
  elements: dict
  sample: [{revision: default, namespace: istio-system, version: 1.31.0, ready: 1, replicas: 1}]
tags:
  description: Each revision tag, the revision that it points to, and the namespaces that it injects.
  returned: success
  type: list
  elements: dict
  sample: [{name: default, revision: default, namespaces: [shop]}]
namespaces:
  description:
    - Each namespace that asks for sidecars or has some. Its labels, the revision that these lead to, pods with a sidecar, pods that should
      have one, all pods, and pods whose sidecar is of another revision.
  returned: success
  type: list
  elements: dict
  sample: [{name: shop, injection: enabled, revision: "", uses: default, enrolled: 12, expected: 12, total: 12, stale: 0}]
gateways:
  description: Each gateway's Service, with the addresses and ports by which it is reached from outside.
  returned: success
  type: list
  elements: dict
  sample: [{name: istio-ingressgateway, namespace: istio-system, type: LoadBalancer, addresses: [192.0.2.1], ports: {http2: 80}, url: "http://192.0.2.1"}]
addons:
  description: Each addon's address inside the cluster.
  returned: success
  type: list
  elements: dict
  sample: [{name: kiali, namespace: istio-system, address: "http://kiali.istio-system:20001"}]
webhooks:
  description:
    - Each webhook of injection and validation, with its revision and the tag that it makes, the Services or URLs that it leads to, what happens
      where nothing answers, whether each of its entries has a CA, and the ready endpoints behind it, null where that is not known.
    - One that a tag has replaced is not active.
  returned: success
  type: list
  elements: dict
  sample:
    - name: istio-revision-tag-default
      kind: injection
      revision: default
      tag: default
      active: true
      targets: [istio-system/istiod]
      failure_policies: [Fail]
      has_ca: true
      ready_endpoints: 1
crds:
  description: The version of Istio's base as a whole, and the Istio CRDs with the version of each. Empty where none is noted.
  returned: success
  type: dict
  sample: {version: 1.31.0, objects: [{name: virtualservices.networking.istio.io, version: 1.31.0}]}
root_certificates:
  description: The root certificates that proxies trust, with the SHA-256 of their DER and their validity. Null where they cannot be read.
  returned: success
  type: list
  elements: dict
  sample: [{fingerprint: 8a4c0d, begins: "2026-01-01T00:00:00Z", expires: "2036-01-01T00:00:00Z"}]
workloads:
  description:
    - Each workload with pods that have a proxy or should have one. The revisions that its proxies are of, the one that would inject its pods now,
      its pods, and those of them that lack their sidecar or have a stale one.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: Deployment
      name: web
      namespace: shop
      pods: [web-5d9c-x7k2p]
      restartable: true
      revisions: [default]
      uses: default
      missing_sidecar: []
      stale: []
proxies:
  description:
    - What istiods say of their proxies. Those that are connected, those that have acknowledged all that was sent, the words of those that refused
      it, ready proxies that no istiod lists, and proxies by version.
    - C(proxies.unknown) says why not every istiod could be asked; C(proxies.disconnected) is null then, and the counts are of the others.
    - Null without O(proxies).
  returned: success
  type: dict
  sample: {unknown: "", connected: 12, synced: 12, rejected: {}, disconnected: [], versions: {1.31.0: 12}}
skew:
  description: Whether the versions of control planes, proxies, node agents and CRDs are as near as Istio asks (kept, broken or unknown), and where not.
  returned: success
  type: dict
  sample: {verdict: kept, findings: []}
forbidden_kinds:
  description: What this account may not read, with the server's words.
  returned: success
  type: dict
  sample: {replica_sets: 'replicasets.apps is forbidden: User "viewer" cannot list resource "replicasets"'}
answer:
  description: What O(query) gives.
  returned: with O(query)
  type: raw
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
  returned: on failure
  type: dict
  sample: {code: unreachable, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.module import Run, run_module
from ..module_utils._engine.waiting import conditions
from ..module_utils._mesh import overview

ARGUMENTS = {
    "query": {"type": "str"},
    "proxies": {"type": "bool", "default": True},
}


def body(run: Run) -> dict:
    text = run.options["query"]
    query = conditions.compile_expression("query", text) if text else None
    result = run.timed("read", lambda: overview.read_overview(run.cluster, run.options["proxies"]))
    return {**result, "answer": conditions.search_result("query", query, result)} if query else result


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
