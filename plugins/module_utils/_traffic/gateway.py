# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where requests from outside come in: ports, hosts and certificates of a gateway."""
from __future__ import annotations

from typing import Any

from .._engine.cluster import Cluster
from .._engine.objects import Object, Ref
from .._engine.selectors import written
from .._failure import Failure, InvalidOption
from . import checks
from .single import Single

GROUP, API, KIND = "networking.istio.io", "networking.istio.io/v1", "Gateway"
# Whether a mode needs a certificate of its own, by Istio's name of it.
MODES = {"simple": True, "mutual": True, "passthrough": False, "istio_mutual": False}
VERSIONS = {"1.2": "TLSV1_2", "1.3": "TLSV1_3"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "str", "default": ["*"]},
    "selector": {"type": "dict", "default": {"istio": "ingressgateway"}},
    "http_port": {"type": "int"},
    "https_port": {"type": "int", "default": 443},
    "tls": {
        "type": "dict",
        "options": {
            "mode": {"type": "str", "choices": list(MODES), "default": "simple"},
            "secret": {"type": "str"},
            "least_version": {"type": "str", "choices": list(VERSIONS), "default": "1.2"},
        },
    },
    "redirect": {"type": "bool", "default": False},
}


def possible(options: dict[str, Any]) -> list[Ref]:
    return [Ref(GROUP, KIND, options["namespace"], options["name"])]


def wanted(options: dict[str, Any]) -> list[Object]:
    """Without a port and without TLS, port 80. Raises InvalidOption."""
    tls = options.get("tls")
    plain = options.get("http_port") or (None if tls and not options["redirect"] else 80)
    if not options["hosts"]:
        raise InvalidOption("hosts", "the list is empty", hint="Name hosts, or '*' for all.", code="list_empty")
    if not options["selector"]:
        raise InvalidOption("selector", "it means no pod", hint="Give the labels of the gateway's pods.", code="list_empty")
    hosts = [_host(name) for name in options["hosts"]]
    if options["redirect"] and not tls:
        raise InvalidOption("redirect", "there is no port for HTTPS to lead to", hint="Give tls.", code="redirect_empty")
    servers = []
    if plain:
        server: dict[str, Any] = {"port": {"number": checks.port("http_port", plain), "name": f"http-{plain}", "protocol": "HTTP"}, "hosts": hosts}
        servers.append({**server, "tls": {"httpsRedirect": True}} if options["redirect"] else server)
    if tls:
        number = checks.port("https_port", options["https_port"])
        if number == plain:
            raise InvalidOption("https_port", f"{number} is the port for HTTP, too", code="port_taken")
        servers.append({"port": {"number": number, "name": f"https-{number}", "protocol": "TLS" if tls["mode"] == "passthrough" else "HTTPS"}, "hosts": hosts, "tls": _tls(tls)})
    metadata = {"name": options["name"], "namespace": options["namespace"]}
    selector = {str(key): str(value) for key, value in options["selector"].items()}
    return [{"apiVersion": API, "kind": KIND, "metadata": metadata, "spec": {"selector": selector, "servers": servers}}]


def _host(name: str) -> str:
    """A host, or NAMESPACE/HOST to take routes of that namespace alone (`.` is the gateway's own)."""
    namespace, slash, host = name.rpartition("/")
    checks.host("hosts", host)
    if slash and namespace not in (".", "*") and not checks.HOST.match(namespace):
        raise InvalidOption("hosts", f"{namespace!r} is no namespace", hint="Write NAMESPACE/HOST.", code="host_invalid")
    return name


def _tls(tls: dict[str, Any]) -> dict[str, Any]:
    if MODES[tls["mode"]] and not tls.get("secret"):
        raise InvalidOption("tls.secret", f"mode {tls['mode']} needs a certificate", hint="Name the Secret, in the namespace of the gateway's pods.", code="secret_needed")
    if not MODES[tls["mode"]] and tls.get("secret"):
        raise InvalidOption("tls.secret", f"mode {tls['mode']} has none", hint="Leave it out.", code="secret_needed")
    if tls["mode"] == "passthrough":
        return {"mode": "PASSTHROUGH"}
    secret = {"credentialName": tls["secret"]} if tls.get("secret") else {}
    return {"mode": tls["mode"].upper(), **secret, "minProtocolVersion": VERSIONS[tls["least_version"]]}


def _pods(cluster: Cluster, options: dict[str, Any]) -> list[Object]:
    """Pods that the Gateway is for, wherever they are."""
    return [pod for pod in cluster.list("", "Pod", None, written(options["selector"])) if not pod["metadata"].get("deletionTimestamp")]


def look(cluster: Cluster, options: dict[str, Any]) -> tuple[list[Failure], list[str]]:
    """A Gateway that no pod serves, and a Secret that its pods cannot read."""
    pods = _pods(cluster, options)
    if not pods:
        labels = ", ".join(f"{key}={value}" for key, value in options["selector"].items())
        return [InvalidOption("selector", f"no pod has the labels {labels}", hint="Install the gateway first, or correct the labels.", code="gateway_selects_nothing")], []
    secret = (options.get("tls") or {}).get("secret")
    found: list[Failure] = []
    for namespace in sorted({pod["metadata"]["namespace"] for pod in pods}) if secret else []:
        obj = cluster.get("", "Secret", namespace, secret)
        if obj is None:
            hint = f"Create it in {namespace}, where the gateway's pods are."
            found.append(InvalidOption("tls.secret", f"there is no Secret {namespace}/{secret}", hint=hint, code="no_such_secret"))
        elif not {"tls.crt", "tls.key"} <= set(obj.get("data") or {}) and not {"cert", "key"} <= set(obj.get("data") or {}):
            found.append(InvalidOption("tls.secret", f"Secret {namespace}/{secret} holds no certificate", hint="It needs tls.crt and tls.key.", code="no_such_secret"))
    return found, []


def marks(obj: Object) -> list[str]:
    """Envoy's name of a certificate; else how istiod names routes of a port of plain HTTP, which other Gateways may have too."""
    found = []
    for server in (obj.get("spec") or {}).get("servers") or []:
        secret = (server.get("tls") or {}).get("credentialName")
        if secret:
            found.append(f"kubernetes://{secret}")
    return found


GATEWAY = Single(ARGUMENTS, possible, wanted, marks, look, _pods)
