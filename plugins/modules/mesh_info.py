#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_info
short_description: Gather information about a mesh
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Returns the cluster's name and server, control planes with their versions, revision tags, webhooks, CRD versions and root certificates.
  - Also returns namespaces and workloads with the sidecars of their pods, the proxy status that each istiod reports, gateways with their addresses,
    addons, and the version skew between all components.
  - RV(forbidden_kinds) lists the kinds that the account may not read. The values that depend on them are null.
  - The task fails if the account may not read Namespaces, Nodes, Pods, Services, the Deployments of istiod or the injection webhooks.
  - Use M(servicemesh.istio.mesh_check) to find problems in a mesh.
options:
  query:
    description:
      - JMESPath expression on the result. Its value is returned as RV(answer).
      - If the expression is invalid, the task fails before it connects to the cluster.
    type: str
  proxies:
    description: Whether to ask every istiod for the status of its proxies. This requires a port forward to each istiod pod.
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
- name: Gather information about the mesh
  servicemesh.istio.mesh_info:
  register: mesh

- name: Show namespaces with missing or stale sidecars
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.enrolled }} of {{ item.expected }} pods have a sidecar, {{ item.stale }} of them are stale"
  loop: "{{ mesh.namespaces }}"
  loop_control: {label: "{{ item.name }}"}
  when: item.enrolled < item.expected or item.stale > 0

- name: Gather the versions of all control planes
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
  description: Name of the cluster, which is the name of the context, with its server and Kubernetes version.
  returned: success
  type: dict
  sample: {name: kind-mesh, server: "https://127.0.0.1:6443", version: v1.36.3}
control_planes:
  description: Control planes, each with its revision, namespace, version, ready replicas and desired replicas.
  returned: success
  type: list
  elements: dict
  sample: [{revision: default, namespace: istio-system, version: 1.31.0, ready: 1, replicas: 1}]
tags:
  description: Revision tags, each with the revision that it points to and the namespaces that use it.
  returned: success
  type: list
  elements: dict
  sample: [{name: default, revision: default, namespaces: [shop]}]
namespaces:
  description:
    - Namespaces in which injection is enabled or pods have a sidecar.
    - C(injection) and C(revision) are the values of the labels, and C(uses) is the revision that the labels select.
    - C(enrolled) is the number of pods with a sidecar, C(expected) of pods that should have one, C(total) of all pods, and C(stale) of pods whose
      sidecar has another revision.
  returned: success
  type: list
  elements: dict
  sample: [{name: shop, injection: enabled, revision: "", uses: default, enrolled: 12, expected: 12, total: 12, stale: 0}]
gateways:
  description: Services of gateways, each with its external addresses and ports.
  returned: success
  type: list
  elements: dict
  sample: [{name: istio-ingressgateway, namespace: istio-system, type: LoadBalancer, addresses: [192.0.2.1], ports: {http2: 80}, url: "http://192.0.2.1"}]
addons:
  description: Installed addons, each with its address in the cluster.
  returned: success
  type: list
  elements: dict
  sample: [{name: kiali, namespace: istio-system, address: "http://kiali.istio-system:20001"}]
webhooks:
  description:
    - Webhook configurations for injection and validation, each with its revision, revision tag, target Services or URLs, and failure policies.
    - C(has_ca) is true if all entries of the configuration have a CA bundle. C(ready_endpoints) is null if the number is not known.
    - C(active) is false if a revision tag has replaced the webhook.
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
  description:
    - Version of the Istio CRDs as a whole, and all Istio CRDs, each with its version.
    - A version is empty if the CRDs do not state it.
  returned: success
  type: dict
  sample: {version: 1.31.0, objects: [{name: virtualservices.networking.istio.io, version: 1.31.0}]}
root_certificates:
  description:
    - Root certificates that proxies trust, each with its validity and the SHA-256 fingerprint of its DER encoding.
    - Null if they cannot be read.
  returned: success
  type: list
  elements: dict
  sample: [{fingerprint: 8a4c0d, begins: "2026-01-01T00:00:00Z", expires: "2036-01-01T00:00:00Z"}]
workloads:
  description:
    - Workloads with pods that have a proxy or should have one.
    - C(revisions) lists the revisions of its proxies, and C(uses) is the revision that injects new pods. C(missing_sidecar) and C(stale) list the
      pods without a sidecar and those with a stale one.
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
    - Status of the proxies as reported by every istiod.
    - C(connected) and C(synced) are numbers of proxies. C(rejected) contains the error message of each proxy that rejected its configuration.
      C(disconnected) lists ready proxies that are not connected to any istiod. C(versions) is the number of proxies by version.
    - If an istiod does not answer, C(unknown) is the reason, C(disconnected) is null, and the numbers do not include the proxies of this istiod.
    - Null with O(proxies=false).
  returned: success
  type: dict
  sample: {unknown: "", connected: 12, synced: 12, rejected: {}, disconnected: [], versions: {1.31.0: 12}}
skew:
  description:
    - Version skew between control planes, proxies, node agents and CRDs.
    - C(verdict) is one of kept, broken, unknown. It is kept if all versions are within the skew that Istio supports. C(findings) lists the violations.
  returned: success
  type: dict
  sample: {verdict: kept, findings: []}
forbidden_kinds:
  description: Kinds that the account may not read, each with the API server's message.
  returned: success
  type: dict
  sample: {replica_sets: 'replicasets.apps is forbidden: User "viewer" cannot list resource "replicasets"'}
answer:
  description: Value of O(query).
  returned: when O(query) is set
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
