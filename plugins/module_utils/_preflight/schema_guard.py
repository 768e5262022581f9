# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes of fields that checks read. An object of another shape is said to be so, and is judged no further."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._engine.objects import Object

TEXT, NUMBER, FLAG, ANY = "a string", "a number", "true or false", ""
TYPES: dict[str, tuple[type, ...]] = {TEXT: (str,), NUMBER: (int, float), FLAG: (bool,)}
# A mapping with any keys and values of one shape.
EACH = object()
LABELS = {EACH: TEXT}
# Keys without which the rest means nothing.
NEEDS = object()
LABEL_SELECTOR = {
    "matchLabels": LABELS,
    "matchExpressions": [{"key": TEXT, "operator": TEXT, "values": [TEXT], NEEDS: ("key", "operator")}],
}
STRING_MATCH = {"exact": TEXT, "prefix": TEXT, "regex": TEXT}
MATCH = {
    "uri": STRING_MATCH,
    "authority": STRING_MATCH,
    "method": STRING_MATCH,
    "scheme": STRING_MATCH,
    "headers": {EACH: STRING_MATCH},
    "withoutHeaders": {EACH: STRING_MATCH},
    "queryParams": {EACH: STRING_MATCH},
    "sourceLabels": LABELS,
    "gateways": [TEXT],
    "port": NUMBER,
}
DESTINATION = {"host": TEXT, "subset": TEXT, "port": {"number": NUMBER}}
CHANGES = {"set": {EACH: TEXT}, "add": {EACH: TEXT}, "remove": [TEXT]}
HEADERS = {"request": CHANGES, "response": CHANGES}
PERCENT = {"value": NUMBER}
FAULT = {
    "delay": {"fixedDelay": TEXT, "percentage": PERCENT, "percent": NUMBER},
    "abort": {"httpStatus": NUMBER, "grpcStatus": TEXT, "percentage": PERCENT},
}
HTTP = {
    "match": [MATCH],
    "route": [{"destination": DESTINATION, "weight": NUMBER, "headers": HEADERS}],
    "mirror": DESTINATION,
    "mirrors": [{"destination": DESTINATION, "percentage": PERCENT}],
    "mirrorPercentage": PERCENT,
    "timeout": TEXT,
    "retries": {"attempts": NUMBER, "perTryTimeout": TEXT, "retryOn": TEXT},
    "fault": FAULT,
    "redirect": {},
    "rewrite": {"authority": TEXT},
    "directResponse": {"status": NUMBER, "body": {"string": TEXT}},
    "headers": HEADERS,
    "delegate": {"name": TEXT, "namespace": TEXT},
    "name": TEXT,
}
CLIENT_TLS = {
    "mode": TEXT,
    "caCertificates": TEXT,
    "credentialName": TEXT,
    "clientCertificate": TEXT,
    "privateKey": TEXT,
}
BALANCER = {
    "simple": TEXT,
    "consistentHash": {"httpCookie": {"name": TEXT}},
    "localityLbSetting": {"distribute": [{"to": {EACH: NUMBER}}], "failover": [{}], "failoverPriority": [TEXT]},
}
POLICY = {"tls": CLIENT_TLS, "loadBalancer": BALANCER, "connectionPool": {}, "outlierDetection": {}}
POLICIES = {**POLICY, "portLevelSettings": [{**POLICY, "port": {"number": NUMBER}}]}
SELECTOR = {"matchLabels": LABELS}
TARGETS = {"targetRef": {"kind": TEXT, "name": TEXT}, "targetRefs": [{"kind": TEXT, "name": TEXT}]}
SOURCE = {
    field: [TEXT]
    for field in (
        "principals",
        "notPrincipals",
        "namespaces",
        "notNamespaces",
        "serviceAccounts",
        "ipBlocks",
        "remoteIpBlocks",
        "requestPrincipals",
    )
}
OPERATION = {
    field: [TEXT] for field in ("hosts", "notHosts", "methods", "notMethods", "ports", "notPorts", "paths", "notPaths")
}
PORTS = [{"number": NUMBER, "name": TEXT, "protocol": TEXT}]
CONTAINERS = [{"name": TEXT, "image": TEXT, "env": [{"name": TEXT}], "securityContext": {}}]
POD = {"containers": CONTAINERS, "initContainers": CONTAINERS, "securityContext": {}, "serviceAccountName": TEXT}
WORKLOAD = {"template": {"metadata": {"labels": LABELS, "annotations": LABELS}, "spec": POD}}
BACKENDS = [{"name": TEXT, "namespace": TEXT, "kind": TEXT, "group": TEXT, "port": NUMBER, "weight": NUMBER}]
ROUTE = {
    "hostnames": [TEXT],
    "parentRefs": [{"name": TEXT, "namespace": TEXT, "kind": TEXT, "group": TEXT, "sectionName": TEXT}],
    "rules": [{"backendRefs": BACKENDS}],
}
HOOKS = [
    {
        "name": TEXT,
        "clientConfig": {"url": TEXT, "service": {"name": TEXT, "namespace": TEXT}},
        "namespaceSelector": LABEL_SELECTOR,
        "objectSelector": LABEL_SELECTOR,
        "rules": [{"apiGroups": [TEXT]}],
    }
]

