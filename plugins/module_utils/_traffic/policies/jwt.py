# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tokens a workload takes, and whether it asks for one: RequestAuthentication, and an AuthorizationPolicy that
denies what carries none.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..._engine.objects import Object, Ref
from ..._failure import InvalidOption
from ..features import validators
from .policy_module import PolicyModule, workload_labels

GROUP, API, KIND = "security.istio.io", "security.istio.io/v1", "RequestAuthentication"
POLICY = "AuthorizationPolicy"
ISSUER = (
    "issuer",
    "keys",
    "keys_url",
    "audiences",
    "from_headers",
    "from_params",
    "from_cookies",
    "forward",
    "payload_header",
    "claim_headers",
)
URL = re.compile(r"^https?://[^/\s?#]+(/\S*)?$")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "workload": {"type": "dict", "default": {}},
    # Public keys are no secret; the name would have ansible-core censor them.
    "issuers": {"type": "list", "elements": "dict", "no_log": False},
    "required": {"type": "bool", "default": True},
    "open_paths": {"type": "list", "elements": "str", "default": []},
}


def _policy_name(options: dict[str, Any]) -> str:
    return f"{options['name']}-token"


def _issuer(option: str, value: Any) -> dict[str, Any]:
    given = validators.keys(option, value, ISSUER)
    issuer = given.get("issuer")
    if not isinstance(issuer, str) or not issuer:
        raise InvalidOption(
            f"{option}.issuer", "it is empty", hint="Set the value of the claim iss.", code="issuer_invalid"
        )
    if "keys" in given and "keys_url" in given:
        raise InvalidOption(
            option, "both keys and keys_url are set", hint="Set only one of them.", code="jwt_ambiguous"
        )
    found: dict[str, Any] = {"issuer": issuer}
    if "keys" in given:
        found["jwks"] = _keys(f"{option}.keys", given["keys"])
    elif "keys_url" in given:
        found["jwksUri"] = _url(f"{option}.keys_url", given["keys_url"])
    elif not URL.match(issuer):
        raise InvalidOption(
            option,
            f"no keys for issuer {issuer}",
            hint="Set keys or keys_url. Only an issuer that is a URL can publish its keys (OpenID Connect Discovery).",
            code="keys_missing",
        )
    if "audiences" in given:
        found["audiences"] = [str(one) for one in _listed(f"{option}.audiences", given["audiences"])]
    if "from_headers" in given:
        found["fromHeaders"] = [
            _header(f"{option}.from_headers", one) for one in _listed(f"{option}.from_headers", given["from_headers"])
        ]
    for key, name in (("from_params", "fromParams"), ("from_cookies", "fromCookies")):
        if key in given:
            found[name] = [str(one) for one in _listed(f"{option}.{key}", given[key])]
    if given.get("forward"):
        found["forwardOriginalToken"] = True
    if "payload_header" in given:
        found["outputPayloadToHeader"] = validators.header(f"{option}.payload_header", given["payload_header"])
    if "claim_headers" in given:
        place = f"{option}.claim_headers"
        if not isinstance(given["claim_headers"], dict):
            raise InvalidOption(
                place, f"{given['claim_headers']!r} is not a mapping of headers to claims", code="header_invalid"
            )
        found["outputClaimToHeaders"] = [
            {"header": validators.header(place, header), "claim": str(claim)}
            for header, claim in given["claim_headers"].items()
        ]
    return found


def _listed(option: str, value: Any) -> list[Any]:
    return validators.listed(option, value, "Remove it.")


def _header(option: str, value: Any) -> dict[str, str]:
    given = {"name": value} if isinstance(value, str) else validators.keys(option, value, ("name", "prefix"))
    found = {"name": validators.header(option, given.get("name"))}
    return {**found, "prefix": str(given["prefix"])} if given.get("prefix") else found


def _url(option: str, value: Any) -> str:
    if not isinstance(value, str) or not URL.match(value):
        raise InvalidOption(option, f"{value!r} is not a valid http or https URL", code="url_invalid")
    return value


