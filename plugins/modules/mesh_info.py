#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: mesh_info
short_description: Tell what a mesh consists of
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Reads the cluster's name and server, the control planes and their versions, revision tags, the namespaces with their pods' sidecars,
    gateways with their addresses, and addons.
options: {}
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

from ..module_utils._engine.run import Run, run_module
from ..module_utils._istio import mesh


def body(run: Run) -> dict:
    return run.timed("read", lambda: mesh.read(run.cluster))


def main() -> None:
    run_module({}, body)


if __name__ == "__main__":
    main()
