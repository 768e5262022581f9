# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
name: drift
short_description: Tell from results of check mode what differs from what is declared
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Turns registered results of this collection's modules, from tasks in check mode, into one report of the objects that differ.
  - A result that failed, or that lists no objects, is an error, so that neither is ever taken for agreement.
  - playbooks/drift.yml uses it for the whole site. It does as well for a list of tasks of yours.
positional: _input
options:
  _input:
    description: The calls.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Where the task belongs, in a word.
        type: str
        required: true
      module:
        description: The module's short name, such as V(manifests).
        type: str
        required: true
      result:
        description: What the task registered, also that of a loop. Empty, the task did not run.
        type: dict
        required: true
"""

EXAMPLES = r"""
---
- name: What the shop should be
  servicemesh.istio.manifests:
    src: shop.yaml
  check_mode: true
  register: shop

- name: What differs
  ansible.builtin.debug:
    var: "[{'role': 'shop', 'module': 'manifests', 'result': shop}] | servicemesh.istio.drift"
"""

RETURN = r"""
---
_value:
  description: The report.
  type: dict
  contains:
    drift:
      description: Whether anything differs.
      type: bool
    counts:
      description: All objects, those that differ, those of them with fields that others own, and those that differ by action.
      type: dict
      sample: {objects: 120, differ: 2, conflicts: 1, actions: {configured: 1, pruned: 1}}
    left_out:
      description: Roles of which no task ran.
      type: list
      elements: str
    versions:
      description: Versions of the collection, of ansible-core and of the Istio that is declared.
      type: dict
    warnings:
      description: What the modules warned of, each with role, module and text.
      type: list
      elements: dict
    calls:
      description: Each module call, one for each item of a loop.
      type: list
      elements: dict
      contains:
        role:
          description: As given.
          type: str
        module:
          description: As given.
          type: str
        item:
          description: The loop's item in a word.
          type: str
        changed:
          description: Whether the call would change anything.
          type: bool
        objects:
          description: How many objects were compared.
          type: int
        differ:
          description: >-
            Objects that differ, each with name, ref, action (created, configured, recreated or pruned), conflicts, status, message, and the
            fields that differ before and after. Values of Secrets are hidden.
          type: list
          elements: dict
        warnings:
          description: What the module warned of.
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
