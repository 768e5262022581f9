#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: preflight
short_description: Check objects of Istio and of the Gateway API before they are applied
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Checks objects by the rules of istiod's webhook, of the Istio analyzers and of Kiali, and by rules of this collection, and fails the task at a
    chosen severity.
  - The objects come from O(src) or O(definition), and are checked together with the objects in the cluster. With O(cluster=false) they are checked
    alone.
  - If neither is set, all objects in the cluster are checked.
  - Findings on other objects are included if the checked objects cause them, for example a route to a subset that they remove.
  - Findings that an object suppresses with the annotation C(galley.istio.io/analyze-suppress) are left out, by the codes of this module or of the
    analyzers.
  - The module only reads. C(docs/preflight.md) of the collection lists all checks. M(servicemesh.istio.mesh_check) checks the running mesh.
options:
  src:
    description: Files or folders where the task runs, or URLs, with YAML documents. The C(*.yaml), C(*.yml) and C(*.json) files of a folder are read in the
      order of their names.
    type: list
    elements: str
  definition:
    description: Objects, as a mapping, a list of mappings, or a string with YAML documents.
    type: raw
    aliases: [inline, resource_definition]
  namespace:
    description: Namespace of namespaced objects without one.
    type: str
    default: default
  istio_namespace:
    description: Namespace of the control plane, whose policies apply to the whole mesh.
    type: str
    default: istio-system
  cluster:
    description:
      - Whether to check the objects together with those in the cluster. V(false) makes no connection.
      - With V(false), a missing reference is reported only if O(src) or O(definition) contain objects of its kind.
    type: bool
    default: true
  skip:
    description: Codes of checks to skip.
    type: list
    elements: str
    default: []
  fail_on:
    description: Lowest severity of a finding that fails the task. The result is the same with V(never).
    type: str
    choices: [error, warning, info, never]
    default: error
seealso:
  - name: Istio analysis messages
    description: Findings of istioctl analyze.
    link: https://istio.io/latest/docs/reference/config/analysis/
extends_documentation_fragment:
  - servicemesh.istio.attributes.info
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
"""

EXAMPLES = r"""
- name: Check an object before it is applied
  servicemesh.istio.preflight:
    namespace: online-boutique
    definition:
      apiVersion: networking.istio.io/v1
      kind: DestinationRule
      metadata:
        name: productcatalogservice-preflight
      spec:
        host: productcatalogservice
        trafficPolicy:
          connectionPool:
            http:
              http1MaxPendingRequests: 100

- name: Write a file
  ansible.builtin.copy:
    dest: /tmp/preflight-example.yaml
    mode: "0644"
    content: |
      apiVersion: networking.istio.io/v1
      kind: ServiceEntry
      metadata:
        name: outside
      spec:
        hosts: [api.example.com]
        ports:
          - {number: 443, name: tls, protocol: TLS}
        resolution: DNS

- name: Check files without a cluster
  servicemesh.istio.preflight:
    src: [/tmp/preflight-example.yaml]
    cluster: false
    fail_on: warning

- name: Check all objects in the cluster
  servicemesh.istio.preflight:
    fail_on: never
    skip: [namespace_not_enrolled]
  register: checked

- name: Show the findings
  ansible.builtin.debug:
    msg: "{{ checked.text.splitlines() }}"
"""

RETURN = r"""
findings:
  description: Findings, errors first.
  returned: when the objects were judged
  type: list
  elements: dict
  contains:
    code:
      description: Stable code of the check.
      type: str
    severity:
      description: One of error, warning, info.
      type: str
    ref:
      description: Group, version, kind, namespace and name of the object.
      type: dict
    field:
      description: Field of the object, such as C(spec.http[0].route).
      type: str
    message:
      description: What is wrong.
      type: str
    remedy:
      description: How to fix it.
      type: str
    source:
      description: Origin of the rule, with its code there.
      type: str
counts:
  description: Findings by severity.
  returned: when the objects were judged
  type: dict
  sample: {errors: 1, warnings: 0, infos: 2}
text:
  description: The findings as text, with one finding per line.
  returned: when the objects were judged
  type: str
  sample: >-
    error subset_undefined: VirtualService shop/web, spec.http[0].route[0].destination.subset: no DestinationRule defines subset v2 of
    web.shop.svc.cluster.local. Create the subset first, then send to it.
checked:
  description: Number of checked objects by kind.
  returned: when the objects were judged
  type: dict
  sample: {VirtualService: 3, DestinationRule: 3}
forbidden_kinds:
  description: Kinds that the account may not read, with the server's message. Missing objects of these kinds are not reported.
  returned: when the objects were judged
  type: dict
  sample: {}
duration:
  description: Seconds by phase.
  returned: always
  type: dict
failure:
  description: Code, object, reason and hint. The code is stable. With preflight_failed the object is that of the first finding, and the reason holds
    the codes of the checks.
  returned: on failure
  type: dict
  sample: {code: preflight_failed, ref: {}, reason: subset_undefined, hint: ""}
"""

from ..module_utils._checks.check import FAIL_ON, validate_skip
from ..module_utils._engine.files.manifests import read_manifests
from ..module_utils._engine.module import Run, run_module
from ..module_utils._preflight import loader, registry

ARGUMENTS = {
    "src": {"type": "list", "elements": "str"},
    "definition": {"type": "raw", "aliases": ["inline", "resource_definition"]},
    "namespace": {"type": "str", "default": "default"},
    "istio_namespace": {"type": "str", "default": "istio-system"},
    "cluster": {"type": "bool", "default": True},
    "skip": {"type": "list", "elements": "str", "default": []},
    "fail_on": {"type": "str", "choices": list(FAIL_ON), "default": "error"},
}


def body(run: Run) -> dict:
    options = run.options
    validate_skip(options["skip"], registry.BY_CODE, "docs/preflight.md")
    given = options["src"] is not None or options["definition"] is not None
    objects = loader.normalize_objects(read_manifests(run), options["namespace"]) if given else []
    if options["cluster"]:
        picture = run.timed(
            "read", lambda: loader.load_cluster(run.cluster, objects, given, options["istio_namespace"])
        )
    else:
        picture = loader.load_files(objects, options["istio_namespace"])
    rows = run.timed("judge", lambda: registry.run_checks(picture, options["skip"]))
    run.extra_result = registry.preflight_result(rows, picture)
    failure = registry.failure_of_findings(rows, options["fail_on"])
    if failure:
        raise failure
    return run.extra_result


def main() -> None:
    run_module(
        ARGUMENTS,
        body,
        mutually_exclusive=[("definition", "src")],
        required_if=[("cluster", False, ("src", "definition"), True)],
    )


if __name__ == "__main__":
    main()
