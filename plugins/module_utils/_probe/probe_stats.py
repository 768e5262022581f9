# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of requests, as numbers: pure, and such that any two tallies add up to the tally of both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .._failure import Failure

# Of lost requests, told one by one.
MOST_EXAMPLES = 10
# Told in a message.
FEW_EXAMPLES = 3
# The 95 % quantile of the normal distribution, one-sided.
Z95 = 1.6449


@dataclass(frozen=True)
class Outcome:
    """Of one request: status and version of its answer, or the cause why it has none.

    closes  its connection can carry no further request
    """

    status: int = 0
    version: str = ""
    cause: str = ""
    closes: bool = False

    def lost(self, min_failure_status: int) -> bool:
        return bool(self.cause) or self.status >= min_failure_status


@dataclass
class ProbeStats:
    """codes, counts, errors and connections: numbers by status, version, cause, and kind of connection; times are those
    of time.monotonic.

    late         requests that were not sent at their time
    first, last  when the first and the last good answer came
    gap          the longest time between two of them, seconds
    examples     [{number, time, cause, connection}] of the first lost ones
    """

    codes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)
    late: int = 0
    first: float | None = None
    last: float | None = None
    gap: float = 0.0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def note(self, outcome: Outcome) -> None:
        if outcome.cause:
            self.errors[outcome.cause] += 1
            return
        self.codes[str(outcome.status)] += 1
        if outcome.version:
            self.counts[outcome.version] += 1

    def good(self, now: float) -> None:
        """A good answer came now."""
        self.include(ProbeStats(first=now, last=now))

    def include(self, later: ProbeStats) -> None:
        """Adds what came after this."""
        for name in ("codes", "counts", "errors", "connections"):
            getattr(self, name).update(getattr(later, name))
        self.late += later.late
        if later.first is not None:
            between = 0.0 if self.last is None else later.first - self.last
            self.gap = max(self.gap, later.gap, between)
            self.first = later.first if self.first is None else self.first
            self.last = later.last
        self.examples = [*self.examples, *later.examples][:MOST_EXAMPLES]

    def as_row(self) -> dict[str, Any]:
        """Only what there is, for JSON."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> ProbeStats:
        """The tally that as_row wrote; the row may hold more."""
        counters: dict[str, Any] = {
            name: Counter(row.get(name) or {}) for name in ("codes", "counts", "errors", "connections")
        }
        return cls(
            **counters, **{name: row[name] for name in ("late", "first", "last", "gap", "examples") if name in row}
        )


def percent_by_version(tally: ProbeStats, min_failure_status: int) -> dict[str, Any]:
    """{sent, failures, failure_percent, upper_bound, codes, responses_by_version, percent_by_version, errors}. A
    failure is no answer, or a status of at least min_failure_status.
    """
    sent = sum(tally.codes.values()) + sum(tally.errors.values())
    lost = sum(tally.errors.values()) + sum(
        number for code, number in tally.codes.items() if int(code) >= min_failure_status
    )
    answered = sum(tally.counts.values())
    return {
        "sent": sent,
        "failures": lost,
        "failure_percent": _per_cent(lost, sent),
        "upper_bound": upper_bound(lost, sent),
        "codes": dict(sorted(tally.codes.items())),
        "responses_by_version": dict(sorted(tally.counts.items())),
        "percent_by_version": (
            {name: round(100 * number / answered, 1) for name, number in sorted(tally.counts.items())}
            if answered
            else {}
        ),
        "errors": dict(sorted(tally.errors.items())),
    }


def stats_result(tally: ProbeStats, min_failure_status: int, start: float, end: float) -> dict[str, Any]:
    """The shares, and {late, connections, longest_gap, examples} of what came between two times."""
    edges = (
        [end - start]
        if tally.first is None or tally.last is None
        else [tally.first - start, tally.gap, end - tally.last]
    )
    return {
        **percent_by_version(tally, min_failure_status),
        "late": tally.late,
        "connections": {kind: tally.connections[kind] for kind in ("fresh", "kept")},
        "longest_gap": round(max(0.0, *edges), 3),
        "examples": tally.examples,
    }


def upper_bound(lost: int, sent: int) -> float:
    """95 % upper bound of the lost share in per cent, for requests that fail independently of each other.

    None lost of n: 3/n, the rule of three. Else the bound of a Poisson count, by Wilson and Hilferty's (1931)
    approximation of chi-squared.
    """
    if not sent:
        return 100.0
    most = (lost + 1) * (1 - 1 / (9 * (lost + 1)) + Z95 / (3 * (lost + 1) ** 0.5)) ** 3 if lost else 3.0
    return min(100.0, float(f"{100 * most / sent:.3g}"))


def _per_cent(part: int, whole: int) -> float:
    return float(f"{100 * part / whole:.4g}") if whole else 0.0


def pass_gate(found: dict[str, Any], max_failure_percent: float | None, min_requests: int | None) -> None:
    """Raises Failure "too_few_requests", "too_many_failures", with what was found. A share of no request is no
    share.
    """
    least = max(min_requests or 0, 0 if max_failure_percent is None else 1)
    if found["sent"] < least:
        hint = "Run the probe for longer, or increase its rate."
        raise Failure(
            "too_few_requests",
            f"min_requests: {found['sent']} requests have an outcome, the minimum is {least}",
            hint=hint,
            found=found,
        )
    if max_failure_percent is None or 100 * found["failures"] <= max_failure_percent * found["sent"]:
        return
    some = "; ".join(
        f"number {example['number']} at {example['time']}: {example['cause']}"
        for example in found["examples"][:FEW_EXAMPLES]
    )
    message = (
        f"max_failure_percent: {found['failures']} of {found['sent']} requests failed ({found['failure_percent']} %),"
        f" the maximum is {max_failure_percent} %"
    )
    raise Failure(
        "too_many_failures",
        message,
        reason=f"First failures: {some}",
        hint="See codes, errors and examples in the result.",
        found=found,
    )
