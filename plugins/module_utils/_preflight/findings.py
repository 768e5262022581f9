# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check says."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Callable

from .._engine.objects import Object, Ref, ref_of
from .object_index import World

ERROR, WARNING, INFO = "error", "warning", "info"


@dataclass(frozen=True)
class Finding:
    """One field of an object that a check does not pass, such as spec.http[0].route, and why."""

    obj: Object
    field: str
    message: str

    @property
    def ref(self) -> Ref:
        return ref_of(self.obj)


Judge = Callable[[World], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """One thing that may be wrong.

    fails   what is wrong then
    source  where the rule is from: Istio's analyzer with its code, its admission webhook, Kiali with its code, or us
    """

    code: str
    severity: str
    judge: Judge
    fails: str
    remedy: str
    source: str


ANALYZER = "analyzer {}".format
KIALI = "Kiali {}".format
WEBHOOK, OURS, KUBERNETES = "webhook", "ours", "definition"


def parts(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(field, item) of a list of mappings that may be missing."""
    for number, item in enumerate(value or []):
        yield f"{path}[{number}]", item
