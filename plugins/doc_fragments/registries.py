# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that makes pods."""

    DOCUMENTATION = r"""
options:
  registries:
    description:
      - "Registry mirrors by original registry, such as C({docker.io: mirror.example.com/hub, quay.io: mirror.example.com/quay})."
      - A key is a registry, or a registry with the start of a path. The longest matching key applies, and V(*) matches every other registry. The
        rest of the name does not change. Images in a target registry are not changed.
    type: dict
    default: {}
  pull_secrets:
    description: Names of Secrets for pulling images. They must exist in each namespace with such pods.
    type: list
    elements: str
    default: []
"""
