# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounded requests to one address, counted by what answered."""
from __future__ import annotations

import http.client
import re
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._failure import InvalidOption

Connect = Callable[[], socket.socket]
OTHER = "other"


@dataclass(frozen=True)
class Probe:
    """count requests for path with the headers, at most `parallel` at a time; `versions` are {name: pattern of the answer}."""

    path: str = "/"
    count: int = 200
    parallel: int = 4
    timeout: float = 10.0
    headers: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def check(probe: Probe) -> None:
    """Raises InvalidOption, before any request is sent."""
    for option in ("count", "parallel", "timeout"):
        if getattr(probe, option) < 1:
            raise InvalidOption(option, f"is {getattr(probe, option)}", hint="It must be 1 or more.")
    if not probe.path.startswith("/") or re.search(r"[\s\x00-\x1f\x7f]", probe.path):
        raise InvalidOption("path", f"{probe.path!r} is no path of a URL", hint="Begin it with /, and write a space as %20.")
    for name, value in probe.headers.items():
        if value is None or re.search(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]", name) or re.search(r"[\r\n\x00]", str(value)):
            raise InvalidOption("headers", f"{name!r} is no header with one line of text")
    for name, pattern in probe.versions.items():
        try:
            re.compile(str(pattern))
        except re.error as error:
            raise InvalidOption("versions", f"the pattern of {name} is no regular expression: {error}") from error


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, opened: socket.socket) -> None:
        super().__init__(host)
        self.sock = opened


def to_address(url: str, timeout: float) -> tuple[str, Connect]:
    """(authority, how to connect) for an http URL."""
    parts = urlsplit(url)
    port = parts.port or 80
    return parts.netloc, lambda: socket.create_connection((parts.hostname or "", port), timeout)


def run(probe: Probe, authority: str, connect: Connect) -> dict[str, Any]:
    """{sent, lost, codes, counts, shares, errors}. Lost: no answer, or a status of 500 and more."""
    shares = [probe.count // probe.parallel + (1 if number < probe.count % probe.parallel else 0) for number in range(probe.parallel)]
    with ThreadPoolExecutor(probe.parallel) as pool:
        tallies = list(pool.map(lambda count: _one_client(probe, authority, connect, count), [share for share in shares if share]))
    codes: Counter[str] = sum((tally[0] for tally in tallies), Counter())
    counts: Counter[str] = sum((tally[1] for tally in tallies), Counter())
    errors: Counter[str] = sum((tally[2] for tally in tallies), Counter())
    answered = sum(counts.values())
    return {
        "sent": probe.count,
        "lost": sum(errors.values()) + sum(number for code, number in codes.items() if code >= "500"),
        "codes": dict(sorted(codes.items())),
        "counts": dict(sorted(counts.items())),
        "shares": {name: round(100 * number / answered, 1) for name, number in sorted(counts.items())} if answered else {},
        "errors": dict(errors),
    }


def _one_client(probe: Probe, authority: str, connect: Connect, count: int) -> tuple[Counter[str], Counter[str], Counter[str]]:
    codes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    patterns = {name: re.compile(str(text)) for name, text in probe.versions.items()}
    connection: _Connection | None = None
    for _ in range(count):
        try:
            connection = connection or _Connection(authority, connect())
            connection.request("GET", probe.path, headers={name: str(value) for name, value in probe.headers.items()})
            response = connection.getresponse()
            body = response.read().decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException) as error:
            errors[type(error).__name__] += 1
            connection = _closed(connection)
            continue
        codes[str(response.status)] += 1
        if response.status < 400:
            text = f"{response.headers}\n{body}"
            counts[next((name for name, pattern in patterns.items() if pattern.search(text)), OTHER)] += 1
        if response.will_close:
            connection = _closed(connection)
    _closed(connection)
    return codes, counts, errors


def _closed(connection: _Connection | None) -> None:
    if connection:
        connection.close()
