# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._probe import gateway_access, open_loop
from ansible_collections.servicemesh.istio.plugins.module_utils._probe.open_loop import OpenLoop, ProbeRate
from ansible_collections.servicemesh.istio.plugins.module_utils._probe.probe import Connection, Probe
from ansible_collections.servicemesh.istio.plugins.module_utils._probe.probe_stats import ProbeStats

WHOLE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture
def loops():
    """loops(pace, probe, connect) -> the rows, once all is over."""
    running = []

    def start(pace, probe, connect, url="http://127.0.0.1"):
        rows = []
        loop = OpenLoop(probe, pace, "run", gateway_access.route_by_gateway(url, 5).authority, connect, rows.append)
        thread = threading.Thread(target=loop.run, daemon=True)
        thread.start()
        running.append((loop, thread))
        return loop, thread, rows

    yield start
    for loop, thread in running:
        loop.stop()
        thread.join(120)
        assert not thread.is_alive()


def total(rows):
    tally = ProbeStats()
    for row in rows:
        tally.include(ProbeStats.of_row(row))
    return tally


def test_an_answer_that_comes_in_drops_is_a_timeout_and_holds_nobody_up(loops):
    """Each drop comes in time for a socket's own timeout."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        for say in itertools.chain([drip], itertools.repeat(answer)):
            try:
                client, _address = server.accept()
            except OSError:
                return
            threading.Thread(target=say, args=(client,), daemon=True).start()

    def drip(client):
        with client, contextlib.suppress(OSError):
            client.sendall(HEAD)
            while True:
                client.sendall(b"x")
                time.sleep(0.05)

    def answer(client):
        with client, contextlib.suppress(OSError):
            client.sendall(WHOLE)
            client.recv(1000)

    threading.Thread(target=serve, daemon=True).start()
    place = server.getsockname()
    loop, thread, rows = loops(
        ProbeRate(rate=2, parallel=1, max_duration=10), Probe(timeout=1), lambda: socket.create_connection(place)
    )
    thread.join(120)
    server.close()
    assert total(rows).errors["timeout"] == 1 and total(rows).codes["200"] > 0 and rows[-1]["ended"] == "max_duration"


def test_a_connection_that_takes_for_ever_is_closed_in_the_books(loops):
    release = threading.Event()

    def connect():
        release.wait(120)
        raise OSError("at last")

    loop, thread, rows = loops(ProbeRate(rate=3, parallel=2, max_duration=1), Probe(timeout=1), connect)
    thread.join(120)
    assert total(rows).errors == {"connect": 2, "not_sent": 1} and rows[-1]["through"] == rows[-1]["due"] == 3
    release.set()


def test_a_name_that_does_not_resolve_is_told_from_a_connection_that_fails(loops):
    def connect():
        raise socket.gaierror("no such name")

    loop, thread, rows = loops(ProbeRate(rate=5, parallel=2, max_duration=1), Probe(timeout=5), connect)
    thread.join(120)
    assert total(rows).errors == {"name": 5}


def test_what_is_no_http_is_told(loops):
    open_ends = []

    def connect():
        near, far = socket.socketpair()
        far.sendall(b"SSH-2.0-OpenSSH\r\n")
        open_ends.append(far)
        return near

    loop, thread, rows = loops(ProbeRate(rate=5, parallel=2, max_duration=1), Probe(timeout=5), connect)
    thread.join(120)
    assert total(rows).errors == {"protocol": 5}


def test_a_request_that_finds_all_senders_busy_is_late():
    release = threading.Event()

    def connect():
        release.wait(120)
        raise OSError("at last")

    loop = OpenLoop(Probe(), ProbeRate(parallel=1), "run", "h", connect, lambda row: None)
    loop._begin(1, time.monotonic())
    loop._begin(2, time.monotonic())
    assert loop._open[2].late
    release.set()


def test_the_first_outcome_of_a_request_counts():
    loop = OpenLoop(Probe(), ProbeRate(), "run", "h", lambda: None, lambda row: None)
    request = loop._open[1] = open_loop.Request(1, 0.0, False)
    assert loop._settle(request, open_loop.Outcome(200)) and not loop._settle(
        request, open_loop.Outcome(cause="timeout")
    )
    assert loop._row()["codes"] == {"200": 1} and "codes" not in loop._row()


def test_a_row_says_through_which_number_all_have_their_outcome():
    loop = OpenLoop(Probe(), ProbeRate(), "run", "h", lambda: None, lambda row: None)
    loop._due = 3
    loop._open = {number: open_loop.Request(number, 0.0, False) for number in (1, 2, 3)}
    requests = list(loop._open.values())
    assert loop._row()["through"] == 0
    loop._settle(requests[1], open_loop.Outcome(200))
    assert loop._row()["through"] == 0
    loop._settle(requests[0], open_loop.Outcome(200))
    assert loop._row()["through"] == 2
    loop._settle(requests[2], open_loop.Outcome(200))
    assert loop._row()["through"] == 3


def test_kept_connections_are_kept_also_while_more_than_that_are_in_use():
    loop = OpenLoop(Probe(), ProbeRate(rate=1), "run", "h", lambda: None, lambda row: None)
    pairs = [socket.socketpair() for _number in range(3)]
    first, second, _third = [Connection("h", near) for near, _far in pairs]
    loop._hold(3)
    loop._give_back(first)
    loop._give_back(second)
    assert loop._take() is first and second.sock is None and loop._held == 2
    for near, far in pairs:
        near.close()
        far.close()


def test_half_are_fresh_one_of_each_pair_and_no_round_robin_falls_in_step():
    fresh = [open_loop.on_fresh(number) for number in range(4096)]
    assert all(one != other for one, other in zip(fresh[::2], fresh[1::2]))
    for pods in range(2, 33):
        for first in range(pods):
            share = fresh[first::pods]
            assert 0.4 < sum(share) / len(share) < 0.6, f"pod {first} of {pods} is asked on both kinds alike"


@pytest.mark.parametrize(("rate", "timeout", "parallel"), [(20, 10, 200), (1, 1, 1), (500, 10, 256)])
def test_there_are_enough_senders_for_when_nothing_is_answered(rate, timeout, parallel):
    assert open_loop.enough_clients(rate, timeout) == parallel <= open_loop.MOST_PARALLEL
