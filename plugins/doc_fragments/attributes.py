# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Supports check mode, which reports what would change without changing it.
    support: full
    details: Check mode writes nothing to the cluster. Downloads and rendered manifests may remain in the cache.
  diff_mode:
    description: Returns the fields that change, before and after the change. Secrets are hidden.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
"""

    ACTIONGROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/servicemesh.istio.all) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - servicemesh.istio.all
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Supports check mode, which reports what would change without changing it.
    support: full
    details: The module only reads.
  diff_mode:
    description: Returns the fields that change, before and after the change.
    support: none
    details: The module changes nothing.
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
"""
