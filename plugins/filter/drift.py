# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
name: drift
short_description: Create a drift report from results of check mode
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Creates one report of the objects that differ from their declaration. The input is registered results of this collection's modules from tasks in
    check mode.
  - The filter fails if a task failed or its result has no list of objects, so that such a result never counts as being without drift.
  - C(playbooks/drift.yml) uses the filter for all roles. You can also use it for your own tasks.
positional: _input
options:
  _input:
    description: Results of tasks.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name under which the report lists the task, such as the name of its role.
        type: str
        required: true
      module:
        description: Short name of the module, such as V(manifests).
        type: str
        required: true
      result:
        description: Registered result of the task or of a loop. An empty result means that the task did not run.
        type: dict
        required: true
"""

EXAMPLES = r"""
---
- name: Compare the shop with its manifests
  servicemesh.istio.manifests:
    src: shop.yaml
  check_mode: true
  register: shop

- name: Show the drift report
  ansible.builtin.debug:
    var: "[{'role': 'shop', 'module': 'manifests', 'result': shop}] | servicemesh.istio.drift"
"""

RETURN = r"""
---
_value:
  description: Drift report.
  type: dict
  contains:
    drift:
      description: Whether any object differs.
      type: bool
    counts:
      description:
        - Number of all objects, of those that differ, and of those that differ and have conflicts with other field managers.
        - C(actions) is the number of objects that differ by action.
      type: dict
      sample: {objects: 120, differ: 2, conflicts: 1, actions: {configured: 1, pruned: 1}}
    left_out:
      description: Roles without a task that ran.
      type: list
      elements: str
    versions:
      description: Versions of the collection, of ansible-core and of the declared Istio release.
      type: dict
    warnings:
      description: Warnings of the modules, each with role, module and text.
      type: list
      elements: dict
    calls:
      description: All module calls. A loop has one call for each item.
      type: list
      elements: dict
      contains:
        role:
          description: Role as in the input.
          type: str
        module:
          description: Module as in the input.
          type: str
        item:
          description: Short name of the loop's item.
          type: str
        changed:
          description: Whether the call would change anything.
          type: bool
        objects:
          description: Number of compared objects.
          type: int
        differ:
          description: >-
            Objects that differ, each with name, ref, action (created, configured, recreated or pruned), conflicts, status, message, and the old and
            new values of the fields that differ. Values of Secrets are hidden.
          type: list
          elements: dict
        warnings:
          description: Warnings of the module.
          type: list
          elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from ansible_collections.servicemesh.istio.plugins.plugin_utils import drift as reports


def drift(calls: Any) -> dict[str, Any]:
    try:
        return reports.drift(calls)
    except Failure as failure:
        raise AnsibleFilterError(f"{failure.message.rstrip('.')}. {failure.hint}".rstrip()) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"drift": drift}
