#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: preflight
short_description: Check Istio and Gateway API objects before they are applied
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Checks objects with the rules of istiod's validation webhook, Istio's analyzers and Kiali, and with rules of its own.
  - The task fails if a finding has the severity in O(fail_on) or a higher one.
  - The objects are read from O(src) or O(definition). They are checked together with the objects of the cluster, as if they were applied. With
    O(cluster=false) they are checked without a cluster.
  - If neither O(src) nor O(definition) is set, all objects of the cluster are checked.
  - Findings on other objects are reported if the checked objects cause them, such as a route to a subset that is missing in a checked DestinationRule.
  - The annotation C(galley.istio.io/analyze-suppress) of an object suppresses findings by their code, either the code of this module or the code of
    Istio's analyzer.
  - The module only reads. The file C(docs/preflight.md) of the collection describes all checks. Use M(servicemesh.istio.mesh_check) to check the
    running mesh.
options:
  src:
    description:
      - Paths of files or folders on the host where the task runs, or URLs, with YAML documents.
      - Of a folder, the files C(*.yaml), C(*.yml) and C(*.json) are read in the order of their names.
    type: list
    elements: str
  definition:
    description: Objects to check, as a mapping, a list of mappings, or a string of YAML documents.
    type: raw
    aliases: [inline, resource_definition]
  namespace:
    description: Namespace for objects that do not name their namespace. Cluster-wide objects ignore it.
    type: str
    default: default
  istio_namespace:
    description: Namespace of the control plane. Policies in this namespace apply to the whole mesh.
    type: str
    default: istio-system
  cluster:
    description:
      - Whether to check the objects together with the objects of the cluster. With V(false) the module does not connect to a cluster.
      - With V(false) a reference to a missing object is reported only if the checked objects contain another object of that kind.
    type: bool
    default: true
  skip:
    description: Codes of checks to skip.
    type: list
    elements: str
    default: []
  fail_on:
    description: Lowest severity of a finding that makes the task fail. With V(never) the task only reports the findings.
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
- name: Check an object before it is applied to the cluster
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

- name: Check all objects of the cluster
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
  description: All findings, errors first.
  returned: when the objects were checked
  type: list
  elements: dict
  contains:
    code:
      description: Stable code of the check.
      type: str
    severity:
      description: Severity of the finding. One of error, warning, info.
      type: str
    ref:
      description: Group, version, kind, namespace and name of the object.
      type: dict
    field:
      description: Field that has the problem, such as C(spec.http[0].route).
      type: str
    message:
      description: Description of the problem.
      type: str
    remedy:
      description: Action that solves the problem.
      type: str
    source:
      description: Tool that the rule comes from, with the rule's code in that tool.
      type: str
counts:
  description: Number of findings by severity.
  returned: when the objects were checked
  type: dict
  sample: {errors: 1, warnings: 0, infos: 2}
text:
  description: Findings as readable text, one finding per line.
  returned: when the objects were checked
  type: str
  sample: >-
    error subset_undefined: VirtualService shop/web, spec.http[0].route[0].destination.subset: no DestinationRule defines subset v2 of
    web.shop.svc.cluster.local. Create the subset first, then send to it.
checked:
  description: Number of checked objects by kind.
  returned: when the objects were checked
  type: dict
  sample: {VirtualService: 3, DestinationRule: 3}
forbidden_kinds:
  description:
    - Kinds that the account may not read, each with the API server's message.
    - Missing objects of these kinds are not reported.
  returned: when the objects were checked
  type: dict
  sample: {}
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: >-
    Details of the failure: code, object, reason and hint. The code is stable. With the code preflight_failed, the object is that of the first
    finding, and the reason contains the codes of the checks.
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
