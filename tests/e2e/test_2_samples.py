# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Istio's own samples say of traffic can be said in our words: both are read as what happens to a request, and
compared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.features.registry import FEATURES
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.host.host import Host, full_name
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.policies import egress, gateway, telemetry
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.rollout import Policy, rollout_steps
from playbook_runner import Lab

SPACE = "shop"
OURS = {
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "Telemetry",
    "Sidecar",
    "AuthorizationPolicy",
    "PeerAuthentication",
    "RequestAuthentication",
}
# Not said, and why.
OUTSIDE = {
    "multicluster/expose-istiod.yaml": "a control plane for other clusters, at ports of its own",
    "multicluster/expose-istiod-https.yaml": "a control plane for other clusters, at ports of its own",
    "multicluster/expose-services.yaml": "AUTO_PASSTHROUGH between networks",
}


def split(host: str, **versions: int) -> dict[str, Any]:
    return {host: {"split": {"versions": {name.replace("_", "-"): weight for name, weight in versions.items()}}}}


def at_gateway(host: str, port: int | None, name: str, *paths: str) -> dict[str, Any]:
    """Paths of any outside host; all others are not found, as where no route is."""
    to = {"to": {"port": port}} if port else {}
    rules: list[dict[str, Any]] = (
        [{"match": [{"path": path} for path in paths], **to}, {"direct_response": 404}] if paths else [to]
    )
    return {host: {"route": {"rules": rules, "gateways": [f"{SPACE}/{name}"], "gateway_hosts": ["*"]}}}


def connections(**versions: int) -> tuple[dict[str, Any], list[tuple[Any, dict[str, Any]]]]:
    """All that a gateway's port for TCP takes, to one port of a host that has two. Both versions have subsets."""
    where = {"gateways": [f"{SPACE}/tcp-echo-gateway"], "gateway_hosts": ["*"], "protocol": "tcp", "port": 9000}
    return {"tcp-echo": {"split": {"versions": versions, **where}}}, [
        (gateway.GATEWAY, {"name": "tcp-echo-gateway", "tcp_port": 31400})
    ]


