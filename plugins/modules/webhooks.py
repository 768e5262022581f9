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
  - Istio's webhooks have the failure policy C(Fail). While no istiod answers, no pods can be created in injected namespaces, and no Istio objects can
    be written.
  - This module opens webhooks without ready endpoints, so that requests pass without them, and closes the opened webhooks again after the outage. It
    deletes no webhook and changes no selector.
  - Pods that are created while the webhooks are open have no sidecar. Restart them later, with M(servicemesh.istio.restart) and
    O(servicemesh.istio.restart#module:missing_sidecar=true).
  - M(servicemesh.istio.control_plane) also closes the webhooks, after istiod is ready.
options:
  state:
    description:
      - V(open) sets the failure policy of webhook entries from C(Fail) to C(Ignore).
      - V(closed) restores the failure policy of the entries that this module opened, and the field manager of the policy. It fails if a webhook has no
        ready endpoints.
    type: str
    choices: [open, closed]
    required: true
  force:
    description:
      - With O(state=open), whether to open also webhooks with ready endpoints and webhooks with a URL outside of the cluster.
      - With O(state=closed), whether to close also webhooks without ready endpoints.
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
- name: Open the webhooks during an outage of istiod
  servicemesh.istio.webhooks:
    state: open
  register: opened

- name: Show the opened webhooks
  ansible.builtin.debug:
    var: opened.webhooks

- name: Close the webhooks after the outage
  servicemesh.istio.webhooks:
    state: closed
"""

RETURN = r"""
webhooks:
  description: Webhook configurations that were opened or closed, or that would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [MutatingWebhookConfiguration istio-sidecar-injector-1-30-4]
summary:
  description: Number of objects by action. C(dry_runs) is the number of dry runs made for the plan.
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
      description: Group, version, kind, namespace and name of the object.
      type: dict
    action:
      description: Action on the object. One of created, configured, recreated, unchanged, pruned, failed, pending.
      type: str
    conflicts:
      description: Fields that other field managers own, each with its manager.
      type: list
      elements: dict
    status:
      description: Readiness as defined by kstatus, if the module waited for the object.
      type: str
    message:
      description: Additional information about the action, such as the reason of a failure.
      type: str
verified:
  description: Conditions that the task verified after its steps, such as that proxies are in sync.
  returned: when a plan was made
  type: list
  elements: str
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
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
    # With force the endpoints of the webhooks do not matter.
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
