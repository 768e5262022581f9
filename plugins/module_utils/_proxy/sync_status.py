# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether each proxy has what was wanted: what it acknowledged to its istiod, and what it says of itself. Never
guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from .._cluster.api import ApiError
from .._engine.cluster import Cluster
from .._engine.objects import Object, summarize
from .._engine.waiting.deadline import Deadline, StillWaiting
from .._engine.waiting.kstatus import pod_ready
from .._failure import Failure
from .._istio.dataplane.injection import has_sidecar, is_gateway, revision_label
from .istiod import Proxy, ask_istiods, config_dump
from .sync_barrier import BETWEEN_LOOKS, QUIET_LOOKS

SYNCED, PENDING, REJECTED, UNKNOWN = "synced", "pending", "rejected", "unknown"
WORDS = (SYNCED, PENDING, REJECTED, UNKNOWN)
# So many are named in a sentence.
MOST_NAMED = 5


@dataclass(frozen=True)
class Verdict:
    """One proxy. istiod, revision and version are empty where no istiod could be asked about it."""

    proxy: str
    namespace: str
    pod: str
    istiod: str
    revision: str
    version: str
    verdict: str
    reason: str = ""


@dataclass(frozen=True)
class ProxyLocation:
    """Where a proxy is. labels: of its pod; none where it runs in none."""

    namespace: str
    labels: dict[str, str]
    gateway: bool

    @staticmethod
    def of(proxy: Proxy, pod: Object | None) -> ProxyLocation:
        return ProxyLocation(
            proxy.namespace,
            (pod or {"metadata": {}})["metadata"].get("labels") or {},
            pod is not None and is_gateway(pod),
        )


@dataclass(frozen=True)
class ProxyQuery:
    """Which proxies are asked, and what.

    concerns  whether the one at this place is
    lacking   what its configuration dump lacks of what is wanted, or has too much: empty for nothing, None where all of
              that is hidden from it;
              without it only what was acknowledged counts
    """

    concerns: Callable[[ProxyLocation], bool]
    lacking: Callable[[ProxyLocation, dict[str, Any]], str | None] | None = None


@dataclass(frozen=True)
class KnownProxy:
    """A proxy, and by which istiod it is known; empty for none."""

    proxy: Proxy
    istiod: str
    revision: str
    place: ProxyLocation


def read_sync_status(cluster: Cluster, question: ProxyQuery) -> list[Verdict]:
    """One look at every concerned proxy, in order. Raises ApiError where pods may not be listed."""
    pods = {f"{pod['metadata']['name']}.{pod['metadata']['namespace']}": pod for pod in cluster.list("", "Pod")}
    istiods = [
        pod for pod in pods.values() if (pod["metadata"].get("labels") or {}).get("app") == "istiod" and pod_ready(pod)
    ]
    answers = ask_istiods(cluster, istiods)
    refusals = [answer.refused for answer in answers if answer.refused] or ([] if istiods else ["no istiod is ready"])
    connected = {
        proxy.id: KnownProxy(proxy, answer.istiod, answer.revision, ProxyLocation.of(proxy, pods.get(proxy.id)))
        for answer in answers
        for proxy in answer.proxies
    }
    every = [connected[name] for name in sorted(connected)]
    for name in sorted(
        name for name, pod in pods.items() if name not in connected and has_sidecar(pod) and pod_ready(pod)
    ):
        proxy = Proxy(name, False)
        every.append(KnownProxy(proxy, "", revision_label(pods[name]), ProxyLocation.of(proxy, pods[name])))
    found = cluster.each(
        lambda asked: _verdict(cluster, question, asked, "; ".join(refusals)),
        [asked for asked in every if question.concerns(asked.place)],
    )
    return [verdict for verdict in found if verdict]


def _verdict(cluster: Cluster, question: ProxyQuery, asked: KnownProxy, refused: str) -> Verdict | None:
    """None for a proxy from which all of it is hidden."""
    proxy, istiod = asked.proxy, asked.istiod

    def verdict(word: str, reason: str = "") -> Verdict:
        return Verdict(proxy.id, proxy.namespace, proxy.pod, istiod, asked.revision, proxy.version, word, reason)

    if proxy.rejected:
        return verdict(REJECTED, proxy.rejected)
    if not istiod and not refused:
        return verdict(PENDING, "it is not connected to any istiod")
    if question.lacking is None:
        if not istiod:
            return verdict(UNKNOWN, f"cannot read the proxy status from istiod: {refused}")
        return verdict(SYNCED) if proxy.synced else verdict(PENDING, _behind(proxy))
    try:
        lacking = question.lacking(asked.place, config_dump(cluster, proxy))
    except ApiError as error:
        if error.status == 0:
            return verdict(PENDING, f"it does not answer: {error.message}")
        return verdict(UNKNOWN, f"cannot read its configuration: {error.message}")
    if lacking is None:
        return None
    if lacking or (istiod and not proxy.synced):
        return verdict(PENDING, lacking or _behind(proxy))
    return verdict(SYNCED)


def _behind(proxy: Proxy) -> str:
    return f"it has not acknowledged {', '.join(proxy.behind)}"


def wait_for_sync(cluster: Cluster, question: ProxyQuery, deadline: Deadline | None) -> list[Verdict]:
    """The verdicts once no proxy is to be waited for, twice in a row, or one has rejected; at the end of the deadline,
    or without one, as they are.

    Raises StillWaiting at the end of a slice, ApiError.
    """
    quiet = 0
    while True:
        found = read_sync_status(cluster, question)
        counts = count_verdicts(found)
        quiet = 0 if counts[PENDING] else quiet + 1
        if deadline is None or deadline.over or counts[REJECTED] or quiet >= QUIET_LOOKS:
            return found
        if deadline.slice_over:
            raise StillWaiting(summary_text(found))
        cluster.sleep(BETWEEN_LOOKS)


def count_verdicts(found: list[Verdict]) -> dict[str, int]:
    counted = Counter(one.verdict for one in found)
    return {word: counted[word] for word in WORDS}


def summary_text(found: list[Verdict]) -> str:
    """In a sentence, with the names of those that are not in sync."""
    counts = count_verdicts(found)
    parts = [f"{counts[SYNCED]} of {len(found)} proxies are in sync"]
    for word in (REJECTED, PENDING, UNKNOWN):
        named = [f"{one.proxy} ({one.reason})" for one in found if one.verdict == word]
        if named:
            parts.append(f"{word}: {summarize(named, MOST_NAMED)}")
    return "; ".join(parts)


def sync_failure(found: list[Verdict]) -> Failure | None:
    """A proxy that rejects before one that is waited for; what is unknown fails nothing."""
    for word, code, hint in (
        (REJECTED, "rejected", "Correct or roll back the change that the message names."),
        (PENDING, "proxies_not_synced", "Check the logs of istiod and of these proxies."),
    ):
        bad = [one for one in found if one.verdict == word]
        if bad:
            return Failure(
                code, summary_text(found), reason="; ".join(f"{one.proxy}: {one.reason}" for one in bad), hint=hint
            )
    return None


def verdict_rows(found: list[Verdict]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]
