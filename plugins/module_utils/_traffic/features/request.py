# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks of one concern of a host, before it is kept as an intent."""
from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from ..host.port_protocol import HTTP, TCP, TLS

# Of the concerns that are said by routes.
WHERE: dict[str, dict[str, Any]] = {
    "gateways": {"type": "list", "elements": "str"},
    "gateway_hosts": {"type": "list", "elements": "str", "default": []},
}
# Of those that name a port of the host.
PROTOCOL: dict[str, dict[str, Any]] = {"protocol": {"type": "str", "choices": [HTTP, TCP, TLS]}}


@dataclass(frozen=True)
class FeatureRequest:
    """options: as the module's argument spec makes them; before: the concern's intent so far; warnings: for the user."""

    host: str
    options: dict[str, Any]
    previous: dict[str, Any] | None
    now: datetime.datetime
    warnings: list[str] = field(default_factory=list)

    def required(self, *names: str) -> dict[str, Any]:
        return {name: self.options[name] for name in names}

    def optional(self, *names: str) -> dict[str, Any]:
        """Those of these options that say something."""
        return {name: self.options[name] for name in names if self.options.get(name) not in (None, [], {}, "")}
