# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of all checks, and how objects are taken through it."""
from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .._engine.objects import group_version
from .._failure import Failure, InvalidOption
from .checks import admission, destinations, entries, gateway_api, gateways, matches, mtls, policies, routes, rules, security, telemetry, workloads
from .findings import ERROR, INFO, WARNING, Check, Finding
from .loader import Picture
from .object_index import World, annotations_of

CHECKS: tuple[Check, ...] = (
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
SEVERITIES = (ERROR, WARNING, INFO)
# fail_on -> severities at which a finding fails the play.
FAIL_ON: dict[str, tuple[str, ...]] = {"error": SEVERITIES[:1], "warning": SEVERITIES[:2], "info": SEVERITIES, "never": ()}
# As istioctl analyze has it: codes of its own, with a star for all.
SUPPRESS = "galley.istio.io/analyze-suppress"


def refuse(skip: Iterable[str]) -> None:
    """Raises InvalidOption for a code that is none."""
    for code in skip:
        if code not in BY_CODE:
            near = difflib.get_close_matches(code, BY_CODE, n=1)
            raise InvalidOption(
                "skip", f"{code} is not a check", hint=f"Did you mean {near[0]}?" if near else "docs/preflight.md lists all checks.", code="no_such_check"
            )


def analyzer_codes(check: Check) -> list[str]:
    """Codes of Istio's analyzers that a check says the same as."""
    return re.findall(r"IST\d{4}", check.source)


def run(picture: Picture, skip: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Rows of the result: first by severity, then in the table's order."""
    left_out = set(skip)
    return ranked([row(check, finding) for check in CHECKS if check.code not in left_out for finding in _found(check, picture.world, picture.before)])


def ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda one: SEVERITIES.index(one["severity"]))


def found(check: Check, world: World) -> list[Finding]:
    """Everything that a check finds, less what objects suppress."""
    return [finding for finding in check.judge(world) if not _suppressed(check, finding)]


def _found(check: Check, world: World, before: World | None) -> list[Finding]:
    """Findings on what is asked about, and those on other objects that were not there without it."""
    own = {_key(finding): finding for finding in found(check, world)}
    caused = {key for key, finding in own.items() if not world.asks(finding.ref)}
    known = {_key(finding) for finding in check.judge(before)} if caused and before is not None else caused
    return [finding for key, finding in own.items() if key not in caused or key not in known]


def _key(finding: Finding) -> tuple[Any, ...]:
    return finding.ref, finding.field, finding.message


def _suppressed(check: Check, finding: Finding) -> bool:
    said = {part.strip() for part in str(annotations_of(finding.obj).get(SUPPRESS) or "").split(",")}
    return "*" in said or bool(said & {check.code, *analyzer_codes(check)})


def row(check: Check, finding: Finding) -> dict[str, Any]:
    """A finding as data."""
    ref = finding.ref.as_result(group_version(finding.obj)[1])
    return {
        "code": check.code,
        "severity": check.severity,
        "ref": ref,
        "field": finding.field,
        "message": finding.message,
        "remedy": check.remedy,
        "source": check.source,
    }


def result(rows: list[dict[str, Any]], picture: Picture) -> dict[str, Any]:
    """All that the module tells."""
    counts = {f"{severity}s": sum(one["severity"] == severity for one in rows) for severity in SEVERITIES}
    checked = Counter(obj["kind"] for obj in picture.asked)
    return {"findings": rows, "counts": counts, "text": "\n".join(map(line, rows)), "checked": dict(sorted(checked.items())), "forbidden_kinds": picture.world.refused}


def line(told: dict[str, Any]) -> str:
    """A finding for people."""
    ref = told["ref"]
    place = f"{ref['namespace']}/{ref['name']}" if ref["namespace"] else ref["name"]
    return f"{told['severity']} {told['code']}: {ref['kind']} {place}, {told['field']}: {told['message']}. {told['remedy']}"


def failure(rows: list[dict[str, Any]], fail_on: str) -> Failure | None:
    """What ends the play: findings at these severities."""
    bad = [one for one in rows if one["severity"] in FAIL_ON[fail_on]]
    if not bad:
        return None
    codes = sorted({one["code"] for one in bad})
    message = "\n".join([f"{len(bad)} of {len(rows)} findings must be fixed:", *(f"- {line(one)}" for one in bad)])
    return Failure("preflight_failed", message, ref=bad[0]["ref"], reason=", ".join(codes))
