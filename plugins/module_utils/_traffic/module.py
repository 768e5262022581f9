# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of every module that says one concern of a host: read, compose, refuse what cannot be, converge."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Review, Run, run_module
from . import rollback_checkpoint
from .api_selection import API_ARGUMENT, select_api
from .features import fault_injection, load_balancing, resilience, route, split
from .features.request import FeatureRequest
from .host.reader import Reader
from .host.takeover import Takeover
from .host_policy import Policy
from .rollout import rollout_steps, validate_references
from .wait_for_proxies import PROXY_WAIT_ARGUMENTS, without_last_wait

# In the order in which they are shown.
FEATURES: dict[str, Any] = {"route": route, "split": split, "fault": fault_injection, "resilience": resilience, "load_balancing": load_balancing}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "service": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **API_ARGUMENT,
    **WAIT_ARGUMENTS,
    **PROXY_WAIT_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def with_feature(policy: Policy, concern: str, options: dict[str, Any], warnings: list[str]) -> Policy:
    """The policy with what is asked of this concern in place of what was. Raises InvalidOption."""
    so_far = policy.route_intents.get(concern) or policy.rule_intents.get(concern)
    routing, rule = FEATURES[concern].intents(FeatureRequest(policy.host.full_name, options, so_far, policy.now, warnings))
    return policy.asking(concern, routing, rule)


def run_feature(concern: str, review: Review, **constraints: Any) -> None:
    """The module of a concern. review: has a say in its plan."""
    own = FEATURES[concern].ARGUMENTS
    # Where the concern goes, its options say nothing.
    optional = {name: {key: value for key, value in spec.items() if key != "required"} for name, spec in own.items()}
    needed = [name for name, spec in own.items() if spec.get("required")]

    def body(call: Run) -> dict[str, Any]:
        options, warnings = call.options, []  # type: tuple[dict[str, Any], list[str]]
        present = options["state"] == "present"
        if present:
            # What is wrong in itself is told without a cluster.
            FEATURES[concern].intents(FeatureRequest(options["service"], options, None, Policy.time()))
        reader = Reader(call.cluster)
        policy = replace(Policy.of(reader.read(options["service"], options["namespace"])), takeover=Takeover.of(options, call.cluster.manager))
        policy = with_feature(policy, concern, options, warnings) if present else policy.asking(concern)
        for warning in [*warnings, *policy.takeover.warnings(policy.host)]:
            call.module.warn(warning)
        if not policy.empty:
            policy = select_api(policy, options["api"], reader)
            call.fail_or_warn(validate_references(policy))
        rules = call.apply_options(namespace=options["namespace"])
        steps = [*rollback_checkpoint.checkpoint_steps(call.cluster, policy), *without_last_wait(rollout_steps(policy), options)]
        return call.apply(steps, replace(rules, adopt=rules.adopt | policy.takeover.managers(policy.host, policy.api)))

    required = [("state", "present", needed)] if needed else []
    run_module({**ARGUMENTS, **optional}, body, review, **{"required_if": required, **constraints})
