# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import math

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from ansible_collections.servicemesh.istio.plugins.module_utils._probe import probe_stats
from ansible_collections.servicemesh.istio.plugins.module_utils._probe.probe_stats import Outcome, ProbeStats


def poisson_bound(count):
    """The mean at which so few are seen in one of twenty cases, found the long way."""
    low, high = 0.0, 10.0 * count + 20
    while high - low > 1e-9:
        mean = (low + high) / 2
        few = sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))
        low, high = (mean, high) if few > 0.05 else (low, mean)
    return low


@pytest.mark.parametrize("lost", [1, 2, 5, 20, 100, 300])
def test_the_bound_is_that_of_a_poisson_count(lost):
    assert probe_stats.upper_bound(lost, 10**6) == pytest.approx(100 * poisson_bound(lost) / 10**6, rel=0.005)


def test_none_lost_says_no_more_than_three_of_n():
    assert probe_stats.upper_bound(0, 30000) == 0.01 and probe_stats.upper_bound(0, 3) == 100.0
    assert probe_stats.upper_bound(0, 0) == 100.0, "nothing sent says nothing"
    assert probe_stats.upper_bound(7, 7) == 100.0


def row_of(*events):
    """A tally of (time, outcome), each good unless it is lost."""
    tally = ProbeStats()
    for now, outcome in events:
        tally.note(outcome)
        if not outcome.lost(500):
            tally.good(now)
    return tally


EVENTS = [
    (1.0, Outcome(200, "v1")),
    (1.5, Outcome(503)),
    (3.0, Outcome(200, "v2")),
    (3.2, Outcome(cause="reset")),
    (4.0, Outcome(404)),
    (9.0, Outcome(200, "v1")),
    (9.5, Outcome(cause="reset")),
]


@pytest.mark.parametrize("cut", range(len(EVENTS) + 1))
def test_rows_add_up_to_what_they_are_the_rows_of_wherever_they_are_cut(cut):
    together = ProbeStats()
    for part in (EVENTS[:cut], EVENTS[cut:]):
        together.include(ProbeStats.of_row(json.loads(json.dumps(row_of(*part).as_row()))))
    assert probe_stats.stats_result(together, 500, 0.5, 10.0) == probe_stats.stats_result(
        row_of(*EVENTS), 500, 0.5, 10.0
    )


def test_a_window_has_shares_and_the_longest_time_without_a_good_answer():
    found = probe_stats.stats_result(row_of(*EVENTS), 500, 0.5, 10.0)
    assert (found["sent"], found["failures"], found["failure_percent"], found["errors"]) == (7, 3, 42.86, {"reset": 2})
    assert found["responses_by_version"] == {"v1": 2, "v2": 1} and found["percent_by_version"] == {
        "v1": 66.7,
        "v2": 33.3,
    }
    assert found["longest_gap"] == 5.0
    assert probe_stats.stats_result(row_of(*EVENTS), 404, 0.5, 10.0)["failures"] == 4


def test_the_edges_of_a_window_count_for_its_gap():
    assert probe_stats.stats_result(row_of((5.0, Outcome(200))), 500, 1.0, 6.0)["longest_gap"] == 4.0
    assert probe_stats.stats_result(row_of((5.0, Outcome(200))), 500, 4.0, 11.0)["longest_gap"] == 6.0
    assert probe_stats.stats_result(row_of((5.0, Outcome(503))), 500, 4.0, 11.0)["longest_gap"] == 7.0


def test_examples_are_the_first_ones():
    tally = ProbeStats()
    for number in range(4):
        tally.include(ProbeStats(examples=[{"number": 4 * number + one} for one in range(4)]))
    assert [example["number"] for example in tally.examples] == list(range(probe_stats.MOST_EXAMPLES))


@pytest.mark.parametrize(
    ("lost", "sent", "share", "least", "code"),
    [
        (0, 0, None, None, ""),
        (5, 10, None, None, ""),
        (0, 0, 0, None, "too_few_requests"),
        (0, 9, None, 10, "too_few_requests"),
        (1, 1000, 0.1, 10, ""),
        (1, 999, 0.1, 10, "too_many_failures"),
        (1, 10**6, 0, None, "too_many_failures"),
    ],
)
def test_a_gate_opens_on_enough_good_answers_only(lost, sent, share, least, code):
    found = {"sent": sent, "failures": lost, "failure_percent": 0.1, "examples": []}
    try:
        probe_stats.pass_gate(found, share, least)
        assert code == ""
    except Failure as failure:
        assert failure.code == code and failure.found is found
