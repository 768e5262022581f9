#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_info
short_description: Read the state of a mesh
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Reads the name and server of the cluster, control planes and their versions, revision tags, webhooks, CRDs, root certificates, namespaces and
    workloads with the sidecars of their pods, the proxies that istiods report, gateways with their addresses, addons, and the version skew.
  - Data that the account may not read is listed in RV(forbidden_kinds), and its part of the result is null. The module fails without access to
    Namespaces, Nodes, Pods, Services, the Deployments of istiod and the injection webhooks.
  - M(servicemesh.istio.mesh_check) checks the data.
options:
  query:
    description:
      - JMESPath expression for the result. Its value is returned as RV(answer).
      - An expression that is not valid fails before the module reads anything.
    type: str
  proxies:
    description: Whether to read the proxies from every istiod. This requires a tunnel to each istiod pod.
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
- name: Read the mesh
  servicemesh.istio.mesh_info:
  register: mesh

- name: Show namespaces with missing or stale sidecars
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.enrolled }} of {{ item.expected }} pods have their sidecar, {{ item.stale }} a stale one"
  loop: "{{ mesh.namespaces }}"
  loop_control: {label: "{{ item.name }}"}
  when: item.enrolled < item.expected or item.stale > 0

- name: Read the versions of all control planes
  servicemesh.istio.mesh_info:
    query: control_planes[].version
    proxies: false
  register: versions

- name: Show the versions
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
  description: Control planes, with revision, namespace, version, and ready and desired replicas.
  returned: success
  type: list
  elements: dict
  sample: [{revision: default, namespace: istio-system, version: 1.31.0, ready: 1, replicas: 1}]
tags:
  description: Revision tags, with the revision and the namespaces that use the tag.
  returned: success
  type: list
  elements: dict
  sample: [{name: default, revision: default, namespaces: [shop]}]
namespaces:
  description:
    - Namespaces that have or request sidecars, with their labels, their revision, the number of pods with a sidecar, of pods that should have one, of
      all pods, and of pods with a sidecar of another revision.
  returned: success
  type: list
  elements: dict
  sample: [{name: shop, injection: enabled, revision: "", uses: default, enrolled: 12, expected: 12, total: 12, stale: 0}]
gateways:
  description: Services of gateways, with their external addresses and ports.
  returned: success
  type: list
  elements: dict
  sample: [{name: istio-ingressgateway, namespace: istio-system, type: LoadBalancer, addresses: [192.0.2.1], ports: {http2: 80}, url: "http://192.0.2.1"}]
addons:
  description: Addons, with their address in the cluster.
  returned: success
  type: list
  elements: dict
  sample: [{name: kiali, namespace: istio-system, address: "http://kiali.istio-system:20001"}]
webhooks:
  description:
    - Injection and validation webhooks, with their revision and revision tag, the Services or URLs that they call, their failure policies, whether
      each entry has a CA, and the number of ready endpoints (null if it is not known).
    - A webhook that a revision tag replaces is not active.
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
  description: Version of the Istio CRDs as a whole, and of each CRD. Empty if a CRD has no version.
  returned: success
  type: dict
  sample: {version: 1.31.0, objects: [{name: virtualservices.networking.istio.io, version: 1.31.0}]}
root_certificates:
  description: Root certificates that proxies trust, with the SHA-256 of their DER encoding and their validity. Null if they cannot be read.
  returned: success
  type: list
  elements: dict
  sample: [{fingerprint: 8a4c0d, begins: "2026-01-01T00:00:00Z", expires: "2036-01-01T00:00:00Z"}]
workloads:
  description:
    - Workloads with pods that have or should have a proxy, with the revisions of their proxies, the revision for new pods, their pods, and the pods
      with a missing or stale sidecar.
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
    - "Proxies as the istiods report them: connected and synced proxies, messages of proxies that rejected configuration, ready proxies that no istiod
      lists, and proxies by version."
    - C(proxies.unknown) says why an istiod did not answer. C(proxies.disconnected) is null then, and the numbers are those of the other istiods.
    - Null without O(proxies).
  returned: success
  type: dict
  sample: {unknown: "", connected: 12, synced: 12, rejected: {}, disconnected: [], versions: {1.31.0: 12}}
skew:
  description: Whether the versions of control planes, proxies, node agents and CRDs are within the supported skew (kept, broken or unknown), and the violations.
  returned: success
  type: dict
  sample: {verdict: kept, findings: []}
forbidden_kinds:
  description: Kinds that the account may not read, with the server's message.
  returned: success
  type: dict
  sample: {replica_sets: 'replicasets.apps is forbidden: User "viewer" cannot list resource "replicasets"'}
answer:
  description: Value of O(query).
  returned: with O(query)
  type: raw
duration:
  description: Seconds by phase.
  returned: always
  type: dict
failure:
  description: Code, object, reason and hint. The code is stable.
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
