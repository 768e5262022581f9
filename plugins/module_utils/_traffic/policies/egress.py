# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts outside of the mesh that workloads may call: registered, with TLS begun by the proxy if asked, and through an
egress gateway if asked.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.objects import Object, Ref
from ..._engine.selectors import label_selector
from ..._failure import Failure, InvalidOption
from ..._proxy.config_dump import clusters
from ..features import validators
from ..host.host import INTENTS, MESH, full_name
from .policy_module import PolicyModule

GROUP, API = "networking.istio.io", "networking.istio.io/v1"
PORT, ENDPOINT = (
    ("number", "protocol", "name", "target_port"),
    (
        "address",
        "ports",
        "labels",
        "locality",
        "weight",
        "network",
    ),
)
PROTOCOLS = ("HTTP", "HTTPS", "HTTP2", "GRPC", "MONGO", "TCP", "TLS")
USUAL = {80: "HTTP", 443: "TLS"}
LOCATIONS = {"mesh_internal": "MESH_INTERNAL", "mesh_external": "MESH_EXTERNAL"}
RESOLUTIONS = {"dns": "DNS", "dns_round_robin": "DNS_ROUND_ROBIN", "none": "NONE", "static": "STATIC"}
SPEAKS_HTTP = ("HTTP", "HTTP2", "GRPC")
SPEAKS_TLS = ("TLS", "HTTPS")
# Ports of a gateway's Service, by what comes in there.
GATEWAY_PORTS = {"HTTP": 80, "TLS": 443}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "hosts": {"type": "list", "elements": "str"},
    "ports": {"type": "list", "elements": "raw", "default": [443]},
    "resolution": {"type": "str", "choices": list(RESOLUTIONS)},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "endpoints": {"type": "list", "elements": "raw", "default": []},
    "location": {"type": "str", "choices": list(LOCATIONS), "default": "mesh_external"},
    "export_to": {"type": "list", "elements": "str", "default": []},
    "tls": {
        "type": "dict",
        "options": {
            "port": {"type": "int", "default": 443},
            "sni": {"type": "str"},
            "subject_alt_names": {"type": "list", "elements": "str", "default": []},
            "credential_name": {"type": "str", "no_log": False},
            "ca_certificates": {"type": "str"},
            "insecure_skip_verify": {"type": "bool", "default": False},
        },
    },
    "gateway": {"type": "str"},
    "gateway_selector": {"type": "dict", "default": {"istio": "egressgateway"}},
}


def _object(options: dict[str, Any], kind: str, spec: dict[str, Any]) -> Object:
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": {"name": options["name"], "namespace": options["namespace"]},
        "spec": spec,
    }


def _ports(options: dict[str, Any]) -> list[dict[str, Any]]:
    """Istio's ServicePort of each."""
    found: list[dict[str, Any]] = []
    for index, value in enumerate(options["ports"], 1):
        option = f"ports[{index}]"
        given = (
            validators.keys(option, value, PORT)
            if isinstance(value, dict)
            else {"number": int(value) if str(value).isdigit() else value}
        )
        number = validators.port(f"{option}.number", given.get("number"))
        protocol = given.get("protocol") or USUAL.get(number)
        if protocol not in PROTOCOLS:
            raise InvalidOption(
                f"{option}.protocol",
                f"port {number} has {'no protocol' if protocol is None else f'the protocol {protocol!r}'}",
                hint=f"Use one of {', '.join(PROTOCOLS)}.",
                code="protocol_invalid",
            )
        if any(number == one["number"] for one in found):
            raise InvalidOption(option, f"duplicate port {number}", code="port_taken")
        port = {
            "number": number,
            "name": str(given.get("name") or f"{protocol.lower()}-{number}"),
            "protocol": protocol,
        }
        if "target_port" in given:
            port["targetPort"] = validators.port(f"{option}.target_port", given["target_port"])
        found.append(port)
    if not found:
        raise InvalidOption("ports", "the list is empty", hint="Add at least one.", code="list_empty")
    return found


