# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a live object already as wanted? Answered without the server, from the object's own managedFields.

The manager's entry says which parts of the live object are its own. Cut these out and compare them with the wanted
object. The answer may only be "equal" when that is sure; all else is for the server's dry run.
Sources: structured-merge-diff (fieldsV1 paths), and what API servers were seen to rewrite.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from ..objects import Object

IDENTITY_FIELDS = ("apiVersion", "kind")
# Below these keys values are quantities: the server writes 2000m as 2 and 1024Mi as 1Gi.
QUANTITY_PARENTS = {"requests", "limits", "hard", "default", "defaultRequest", "max", "min"}
QUANTITY_KEYS = {"averageValue", "sizeLimit", "storage"}
SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
# Defaults that a server writes inside values that are owned as a whole: (parent key, key) -> default.
ATOMIC_DEFAULTS = {
    ("fieldRef", "apiVersion"): "v1",
    ("rules", "scope"): "*",
    ("resourceFieldRef", "divisor"): "0",
}

# Empty values that a server does not keep, where the key alone says of which type they are. Others it is asked about.
NOT_KEPT: dict[str, Any] = {"annotations": {}, "labels": {}, "value": "", "subPath": "", "initialDelaySeconds": 0}


def managed_entry(live: Object, manager: str, operation: str = "Apply") -> dict[str, Any] | None:
    """The manager's entry for the object itself (not for a subresource)."""
    entries: list[dict[str, Any]] = live.get("metadata", {}).get("managedFields") or []
    for item in entries:
        if item.get("manager") == manager and item.get("operation") == operation and not item.get("subresource"):
            return item
    return None


def owned_part(live: Object, manager: str) -> Object | None:
    """What the manager owns of the live object, in the object's own shape; None if it owns nothing."""
    own = managed_entry(live, manager)
    if own is None:
        return None
    part = select_owned(own.get("fieldsV1") or {}, live)
    return part if isinstance(part, dict) else None


def owns_exactly(wanted: Object, live: Object, manager: str) -> bool:
    """True only if the manager surely owns exactly the wanted fields with the wanted values."""
    own = managed_entry(live, manager)
    # Identity is never part of managedFields.
    bare = {key: value for key, value in wanted.items() if key not in IDENTITY_FIELDS}
    bare["metadata"] = {key: value for key, value in wanted["metadata"].items() if key not in ("name", "namespace")}
    if own is None:
        # Who owns no field has no entry: nothing was asked for but that the object is there.
        return bare == {"metadata": {}}
    part = owned_part(live, manager)
    if part is None or own.get("apiVersion") != wanted["apiVersion"]:
        return False
    part.setdefault("metadata", {})
    return equal_values(bare, part, ())


def select_owned(fields: dict[str, Any], live: Any) -> Any:
    """The part of a live value that fields (fieldsV1) name. What is owned and not there is None: of which type it was
    cannot be seen.
    """
    keys = [key for key in fields if key != "."]
    if not keys:
        # An atomic value, or a map of which only the presence is owned: from here they look alike.
        return live
    if isinstance(live, list):
        return [select_owned(sub, item) for sub, item in _owned_items(fields, keys, live)]
    if not isinstance(live, dict):
        return live
    # What is owned and not there (an empty map that the server does not keep) is owned all the same: giving it up is a
    # change of owner.
    return {
        key[2:]: select_owned(fields[key], live[key[2:]]) if key[2:] in live else None
        for key in keys
        if key.startswith("f:")
    }


def _owned_items(fields: dict[str, Any], keys: list[str], live: list[Any]) -> list[tuple[dict[str, Any], Any]]:
    """Items of a list in live order, each with what is owned of it."""
    items: list[tuple[dict[str, Any], Any]] = []
    for item in live:
        for key in keys:
            kind, _colon, text = key.partition(":")
            if kind == "v" and json.loads(text) == item:
                items.append(({}, item))
                break
            if kind == "k" and isinstance(item, dict) and _keyed(json.loads(text), item):
                items.append((fields[key], item))
                break
    return items


