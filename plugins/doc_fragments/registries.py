# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that makes pods."""

    DOCUMENTATION = r"""
options:
  registries:
    description:
      - "Mirror registries to pull images from, by original registry, such as C({docker.io: mirror.example.com/hub,
        quay.io: mirror.example.com/quay})."
      - A key is a registry, optionally with the start of a path. The longest matching key applies; the key V(*) stands
        for every other registry. The part of the image's name after the key stays the same.
      - An image that is already on one of the mirrors is not changed.
    type: dict
    default: {}
  pull_secrets:
    description: Names of the image pull Secrets. They must exist in each namespace whose pods pull these images.
    type: list
    elements: str
    default: []
"""
