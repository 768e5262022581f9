# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules of single features: parse options, read the host, compose its policy, validate it, apply it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Review, Run, run_module
from . import rollback_checkpoint
from .api_selection import API_ARGUMENT, select_api
from .features.feature import Intent
from .features.registry import FEATURES
from .host.reader import Reader
from .host.takeover import Takeover
from .host_policy import Policy
from .references import validate_references
from .rollout import rollout_steps
from .wait_for_proxies import PROXY_WAIT_ARGUMENTS, without_last_wait

ARGUMENTS: dict[str, dict[str, Any]] = {
    "service": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **API_ARGUMENT,
    **WAIT_ARGUMENTS,
    **PROXY_WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def run_feature(name: str, review: Review, **constraints: Any) -> None:
    """Runs the module of a feature. review: has a say in its plan."""
    feature = FEATURES[name]
    # Where the feature is removed, its options say nothing.
    optional = {
        key: {word: value for word, value in spec.items() if word != "required"}
        for key, spec in feature.arguments.items()
    }
    needed = [key for key, spec in feature.arguments.items() if spec.get("required")]

    def body(call: Run) -> dict[str, Any]:
        options, warnings = call.options, []  # type: tuple[dict[str, Any], list[str]]
        # Before the cluster is asked: bad options need none.
        intent = feature.parse(options, options["service"]) if options["state"] == "present" else Intent()
        reader = Reader(call.cluster)
        before = Policy.of(reader.read(options["service"], options["namespace"]))
        policy = replace(before, takeover=Takeover.of(options, call.cluster.manager))
        policy = (
            policy.with_feature(name, intent, warnings)
            if options["state"] == "present"
            else policy.with_intent(name, intent)
        )
        for warning in [*warnings, *policy.takeover_warnings()]:
            call.module.warn(warning)
        if not policy.empty:
            policy = select_api(policy, options["api"], reader)
            call.fail_or_warn(validate_references(policy))
        rules = call.apply_options(namespace=options["namespace"])
        steps = [
            *rollback_checkpoint.checkpoint_steps(call.cluster, policy),
            *without_last_wait(rollout_steps(policy), options),
        ]
        return call.apply(steps, replace(rules, adopt=rules.adopt | policy.overwritten_managers()))

    required = [("state", "present", needed)] if needed else []
    run_module({**ARGUMENTS, **optional}, body, review, **{"required_if": required, **constraints})
