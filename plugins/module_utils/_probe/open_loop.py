# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests on a clock, whatever became of the ones before: an outage then counts for as long as it lasts.

One thread says when a request is due. A pool of others sends them, at most `parallel` at a time. A third kind keeps the
books:
it closes what is overdue, so that every request has an outcome in time, and hands on a row of figures each second.
Nothing is sent twice.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._cluster.api import ApiError
from .._failure import Failure, InvalidOption
from .._proxy.socket_http import Connection
from .probe import Connect, Probe, cause_of_no_connection, send_request
from .probe_stats import MOST_EXAMPLES, Outcome, ProbeStats

RUN_HEADER = "X-Probe-Run"
NUMBER_HEADER = "X-Probe-Number"
# A fresh connection keeps a local port for a minute after its end, and there are some 28,000: half of 500 a second
# leaves room for others.
FASTEST = 500
MOST_PARALLEL = 512
# A day, of which the rows are about ten megabytes.
LONGEST = 86400
# A request that begins later than this after its time, in seconds, is late.
LATE = 0.1
# Seconds between two rows; and the longest sleep of the clock, so that it is soon stopped.
ROW = 1.0
LOOK = 0.1
# Kept connections that take turns: more than one, so that more than one of a gateway's pods is seen to drain.
KEPT = 8

Write = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class ProbeRate:
    """rate requests a second for `max_duration` seconds, at most `parallel` at a time."""

    rate: int = 20
    parallel: int = 200
    max_duration: int = 3600


def validate_rate(pace: ProbeRate) -> None:
    """Raises InvalidOption."""
    for option, most in (("rate", FASTEST), ("parallel", MOST_PARALLEL), ("max_duration", LONGEST)):
        if not 1 <= getattr(pace, option) <= most:
            raise InvalidOption(option, f"is {getattr(pace, option)}", hint=f"Use a value from 1 to {most}.")