def _keys(option: str, value: Any) -> str:
    """A JSON Web Key Set (RFC 7517), as data or as its text; private keys are refused, for anybody may read the
    object.
    """
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise InvalidOption(
            option, "it is not valid JSON", hint="Set a JSON Web Key Set, as text or as data.", code="keys_invalid"
        ) from error
    listed = found.get("keys") if isinstance(found, dict) else None
    if (
        not isinstance(listed, list)
        or not listed
        or any(not isinstance(key, dict) or "kty" not in key for key in listed)
    ):
        raise InvalidOption(
            option, "it is not a JSON Web Key Set", hint="Use the form {keys: [{kty: ...}, ...]}.", code="keys_invalid"
        )
    if any(key.get("d") or key.get("kty") == "oct" for key in listed):
        raise InvalidOption(
            option,
            "one of the keys is private",
            hint=(
                "Use only public keys, and replace this key pair: everyone who has seen the private key can sign"
                " tokens."
            ),
            code="keys_private",
        )
    return json.dumps(found, sort_keys=True)


class JwtModule(PolicyModule):
    """The module jwt."""

    arguments = ARGUMENTS
    constraints = {"required_if": [("state", "present", ["issuers"])]}

    def owned_refs(self, options: dict[str, Any]) -> list[Ref]:
        return [
            Ref(GROUP, KIND, options["namespace"], options["name"]),
            Ref(GROUP, POLICY, options["namespace"], _policy_name(options)),
        ]

    def desired_objects(self, options: dict[str, Any]) -> list[Object]:
        """A RequestAuthentication alone lets in what carries no token at all (istio.io, RequestAuthentication): the
        policy beside it does not.

        Raises InvalidOption.
        """
        if not options["issuers"]:
            raise InvalidOption(
                "issuers", "the list is empty", hint="Add at least one, or set state: absent.", code="list_empty"
            )
        if options["open_paths"] and not options["required"]:
            raise InvalidOption(
                "open_paths", "no path requires a token", hint="Remove it, or set required.", code="jwt_ambiguous"
            )
        rules = [_issuer(f"issuers[{number}]", one) for number, one in enumerate(options["issuers"], 1)]
        names = [rule["issuer"] for rule in rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise InvalidOption(
                "issuers",
                f"duplicate issuer {twice}",
                hint="Merge the two issuers into one entry.",
                code="issuer_twice",
            )
        for path in options["open_paths"]:
            if not path.startswith(("/", "*")):
                raise InvalidOption(
                    "open_paths",
                    f"{path!r} does not start with a slash",
                    hint="Use a leading or trailing * as a wildcard.",
                    code="path_invalid",
                )
        chosen: dict[str, Any] = {"selector": {"matchLabels": workload_labels(options)}} if options["workload"] else {}
        place = {"namespace": options["namespace"]}
        found: list[Object] = [
            {
                "apiVersion": API,
                "kind": KIND,
                "metadata": {"name": options["name"], **place},
                "spec": {**chosen, "jwtRules": rules},
            }
        ]
        if options["required"]:
            rule: dict[str, Any] = {"from": [{"source": {"notRequestPrincipals": ["*"]}}]}
            if options["open_paths"]:
                rule["to"] = [{"operation": {"notPaths": list(options["open_paths"])}}]
            spec = {**chosen, "action": "DENY", "rules": [rule]}
            found.append(
                {"apiVersion": API, "kind": POLICY, "metadata": {"name": _policy_name(options), **place}, "spec": spec}
            )
        return found

    def proxy_markers(self, obj: Object) -> list[str]:
        """Issuers, as Envoy's filter for tokens has them; the name of the policy's rule (see authorization)."""
        if obj["kind"] == POLICY:
            return [f"ns[{obj['metadata']['namespace']}]-policy[{obj['metadata']['name']}]-rule[0]"]
        return [rule["issuer"] for rule in (obj.get("spec") or {}).get("jwtRules") or [] if rule.get("issuer")]


JWT = JwtModule()