HTTPS = [{"number": 443, "protocol": "HTTPS"}]
JASON = {"headers": {"end-user": "jason"}}
NETWORKING = "bookinfo/networking"
ALL = {
    **split("productpage", v1=1),
    **split("reviews", v1=1, v2=0, v3=0),
    **split("ratings", v1=1, v2=0, v2_mysql=0, v2_mysql_vm=0),
    **split("details", v1=1, v2=0),
}
# Our words for each sample: {host: {concern: options}}, then other policies as (module, options).
SAID: dict[str, tuple[dict[str, Any], list[tuple[Any, dict[str, Any]]]]] = {
    f"{NETWORKING}/bookinfo-gateway.yaml": (at_gateway("productpage", 9080, "bookinfo-gateway", "/productpage", "/static*", "/login", "/logout",
                                                       "/api/v1/products*"), [(gateway.GATEWAY, {"name": "bookinfo-gateway", "http_port": 8080})]),
    f"{NETWORKING}/certmanager-gateway.yaml": (at_gateway("cert-manager-resolver", 8089, "cert-manager-gateway", "/.well-known/acme-challenge/*"),
                                               [(gateway.GATEWAY, {"name": "cert-manager-gateway"})]),
    f"{NETWORKING}/destination-rule-all.yaml": (ALL, []),
    # That proxies speak mutual TLS among each other goes without saying.
    f"{NETWORKING}/destination-rule-all-mtls.yaml": (ALL, []),
    f"{NETWORKING}/destination-rule-reviews.yaml": ({"reviews": {**split("reviews", v1=1, v2=0, v3=0)["reviews"], "load_balancing": {"algorithm": "random"}}},
                                                    []),
    f"{NETWORKING}/egress-rule-google-apis.yaml": ({}, [(egress.EGRESS,
                                                         {"name": "googleapis", "hosts": ["www.googleapis.com"], "ports": [80, *HTTPS], "tls": {}})]),
    f"{NETWORKING}/fault-injection-details-v1.yaml": ({"details": {**split("details", v1=1)["details"], "fault": {"abort": 555}}}, []),
    f"{NETWORKING}/virtual-service-all-v1.yaml": ({**split("productpage", v1=1), **split("reviews", v1=1), **split("ratings", v1=1), **split("details", v1=1)},
                                                  []),
    f"{NETWORKING}/virtual-service-details-v2.yaml": (split("details", v2=1), []),
    f"{NETWORKING}/virtual-service-ratings-db.yaml": ({**split("reviews", v3=1), **split("ratings", v2=1)}, []),
    f"{NETWORKING}/virtual-service-ratings-mysql.yaml": ({**split("reviews", v3=1), **split("ratings", v2_mysql=1)}, []),
    f"{NETWORKING}/virtual-service-ratings-mysql-vm.yaml": ({**split("reviews", v3=1), **split("ratings", v2_mysql_vm=1)}, []),
    f"{NETWORKING}/virtual-service-ratings-test-abort.yaml": ({"ratings": {**split("ratings", v1=1)["ratings"], "fault": {"abort": 500, "match": JASON}}}, []),
    f"{NETWORKING}/virtual-service-ratings-test-delay.yaml": ({"ratings": {**split("ratings", v1=1)["ratings"], "fault": {"delay": "7s", "match": JASON}}}, []),
    f"{NETWORKING}/virtual-service-reviews-50-v3.yaml": (split("reviews", v1=50, v3=50), []),
    f"{NETWORKING}/virtual-service-reviews-80-20.yaml": (split("reviews", v1=80, v2=20), []),
    f"{NETWORKING}/virtual-service-reviews-90-10.yaml": (split("reviews", v1=90, v2=10), []),
    f"{NETWORKING}/virtual-service-reviews-jason-v2-v3.yaml": ({"reviews": {"route": {"rules": [{"match": JASON, "to": "v2"}]},
                                                                            **split("reviews", v3=1)["reviews"]}}, []),
    f"{NETWORKING}/virtual-service-reviews-test-v2.yaml": ({"reviews": {"route": {"rules": [{"match": JASON, "to": "v2"}]},
                                                                        **split("reviews", v1=1)["reviews"]}}, []),
    f"{NETWORKING}/virtual-service-reviews-v2-v3.yaml": (split("reviews", v2=50, v3=50), []),
    f"{NETWORKING}/virtual-service-reviews-v3.yaml": (split("reviews", v3=1), []),
    "helloworld/helloworld-gateway.yaml": (at_gateway("helloworld", 5000, "helloworld-gateway", "/hello"), [(gateway.GATEWAY, {"name": "helloworld-gateway"})]),
    "httpbin/httpbin-gateway.yaml": (at_gateway("httpbin", 8000, "httpbin-gateway"), [(gateway.GATEWAY, {"name": "httpbin-gateway"})]),
    "websockets/route.yaml": (at_gateway("tornado", None, "tornado-gateway"), [(gateway.GATEWAY, {"name": "tornado-gateway"})]),
    "extauthz/local-ext-authz.yaml": (
        {},
        [
            (egress.EGRESS, {"name": "httpbin-ext-authz-http", "hosts": ["ext-authz-http.local"], "ports": [{"number": 8000, "protocol": "HTTP"}],
                             "endpoints": ["127.0.0.1"]}),
            (egress.EGRESS, {"name": "httpbin-ext-authz-grpc", "hosts": ["ext-authz-grpc.local"], "ports": [{"number": 9000, "protocol": "GRPC"}],
                             "endpoints": ["127.0.0.1"]}),
        ],
    ),
    "tcp-echo/tcp-echo-all-v1.yaml": connections(v1=100, v2=0),
    # The sample is written over the one before, whose Gateway and subsets it goes on with.
    "tcp-echo/tcp-echo-20-v2.yaml": (connections(v1=80, v2=20)[0], []),
    # "theirs": hosts and addresses as the sample's own entry of this number has them.
    "external/aptget.yaml": ({}, [(egress.EGRESS, {"name": "apt", "hosts": "theirs", "ports": [80], "resolution": "none"})]),
    "external/github.yaml": ({}, [(egress.EGRESS, {"name": "web", "hosts": "theirs", "ports": HTTPS, "resolution": "none"}),
                                  (egress.EGRESS, {"name": "ssh", "hosts": "theirs", "addresses": "theirs", "ports": [{"number": 22, "protocol": "TCP"}],
                                                   "resolution": "none"})]),
    "external/pypi.yaml": ({}, [(egress.EGRESS, {"name": f"python-{number}", "hosts": "theirs", "ports": HTTPS, "resolution": "none"}) for number in range(3)]),
    "open-telemetry/tracing/telemetry.yaml": ({}, [(telemetry.TELEMETRY, {"name": "otel-demo", "tracing": {"providers": ["otel-tracing"], "percent": 0}})]),
    "open-telemetry/loki/telemetry.yaml": ({}, [(telemetry.TELEMETRY, {"name": "mesh-logging", "access_logs": {"providers": ["otel"]}})]),
}  # fmt: skip


