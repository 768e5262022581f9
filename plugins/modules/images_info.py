#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: images_info
short_description: List the images that a mesh will need
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Lists the images of a control plane, of addons and of any manifests, each once, and what uses it. With O(registries) it also tells which image
    is to be copied to which name in a mirror.
  - Of a control plane these are the images that the rendered objects name, and those that istiod will inject, by its injection templates. A
    gateway's image C(auto) is told as what injection puts there.
  - The control plane is rendered as the M(servicemesh.istio.control_plane) module does, with the same options, where O(istioctl) or, with
    O(method=helm), O(charts) is given.
  - It talks to no cluster and to no registry. The connection options are accepted and not used, so that defaults of the action group fit this module too.
options:
  istioctl:
    description: With O(method=istioctl), path of istioctl where the task runs. If it is not set, the list has no images of a control plane.
    type: path
  kubernetes_version:
    description: With O(method=helm), the version of Kubernetes that charts are rendered for. Unset, the one that Helm takes.
    type: str
  injection_templates:
    description:
      - Injection templates that pods or gateways will ask for by name, of those that nobody gets otherwise. These are V(grpc-agent), V(grpc-simple),
        V(agentgateway) and V(agentgateway-waypoint).
    type: list
    elements: str
    default: []
  samples:
    description: Folder with the release's addons, where the task runs. Without it no addon is listed.
    type: path
  addons:
    description: The addons, as names in the M(servicemesh.istio.addons) module.
    type: list
    elements: str
    default: [prometheus, grafana, jaeger, kiali]
  addon_images:
    description: Image to use instead, by the release's repository, as images in the M(servicemesh.istio.addons) module.
    type: dict
    default: {}
  definition:
    description: Further objects, as a mapping, a list of mappings, or a text of YAML documents.
    type: raw
    aliases: [inline, resource_definition]
  src:
    description: A file or folder where the task runs, or a URL, with further objects as YAML documents.
    type: str
  extra:
    description: Further images.
    type: list
    elements: str
seealso:
  - name: Images
    description: How Kubernetes names and pulls images.
    link: https://kubernetes.io/docs/concepts/containers/images/
extends_documentation_fragment:
  - servicemesh.istio.attributes.info
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
  - servicemesh.istio.rendering
  - servicemesh.istio.registries
"""

EXAMPLES = r"""
- name: The release
  servicemesh.istio.release:
    version: 1.31.0
    mirror: "{{ lab_releases }}"
  register: istio

- name: What a mesh with two addons and a workload will pull
  servicemesh.istio.images_info:
    istioctl: "{{ istio.istioctl }}"
    samples: "{{ istio.path }}/samples/addons"
    addons: [prometheus, kiali]
    definition:
      apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: web
        namespace: shop
      spec:
        selector:
          matchLabels:
            app: web
        template:
          metadata:
            labels:
              app: web
          spec:
            containers:
              - name: web
                image: registry.example.com/shop/web:1.4
    registries:
      docker.io: mirror.example.com/hub
      "*": mirror.example.com/others
  register: needed

- name: What to copy where
  ansible.builtin.debug:
    msg: "{{ item.source }} to {{ item.target }}"
  loop: "{{ needed.plan }}"
  loop_control: {label: "{{ item.source }}"}
"""

RETURN = r"""
images:
  description: Each image once, in order of name.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: The image in full, with its registry.
      type: str
    registry:
      description: Its registry.
      type: str
    repository:
      description: Its repository in the registry.
      type: str
    tag:
      description: Its tag. Empty where only a digest is named.
      type: str
    digest:
      description: Its digest. Empty where none is named.
      type: str
    used_by:
      description: What uses it, with object and container or injection template.
      type: list
      elements: str
  sample:
    - image: docker.io/istio/pilot:1.31.0
      registry: docker.io
      repository: istio/pilot
      tag: 1.31.0
      digest: ""
      used_by: ["Deployment istio-system/istiod, container discovery"]
plan:
  description: Which image is to be copied to which name. Images that no registry of O(registries) is for, or that are under a target already, are not in it.
  returned: success
  type: list
  elements: dict
  sample: [{source: "docker.io/istio/pilot:1.31.0", target: "mirror.example.com/hub/istio/pilot:1.31.0"}]
unknown:
  description: Users of an image that cannot be told, such as injection templates with expressions of their own. Each is a warning, too.
  returned: success
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
  sample: {code: same_target, ref: null, reason: "", hint: ""}
"""

from pathlib import Path

from ..module_utils._engine.files import manifests
from ..module_utils._engine.images import Registries
from ..module_utils._engine.module import Run, run_module
from ..module_utils._istio.dataplane.injection_templates import injection
from ..module_utils._istio.install import addons, charts, control_plane, control_plane_options
from ..module_utils._istio.install.helm import Helm
from ..module_utils._istio.install.images import Images
from ..module_utils._istio.install.istioctl import Istioctl

ARGUMENTS = {
    **control_plane_options.ARGUMENTS,
    "kubernetes_version": {"type": "str"},
    "injection_templates": {"type": "list", "elements": "str", "default": []},
    "samples": {"type": "path"},
    "addons": {"type": "list", "elements": "str", "default": ["prometheus", "grafana", "jaeger", "kiali"]},
    "addon_images": {"type": "dict", "default": {}},
    "definition": {"type": "raw", "aliases": ["inline", "resource_definition"]},
    "src": {"type": "str"},
    "extra": {"type": "list", "elements": "str"},
}
SOURCES = ("istioctl", "charts", "samples", "definition", "src", "extra")


def body(run: Run) -> dict:
    options = run.options
    registries = Registries.of(options["registries"])
    found = Images()
    objects = run.timed("render", lambda: _control_plane(options))
    injected = injection(objects)
    found.add_objects(objects, injected)
    if injected:
        found.add_injection(injected, options["injection_templates"])
    if options["samples"]:
        wanted = addons.Addons(
            names=options["addons"], namespace=options["istio_namespace"], images=options["addon_images"]
        )
        documents = addons.read_addons(Path(options["samples"]), wanted)
        found.add_objects(obj for step in addons.addon_steps(wanted, documents) for obj in step.objects)
    found.add_objects(manifests.read_manifests(run), injected)
    for image in options["extra"] or []:
        found.add(image, "extra")
    for user in sorted(found.unknown):
        run.module.warn(f"cannot determine an image: {user}")
    return {"images": found.rows(), "plan": found.plan(registries), "unknown": sorted(found.unknown)}


def _control_plane(options: dict) -> list:
    """What it renders to before its images move; nothing where what it is rendered with is not given."""
    plane = control_plane_options.control_plane_of(options)
    if options["method"] == "istioctl":
        return Istioctl(options["istioctl"]).render(control_plane.istio_operator(plane)) if options["istioctl"] else []
    control_plane_options.require_charts(options)
    folder = charts.Charts.of(Path(options["charts"]))
    charts.validate_chart_options(plane, folder)
    return charts.render_charts(plane, Helm(options["helm"]), folder, options["kubernetes_version"] or "")


def main() -> None:
    run_module(ARGUMENTS, body, required_one_of=[SOURCES], mutually_exclusive=[("definition", "src")])


if __name__ == "__main__":
    main()
