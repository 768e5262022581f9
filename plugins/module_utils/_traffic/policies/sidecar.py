# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sidecars of a namespace know of the mesh, and whether they let requests out to hosts that nobody
registered.
"""

from __future__ import annotations

from typing import Any

from ..._engine.cluster import Cluster
from ..._engine.objects import Object, Ref
from ..._failure import Failure, InvalidOption
from ..features import validators
from .policy_module import PolicyModule, another_for_namespace, workload_labels

GROUP, API, KIND = "networking.istio.io", "networking.istio.io/v1", "Sidecar"
OUTBOUND = {"allow_any": "ALLOW_ANY", "registry_only": "REGISTRY_ONLY"}
# Of its own namespace, of any, of none (istio.io, Sidecar, IstioEgressListener.hosts).
PLACES = (".", "*", "~")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "default": "default"},
    "workload": {"type": "dict", "default": {}},
    "egress_hosts": {"type": "list", "elements": "str"},
    "outbound_traffic_policy": {"type": "str", "choices": list(OUTBOUND)},
}


def _seen(value: str) -> str:
    """A namespace, or NAMESPACE/HOST."""
    namespace, slash, host = value.partition("/")
    if namespace not in PLACES and (not validators.HOST.match(namespace) or "." in namespace):
        raise InvalidOption(
            "egress_hosts",
            f"{namespace!r} is not a valid namespace",
            hint=(
                "Use the form NAMESPACE or NAMESPACE/HOST. '.' is the namespace of the policy, '*' is any namespace,"
                " '~' is none."
            ),
            code="host_invalid",
        )
    return f"{namespace}/{validators.host('egress_hosts', host) if slash else '*'}"


def _unseen(cluster: Cluster, options: dict[str, Any]) -> list[str]:
    """That a namespace which is named is not there."""
    named = {one.partition("/")[0] for one in options["egress_hosts"] or []} - set(PLACES)
    return [
        f"egress_hosts: namespace {name} does not exist"
        for name in sorted(named)
        if cluster.get("", "Namespace", "", name) is None
    ]


class SidecarModule(PolicyModule):
    """The module sidecar."""

    arguments = ARGUMENTS

    def owned_refs(self, options: dict[str, Any]) -> list[Ref]:
        return [Ref(GROUP, KIND, options["namespace"], options["name"])]

    def desired_objects(self, options: dict[str, Any]) -> list[Object]:
        """Raises InvalidOption."""
        if options["egress_hosts"] is None and not options["outbound_traffic_policy"]:
            raise InvalidOption(
                "egress_hosts",
                "no setting is given",
                hint="Set egress_hosts or outbound_traffic_policy, or state: absent.",
                code="sidecar_empty",
            )
        if options["egress_hosts"] == []:
            raise InvalidOption(
                "egress_hosts", "the list is empty", hint="List namespaces, or use '~' for none.", code="list_empty"
            )
        spec: dict[str, Any] = {}
        if options["workload"]:
            spec["workloadSelector"] = {"labels": workload_labels(options)}
        if options["egress_hosts"] is not None:
            hosts = [_seen(one) for one in options["egress_hosts"]]
            twice = next((host for host in hosts if hosts.count(host) > 1), None)
            if twice:
                raise InvalidOption("egress_hosts", f"duplicate port {twice}", code="host_twice")
            spec["egress"] = [{"hosts": hosts}]
        if options["outbound_traffic_policy"]:
            spec["outboundTrafficPolicy"] = {"mode": OUTBOUND[options["outbound_traffic_policy"]]}
        return [
            {
                "apiVersion": API,
                "kind": KIND,
                "metadata": {"name": options["name"], "namespace": options["namespace"]},
                "spec": spec,
            }
        ]

    def check_references(self, cluster: Cluster, options: dict[str, Any]) -> tuple[list[Failure], list[str]]:
        (ref,) = self.owned_refs(options)
        return ([] if options["workload"] else another_for_namespace(cluster, ref, "workloadSelector")), _unseen(
            cluster, options
        )

    def proxy_markers(self, _obj: Object) -> list[str]:
        # A proxy says it by what it lacks: only what was acknowledged is waited for.
        return []


SIDECAR = SidecarModule()
