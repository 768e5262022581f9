# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call whom: AuthorizationPolicy and RequestAuthentication."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any

from ..._checks.check import ERROR, INFO, WARNING, Check, FieldFinding
from ..._engine.objects import Object
from ..._traffic.features.validators import METHODS
from ..._traffic.host.host import full_name
from ..findings import ANALYZER, KIALI, OURS, WEBHOOK, parts
from ..object_index import EVERYWHERE, World, contains, labels, name, namespace, place_text, quoted, spec
from .policies import covers, pods_of, selector, targets

# pkg/config/security: attributes of a condition.
ATTRIBUTES = re.compile(
    r"^(request\.headers\[.+\]|request\.auth\.claims(\[.+\])+|source\.(ip|namespace|serviceAccount|principal|trustDomain)|remote\.ip"
    r"|request\.auth\.(principal|audiences|presenter)|destination\.(ip|port)|connection\.sni|experimental\..+\[.+\])$"
)
NOT_CUSTOM = (
    "namespaces",
    "notNamespaces",
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "serviceAccounts",
    "notServiceAccounts",
)
BLOCKS = ("ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks")
OF_HTTP = ("hosts", "notHosts", "methods", "notMethods", "paths", "notPaths")
IDENTITIES = ("principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts")
PRIVATE = ("d", "p", "q", "k")


def _rules(world: World) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    for obj in world["AuthorizationPolicy"]:
        for field, rule in parts(spec(obj).get("rules"), "spec.rules"):
            yield obj, field, rule


def _sources(world: World) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    for obj, field, rule in _rules(world):
        for path, part in parts(rule.get("from"), f"{field}.from"):
            yield obj, f"{path}.source", part.get("source") or {}


def _operations(world: World) -> Iterator[tuple[Object, str, dict[str, Any]]]:
    for obj, field, rule in _rules(world):
        for path, part in parts(rule.get("to"), f"{field}.to"):
            yield obj, f"{path}.operation", part.get("operation") or {}


def action(obj: Object) -> str:
    return str(spec(obj).get("action") or "ALLOW")


def authorization_incomplete(world: World) -> Iterator[FieldFinding]:
    for obj in world["AuthorizationPolicy"]:
        own, done = spec(obj), action(obj)
        if done in ("DENY", "CUSTOM") and own.get("rules") is None:
            yield FieldFinding(
                obj, "spec.rules", f"{done} without rules never has an effect. An empty rule matches every request"
            )
        if done == "CUSTOM" and not (own.get("provider") or {}).get("name"):
            yield FieldFinding(obj, "spec.provider", "CUSTOM needs the name of its provider")
        if done != "CUSTOM" and own.get("provider"):
            yield FieldFinding(obj, "spec.provider", f"{done} has no provider")
    for obj, field, rule in _rules(world):
        for key in ("from", "to"):
            if rule.get(key) == []:
                yield FieldFinding(obj, f"{field}.{key}", "it is empty")
    for obj, field, part in [*_sources(world), *_operations(world)]:
        if not any(part.values()):
            yield FieldFinding(obj, field, "it is empty")


def authorization_values_wrong(world: World) -> Iterator[FieldFinding]:
    for obj, field, source in _sources(world):
        for key in BLOCKS:
            for block in source.get(key) or []:
                try:
                    ipaddress.ip_network(block, strict=False)
                except ValueError:
                    yield FieldFinding(obj, f"{field}.{key}", f"{block} is not a valid address or range")
        if source.get("serviceAccounts") and (source.get("principals") or source.get("namespaces")):
            yield FieldFinding(
                obj, f"{field}.serviceAccounts", "serviceAccounts cannot be combined with principals or namespaces"
            )
        if action(obj) == "CUSTOM":
            for key in NOT_CUSTOM:
                if source.get(key):
                    yield FieldFinding(obj, f"{field}.{key}", f"CUSTOM does not support {key}")
    for obj, field, operation in _operations(world):
        for key in ("ports", "notPorts"):
            for port in operation.get(key) or []:
                if not str(port).isdigit() or not 1 <= int(port) <= 65535:
                    yield FieldFinding(obj, f"{field}.{key}", f"{port} is not a valid port")


