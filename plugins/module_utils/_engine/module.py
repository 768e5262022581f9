# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of every module: options in, plan, apply, wait, one result out."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from .._cluster import connection
from .._cluster.api import ApiError
from .._failure import Failure
from .._libraries import YAML, require
from . import result as report
from .apply import apply
from .cluster import Cluster
from .objects import Object, Ref
from .planning.adopt import TOOLS
from .planning.api_errors import failure_of
from .planning.applyset import NEVER_PRUNED_KINDS, ObjectSet
from .planning.change import ApplyOptions
from .planning.plan import Plan, plan, plan_removal
from .steps import Step
from .waiting import conditions, wait
from .waiting.deadline import Deadline, StillWaiting

WAIT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 600},
    # The action plugin's word: wait for this long at most, and say what is waited for.
    "_progress": {"type": "dict"},
}
OWNERSHIP_ARGUMENTS: dict[str, dict[str, Any]] = {
    "force_conflicts": {"type": "bool", "default": False},
    "adopt": {"type": "bool", "default": False},
    "adopt_from": {"type": "list", "elements": "str", "default": list(TOOLS)},
    "recreate": {"type": "bool", "default": False},
    "compare": {"type": "str", "choices": ["managed_fields", "dry_run"], "default": "managed_fields"},
}
# How long a request that may be repeated is repeated.
RETRY_SECONDS = 60.0
# Shorter values are hidden where they stand; as a pattern over all output they would blot out everything.
SHORTEST_PATTERN = 4


@dataclass(frozen=True)
class Review:
    """What has a say in a plan before it is carried out. The engine knows that there is one, not what it goes by.

    arguments  of the module, for it
    check_plan        called where the plan changes something, in check mode too; raises Failure
    """

    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    check_plan: Callable[[Run, Plan], None] = lambda _run, _plan: None


class Run:
    """One module call. `connect` is what unit tests replace."""

    connect = staticmethod(connection.connect)

    def __init__(self, module: AnsibleModule, review: Review | None = None) -> None:
        self.module = module
        self.review = review or Review()
        self.options: dict[str, Any] = module.params
        self.check_mode: bool = module.check_mode
        self.deadline = Deadline(self.options.get("wait_timeout") or 600, self.options.get("_progress"))
        self.duration: dict[str, float] = {}
        self.plans: list[Plan] = []
        self.barriers: list[str] = []
        self.conditions: list[conditions.Condition] = []
        # In the result also where the run fails.
        self.extra_result: dict[str, Any] = {}
        self._cluster: Cluster | None = None
        self._hide_kubeconfig()

    def _hide_kubeconfig(self) -> None:
        given = self.options.get("kubeconfig")
        try:
            content = connection.inline(given)
        except Failure:
            # It will be told by connect; what in it is secret cannot be known.
            content = None
        if isinstance(given, str) and content is not given:
            self.hide({given, given.strip()})
        self.hide(connection.secrets_in(content))

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(self.connect(connection.options_of(self.options), RETRY_SECONDS))
        return self._cluster

    def hide(self, values: set[str]) -> None:
        """Never show these, wherever they turn up."""
        self.module.no_log_values.update(value for value in values if len(value) >= SHORTEST_PATTERN)

    def fail_or_warn(self, reasons: Sequence[Failure]) -> None:
        """Raises the first; in check mode only warns, since an earlier task may be about to put it right."""
        for reason in reasons:
            if not self.check_mode:
                raise reason
            self.module.warn(f"{reason.code}: {reason.message}")

    def timed(self, name: str, function: Callable[[], Any]) -> Any:
        start = time.monotonic()
        try:
            return function()
        finally:
            self.duration[name] = round(self.duration.get(name, 0.0) + time.monotonic() - start, 3)

    def apply_options(self, **own: Any) -> ApplyOptions:
        """Rules with what the ownership options say."""
        options = self.options
        adopt = frozenset(options["adopt_from"]) if options["adopt"] else frozenset()
        return ApplyOptions(
            force=options["force_conflicts"],
            adopt=adopt,
            recreate=options["recreate"],
            dry_run_all=options["compare"] == "dry_run",
            **own,
        )

    def apply(self, steps: list[Step], rules: ApplyOptions, manager: str = "") -> dict[str, Any]:
        """Makes the cluster equal to the steps; in check mode only says what that would take. The result is that of all
        plans so far.

        manager: field manager for a change that must not be part of what the collection declares
        """
        cluster = self.cluster.with_manager(manager) if manager else self.cluster
        the_plan = self.timed("plan", lambda: plan(cluster, steps, replace(rules, tolerate_missing=self.check_mode)))
        # A later slice only ends what an earlier one was let begin.
        if not the_plan.empty and not self.deadline.begun:
            self.review.check_plan(self, the_plan)
        return self._carry_out(cluster, the_plan, rules.force)

    def remove(
        self,
        objects: list[Object],
        object_set: ObjectSet | None = None,
        namespace: str | None = None,
        kept: frozenset[str] = frozenset(NEVER_PRUNED_KINDS),
        spared: frozenset[Ref] = frozenset(),
    ) -> dict[str, Any]:
        """Deletes the objects and the members of the set less the kept kinds and the spared ones, and waits until they
        are gone.
        """
        the_plan = self.timed("plan", lambda: plan_removal(self.cluster, objects, object_set, namespace, kept, spared))
        return self._carry_out(self.cluster, the_plan, force=False)

    def _carry_out(self, cluster: Cluster, the_plan: Plan, force: bool) -> dict[str, Any]:
        self.plans.append(the_plan)
        if not self.check_mode:
            self.timed("apply", lambda: apply(cluster, the_plan, force, self.deadline, self.barriers))
            if self.options.get("wait", True):
                self.timed("wait", lambda: self._wait(the_plan))
        else:
            for reason, changes in the_plan.unverified.items():
                self.module.warn(
                    f"{len(changes)} objects would be {changes[0].action} but {reason} (first: {changes[0].ref})"
                )
            if the_plan.conflicts:
                self.module.warn(
                    f"conflict: a real run would fail, because other managers own fields: {the_plan.conflicts}"
                )
        return self.outcome()

    def outcome(self, failed: bool = False) -> dict[str, Any]:
        """What became of all plans so far."""
        return {**report.outcome(self.plans, self.check_mode, failed), "verified": self.barriers}

    def _wait(self, the_plan: Plan) -> None:
        gone: list[Ref] = [change.ref for step in the_plan.steps for change in step.deletions if change.done]
        wait.until_gone(self.cluster, gone, self.deadline)
        wanted = [change for step in the_plan.steps for change in step.applied]
        wait.until_current(self.cluster, wanted, self.deadline, partial(conditions.status_under, self.conditions))

    def exit_slice(self, still: StillWaiting) -> None:
        """Ends this slice of the wait: what was done so far, and what is waited for."""
        waiting = {"text": still.text, "seen": self.deadline.progress.get("seen") or []}
        self.module.exit_json(
            **(self.outcome(failed=True) if self.plans else {"changed": False}),
            **self.extra_result,
            waiting=waiting,
            duration=self.duration,
        )

    def fail(self, failure: Failure) -> None:
        partial_result = {"changed": False, **(self.outcome(failed=True) if self.plans else {}), **failure.found}
        message = f"{failure.message.rstrip('.')}. {failure.hint}" if failure.hint else failure.message
        self.module.fail_json(
            msg=message, failure=failure.as_result(), duration=self.duration, **{**partial_result, **self.extra_result}
        )


