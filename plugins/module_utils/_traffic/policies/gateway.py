# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where requests from outside come in: ports, hosts and certificates of a gateway."""

from __future__ import annotations

from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.objects import Object, Ref
from ..._engine.selectors import label_selector
from ..._failure import Failure, InvalidOption
from ..api_selection import API_ARGUMENT, AUTO
from ..features import validators
from ..host.host import RoutingApi
from . import listeners
from .policy_module import PolicyModule

GROUP, API, KIND = "networking.istio.io", "networking.istio.io/v1", "Gateway"
# Whether a mode needs a certificate of its own, by Istio's name of it.
MODES = {"simple": True, "mutual": True, "passthrough": False, "istio_mutual": False}
# Of the ingress gateway that Istio's default profile has.
SELECTOR = {"istio": "ingressgateway"}
VERSIONS = {"1.2": "TLSV1_2", "1.3": "TLSV1_3"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "str", "default": ["*"]},
    "selector": {"type": "dict", "default": SELECTOR},
    "http_port": {"type": "int"},
    "https_port": {"type": "int", "default": 443},
    "tcp_port": {"type": "int"},
    "tls": {
        "type": "dict",
        "options": {
            "mode": {"type": "str", "choices": list(MODES), "default": "simple"},
            "credential_name": {"type": "str", "no_log": False},
            "min_protocol_version": {"type": "str", "choices": list(VERSIONS), "default": "1.2"},
        },
    },
    "redirect": {"type": "bool", "default": False},
    **API_ARGUMENT,
    "class": {"type": "str", "default": "istio"},
    "service": {"type": "str"},
    "service_type": {"type": "str", "choices": ["LoadBalancer", "NodePort", "ClusterIP"]},
}
# Options that are for Gateway API's kind alone.
OF_GATEWAY_API = ("service", "service_type")


def _host(name: str) -> str:
    """A host, or NAMESPACE/HOST to take routes of that namespace alone (`.` is the gateway's own)."""
    namespace, slash, host = name.rpartition("/")
    validators.host("hosts", host)
    if slash and namespace not in (".", "*") and not validators.HOST.match(namespace):
        raise InvalidOption(
            "hosts", f"{namespace!r} is not a valid namespace", hint="Write NAMESPACE/HOST.", code="host_invalid"
        )
    return name


def _tls(tls: dict[str, Any]) -> dict[str, Any]:
    if MODES[tls["mode"]] and not tls.get("credential_name"):
        raise InvalidOption(
            "tls.credential_name",
            f"mode {tls['mode']} needs a certificate",
            hint="Set credential_name to a Secret in the namespace of the gateway's pods.",
            code="secret_needed",
        )
    if not MODES[tls["mode"]] and tls.get("credential_name"):
        raise InvalidOption(
            "tls.credential_name",
            f"mode {tls['mode']} does not use a certificate",
            hint="Remove it.",
            code="secret_needed",
        )
    if tls["mode"] == "passthrough":
        return {"mode": "PASSTHROUGH"}
    secret = {"credentialName": tls["credential_name"]} if tls.get("credential_name") else {}
    return {"mode": tls["mode"].upper(), **secret, "minProtocolVersion": VERSIONS[tls["min_protocol_version"]]}


def _secrets(cluster: Cluster, options: dict[str, Any], namespaces: set[str]) -> list[Failure]:
    """A certificate that is not in these namespaces."""
    secret = str((options.get("tls") or {}).get("credential_name") or "")
    found: list[Failure] = []
    for namespace in sorted(namespaces) if secret else []:
        obj = cluster.get("", "Secret", namespace, secret)
        if obj is None:
            hint = f"Create the Secret in {namespace}, the namespace of the gateway's pods."
            found.append(
                InvalidOption(
                    "tls.credential_name",
                    f"Secret {namespace}/{secret} does not exist",
                    hint=hint,
                    code="no_such_secret",
                )
            )
        elif not {"tls.crt", "tls.key"} <= set(obj.get("data") or {}) and not {"cert", "key"} <= set(
            obj.get("data") or {}
        ):
            found.append(
                InvalidOption(
                    "tls.credential_name",
                    f"Secret {namespace}/{secret} contains no certificate",
                    hint="Set tls.crt and tls.key in the Secret.",
                    code="no_such_secret",
                )
            )
    return found


