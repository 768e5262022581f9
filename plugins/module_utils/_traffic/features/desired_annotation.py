# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked for a host, feature by feature, kept as data with the objects that say it. One owner composes them
into one object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..._failure import Failure
from ..host.host import INTENTS, Object

Intents = dict[str, Any]
# Beside the features: the set with which a host's policy came.
SET = "set"


def read_intents(obj: Object | None) -> Intents:
    """{feature: what was asked} of an object of ours. Raises Failure "intents_unreadable" where somebody edited them
    into nonsense.
    """
    text = (((obj or {}).get("metadata") or {}).get("annotations") or {}).get(INTENTS, "{}")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        name = (
            f"{(obj or {}).get('kind')}"
            f" {(obj or {})['metadata'].get('namespace')}/{(obj or {})['metadata'].get('name')}"
        )
        raise Failure(
            "intents_unreadable",
            f"the annotation {INTENTS} of {name} is not a JSON object",
            hint=(
                "Restore the annotation, or delete the object and run the task again with the whole policy of the"
                " service."
            ),
        )
    return found


def intents_annotation(intents: Mapping[str, Any]) -> dict[str, str]:
    return {INTENTS: json.dumps(intents, sort_keys=True)}


def with_intent(intents: Intents, feature: str, wanted: Any) -> Intents:
    """The intents with this feature's replaced, or released where nothing is wanted of it any more."""
    return {name: value for name, value in {**intents, feature: wanted}.items() if value}
