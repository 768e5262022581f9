# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The levels of Envoy's own log in running proxies: which pods are asked, what they have, and what is to be set."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from .._cluster.api import ApiError
from .._engine.cluster import Cluster
from .._engine.objects import Object, Ref, summarize
from .._failure import Failure, InvalidOption, did_you_mean
from .._istio.dataplane.injection import is_alive, sidecars
from .istiod import ADMIN_PORT, ADMIN_TIMEOUT, post

# Envoy's words (envoyproxy.io, Administration interface, /logging).
LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
ALL = "all"
PATH = "/logging"
LINE = re.compile(r"^\s+(\S+): (\w+)$", re.MULTILINE)
CONFIGURED, UNCHANGED, FAILED = "configured", "unchanged", "failed"
MOST_NAMED = 5


@dataclass(frozen=True)
class LogLevelChange:
    """What becomes of one proxy.

    before, after  {logger: level} of those that differ from what is wanted
    error          why it could not be set; what it has then is unknown
    """

    pod: Ref
    before: dict[str, str]
    after: dict[str, str]
    error: str = ""

    @property
    def action(self) -> str:
        return FAILED if self.error else CONFIGURED if self.after else UNCHANGED


def parse_levels(levels: dict[Any, Any]) -> dict[str, str]:
    """{logger or ALL: level} of the option. Raises InvalidOption, "unknown_level"."""
    # YAML 1.1 takes off for a truth value.
    found = {str(logger): "off" if level is False else str(level) for logger, level in levels.items()}
    if not found:
        raise InvalidOption("levels", "is empty", hint=f"Set a logger, or {ALL}, and its level.")
    for logger, level in found.items():
        if level not in LEVELS:
            raise InvalidOption(
                "levels",
                f"{logger}: {level} is not a valid level",
                hint=f"Use one of {', '.join(LEVELS)}.",
                code="unknown_level",
            )
    return found


def select_proxies(pods: list[Object], words: str) -> tuple[list[Ref], list[Failure]]:
    """(pods with a proxy that runs, why not all of them can be asked); pods that have ended or are on their way out do
    not count.

    words  how the pods were chosen, for people
    """
    found, refused = [], []
    for pod in pods:
        if not is_alive(pod):
            continue
        ref = Ref("", "Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
        if not sidecars(pod):
            refused.append(
                _refusal(
                    "no_proxy",
                    ref,
                    "it has no proxy",
                    "Restrict workload to pods with a proxy, or restart the workload with injection.",
                )
            )
        elif (pod.get("status") or {}).get("phase") != "Running":
            refused.append(
                _refusal("not_running", ref, "it is not running", "Wait until it is running, or restrict workload.")
            )
        else:
            found.append(ref)
    if not found and not refused:
        refused.append(Failure("no_pods", f"workload: no pod found {words}", hint="Correct namespace and workload."))
    return found, refused


def _refusal(code: str, pod: Ref, reason: str, hint: str) -> Failure:
    return Failure(code, f"{pod}: {reason}", ref=pod.as_result("v1"), reason=reason, hint=hint)


def parse_answer(text: str) -> dict[str, str]:
    """{logger: level} of Envoy's answer."""
    return {name: level for name, level in LINE.findall(text) if level in LEVELS}


def plan_levels(live: dict[Ref, dict[str, str]], wanted: dict[str, str]) -> list[LogLevelChange]:
    """What is to be set where, for every proxy. wanted: as asked() has it. A logger's own level goes before that of
    ALL.

    Raises InvalidOption "unknown_logger" where a proxy has none of the name.
    """
    changes = []
    for pod, levels in live.items():
        for name in wanted:
            if name != ALL and name not in levels:
                hint = did_you_mean(name, levels, f"Use one of {', '.join(sorted(levels))}.")
                raise InvalidOption(
                    "levels",
                    f"{pod}: {name} is not a logger of its proxy",
                    ref=pod.as_result("v1"),
                    hint=hint,
                    code="unknown_logger",
                )
        full = {name: wanted.get(name, wanted.get(ALL, level)) for name, level in levels.items()}
        after = {name: level for name, level in full.items() if level != levels[name]}
        changes.append(LogLevelChange(pod, {name: levels[name] for name in after}, after))
    return changes


def levels_result(changes: list[LogLevelChange]) -> dict[str, Any]:
    """{changed, proxies, diff} as the module returns them."""
    rows = [
        {
            "namespace": one.pod.namespace,
            "pod": one.pod.name,
            "action": one.action,
            "before": one.before,
            "after": one.after,
            "message": one.error,
        }
        for one in changes
    ]
    done = [one for one in changes if one.action == CONFIGURED]
    diff = [
        {
            "before": _lines(one.before),
            "after": _lines(one.after),
            "before_header": str(one.pod),
            "after_header": str(one.pod),
        }
        for one in done
    ]
    return {"changed": bool(done), "proxies": rows, "diff": diff}


def _lines(levels: dict[str, str]) -> str:
    return "".join(f"{name}: {level}\n" for name, level in sorted(levels.items()))


def levels_failure(changes: list[LogLevelChange]) -> Failure | None:
    """None where every proxy was set."""
    bad = [one for one in changes if one.error]
    if not bad:
        return None
    names = summarize([str(one.pod) for one in bad], MOST_NAMED)
    message = f"cannot set the log levels of {len(bad)} of {len(changes)} proxies: {names}"
    return Failure(
        "not_set",
        message,
        ref=bad[0].pod.as_result("v1"),
        reason=bad[0].error,
        hint="Run the task again: it sets only levels that differ.",
    )


def read_levels(cluster: Cluster, pods: list[Ref]) -> dict[Ref, dict[str, str]]:
    """The levels of every proxy. Raises Failure "proxy_silent", ApiError where this account may not ask."""
    return dict(zip(pods, cluster.each(lambda pod: _read_one(cluster, pod), pods)))


def _read_one(cluster: Cluster, pod: Ref) -> dict[str, str]:
    reason = "its answer contains no logger"
    try:
        levels = _logging(cluster, pod)
    except ApiError as error:
        if error.status in (401, 403):
            raise
        levels, reason = {}, error.message
    if not levels:
        hint = "Check that its container istio-proxy is running and contains Envoy."
        raise Failure(
            "proxy_silent",
            f"{pod}: cannot read the log levels of its proxy: {reason}",
            ref=pod.as_result("v1"),
            reason=reason,
            hint=hint,
        )
    return levels


def apply_levels(cluster: Cluster, changes: list[LogLevelChange]) -> list[LogLevelChange]:
    """The changes as they went. All are tried, since each stands for itself."""
    return cluster.each(lambda change: _set(cluster, change), changes)


def _set(cluster: Cluster, change: LogLevelChange) -> LogLevelChange:
    if not change.after:
        return change
    try:
        # One request, which Envoy takes as a whole or not at all.
        levels = _logging(
            cluster, change.pod, "?paths=" + ",".join(f"{name}:{level}" for name, level in change.after.items())
        )
    except ApiError as error:
        return replace(change, after={}, error=error.message)
    other = {name: levels.get(name, "") for name, level in change.after.items() if levels.get(name) != level}
    return replace(change, after={}, error=f"it was set, but is now {other}") if other else change


def _logging(cluster: Cluster, pod: Ref, query: str = "") -> dict[str, str]:
    # Envoy answers this path to POST alone, also where it is only read.
    return parse_answer(str(post(cluster.api, pod.namespace, pod.name, ADMIN_PORT, PATH + query, ADMIN_TIMEOUT)))
