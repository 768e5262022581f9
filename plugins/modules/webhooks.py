#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: webhooks
short_description: Open or close Istio's webhooks during an outage of istiod
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Istio's webhooks fail closed. While istiod does not answer, pods of injected namespaces cannot start and Istio objects cannot be written.
  - The module opens webhooks without ready endpoints, and closes them when istiod is ready again. It deletes no webhook and changes no selector.
  - Pods that start while the webhooks are open have no sidecar. O(servicemesh.istio.restart#module:missing_sidecar) restarts them later.
  - M(servicemesh.istio.control_plane) also closes the webhooks when istiod is ready.
options:
  state:
    description:
      - V(open) sets the failure policy of entries that fail closed to C(Ignore).
      - V(closed) restores the failure policy of the entries that this module opened, and the owner of the field. It fails while istiod is not ready.
    type: str
    choices: [open, closed]
    required: true
  force:
    description:
      - With O(state=open), whether to open webhooks with ready endpoints or outside the cluster as well.
      - With O(state=closed), whether to close webhooks without ready endpoints as well.
    type: bool
    default: false
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
seealso:
  - name: Dynamic admission webhooks
    description: Istio's webhooks.
    link: https://istio.io/latest/docs/ops/configuration/mesh/webhook/
  - name: Admission webhooks
    description: Failure policy of webhooks.
    link: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
"""

EXAMPLES = r"""
- name: Open the webhooks
  servicemesh.istio.webhooks:
    state: open
  register: opened

- name: Show the opened webhooks
  ansible.builtin.debug:
    var: opened.webhooks

- name: Close the webhooks
  servicemesh.istio.webhooks:
    state: closed
"""

RETURN = r"""
webhooks:
  description: The configurations that were opened or closed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [MutatingWebhookConfiguration istio-sidecar-injector-1-30-4]
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs for the plan.
  returned: when a plan was made
  type: dict
  sample: {created: 0, configured: 2, recreated: 0, unchanged: 0, pruned: 0, failed: 0, dry_runs: 2}
objects:
  description: All objects of the plan.
  returned: when a plan was made
  type: list
  elements: dict
  contains:
    ref:
      description: Group, version, kind, namespace and name.
      type: dict
    action:
      description: One of created, configured, recreated, unchanged, pruned, failed, pending.
      type: str
    conflicts:
      description: Fields that other field managers own, each with its manager.
      type: list
      elements: dict
    status:
      description: Status as kstatus reports it, if the module waited for the object.
      type: str
    message:
      description: Further information.
      type: str
verified:
  description: Conditions that were verified between steps.
  returned: when a plan was made
  type: list
  elements: str
duration:
  description: Seconds by phase.
  returned: always
  type: dict
failure:
  description: Code, object, reason and hint. The code is stable.
  returned: on failure
  type: dict
  sample: {code: webhook_unanswered, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.module import Run, run_module
from ..module_utils._engine.planning.change import ApplyOptions
from ..module_utils._engine.steps import Step
from ..module_utils._failure import Failure
from ..module_utils._istio import webhooks
from ..module_utils._mesh import facts, registry
from ..module_utils._mesh.checks.webhooks import configurations, unanswered

ARGUMENTS = {
    "state": {"type": "str", "choices": ["open", "closed"], "required": True},
    "force": {"type": "bool", "default": False},
    "istio_namespace": {"type": "str", "default": "istio-system"},
}


def body(run: Run) -> dict:
    opening, force = run.options["state"] == "open", run.options["force"]
    # With force nobody has to know what is behind them.
    sources = registry.HOOKS if force else registry.REACHED
    found = run.timed(
        "read",
        lambda: facts.read_facts(
            run.cluster, run.options["istio_namespace"], sources, needed=frozenset(sources) - {facts.SLICES}
        ),
    )
    dead = (
        {}
        if force
        else {
            facts.object_text(obj): cause
            for obj, cause in unanswered(found, webhooks.closed_entries if opening else webhooks.opened_entries)
        }
    )
    if opening:
        chosen = [
            obj
            for obj in configurations(found)
            if webhooks.closed_entries(obj) and (force or facts.object_text(obj) in dead)
        ]
        result = run.apply(
            [Step("open", [webhooks.open_patch(obj) for obj in chosen])],
            ApplyOptions(force=True),
            manager=webhooks.OPENER,
        )
    else:
        chosen = [obj for obj in configurations(found) if webhooks.opened_entries(obj)]
        run.fail_or_warn(
            [
                Failure("webhook_unanswered", f"{name}: {cause}", hint="Start istiod first, or set force.")
                for name, cause in dead.items()
            ]
        )
        result = run.apply([], ApplyOptions())
        for manager, objects in webhooks.close_patches(
            [obj for obj in configurations(found) if webhooks.was_opened(obj)]
        ).items():
            result = run.apply(
                [Step("close", objects)],
                ApplyOptions(force=True, adopt=frozenset({webhooks.OPENER}) - {manager}),
                manager=manager,
            )
    return {**result, "webhooks": [facts.object_text(obj) for obj in chosen]}


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
