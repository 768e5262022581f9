# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further conditions of the user's own, in JMESPath, on top of what status knows of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..._failure import InvalidOption
from ..._libraries import JMESPATH, jmespath, require
from ..objects import Object
from .kstatus import IN_PROGRESS, Status, status_of


@dataclass(frozen=True)
class Condition:
    """Holds for an object of this kind (and name, if given) when the expression gives something true."""

    kind: str
    name: str
    text: str
    expression: Any

    def concerns(self, obj: Object) -> bool:
        return bool(obj["kind"] == self.kind and self.name in ("", obj["metadata"]["name"]))


def compile_expression(option: str, text: str) -> Any:
    """The compiled expression. Raises InvalidOption naming the option, Failure "missing_library"."""
    require(JMESPATH)
    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise InvalidOption(
            option, f"{text!r} is not a valid JMESPath expression: {str(error).splitlines()[0]}"
        ) from error


def search_result(option: str, compiled: Any, value: Any) -> Any:
    """What an expression gives for a value. Raises InvalidOption naming the option where it does not fit the value."""
    try:
        return compiled.search(value)
    except jmespath.exceptions.JMESPathError as error:
        raise InvalidOption(
            option, f"{compiled.expression!r} cannot be applied to the result: {str(error).splitlines()[0]}"
        ) from error


def parse_conditions(rows: list[dict[str, Any]]) -> list[Condition]:
    """Raises InvalidOption naming the expression, Failure "missing_library"."""
    return [
        Condition(row["kind"], row.get("name") or "", row["query"], compile_expression("wait_for", row["query"]))
        for row in rows
    ]


def status_under(conditions: list[Condition], obj: Object | None) -> Status:
    """The status of a live object under these conditions."""
    status = status_of(obj)
    if obj is None or not status.current:
        return status
    for condition in conditions:
        if condition.concerns(obj) and not condition.expression.search(obj):
            return Status(IN_PROGRESS, f"{condition.text} is not true")
    return status
