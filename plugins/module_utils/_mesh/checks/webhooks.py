# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Webhooks of injection and validation, and the tags that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..._checks.check import Finding
from ..._engine.objects import Object
from ..._engine.selectors import selects
from ..._istio import certificates, webhooks
from ..._istio.dataplane.injection import DEFAULT, revision_label
from ..facts import Facts, object_text
from ..gate import Gate, Unknown

VALIDATED = "networking.istio.io"
WITHOUT = {
    "MutatingWebhookConfiguration": "no pod that it selects can start",
    "ValidatingWebhookConfiguration": "no Istio object can be written",
}


def configurations(facts: Facts) -> list[Object]:
    return [*facts["injectors"], *facts["validators"]]


def _entries(objects: list[Object]) -> Iterator[tuple[Object, dict[str, Any]]]:
    return ((obj, hook) for obj in objects for hook in webhooks.active_entries(obj))


def injector_missing(facts: Facts, _gate: Gate) -> list[Finding]:
    known = {revision_label(obj) for obj in facts["injectors"]}
    return [
        Finding(f"revision {plane['revision']}", "it has no injection webhook, so it injects no pods")
        for plane in facts.planes
        if plane["revision"] not in known
    ]


def webhook_no_ca(facts: Facts, _gate: Gate) -> list[Finding]:
    bare = {object_text(obj) for obj, hook in _entries(configurations(facts)) if not webhooks.armed_entry(hook)}
    return [
        Finding(name, "istiod has not written its CA to it, so the API server does not trust the webhook")
        for name in sorted(bare)
    ]


def webhook_ca_foreign(facts: Facts, _gate: Gate) -> list[Finding]:
    carried: dict[tuple[str, str], str] = {}
    for obj, hook in _entries(configurations(facts)):
        bundle = hook["clientConfig"].get("caBundle")
        if bundle and webhooks.service_of(hook):
            carried[(object_text(obj), bundle)] = bundle
    if not carried:
        return []
    try:
        roots = {root.fingerprint for root in facts.roots}
    except ValueError as error:
        raise Unknown(f"the root certificate of the mesh is not known: {error}") from error
    return [
        Finding(name, cause)
        for (name, _bundle), bundle in sorted(carried.items())
        if (cause := _foreign(bundle, roots))
    ]


def _foreign(bundle: str, roots: set[str]) -> str:
    try:
        own = {certificate.fingerprint for certificate in certificates.of_base64(bundle)}
    except ValueError as error:
        return f"its caBundle is not valid: {error}"
    return "" if own & roots else "its CA is not a root certificate of the mesh"


def webhook_service_missing(facts: Facts, _gate: Gate) -> list[Finding]:
    named = {
        (object_text(obj), place)
        for obj, hook in _entries(configurations(facts))
        if (place := webhooks.service_of(hook)) and not facts.service(*place)
    }
    return [Finding(name, f"its Service {'/'.join(place)} does not exist") for name, place in sorted(named)]


def webhook_unanswered(facts: Facts, _gate: Gate) -> list[Finding]:
    """Only what fails closed: there nothing goes on without an answer."""
    return [
        Finding(object_text(obj), f"{cause}: {WITHOUT[obj['kind']]}")
        for obj, cause in unanswered(facts, webhooks.closed_entries)
    ]


def unanswered(facts: Facts, entries: Callable[[Object], list[dict[str, Any]]]) -> Iterator[tuple[Object, str]]:
    """(configuration, why) of these entries of each that lead to a Service with nothing ready behind it."""
    for obj in configurations(facts):
        for place in sorted({place for hook in entries(obj) if (place := webhooks.service_of(hook))}):
            service = facts.service(*place)
            if service is None or facts.ready_behind(service) == 0:
                yield obj, f"Service {'/'.join(place)} has no ready endpoint"


def injector_open(facts: Facts, _gate: Gate) -> list[Finding]:
    opened = {object_text(obj) for obj, hook in _entries(facts["injectors"]) if webhooks.policy_of(hook) == "Ignore"}
    return [Finding(name, "pods start without a sidecar while istiod does not answer") for name in sorted(opened)]


def validator_open(facts: Facts, _gate: Gate) -> list[Finding]:
    opened = {object_text(obj) for obj, hook in _entries(facts["validators"]) if webhooks.policy_of(hook) == "Ignore"}
    return [Finding(name, "invalid objects are accepted while istiod does not answer") for name in sorted(opened)]


def default_validator_missing(facts: Facts, _gate: Gate) -> list[Finding]:
    takes = any(
        _validates(hook) and selects(hook.get("objectSelector"), {}) for _obj, hook in _entries(facts["validators"])
    )
    return (
        []
        if takes or not facts.planes
        else [Finding("objects without a revision", "no webhook validates them, so invalid objects are accepted")]
    )


def _validates(hook: dict[str, Any]) -> bool:
    return any(VALIDATED in (rule.get("apiGroups") or []) for rule in hook.get("rules") or [])


def webhooks_overlap(facts: Facts, _gate: Gate) -> list[Finding]:
    found = webhooks.overlap(facts["injectors"], [])
    if found is None:
        return []
    return [
        Finding(
            f"MutatingWebhookConfiguration {found.first}",
            f"{found.second} matches the same pods: with labels {found.pod} in namespaces with labels"
            f" {found.namespace}",
        )
    ]


def default_tag_missing(facts: Facts, _gate: Gate) -> list[Finding]:
    if not facts.planes or facts.known.resolve(DEFAULT):
        return []
    return [Finding("tag default", "no control plane injects namespaces with istio-injection=enabled")]


def tag_dangling(facts: Facts, _gate: Gate) -> list[Finding]:
    """A revision whose istiod runs elsewhere has an injector of its own, and no Deployment."""
    living = {plane["revision"] for plane in facts.planes} | facts.known.untagged
    return [
        Finding(f"tag {tag}", f"it points to revision {revision}, which does not exist")
        for tag, revision in sorted(facts.known.tags.items())
        if revision not in living
    ]
