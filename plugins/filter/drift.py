# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documented in drift.yml beside it."""
from __future__ import annotations

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