def _keyed(selector: dict[str, Any], item: dict[str, Any]) -> bool:
    return all(item.get(name) == value for name, value in selector.items())


def _nothing(value: Any) -> bool:
    return (
        value is None
        or value == ""
        or value == {}
        or value == []
        or value is False
        or (value == 0 and not isinstance(value, str))
    )


def equal_values(wanted: Any, owned: Any, path: tuple[str, ...]) -> bool:
    if isinstance(wanted, dict) and isinstance(owned, dict):
        missing = [key for key in wanted if key not in owned]
        surplus = [key for key in owned if key not in wanted and not _defaulted(path, key, owned[key])]
        return (
            not missing
            and not surplus
            and all(equal_values(wanted[key], owned[key], (*path, key)) for key in wanted if key in owned)
        )
    if isinstance(wanted, list) and isinstance(owned, list):
        return len(wanted) == len(owned) and all(equal_values(a, b, path) for a, b in zip(wanted, owned))
    if isinstance(wanted, bool) or isinstance(owned, bool):
        return wanted is owned
    if owned is None and path and path[-1] in NOT_KEPT:
        return wanted is None or (type(wanted) is type(NOT_KEPT[path[-1]]) and wanted == NOT_KEPT[path[-1]])
    if wanted == owned:
        return True
    return _is_quantity(path) and _quantity(wanted) is not None and _quantity(wanted) == _quantity(owned)


def has_values(live: Any, wanted: Any, path: tuple[str, ...] = ()) -> bool:
    """True only if every wanted value is surely there, whoever owns it. What else is there does not matter."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        return all(
            has_values(live[key], value, (*path, key)) if key in live else _nothing(value)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(live) and all(has_values(b, a, path) for a, b in zip(wanted, live))
    return equal_values(wanted, live, path) or (wanted is None and _nothing(live))


def _defaulted(path: tuple[str, ...], key: str, value: Any) -> bool:
    parent = path[-1] if path else ""
    return (parent, key) in ATOMIC_DEFAULTS and ATOMIC_DEFAULTS[(parent, key)] == value


def _is_quantity(path: tuple[str, ...]) -> bool:
    return bool(path) and (path[-1] in QUANTITY_KEYS or (len(path) > 1 and path[-2] in QUANTITY_PARENTS))


def _quantity(value: Any) -> Decimal | None:
    """Kubernetes' quantity as a number (apimachinery resource.Quantity)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    text = str(value)
    suffix = text.lstrip("+-0123456789.")
    if suffix[:1] in ("e", "E") and suffix[1:]:
        suffix = ""
    try:
        return Decimal(text[: len(text) - len(suffix)] if suffix else text) * SUFFIXES[suffix]
    except (InvalidOperation, KeyError):
        return None


def without_fields_of(wanted: Object, live: Object, managers: frozenset[str]) -> Object:
    """The wanted object less the fields that one of the managers owns in the live one: not ours, no drift, no
    conflict.
    """
    for item in live.get("metadata", {}).get("managedFields") or []:
        if item.get("manager") in managers and not item.get("subresource"):
            wanted = _less(wanted, item.get("fieldsV1") or {})
    return wanted


def _less(wanted: Any, fields: dict[str, Any]) -> Any:
    if isinstance(wanted, dict):
        kept = {}
        for key, value in wanted.items():
            sub = fields.get(f"f:{key}")
            if sub is None:
                kept[key] = value
            elif [k for k in sub if k != "."]:
                kept[key] = _less(value, sub)
        return kept
    if isinstance(wanted, list):
        kept_items = []
        for item in wanted:
            keyed = next(
                (
                    sub
                    for key, sub in fields.items()
                    if key.startswith("k:") and isinstance(item, dict) and _keyed(json.loads(key[2:]), item)
                ),
                None,
            )
            kept_items.append(_less(item, keyed) if keyed else item)
        return kept_items
    return wanted
