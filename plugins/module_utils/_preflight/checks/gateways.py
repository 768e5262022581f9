# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways: servers, certificates, and the pods and Services behind them."""

from __future__ import annotations

import binascii
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from ..._checks.check import ERROR, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..._istio import certificates
from ..findings import ANALYZER, OURS, WEBHOOK, parts
from ..object_index import EVERYWHERE, World, contains, name, namespace, place_text, quoted, spec

SECURE = ("HTTPS", "TLS")
# Modes that end TLS at the gateway with certificates of its own.
ENDING = ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
OLD = ("TLSV1_0", "TLSV1_1")
CREDENTIALS = (("cert", "key"), ("tls.crt", "tls.key"))


def servers(world: World) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    """(Gateway, field, server)"""
    for obj in world["Gateway"]:
        for field, server in parts(spec(obj).get("servers"), "spec.servers"):
            yield obj, field, server


def number_of(server: dict[str, Any]) -> int:
    return int((server.get("port") or {}).get("number") or 0)


def gateway_incomplete(world: World) -> Iterator[FieldFinding]:
    for obj in world["Gateway"]:
        if not spec(obj).get("servers"):
            yield FieldFinding(obj, "spec.servers", "it has no servers")
    for obj, field, server in servers(world):
        port = server.get("port") or {}
        if not server.get("hosts"):
            yield FieldFinding(obj, f"{field}.hosts", "it has no host")
        for key in ("number", "name", "protocol"):
            if not port.get(key):
                yield FieldFinding(obj, f"{field}.port.{key}", f"its port has no {key}")


def gateway_port_name_repeated(world: World) -> Iterator[FieldFinding]:
    for obj in world["Gateway"]:
        counted = Counter((server.get("port") or {}).get("name") for server in spec(obj).get("servers") or [])
        for named, number in counted.items():
            if named and number > 1:
                yield FieldFinding(obj, "spec.servers", f"{number} ports have the name {named}")


def gateway_tls_wrong(world: World) -> Iterator[FieldFinding]:
    for obj, field, server in servers(world):
        protocol, tls = str((server.get("port") or {}).get("protocol") or "").upper(), server.get("tls")
        if protocol in SECURE and not tls:
            yield FieldFinding(obj, f"{field}.tls", f"a port with protocol {protocol} needs tls")
        if protocol == "HTTP" and tls and (set(tls) - {"httpsRedirect"}):
            yield FieldFinding(obj, f"{field}.tls", "a port with protocol HTTP allows only httpsRedirect in tls")
        if protocol in SECURE and tls and tls.get("httpsRedirect"):
            yield FieldFinding(
                obj, f"{field}.tls.httpsRedirect", f"a port with protocol {protocol} would redirect to itself"
            )


def gateway_tls_incomplete(world: World) -> Iterator[FieldFinding]:
    for obj, field, server in servers(world):
        tls = server.get("tls") or {}
        mode = tls.get("mode") or ("SIMPLE" if tls.get("credentialName") or tls.get("serverCertificate") else "")
        named = tls.get("credentialName") or tls.get("credentialNames") or tls.get("tlsCertificates")
        if mode in ENDING and not named:
            missing = [
                key
                for key in ("serverCertificate", "privateKey", *(["caCertificates"] if mode != "SIMPLE" else []))
                if not tls.get(key)
            ]
            if missing:
                yield FieldFinding(obj, f"{field}.tls", f"{mode} needs {', '.join(missing)}, or a credentialName")
        given = [key for key in ("credentialName", "serverCertificate", "privateKey", "caCertificates") if tls.get(key)]
        if mode == "ISTIO_MUTUAL" and given:
            yield FieldFinding(
                obj,
                f"{field}.tls",
                f"ISTIO_MUTUAL uses the certificates of the mesh and does not allow {', '.join(given)}",
            )


def gateway_tls_old(world: World) -> Iterator[FieldFinding]:
    for obj, field, server in servers(world):
        least = (server.get("tls") or {}).get("minProtocolVersion")
        if least in OLD:
            yield FieldFinding(
                obj, f"{field}.tls.minProtocolVersion", f"{least} is insecure: browsers no longer support it"
            )


def _pods(world: World, obj: Object) -> list[Object]:
    return world.selected(EVERYWHERE, spec(obj).get("selector") or {})


