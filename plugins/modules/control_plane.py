#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: control_plane
short_description: Install, change or remove an Istio control plane
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Renders the manifests of the control plane with the release's istioctl and applies them to the cluster. istioctl itself does not connect to
    the cluster.
  - Also performs the steps of C(istioctl install) that are not in its manifests. It creates the namespace and the objects of the default revision
    tag, and fails if several webhooks would inject the same pod.
  - Applies CRDs first, then istiod, webhooks and gateways. The module waits until istiod is ready, until the webhooks have istiod's CA, and until
    the gateways are ready.
  - With O(method=helm), Helm writes the objects, in releases that C(helm list) shows. The rendered charts are compared with the live objects, so
    check mode and diff also show a first installation and manual changes.
  - O(registries) applies to all rendered images, to the images that istiod injects, and to the images of gateways that istiod creates.
  - With O(method=helm), O(registries) applies to hubs, images, containers and injection templates in O(values) and O(gateways). The task fails if a
    rendered pod still has an image that should come from a mirror.
options:
  leave_gateways:
    description:
      - Whether to leave gateways unchanged. With V(true) they are neither updated nor removed.
      - Use it in an upgrade, where the new revision is installed first and the gateways are updated last.
    type: bool
    default: false
  default_tag:
    description:
      - Whether to point the default revision tag to this control plane.
      - If it is not set, the module decides as C(istioctl install) does. It sets the tag for a control plane without a revision, or if no default
        tag exists.
    type: bool
  delete_crds:
    description:
      - With O(state=absent), whether to delete the Istio CRDs too. B(This deletes every Istio resource in the cluster), including those of other
        teams.
      - The plan lists these resources, and a warning reports their number. Use M(servicemesh.istio.backup) to save them first.
      - The task fails if another revision exists.
    type: bool
    default: false
  delete_namespace:
    description:
      - With O(state=absent), whether to delete the control plane's namespace too, if this module created it.
      - The task fails if another revision exists.
    type: bool
    default: false
  delete_in_use:
    description:
      - With O(state=absent), whether to remove a control plane that is in use, together with its revision tags.
      - A control plane is in use if pods have its proxy, if namespaces select it by label, or if revision tags point to it. With V(false) the task
        then fails and lists them. Check mode produces a warning instead, and the plan shows everything that would be deleted.
      - Proxies of the removed control plane keep their last configuration until their certificates expire.
    type: bool
    default: false
  purge:
    description:
      - With O(state=absent), whether to delete also the objects that Istio leaves behind. These are webhooks, Services of revision tags, RBAC objects,
        leader election leases, the key of Istio's self-signed CA, and the namespace labels that M(servicemesh.istio.namespace) set.
      - Objects that users provided are kept, such as the Secret C(cacerts).
      - The task fails if another revision exists.
    type: bool
    default: false
  state:
    description: Whether to install or change (V(present)), or to remove (V(absent)) the control plane.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: IstioOperator
    description: Reference of the options that istioctl renders.
    link: https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/
  - name: Install with Helm
    description: Istio's charts.
    link: https://istio.io/latest/docs/setup/install/helm/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.writing
  - servicemesh.istio.writing.wait
  - servicemesh.istio.writing.progress
  - servicemesh.istio.rendering
  - servicemesh.istio.registries
"""

EXAMPLES = r"""
- name: Download the release
  servicemesh.istio.release:
    version: 1.31.0
  register: istio

- name: Install the control plane
  servicemesh.istio.control_plane:
    istioctl: "{{ istio.istioctl }}"
    profile: default
    mesh_config:
      accessLogFile: /dev/stdout

- name: Move the control plane to Helm releases
  servicemesh.istio.control_plane:
    method: helm
    helm: helm
    charts: "{{ istio.path }}/manifests/charts"
    profile: default
    mesh_config:
      accessLogFile: /dev/stdout
    adopt: true

