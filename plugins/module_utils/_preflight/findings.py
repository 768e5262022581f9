# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all checks of objects share: their signature, where rules are from, and how lists are walked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Callable

from .._checks.check import FieldFinding
from .object_index import World

Judge = Callable[[World], Iterable[FieldFinding]]
# Where a rule is from: Istio's analyzer with its code, its admission webhook, Kiali with its code, or this collection.
ANALYZER = "analyzer {}".format
KIALI = "Kiali {}".format
WEBHOOK, OURS, KUBERNETES = "webhook", "ours", "definition"


def parts(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(field, item) of a list of mappings that may be missing."""
    for number, item in enumerate(value or []):
        yield f"{path}[{number}]", item
