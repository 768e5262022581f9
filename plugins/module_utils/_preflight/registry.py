# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of all checks, and how objects are taken through it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .._checks.check import (
    Check,
    FieldFinding,
    Row,
    Severity,
    at_severities,
    check_row,
    checks_failure,
    count_by_severity,
)
from .._engine.objects import group_version
from .._failure import Failure
from .checks import (
    admission,
    destinations,
    entries,
    gateway_api,
    gateways,
    matches,
    mtls,
    policies,
    routes,
    rules,
    security,
    telemetry,
    workloads,
)
from .findings import Judge
from .loader import Picture
from .object_index import World, annotations_of

CHECKS: tuple[Check[Judge], ...] = (
    *admission.CHECKS,
    *routes.CHECKS,
    *matches.CHECKS,
    *destinations.CHECKS,
    *rules.CHECKS,
    *gateways.CHECKS,
    *entries.CHECKS,
    *security.CHECKS,
    *mtls.CHECKS,
    *policies.CHECKS,
    *telemetry.CHECKS,
    *workloads.CHECKS,
    *gateway_api.CHECKS,
)
BY_CODE = {check.code: check for check in CHECKS}
SEVERITIES = tuple(Severity)
# As istioctl analyze has it: codes of its own, with a star for all.
SUPPRESS = "galley.istio.io/analyze-suppress"


def analyzer_codes(check: Check[Judge]) -> list[str]:
    """Codes of Istio's analyzers that a check says the same as."""
    return re.findall(r"IST\d{4}", check.source)


def run_checks(picture: Picture, skip: Iterable[str] = ()) -> list[Row]:
    """Rows of the result: first by severity, then in the table's order."""
    left_out = set(skip)
    return by_severity(
        [
            finding_row(check, finding)
            for check in CHECKS
            if check.code not in left_out
            for finding in _new_findings(check, picture.world, picture.before)
        ]
    )


def by_severity(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda one: SEVERITIES.index(one["severity"]))


def findings_of(check: Check[Judge], world: World) -> list[FieldFinding]:
    """Everything that a check finds, less what objects suppress."""
    return [finding for finding in check.judge(world) if not _suppressed(check, finding)]


def _new_findings(check: Check[Judge], world: World, before: World | None) -> list[FieldFinding]:
    """Findings on what is asked about, and those on other objects that were not there without it."""
    own = {_key(finding): finding for finding in findings_of(check, world)}
    caused = {key for key, finding in own.items() if not world.asks(finding.ref)}
    known = {_key(finding) for finding in check.judge(before)} if caused and before is not None else caused
    return [finding for key, finding in own.items() if key not in caused or key not in known]


def _key(finding: FieldFinding) -> tuple[Any, ...]:
    return finding.ref, finding.field, finding.message


def _suppressed(check: Check[Judge], finding: FieldFinding) -> bool:
    said = {part.strip() for part in str(annotations_of(finding.obj).get(SUPPRESS) or "").split(",")}
    return "*" in said or bool(said & {check.code, *analyzer_codes(check)})


def finding_row(check: Check[Judge], finding: FieldFinding) -> Row:
    """A finding as data."""
    ref = finding.ref.as_result(group_version(finding.obj)[1])
    return check_row(check, ref=ref, field=finding.field, message=finding.message, source=check.source)


def preflight_result(rows: list[Row], picture: Picture) -> dict[str, Any]:
    """The result of the module preflight."""
    checked = Counter(obj["kind"] for obj in picture.asked)
    text = "\n".join(map(finding_text, rows))
    counts, forbidden = count_by_severity(rows), picture.world.refused
    return {
        "findings": rows,
        "counts": counts,
        "text": text,
        "checked": dict(sorted(checked.items())),
        "forbidden_kinds": forbidden,
    }


def finding_text(told: dict[str, Any]) -> str:
    """A finding for people."""
    ref = told["ref"]
    place = f"{ref['namespace']}/{ref['name']}" if ref["namespace"] else ref["name"]
    return (
        f"{told['severity']} {told['code']}: {ref['kind']} {place}, {told['field']}: {told['message']}."
        f" {told['remedy']}"
    )


def failure_of_findings(rows: list[Row], fail_on: str) -> Failure | None:
    """The failure of a task with findings at these severities."""
    bad = at_severities(rows, fail_on)
    if not bad:
        return None
    codes = sorted({row["code"] for row in bad})
    return checks_failure(
        "preflight_failed",
        f"{len(bad)} of {len(rows)} findings must be fixed",
        map(finding_text, bad),
        codes,
        bad[0]["ref"],
    )