def _entry(options: dict[str, Any], hosts: list[str], ports: list[dict[str, Any]]) -> Object:
    endpoints = [_endpoint(f"endpoints[{number}]", one, ports) for number, one in enumerate(options["endpoints"], 1)]
    resolution = options.get("resolution") or _resolution(hosts, endpoints)
    wild = [host for host in hosts if "*" in host]
    # istio/istio, pkg/config/validation: ServiceEntry.
    if resolution in ("dns", "dns_round_robin") and wild and not endpoints:
        raise InvalidOption(
            "resolution",
            f"DNS cannot resolve {wild[0]}",
            hint="Remove resolution, or list the hosts without a wildcard.",
            code="resolution_invalid",
        )
    if resolution == "static" and not endpoints:
        raise InvalidOption(
            "endpoints", "resolution static needs endpoints", hint="Name endpoints.", code="resolution_invalid"
        )
    if resolution == "none" and endpoints:
        raise InvalidOption(
            "endpoints",
            "resolution none does not support endpoints",
            hint="Remove endpoints or resolution.",
            code="resolution_invalid",
        )
    if resolution == "static" and (
        named := next((one["address"] for one in endpoints if not _is_address(one["address"])), None)
    ):
        raise InvalidOption(
            "endpoints", f"{named} is not a valid IP address", hint="Use resolution dns.", code="resolution_invalid"
        )
    for address in options["addresses"]:
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError as error:
            raise InvalidOption(
                "addresses", f"{address!r} is neither an IP address nor a CIDR", code="address_invalid"
            ) from error
    opened = [port for port in ports if options.get("tls") and port["protocol"] in SPEAKS_HTTP]
    written_ports = [
        {**port, "targetPort": validators.port("tls.port", options["tls"]["port"])} if port in opened else port
        for port in ports
    ]
    spec: dict[str, Any] = {
        "hosts": hosts,
        "ports": written_ports,
        "resolution": RESOLUTIONS[resolution],
        "location": LOCATIONS[options["location"]],
    }
    for key, value in (
        ("addresses", options["addresses"]),
        ("endpoints", endpoints),
        ("exportTo", options["export_to"]),
    ):
        if value:
            spec[key] = value
    return _object(options, "ServiceEntry", spec)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _resolution(hosts: list[str], endpoints: list[dict[str, Any]]) -> str:
    if endpoints:
        return "static" if all(_is_address(one["address"]) for one in endpoints) else "dns"
    return "none" if any("*" in host for host in hosts) else "dns"


def _endpoint(option: str, value: Any, ports: list[dict[str, Any]]) -> dict[str, Any]:
    given: dict[str, Any] = {"address": value} if isinstance(value, str) else validators.keys(option, value, ENDPOINT)
    if not given.get("address"):
        raise InvalidOption(
            f"{option}.address", "it is empty", hint="Set an IP address or a host name.", code="address_invalid"
        )
    found: dict[str, Any] = {"address": str(given["address"])}
    if not _is_address(found["address"]):
        validators.host(f"{option}.address", found["address"], wildcard=False)
    if given.get("ports"):
        names = {str(port["number"]): port["name"] for port in ports} | {port["name"]: port["name"] for port in ports}
        found["ports"] = {}
        if not isinstance(given["ports"], dict):
            raise InvalidOption(
                f"{option}.ports",
                f"{given['ports']!r} is not a mapping",
                hint=f"Use the keys {', '.join(names)}.",
                code="port_invalid",
            )
        for key, number in given["ports"].items():
            if str(key) not in names:
                raise InvalidOption(
                    f"{option}.ports",
                    f"{key} is not a port of this policy",
                    hint=f"Use one of {', '.join(names)}.",
                    code="port_invalid",
                )
            found["ports"][names[str(key)]] = validators.port(f"{option}.ports.{key}", number)
    for key in ("labels", "locality", "weight", "network"):
        if given.get(key):
            found[key] = given[key]
    return found