@pytest.fixture(scope="module")
def samples(lab: Lab) -> Path:
    done = lab.module("release", version="1.31.0", mirror=lab.environment["LAB_RELEASES"])
    assert "failed" not in done, done
    return Path(done["path"]) / "samples"


def documents(path: Path) -> list[dict[str, Any]]:
    return [
        obj
        for obj in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if obj and obj.get("kind") in OURS and "istio.io" in obj.get("apiVersion", "")
    ]


def said(name: str, theirs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects that our words make."""
    hosts, others = SAID[name]
    found = []
    for host, concerns in hosts.items():
        policy = Policy(Host(host, SPACE, service={"spec": {}}), {}, {}, Policy.time())
        for one, given in concerns.items():
            feature = FEATURES[one]
            options = {**{key: spec.get("default") for key, spec in feature.arguments.items()}, **given}
            policy = policy.with_feature(one, feature.parse(options, host), [])
        found += [obj for step in rollout_steps(policy) for obj in step.objects]
    for number, (module, options) in enumerate(others):
        given = {key: spec.get("default") for key, spec in module.arguments.items()}
        options = {key: theirs[number]["spec"][key] if value == "theirs" else value for key, value in options.items()}
        if options.get("tls") == {}:
            options = {
                **options,
                "tls": {key: spec.get("default") for key, spec in module.arguments["tls"]["options"].items()},
            }
        found += module.desired_objects({**given, "namespace": SPACE, **options})
    return found


def destination(where: dict[str, Any]) -> tuple[Any, ...]:
    return full_name(where["host"], SPACE), where.get("subset"), (where.get("port") or {}).get("number")


def routes(service: dict[str, Any]) -> list[Any]:
    """What becomes of a request, rule by rule, up to the first that takes all."""
    found = []
    # At a gateway with one port for connections, that port is no condition.
    listed = [
        {**rule, "match": [match for match in rule.get("match") or [] if match != {"port": 31400}]}
        for rule in service["spec"].get("tcp") or []
    ]
    for rule in service["spec"].get("http") or listed:
        parts = [(destination(part["destination"]), part.get("weight", 100)) for part in rule.get("route") or []]
        total = sum(weight for _where, weight in parts) or 1
        shares = sorted((where, weight / total) for where, weight in parts if weight)
        # A slash is the beginning of every path.
        matches = [match for match in rule.get("match") or [] if match != {"uri": {"prefix": "/"}}]
        fault = {key: {"percentage": {"value": 100}, **value} for key, value in (rule.get("fault") or {}).items()}
        answer = (rule.get("directResponse") or {}).get("status")
        found.append(
            (
                json.dumps(matches, sort_keys=True),
                json.dumps(fault, sort_keys=True).replace("100.0", "100"),
                shares,
                answer,
            )
        )
        if not matches:
            break
    else:
        found.append(("[]", "{}", [], 404))
    return found


def meaning(objects: list[dict[str, Any]], subsets_only: bool) -> dict[str, Any]:
    """By what it is about, in words that two ways of writing share."""
    found: dict[str, Any] = {}
    entries = {host: entry for entry in objects if entry["kind"] == "ServiceEntry" for host in entry["spec"]["hosts"]}
    for obj in objects:
        spec = obj["spec"]
        if obj["kind"] == "VirtualService" and not subsets_only and not set(spec["hosts"]) & set(entries):
            hosts = sorted(full_name(host, SPACE) if host != "*" else host for host in spec["hosts"])
            found[f"routes of {hosts} at {[name.rpartition('/')[2] for name in spec.get('gateways') or ['mesh']]}"] = (
                routes(obj)
            )
        elif obj["kind"] == "DestinationRule" and spec["host"] not in entries:
            host = full_name(spec["host"], SPACE)
            if subsets_only:
                found[f"subsets of {host}"] = sorted(
                    (subset["name"], json.dumps(subset["labels"])) for subset in spec.get("subsets") or []
                )
            found[f"balancing of {host}"] = json.dumps((spec.get("trafficPolicy") or {}).get("loadBalancer"))
        elif obj["kind"] == "Gateway":
            found[f"gateway {obj['metadata']['name']}"] = (
                spec["selector"],
                [
                    (server["port"]["number"], server["port"]["protocol"], server["hosts"], server.get("tls"))
                    for server in spec["servers"]
                ],
            )
        elif obj["kind"] == "Telemetry":
            found["telemetry"] = json.dumps({key: value for key, value in spec.items()}, sort_keys=True).replace(
                "0.0", "0"
            )
        elif obj["kind"] == "ServiceEntry":
            for host in spec["hosts"]:
                found[f"outside {host}"] = (
                    spec.get("resolution", "NONE"),
                    sorted(spec.get("addresses") or []),
                    spec.get("endpoints") or [],
                    [_leaves(objects, host, port) for port in spec["ports"]],
                )
    return {key: value for key, value in found.items() if not (key.startswith("balancing") and value == "null")}


def _leaves(objects: list[dict[str, Any]], host: str, port: dict[str, Any]) -> tuple[int, str, int, str | None]:
    """(port that is called, protocol, port of the host, mode of TLS that a proxy begins)."""
    number = port["number"]
    for obj in objects:
        if obj["kind"] == "VirtualService" and host in obj["spec"]["hosts"]:
            for rule in obj["spec"].get("http") or []:
                if any(match.get("port") == port["number"] for match in rule.get("match") or []):
                    number = rule["route"][0]["destination"]["port"]["number"]
    modes = {
        setting["port"]["number"]: setting["tls"]["mode"]
        for obj in objects
        if obj["kind"] == "DestinationRule" and obj["spec"]["host"] == host
        for setting in (obj["spec"].get("trafficPolicy") or {}).get("portLevelSettings") or []
    }
    # What already is TLS is not begun again.
    return (
        port["number"],
        port["protocol"].upper(),
        port.get("targetPort", number),
        modes.get(number) if port["protocol"] == "HTTP" else None,
    )


def test_every_sample_is_said_or_named(samples: Path) -> None:
    there = {
        str(path.relative_to(samples))
        for path in samples.rglob("*.yaml")
        if "gateway-api" not in path.parts and "ambient-argo" not in path.parts and documents_or_none(path)
    }
    assert there == set(SAID) | set(OUTSIDE), there ^ (set(SAID) | set(OUTSIDE))


def documents_or_none(path: Path) -> list[dict[str, Any]]:
    try:
        return documents(path)
    except yaml.YAMLError:
        # Templates are no manifests.
        return []


@pytest.mark.parametrize("name", sorted(SAID))
def test_it_means_the_same_in_our_words(samples: Path, name: str) -> None:
    theirs = documents(samples / name)
    subsets_only = all(obj["kind"] == "DestinationRule" for obj in theirs)
    ours = said(name, theirs)
    assert meaning(ours, subsets_only) == meaning(theirs, subsets_only)