- name: Remove the control plane, the CRDs and everything that Istio leaves behind
  servicemesh.istio.control_plane:
    state: absent
    method: helm
    helm: helm
    delete_crds: true
    delete_namespace: true
    purge: true
  register: removed

- name: Show what is left of Istio
  ansible.builtin.debug:
    var: removed.leftovers
"""

RETURN = r"""
version:
  description: Version of istioctl, or of the charts with O(method=helm).
  returned: when O(state=present)
  type: str
  sample: 1.31.0
leftovers:
  description: Istio objects that still exist in the cluster, each with the reason.
  returned: when O(state=absent) and no control plane is left
  type: list
  elements: dict
  sample: [{ref: Secret istio-system/cacerts, why: "CA that was provided to istiod: it belongs to its owner"}]
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

from dataclasses import replace
from pathlib import Path

from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._engine.steps import Step
from ..module_utils._istio import webhooks
from ..module_utils._istio.install import charts, control_plane, control_plane_options
from ..module_utils._istio.install.helm import Helm
from ..module_utils._istio.install.istioctl import Istioctl
from ..module_utils._istio.uninstall import removal

ARGUMENTS = {
    **control_plane_options.ARGUMENTS,
    "leave_gateways": {"type": "bool", "default": False},
    "default_tag": {"type": "bool"},
    "delete_crds": {"type": "bool", "default": False},
    "delete_namespace": {"type": "bool", "default": False},
    "delete_in_use": {"type": "bool", "default": False},
    "purge": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}

ISTIOD = frozenset({control_plane.ISTIOD_MANAGER})


def body(run: Run) -> dict:
    options = run.options
    plane = control_plane_options.control_plane_of(options)
    if options["state"] == "absent":
        return removal.remove_control_plane(run, plane)
    control_plane_options.require_charts(options)
    return _by_helm(run, plane) if options["method"] == "helm" else _by_istioctl(run, plane)


def _by_istioctl(run: Run, plane: control_plane.ControlPlane) -> dict:
    istioctl = Istioctl(run.options["istioctl"])
    version = istioctl.version()
    mesh = control_plane.read_live_mesh(run.cluster, plane)
    operators = [control_plane.istio_operator(plane)]
    if control_plane.wants_default_tag(plane, mesh):
        operators.append(control_plane.tag_operator(plane))
    # In parallel, because a rendering that is not in the cache is slow.
    rendered, *tags = run.timed("render", lambda: run.cluster.each(istioctl.render, operators))
    tag = [obj for objects in tags for obj in control_plane.tag_objects(objects, plane)]
    rules = run.apply_options(
        namespace=plane.namespace, ignore_managers=ISTIOD, set=plane.own_set, prune=True, keep=plane.spared
    )
    steps = control_plane.control_plane_steps(plane, rendered, tag, mesh, version)
    if rules.adopt:
        steps.append(Step("Helm's records", deleted=charts.surplus_releases(run.cluster, rendered + tag)))
    # Webhooks that were opened during an outage of istiod are closed again, because istiod is ready by then.
    return {**run.apply(steps, replace(rules, adopt=rules.adopt | {webhooks.OPENER})), "version": version}


def _by_helm(run: Run, plane: control_plane.ControlPlane) -> dict:
    options = run.options
    helm, folder = Helm(options["helm"]), charts.Charts.of(Path(options["charts"]))
    charts.validate_chart_options(plane, folder)
    rules = run.apply_options(namespace=plane.namespace, ignore_managers=ISTIOD)
    steps = run.timed(
        "render",
        lambda: charts.chart_steps(
            run.cluster, plane, helm, folder, control_plane.read_live_mesh(run.cluster, plane), rules
        ),
    )
    result = run.apply(steps, rules)
    if rules.adopt:
        # Delete the members of our ApplySet that no chart contains.
        result = run.remove(
            [], plane.own_set, spared=frozenset(change.ref for the_plan in run.plans for change in the_plan.changes)
        )
    return {**result, "version": folder.version}


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
