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
  - Renders the control plane with the release's own istioctl, which is given no cluster, and makes the cluster equal to the result.
  - Also does what C(istioctl install) does beyond its manifests. It makes the namespace and the objects of the default revision tag,
    and refuses webhooks that would inject the same pod twice.
  - In order. CustomResourceDefinitions, istiod until it is Ready, webhooks until they hold istiod's CA, gateways until they are Ready.
  - With O(method=helm) Helm writes, in real releases that C(helm list) shows, and the plan is the same. The rendered charts are compared with
    what is live, so that a first install has a diff, and so has what somebody edited by hand.
  - O(registries) reaches every image that is rendered, and those that istiod injects and gives to the gateways that it makes. With
    O(method=helm) it reaches the hubs, whole images, containers and injection templates of O(values) and O(gateways), and an image in a pod
    that comes from elsewhere is an error.
options:
  leave_gateways:
    description:
      - Whether gateways are left as they are, neither changed nor removed. In an upgrade the new revision comes first and the gateways last.
    type: bool
    default: false
  default_tag:
    description: Whether the default revision tag points to this control plane. Unset, it is decided as C(istioctl install) does.
    type: bool
  delete_crds:
    description:
      - With O(state=absent), whether Istio's CRDs are deleted too, and with them B(all) routes and policies. These are part of the plan,
        and a warning counts them. M(servicemesh.istio.backup) keeps them.
      - Refused while another revision is there.
    type: bool
    default: false
  delete_namespace:
    description: With O(state=absent), whether the namespace goes too, if this module made it. Refused while another revision is there.
    type: bool
    default: false
  delete_in_use:
    description:
      - With O(state=absent), whether the control plane goes although it is used. Without it, pods with its proxy, namespaces whose label leads to it,
        and revision tags that point to it are an error that names them. In check mode it is a warning, and the plan shows all that would go.
      - The tags go with it. The proxies keep their last configuration until their certificates end.
    type: bool
    default: false
  purge:
    description:
      - With O(state=absent), whether what Istio itself leaves behind goes too. These are webhooks, Services of revision tags, rights, elections of a
        leader, the key of istiod's own authority, and labels of namespaces that M(servicemesh.istio.namespace) set.
      - What people gave to it stays, such as the Secret C(cacerts). Refused while another revision is there.
    type: bool
    default: false
  state:
    description: Whether the control plane is there.
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
- name: The release
  servicemesh.istio.release:
    version: 1.31.0
  register: istio

- name: The control plane
  servicemesh.istio.control_plane:
    istioctl: "{{ istio.istioctl }}"
    profile: default
    mesh_config:
      accessLogFile: /dev/stdout

- name: The same as Helm releases, from now on
  servicemesh.istio.control_plane:
    method: helm
    helm: helm
    charts: "{{ istio.path }}/manifests/charts"
    profile: default
    mesh_config:
      accessLogFile: /dev/stdout
    adopt: true

- name: All of it goes
  servicemesh.istio.control_plane:
    state: absent
    method: helm
    helm: helm
    delete_crds: true
    delete_namespace: true
    purge: true
  register: removed

- name: What is left
  ansible.builtin.debug:
    var: removed.leftovers
"""

RETURN = r"""
version:
  description: Version of the istioctl, or of the charts, that rendered the control plane.
  returned: when O(state=present)
  type: str
  sample: 1.31.0
leftovers:
  description: What is still there of Istio in the cluster, and why.
  returned: when O(state=absent) and no control plane is left
  type: list
  elements: dict
  sample: [{ref: Secret istio-system/cacerts, why: "the authority that somebody gave to istiod: it is theirs"}]
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
    # Side by side, for each takes its time where nothing is kept.
    rendered, *tags = run.timed("render", lambda: run.cluster.each(istioctl.render, operators))
    tag = [obj for objects in tags for obj in control_plane.tag_objects(objects, plane)]
    rules = run.apply_options(
        namespace=plane.namespace, ignore_managers=ISTIOD, set=plane.own_set, prune=True, keep=plane.spared
    )
    steps = control_plane.control_plane_steps(plane, rendered, tag, mesh, version)
    if rules.adopt:
        steps.append(Step("Helm's records", deleted=charts.surplus_releases(run.cluster, rendered + tag)))
    # What was opened while istiod was down is closed again; by then it is ready.
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
        # What of our own set no chart has.
        result = run.remove(
            [], plane.own_set, spared=frozenset(change.ref for the_plan in run.plans for change in the_plan.changes)
        )
    return {**result, "version": folder.version}


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
