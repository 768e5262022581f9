# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the proxies taken what was applied?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

from .._cluster.api import ApiError
from .._engine.cluster import Cluster
from .._engine.steps import Barrier
from .._engine.waiting.deadline import Deadline
from .._failure import Failure
from . import istiod

# istiod gathers changes for 0.1 s before it pushes; two looks further apart than that cannot both miss a push.
BETWEEN_LOOKS = 0.3
QUIET_LOOKS = 2
# Its longest gathering is 10 s: what it does not show by then, it will not show.
SHOWN_WITHIN = 30.0
SAMPLE = 5
# So many are looked at where nobody before them is concerned.
MOST = 50

Shown = Callable[[dict[str, Any]], Optional[bool]]


@dataclass(frozen=True)
class ProxyCondition:
    """What is waited for.

    text       for people
    namespace  proxies of this namespace are surely concerned, so they are looked at first
    shown      whether a proxy's configuration dump (Envoy's form) shows it; None where the proxy is not concerned
    gone       the change is a removal: no proxy may show the old state, where else one that shows the new state is
               enough
    only       ids of the proxies that are concerned, where not all may be; an istiod that has none of them need not
               show it
    """

    text: str
    namespace: str
    shown: Shown
    gone: bool = False
    only: frozenset[str] | None = None

    def concerned(self, proxies: list[istiod.Proxy]) -> list[istiod.Proxy]:
        return [proxy for proxy in proxies if self.only is None or proxy.id in self.only]


def proxies_in_sync(change: ProxyCondition) -> Barrier:
    """Holds when proxies of every istiod show the change and all of them have acknowledged what was sent.

    Where none of an istiod's proxies is concerned, it is enough that all of them have acknowledged.

    Raises Failure "proxies_not_synced" naming the proxies, "rejected" with the proxy's words.
    """

    def hold(cluster: Cluster, deadline: Deadline) -> str:
        try:
            all_istiods = istiod.ready_istiods(cluster)
            if not all_istiods:
                return "proxies in sync: unknown, no istiod is ready"
            counts = [_hold_one(one, change, cluster, deadline) for one in all_istiods]
        except ApiError as error:
            if error.status in (401, 403, 404):
                return f"proxies in sync: unknown, cannot read istiod's debug endpoints ({error.message})"
            raise Failure(
                "proxies_not_synced",
                f"{change.text}: {error.message}",
                reason=error.message,
                hint="Check whether istiod is restarting, then run the task again.",
            ) from error
        return f"proxies in sync: {change.text} at {sum(counts)} proxies of {len(all_istiods)} istiods"

    return Barrier("proxies in sync", hold)


def _hold_one(one: istiod.Istiod, change: ProxyCondition, cluster: Cluster, deadline: Deadline) -> int:
    quiet = 0
    seen = False
    silent: set[str] = set()
    patience = Deadline(min(SHOWN_WITHIN, max(deadline.left(), 1.0)))
    while True:
        proxies = one.proxies()
        rejected = next((proxy for proxy in proxies if proxy.rejected), None)
        if rejected:
            raise Failure(
                "rejected",
                f"proxy {rejected.id} rejected its configuration: {rejected.rejected}",
                reason=rejected.rejected,
                hint="Correct or roll back the change that the message names.",
            )
        if not proxies:
            return 0
        concerned = change.concerned(proxies)
        shown = (
            seen
            or not concerned
            or _shows(cluster, [proxy for proxy in concerned if proxy.id not in silent], change, silent)
        )
        # That nobody is concerned is asked again at each look: a host may only just be on its way to them.
        seen = bool(shown)
        behind = [proxy.id for proxy in proxies if not proxy.synced]
        quiet = quiet + 1 if shown is not False and not behind else 0
        if quiet >= QUIET_LOOKS:
            return len(proxies)
        if deadline.over or (shown is False and patience.over):
            waited = ", ".join(sorted({*behind, *silent}))
            cause = (
                f"proxies that have not acknowledged: {waited}"
                if waited
                else f"none of the checked proxies of istiod {one.name} has it"
            )
            raise Failure(
                "proxies_not_synced",
                f"{change.text}: {cause}",
                reason=cause,
                hint="Check the logs of istiod and of these proxies. Run the task again to continue.",
            )
        cluster.sleep(BETWEEN_LOOKS)


def _shows(cluster: Cluster, proxies: list[istiod.Proxy], change: ProxyCondition, silent: set[str]) -> bool | None:
    """None where no proxy that was looked at is concerned. Adds to `silent` who gave no answer. Raises ApiError where
    nobody may be asked.
    """
    ordered = sorted(proxies, key=lambda proxy: proxy.namespace != change.namespace)[:MOST]
    unconcerned = False
    for start in range(0, len(ordered), SAMPLE):
        answers, silent_before = [], len(silent)
        for proxy in ordered[start : start + SAMPLE]:
            try:
                shown = change.shown(istiod.config_dump(cluster, proxy))
            except ApiError as error:
                # A proxy that has just left is no answer, nor is one that stands still; who may not ask this one may
                # ask none.
                if error.status not in (0, 404):
                    raise
                if error.status == 0:
                    silent.add(proxy.id)
                continue
            if shown and not change.gone:
                return True
            # Who is not concerned does not have the old state either.
            answers.append(True if shown is None and change.gone else shown)
        told = [answer for answer in answers if answer is not None]
        if told:
            return all(told)
        unconcerned = unconcerned or bool(answers)
        if len(silent) > silent_before:
            # Each of them takes seconds: the others are asked at the next look.
            break
    return None if unconcerned and not silent else False