def gateway_selects_nothing(world: World) -> Iterator[FieldFinding]:
    if not world.knows_pods:
        return
    for obj in world["Gateway"]:
        if not _pods(world, obj):
            yield FieldFinding(
                obj,
                "spec.selector",
                f"no pod has the labels {quoted(spec(obj).get('selector') or {})}, so no proxy serves it",
            )


def gateway_port_not_on_service(world: World) -> Iterator[FieldFinding]:
    if not world.knows_pods or not world.knows("Service"):
        return
    for obj in world["Gateway"]:
        pods = _pods(world, obj)
        open_ports = _open_ports(world, pods)
        for field, server in parts(spec(obj).get("servers"), "spec.servers") if pods else ():
            if server.get("port") and number_of(server) not in open_ports:
                yield FieldFinding(obj, f"{field}.port.number", f"no Service of its pods has port {number_of(server)}")


def _open_ports(world: World, pods: list[Object]) -> set[Any]:
    """Ports of the Services that lead to pods, and the pods' own ports that they lead to."""
    found = set()
    for service in _services(world, pods):
        for port in spec(service).get("ports") or []:
            target = port.get("targetPort")
            if port.get("protocol", "TCP") == "TCP":
                found |= {port.get("port"), *([target] if isinstance(target, int) else [])}
    return found


def _services(world: World, pods: list[Object]) -> list[Object]:
    """The Services that lead to some of the pods."""
    by_space: dict[str, list[Object]] = defaultdict(list)
    for pod in pods:
        by_space[namespace(pod)].append(pod)
    return [
        service
        for service in world["Service"]
        if namespace(service) in by_space
        and spec(service).get("selector")
        and any(contains(pod, spec(service)["selector"]) for pod in by_space[namespace(service)])
    ]


def gateway_no_secret(world: World) -> Iterator[FieldFinding]:
    for obj, field, space, secret in _credentials(world):
        if world.knows("Secret") and not world.find("Secret", space, secret):
            yield FieldFinding(
                obj,
                f"{field}.tls.credentialName",
                f"Secret {space}/{secret} does not exist in the namespace of the gateway's pods",
            )


def _credentials(world: World) -> Iterator[tuple[Object, str, str, str]]:
    """(Gateway, field, namespace, Secret) of each credential that pods of a gateway must find."""
    for obj, field, server in servers(world):
        named = (server.get("tls") or {}).get("credentialName")
        if named:
            for space in sorted({namespace(pod) for pod in _pods(world, obj)}):
                yield obj, field, space, named


def gateway_credential_invalid(world: World) -> Iterator[FieldFinding]:
    for obj, field, space, named in _credentials(world):
        secret = world.find("Secret", space, named)
        # Of a Secret in the cluster no data is read.
        if secret and "data" in secret:
            cause = _unusable(secret["data"] or {})
            if cause:
                yield FieldFinding(obj, f"{field}.tls.credentialName", f"Secret {space}/{named}: {cause}")


def _unusable(data: dict[str, Any]) -> str:
    pair = next(((cert, key) for cert, key in CREDENTIALS if data.get(cert) and data.get(key)), None)
    if pair is None:
        return "it has neither tls.crt and tls.key nor cert and key"
    try:
        found = certificates.of_base64(str(data[pair[0]]))
    except (ValueError, binascii.Error) as error:
        return f"its {pair[0]} cannot be read: {error}"
    now = datetime.now(timezone.utc)
    late = next((one for one in found if not one.begins <= now <= one.expires), None)
    return f"its certificate is valid from {late.begins:%Y-%m-%d} to {late.expires:%Y-%m-%d}" if late else ""


def gateways_conflict(world: World) -> Iterator[FieldFinding]:
    for obj, field, server in servers(world):
        rivals = set()
        for other, _field, theirs in servers(world):
            same = number_of(theirs) == number_of(server) and theirs.get("bind") == server.get("bind")
            if (
                other is not obj
                and same
                and set(server.get("hosts") or []) & set(theirs.get("hosts") or [])
                and _same_pods(world, obj, other)
            ):
                rivals.add(place_text(other))
        if rivals:
            yield FieldFinding(
                obj,
                field,
                f"Gateway {', '.join(sorted(rivals))} has the same host on port {number_of(server)} of the same pods",
            )