def _origination(options: dict[str, Any], host: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    tls = options["tls"]
    opened = [port["number"] for port in ports if port["protocol"] in SPEAKS_HTTP]
    if not opened:
        raise InvalidOption(
            "tls",
            "no port has the protocol HTTP, which TLS origination needs",
            hint="Add the port that workloads call, such as {number: 80, protocol: HTTP}.",
            code="egress_tls_empty",
        )
    if tls["insecure_skip_verify"] and (tls["subject_alt_names"] or tls.get("ca_certificates")):
        raise InvalidOption(
            "tls.insecure_skip_verify",
            "subject_alt_names and ca_certificates have no effect with insecure_skip_verify",
            hint="Remove insecure_skip_verify, or remove both options.",
            code="egress_tls_ambiguous",
        )
    if tls.get("credential_name") and not options.get("gateway"):
        # istiod sends a sidecar no Secret without a selector, and such a proxy speaks plaintext (istio/istio,
        # pilot/pkg/networking/core/cluster_tls.go).
        raise InvalidOption(
            "tls.credential_name",
            "only an egress gateway can read the Secret",
            hint="Set gateway, and create the Secret in the namespace of its pods.",
            code="egress_secret_needs_gateway",
        )
    name = tls.get("sni") or host
    settings: dict[str, Any] = {"mode": "MUTUAL" if tls.get("credential_name") else "SIMPLE", "sni": name}
    for key, written_as in (("credential_name", "credentialName"), ("ca_certificates", "caCertificates")):
        if tls.get(key):
            settings[written_as] = tls[key]
    if not tls["insecure_skip_verify"]:
        # Without a name every certificate of a known authority would do.
        settings["subjectAltNames"] = tls["subject_alt_names"] or [name]
    else:
        settings["insecureSkipVerify"] = True
    spec: dict[str, Any] = {
        "host": host,
        "trafficPolicy": {"portLevelSettings": [{"port": {"number": number}, "tls": settings} for number in opened]},
    }
    if options["export_to"]:
        spec["exportTo"] = options["export_to"]
    return spec


def _speaks(options: dict[str, Any], ports: list[dict[str, Any]]) -> dict[str, int]:
    """{what comes in at the gateway: the port that workloads call}."""
    found: dict[str, int] = {}
    for port in ports:
        kind = "HTTP" if port["protocol"] in SPEAKS_HTTP else "TLS" if port["protocol"] in SPEAKS_TLS else ""
        if not kind or kind in found:
            hint = "Use one HTTP port and one TLS port. Use a separate task without a gateway for other ports."
            raise InvalidOption(
                "gateway",
                f"the gateway cannot distinguish port {port['number']} ({port['protocol']})",
                hint=hint,
                code="egress_gateway_ports",
            )
        found[kind] = port["number"]
    return found


def _place(options: dict[str, Any]) -> tuple[str, str]:
    namespace, _slash, name = options["gateway"].partition("/")
    if not namespace or not name or "/" in name:
        raise InvalidOption(
            "gateway",
            f"{options['gateway']!r} is not a valid Service name",
            hint="Use the form NAMESPACE/NAME.",
            code="no_such_gateway",
        )
    return namespace, name


def _gateway(options: dict[str, Any], host: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    if not options["gateway_selector"]:
        raise InvalidOption(
            "gateway_selector", "it is empty", hint="Set the labels of the gateway's pods.", code="list_empty"
        )
    servers = []
    for kind in _speaks(options, ports):
        number = GATEWAY_PORTS[kind]
        # The name must be told apart from those of other hosts at the same port.
        server: dict[str, Any] = {
            "port": {"number": number, "name": f"{kind.lower()}-{options['name']}", "protocol": kind},
            "hosts": [host],
        }
        servers.append({**server, "tls": {"mode": "PASSTHROUGH"}} if kind == "TLS" else server)
    return {
        "selector": {str(key): str(value) for key, value in options["gateway_selector"].items()},
        "servers": servers,
    }


def _through(options: dict[str, Any], host: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    """From the workload to the gateway, from there to the host."""
    namespace, name = _place(options)
    own, service = f"{options['namespace']}/{options['name']}", full_name(name, namespace)
    spec: dict[str, Any] = {"hosts": [host], "gateways": [MESH, own]}
    for kind, number in _speaks(options, ports).items():
        at = GATEWAY_PORTS[kind]
        for gateway, port, where in (
            (MESH, number, {"host": service, "port": {"number": at}}),
            (own, at, {"host": host, "port": {"number": number}}),
        ):
            match: dict[str, Any] = {"gateways": [gateway], "port": port}
            if kind == "TLS":
                match["sniHosts"] = [host]
            spec.setdefault(kind.lower(), []).append({"match": [match], "route": [{"destination": where}]})
    return spec


class EgressModule(PolicyModule):
    """The module egress."""

    arguments = ARGUMENTS
    constraints = {"required_if": [("state", "present", ["hosts"])]}

    def owned_refs(self, options: dict[str, Any]) -> list[Ref]:
        return [
            Ref(GROUP, kind, options["namespace"], options["name"])
            for kind in ("ServiceEntry", "DestinationRule", "Gateway", "VirtualService")
        ]

    def desired_objects(self, options: dict[str, Any]) -> list[Object]:
        """The registration, then what rests on it. Raises InvalidOption."""
        hosts = [validators.host("hosts", host) for host in options["hosts"]]
        if not hosts:
            raise InvalidOption(
                "hosts", "the list is empty", hint="Add at least one, or set state: absent.", code="list_empty"
            )
        if "*" in hosts:
            raise InvalidOption(
                "hosts",
                "'*' would match every host",
                hint="List hosts or domains. To allow all hosts, use the module sidecar.",
                code="host_invalid",
            )
        ports = _ports(options)
        for option in ("tls", "gateway"):
            if options.get(option) and (len(hosts) > 1 or "*" in hosts[0]):
                raise InvalidOption(
                    option,
                    f"this option supports only one host, not {', '.join(hosts)}",
                    hint="Use a separate task for each host, without a wildcard.",
                    code="egress_one_host",
                )
        found = [_entry(options, hosts, ports)]
        if options.get("tls"):
            found.append(_object(options, "DestinationRule", _origination(options, hosts[0], ports)))
        if options.get("gateway"):
            found += [
                _object(options, "Gateway", _gateway(options, hosts[0], ports)),
                _object(options, "VirtualService", _through(options, hosts[0], ports)),
            ]
        return found

    def check_references(self, cluster: Cluster, options: dict[str, Any]) -> tuple[list[Failure], list[str]]:
        """Whether the gateway is there, and who else registered a host."""
        found: list[Failure] = []
        if options.get("gateway"):
            namespace, name = _place(options)
            labels = label_selector(options["gateway_selector"])
            if cluster.get("", "Service", namespace, name) is None:
                found.append(
                    InvalidOption(
                        "gateway",
                        f"Service {namespace}/{name} does not exist",
                        hint="Install the egress gateway first, or correct the name.",
                        code="no_such_gateway",
                    )
                )
            elif not cluster.list("", "Pod", namespace, labels):
                found.append(
                    InvalidOption(
                        "gateway_selector",
                        f"no pod of {namespace} has the labels {labels}",
                        hint="Set the labels of the gateway's pods.",
                        code="gateway_selects_nothing",
                    )
                )
        for rule in cluster.list(GROUP, "DestinationRule", options["namespace"]) if options.get("tls") else []:
            name = rule["metadata"]["name"]
            # Of two for one host Istio takes the settings of one.
            same_host = full_name(str((rule.get("spec") or {}).get("host")), options["namespace"]) == full_name(
                options["hosts"][0], options["namespace"]
            )
            composed = INTENTS in (rule["metadata"].get("annotations") or {})
            if (same_host and name != options["name"]) or (composed and name == options["name"]):
                hint = (
                    "Use only one of them: a traffic policy (resilience, load_balancing), or TLS origination."
                    if composed
                    else "Remove that DestinationRule, or remove tls."
                )
                found.append(
                    InvalidOption(
                        "tls",
                        f"DestinationRule {options['namespace']}/{name} already applies to {options['hosts'][0]}",
                        hint=hint,
                        code="rule_taken",
                    )
                )
        own, hosts = (options["namespace"], options["name"]), set(options["hosts"])
        warnings = []
        for entry in cluster.list(GROUP, "ServiceEntry"):
            place = (entry["metadata"]["namespace"], entry["metadata"]["name"])
            common = sorted(hosts & set((entry.get("spec") or {}).get("hosts") or []))
            if common and place != own:
                warnings.append(
                    f"ServiceEntry {'/'.join(place)} also has {', '.join(common)}: proxies that see both use the"
                    " older one"
                )
        return found, warnings

    def affected_pods(self, cluster: Cluster, options: dict[str, Any]) -> list[Object] | None:
        return cluster.list("", "Pod", options["namespace"]) if options["export_to"] == ["."] else None

    def proxy_markers(self, obj: Object) -> list[str]:
        """Clusters of a registered host, as istiod names them; of the rest, only what was acknowledged is waited
        for.
        """
        spec = obj.get("spec") or {}
        if obj["kind"] != "ServiceEntry":
            return []
        return [
            f"outbound|{port['number']}||{host}" for host in spec.get("hosts") or [] for port in spec.get("ports") or []
        ]

    def dump_part(self, dump: dict[str, Any]) -> Any:
        return sorted(clusters(dump))


EGRESS = EgressModule()
