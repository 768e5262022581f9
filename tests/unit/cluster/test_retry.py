# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking again: where it is safe, as long as there is patience, and not at a wrong address."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.retry import (
    LONGEST_PAUSE,
    RetryingApi,
    repeatable,
)

WEBHOOK = ApiError(500, "InternalError", 'failed calling webhook "x": connection refused')
BUSY = ApiError(503, "ServiceUnavailable", "busy")
BROKEN = ApiError(0, "Unreachable", "connection reset")


class Clock:
    def __init__(self):
        self.now, self.pauses = 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


class Answers:
    """An Api that gives these answers one after the other, and the last one for ever."""

    name, server = "c", "https://server.invalid"

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), []

    def request(self, *call):
        self.calls.append(call)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ApiError):
            raise answer
        return answer


def retrying(*answers, patience=60.0):
    api, clock = Answers(*answers), Clock()
    return RetryingApi(api, patience, clock), api, clock


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (BROKEN, True),
        (ApiError(429, "TooManyRequests", ""), True),
        (BUSY, True),
        (ApiError(504, "Timeout", ""), True),
        (WEBHOOK, True),
        (ApiError(500, "InternalError", "etcd"), False),
        (ApiError(404, "NotFound", ""), False),
        (ApiError(409, "Conflict", ""), False),
        (ApiError(403, "Forbidden", ""), False),
        (ApiError(422, "Invalid", ""), False),
    ],
)
def test_only_what_may_pass_is_repeated(error, again):
    assert repeatable(error) is again


def test_an_answer_comes_in_the_end():
    api, asked, clock = retrying(BUSY, BUSY, WEBHOOK, {"ok": True})
    assert api.request("PATCH", "/x", {"a": "b"}, {"c": 1}, "type", "accept") == {"ok": True}
    assert asked.calls == [("PATCH", "/x", {"a": "b"}, {"c": 1}, "type", "accept")] * 4 and api.retries == 3
    assert clock.pauses == sorted(clock.pauses), "each pause is longer than the one before"


def test_the_servers_own_word_on_when_to_come_again_is_kept():
    api, _asked, clock = retrying(ApiError(429, "TooManyRequests", "", retry_after=7.0), {"ok": True})
    api.request("GET", "/x")
    assert clock.pauses == [7.0]


def test_pauses_end_with_patience_and_the_last_refusal_is_told():
    api, asked, clock = retrying({"ok": True}, BUSY, patience=20.0)
    api.request("GET", "/first")
    with pytest.raises(ApiError) as refused:
        api.request("GET", "/x")
    assert refused.value is BUSY and clock.now <= 20.0 and len(asked.calls) > 4
    assert max(clock.pauses) <= LONGEST_PAUSE * 1.25


def test_a_pause_that_is_longer_than_patience_is_not_begun():
    api, asked, clock = retrying(ApiError(429, "TooManyRequests", "", retry_after=61.0), patience=60.0)
    with pytest.raises(ApiError):
        api.request("GET", "/x")
    assert clock.pauses == [] and len(asked.calls) == 1


def test_an_address_that_never_answered_is_given_up_after_two_tries():
    api, asked, _clock = retrying(BROKEN)
    with pytest.raises(ApiError) as refused:
        api.request("GET", "/x")
    assert refused.value is BROKEN and len(asked.calls) == 2


@pytest.mark.parametrize("first", [{"ok": True}, ApiError(404, "NotFound", ""), ApiError(401, "Unauthorized", "")])
def test_a_server_that_has_answered_once_gets_all_patience(first):
    api, asked, _clock = retrying(first, BROKEN, BROKEN, BROKEN, BROKEN, {"ok": True})
    if isinstance(first, ApiError):
        with pytest.raises(ApiError):
            api.request("GET", "/first")
    else:
        api.request("GET", "/first")
    assert api.request("GET", "/x") == {"ok": True} and len(asked.calls) == 6


def test_an_answer_of_the_server_is_told_at_once():
    api, asked, clock = retrying(ApiError(403, "Forbidden", "no"))
    with pytest.raises(ApiError):
        api.request("GET", "/x")
    assert len(asked.calls) == 1 and clock.pauses == []


FORBIDDEN = ApiError(403, "Forbidden", 'User "admin" cannot patch')


def test_a_server_that_came_back_a_moment_ago_forbids_what_it_will_allow():
    api, inner, _clock = retrying("first", BROKEN, FORBIDDEN, FORBIDDEN, "done")
    assert [api.request("GET", "/a"), api.request("GET", "/a")] == ["first", "done"] and len(inner.calls) == 5


def test_a_refusal_without_a_cause_or_long_after_it_is_one():
    ending = ApiError(403, "Forbidden", "is being terminated", {"causes": [{"reason": "NamespaceTerminating"}]})
    for answers in ((FORBIDDEN,), ("first", BROKEN, ending)):
        api, _inner, _clock = retrying(*answers)
        with pytest.raises(ApiError) as refused:
            for _answer in answers:
                api.request("GET", "/a")
        assert refused.value.status == 403
    api, _inner, clock = retrying("first", BROKEN, "second", FORBIDDEN)
    api.request("GET", "/a"), api.request("GET", "/a")
    clock.now += 31
    before = len(clock.pauses)
    with pytest.raises(ApiError):
        api.request("GET", "/a")
    assert len(clock.pauses) == before


def test_a_watch_that_breaks_says_that_the_server_was_away():
    class Watched(Answers):
        def watch(self, *_call):
            yield {"type": "ADDED"}
            raise BROKEN

    inner, clock = Watched(FORBIDDEN, "done"), Clock()
    api = RetryingApi(inner, 60.0, clock)
    with pytest.raises(ApiError):
        list(api.watch("/a", {}, 1.0))
    assert api.request("GET", "/a") == "done"
