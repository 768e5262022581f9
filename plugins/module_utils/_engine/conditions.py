# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further conditions of the user's own, in JMESPath, on top of what status knows of a kind."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from .._failure import Failure, InvalidOption
from .objects import Object
from .status import IN_PROGRESS, Status, status_of

try:
    import jmespath
except ImportError:
    jmespath = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Condition:
    """Holds for an object of this kind (and name, if given) when the expression gives something true."""

    kind: str
    name: str
    text: str
    expression: Any

    def concerns(self, obj: Object) -> bool:
        return bool(obj["kind"] == self.kind and self.name in ("", obj["metadata"]["name"]))


def parse(rows: list[dict[str, Any]]) -> list[Condition]:
    """Raises InvalidOption naming the expression, Failure "missing_library"."""
    if rows and jmespath is None:
        raise Failure("missing_library", missing_required_lib("jmespath"))
    found = []
    for row in rows:
        try:
            expression = jmespath.compile(row["query"])
        except jmespath.exceptions.JMESPathError as error:
            raise InvalidOption("wait_for", f"{row['query']!r} is no JMESPath expression: {str(error).splitlines()[0]}") from error
        found.append(Condition(row["kind"], row.get("name") or "", row["query"], expression))
    return found


def judge(conditions: list[Condition], obj: Object | None) -> Status:
    """The status of a live object under these conditions."""
    status = status_of(obj)
    if obj is None or not status.current:
        return status
    for condition in conditions:
        if condition.concerns(obj) and not condition.expression.search(obj):
            return Status(IN_PROGRESS, f"{condition.text} does not hold")
    return status
