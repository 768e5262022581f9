# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gateway in Gateway API's words: a listener for each port and host, and the redirect as a route of its own."""

from __future__ import annotations

from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.objects import Object, Ref
from ..._failure import Failure, InvalidOption
from ..backends.gateway_api import API, GROUP, ROUTE
from ..host.host import GATEWAY_NAME, REDIRECTS, full_name

KIND = "Gateway"
SERVICE_TYPE = "networking.istio.io/service-type"
TERMINATE = "gateway.istio.io/tls-terminate-mode"
# What a listener's TLS says by Istio's option, beside what Gateway API calls to terminate.
BY_OPTION = {"mutual": "MUTUAL", "istio_mutual": "ISTIO_MUTUAL"}
NAMESPACE = "kubernetes.io/metadata.name"


def unsupported(option: str, reason: str) -> InvalidOption:
    return InvalidOption(
        option, f"Gateway API {reason}", hint="Set api: istio for this gateway.", code="gateway_api_cannot"
    )


def owned_refs(options: dict[str, Any]) -> list[Ref]:
    return [
        Ref(GROUP, KIND, options["namespace"], options["name"]),
        Ref(GROUP, ROUTE, options["namespace"], _redirect_name(options)),
    ]


def gateway_objects(options: dict[str, Any], plain: int | None) -> list[Object]:
    """The Gateway, and where asked for the route that redirects. plain: port for HTTP. Raises InvalidOption
    "gateway_api_cannot".
    """
    tls = options.get("tls")
    if tls and tls["min_protocol_version"] != "1.2":
        raise unsupported(
            "tls.min_protocol_version", "does not support a minimum TLS version, and Istio uses 1.2 there"
        )
    listeners = _listeners(options, plain, "HTTP") if plain else []
    if tls:
        listeners += _listeners(
            options, options["https_port"], "TLS" if tls["mode"] == "passthrough" else "HTTPS", _tls(tls)
        )
    spec: dict[str, Any] = {"gatewayClassName": options["class"], "listeners": listeners}
    metadata: dict[str, Any] = {"name": options["name"], "namespace": options["namespace"]}
    if options.get("service"):
        spec["addresses"] = [{"type": "Hostname", "value": full_name(_service(options), options["namespace"])}]
    elif options.get("service_type"):
        metadata["annotations"] = {SERVICE_TYPE: options["service_type"]}
    if options["redirect"]:
        metadata["annotations"] = {**metadata.get("annotations", {}), REDIRECTS: "true"}
    found: list[Object] = [{"apiVersion": API, "kind": KIND, "metadata": metadata, "spec": spec}]
    return [*found, _redirect(options, listeners)] if options["redirect"] else found


def _service(options: dict[str, Any]) -> str:
    """The name of a Service of the Gateway's namespace: in another one istiod does not look."""
    namespace, slash, name = options["service"].rpartition("/")
    if slash and namespace != options["namespace"]:
        raise unsupported("service", f"supports only a Service in the Gateway's namespace {options['namespace']}")
    return str(name)


