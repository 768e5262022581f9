# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks and their findings: what mesh_check and preflight have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from .._engine.objects import Object, Ref, ref_of
from .._failure import Failure, InvalidOption, did_you_mean

Row = dict[str, Any]
AnyJudge_co = TypeVar("AnyJudge_co", bound=Callable[..., Any], covariant=True)


class Severity(str, Enum):
    """Worst first."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    def __str__(self) -> str:
        return self.value


ERROR, WARNING, INFO = Severity
# fail_on -> severities that fail the task.
FAIL_ON: dict[str, tuple[Severity, ...]] = {
    "error": (ERROR,),
    "warning": (ERROR, WARNING),
    "info": (ERROR, WARNING, INFO),
    "never": (),
}


@dataclass(frozen=True)
class Check(Generic[AnyJudge_co]):
    """One thing that may be wrong.

    judge   finds it
    fails   when it fails
    remedy  what to do then
    source  where the rule is from
    """

    code: str
    severity: Severity
    judge: AnyJudge_co
    fails: str
    remedy: str
    source: str


@dataclass(frozen=True)
class Finding:
    """One object that fails a check, such as "Pod shop/web-1", and why."""

    object: str
    message: str


@dataclass(frozen=True)
class FieldFinding:
    """One field of an object that fails a check, such as spec.http[0].route, and why."""

    obj: Object
    field: str
    message: str

    @property
    def ref(self) -> Ref:
        return ref_of(self.obj)


def validate_skip(skip: Iterable[str], known: Collection[str], page: str) -> None:
    """Raises InvalidOption for a code that no check has. page: where all checks are listed."""
    for code in skip:
        if code not in known:
            raise InvalidOption(
                "skip",
                f"{code} is not a check",
                hint=did_you_mean(code, known, f"{page} lists all checks."),
                code="no_such_check",
            )


def check_row(check: Check[Any], **own: Any) -> Row:
    """The keys of a result that every check and finding has, and those of its module."""
    return {"code": check.code, "severity": check.severity.value, **own, "remedy": check.remedy}


def count_by_severity(rows: Iterable[Row], severities: Iterable[Severity] = Severity) -> dict[str, int]:
    """{errors, warnings, infos}"""
    found = [row["severity"] for row in rows]
    return {f"{severity}s": found.count(severity.value) for severity in severities}


def at_severities(rows: Iterable[Row], fail_on: str) -> list[Row]:
    """The rows that the option fail_on names."""
    return [row for row in rows if row["severity"] in FAIL_ON[fail_on]]


def checks_failure(
    code: str, heading: str, lines: Iterable[str], codes: Iterable[str], ref: dict[str, Any] | None = None
) -> Failure:
    """A failure with a line for each check or finding, and the checks' codes as its reason."""
    message = "\n".join([f"{heading}:", *(f"- {line}" for line in lines)])
    return Failure(code, message, ref=ref, reason=", ".join(codes))
