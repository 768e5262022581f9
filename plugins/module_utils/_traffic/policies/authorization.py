# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call what: one AuthorizationPolicy that allows, and one that denies."""

from __future__ import annotations

from typing import Any

from ..._engine.objects import Object, Ref
from ..._failure import InvalidOption
from ..features import validators
from .policy_module import PolicyModule, workload_labels

GROUP, API, KIND = "security.istio.io", "security.istio.io/v1", "AuthorizationPolicy"
RULE, WHEN = ("from", "to", "when"), ("key", "values", "not_values")
SOURCE = {
    "service_accounts": "principals",
    "principals": "principals",
    "namespaces": "namespaces",
    "ips": "ipBlocks",
    "remote_ips": "remoteIpBlocks",
    "request_principals": "requestPrincipals",
}
OPERATION = ("methods", "paths", "ports", "hosts")
# Conditions that Istio knows (istio.io, Authorization Policy Conditions).
CONDITIONS = (
    "request.headers",
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "experimental.envoy.filters.",
)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "workload": {"type": "dict", "default": {}},
    "allow": {"type": "list", "elements": "dict"},
    "deny": {"type": "list", "elements": "dict", "default": []},
    "default": {"type": "str", "choices": ["allow", "deny"]},
    "dry_run": {"type": "bool", "default": False},
}


def _policy(options: dict[str, Any], action: str, rules: list[dict[str, Any]]) -> Object:
    metadata: dict[str, Any] = {"name": f"{options['name']}-{action.lower()}", "namespace": options["namespace"]}
    if options["dry_run"]:
        metadata["annotations"] = {"istio.io/dry-run": "true"}
    spec: dict[str, Any] = {"action": action}
    if options["workload"]:
        spec["selector"] = {"matchLabels": workload_labels(options)}
    if rules:
        spec["rules"] = rules
    return {"apiVersion": API, "kind": KIND, "metadata": metadata, "spec": spec}


def _rule(option: str, rule: Any) -> dict[str, Any]:
    given = validators.keys(option, rule, RULE)
    found: dict[str, Any] = {}
    sources = given.get("from") or []
    if sources:
        found["from"] = [
            {"source": _source(f"{option}.from", one)} for one in (sources if isinstance(sources, list) else [sources])
        ]
    targets = given.get("to") or []
    if targets:
        found["to"] = [
            {"operation": _operation(f"{option}.to", one)}
            for one in (targets if isinstance(targets, list) else [targets])
        ]
    if given.get("when"):
        found["when"] = [_condition(f"{option}.when", one) for one in given["when"]]
    return found


def _listed(option: str, value: Any) -> list[Any]:
    return validators.listed(option, value, "Remove it to match all.")


def _negated(key: str, known: Any) -> tuple[str, bool]:
    return (
        (key.removeprefix("not_"), True)
        if key.startswith("not_") and key.removeprefix("not_") in known
        else (key, False)
    )


def _camel(name: str, negated: bool) -> str:
    return f"not{name[0].upper()}{name[1:]}" if negated else name


def _source(option: str, value: Any) -> dict[str, Any]:
    names = tuple(SOURCE) + tuple(f"not_{name}" for name in SOURCE)
    found: dict[str, Any] = {}
    given = validators.keys(option, value, names)
    if not given:
        raise InvalidOption(option, "a source is empty", hint=f"Set one of {', '.join(SOURCE)}.", code="list_empty")
    for key, content in given.items():
        name, negated = _negated(key, SOURCE)
        values = [str(item) for item in _listed(f"{option}.{key}", content)]
        if name == "service_accounts":
            values = [_principal(f"{option}.{key}", item) for item in values]
        found.setdefault(_camel(SOURCE[name], negated), []).extend(values)
    return found


def _principal(option: str, account: str) -> str:
    """NAMESPACE/NAME of a service account as the identity in its certificate, of any trust domain."""
    namespace, slash, name = account.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise InvalidOption(
            option,
            f"{account!r} is not a valid service account",
            hint="Use the form NAMESPACE/NAME.",
            code="service_account_invalid",
        )
    return f"*/ns/{namespace}/sa/{name}"


