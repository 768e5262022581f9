# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a port inside a pod, through the API server (the `portforward` subresource)."""

from __future__ import annotations

import socket
from typing import Any

from .api import ApiError


def open_tunnel(
    configuration: Any, headers: list[tuple[str, str]], namespace: str, pod: str, port: int
) -> socket.socket:
    """A socket whose other end is the pod's port. Raises ApiError."""
    # Here, for these load the models of every kind, which costs more than all the rest of a module that opens no
    # tunnel.
    from kubernetes.client import ApiClient, CoreV1Api
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import portforward

    client = ApiClient(configuration)
    for name, value in headers:
        client.set_default_header(name, value)
    try:
        forward = portforward(CoreV1Api(client).connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port))
        connection: socket.socket = forward.socket(port)
    except ApiException as error:
        # A refused upgrade comes with status 0 and the server's answer inside the text.
        status = next((code for code in (401, 403, 404) if f" {code} " in str(error.reason)), error.status or 0)
        raise ApiError(
            status, "Forbidden" if status == 403 else "Tunnel", f"port {port} of pod {namespace}/{pod}: {error.reason}"
        ) from error
    except OSError as error:
        raise ApiError(0, "Unreachable", f"port {port} of pod {namespace}/{pod}: {error}") from error
    connection.settimeout(30)
    return connection
