# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide shows the table of checks."""

from __future__ import annotations

import re

from ansible_collections.servicemesh.istio.plugins.module_utils._preflight import registry
from collection import ROOT

DOCUMENT = (ROOT / "docs/preflight.md").read_text(encoding="utf-8")


def rows() -> list[str]:
    return [
        f"| `{check.code}` | {check.severity} | {check.fails} | {check.remedy} | {check.source} |"
        for check in registry.CHECKS
    ]


def test_the_document_is_the_table():
    assert re.findall(r"^\| `.*$", DOCUMENT, re.MULTILINE) == rows()
    assert f"through {len(registry.CHECKS)} checks" in DOCUMENT


def test_codes_that_mesh_check_has_too_are_of_the_same_rule():
    mesh = dict(
        re.findall(r"^\| `(\w+)` .*\| ([^|]+) \|$", (ROOT / "docs/checks.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    shared = {check.code: check for check in registry.CHECKS if check.code in mesh}
    assert {"subset_undefined", "virtual_service_no_host", "namespace_several_labels"} <= set(shared)
    for code, check in shared.items():
        theirs = set(re.findall(r"IST\d{4}", mesh[code]))
        assert not theirs or theirs <= set(registry.analyzer_codes(check)), code