def condition_unknown(world: World) -> Iterator[FieldFinding]:
    for obj, field, rule in _rules(world):
        for path, when in parts(rule.get("when"), f"{field}.when"):
            if not ATTRIBUTES.match(when.get("key") or ""):
                yield FieldFinding(obj, f"{path}.key", f"{when.get('key')!r} is not a valid attribute")
            if not when.get("values") and not when.get("notValues"):
                yield FieldFinding(obj, path, "it has neither values nor notValues")


def method_unknown(world: World) -> Iterator[FieldFinding]:
    for obj, field, operation in _operations(world):
        for key in ("methods", "notMethods"):
            for method in operation.get(key) or []:
                # A gRPC method is a path.
                if method not in METHODS and "*" not in method and "/" not in method:
                    yield FieldFinding(
                        obj, f"{field}.{key}", f"{method} is not a valid HTTP method: use capital letters"
                    )


def authorization_host_unknown(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Service"):
        return
    servers = [server for obj in world["Gateway"] for server in spec(obj).get("servers") or []]
    gateways = {host.rpartition("/")[2] for server in servers for host in server.get("hosts") or []}
    routes = [spec(obj) for obj in [*world["VirtualService"], *world["HTTPRoute"]]]
    routed = {host for route in routes for host in route.get("hosts") or route.get("hostnames") or []}
    for obj, field, operation in _operations(world):
        for key in ("hosts", "notHosts"):
            for host in operation.get(key) or []:
                plain = host.partition(":")[0]
                if (
                    "*" not in plain
                    and plain not in gateways | routed
                    and "*" not in gateways
                    and world.ports_of(plain, obj) is None
                ):
                    yield FieldFinding(
                        obj,
                        f"{field}.{key}",
                        f"{host} is not a host of a Service, ServiceEntry, VirtualService or Gateway",
                    )


def _means(pattern: str, value: str) -> bool:
    """Istio's match of a value: exact, or with a wildcard at one end."""
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value.endswith(pattern[1:]) if pattern.startswith("*") else pattern == value


def authorization_no_namespace(world: World) -> Iterator[FieldFinding]:
    if not world.knows("Namespace"):
        return
    for obj, field, source in _sources(world):
        for key in ("namespaces", "notNamespaces"):
            for wanted in source.get(key) or []:
                if wanted != "*" and not any(
                    _means(wanted.lower(), name(space).lower()) for space in world["Namespace"]
                ):
                    yield FieldFinding(obj, f"{field}.{key}", f"namespace {wanted} does not exist")


def principal_unknown(world: World) -> Iterator[FieldFinding]:
    domains = {
        "cluster.local",
        str(world.mesh.get("trustDomain") or "cluster.local"),
        *(world.mesh.get("trustDomainAliases") or []),
    }
    for obj, field, source in _sources(world):
        for principal in source.get("principals") or []:
            found = re.match(r"^([^/*]+)/ns/([^/*]+)/sa/([^/*]+)$", principal)
            if found and found[1] not in domains:
                yield FieldFinding(obj, f"{field}.principals", f"{found[1]} is not a trust domain of this mesh")
            elif found and world.knows("ServiceAccount") and not world.find("ServiceAccount", found[2], found[3]):
                yield FieldFinding(obj, f"{field}.principals", f"ServiceAccount {found[2]}/{found[3]} does not exist")
            elif not found and "*" not in principal:
                yield FieldFinding(
                    obj, f"{field}.principals", f"{principal} does not have the form DOMAIN/ns/NAMESPACE/sa/ACCOUNT"
                )


def authorization_selects_nothing(world: World) -> Iterator[FieldFinding]:
    if not world.knows_pods:
        return
    for obj in world["AuthorizationPolicy"]:
        if targets(obj) or (namespace(obj) == world.root and not selector(obj)):
            continue
        if not any(world.enrolled(pod) or world.ambient(pod) for pod in pods_of(world, obj)):
            yield FieldFinding(
                obj,
                "spec.selector",
                (
                    f"no pod of the mesh has the labels {quoted(selector(obj))}"
                    if selector(obj)
                    else "its namespace has no pod of the mesh"
                ),
            )


def _leads_to_its_pods(world: World, policy: Object, service: Object) -> bool:
    """Whether a pod that the policy is for is behind the Service."""
    wanted = spec(service).get("selector") or {}
    pods = [pod for pod in world.members.get(namespace(service), []) if namespace(pod) == namespace(service)]
    return bool(wanted) and any(covers(world, policy, pod) and contains(pod, wanted) for pod in pods)


def deny_of_http_on_tcp(world: World) -> Iterator[FieldFinding]:
    for obj, field, rule in _rules(world):
        operations = [part.get("operation") or {} for part in rule.get("to") or []]
        of_http = any(operation.get(key) for operation in operations for key in OF_HTTP)
        if action(obj) == "DENY" and of_http and not any(operation.get("ports") for operation in operations):
            tcp = next(
                (
                    _plain_port(service)
                    for service in world["Service"]
                    if _plain_port(service) and _leads_to_its_pods(world, obj, service)
                ),
                "",
            )
            if tcp:
                yield FieldFinding(
                    obj,
                    f"{field}.to",
                    f"plain TCP has no host, method or path: the rule denies all traffic to port {tcp}",
                )


def _plain_port(service: Object) -> str:
    """The first TCP port of a Service whose name says that it is plain."""
    return next(
        (
            str(port.get("port"))
            for port in spec(service).get("ports") or []
            if str(port.get("appProtocol") or port.get("name") or "").partition("-")[0]
            in ("tcp", "mongo", "mysql", "redis")
        ),
        "",
    )


def identity_without_mtls(world: World) -> Iterator[FieldFinding]:
    off = {
        namespace(obj)
        for obj in world["PeerAuthentication"]
        if not selector(obj) and (spec(obj).get("mtls") or {}).get("mode") == "DISABLE"
    }
    for obj, field, source in _sources(world):
        given = [key for key in IDENTITIES if source.get(key)]
        if given and namespace(obj) in off:
            yield FieldFinding(
                obj, f"{field}.{given[0]}", "mutual TLS is off here (DISABLE), and callers have no identity without it"
            )


def _admits(policy: Object, caller: Object, identified: bool, port: str = "") -> bool:
    """Whether some rule of an ALLOW policy may let a caller in; what cannot be judged from objects counts as letting
    in.
    """
    account = spec(caller).get("serviceAccountName") or "default"
    principal = f"/ns/{namespace(caller)}/sa/{account}"
    for rule in spec(policy).get("rules") or []:
        operations = [part.get("operation") or {} for part in rule.get("to") or []]
        if (
            port
            and operations
            and not any(not operation.get("ports") or port in operation["ports"] for operation in operations)
        ):
            continue
        sources = [part.get("source") or {} for part in rule.get("from") or []]
        for source in sources:
            named = [key for key in ("principals", "namespaces", "serviceAccounts") if source.get(key)]
            if not named or (identified and all(_known(source, key, principal, caller) for key in named)):
                return True
        if not sources:
            return True
    return False


def _known(source: dict[str, Any], key: str, principal: str, caller: Object) -> bool:
    if key == "principals":
        return any(
            _means(wanted, f"cluster.local{principal}") or wanted.partition("/")[2] == principal.partition("/")[2]
            for wanted in source[key]
        )
    if key == "namespaces":
        return any(_means(wanted, namespace(caller)) for wanted in source[key])
    return any(
        wanted.rpartition("/")[2] == (spec(caller).get("serviceAccountName") or "default") for wanted in source[key]
    )


def _allows(world: World, pod: Object) -> list[Object]:
    """The ALLOW policies of a pod: with one of them, what none lets in is shut out."""
    return [obj for obj in world["AuthorizationPolicy"] if action(obj) == "ALLOW" and covers(world, obj, pod)]


def deny_all_shuts_out_ingress(world: World) -> Iterator[FieldFinding]:
    told: set[tuple[str, str]] = set()
    for route in world["VirtualService"]:
        for gateway in spec(route).get("gateways") or []:
            space, _slash, wanted = gateway.rpartition("/")
            found = world.find("Gateway", space or namespace(route), wanted)
            callers = world.selected(EVERYWHERE, spec(found).get("selector") or {}) if found else []
            for pod in _behind(world, route) if callers else ():
                allows = _allows(world, pod)
                if allows and not any(_admits(obj, callers[0], identified=True) for obj in allows):
                    for obj in allows:
                        if (place_text(obj), gateway) not in told:
                            told.add((place_text(obj), gateway))
                            yield FieldFinding(
                                obj,
                                "spec.rules",
                                f"it blocks Gateway {wanted}, through which VirtualService {place_text(route)} routes"
                                f" to Pod {place_text(pod)}",
                            )


def _behind(world: World, route: Object) -> list[Object]:
    """Pods of the mesh to which a VirtualService sends."""
    hosts = {
        part["destination"].get("host") or ""
        for rule in spec(route).get("http") or []
        for part in rule.get("route") or []
        if part.get("destination")
    }
    found = []
    for host in sorted(hosts):
        service = world.service(full_name(host, namespace(route)), namespace(route))
        if service and spec(service).get("selector"):
            found += [
                pod for pod in world.selected(namespace(service), spec(service)["selector"]) if world.enrolled(pod)
            ]
    return found


def deny_all_shuts_out_scrape(world: World) -> Iterator[FieldFinding]:
    """Merged metrics are on the proxy's own port 15020, which no policy is for; any other port is behind the proxy."""
    scrapers = [
        pod for pod in world.pods if "prometheus" in (labels(pod).get("app"), labels(pod).get("app.kubernetes.io/name"))
    ]
    told = set()
    for pod in [pod for own in world.members.values() for pod in own if scrapers and world.enrolled(pod)]:
        notes = pod["metadata"].get("annotations") or {}
        port = str(notes.get("prometheus.io/port") or "")
        unmerged = notes.get("prometheus.istio.io/merge-metrics") == "false"
        if notes.get("prometheus.io/scrape") != "true" or port in ("", "15020", "15090") or not unmerged:
            continue
        allows = _allows(world, pod)
        if allows and not any(_admits(obj, scrapers[0], world.enrolled(scrapers[0]), port) for obj in allows):
            for obj in allows:
                if place_text(obj) not in told:
                    told.add(place_text(obj))
                    yield FieldFinding(
                        obj,
                        "spec.rules",
                        f"it blocks Pod {place_text(scrapers[0])}, which scrapes port {port} of Pod {place_text(pod)}",
                    )


def jwt_incomplete(world: World) -> Iterator[FieldFinding]:
    for obj in world["RequestAuthentication"]:
        for field, rule in parts(spec(obj).get("jwtRules"), "spec.jwtRules"):
            if not rule.get("issuer") and not rule.get("jwksUri"):
                yield FieldFinding(obj, field, "it has neither issuer nor jwksUri")
            if rule.get("jwks") and rule.get("jwksUri"):
                yield FieldFinding(obj, field, "it has both jwks and jwksUri: set only one of them")
            if rule.get("jwks") and _keys(rule["jwks"]) is None:
                yield FieldFinding(obj, f"{field}.jwks", "it is not a valid JSON Web Key Set")
            if rule.get("jwksUri") and not re.match(r"^https?://[^/\s]+", rule["jwksUri"]):
                yield FieldFinding(obj, f"{field}.jwksUri", "it is not a valid http:// or https:// URL")


def _keys(text: str) -> list[dict[str, Any]] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    keys = found.get("keys") if isinstance(found, dict) else None
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else None


def jwt_private_key(world: World) -> Iterator[FieldFinding]:
    for obj in world["RequestAuthentication"]:
        for field, rule in parts(spec(obj).get("jwtRules"), "spec.jwtRules"):
            if any(set(PRIVATE) & set(key) for key in _keys(rule.get("jwks") or "") or []):
                yield FieldFinding(
                    obj, f"{field}.jwks", "it contains a private key: everyone who can read it can create tokens"
                )


def jwks_unrestricted(world: World) -> Iterator[FieldFinding]:
    if not world["RequestAuthentication"]:
        return
    for obj in world["Deployment"]:
        containers = ((spec(obj).get("template") or {}).get("spec") or {}).get("containers") or []
        limited = any(
            entry.get("name") == "BLOCKED_CIDRS_IN_JWKS_URIS" and entry.get("value")
            for container in containers
            for entry in container.get("env") or []
        )
        if labels(obj).get("app") == "istiod" and not limited:
            yield FieldFinding(
                obj,
                "spec.template.spec.containers",
                "istiod fetches keys from any address that a RequestAuthentication names: BLOCKED_CIDRS_IN_JWKS_URIS is"
                " not set",
            )


def token_not_required(world: World) -> Iterator[FieldFinding]:
    asking = [
        obj
        for obj, _field, source in _sources(world)
        if source.get("requestPrincipals") or source.get("notRequestPrincipals")
    ]
    asking += [
        obj
        for obj, _field, rule in _rules(world)
        if any(str(when.get("key")).startswith("request.auth.") for when in rule.get("when") or [])
    ]
    for obj in world["RequestAuthentication"]:
        own = targets(obj)
        near = [policy for policy in asking if namespace(policy) in (world.root, namespace(obj))]
        refs = [ref for _field, ref in own]
        same = [
            policy
            for policy in near
            if (
                [ref for _field, ref in targets(policy)] == refs
                if own
                else selector(policy).items() <= selector(obj).items()
            )
        ]
        if not same:
            yield FieldFinding(
                obj, "spec.jwtRules", "no AuthorizationPolicy requires a token: requests without a token are accepted"
            )


CHECKS = (
    Check("authorization_incomplete", ERROR, authorization_incomplete,
          "An AuthorizationPolicy lacks what its action needs, or has an empty part.",
          "DENY and CUSTOM need rules, CUSTOM also a provider. Remove empty parts.", WEBHOOK),
    Check("authorization_values_wrong", ERROR, authorization_values_wrong,
          "An AuthorizationPolicy has an address or port that is not valid, or fields that exclude each other.",
          "Correct the value that is named.", WEBHOOK),
    Check("condition_unknown", ERROR, condition_unknown, "A condition uses an unknown attribute, or has no values.",
          "Use an attribute of istio.io, Authorization policy conditions.", WEBHOOK),
    Check("method_unknown", WARNING, method_unknown, "A policy names an HTTP method that does not exist.",
          "Use capital letters, as in GET.", KIALI("KIA0102")),
    Check("authorization_host_unknown", WARNING, authorization_host_unknown,
          "A policy names a host that does not exist.", "Correct the name.", KIALI("KIA0104")),
    Check("authorization_no_namespace", ERROR, authorization_no_namespace,
          "A policy names a namespace that does not exist.", "Correct the name, or create the namespace first.",
          ANALYZER("IST0101") + ", Kiali KIA0101"),
    Check("principal_unknown", WARNING, principal_unknown, "A policy names a principal that does not exist.",
          "Use the form cluster.local/ns/NAMESPACE/sa/ACCOUNT with an existing ServiceAccount.",
          KIALI("KIA0106, KIA0108")),
    Check("authorization_selects_nothing", WARNING, authorization_selects_nothing,
          "An AuthorizationPolicy selects no pod of the mesh.", "Correct the labels, or enroll the pods.",
          ANALYZER("IST0127") + ", Kiali KIA0004"),
    Check("deny_of_http_on_tcp", WARNING, deny_of_http_on_tcp,
          "A DENY rule with HTTP fields applies to a plain TCP port.", "Set the ports of the rule.", WEBHOOK),
    Check("identity_without_mtls", WARNING, identity_without_mtls,
          "A policy matches identities where mutual TLS is off.", "Turn on mutual TLS for these pods.",
          KIALI("KIA0105")),
    Check("deny_all_shuts_out_ingress", ERROR, deny_all_shuts_out_ingress,
          "ALLOW policies block a gateway that has routes to their pods.",
          "Allow the principal or namespace of the gateway.", OURS),
    Check("deny_all_shuts_out_scrape", WARNING, deny_all_shuts_out_scrape,
          "ALLOW policies block Prometheus from a port that it scrapes.",
          "Allow the port for everyone, or let the proxy merge the metrics.", OURS),
    Check("jwt_incomplete", ERROR, jwt_incomplete, "A JWT rule has no issuer, or keys that are not valid.",
          "Set issuer, and either jwks or jwksUri.", WEBHOOK),
    Check("jwt_private_key", WARNING, jwt_private_key, "A RequestAuthentication contains a private key.",
          "Keep only the public key, and replace the key pair.", WEBHOOK),
    Check("jwks_unrestricted", WARNING, jwks_unrestricted, "istiod fetches JWT keys from any address.",
          "Set BLOCKED_CIDRS_IN_JWKS_URIS in pilot.env.", ANALYZER("IST0175")),
    Check("token_not_required", INFO, token_not_required,
          "JWTs are validated, but requests without a token are accepted.",
          "Add an AuthorizationPolicy with requestPrincipals, or use the module jwt.", "istio.io, JWT"),
)  # fmt: skip
