# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import json
import os
import socket
import threading

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.cluster import Cluster
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure
from ansible_collections.servicemesh.istio.plugins.module_utils._probe import forwarder
from builders import pod, service


@pytest.fixture
def free():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def kiali(api):
    """Kiali, whose pod says its name to whoever connects, by way of a tunnel."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _address = server.accept()
                with connection:
                    connection.sendall(b"kiali heard " + connection.recv(100))

    threading.Thread(target=serve, daemon=True).start()
    place = server.getsockname()
    api.put(service("kiali", "istio-system", ports=[{"name": "http", "port": 20001, "targetPort": 9999}]))
    api.put(pod("kiali-1", "istio-system", {"app": "kiali"}))
    api.tunnels[("istio-system", "kiali-1", 9999)] = lambda: socket.create_connection(place)
    yield api
    server.close()


def say(port, text):
    """What comes back until the connection ends, also where it is reset."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), 5) as connection, contextlib.suppress(OSError):
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(1000):
            heard += part
    return heard


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_is_opened_once_leads_to_the_pod_and_is_closed_once(run, kiali, processes, free):
    planned = run("dashboard", check=True, local_port=free)
    assert (
        planned["changed"]
        and planned["url"] == f"http://127.0.0.1:{free}"
        and "pid" not in planned
        and not is_open(free)
    )
    done = run("dashboard", local_port=free)
    assert (done["changed"], done["url"], done["diff"]) == (True, planned["url"], planned["diff"])
    assert say(free, b"hello") == b"kiali heard hello" and say(free, b"again") == b"kiali heard again"
    again = run("dashboard", local_port=free)
    assert (again["changed"], again["pid"]) == (False, done["pid"])
    assert run("dashboard", check=True, state="absent", local_port=free)["changed"] and is_open(free)
    assert run("dashboard", state="absent", local_port=free)["changed"]
    assert (
        not is_open(free) and forwarder.open_sockets(free) is None and not forwarder.process_place(free).folder.exists()
    )
    assert not run("dashboard", state="absent", local_port=free)["changed"]
    assert kiali.writes() == []


def test_each_connection_goes_to_a_pod_that_is_ready_then(kiali, free):
    listener = forwarder.listen("127.0.0.1", free)
    arguments = (Cluster(kiali), "istio-system", {"app": "kiali"}, 9999, listener)
    threading.Thread(target=forwarder._serve, args=arguments, daemon=True).start()
    assert say(free, b"one") == b"kiali heard one"
    kiali.put(pod("kiali-1", "istio-system", {"app": "kiali"}, conditions=[{"type": "Ready", "status": "False"}]))
    assert say(free, b"two") == b"", "without a pod the connection ends, and the forwarder stays"
    kiali.tunnels[("istio-system", "kiali-2", 9999)] = kiali.tunnels.pop(("istio-system", "kiali-1", 9999))
    kiali.put(pod("kiali-2", "istio-system", {"app": "kiali"}))
    assert say(free, b"three") == b"kiali heard three"


def test_a_taken_port_is_told_with_one_that_is_free(run, kiali, processes):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for check in (True, False):
            result = run("dashboard", check=check, local_port=port)
            assert result["failure"]["code"] == "port_taken" and f"cannot use 127.0.0.1:{port}" in result["msg"]
        hint = result["failure"]["hint"]
    number = int(hint.split()[3].rstrip(","))
    assert number > port and hint == f"Set local_port to {number}, which is free."
    with socket.create_server(("127.0.0.1", number)):
        pass


def test_a_port_that_leads_elsewhere_is_taken(run, kiali, processes, free):
    kiali.put(service("grafana", "istio-system", ports=[{"name": "service", "port": 3000}]))
    kiali.put(pod("grafana-1", "istio-system", {"app": "grafana"}))
    run("dashboard", local_port=free)
    assert run("dashboard", name="grafana", local_port=free)["failure"]["code"] == "port_taken"


def test_an_addon_that_is_not_there_has_a_code(run, kiali, free):
    for options in ({"name": "grafana"}, {"namespace": "shop"}):
        result = run("dashboard", local_port=free, **options)
        assert result["failure"]["code"] == "no_addon" and not is_open(free)


def test_an_addon_without_a_ready_pod_opens_nothing(run, kiali, free):
    going = pod("kiali-1", "istio-system", {"app": "kiali"})
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    kiali.put(going)
    kiali.put(pod("kiali-2", "istio-system", {"app": "kiali"}, conditions=[{"type": "Ready", "status": "False"}]))
    result = run("dashboard", local_port=free)
    assert result["failure"]["code"] == "no_pods" and not is_open(free)


@pytest.mark.parametrize(
    ("name", "port"), [("kiali", 20001), ("grafana", 3000), ("prometheus", 9090), ("jaeger", 16686)]
)
def test_each_addon_has_its_usual_port(run, api, name, port):
    api.put(
        service(
            "tracing" if name == "jaeger" else name,
            "istio-system",
            ports=[{"name": "http", "port": 80 if name == "jaeger" else port}],
        )
    )
    api.put(pod(f"{name}-1", "istio-system", {"app": "tracing" if name == "jaeger" else name}))
    result = run("dashboard", check=True, name=name)
    # Something on this machine may have the port: then its number is in the message.
    assert result.get("url", result["msg"] if "failed" in result else "").count(f"127.0.0.1:{port}") == 1


def keep(port, **record):
    path = forwarder.process_place(port).record
    path.parent.mkdir(parents=True)
    target = {"server": "https://memory.invalid", "namespace": "istio-system", "service": "kiali", "port": 20001}
    path.write_text(json.dumps({"about": target, **record}))


@pytest.mark.parametrize(
    "record",
    [{"pid": os.getpid(), "born": "1"}, {"pid": 2**22 + 1, "born": "1"}, {}],
    ids=["of another process", "of none", "half"],
)
def test_a_record_that_is_true_no_more_is_no_forwarder(run, free, record):
    keep(free, **record)
    assert forwarder.open_sockets(free) is None
    # Were the record believed, this would end the test itself.
    assert not run("dashboard", state="absent", local_port=free)["changed"]


def test_a_ready_pod_is_found_by_every_label(api):
    api.put(pod("a", labels={"app": "web"}))
    api.put(pod("b", labels={"app": "web", "tier": "front"}))
    assert forwarder.running_pod(Cluster(api), "shop", {"app": "web", "tier": "front"})["metadata"]["name"] == "b"
    with pytest.raises(Failure) as refused:
        forwarder.running_pod(Cluster(api), "shop", {"app": "web", "tier": "back"})
    assert refused.value.code == "no_pods"


def test_a_port_that_cannot_be_is_told(run, kiali):
    result = run("dashboard", local_port=70000)
    assert result["failure"]["code"] == "invalid_option" and "70000 is not a valid port" in result["msg"]


def test_an_address_of_ipv6_stands_in_brackets(run, kiali, free):
    assert run("dashboard", check=True, address="::1", local_port=free)["url"] == f"http://[::1]:{free}"
