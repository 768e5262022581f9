# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that writes a policy as separate objects."""

    DOCUMENTATION = r"""
options:
  namespace:
    description: Namespace of the objects that the module writes.
    type: str
    required: true
  state:
    description:
      - Whether the policy exists.
      - V(absent) fails with the code C(not_ours) if an object of the policy exists that this collection did not
        create.
    type: str
    choices: [present, absent]
    default: present
"""
    WORKLOAD = r"""
options:
  workload:
    description:
      - Labels of the pods that the policy applies to.
      - If it is not set, the policy applies to all pods of the namespace. In the root namespace, it applies to all
        pods of the mesh.
    type: dict
    default: {}
"""
