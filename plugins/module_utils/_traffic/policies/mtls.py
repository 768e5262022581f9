# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether workloads take plaintext: PeerAuthentication, and who would be shut out by it."""

from __future__ import annotations

from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.objects import Object, Ref, summarize
from ..._failure import Failure, InvalidOption
from ..._proxy import plaintext
from ..features import validators
from .policy_module import PolicyModule, workload_labels

GROUP, API, KIND = "security.istio.io", "security.istio.io/v1", "PeerAuthentication"
MODES = {"strict": "STRICT", "permissive": "PERMISSIVE", "disable": "DISABLE", "inherit": "UNSET"}
# Of pods without a sidecar, in a warning.
NAMED = 10
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "default": "default"},
    "mode": {"type": "str", "choices": list(MODES)},
    "workload": {"type": "dict", "default": {}},
    "ports": {"type": "dict", "default": {}},
    "plaintext_callers": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
    "access_log_window": {"type": "str", "default": "1h"},
}


def _modes(cluster: Cluster, options: dict[str, Any]) -> dict[str, str]:
    """{port of the pods: mode that it will have}, that of all others by the empty name. Where nothing is said, what is
    said above holds.
    """
    mode = MODES[options["mode"]] if options["state"] == "present" else "UNSET"
    ports = options["ports"] if options["state"] == "present" else {}
    named = {"": mode, **{str(port): MODES[one] for port, one in ports.items()}}
    if "UNSET" not in named.values():
        return named
    above = _above(cluster, options)
    return {port: above if one == "UNSET" else one for port, one in named.items()}


def _above(cluster: Cluster, options: dict[str, Any]) -> str:
    """What the namespace says of one of its workloads, and the mesh of a namespace."""
    roots = sorted(
        {pod["metadata"]["namespace"] for pod in cluster.list("", "Pod", None, "app=istiod")} - {options["namespace"]}
    )
    for place in ([options["namespace"]] if options["workload"] else []) + roots:
        for obj in cluster.list(GROUP, KIND, place):
            spec = obj.get("spec") or {}
            mode = (spec.get("mtls") or {}).get("mode", "UNSET")
            if (
                not spec.get("selector")
                and mode != "UNSET"
                and (place, obj["metadata"]["name"]) != (options["namespace"], options["name"])
            ):
                return str(mode)
    # istio.io, PeerAuthentication: what nobody says is permissive.
    return "PERMISSIVE"


def _strict_already(cluster: Cluster, options: dict[str, Any]) -> bool:
    """Whether just this is so already: then nobody is shut out by it."""
    live = cluster.get(GROUP, KIND, options["namespace"], options["name"])
    if options["state"] == "absent":
        return live is None
    (obj,) = MTLS.desired_objects(options)
    return live is not None and live.get("spec") == obj["spec"]


class MtlsModule(PolicyModule):
    """The module mtls."""

    arguments = ARGUMENTS
    constraints = {"required_if": [("state", "present", ["mode"])]}
    checked_on_removal = True

    def owned_refs(self, options: dict[str, Any]) -> list[Ref]:
        return [Ref(GROUP, KIND, options["namespace"], options["name"])]

    def desired_objects(self, options: dict[str, Any]) -> list[Object]:
        """Raises InvalidOption."""
        spec: dict[str, Any] = {"mtls": {"mode": MODES[options["mode"]]}}
        validators.duration("access_log_window", options["access_log_window"])
        if options["workload"]:
            spec["selector"] = {"matchLabels": workload_labels(options)}
        if options["ports"]:
            if not options["workload"]:
                raise InvalidOption(
                    "ports",
                    "ports need a workload",
                    hint="Set workload to the labels of its pods.",
                    code="ports_need_workload",
                )
            levels: dict[str, Any] = {}
            for port, mode in options["ports"].items():
                if mode not in MODES:
                    raise InvalidOption(
                        "ports",
                        f"{mode!r} is not a valid mode (port {port})",
                        hint=f"Use one of {', '.join(MODES)}.",
                        code="mode_unknown",
                    )
                number = validators.port("ports", int(port) if str(port).isdigit() else port)
                levels[str(number)] = {"mode": MODES[mode]}
            spec["portLevelMtls"] = levels
        metadata = {"name": options["name"], "namespace": options["namespace"]}
        return [{"apiVersion": API, "kind": KIND, "metadata": metadata, "spec": spec}]

    def check_references(self, cluster: Cluster, options: dict[str, Any]) -> tuple[list[Failure], list[str]]:
        """Where TLS becomes a must: who would be shut out, or that this cannot be known."""
        modes = _modes(cluster, options)
        if (
            "STRICT" not in modes.values()
            or options["plaintext_callers"] == "ignore"
            or _strict_already(cluster, options)
        ):
            return [], []
        place, within = options["namespace"], options["access_log_window"]
        seen = plaintext.find_plaintext_callers(
            cluster,
            place,
            options["workload"],
            int(validators.seconds(within)),
            lambda port: modes.get(port, modes[""]) == "STRICT",
        )
        if seen.callers:
            hint = "Inject a sidecar into the callers, exclude a port, or set plaintext_callers: ignore."
            names = ", ".join(seen.callers)
            return [
                Failure(
                    "plaintext_callers",
                    f"{names} called without TLS within {within} and would lose access to {place}",
                    reason=names,
                    hint=hint,
                )
            ], []
        if seen.counted:
            hint = (
                "Turn on access logs temporarily to find them (module telemetry, or mtls_observe of the role mtls),"
                " or set plaintext_callers: ignore."
            )
            counts = ", ".join(f"{count} at {pod}" for pod, count in sorted(seen.counted.items()))
            return [
                Failure(
                    "plaintext_callers",
                    f"{place} had plaintext callers since its proxies started, but no access log names them: {counts}",
                    reason=counts,
                    hint=hint,
                )
            ], []
        if seen.silent:
            others = f"; pods without a sidecar: {summarize(list(seen.plain), NAMED)}" if seen.plain else ""
            return [], [
                f"plaintext callers of {place}: unknown. The access logs of {', '.join(seen.silent)} contain no call "
                f"within {within}, or more than is read, and the proxies count none{others}"
            ]
        return [], []

    def proxy_markers(self, _obj: Object) -> list[str]:
        # A listener says it by what it lacks: only what was acknowledged is waited for.
        return []


MTLS = MtlsModule()