def run_module(
    arguments: dict[str, Any], body: Callable[[Run], dict[str, Any]], review: Review | None = None, **constraints: Any
) -> None:
    """Runs `body` under the collection's argument spec, check mode, and one way to fail.

    review: has a say in every plan; constraints: AnsibleModule's required_if, mutually_exclusive, ...
    """
    # A module is a short process: collecting its garbage costs more than it gives, and ever more with many objects.
    gc.disable()
    own = {**arguments, **(review.arguments if review else {})}
    module = AnsibleModule(
        argument_spec={**connection.CONNECTION_ARGUMENTS, **own}, supports_check_mode=True, **constraints
    )
    run = Run(module, review)
    try:
        require(YAML)
        result = body(run)
    except StillWaiting as still:
        run.exit_slice(still)
    except Failure as failure:
        run.fail(failure)
    except ApiError as error:
        run.fail(_from_api_error(error, run))
    except OSError as error:
        run.fail(_from_os_error(error))
    else:
        module.exit_json(**{"changed": False, **run.extra_result, **result, "duration": run.duration})


def _from_os_error(error: OSError) -> Failure:
    """A file or folder that this host does not let the module use, such as a cache that cannot be written."""
    place = f"{error.filename}: " if error.filename else ""
    return Failure(
        "host",
        f"{place}{error.strerror or error}, on the host where this task runs",
        reason=str(error),
        hint="Check its permissions and free space. XDG_CACHE_HOME sets another cache folder.",
    )


def _from_api_error(error: ApiError, run: Run) -> Failure:
    if error.status == 0:
        server = run.cluster.api.server
        return Failure(
            "unreachable",
            f"cluster {server} does not answer: {error.message}",
            reason=error.reason,
            hint="Check kubeconfig, context and network, and that the API server is running.",
        )
    return failure_of(error, Ref("", "request", "", error.reason or str(error.status)))
