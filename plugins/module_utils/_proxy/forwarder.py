# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local port that leads to a Service's pods, kept open by a process of its own."""
from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .._cluster.api import ApiError
from .._engine.cluster import Cluster
from .._engine.objects import Object
from .._failure import Failure, InvalidOption
from .._istio import cache

CHUNK = 65536


@dataclass(frozen=True)
class Target:
    """A port of a Service in one cluster."""

    server: str
    namespace: str
    service: str
    port: int


def record(local_port: int) -> Path:
    return cache.root() / "dashboards" / f"{local_port}.json"


def credentials(local_port: int) -> Path:
    """Folder with what the forwarder needs to reach the cluster; gone when it ends."""
    return record(local_port).with_suffix(".credentials")


def opened(local_port: int) -> tuple[int, Target] | None:
    """(process id, target) of a forwarder of ours on this port; None where there is none, or it has ended."""
    try:
        kept = json.loads(record(local_port).read_text(encoding="utf-8"))
        if _started(kept["pid"]) != kept["started"]:
            return None
        return kept["pid"], Target(**kept["target"])
    except (OSError, ValueError, KeyError):
        return None


def _started(pid: int) -> str:
    """When a process began: a process id alone may be another's by now. Where /proc is missing, whether it runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            raise
        os.kill(pid, 0)
        return ""


def listen(address: str, local_port: int) -> socket.socket:
    """Raises InvalidOption, Failure "port_taken" with the next free port as the hint."""
    if not 0 < local_port < 65536:
        raise InvalidOption("local_port", f"{local_port} is no port", hint="Ports are 1 to 65535.")
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, local_port))
    except OSError as error:
        listener.close()
        free = _next_free(address, local_port + 1)
        hint = f"Port {free} is free: use local_port {free}." if free else "Name another address."
        raise Failure("port_taken", f"local_port: {address}:{local_port} cannot be used: {error.strerror}", reason=str(error), hint=hint) from error
    listener.listen(64)
    return listener


def _next_free(address: str, port: int) -> int:
    """0 where none is."""
    for number in range(port, 65536):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe, contextlib.suppress(OSError):
            probe.bind((address, number))
            return number
    return 0


def start(cluster: Cluster, target: Target, selector: dict[str, str], pod_port: int, listener: socket.socket) -> int:
    """Process id of a new process that serves the listener until it is stopped."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        try:
            if os.fork() == 0:
                _run(cluster, target, selector, pod_port, listener, writer)
        finally:
            # Whatever happens, the child must not go on in the caller's code.
            os._exit(0)
    os.close(writer)
    os.wait()
    answer = os.read(reader, 32)
    os.close(reader)
    if not answer:
        raise Failure("forwarder", "the process that keeps the port open could not be started", hint="Is the cache folder writable?")
    pid = int(answer)
    local_port = listener.getsockname()[1]
    listener.close()
    kept = {"pid": pid, "started": _started(pid), "target": asdict(target)}
    cache.write_atomically(record(local_port), json.dumps(kept).encode())
    return pid


def _run(cluster: Cluster, target: Target, selector: dict[str, str], pod_port: int, listener: socket.socket, writer: int) -> None:
    """The forwarder's own process."""
    folder = credentials(listener.getsockname()[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    cluster.api.detach(folder)
    # The parent may end now.
    os.write(writer, str(os.getpid()).encode())
    os.close(writer)
    _become_daemon()
    gc.enable()
    _serve(cluster, target.namespace, selector, pod_port, listener)


def stop(local_port: int, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    record(local_port).unlink(missing_ok=True)
    shutil.rmtree(credentials(local_port), ignore_errors=True)


def _become_daemon() -> None:
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    # Ansible waits until its pipes are closed.
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    sys.stdout = sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8")


def _serve(cluster: Cluster, namespace: str, selector: dict[str, str], pod_port: int, listener: socket.socket) -> None:
    while True:
        client, _address = listener.accept()
        threading.Thread(target=_one, args=(cluster, namespace, selector, pod_port, client), daemon=True).start()


def _one(cluster: Cluster, namespace: str, selector: dict[str, str], pod_port: int, client: socket.socket) -> None:
    with client:
        try:
            # Looked up anew for each connection, so that a restarted pod is no end.
            far = cluster.api.tunnel(namespace, running_pod(cluster, namespace, selector)["metadata"]["name"], pod_port)
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
    target = next((entry.get("targetPort") or port for entry in service["spec"].get("ports") or [] if entry["port"] == port), port)
    if isinstance(target, int):
        return target
    ports = [entry for container in pod["spec"].get("containers") or [] for entry in container.get("ports") or []]
    found = next((entry["containerPort"] for entry in ports if entry.get("name") == target), None)
    if found is None:
        raise Failure("no_pods", f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']} has no port named {target}", hint="Does the Service fit its pods?")
    return int(found)


def running_pod(cluster: Cluster, namespace: str, selector: dict[str, str]) -> Object:
    """A ready pod. Raises Failure "no_pods"."""
    pods = cluster.list("", "Pod", namespace, ",".join(f"{key}={value}" for key, value in selector.items()))
    for pod in pods:
        conditions = (pod.get("status") or {}).get("conditions") or []
        if not pod["metadata"].get("deletionTimestamp") and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            return pod
    raise Failure("no_pods", f"no pod of {namespace} with {selector} is ready", hint="Look at the pods, or wait.")
