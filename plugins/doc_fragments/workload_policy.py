# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that writes a policy of its own kind."""

    DOCUMENTATION = r"""
options:
  namespace:
    description: Namespace of the objects that are written.
    type: str
    required: true
  state:
    description: Whether the policy exists. Objects with the same name that this collection did not create are not deleted.
    type: str
    choices: [present, absent]
    default: present
"""
    WORKLOAD = r"""
options:
  workload:
    description:
      - Labels of the pods that the policy applies to.
      - If it is not set, the policy applies to all pods of the namespace. In the root namespace, it applies to all pods of the mesh.
    type: dict
    default: {}
"""
