# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes in the background: real processes, which ask a real server."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._probe import background_probe, daemon
from ansible_collections.servicemesh.istio.plugins.modules import probe as module
from builders import pod, service
from fake_gateway import HANG_UP, LEAVE, RESET

pytestmark = pytest.mark.usefixtures("processes")
# Requests in flight when something is awaited here, at most.
PATIENCE = 120
FAST = {"rate": 100, "timeout": 20}


def eventually(look):
    """What `look` gives, once it gives something."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("still nothing")


def process(name="upgrade"):
    return daemon.find_process(background_probe.process_place(name))


@pytest.fixture
def probe(run, gateway):
    """probe(state, check=False, **options) of a probe that asks the gateway's server by its URL."""

    def call(state, check=False, **options):
        asked = {"url": gateway.url, **FAST, **options} if state == "started" else options
        return run("probe", check=check, **{"name": "upgrade", **asked}, state=state)

    return call


def good(result):
    assert "failed" not in result, result.get("msg")
    return result


def test_every_request_is_numbered_sent_once_and_counted(probe, gateway):
    started = good(probe("started", versions={"v2": "v2", "v1": "."}))
    assert started["changed"] and started["target"] == gateway.url and started["ended"] == "" and started["started"]
    eventually(lambda: len(gateway.seen) >= 150)
    done = good(probe("stopped"))
    assert sorted(gateway.numbers) == list(range(1, done["sent"] + 1)), "each number once"
    assert len({headers["X-Probe-Run"] for _path, headers in gateway.seen}) == 1
    assert (done["changed"], done["failures"], done["failure_percent"], done["errors"], done["examples"]) == (
        True,
        0,
        0.0,
        {},
        [],
    )
    assert (
        done["codes"] == {"200": done["sent"]}
        and done["responses_by_version"]["v1"] + done["responses_by_version"]["v2"] == done["sent"]
    )
    assert done["upper_bound"] == float(f"{300 / done['sent']:.3g}"), "none lost of n says no more than 3/n"
    assert done["longest_gap"] > 0 and done["ended"] == "stopped"


def test_half_of_the_requests_have_a_connection_of_their_own_and_half_share_kept_ones(probe, gateway):
    probe("started")
    eventually(lambda: len(gateway.seen) >= 150)
    done = good(probe("stopped"))
    on = Counter(address for _number, address in gateway.wires)
    alone = sum(1 for _number, headers in gateway.seen if headers.get("Connection") == "close")
    assert abs(alone - done["sent"] / 2) <= 1
    assert done["connections"]["kept"] == done["sent"] - len(on) > 0 and done["connections"]["fresh"] == len(on)
    assert sum(1 for number in on.values() if number == 1) >= alone and max(on.values()) > 2


def test_errors_are_counted_apart_and_told_by_number(probe, gateway):
    release = threading.Event()
    bad = {3: (503, "v1"), 5: (404, "v1"), 7: RESET, 8: HANG_UP, 10: (500, "v1"), 11: release}

    def say(number):
        answer = bad.get(number, (200, "v1"))
        return (200, str(answer.wait(PATIENCE))) if answer is release else answer

    gateway.say = say
    probe("started", timeout=5)
    eventually(lambda: max(gateway.numbers, default=0) >= 30)
    done = good(probe("stopped"))
    release.set()
    assert done["codes"] == {"200": done["sent"] - 6, "404": 1, "500": 1, "503": 1} and done["errors"] == {
        "reset": 2,
        "timeout": 1,
    }
    assert done["failures"] == 5 and done["failure_percent"] == float(f"{500 / done['sent']:.4g}") < done["upper_bound"]
    assert sorted((row["number"], row["cause"]) for row in done["examples"]) == [
        (3, "503"),
        (7, "reset"),
        (8, "reset"),
        (10, "500"),
        (11, "timeout"),
    ]
    assert all(row["time"].startswith("20") and row["connection"] in ("fresh", "kept") for row in done["examples"])
    assert sorted(gateway.numbers) == list(range(1, done["sent"] + 1)), "nothing was sent again"