def _operation(option: str, value: Any) -> dict[str, Any]:
    names = OPERATION + tuple(f"not_{name}" for name in OPERATION)
    found: dict[str, Any] = {}
    given = validators.keys(option, value, names)
    if not given:
        raise InvalidOption(
            option, "an operation is empty", hint=f"Set one of {', '.join(OPERATION)}.", code="list_empty"
        )
    for key, content in given.items():
        name, negated = _negated(key, OPERATION)
        values = _listed(f"{option}.{key}", content)
        if name == "methods":
            values = [validators.method(f"{option}.{key}", item) for item in values]
        elif name == "ports":
            values = [str(validators.port(f"{option}.{key}", item)) for item in values]
        elif name == "paths" and any(not str(item).startswith(("/", "*")) for item in values):
            raise InvalidOption(
                f"{option}.{key}",
                f"not all of {values} start with a slash",
                hint="Use a leading or trailing * as a wildcard.",
                code="path_invalid",
            )
        found[_camel(name, negated)] = [str(item) for item in values]
    return found


def _condition(option: str, value: Any) -> dict[str, Any]:
    given = validators.keys(option, value, WHEN)
    key = str(given.get("key") or "")
    if not key.startswith(CONDITIONS):
        raise InvalidOption(
            f"{option}.key",
            f"{key!r} is not a valid condition",
            hint=f"Use a condition that starts with one of {', '.join(CONDITIONS)}.",
            code="condition_unknown",
        )
    if not given.get("values") and not given.get("not_values"):
        raise InvalidOption(option, f"{key} sets neither values nor not_values", code="list_empty")
    found: dict[str, Any] = {"key": key}
    for name, written in (("values", "values"), ("not_values", "notValues")):
        if given.get(name):
            found[written] = [str(item) for item in _listed(f"{option}.{name}", given[name])]
    return found


def _literals(rules: list[dict[str, Any]]) -> list[str]:
    """Paths of the rules that a proxy has as they are."""
    operations = [one.get("operation") or {} for rule in rules for one in rule.get("to") or []]
    paths = [path for operation in operations for path in operation.get("paths") or []]
    return [path.strip("*") for path in paths if "{" not in path and path.strip("*")]


class AuthorizationModule(PolicyModule):
    """The module authorization."""

    arguments = ARGUMENTS

    def owned_refs(self, options: dict[str, Any]) -> list[Ref]:
        return [Ref(GROUP, KIND, options["namespace"], f"{options['name']}-{action}") for action in ("allow", "deny")]

    def desired_objects(self, options: dict[str, Any]) -> list[Object]:
        """Raises InvalidOption naming the rule.

        An empty list of what is allowed allows nothing (istio.io, Authorization Policy); without any, all that is not
        denied is allowed.
        """
        allow = options.get("allow")
        if options.get("default") == "allow" and allow:
            raise InvalidOption(
                "default",
                "allow has no effect together with allow rules",
                hint="Remove default, or use only deny rules.",
                code="authorization_ambiguous",
            )
        if allow is None and options.get("default") == "deny":
            allow = []
        if allow is None and not options["deny"]:
            raise InvalidOption(
                "allow",
                "neither allow, deny nor default is set",
                hint="Set allow, deny, or default: deny.",
                code="authorization_empty",
            )
        found = []
        if allow is not None:
            found.append(
                _policy(options, "ALLOW", [_rule(f"allow[{number}]", rule) for number, rule in enumerate(allow, 1)])
            )
        if options["deny"]:
            found.append(
                _policy(
                    options, "DENY", [_rule(f"deny[{number}]", rule) for number, rule in enumerate(options["deny"], 1)]
                )
            )
        return found

    def proxy_markers(self, obj: Object) -> list[str]:
        """As istiod names the rules of a policy in Envoy's filter (pilot/pkg/security/authz/builder); of one without
        rules there is no name.
        """
        metadata, rules = obj["metadata"], (obj.get("spec") or {}).get("rules") or []
        name = f"ns[{metadata['namespace']}]-policy[{metadata['name']}]"
        if not rules:
            return []
        return [f"{name}-rule[0]", *(f"{name}-rule[{number}]" for number in range(1, len(rules))), *_literals(rules)]


AUTHORIZATION = AuthorizationModule()
