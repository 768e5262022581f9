# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that makes pods."""

    DOCUMENTATION = r"""
options:
  registries:
    description:
      - "Registries from which images come instead, such as C({docker.io: mirror.example.com/hub, quay.io: mirror.example.com/quay})."
      - A key is a registry, or one with the beginning of a path; of several that fit the longest counts, and V(*) is every other registry. What
        follows the key stays as it is. An image that is under one of the targets already is left alone.
    type: dict
    default: {}
  pull_secrets:
    description: Names of Secrets with which images are pulled. They are made by somebody else, in each namespace where such pods run.
    type: list
    elements: str
    default: []
"""