def test_a_status_from_which_on_an_answer_is_lost_may_be_named(probe, gateway):
    gateway.say = lambda number: (404, "") if number == 2 else (200, "")
    probe("started", min_failure_status=404)
    eventually(lambda: len(gateway.seen) >= 10)
    assert good(probe("stopped"))["failures"] == 1


def test_a_server_that_is_not_there_is_a_cause_of_its_own(probe, gateway):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        probe("started", url=f"http://127.0.0.1:{closed.getsockname()[1]}")
        first = eventually(lambda: probe("checked")["sent"])
        done = good(probe("stopped"))
    assert done["errors"] == {"connect": done["sent"]} and done["sent"] >= first > 0
    assert (done["failure_percent"], done["upper_bound"], done["codes"], done["connections"]) == (
        100.0,
        100.0,
        {},
        {"fresh": 0, "kept": 0},
    )
    assert len({row["number"] for row in done["examples"]}) == 10 and done["longest_gap"] > 0


def test_a_server_may_close_a_connection_that_rests(probe, gateway):
    gateway.say = lambda _number: LEAVE
    probe("started", rate=20)
    eventually(lambda: len(gateway.seen) >= 40)
    done = good(probe("stopped"))
    assert done["failures"] == 0 and done["connections"] == {"fresh": done["sent"], "kept": 0}


def test_the_clock_goes_on_while_nothing_is_answered(probe, gateway):
    release = threading.Event()
    gateway.say = lambda number: (200, str(release.wait(PATIENCE))) if number <= 2 else (200, "")
    probe("started", parallel=1, timeout=2)
    read = eventually(lambda: (found := probe("checked"))["codes"].get("200") and found)
    done = good(probe("stopped"))
    release.set()
    assert (
        read["errors"]["timeout"] == done["errors"]["timeout"] >= 1 and done["late"] >= done["errors"]["not_sent"] > 0
    )
    assert done["sent"] == sum(done["errors"].values()) + sum(done["codes"].values())
    assert len(gateway.numbers) == done["sent"] - done["errors"]["not_sent"], "what was not sent in time never is"


def test_a_reading_counts_what_came_after_an_earlier_one(probe, gateway):
    started = probe("started")
    eventually(lambda: len(gateway.seen) >= 50)
    before = good(probe("checked", since=started["token"]))
    gateway.say = lambda _number: (503, "")
    count = len(gateway.seen)
    eventually(lambda: len(gateway.seen) >= count + 50)
    during = good(probe("checked", since=before["token"]))
    gateway.say = lambda _number: (200, "")
    count = len(gateway.seen)
    eventually(lambda: len(gateway.seen) >= count + 50)
    after = good(probe("stopped", since=during["token"]))
    whole = good(probe("checked"))
    assert (
        before["changed"] is False
        and before["failures"] == 0
        and during["codes"]["503"] >= 50
        and after["codes"]["200"] >= 50
    )
    for key in ("sent", "failures", "late"):
        assert before[key] + during[key] + after[key] == whole[key] == probe("stopped")[key], key
    assert Counter(before["codes"]) + Counter(during["codes"]) + Counter(after["codes"]) == Counter(whole["codes"])
    assert whole["longest_gap"] >= before["longest_gap"] and sorted(gateway.numbers) == list(
        range(1, whole["sent"] + 1)
    )
    assert during["examples"][0]["number"] > before["sent"] / 2 and whole["examples"] == during["examples"]


def test_a_reading_waits_for_what_was_due_when_it_began(probe, gateway):
    release = threading.Event()
    gateway.say = lambda number: (200, str(release.wait(PATIENCE)))
    probe("started", rate=10, parallel=100, timeout=PATIENCE)
    eventually(lambda: len(gateway.seen) >= 5)
    asked = []
    reading = threading.Thread(target=lambda: asked.append(background_probe.read_snapshot("upgrade")))
    reading.start()
    eventually(
        lambda: (
            background_probe.last_snapshot("upgrade").rows
            and background_probe.last_snapshot("upgrade").rows[-1]["due"] >= 15
        )
    )
    assert reading.is_alive(), "what hangs has no outcome yet"
    release.set()
    reading.join(PATIENCE)
    assert asked[0].result()["sent"] >= 5