class GatewayModule(PolicyModule):
    """The module gateway."""

    arguments = ARGUMENTS

    def owned_refs(self, options: dict[str, Any]) -> list[Ref]:
        """Of both APIs, for it may have moved; where it goes from one of them by name, of that one."""
        by_api = {
            RoutingApi.ISTIO: [Ref(GROUP, KIND, options["namespace"], options["name"])],
            RoutingApi.GATEWAY_API: listeners.owned_refs(options),
        }
        if options["state"] == "absent" and options["api"] in by_api:
            return by_api[options["api"]]
        return [ref for refs in by_api.values() for ref in refs]

    def complete_options(self, cluster: Cluster, options: dict[str, Any]) -> dict[str, Any]:
        """The options with the API that is meant: the one asked for, the one that has the gateway, or Gateway API where
        it can say it. Raises ApiError.
        """
        asked, namespace, name = options["api"], options["namespace"], options["name"]
        if asked in (RoutingApi.ISTIO, RoutingApi.GATEWAY_API) or options["state"] == "absent":
            return options
        own, other = Ref(GROUP, KIND, namespace, name), listeners.owned_refs(options)[0]
        has = next(
            (
                api
                for api, ref in ((RoutingApi.GATEWAY_API, other), (RoutingApi.ISTIO, own))
                if cluster.get(ref.group, ref.kind, ref.namespace, ref.name)
            ),
            None,
        )
        if asked == AUTO and has is None and cluster.resource(other.group, other.kind):
            try:
                self.desired_objects({**options, "api": RoutingApi.GATEWAY_API})
                has = RoutingApi.GATEWAY_API
            except InvalidOption:
                has = RoutingApi.ISTIO
        return {**options, "api": has or RoutingApi.ISTIO}

    def desired_objects(self, options: dict[str, Any]) -> list[Object]:
        """Without a port and without TLS, port 80. Raises InvalidOption."""
        tls, tcp = options.get("tls"), options.get("tcp_port")
        plain = options.get("http_port") or (None if (tls or tcp is not None) and not options["redirect"] else 80)
        if not options["hosts"]:
            raise InvalidOption("hosts", "the list is empty", hint="List hosts, or use '*' for all.", code="list_empty")
        if not options["selector"]:
            raise InvalidOption(
                "selector", "it is empty", hint="Set the labels of the gateway's pods.", code="list_empty"
            )
        hosts = [_host(name) for name in options["hosts"]]
        if options["redirect"] and not tls:
            raise InvalidOption(
                "redirect", "HTTPS has no port for the redirect", hint="Give tls.", code="redirect_empty"
            )
        if tls and validators.port("https_port", options["https_port"]) == plain:
            raise InvalidOption("https_port", f"{plain} is also the port for HTTP", code="port_taken")
        if tcp is not None and validators.port("tcp_port", tcp) in (plain, options["https_port"] if tls else None):
            raise InvalidOption(
                "tcp_port", f"{tcp} is also the port for HTTP{'' if tcp == plain else 'S'}", code="port_taken"
            )
        content = _tls(tls) if tls else {}
        if options["api"] == RoutingApi.GATEWAY_API:
            if options["selector"] != SELECTOR:
                raise listeners.unsupported(
                    "selector",
                    "does not support the labels of a gateway's pods: set service, or let Istio deploy the gateway",
                )
            if tcp:
                raise listeners.unsupported(
                    "tcp_port", "uses a separate kind of routes for it, which this collection does not support"
                )
            return listeners.gateway_objects(options, validators.port("http_port", plain) if plain else None)
        for option in OF_GATEWAY_API if options["api"] == RoutingApi.ISTIO else ():
            if options.get(option):
                raise InvalidOption(
                    option,
                    "Istio's Gateway selects pods by their labels",
                    hint="Set selector, or api: gateway_api.",
                    code="option_of_other_api",
                )
        servers = []
        if plain:
            server: dict[str, Any] = {
                "port": {"number": validators.port("http_port", plain), "name": f"http-{plain}", "protocol": "HTTP"},
                "hosts": hosts,
            }
            servers.append({**server, "tls": {"httpsRedirect": True}} if options["redirect"] else server)
        if tls:
            number = options["https_port"]
            servers.append(
                {
                    "port": {
                        "number": number,
                        "name": f"https-{number}",
                        "protocol": "TLS" if tls["mode"] == "passthrough" else "HTTPS",
                    },
                    "hosts": hosts,
                    "tls": content,
                }
            )
        if tcp:
            servers.append({"port": {"number": tcp, "name": f"tcp-{tcp}", "protocol": "TCP"}, "hosts": hosts})
        metadata = {"name": options["name"], "namespace": options["namespace"]}
        selector = {str(key): str(value) for key, value in options["selector"].items()}
        return [
            {"apiVersion": API, "kind": KIND, "metadata": metadata, "spec": {"selector": selector, "servers": servers}}
        ]

    def check_references(self, cluster: Cluster, options: dict[str, Any]) -> tuple[list[Failure], list[str]]:
        """A Gateway that no pod serves, and a Secret that its pods cannot read."""
        if options["api"] == RoutingApi.GATEWAY_API:
            ports = [
                listener["port"]
                for obj in self.desired_objects(options)
                for listener in obj["spec"].get("listeners") or []
            ]
            return [
                *listeners.check_references(cluster, options, ports),
                *_secrets(cluster, options, {options["namespace"]}),
            ], []
        pods = self.affected_pods(cluster, options)
        if not pods:
            labels = ", ".join(f"{key}={value}" for key, value in options["selector"].items())
            return [
                InvalidOption(
                    "selector",
                    f"no pod has the labels {labels}",
                    hint="Install the gateway first, or correct the labels.",
                    code="gateway_selects_nothing",
                )
            ], []
        return _secrets(cluster, options, {pod["metadata"]["namespace"] for pod in pods}), []

    def affected_pods(self, cluster: Cluster, options: dict[str, Any]) -> list[Object]:
        """Pods that the Gateway is for: of Istio's own kind wherever they are, of Gateway API's in its namespace."""
        namespace, labels = None, options["selector"]
        if options["api"] == RoutingApi.GATEWAY_API:
            namespace, labels = options["namespace"], listeners.pod_labels(cluster, options)
        return (
            [
                pod
                for pod in cluster.list("", "Pod", namespace, label_selector(labels))
                if not pod["metadata"].get("deletionTimestamp")
            ]
            if labels
            else []
        )

    def proxy_markers(self, obj: Object) -> list[str]:
        """Envoy's name of a certificate; else how istiod names routes of a port of plain HTTP, which other Gateways may
        have too.
        """
        if "listeners" in (obj.get("spec") or {}):
            return listeners.proxy_markers(obj)
        found = []
        for server in (obj.get("spec") or {}).get("servers") or []:
            secret = (server.get("tls") or {}).get("credentialName")
            if secret:
                found.append(f"kubernetes://{secret}")
        return found


GATEWAY = GatewayModule()
