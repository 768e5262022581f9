#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: revision_tag
short_description: Create, move or remove a revision tag
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - A revision tag is an alias of a revision. If you point the tag to another revision, all namespaces with the tag's label use that revision.
  - Writes the objects of the tag, which are an injection webhook and a Service. The tag C(default) also has the validation webhook for objects without
    a revision.
  - Existing pods keep their sidecar until they are created again. To restart them, use O(servicemesh.istio.namespace#module:restart_stale_sidecar) or
    M(servicemesh.istio.restart).
options:
  name:
    description: Name of the revision tag. Namespaces with the label C(istio-injection=enabled) use the tag V(default).
    type: str
    required: true
  revision:
    description:
      - Revision that the tag points to. Use V(default) for a control plane without a revision.
      - Required with O(state=present).
    type: str
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
  istioctl:
    description:
      - Path of istioctl on the host where the task runs, such as the one that M(servicemesh.istio.release) returns. Use the version of the revision.
      - If it is not set, C(istioctl) on C(PATH) is used.
    type: path
  force:
    description:
      - With O(state=absent), whether to remove a tag that namespaces use.
      - New pods of these namespaces then get no sidecar. With V(false) the task fails and lists the namespaces.
    type: bool
    default: false
  state:
    description: Whether to create or move (V(present)), or to remove (V(absent)) the tag.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: Stable revision labels
    description: Revision tags in a canary upgrade.
    link: https://istio.io/latest/docs/setup/upgrade/canary/#stable-revision-labels
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
"""

EXAMPLES = r"""
- name: Download the release
  servicemesh.istio.release:
    version: 1.31.0
    mirror: "{{ lab_releases }}"
  register: istio

- name: Point the tag stable to the default revision
  servicemesh.istio.revision_tag:
    name: stable
    revision: default
    istioctl: "{{ istio.istioctl }}"
  register: stable

- name: Show the namespaces that use the tag
  ansible.builtin.debug:
    var: stable.tag.namespaces

- name: Remove the tag
  servicemesh.istio.revision_tag:
    name: stable
    state: absent
"""

RETURN = r"""
tag:
  description: The tag before the task, with the revision that it pointed to and the namespaces that use it.
  returned: success
  type: dict
  sample: {name: stable, revision: 1-30-4, namespaces: [shop]}
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs made for the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 2, configured: 0, recreated: 0, unchanged: 0, pruned: 0, failed: 0, dry_runs: 2}
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
  sample: {code: no_such_revision, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._engine.steps import Step
from ..module_utils._failure import Failure
from ..module_utils._istio import webhooks
from ..module_utils._istio.dataplane import revisions
from ..module_utils._istio.install import control_plane
from ..module_utils._istio.install.istioctl import Istioctl

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "revision": {"type": "str"},
    "istio_namespace": {"type": "str", "default": "istio-system"},
    "istioctl": {"type": "path"},
    "force": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def body(run: Run) -> dict:
    options = run.options
    tag = revisions.RevisionTag(options["name"], options["revision"] or "", options["istio_namespace"])
    revisions.validate_tag(tag)
    live = revisions.read_revisions(run.cluster)
    row = revisions.tag_row(tag.name, live, run.cluster.list("", "Namespace"))
    if options["state"] == "absent":
        if row["namespaces"] and row["revision"] and not options["force"]:
            names = ", ".join(row["namespaces"])
            raise Failure(
                "tag_in_use",
                f"name: {tag.name} is used by {names}",
                hint="Change the labels of these namespaces first, or set force.",
            )
        return {**run.remove([], tag.own_set), "tag": row}
    run.fail_or_warn(revisions.tag_problems(tag, live))
    plane = control_plane.ControlPlane(
        namespace=tag.namespace, revision="" if tag.revision == revisions.DEFAULT else tag.revision
    )
    istioctl = Istioctl(options["istioctl"])
    rendered = run.timed("render", lambda: istioctl.render(control_plane.tag_operator(plane, tag.name)))
    objects = control_plane.tag_objects(rendered, plane, tag.name)
    hooks = [obj["metadata"]["name"] for obj in objects if obj["kind"] == "MutatingWebhookConfiguration"]
    step = Step("tag", objects, barrier=webhooks.webhooks_armed(hooks))
    rules = run.apply_options(
        namespace=tag.namespace, ignore_managers=frozenset({control_plane.ISTIOD_MANAGER}), set=tag.own_set, prune=True
    )
    return {**run.apply([step], rules), "tag": row}


def main() -> None:
    run_module(ARGUMENTS, body, required_if=[("state", "present", ["revision"])])


if __name__ == "__main__":
    main()
