# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read to judge a few objects is enough: the verdict is the one that everything would give."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from typing import Any

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import Object, Ref, ref_of
from ansible_collections.servicemesh.istio.plugins.module_utils._preflight import (
    check_dependencies,
    loader,
    registry,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._preflight import (
    plan_review as review,
)
from ansible_collections.servicemesh.istio.plugins.module_utils._preflight.object_index import (
    KINDS,
    WORKLOADS,
    World,
    kind_of,
)
from builders import config
from collection import ROOT

FILE = importlib.util.spec_from_file_location("cases_of_checks", ROOT / "tests/unit/preflight/test_cases.py")
assert FILE and FILE.loader
cases = importlib.util.module_from_spec(FILE)
FILE.loader.exec_module(cases)
BY_CODE = {code: one for one in check_dependencies.DEPENDENCIES for code in one.codes}


def base() -> list[Object]:
    """The sound mesh of the cases, with its configuration as istiod has it."""
    mesh = config("istio", "istio-system", mesh=yaml.safe_dump(cases.MESH))
    return [*cases.sound(), mesh]


def change_of(written: dict[str, Any]) -> review.PolicyDiff:
    """The change that lays a case over the sound mesh."""
    now = {ref_of(obj): obj for obj in cases.laid({key: value for key, value in written.items() if value is not None})}
    gone = {ref_of(obj) for obj in cases.laid({key: None for key, value in written.items() if value is None})}
    return review.PolicyDiff({ref_of(obj): obj for obj in base() if ref_of(obj) in {*now, *gone}}, now)


class Tracing(World):
    """A world that keeps which kinds it was asked for."""

    seen: set[str]

    def __getitem__(self, kind: str) -> list[Object]:
        self.seen.add(kind)
        return super().__getitem__(kind)

    def find(self, kind: str, space: str, wanted: str) -> Object | None:
        self.seen.add(kind)
        return super().find(kind, space, wanted)

    def knows(self, *kinds: str) -> bool:
        self.seen |= set(kinds)
        return super().knows(*kinds)


class Mesh(dict):  # type: ignore[type-arg]
    """A mesh configuration that keeps that it was asked for."""

    def __init__(self, values: Any, seen: set[str]) -> None:
        super().__init__(values)
        self.seen = seen

    def get(self, *arguments: Any) -> Any:
        self.seen.add("ConfigMap")
        return super().get(*arguments)


def test_every_check_has_its_scope_or_a_reason_to_be_left():
    scoped = [code for one in check_dependencies.DEPENDENCIES for code in one.codes]
    assert len(scoped) == len(set(scoped)) and not set(scoped) & set(check_dependencies.NOT_REVIEWED)
    assert {*scoped, *check_dependencies.NOT_REVIEWED} == set(registry.BY_CODE) and all(
        check_dependencies.NOT_REVIEWED.values()
    )
    assert all(
        (one.of | one.needs) <= set(KINDS) and set(one.when) <= one.of | one.needs
        for one in check_dependencies.DEPENDENCIES
    )


@pytest.mark.parametrize("part", ["fails", "passes"])
def test_no_check_looks_at_a_kind_that_its_scope_does_not_name(part):
    seen: dict[str, set[str]] = defaultdict(set)
    for case in cases.CASES.values():
        change = change_of(case[part])
        objects = [*(obj for obj in base() if ref_of(obj) not in change.was), *change.now.values()]
        for check in (
            registry.CHECKS
            if part == "fails"
            else [registry.BY_CODE[code] for code in cases.CASES if cases.CASES[code] is case]
        ):
            if check.code in BY_CODE:
                world = Tracing(objects, change.now.values(), True)
                world.seen = seen[check.code]
                world.mesh = Mesh(cases.MESH, world.seen)
                told = {kind_of(finding.obj) for finding in check.judge(world)}
                assert told <= BY_CODE[check.code].of, check.code
    for code, kinds in seen.items():
        # Workloads make pods that are to come, which no policy brings along.
        coming = set(WORKLOADS) if "Pod" in BY_CODE[code].needs else set()
        assert kinds <= BY_CODE[code].of | BY_CODE[code].needs | coming, code


def verdict(
    monkeypatch: pytest.MonkeyPatch, change: review.PolicyDiff, everything: bool, live_now: list[Object] | None = None
) -> list[tuple[str, Ref, str, str]]:
    """What is new: errors anywhere, all else on what is written."""

    def some(_cluster: Any, kinds: Any, _root: str) -> tuple[list[Object], dict[str, str]]:
        return [obj for obj in live_now or base() if kind_of(obj) in kinds], {}

    everywhere = check_dependencies.ReviewScope({code: frozenset(KINDS) for code in BY_CODE}, frozenset(KINDS))
    with monkeypatch.context() as patch:
        patch.setattr(loader, "load_kinds", some)
        if everything:
            patch.setattr(check_dependencies, "review_scope", lambda _written, _severities: everywhere)
        _rows, new, _unread = review.review_diff(None, change)  # type: ignore[arg-type]
    found = []
    for row in new:
        ref = Ref(row["ref"]["group"], row["ref"]["kind"], row["ref"]["namespace"], row["ref"]["name"])
        if row["severity"] == "error" or ref in change.now:
            found.append((row["code"], ref, row["field"], row["message"]))
    return found


@pytest.mark.parametrize("part", ["fails", "passes"])
@pytest.mark.parametrize("code", cases.CASES)
def test_few_lists_say_what_all_of_them_would(monkeypatch, code, part):
    change = change_of(cases.CASES[code][part])
    assert verdict(monkeypatch, change, everything=False) == verdict(monkeypatch, change, everything=True)
    for ref in {**change.was, **change.now} if len({**change.was, **change.now}) > 1 else ():
        # The last of several comes to the others, or goes from them.
        others = [
            *(obj for obj in base() if ref_of(obj) not in change.was or ref_of(obj) == ref),
            *(obj for other, obj in change.now.items() if other != ref),
        ]
        one = review.PolicyDiff(
            *({key: obj for key, obj in part.items() if key == ref} for part in (change.was, change.now))
        )
        assert verdict(monkeypatch, one, False, others) == verdict(monkeypatch, one, True, others), ref


@pytest.mark.parametrize(
    "code", [code for code in cases.CASES if code in BY_CODE and registry.BY_CODE[code].severity == "error"]
)
def test_every_error_that_comes_of_a_change_is_found(monkeypatch, code):
    assert code in {row[0] for row in verdict(monkeypatch, change_of(cases.CASES[code]["fails"]), everything=False)}