def _listeners(
    options: dict[str, Any], port: int, protocol: str, tls: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """One for each host: a listener has one."""
    places: dict[str, set[str]] = {}
    for host in options["hosts"]:
        namespace, _slash, name = host.rpartition("/")
        places.setdefault(name, set()).add({"": "*", ".": options["namespace"]}.get(namespace, namespace))
    found = []
    for host, namespaces in places.items():
        words = "" if host == "*" else "." + host.replace("*", "any")
        listener: dict[str, Any] = {"name": f"{protocol.lower()}-{port}{words}", "port": port, "protocol": protocol}
        if host != "*":
            listener["hostname"] = host
        if tls:
            listener["tls"] = tls
        own = options["redirect"] and protocol == "HTTP"
        listener["allowedRoutes"] = {"namespaces": _from({options["namespace"]} if own else namespaces)}
        found.append(listener)
    return found


def _from(namespaces: set[str]) -> dict[str, Any]:
    if "*" in namespaces:
        return {"from": "All"}
    return {
        "from": "Selector",
        "selector": {"matchExpressions": [{"key": NAMESPACE, "operator": "In", "values": sorted(namespaces)}]},
    }


def _tls(tls: dict[str, Any]) -> dict[str, Any]:
    if tls["mode"] == "passthrough":
        return {"mode": "Passthrough"}
    found: dict[str, Any] = {"mode": "Terminate"}
    if tls["mode"] in BY_OPTION:
        found["options"] = {TERMINATE: BY_OPTION[tls["mode"]]}
    if tls.get("credential_name"):
        found["certificateRefs"] = [{"group": "", "kind": "Secret", "name": tls["credential_name"]}]
    return found


def _redirect_name(options: dict[str, Any]) -> str:
    # A dot is in no Service's name, so that no host's route is named like that.
    return f"{options['name']}.to-https"


def _redirect(options: dict[str, Any], listeners: list[dict[str, Any]]) -> Object:
    """From the listeners for HTTP, which take routes of their own namespace alone."""
    parent = {"group": GROUP, "kind": KIND, "namespace": options["namespace"], "name": options["name"]}
    parents = [{**parent, "sectionName": listener["name"]} for listener in listeners if listener["protocol"] == "HTTP"]
    where: dict[str, Any] = {
        "scheme": "https",
        "statusCode": 301,
        **({"port": options["https_port"]} if options["https_port"] != 443 else {}),
    }
    rule = {
        "name": "to-https",
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": where}],
    }
    metadata = {"name": _redirect_name(options), "namespace": options["namespace"]}
    return {"apiVersion": API, "kind": ROUTE, "metadata": metadata, "spec": {"parentRefs": parents, "rules": [rule]}}


def check_references(cluster: Cluster, options: dict[str, Any], ports: list[int]) -> list[Failure]:
    """What the Gateway refers to and is not there."""
    if cluster.resource(GROUP, KIND) is None:
        hint = "Install the Gateway API CRDs (control_plane_gateway_api of the role control_plane), or set api: istio."
        return [
            InvalidOption(
                "api",
                "the cluster does not serve the Gateways of the Gateway API",
                hint=hint,
                code="gateway_api_absent",
            )
        ]
    if not options.get("service"):
        return []
    name = _service(options)
    service = cluster.get("", "Service", options["namespace"], name)
    if service is None:
        hint = "Install the gateway first, or remove service: Istio then deploys a gateway."
        return [
            InvalidOption(
                "service", f"Service {options['namespace']}/{name} does not exist", hint=hint, code="no_such_service"
            )
        ]
    there = {port["port"] for port in service["spec"].get("ports") or []}
    missing = [port for port in ports if port not in there]
    if missing:
        numbers = ", ".join(map(str, sorted(there)))
        return [
            InvalidOption(
                "service",
                f"Service {options['namespace']}/{name} has no port {missing[0]}",
                hint=f"Use one of its ports: {numbers}.",
                code="no_such_port",
            )
        ]
    return []


def pod_labels(cluster: Cluster, options: dict[str, Any]) -> dict[str, str]:
    """Of the pods that are the gateway: those of the Service, or what Istio deploys."""
    if not options.get("service"):
        return {GATEWAY_NAME: options["name"]}
    service = cluster.get("", "Service", options["namespace"], _service(options))
    return dict(((service or {}).get("spec") or {}).get("selector") or {})


def proxy_markers(obj: Object) -> list[str]:
    """Envoy's names of the certificates."""
    own = obj["metadata"]["namespace"]
    refs = [
        ref
        for listener in (obj.get("spec") or {}).get("listeners") or []
        for ref in (listener.get("tls") or {}).get("certificateRefs") or []
    ]
    return list(dict.fromkeys(f"kubernetes-gateway://{ref.get('namespace') or own}/{ref['name']}" for ref in refs))
