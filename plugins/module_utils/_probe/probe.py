# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to one address, counted by what answered: what one is, and a bounded number of them."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._failure import InvalidOption
from .._proxy.socket_http import Connection
from . import probe_stats
from .probe_stats import Outcome, ProbeStats

Connect = Callable[[], socket.socket]
OTHER = "other"
# Why a request on an open connection has no answer; the first that fits. On Python 3.9 a timeout of a socket is no
# TimeoutError.
CAUSES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((socket.timeout,), "timeout"),
    ((ConnectionError, http.client.IncompleteRead), "reset"),
    ((http.client.HTTPException, ValueError), "protocol"),
    ((OSError,), "reset"),
)
SECRET = re.compile(r"(?i)auth|cookie|token|key|secret|password")
# All of them: those of the first rows are kinds of these.
BROKEN = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True)
class Probe:
    """count requests for path with the headers, at most `parallel` at a time; `versions` are {name: pattern of the
    answer}.

    min_failure_status  an answer with this status or a higher one is lost
    """

    path: str = "/"
    count: int = 200
    parallel: int = 4
    timeout: float = 10.0
    headers: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    min_failure_status: int = 500


def validate_probe(probe: Probe) -> None:
    """Raises InvalidOption, before any request is sent."""
    for option in ("count", "parallel", "timeout", "min_failure_status"):
        if getattr(probe, option) < 1:
            raise InvalidOption(option, f"is {getattr(probe, option)}", hint="Use 1 or more.")
    if not re.fullmatch(r"/[!-~]*", probe.path):
        raise InvalidOption(
            "path", f"{probe.path!r} is not a valid URL path", hint="Start the path with /, and encode a space as %20."
        )
    for name, value in probe.headers.items():
        if (
            value is None
            or re.search(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]", name)
            or re.search(r"[\r\n\x00]|[^\x00-\xff]", str(value))
        ):
            raise InvalidOption("headers", f"{name!r} is not a valid header with a single-line value")
    for name, pattern in probe.versions.items():
        try:
            re.compile(str(pattern))
        except re.error as error:
            raise InvalidOption(
                "versions", f"the pattern of {name} is not a valid regular expression: {error}"
            ) from error


def secret_headers(headers: Mapping[str, Any]) -> set[str]:
    """Values of headers that must never be shown, with and without a scheme before them."""
    found = {str(value) for name, value in headers.items() if SECRET.search(name)}
    return found | {value.partition(" ")[2] for value in found}


def validate_url(url: str) -> None:
    """Raises InvalidOption where it is not http://HOST or http://HOST:PORT."""
    try:
        good = (
            re.fullmatch(r"http://[0-9A-Za-z.:_%\[\]-]+/?", url) and urlsplit(url).hostname and urlsplit(url).port != 0
        )
    except ValueError:
        good = False
    if not good:
        # Not the URL itself: a password may be in it.
        raise InvalidOption(
            "url",
            "does not have the form http://HOST or http://HOST:PORT",
            hint="Set the rest in path, and credentials in headers.",
        )


def to_address(url: str, timeout: float) -> tuple[str, Connect]:
    """(authority, how to connect) for an http URL."""
    parts = urlsplit(url)
    port = parts.port or 80
    return parts.netloc, lambda: socket.create_connection((parts.hostname or "", port), timeout)


def send_request(probe: Probe, connection: Connection, headers: Mapping[str, str]) -> Outcome:
    """One request on an open connection, sent once."""
    try:
        connection.request(
            "GET", probe.path, headers={name: str(value) for name, value in {**probe.headers, **headers}.items()}
        )
        response = connection.getresponse()
        body = response.read().decode("utf-8", errors="replace")
    except BROKEN as error:
        return Outcome(cause=_cause(error), closes=True)
    version = _version(probe, f"{response.headers}\n{body}") if response.status < 400 else ""
    return Outcome(response.status, version, closes=response.will_close)


def _cause(error: Exception) -> str:
    return next(cause for errors, cause in CAUSES if isinstance(error, errors))


def cause_of_no_connection(error: Exception) -> str:
    return "name" if isinstance(error, socket.gaierror) else "connect"


def _version(probe: Probe, text: str) -> str:
    return next((name for name, pattern in probe.versions.items() if re.search(str(pattern), text)), OTHER)


def run_probe(probe: Probe, authority: str, connect: Connect) -> dict[str, Any]:
    """The shares of `count` requests, each client sending the next one after the last one's answer."""
    numbers = [
        probe.count // probe.parallel + (1 if number < probe.count % probe.parallel else 0)
        for number in range(probe.parallel)
    ]
    tally = ProbeStats()
    with ThreadPoolExecutor(probe.parallel) as pool:
        for part in pool.map(
            lambda count: _one_client(probe, authority, connect, count), [number for number in numbers if number]
        ):
            tally.include(part)
    return probe_stats.percent_by_version(tally, probe.min_failure_status)


def _one_client(probe: Probe, authority: str, connect: Connect, count: int) -> ProbeStats:
    tally = ProbeStats()
    connection: Connection | None = None
    for _number in range(count):
        try:
            connection = connection or Connection(authority, connect())
        except OSError as error:
            tally.note(Outcome(cause=cause_of_no_connection(error)))
            continue
        outcome = send_request(probe, connection, {})
        tally.note(outcome)
        if outcome.closes:
            connection.close()
            connection = None
    if connection:
        connection.close()
    return tally