def _same_pods(world: World, first: Object, second: Object) -> bool:
    one, two = spec(first).get("selector") or {}, spec(second).get("selector") or {}
    return one == two or any(contains(pod, two) for pod in world.selected(EVERYWHERE, one))


def gateway_certificate_repeated(world: World) -> Iterator[FieldFinding]:
    told: set[str] = set()
    for obj, field, server in servers(world):
        selector = spec(obj).get("selector") or {}
        for other, _field, theirs in servers(world):
            wider = selector.items() <= (spec(other).get("selector") or {}).items()
            if (
                other is not obj
                and wider
                and place_text(obj) not in told
                and _certificate(server)
                and _certificate(server) == _certificate(theirs)
            ):
                told.add(place_text(obj))
                yield FieldFinding(
                    obj,
                    f"{field}.tls",
                    f"Gateway {place_text(other)} has the same certificate: browsers share one connection for both, and"
                    " get status 404 for one of them",
                )


def _certificate(server: dict[str, Any]) -> tuple[str, ...]:
    tls = server.get("tls") or {}
    if tls.get("credentialName"):
        return (tls["credentialName"],)
    return (
        (tls["serverCertificate"], tls["privateKey"]) if tls.get("serverCertificate") and tls.get("privateKey") else ()
    )


def gateway_without_service(world: World) -> Iterator[FieldFinding]:
    if not world.complete:
        return
    for obj in world["Gateway"]:
        pods = _pods(world, obj)
        if pods and not _services(world, pods):
            yield FieldFinding(obj, "spec.selector", f"no Service selects its pods, such as {name(pods[0])}")


CHECKS = (
    Check("gateway_incomplete", ERROR, gateway_incomplete,
          "A Gateway has no servers, or a server has no hosts or an incomplete port.",
          "Set hosts for each server, and a port with number, name and protocol.", WEBHOOK),
    Check("gateway_port_name_repeated", ERROR, gateway_port_name_repeated,
          "Two ports of a Gateway have the same name.", "Rename one of the ports.", WEBHOOK),
    Check("gateway_tls_wrong", ERROR, gateway_tls_wrong,
          "A server sets tls that its protocol does not allow, or lacks tls that its protocol needs.",
          "HTTPS and TLS need tls. HTTP allows only httpsRedirect.", WEBHOOK),
    Check("gateway_tls_incomplete", ERROR, gateway_tls_incomplete,
          "The TLS settings of a gateway lack certificates that the mode needs, or set certificates that it does not "
          "allow.", "Set a credentialName. ISTIO_MUTUAL allows no certificates.", WEBHOOK),
    Check("gateway_tls_old", WARNING, gateway_tls_old, "A gateway accepts TLS versions older than 1.2.",
          "Set minProtocolVersion to TLSV1_2, or remove it.", WEBHOOK),
    Check("gateway_selects_nothing", ERROR, gateway_selects_nothing, "The selector of a Gateway selects no pod.",
          "Correct the selector, or install the gateway's pods.", ANALYZER("IST0101") + ", Kiali KIA0302"),
    Check("gateway_without_service", WARNING, gateway_without_service, "The pods of a Gateway have no Service.",
          "Create a Service for the gateway's pods.", OURS),
    Check("gateway_port_not_on_service", WARNING, gateway_port_not_on_service,
          "No Service of the gateway's pods has a port of the Gateway.", "Add the port to the gateway's Service.",
          ANALYZER("IST0162")),
    Check("gateway_no_secret", ERROR, gateway_no_secret,
          "A Secret of a Gateway does not exist in the namespace of the gateway's pods.",
          "Create the Secret in the namespace of the gateway's pods.", ANALYZER("IST0101")),
    Check("gateway_credential_invalid", ERROR, gateway_credential_invalid,
          "The Secret of a Gateway contains no valid certificate.",
          "Set tls.crt and tls.key, with a certificate that has not expired.", ANALYZER("IST0161")),
    Check("gateways_conflict", ERROR, gateways_conflict,
          "Two Gateways have the same host on the same port of the same pods.", "Keep the host in one of them.",
          ANALYZER("IST0145") + ", Kiali KIA0301"),
    Check("gateway_certificate_repeated", WARNING, gateway_certificate_repeated,
          "Two Gateways of the same pods have the same certificate.", "Merge their servers into one Gateway.",
          ANALYZER("IST0138")),
)  # fmt: skip