def test_a_gate_fails_with_the_numbers_and_the_first_examples(probe, gateway):
    gateway.say = lambda number: (503, "") if number <= 20 else (200, "")
    token = probe("started")["token"]
    eventually(lambda: len(gateway.seen) >= 40)
    for state in ("checked", "stopped"):
        failed = probe(state, since=token, max_failure_percent=0)
        assert (
            failed["failure"]["code"] == "too_many_failures"
            and failed["failures"] == 20
            and len(failed["examples"]) == 10
        )
        first = failed["examples"][0]
        assert (
            f"20 of {failed['sent']} requests failed" in failed["msg"]
            and f"number {first['number']} at {first['time']}: 503" in failed["failure"]["reason"]
        )
        assert failed["changed"] == (state == "stopped")
    assert good(probe("checked", max_failure_percent=100, min_requests=40))["failures"] == 20
    few = probe("checked", min_requests=10**6)
    assert few["failure"]["code"] == "too_few_requests" and few["sent"] >= 40


def test_a_gate_that_saw_nothing_is_closed(probe, gateway):
    probe("started")
    eventually(lambda: gateway.seen)
    last = probe("stopped")
    assert probe("checked", since=last["token"], max_failure_percent=50)["failure"]["code"] == "too_few_requests"
    assert good(probe("checked", since=last["token"]))["sent"] == 0


def test_started_twice_it_is_the_same_probe_and_with_other_options_another(probe, gateway):
    first = probe("started", headers={"X-Site": "a"})
    was = process()
    eventually(lambda: background_probe.last_snapshot("upgrade").rows)
    again = good(probe("started", headers={"X-Site": "a"}))
    assert (again["changed"], again["diff"], again["started"]) == (False, [], first["started"]) and process() == was
    other = good(probe("started", headers={"X-Site": "b"}))
    assert (
        other["changed"]
        and other["diff"][0]["before"] != other["diff"][0]["after"]
        and not was.alive
        and process().alive
    )
    eventually(lambda: any(headers["X-Site"] == "b" for _path, headers in gateway.seen))
    assert "earlier run" in probe("checked", since=first["token"])["msg"]
    assert probe("stopped", since=first["token"])["failure"]["code"] == "invalid_option" and process().alive, (
        "told before anything is changed"
    )
    assert good(probe("stopped"))["sent"] == len(
        {headers["X-Probe-Number"] for _path, headers in gateway.seen if headers["X-Site"] == "b"}
    )
    assert len(list(background_probe.process_place("upgrade").folder.glob("*.rows"))) == 1, (
        "figures of the run before are gone"
    )


def test_probes_of_two_names_do_not_touch_each_other(probe, gateway):
    probe("started", name="one")
    probe("started", name="two")
    assert probe("stopped", name="one")["changed"] and process("two").alive
    assert probe("stopped", name="two")["changed"]


def test_stopped_twice_nothing_changes_and_the_figures_stay(probe, gateway):
    probe("started")
    eventually(lambda: len(gateway.seen) >= 10)
    done = probe("stopped")
    again, read = probe("stopped"), probe("checked")
    assert done["changed"] and not again["changed"] and not process().alive
    for key in set(done) - {"changed", "diff", "duration", "invocation"}:
        assert done[key] == again[key] == read[key], key
    sent = len(gateway.seen)
    assert probe("started")["changed"]
    eventually(lambda: len(gateway.seen) > sent)


def test_one_that_never_was_is_stopped_and_cannot_be_read(probe, processes):
    never = good(probe("stopped"))
    assert (never["changed"], never["sent"], never["upper_bound"], never["ended"], never["token"]) == (
        False,
        0,
        100.0,
        "never",
        "",
    )
    assert probe("checked")["failure"]["code"] == "no_probe"


