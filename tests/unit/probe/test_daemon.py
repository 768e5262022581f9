# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that stays: found by name, alone with its files, ended by its id and by no other's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from ansible_collections.servicemesh.istio.plugins.module_utils._probe import daemon

PLACE = daemon.ProcessPlace("tests", "one.of-them")
pytestmark = pytest.mark.usefixtures("processes")


def nothing():
    """Needs no preparation."""


def forever():
    time.sleep(600)


def test_it_is_found_again_as_long_as_it_lives_and_afterwards_with_what_was_said_of_it():
    assert daemon.find_process(PLACE) is None
    started = daemon.start_process(PLACE, {"port": 1}, nothing, forever)
    assert daemon.find_process(PLACE) == started and started.alive and started.about == {"port": 1}
    daemon.stop_process(started, 60)
    assert daemon.find_process(PLACE) == started and not started.alive


def test_it_has_a_session_of_its_own_and_no_file_of_its_caller():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        started = daemon.start_process(PLACE, {}, nothing, forever)
    assert os.getsid(started.pid) != os.getsid(0)
    leads_to = {os.readlink(f"/proc/{started.pid}/fd/{name}") for name in os.listdir(f"/proc/{started.pid}/fd")}
    assert leads_to == {os.devnull}
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0, "nobody listens any more"


def test_a_file_that_is_kept_stays_open():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        daemon.start_process(PLACE, {}, nothing, forever, frozenset({listener.fileno()}))
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) == 0


def test_its_files_are_its_owners_alone(processes):
    PLACE.folder.mkdir(parents=True, mode=0o755)
    daemon.start_process(PLACE, {}, nothing, forever)
    assert PLACE.folder.stat().st_mode & 0o777 == 0o700 and PLACE.record.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_prepared_is_told_and_leaves_nothing():
    def refuse():
        raise OSError("no room")

    with pytest.raises(Failure) as failed:
        daemon.start_process(PLACE, {}, refuse, forever)
    assert (
        failed.value.code == "not_started" and "no room" in failed.value.message and daemon.find_process(PLACE) is None
    )


def test_one_that_does_not_heed_is_ended_by_force():
    started = daemon.start_process(PLACE, {}, lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), forever)
    daemon.stop_process(started, 0.5)
    assert not started.alive


def test_a_process_that_is_not_ours_is_never_ended():
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as stranger:
        PLACE.folder.mkdir(parents=True)
        PLACE.record.write_text(json.dumps({"pid": stranger.pid, "born": "1", "about": {}}))
        found = daemon.find_process(PLACE)
        assert not found.alive
        daemon.stop_process(found, 1)
        assert stranger.poll() is None
        stranger.stdin.close()


def test_one_that_has_ended_and_is_not_yet_buried_is_not_alive():
    child = os.fork()
    if child == 0:
        os._exit(0)
    born = daemon._birth(os.getpid())
    while daemon._birth(child) is not None:
        time.sleep(0.01)
    assert born is not None and os.path.exists(f"/proc/{child}")
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"pid": "x", "born": "1", "about": {}}', '{"pid": 1, "born": "1", "about": 3}']
)
def test_a_record_that_is_no_good_is_none(text):
    PLACE.folder.mkdir(parents=True)
    PLACE.record.write_text(text)
    assert daemon.find_process(PLACE) is None


def test_two_calls_do_not_start_or_end_the_same_one_at_once():
    order, inside, leave = [], threading.Event(), threading.Event()

    def first():
        with daemon.exclusive_access(PLACE):
            inside.set()
            leave.wait(60)
            order.append("first")

    def second():
        with daemon.exclusive_access(PLACE):
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    inside.wait(60)
    threads[1].start()
    with daemon.exclusive_access(daemon.ProcessPlace("tests", "another")):
        assert order == []
    leave.set()
    for thread in threads:
        thread.join(60)
    assert order == ["first", "second"]