def enough_clients(rate: int, timeout: float) -> int:
    """How many requests at a time there are when none is answered, within reason."""
    return int(max(1, min(rate * timeout, MOST_PARALLEL // 2)))


@dataclass
class Request:
    """due and begun are times of time.monotonic; wire is what it is sent on, kind whether that carried requests
    before.
    """

    number: int
    due: float
    late: bool
    begun: float | None = None
    wire: socket.socket | None = None
    kind: str = "fresh"


def on_fresh(number: int) -> bool:
    """One of each pair of numbers, which one by a checksum: no round robin behind a gateway falls in step with it, so
    that each pod is asked on both kinds.
    """
    return (zlib.crc32((number // 2).to_bytes(8, "big")) ^ number) & 1 == 0


class OpenLoop:
    """write  is given each row: {clock, due, through} and the tally since the last one; the final one says why it
    `ended`.

    clock    time.monotonic of the row
    due      highest number whose time has come
    through  all numbers up to this one have their outcome
    """

    def __init__(self, probe: Probe, pace: ProbeRate, run: str, authority: str, connect: Connect, write: Write) -> None:
        self._probe, self._pace, self._run_id = probe, pace, run
        self._authority, self._connect, self._write = authority, connect, write
        self._stopping = False
        self._news = threading.Condition()
        # All below is touched under the lock of the news only.
        self._due = 0
        self._open: dict[int, Request] = {}
        self._queue: deque[Request] = deque()
        self._workers = self._waiting = 0
        self._tally = ProbeStats()
        self._idle: deque[Connection] = deque()
        self._held = 0
        self._keep = min(KEPT, max(1, pace.rate // 2), pace.parallel)

    def stop(self) -> None:
        """Nothing new is due from now on. May be called by a signal's handler, so it takes no lock."""
        self._stopping = True

    def run(self) -> None:
        """Until it is stopped or `max_duration` has passed, and all that was due has its outcome."""
        done = threading.Event()
        books = threading.Thread(target=self._keep_books, args=(done,), daemon=True)
        books.start()
        ended = self._send_on_the_clock()
        while self._unsettled():
            time.sleep(LOOK)
        done.set()
        books.join()
        self._write({**self._row(), "ended": ended})

    def _send_on_the_clock(self) -> str:
        start, sent = time.monotonic(), 0
        while not self._stopping:
            # By number, so that a host with no time to spare leaves none out.
            if sent >= self._pace.max_duration * self._pace.rate:
                return "max_duration"
            due = start + sent / self._pace.rate
            now = time.monotonic()
            if now < due:
                time.sleep(min(due - now, LOOK))
                continue
            sent += 1
            self._begin(sent, due)
        return "stopped"

    def _begin(self, number: int, due: float) -> None:
        with self._news:
            request = Request(number, due, late=len(self._open) >= self._pace.parallel)
            self._due = number
            self._open[number] = request
            self._queue.append(request)
            if len(self._queue) > self._waiting and self._workers < self._pace.parallel:
                # Where the host allows no more threads, the pool is as large as it is.
                with contextlib.suppress(RuntimeError):
                    threading.Thread(target=self._work, daemon=True).start()
                    self._workers += 1
            self._news.notify()

    def _unsettled(self) -> bool:
        with self._news:
            return bool(self._open)

    def _keep_books(self, done: threading.Event) -> None:
        while not done.wait(ROW):
            self._close_overdue()
            self._write(self._row())

    def _row(self) -> dict[str, Any]:
        with self._news:
            tally, self._tally = self._tally, ProbeStats()
            through = min(self._open) - 1 if self._open else self._due
            return {"clock": time.monotonic(), "due": self._due, "through": through, **tally.as_row()}

    def _close_overdue(self) -> None:
        """A name that is long looked up, or an answer that comes in drops, would hold its worker for ever: the request
        at least is closed.
        """
        with self._news:
            now, timeout = time.monotonic(), self._probe.timeout
            for request in list(self._open.values()):
                if now < (request.due if request.begun is None else request.begun) + timeout:
                    continue
                cause = "not_sent" if request.begun is None else "connect" if request.wire is None else "timeout"
                self._settle(request, Outcome(cause=cause))
                if request.wire:
                    with contextlib.suppress(OSError):
                        request.wire.shutdown(socket.SHUT_RDWR)

    def _settle(self, request: Request, outcome: Outcome) -> bool:
        """The first outcome of a request counts; False for any later one."""
        with self._news:
            if self._open.pop(request.number, None) is None:
                return False
            self._tally.note(outcome)
            self._tally.late += request.late
            self._tally.connections[request.kind] += request.wire is not None
            if not outcome.lost(self._probe.min_failure_status):
                self._tally.good(time.monotonic())
            elif len(self._tally.examples) < MOST_EXAMPLES:
                when = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
                cause = outcome.cause or str(outcome.status)
                self._tally.examples.append(
                    {
                        "number": request.number,
                        "time": when,
                        "cause": cause,
                        "connection": request.kind if request.wire else "",
                    }
                )
            return True

    def _work(self) -> None:
        while True:
            self._send(self._next())

    def _next(self) -> Request:
        """The next request that is still worth sending. Those that were closed meanwhile, or are overdue, are not."""
        with self._news:
            while True:
                while not self._queue:
                    self._waiting += 1
                    self._news.wait()
                    self._waiting -= 1
                request, now = self._queue.popleft(), time.monotonic()
                if now >= request.due + self._probe.timeout:
                    self._settle(request, Outcome(cause="not_sent"))
                elif request.number in self._open:
                    request.begun = now
                    request.late = request.late or now > request.due + LATE
                    return request

    def _send(self, request: Request) -> None:
        fresh = on_fresh(request.number)
        connection = None if fresh else self._take()
        held = connection is not None
        try:
            connection = connection or Connection(self._authority, self._connect())
        except (OSError, ApiError, Failure) as error:
            self._settle(request, Outcome(cause=cause_of_no_connection(error)))
            return
        if not fresh and not held:
            self._hold(1)
        outcome = None
        if self._open_on(request, connection.sock, "kept" if held else "fresh"):
            headers = {
                RUN_HEADER: self._run_id,
                NUMBER_HEADER: str(request.number),
                **({"Connection": "close"} if fresh else {}),
            }
            outcome = send_request(self._probe, connection, headers)
            if not self._settle(request, outcome):
                outcome = None
        if fresh:
            connection.close()
        elif outcome is None or outcome.closes:
            connection.close()
            self._hold(-1)
        else:
            self._give_back(connection)

    def _open_on(self, request: Request, wire: socket.socket, kind: str) -> bool:
        """Whether there is still time to send it."""
        with self._news:
            left = (request.begun or request.due) + self._probe.timeout - time.monotonic()
            if left <= 0 or request.number not in self._open:
                self._settle(request, Outcome(cause="connect"))
                return False
            request.wire, request.kind = wire, kind
        wire.settimeout(left)
        return True

    def _take(self) -> Connection | None:
        """The kept connection that has rested longest; None where a new one is to be opened."""
        with self._news:
            while self._idle and self._held >= self._keep:
                connection = self._idle.popleft()
                if _is_open(connection.sock):
                    return connection
                connection.close()
                self._held -= 1
            return None

    def _hold(self, number: int) -> None:
        with self._news:
            self._held += number

    def _give_back(self, connection: Connection) -> None:
        with self._news:
            if len(self._idle) < self._keep:
                self._idle.append(connection)
                return
            self._held -= 1
        connection.close()


def _is_open(wire: socket.socket) -> bool:
    """Whether the other side has not closed it while it rested, which is its right and loses no request."""
    try:
        wire.settimeout(0)
        wire.recv(1, socket.MSG_PEEK)
        return False
    except (BlockingIOError, InterruptedError):
        return True
    except OSError:
        return False
