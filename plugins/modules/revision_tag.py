#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: revision_tag
short_description: Point a revision tag to a revision, or take it away
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - A revision tag is a name for a revision. Namespaces that are labelled with it follow when it is pointed to another one.
  - Writes the objects that a tag consists of, the injection webhook and the Service, and for the tag C(default) also the validator of objects
    without a revision.
  - Pods change their sidecar when they are made anew; O(ignore:restart_stale_sidecar) of M(servicemesh.istio.namespace) sees to that.
options:
  name:
    description: The tag. V(default) is what C(istio-injection=enabled) means.
    type: str
    required: true
  revision:
    description: The revision that it points to, C(default) for a control plane without one. Needed with O(state=present).
    type: str
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
  istioctl:
    description:
      - Path of istioctl where the task runs, such as the one that M(servicemesh.istio.release) returns. Use the version of that revision.
      - If it is not set, C(istioctl) on C(PATH) is used.
    type: path
  force:
    description: With O(state=absent), whether the tag goes although namespaces use it. Their new pods will have no sidecar.
    type: bool
    default: false
  state:
    description: Whether the tag is there.
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
- name: Have istioctl
  servicemesh.istio.release:
    version: 1.31.0
    mirror: "{{ lab_releases }}"
  register: istio

- name: Namespaces with istio.io/rev=stable are injected by the default revision
  servicemesh.istio.revision_tag:
    name: stable
    revision: default
    istioctl: "{{ istio.istioctl }}"
  register: stable

- name: Who follows it
  ansible.builtin.debug:
    var: stable.tag.namespaces

- name: It goes
  servicemesh.istio.revision_tag:
    name: stable
    state: absent
"""

RETURN = r"""
tag:
  description: The tag as it was found, the revision that it pointed to, and the namespaces that use it.
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
