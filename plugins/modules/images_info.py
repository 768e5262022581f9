#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: images_info
short_description: List the container images that a mesh needs
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Lists the images of a control plane, of addons and of other manifests. Each image is listed once, with the objects that use it. With
    O(registries) the result also has a plan for copying the images to a mirror.
  - The images of a control plane are those of the rendered objects, and those that istiod injects by its injection templates. For a gateway with the
    image C(auto), the injected image is listed.
  - The control plane is rendered with the options of M(servicemesh.istio.control_plane), if O(istioctl) is set, or O(charts) with O(method=helm).
  - The module does not connect to a cluster or a registry. It accepts the connection options but ignores them, so that you can set them in
    C(module_defaults) for the action group.
options:
  istioctl:
    description:
      - With O(method=istioctl), path of istioctl on the host where the task runs.
      - If it is not set, the result has no images of a control plane.
    type: path
  kubernetes_version:
    description: With O(method=helm), the Kubernetes version for which the charts are rendered. If it is not set, Helm uses its own default.
    type: str
  injection_templates:
    description:
      - Injection templates that your pods or gateways select by name. Images of these templates are listed only if you name the template here.
      - Valid names are V(grpc-agent), V(grpc-simple), V(agentgateway) and V(agentgateway-waypoint).
    type: list
    elements: str
    default: []
  samples:
    description:
      - Path of the folder with the release's addons, on the host where the task runs.
      - If it is not set, the result has no images of addons.
    type: path
  addons:
    description: Names of the addons whose images are listed. See O(servicemesh.istio.addons#module:names).
    type: list
    elements: str
    default: [prometheus, grafana, jaeger, kiali]
  addon_images:
    description: Images of your own for the addons. See O(servicemesh.istio.addons#module:images).
    type: dict
    default: {}
  definition:
    description: Other objects whose images are listed, as a mapping, a list of mappings, or a string of YAML documents.
    type: raw
    aliases: [inline, resource_definition]
  src:
    description: Path of a file or folder on the host where the task runs, or a URL, with other objects as YAML documents.
    type: str
  extra:
    description: Additional images to list.
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
- name: Download the release
  servicemesh.istio.release:
    version: 1.31.0
    mirror: "{{ lab_releases }}"
  register: istio

- name: List the images of a mesh with two addons and a workload
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
  register: result

- name: Show the copy plan
  ansible.builtin.debug:
    msg: "{{ item.source }} to {{ item.target }}"
  loop: "{{ result.plan }}"
  loop_control: {label: "{{ item.source }}"}
"""

RETURN = r"""
images:
  description: All images, sorted by name.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: Full name of the image with its registry.
      type: str
    registry:
      description: Registry of the image.
      type: str
    repository:
      description: Repository of the image in the registry.
      type: str
    tag:
      description: Tag of the image. Empty if the image has only a digest.
      type: str
    digest:
      description: Digest of the image. Empty if the image has none.
      type: str
    used_by:
      description: Objects that use the image, each with its container or injection template.
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
  description:
    - Images to copy, each with its source and its target in the mirror.
    - It does not contain images that match no key of O(registries), or that are already in a mirror.
  returned: success
  type: list
  elements: dict
  sample: [{source: "docker.io/istio/pilot:1.31.0", target: "mirror.example.com/hub/istio/pilot:1.31.0"}]
unknown:
  description:
    - Objects whose images the module cannot determine, such as injection templates with custom expressions.
    - Each of them also produces a warning.
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
    """The rendered control plane with its original images; empty if no istioctl or charts are given."""
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
