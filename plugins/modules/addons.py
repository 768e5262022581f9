#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: addons
short_description: Install the addons of an Istio release, joined to each other
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Takes the addons from the release's own C(samples/addons), joins Kiali to Prometheus, Grafana and Jaeger, and sets the mesh's tracing.
  - The addons are one set. An addon that is named no more is removed.
  - They are made for trying things out. Storage is in memory or in the pod, and nothing asks for a password.
options:
  samples:
    description: Folder with the release's addons, where the task runs. Needed with O(state=present).
    type: path
  names:
    description: The addons, such as V(loki) too. One tracing backend at a time. Those in C(extras) are named C(extras/NAME).
    type: list
    elements: str
    default: [prometheus, grafana, jaeger, kiali]
  namespace:
    description: Namespace of the addons. Traces are set for the whole mesh only from the control plane's namespace.
    type: str
    default: istio-system
  images:
    description: Image to use instead, by the release's repository, such as C(docker.io/grafana/grafana). For images of your own; for a mirror see
      O(registries).
    type: dict
    default: {}
  kiali_config:
    description: Merged over Kiali's configuration.
    type: dict
    default: {}
  tracing_provider:
    description: Name of the tracing provider among C(extensionProviders) in the mesh configuration.
    type: str
    default: jaeger
  sampling:
    description: Per cent of requests that are traced, mesh-wide. Unset, no Telemetry is written.
    type: float
  state:
    description: Whether the addons are there.
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
- name: The release
  servicemesh.istio.release:
    version: 1.31.0
    mirror: "{{ lab_releases }}"
  register: istio

- name: Prometheus and Kiali
  servicemesh.istio.addons:
    samples: "{{ istio.path }}/samples/addons"
    names: [prometheus, kiali]
    images: "{{ lab_images }}"

- name: They go
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
