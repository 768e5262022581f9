#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: manifests
short_description: Make objects of a cluster equal to manifests
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Applies whole objects by server-side apply, in an order that works, and waits for all of them at once.
  - With O(set) the objects are one named set. With O(prune) members of the set that are wanted no more are deleted.
options:
  definition:
    description: Objects, as a mapping, a list of mappings, or a text of YAML documents.
    type: raw
    aliases: [inline, resource_definition]
  src:
    description: A file or folder where the task runs, or a URL, with YAML documents. A folder's C(*.yaml), C(*.yml) and C(*.json) are read in order
      of name, but for a C(kustomization.yaml).
    type: str
  checksum:
    description: What sha256 the file or what is behind the URL of O(src) must have. Anything else is refused before it is read.
    type: str
  namespace:
    description: Namespace of namespaced objects without one. Required with O(set), because the parent of the ApplySet is kept there.
    type: str
  set:
    description: Name of the ApplySet that the objects form. Its parent is a ConfigMap with this name in O(namespace).
    type: str
  prune:
    description: Whether members of the set that are not among the objects are deleted. Namespaces, CustomResourceDefinitions and PersistentVolumeClaims stay.
    type: bool
    default: false
  prune_limit:
    description: Stop, before anything is changed, if more members than this would be deleted. A number, or a share of the set such as V(20%).
    type: str
  wait_for:
    description: Further conditions that must hold before the call ends, on top of what is known of a kind.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the objects.
        type: str
        required: true
      name:
        description: Name of the object. Unset, all objects of the kind.
        type: str
      query:
        description: JMESPath expression on the live object that must give something true, such as C(status.loadBalancer.ingress).
        type: str
        required: true
  state:
    description:
      - With V(present) the objects are made equal to the manifests.
      - With V(absent) they are deleted; with O(set) all members of the set are.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: Server-side apply
    description: How Kubernetes applies objects and tracks managed fields.
    link: https://kubernetes.io/docs/reference/using-api/server-side-apply/
  - name: ApplySet
    description: Labels and annotations of an ApplySet.
    link: https://kubernetes.io/docs/reference/labels-annotations-taints/#applyset-kubernetes-io-id
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.registries
"""

EXAMPLES = r"""
- name: One object
  servicemesh.istio.manifests:
    namespace: default
    definition:
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: greeting
      data:
        text: hello

- name: A set, from which what is no longer listed is deleted
  servicemesh.istio.manifests:
    namespace: default
    set: greetings
    prune: true
    definition:
      - apiVersion: v1
        kind: ConfigMap
        metadata:
          name: greeting
        data:
          text: hello

- name: The whole set goes
  servicemesh.istio.manifests:
    namespace: default
    set: greetings
    state: absent
"""

RETURN = r"""
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs made for the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 3, configured: 0, recreated: 0, unchanged: 35, pruned: 0, failed: 0, dry_runs: 3}
objects:
  description: All objects of the plan.
  returned: when a plan was made
  type: list
  elements: dict
  contains:
    ref:
      description: Group, version, kind, namespace and name of the object.
      type: dict
    action:
      description: Action on the object. One of created, configured, recreated, unchanged, pruned, failed, pending.
      type: str
    conflicts:
      description: Fields that other field managers own, each with its manager.
      type: list
      elements: dict
    status:
      description: Readiness as defined by kstatus, if the module waited for the object.
      type: str
    message:
      description: Additional information about the action, such as the reason of a failure.
      type: str
verified:
  description: Conditions that the task verified after its steps, such as that proxies are in sync.
  returned: when a plan was made
  type: list
  elements: str
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
  returned: on failure
  type: dict
  sample: {code: image_pull, ref: {}, reason: ErrImagePull, hint: ""}
"""

from ..module_utils._engine.files.manifests import read_manifests
from ..module_utils._engine.images import Registries
from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._engine.planning.applyset import ObjectSet, prune_allowance
from ..module_utils._engine.steps import Step
from ..module_utils._engine.waiting import conditions
from ..module_utils._failure import InvalidOption
from ..module_utils._istio.install.images import REGISTRY_ARGUMENTS, of_pods

ARGUMENTS = {
    "definition": {"type": "raw", "aliases": ["inline", "resource_definition"]},
    "src": {"type": "str"},
    "checksum": {"type": "str"},
    "namespace": {"type": "str"},
    "set": {"type": "str"},
    "prune": {"type": "bool", "default": False},
    "prune_limit": {"type": "str"},
    "wait_for": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "kind": {"type": "str", "required": True},
            "name": {"type": "str"},
            "query": {"type": "str", "required": True},
        },
    },
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **REGISTRY_ARGUMENTS,
    **WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def body(run: Run) -> dict:
    options = run.options
    if options["set"] and not options["namespace"]:
        hint = (
            "The parent of an ApplySet is a ConfigMap with the name of the set. Set namespace to where it is kept, such"
            " as the namespace of the objects."
        )
        raise InvalidOption(
            "namespace",
            f"is required with set: the parent of the ApplySet {options['set']} needs a namespace",
            hint=hint,
        )
    if options["prune"] and not options["set"]:
        raise InvalidOption("prune", "prune needs set", hint="Set the name of the set.")
    object_set = ObjectSet(options["set"], options["namespace"]) if options["set"] else None
    if options["prune_limit"] is not None:
        prune_allowance(options["prune_limit"], 0)
    run.conditions = conditions.parse_conditions(options["wait_for"])
    registries = Registries.of(options["registries"])
    objects = [of_pods(obj, registries, options["pull_secrets"]) for obj in read_manifests(run)]
    if options["state"] == "absent":
        return run.remove(objects, object_set, namespace=options["namespace"])
    if not objects:
        raise InvalidOption("definition", "it contains no objects", hint="Use state: absent to remove a set.")
    rules = run.apply_options(
        namespace=options["namespace"], set=object_set, prune=options["prune"], prune_limit=options["prune_limit"]
    )
    return run.apply([Step("objects", objects)], rules)


def main() -> None:
    run_module(
        ARGUMENTS, body, mutually_exclusive=[("definition", "src")], required_one_of=[("definition", "src", "set")]
    )


if __name__ == "__main__":
    main()
