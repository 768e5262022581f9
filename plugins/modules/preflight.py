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
  - Takes objects through the rules of istiod's webhook, of Istio's analyzers and of Kiali, and through some that none of them has, and fails the play
    at a chosen severity.
  - Objects come from files or from O(definition). They are judged as they would be in the cluster, together with all that is there; with
    O(cluster=false), by themselves.
  - Without any, all that is in the cluster is judged.
  - What is found on other objects counts where these ones cause it, such as a route to a subset that they take away.
  - Findings that an object suppresses by the annotation C(galley.istio.io/analyze-suppress) are left out, by their codes here or those of the analyzers.
  - It only reads. C(docs/preflight.md) of the collection lists all checks. Of the running mesh itself M(servicemesh.istio.mesh_check) tells.
options:
  src:
    description: Files or folders where the task runs, or URLs, with YAML documents. A folder's C(*.yaml), C(*.yml) and C(*.json) are read in order of name.
    type: list
    elements: str
  definition:
    description: Objects, as a mapping, a list of mappings, or a text of YAML documents.
    type: raw
    aliases: [inline, resource_definition]
  namespace:
    description: Namespace of namespaced objects that name none.
    type: str
    default: default
  istio_namespace:
    description: Namespace of the control plane, whose policies are for the whole mesh.
    type: str
    default: istio-system
  cluster:
    description:
      - Whether the objects are judged together with a cluster. Without one no connection is made.
      - What the objects name and do not hold is then found missing only where they hold something of its kind.
    type: bool
    default: true
  skip:
    description: Codes of checks that are left out.
    type: list
    elements: str
    default: []
  fail_on:
    description: The lowest severity at which a finding fails the play. The result is the same with V(never).
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
- name: What is about to be applied would be sound in the cluster
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

- name: A file is written
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

- name: Files are sound by themselves, wherever they will be applied
  servicemesh.istio.preflight:
    src: [/tmp/preflight-example.yaml]
    cluster: false
    fail_on: warning

- name: Everything that is in the cluster
  servicemesh.istio.preflight:
    fail_on: never
    skip: [namespace_not_enrolled]
  register: checked

- name: What was found
  ansible.builtin.debug:
    msg: "{{ checked.text.splitlines() }}"
"""

RETURN = r"""
findings:
  description: What is wrong, errors first.
  returned: when the objects were judged
  type: list
  elements: dict
  contains:
    code:
      description: The check's stable name.
      type: str
    severity:
      description: One of error, warning, info.
      type: str
    ref:
      description: Group, version, kind, namespace and name of the object.
      type: dict
    field:
      description: The field that is meant, such as C(spec.http[0].route).
      type: str
    message:
      description: What is wrong with it.
      type: str
    remedy:
      description: What to do about it.
      type: str
    source:
      description: Where the rule is from, with the code there.
      type: str
counts:
  description: Findings by severity.
  returned: when the objects were judged
  type: dict
  sample: {errors: 1, warnings: 0, infos: 2}
text:
  description: The findings for people, one a line.
  returned: when the objects were judged
  type: str
  sample: >-
    error subset_undefined: VirtualService shop/web, spec.http[0].route[0].destination.subset: no DestinationRule defines subset v2 of
    web.shop.svc.cluster.local. Create the subset first, then send to it.
checked:
  description: Objects that were judged, by kind.
  returned: when the objects were judged
  type: dict
  sample: {VirtualService: 3, DestinationRule: 3}
forbidden_kinds:
  description: Kinds that this account may not read, with the server's words. Nothing is found missing of them.
  returned: when the objects were judged
  type: dict
  sample: {}
duration:
  description: Duration of each phase in seconds.
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
