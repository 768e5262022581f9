# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of every module that says one concern of a host: read, compose, refuse what cannot be, converge."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._engine.module import OWNERSHIP_ARGUMENTS, WAIT_ARGUMENTS, Review, Run, run_module
from . import rollback_checkpoint as before
from .api_selection import ARGUMENT, settled
from .features import fault_injection as fault
from .features import load_balancing, resilience, route, split
from .features.request import Asked
from .host.reader import Reader
from .host.takeover import Taking
from .host_policy import Policy
from .rollout import check, desired
from .wait_for_proxies import CONVERGED_ARGUMENTS, waited

# In the order in which they are shown.
CONCERNS: dict[str, Any] = {"route": route, "split": split, "fault": fault, "resilience": resilience, "load_balancing": load_balancing}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **ARGUMENT,
    **WAIT_ARGUMENTS,
    **CONVERGED_ARGUMENTS,
    **OWNERSHIP_ARGUMENTS,
}


def asking(policy: Policy, concern: str, options: dict[str, Any], warnings: list[str]) -> Policy:
    """The policy with what is asked of this concern in place of what was. Raises InvalidOption."""
    so_far = policy.routing.get(concern) or policy.rule.get(concern)
    routing, rule = CONCERNS[concern].intents(Asked(policy.live.full_name, options, so_far, policy.now, warnings))
    return policy.asking(concern, routing, rule)


def run(concern: str, review: Review, **constraints: Any) -> None:
    """The module of a concern. review: has a say in its plan."""
    own = CONCERNS[concern].ARGUMENTS
    # Where the concern goes, its options say nothing.
    optional = {name: {key: value for key, value in spec.items() if key != "required"} for name, spec in own.items()}
    needed = [name for name, spec in own.items() if spec.get("required")]

    def body(call: Run) -> dict[str, Any]:
        options, warnings = call.options, []  # type: tuple[dict[str, Any], list[str]]
        present = options["state"] == "present"
        if present:
            # What is wrong in itself is told without a cluster.
            CONCERNS[concern].intents(Asked(options["host"], options, None, Policy.time()))
        reader = Reader(call.cluster)
        policy = replace(Policy.of(reader.read(options["host"], options["namespace"])), taking=Taking.of(options, call.cluster.manager))
        policy = asking(policy, concern, options, warnings) if present else policy.asking(concern)
        for warning in [*warnings, *policy.taking.warnings(policy.live)]:
            call.module.warn(warning)
        if not policy.empty:
            policy = settled(policy, options["api"], reader)
            call.refuse(check(policy))
        rules = call.rules(namespace=options["namespace"])
        steps = [*before.kept(call.cluster, policy), *waited(desired(policy), options)]
        return call.converge(steps, replace(rules, adopt=rules.adopt | policy.taking.managers(policy.live, policy.api)))

    required = [("state", "present", needed)] if needed else []
    run_module({**ARGUMENTS, **optional}, body, review, **{"required_if": required, **constraints})