SPECS: dict[str, Any] = {
    "VirtualService": {
        "hosts": [TEXT],
        "gateways": [TEXT],
        "exportTo": [TEXT],
        "http": [HTTP],
        "tcp": [{"match": [{}], "route": [{"destination": DESTINATION, "weight": NUMBER}]}],
        "tls": [{"match": [{"sniHosts": [TEXT]}], "route": [{"destination": DESTINATION, "weight": NUMBER}]}],
    },
    "DestinationRule": {
        "host": TEXT,
        "exportTo": [TEXT],
        "trafficPolicy": POLICIES,
        "subsets": [{"name": TEXT, "labels": LABELS, "trafficPolicy": POLICIES}],
        "workloadSelector": SELECTOR,
    },
    "Gateway": {
        "selector": LABELS,
        "servers": [
            {
                "port": {"number": NUMBER, "name": TEXT, "protocol": TEXT},
                "bind": TEXT,
                "hosts": [TEXT],
                "tls": {
                    "mode": TEXT,
                    "credentialName": TEXT,
                    "credentialNames": [TEXT],
                    "minProtocolVersion": TEXT,
                    "httpsRedirect": FLAG,
                },
            }
        ],
    },
    "ServiceEntry": {
        "hosts": [TEXT],
        "addresses": [TEXT],
        "ports": PORTS,
        "exportTo": [TEXT],
        "resolution": TEXT,
        "location": TEXT,
        "endpoints": [{"address": TEXT}],
        "workloadSelector": {"labels": LABELS},
    },
    "Sidecar": {
        "workloadSelector": {"labels": LABELS},
        "egress": [{"hosts": [TEXT], "port": {"number": NUMBER}}],
        "outboundTrafficPolicy": {"mode": TEXT},
    },
    "WorkloadEntry": {"address": TEXT, "labels": LABELS, "serviceAccount": TEXT},
    "WorkloadGroup": {"metadata": {"labels": LABELS}, "template": {"serviceAccount": TEXT, "labels": LABELS}},
    "EnvoyFilter": {
        "configPatches": [
            {"applyTo": TEXT, "match": {"proxy": {"proxyVersion": TEXT}}, "patch": {"operation": TEXT, "value": {}}}
        ],
        "priority": NUMBER,
        "workloadSelector": {"labels": LABELS},
    },
    "AuthorizationPolicy": {
        "action": TEXT,
        "selector": SELECTOR,
        **TARGETS,
        "provider": {"name": TEXT},
        "rules": [
            {
                "from": [{"source": SOURCE}],
                "to": [{"operation": OPERATION}],
                "when": [{"key": TEXT, "values": [TEXT], "notValues": [TEXT]}],
            }
        ],
    },
    "PeerAuthentication": {"selector": SELECTOR, "mtls": {"mode": TEXT}, "portLevelMtls": {EACH: {"mode": TEXT}}},
    "RequestAuthentication": {
        "selector": SELECTOR,
        **TARGETS,
        "jwtRules": [{"issuer": TEXT, "jwks": TEXT, "jwksUri": TEXT}],
    },
    "Telemetry": {
        "selector": SELECTOR,
        **TARGETS,
        "accessLogging": [{"providers": [{"name": TEXT}], "disabled": FLAG}],
        "tracing": [{"providers": [{"name": TEXT}], "randomSamplingPercentage": NUMBER}],
        "metrics": [{"providers": [{"name": TEXT}]}],
    },
    "WasmPlugin": {"selector": SELECTOR, **TARGETS, "url": TEXT},
    "RouteGateway": {
        "gatewayClassName": TEXT,
        "listeners": [
            {
                "name": TEXT,
                "hostname": TEXT,
                "port": NUMBER,
                "protocol": TEXT,
                "tls": {"certificateRefs": [{"name": TEXT, "namespace": TEXT}]},
            }
        ],
    },
    "HTTPRoute": ROUTE,
    "GRPCRoute": ROUTE,
    "ReferenceGrant": {
        "from": [{"group": TEXT, "kind": TEXT, "namespace": TEXT}],
        "to": [{"group": TEXT, "kind": TEXT, "name": TEXT}],
    },
    "Service": {
        "selector": LABELS,
        "type": TEXT,
        "ports": [{"name": TEXT, "port": NUMBER, "protocol": TEXT, "appProtocol": TEXT}],
    },
    "Pod": {**POD, "hostNetwork": FLAG},
    "Deployment": WORKLOAD,
    "StatefulSet": WORKLOAD,
    "DaemonSet": WORKLOAD,
}
CONDITIONS = [{"type": TEXT, "status": TEXT, "reason": TEXT}]
TOPS: dict[str, Any] = {
    "metadata": {"labels": LABELS, "annotations": LABELS},
    "webhooks": HOOKS,
    "data": {EACH: TEXT},
    "status": {"conditions": CONDITIONS, "parents": [{"conditions": CONDITIONS}]},
}


def misfits(kind: str, obj: Object) -> Iterator[tuple[str, str]]:
    """(field, what it should be) of fields that are of another shape. kind: as World names it."""
    yield from _misfits(obj, {**TOPS, "spec": SPECS.get(kind, {})}, "")


def _misfits(value: Any, shape: Any, path: str) -> Iterator[tuple[str, str]]:
    # Kubernetes takes null for a field that is not there.
    if value is None or shape == ANY:
        return
    if isinstance(shape, str):
        if not isinstance(value, TYPES[shape]) or (isinstance(value, bool) and shape != FLAG):
            yield path, shape
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield path, "a list"
            return
        for number, item in enumerate(value):
            if item is None:
                yield f"{path}[{number}]", "non-null"
            yield from _misfits(item, shape[0], f"{path}[{number}]")
    elif not isinstance(value, dict):
        yield path, "a mapping"
    else:
        for key in shape.get(NEEDS, ()):
            if value.get(key) is None:
                yield f"{path}.{key}", "set"
        for key, item in value.items():
            yield from _misfits(item, shape.get(key, shape.get(EACH, ANY)), f"{path}.{key}" if path else str(key))