def test_a_forgotten_probe_ends_by_itself(probe, gateway):
    probe("started", max_duration=1)
    eventually(lambda: not process().alive)
    read = good(probe("checked"))
    assert (
        read["ended"] == "max_duration"
        and read["sent"] == len(gateway.seen) == 100
        and "ended after max_duration" in str(read["warnings"])
    )
    assert not good(probe("stopped"))["changed"]


def test_a_probe_that_died_is_told_with_what_it_had(probe, gateway):
    probe("started")
    had = eventually(lambda: (found := probe("checked"))["sent"] and found)
    os.kill(process().pid, signal.SIGKILL)
    eventually(lambda: not process().alive)
    gone = probe("checked")
    assert gone["failure"]["code"] == "probe_gone" and gone["sent"] >= had["sent"] and gone["ended"] == "died"
    assert probe("stopped", check=True)["failure"]["code"] == "probe_gone"
    assert probe("stopped")["failure"]["code"] == "probe_gone"
    again = good(probe("stopped"))
    assert not again["changed"] and again["ended"] == "died" and again["sent"] == gone["sent"]
    assert probe("checked")["failure"]["code"] == "probe_gone", "no gate opens on half a measurement"
    assert good(probe("started"))["changed"]


def test_check_mode_does_nothing_and_lets_a_whole_play_through(probe, gateway, processes):
    started = good(probe("started", check=True))
    assert started["changed"] and "not running" in started["diff"][0]["before"] and started["target"] == gateway.url
    read = good(probe("checked", check=True, since=started["token"], max_failure_percent=0, min_requests=1))
    assert read["sent"] == 0 and "no_probe" in str(read["warnings"])
    assert not good(probe("stopped", check=True, max_failure_percent=0))["changed"]
    assert gateway.seen == [] and not processes.exists()


def test_check_mode_leaves_a_running_probe_alone(probe, gateway):
    token, was = probe("started")["token"], process()
    assert not probe("started", check=True)["changed"]
    other = probe("started", check=True, rate=50)
    assert (
        other["changed"]
        and "50 requests a second" in other["diff"][0]["after"]
        and other["token"].partition(".")[0] == token.partition(".")[0]
    )
    stopped = good(probe("stopped", check=True))
    assert stopped["changed"] and stopped["ended"] == "" and process() == was and was.alive
    assert stopped["diff"] == probe("stopped")["diff"]


def test_secrets_reach_the_server_and_no_file_command_line_or_result(probe, gateway, processes):
    word = "s3cr3t-of-the-probe"
    secret = {"headers": {"Authorization": f"Bearer {word}", "X-Api-Key": word}, "path": f"/?token={word}"}
    started = probe("started", headers=secret["headers"])
    eventually(lambda: gateway.seen)
    assert gateway.seen[0][1]["Authorization"] == f"Bearer {word}"
    shown = Path(f"/proc/{process().pid}/cmdline").read_bytes() + Path(f"/proc/{process().pid}/environ").read_bytes()
    assert word.encode() not in shown and word not in str([started, probe("checked")])
    probe("started", **secret)
    files = [path for path in processes.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".rows"]) <= 1 and any(
        path.name == "process.json" for path in files
    )
    for path in files:
        assert word.encode() not in path.read_bytes() and path.stat().st_mode & 0o077 == 0, path
    assert background_probe.process_place("upgrade").folder.stat().st_mode & 0o077 == 0
    probe("stopped")
    assert all(word.encode() not in path.read_bytes() for path in processes.rglob("*") if path.is_file())


def test_a_url_needs_no_cluster(probe, api, gateway):
    probe("started")
    probe("checked")
    assert probe("stopped")["changed"] and api.requests == []


