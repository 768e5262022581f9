#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: addons
short_description: Install, change or remove the addons of an Istio release
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Installs the addons from the release's folder C(samples/addons), connects Kiali to Prometheus, Grafana and Jaeger, and configures tracing for the mesh.
  - All addons form one ApplySet. An addon that you remove from O(names) is deleted.
  - The addons are for evaluation, not for production. They store data in memory or in the pod, and their dashboards require no password.
options:
  samples:
    description: Path of the folder with the release's addons, on the host where the task runs. Required with O(state=present).
    type: path
  names:
    description:
      - Names of the addons to install. The name of an addon is that of its file in O(samples) without the extension, such as V(loki) or
        V(extras/zipkin).
      - Only one tracing backend can be installed at a time.
    type: list
    elements: str
    default: [prometheus, grafana, jaeger, kiali]
  namespace:
    description:
      - Namespace of the addons.
      - O(sampling) applies to the whole mesh only if this is the namespace of the control plane.
    type: str
    default: istio-system
  images:
    description:
      - Images of your own. A key is the repository of an image in the release, such as C(docker.io/grafana/grafana), and its value is the image
        to use instead.
      - To use a mirror, set O(registries).
    type: dict
    default: {}
  kiali_config:
    description: Additional settings for Kiali's configuration. They override the values that the release and this module set.
    type: dict
    default: {}
  tracing_provider:
    description: Name of the tracing provider, as in C(extensionProviders) of the mesh configuration.
    type: str
    default: jaeger
  sampling:
    description: Percentage of requests to trace. If it is not set, the module does not write a Telemetry object.
    type: float
  state:
    description: Whether to install (V(present)) or remove (V(absent)) the addons.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: Istio integrations
    description: Prometheus, Grafana, Jaeger and Kiali with Istio.
    link: https://istio.io/latest/docs/ops/integrations/
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
- name: Download the release
  servicemesh.istio.release:
    version: 1.31.0
    mirror: "{{ lab_releases }}"
  register: istio

- name: Install Prometheus and Kiali
  servicemesh.istio.addons:
    samples: "{{ istio.path }}/samples/addons"
    names: [prometheus, kiali]
    images: "{{ lab_images }}"

- name: Remove the addons
  servicemesh.istio.addons:
    state: absent
"""

RETURN = r"""
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
  sample: {code: unknown_addon, ref: null, reason: "", hint: ""}
"""

from pathlib import Path

from ..module_utils._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Run, run_module
from ..module_utils._engine.planning.applyset import ObjectSet
from ..module_utils._istio.install import addons
from ..module_utils._istio.install.images import REGISTRY_ARGUMENTS

ARGUMENTS = {
    "samples": {"type": "path"},
    "names": {"type": "list", "elements": "str", "default": ["prometheus", "grafana", "jaeger", "kiali"]},
    "namespace": {"type": "str", "default": "istio-system"},
    "images": {"type": "dict", "default": {}},
    "kiali_config": {"type": "dict", "default": {}},
    "tracing_provider": {"type": "str", "default": "jaeger"},
    "sampling": {"type": "float"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **REGISTRY_ARGUMENTS,
    **WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}
OPTIONS = ("names", "namespace", "images", "kiali_config", "tracing_provider", "sampling", *REGISTRY_ARGUMENTS)


def body(run: Run) -> dict:
    options = run.options
    wanted = addons.Addons(**{name: options[name] for name in OPTIONS})
    object_set = ObjectSet(addons.SET, wanted.namespace)
    if options["state"] == "absent":
        return run.remove([], object_set)
    documents = addons.read_addons(Path(options["samples"]), wanted)
    rules = run.apply_options(namespace=wanted.namespace, set=object_set, prune=True)
    return run.apply(addons.addon_steps(wanted, documents), rules)


def main() -> None:
    run_module(ARGUMENTS, body, required_if=[("state", "present", ["samples"])])


if __name__ == "__main__":
    main()
