#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: manifests
short_description: Apply or delete Kubernetes objects from manifests
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Applies objects with server-side apply, in the order of their dependencies, and waits until all of them are ready.
  - With O(set), the objects form an ApplySet. With O(prune), members of the ApplySet that are no longer in the manifests are deleted.
options:
  definition:
    description: Objects to apply or delete, as a mapping, a list of mappings, or a string of YAML documents.
    type: raw
    aliases: [inline, resource_definition]
  src:
    description:
      - Path of a file or folder on the host where the task runs, or a URL, with YAML documents.
      - Of a folder, the files C(*.yaml), C(*.yml) and C(*.json) are read in the order of their names. A C(kustomization.yaml) is ignored.
    type: str
  checksum:
    description: Expected SHA-256 checksum of the file or URL in O(src). If the checksum differs, the task fails and changes nothing.
    type: str
  namespace:
    description:
      - Namespace for objects that do not name their namespace. Cluster-wide objects ignore it.
      - Required with O(set), because the parent object of the ApplySet is stored in this namespace.
    type: str
  set:
    description: Name of the ApplySet of the objects. Its parent object is a ConfigMap with this name in O(namespace).
    type: str
  prune:
    description:
      - Whether to delete members of the ApplySet that are not in the manifests. Requires O(set).
      - Namespaces, CRDs and PersistentVolumeClaims are never pruned.
    type: bool
    default: false
  prune_limit:
    description:
      - Maximum number of members to prune, or a percentage of the ApplySet such as V(20%). By default, there is no limit.
      - If more members would be deleted, the task fails and changes nothing.
    type: str
  wait_for:
    description: Conditions to wait for, in addition to the readiness of all objects.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the objects.
        type: str
        required: true
      name:
        description: Name of the object. By default, the condition applies to all objects of the kind.
        type: str
      query:
        description: JMESPath expression on the live object. It must evaluate to a true value, such as C(status.loadBalancer.ingress).
        type: str
        required: true
  state:
    description:
      - V(present) applies the objects.
      - V(absent) deletes the objects and, with O(set), all members of the ApplySet.
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
- name: Apply an object
  servicemesh.istio.manifests:
    namespace: default
    definition:
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: greeting
      data:
        text: hello

- name: Apply an ApplySet and delete members that are no longer listed
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

- name: Delete all members of the ApplySet
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
