# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module asked of the API in memory, held against the table of rights: a module that asks for more fails its own
tests.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

import yaml
from collection import ROOT

PATH = re.compile(
    r"^(?:/api/v1|/apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/[^/]+(?=/))?/(?P<plural>[^/?]+)(?:/(?P<name>[^/?]+))?(?:/(?P<sub>[a-z]+))?(?:\?dryRun)?$"
)
VERBS = {"WATCH": "watch", "PATCH": "patch", "DELETE": "delete"}
# Whatever kinds they are given.
ANY_KIND = {"manifests", "checkpoint"}
Right = tuple[str, str, str]


@functools.cache
def table() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "playbooks/vars/rbac.yml").read_text(encoding="utf-8"))
    return found


def verbs(row: dict[str, Any]) -> list[str]:
    named: list[str] = table()["rbac_verbs"][row["verbs"]] if isinstance(row["verbs"], str) else row["verbs"]
    return named


def asked(requests: Iterable[tuple[str, str]]) -> set[Right]:
    """(verb, group, resource) of requests; discovery, which everybody may, is none."""
    found = set()
    for method, path in requests:
        match = PATH.match(path)
        if method == "ASK":
            found.add(("create", "", "pods/portforward"))
        elif match:
            verb = VERBS.get(method, "get" if match["name"] else "list")
            found.add((verb, match["group"] or "", match["plural"] + (f"/{match['sub']}" if match["sub"] else "")))
    return found


def lacking(module: str, requests: Iterable[tuple[str, str]]) -> set[Right]:
    """What the module asked for beyond its rights."""
    if module in ANY_KIND:
        return set()
    rows = [row for row in table()["rbac_table"] if module in row["for"]]
    return {
        (verb, group, resource)
        for verb, group, resource in asked(requests)
        if not any(
            group in row["groups"]
            and (resource in row["resources"] or row["resources"] == ["*"])
            and verb in verbs(row)
            for row in rows
        )
    }
