# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
name: drift
short_description: Compose a drift report from results of check mode
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Composes one report of the objects that differ, from registered results of modules of this collection in check mode.
  - A failed result, and a result without objects, is an error, so that neither is reported as no drift.
  - playbooks/drift.yml uses it for the whole site. It can also be used for your own tasks.
positional: _input
options:
  _input:
    description: Results, with the role and module of each.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name of the role, or another name for the origin of the task.
        type: str
        required: true
      module:
        description: Short name of the module, such as V(manifests).
        type: str
        required: true
      result:
        description: Registered result of the task or of its loop. Empty if the task did not run.
        type: dict
        required: true
"""

EXAMPLES = r"""
---
- name: Plan the shop
  servicemesh.istio.manifests:
    src: shop.yaml
  check_mode: true
  register: shop

- name: Show the drift
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
      description: Whether objects differ.
      type: bool
    counts:
      description: Number of objects, of objects that differ, of those with fields of other owners, and of objects that differ by action.
      type: dict
      sample: {objects: 120, differ: 2, conflicts: 1, actions: {configured: 1, pruned: 1}}
    left_out:
      description: Roles without a task that ran.
      type: list
      elements: str
    versions:
      description: Versions of the collection, of ansible-core and of the declared Istio.
      type: dict
    warnings:
      description: Warnings of the modules, with role, module and text.
      type: list
      elements: dict
    calls:
      description: Calls of modules, with one entry for each item of a loop.
      type: list
      elements: dict
      contains:
        role:
          description: Role of the entry in the input.
          type: str
        module:
          description: Module of the entry in the input.
          type: str
        item:
          description: Name of the item of the loop.
          type: str
        changed:
          description: Whether the call would change anything.
          type: bool
        objects:
          description: Number of compared objects.
          type: int
        differ:
          description: >-
            Objects that differ, each with name, ref, action (created, configured, recreated or pruned), conflicts, status, message, and the
            fields that differ before and after. Values of Secrets are hidden.
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
