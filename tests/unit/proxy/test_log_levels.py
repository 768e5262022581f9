# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Envoy's words on its log, and what is to be set of it."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import Ref
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import log_levels
from builders import pod

ONE, TWO = Ref("", "Pod", "shop", "one"), Ref("", "Pod", "shop", "two")
# As Envoy 1.40 writes it.
TEXT = "active loggers:\n  admin: warning\n  conn_handler: warning\n  misc: error\n  ai_protocol_manager: off\n\n"
REFUSED = (
    "error: unknown logger name\nusage: /logging?<name>=<level> (change single level)\nlevels: trace debug info warning"
    " error critical off \n"
)


def test_envoys_answer_is_read():
    assert log_levels.parse_answer(TEXT) == {
        "admin": "warning",
        "conn_handler": "warning",
        "misc": "error",
        "ai_protocol_manager": "off",
    }
    assert log_levels.parse_answer(REFUSED) == log_levels.parse_answer("") == {}


@pytest.mark.parametrize(
    ("levels", "found"),
    [({"http": "debug"}, {"http": "debug"}), ({"all": False}, {"all": "off"}), ({1: "info"}, {"1": "info"})],
)
def test_an_option_is_read_as_yaml_gives_it(levels, found):
    assert log_levels.parse_levels(levels) == found


@pytest.mark.parametrize(
    ("levels", "code"), [({}, "invalid_option"), ({"http": "warn"}, "unknown_level"), ({"http": True}, "unknown_level")]
)
def test_what_is_no_level_is_refused(levels, code):
    with pytest.raises(InvalidOption) as refused:
        log_levels.parse_levels(levels)
    assert refused.value.code == code and "levels" in refused.value.message


def test_only_what_differs_is_planned_and_a_loggers_own_level_goes_before_all():
    live = {
        ONE: {"http": "warning", "misc": "error", "router": "debug"},
        TWO: {"http": "debug", "misc": "error", "router": "debug"},
    }
    one, two = log_levels.plan_levels(live, {"all": "debug", "misc": "error"})
    assert (one.action, one.before, one.after) == ("configured", {"http": "warning"}, {"http": "debug"})
    assert (two.action, two.before, two.after) == ("unchanged", {}, {})
    assert log_levels.levels_result([two]) == {
        "changed": False,
        "diff": [],
        "proxies": [
            {"namespace": "shop", "pod": "two", "action": "unchanged", "before": {}, "after": {}, "message": ""}
        ],
    }


@pytest.mark.parametrize(("name", "hint"), [("htpt", "Did you mean http?"), ("zzzz", "Use one of http, misc.")])
def test_a_logger_that_one_proxy_lacks_is_refused_with_its_pod(name, hint):
    with pytest.raises(InvalidOption) as refused:
        log_levels.plan_levels(
            {ONE: {"http": "info", "misc": "error", name: "info"}, TWO: {"http": "info", "misc": "error"}},
            {name: "debug"},
        )
    assert (refused.value.code, refused.value.hint) == ("unknown_logger", hint) and refused.value.ref["name"] == "two"


def test_pods_are_chosen_that_run_with_a_proxy():
    ended, leaving = pod("ended", phase="Succeeded"), pod("leaving", sidecar="native")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pods = [pod("one", sidecar="native"), pod("two", sidecar="container", conditions=[]), ended, leaving]
    assert log_levels.select_proxies(pods, "in shop") == ([ONE, TWO], [])
    found, refused = log_levels.select_proxies(
        [*pods, pod("bare"), pod("late", sidecar="native", phase="Pending")], "in shop"
    )
    assert found == [ONE, TWO] and [(one.code, one.ref["name"]) for one in refused] == [
        ("no_proxy", "bare"),
        ("not_running", "late"),
    ]
    found, [nobody] = log_levels.select_proxies([ended, leaving], "in shop with app=web")
    assert not found and nobody.code == "no_pods" and "in shop with app=web" in nobody.message