def test_a_gateway_is_asked_at_its_address_and_not_looked_up_again(run, api, gateway):
    options = {"name": "upgrade", "rate": 100, "path": "/cart", "headers": {"Host": "shop.example.com"}}
    started = good(run("probe", state="started", **options))
    assert started["target"] == gateway.url and "warnings" not in started
    requests = len(api.requests)
    assert not run("probe", state="started", **options)["changed"] and len(api.requests) == requests
    eventually(lambda: gateway.seen)
    assert gateway.seen[0][0] == "/cart" and gateway.seen[0][1]["Host"] == "shop.example.com"
    assert (
        run("probe", state="started", gateway="istio-system/nowhere", name="upgrade")["failure"]["code"] == "no_gateway"
    )
    assert process().alive, "what cannot be started ends nothing"


def test_a_tunnel_is_warned_of_and_leads_to_a_pod_that_is_ready_then(run, api, gateway):
    api.put(service("inside", "istio-system", ports=[{"name": "http2", "port": 80}]))
    api.put(pod("inside-1", "istio-system", {"app": "inside"}))
    api.tunnels[("istio-system", "inside-1", 80)] = lambda: socket.create_connection(("127.0.0.1", gateway.port))
    options = {"name": "upgrade", "gateway": "istio-system/inside", **FAST}
    planned, started = (
        run("probe", check=True, state="started", **options),
        good(run("probe", state="started", **options)),
    )
    assert "through the API server" in str(planned["warnings"]) and "through the API server" in str(started["warnings"])
    eventually(lambda: len(gateway.seen) >= 20)
    done = good(run("probe", name="upgrade", state="stopped"))
    assert done["failures"] == 0 and done["target"] == "tunnel to pod istio-system/inside-1" and api.writes() == []
    assert not (background_probe.process_place("upgrade").folder / "credentials").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": 0}, "rate: is 0"),
        ({"rate": 501}, "rate: is 501"),
        ({"parallel": 0}, "parallel: is 0"),
        ({"parallel": 513}, "parallel: is 513"),
        ({"max_duration": 86401}, "max_duration: is 86401"),
        ({"timeout": 0}, "timeout: is 0"),
        ({"min_failure_status": 0}, "min_failure_status: is 0"),
        ({"path": "/ü"}, "is not a valid URL path"),
        ({"headers": {"X": "ж"}}, "'X' is not a valid header"),
        ({"name": "../up"}, "is not a valid probe name"),
        ({"name": ""}, "is not a valid probe name"),
        ({"url": "https://shop.example.com"}, "url: does not have the form http://HOST"),
        ({"url": "http://shop.example.com/cart"}, "url: does not have the form http://HOST"),
        ({"url": "http://me:s3cr3t@shop.example.com"}, "url: does not have the form http://HOST"),
        ({"url": "http://shop.example.com:0"}, "url: does not have the form http://HOST"),
        ({"url": "http://shop.example.com:99999"}, "url: does not have the form http://HOST"),
        ({"url": "http://[::1"}, "url: does not have the form http://HOST"),
        ({"url": ""}, "url: does not have the form http://HOST"),
    ],
    ids=str,
)
def test_bad_options_are_told_before_anything_is_started(probe, processes, options, words):
    result = probe("started", **options)
    assert result["failure"]["code"] == "invalid_option" and words in result["msg"] and "s3cr3t" not in result["msg"]
    assert not processes.exists()


@pytest.mark.parametrize("since", ["yesterday", "0123456789abcdef.9", "{run}.9999"])
def test_a_token_that_cannot_be_is_told(probe, gateway, since):
    run = probe("started")["token"].partition(".")[0]
    assert "since: " in probe("checked", since=since.format(run=run))["msg"]


def test_a_probe_in_the_background_needs_a_name(run):
    for state in ("started", "checked", "stopped"):
        assert "name" in run("probe", state=state)["msg"]


def test_results_hold_nothing_that_is_not_documented(probe, gateway):
    documented = {key: words["returned"] for key, words in yaml.safe_load(module.RETURN).items()}
    background_only = {key for key, returned in documented.items() if returned != "on failure"}
    always = {"changed", "diff", "invocation", "warnings"}
    started = good(probe("started"))
    eventually(lambda: gateway.seen)
    assert set(started) - always == {"started", "ended", "token", "target", "duration"}
    assert set(good(probe("checked"))) - always == set(good(probe("stopped"))) - always == background_only
