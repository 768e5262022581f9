# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which anything here fails: a stable code, the object, the reason and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

Value = TypeVar("Value")


class Failure(Exception):
    """`code` is a stable word that users and tests may rely on; `message` is for people.

    ref     {group, version, kind, namespace, name} of the object, or None
    reason  the cause in the server's or program's own words
    hint    what the user can do
    found   results that are handed back all the same
    """

    def __init__(
        self,
        code: str,
        message: str,
        ref: dict[str, Any] | None = None,
        reason: str = "",
        hint: str = "",
        found: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.ref = ref
        self.reason = reason
        self.hint = hint
        self.found = found or {}

    def as_result(self) -> dict[str, Any]:
        return {"code": self.code, "ref": self.ref, "reason": self.reason, "hint": self.hint}


class InvalidOption(Failure):
    """An option that cannot be meant. Raised before anything is changed."""

    def __init__(
        self, option: str, message: str, ref: dict[str, Any] | None = None, hint: str = "", code: str = "invalid_option"
    ) -> None:
        super().__init__(code, f"{option}: {message}", ref=ref, hint=hint)
        self.option = option


def not_none(value: Value | None) -> Value:
    """A value that is not None here. Raises AssertionError where it is: a mistake of this collection's own."""
    if value is None:
        raise AssertionError("this is never None here")
    return value


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint with the known word that is nearest to this one, or else the other text."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else otherwise
