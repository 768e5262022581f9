# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check_mode and return what would change without changing it.
    support: full
    details: Nothing is written to a cluster. Downloads and renderings may be kept in the cache.
  diff_mode:
    description: Returns the difference between before and after, only of fields that change, with secrets hidden.
    support: full
  idempotent:
    description: Run again with the same options, it changes nothing.
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
    description: Can run in check_mode and return what would change without changing it.
    support: full
    details: It only reads.
  diff_mode:
    description: Returns the difference between before and after.
    support: none
    details: It changes nothing.
  idempotent:
    description: Run again with the same options, it changes nothing.
    support: full
"""
