# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A probe that runs beside other tasks: started, read while it runs, stopped.

Its process writes a row of figures each second, which is added to a journal and never changed. So a reading is a sum of
rows, a token is
the number of rows so far, and what was measured outlives the process. Neither journal nor record hold headers or path.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .._failure import Failure, InvalidOption
from . import daemon, probe_stats
from .gateway_access import GatewayRoute
from .open_loop import OpenLoop, ProbeRate
from .probe import Probe
from .probe_stats import ProbeStats

NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,62}")
# On top of what requests that are under way may take, seconds: for a host with no time to spare.
SLACK = 30.0
BETWEEN_LOOKS = 0.2
DIED = "died"
ROUNDS = 100_000


@dataclass(frozen=True)
class ProbeSnapshot:
    """The rows of one run so far. alive: whether its process was there just before they were read."""

    process: daemon.Process
    rows: list[dict[str, Any]]
    alive: bool

    @property
    def told(self) -> str:
        """The end as the journal has it, which a process that died could not write."""
        return str(self.rows[-1].get("ended") or "") if self.rows else ""

    @property
    def ended(self) -> str:
        """Why it ended: "stopped", "max_duration" or "died"; empty while it runs."""
        return self.told or ("" if self.alive else DIED)

    def has(self, options: Any) -> bool:
        """Whether it was started with these options."""
        return bool(_digest(options, self.process.about["salt"]) == self.process.about["options"])

    def identity(self) -> dict[str, Any]:
        """{started, target, ended, token} as results have them."""
        about = self.process.about
        return {
            "started": about["started"],
            "target": about["via"],
            "ended": self.ended,
            "token": f"{about['run']}.{len(self.rows)}" if about["run"] else "",
        }

    def words(self) -> str:
        about = self.process.about
        return f"{about['rate']} requests a second to {about['via']} since {about['started']}"

    def result(self, since: str | None = None) -> dict[str, Any]:
        """Its identity, and figures of all rows after the token. Raises InvalidOption."""
        about, first = self.process.about, self._first(since or "")
        tally = ProbeStats()
        for row in self.rows[first:]:
            tally.include(ProbeStats.of_row(row))
        start = self.rows[first - 1]["clock"] if first else about["clock"]
        end = self.rows[-1]["clock"] if self.rows else start
        return {**probe_stats.stats_result(tally, about["min_failure_status"], start, end), **self.identity()}

    def _first(self, since: str) -> int:
        run, _dot, number = since.partition(".")
        if not since:
            return 0
        if not re.fullmatch(r"[0-9a-f]{16}\.[0-9]{1,9}", since) or (
            run == self.process.about["run"] and int(number) > len(self.rows)
        ):
            raise InvalidOption(
                "since", f"{since} is not a token of this probe", hint="Use the token of an earlier call."
            )
        if run != self.process.about["run"]:
            raise InvalidOption(
                "since",
                f"{since} is a token of an earlier run of this probe",
                hint="The probe was restarted since. Use a token of the current run, or omit the token.",
            )
        return int(number)


# Where no probe of the name ever ran.
NEVER = ProbeSnapshot(
    daemon.Process(0, "", {"run": "", "started": "", "via": "", "clock": 0.0, "min_failure_status": 500}),
    [{"clock": 0.0, "ended": "never"}],
    False,
)


def validate_name(name: str) -> None:
    """Raises InvalidOption."""
    if not NAME.fullmatch(name):
        raise InvalidOption(
            "name",
            f"{name!r} is not a valid probe name",
            hint="Use up to 63 letters, digits, dots, underscores and dashes, starting with a letter or digit.",
        )


def process_place(name: str) -> daemon.ProcessPlace:
    return daemon.ProcessPlace("probes", name)


def last_snapshot(name: str) -> ProbeSnapshot | None:
    """The last run of this name as far as it has told, whether it goes on or not; None where there was none."""
    process = daemon.find_process(process_place(name))
    return _snapshot(process, Journal(journal(name, process.about["run"]))) if process else None


def _snapshot(process: daemon.Process, book: Journal) -> ProbeSnapshot:
    # In this order, so that nothing is missed of what a process writes before its end.
    alive = process.alive
    return ProbeSnapshot(process, book.rows(), alive)


def journal(name: str, run: str) -> Path:
    return process_place(name).folder / f"{run}.rows"


def _digest(options: Any, salt: str) -> str:
    """One that tells nothing of secrets in the options, and costs whoever guesses them."""
    text = json.dumps(options, sort_keys=True, default=str)
    return hashlib.pbkdf2_hmac("sha256", text.encode(), bytes.fromhex(salt), ROUNDS).hex()


