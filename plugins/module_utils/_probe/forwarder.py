# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local port that leads to a Service's pods, kept open by a process of its own."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from dataclasses import asdict, dataclass

from .._cluster.api import ApiError
from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._engine.selectors import label_selector
from .._engine.waiting.kstatus import pod_ready
from .._failure import Failure, InvalidOption
from . import daemon

CHUNK = 65536
# Seconds. A forwarder has nothing to finish: it ends at once.
PATIENCE = 5.0


@dataclass(frozen=True)
class ServicePort:
    """A port of a Service in one cluster."""

    server: str
    namespace: str
    service: str
    port: int


def process_place(local_port: int) -> daemon.ProcessPlace:
    return daemon.ProcessPlace("dashboards", str(local_port))


def open_sockets(local_port: int) -> tuple[daemon.Process, ServicePort] | None:
    """(process, target) of a forwarder of ours on this port; None where there is none, or it has ended."""
    found = daemon.find_process(process_place(local_port))
    try:
        return (found, ServicePort(**found.about)) if found and found.alive else None
    except TypeError:
        return None


def listen(address: str, local_port: int) -> socket.socket:
    """Raises InvalidOption, Failure "port_taken" with the next free port as the hint."""
    if not 0 < local_port < 65536:
        raise InvalidOption("local_port", f"{local_port} is not a valid port", hint="Use a port from 1 to 65535.")
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, local_port))
    except OSError as error:
        listener.close()
        free = _next_free(address, local_port + 1)
        hint = f"Set local_port to {free}, which is free." if free else "Set another address."
        raise Failure(
            "port_taken",
            f"local_port: cannot use {address}:{local_port}: {error.strerror}",
            reason=str(error),
            hint=hint,
        ) from error
    listener.listen(64)
    return listener


def _next_free(address: str, port: int) -> int:
    """0 where none is."""
    for number in range(port, 65536):
        with (
            socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe,
            contextlib.suppress(OSError),
        ):
            probe.bind((address, number))
            return number
    return 0


def start_forwarding(
    cluster: Cluster, target: ServicePort, selector: dict[str, str], pod_port: int, listener: socket.socket
) -> int:
    """Process id of a new process that serves the listener until it is stopped."""
    where = process_place(listener.getsockname()[1])

    def prepare() -> None:
        # What it needs to reach the cluster; gone when it is stopped.
        cluster.api.detach(where.emptied("credentials"))

    def work() -> None:
        _serve(cluster, target.namespace, selector, pod_port, listener)

    process = daemon.start_process(where, asdict(target), prepare, work, frozenset({listener.fileno()}))
    listener.close()
    return process.pid


def stop_forwarding(local_port: int, process: daemon.Process) -> None:
    daemon.stop_process(process, PATIENCE)
    shutil.rmtree(process_place(local_port).folder, ignore_errors=True)


def _serve(cluster: Cluster, namespace: str, selector: dict[str, str], pod_port: int, listener: socket.socket) -> None:
    while True:
        client, _address = listener.accept()
        threading.Thread(target=_one, args=(cluster, namespace, selector, pod_port, client), daemon=True).start()


def _one(cluster: Cluster, namespace: str, selector: dict[str, str], pod_port: int, client: socket.socket) -> None:
    with client:
        try:
            far = tunnel(cluster, namespace, selector, pod_port)
        except (ApiError, Failure):
            return
        with contextlib.closing(far):
            far.settimeout(None)
            back = threading.Thread(target=_copy, args=(far, client), daemon=True)
            back.start()
            _copy(client, far)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def port_of(service: Object, port: int, pod: Object) -> int:
    """The pod's port that a Service's port leads to; a target may be the name of a container's port."""
    target = next(
        (entry.get("targetPort") or port for entry in service["spec"].get("ports") or [] if entry["port"] == port), port
    )
    if isinstance(target, int):
        return target
    ports = [entry for container in pod["spec"].get("containers") or [] for entry in container.get("ports") or []]
    found = next((entry["containerPort"] for entry in ports if entry.get("name") == target), None)
    if found is None:
        raise Failure(
            "no_pods",
            f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']} has no port named {target}",
            hint="Check that targetPort of the Service matches a port of its pods.",
        )
    return int(found)


def tunnel(cluster: Cluster, namespace: str, selector: dict[str, str], port: int) -> socket.socket:
    """To a ready pod, looked up anew each time, so that a restarted one is no end. Raises ApiError, Failure
    "no_pods".
    """
    return cluster.api.tunnel(namespace, running_pod(cluster, namespace, selector)["metadata"]["name"], port)


def running_pod(cluster: Cluster, namespace: str, selector: dict[str, str]) -> Object:
    """A ready pod. Raises Failure "no_pods"."""
    pods = cluster.list("", "Pod", namespace, label_selector(selector))
    for pod in pods:
        if pod_ready(pod):
            return pod
    raise Failure(
        "no_pods",
        f"no pod with {selector} in namespace {namespace} is ready",
        hint="Check the pods, or wait until one is ready.",
    )
