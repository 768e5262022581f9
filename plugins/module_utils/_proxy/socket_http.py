# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP over a connection that is already there."""

from __future__ import annotations

import http.client
import socket


class Connection(http.client.HTTPConnection):
    # One that was closed stays so: the library would open it again, unseen.
    auto_open = 0

    def __init__(self, host: str, opened: socket.socket) -> None:
        super().__init__(host)
        self.sock = opened