class Journal:
    """Rows of JSON, one a line. A row whose line is not whole was never written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rows: list[dict[str, Any]] = []
        self._rest = b""

    def rows(self) -> list[dict[str, Any]]:
        """All of them; only new ones are read."""
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
            file.seek(self._offset)
            whole, newline, _rest = file.read().rpartition(b"\n")
            self._rows += [json.loads(line) for line in whole.splitlines()]
            self._offset += len(whole + newline)
        return self._rows

    def append(self, row: dict[str, Any]) -> None:
        """At once, or with the next row where the disk is full: the figures are kept until then."""
        self._rest += json.dumps(row, separators=(",", ":")).encode() + b"\n"
        with (
            contextlib.suppress(OSError),
            open(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600), "wb", buffering=0) as file,
        ):
            # Behind the last whole line, over what is there of one that was cut off.
            file.seek(self._offset)
            if file.write(self._rest) == len(self._rest):
                self._offset += len(self._rest)
                self._rest = b""


def start_probe(name: str, probe: Probe, pace: ProbeRate, way: GatewayRoute, options: Any) -> ProbeSnapshot:
    """A new run; the figures of the last one go. Raises Failure "not_started"."""
    run, salt, where = secrets.token_hex(8), secrets.token_hex(16), process_place(name)
    about = {
        "run": run,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "clock": time.monotonic(),
        "via": way.via,
        "rate": pace.rate,
        "timeout": probe.timeout,
        "min_failure_status": probe.min_failure_status,
        "salt": salt,
        "options": _digest(options, salt),
    }
    loop = OpenLoop(probe, pace, run, way.authority, way.connect, Journal(journal(name, run)).append)
    credentials = where.folder / "credentials"

    def prepare() -> None:
        fresh = where.emptied("credentials")
        if way.detach:
            way.detach(fresh)
        signal.signal(signal.SIGTERM, lambda *_: loop.stop())

    def work() -> None:
        for old in where.folder.glob("*.rows"):
            if old != journal(name, run):
                old.unlink(missing_ok=True)
        loop.run()
        shutil.rmtree(credentials, ignore_errors=True)

    return ProbeSnapshot(daemon.start_process(where, about, prepare, work), [], True)


def read_snapshot(name: str) -> ProbeSnapshot | None:
    """All that was due when the reading began, with its outcome: a request that still hangs is neither lost nor
    answered, so it is waited for.

    None where there was no probe of this name. Raises Failure "probe_gone" where its process has died, "probe_silent".
    """
    begun = time.monotonic()
    process = daemon.find_process(process_place(name))
    if process is None:
        return None
    book, asked = Journal(journal(name, process.about["run"])), None
    while True:
        reading = _snapshot(process, book)
        if reading.ended == DIED:
            raise probe_gone(name, reading)
        if asked is None:
            asked = next((row["due"] for row in reading.rows if row["clock"] >= begun), None)
        if reading.ended or (asked is not None and reading.rows[-1]["through"] >= asked):
            return reading
        if time.monotonic() - begun > settle_seconds(process):
            raise Failure(
                "probe_silent",
                f"name: process {process.pid} of probe {name} is running, but writes no results",
                hint="Check that the disk is not full.",
                found=reading.result(),
            )
        time.sleep(BETWEEN_LOOKS)


def settle_seconds(process: daemon.Process) -> float:
    """Seconds in which every request that is due has its outcome: it may wait for `timeout` to be sent, and then for
    its answer.
    """
    return float(2 * process.about["timeout"] + SLACK)


def probe_gone(name: str, reading: ProbeSnapshot) -> Failure:
    message = f"name: process {reading.process.pid} of probe {name} ended before it was stopped"
    return Failure(
        "probe_gone",
        message,
        hint="Check whether it was killed, or the host restarted. The results cover the time until then.",
        found=reading.result(),
    )


def stop_probe(name: str, reading: ProbeSnapshot, only_said: bool) -> ProbeSnapshot:
    """Ends it once what was due has its outcome. Raises Failure "probe_gone" where it had died, but only once.

    only_said  nothing is done: check mode
    """
    process = reading.process
    if only_said and reading.alive:
        return reading
    if only_said:
        raise probe_gone(name, reading)
    daemon.stop_process(process, settle_seconds(process))
    shutil.rmtree(process_place(name).folder / "credentials", ignore_errors=True)
    book = Journal(journal(name, process.about["run"]))
    last_words = _snapshot(process, book)
    if not last_words.told:
        failure = probe_gone(name, last_words)
        book.append(
            {"clock": last_words.rows[-1]["clock"] if last_words.rows else process.about["clock"], "ended": DIED}
        )
        raise failure
    return last_words
