# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is worth checking about a mesh, as a table, and how it is gone through."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._engine.objects import few
from .._failure import Failure, InvalidOption, did_you_mean
from .._istio import version_skew as skew
from .._istio.install.control_plane import check_label
from .checks import cluster, gateways, proxies, routes, upgrade, webhooks, workloads
from .checks import control_planes as planes
from .checks import root_certificates as roots
from .facts import PROXIES, SLICES, Facts
from .findings import INSTALL, RUNNING, UPGRADE, Finding, Gate, Judge, Unknown, replaced

ERROR, WARNING, INFO = "error", "warning", "info"
PASSED, FAILED, UNKNOWN, SKIPPED = "passed", "failed", "unknown", "skipped"
ALWAYS, LIVE, COMING = (INSTALL, RUNNING, UPGRADE), (RUNNING, UPGRADE), (INSTALL, UPGRADE)
# fail_at -> severities at which a check fails the play.
FAIL_AT = {"error": {ERROR}, "warning": {ERROR, WARNING}, "never": set()}
# Causes and objects that a sentence names before it counts the rest; the list of objects is always whole.
SHOWN_CAUSES, SHOWN_OBJECTS = 5, 3


@dataclass(frozen=True)
class Check:
    """One thing that may be wrong.

    title    what holds when it has passed
    phases   for which it is asked
    reads    names of the sources that it needs
    fails    when it fails
    source   where the rule is from
    release  Istio's release that brings it: only an upgrade across that release is asked
    """

    code: str
    title: str
    severity: str
    phases: tuple[str, ...]
    reads: tuple[str, ...]
    judge: Judge
    fails: str
    remedy: str
    source: str
    release: skew.Release | None = None


ANALYSIS = "Istio's analyzer {}".format
SKEW, TAGS, HEALTH = "istio.io, Supported releases", "istio.io, Installing multiple control planes", "istio.io, Sidecar injection problems"
NOTES = "Istio's release notes for 1.31: {}".format
MEMBERS = ("pods", "namespaces", "injectors", "replica_sets")
RELATED = (PROXIES, "pods", "istiods", "injectors")
HOOKS = ("injectors", "validators")
REACHED = (*HOOKS, "services", "pods", SLICES)

CHECKS = (
    # The cluster.
    Check("kubernetes_too_old", "Kubernetes is new enough for Istio", ERROR, ALWAYS, ("istiods",), cluster.kubernetes_too_old,
          "The server is older than the oldest Kubernetes that the release of Istio is supported on.", "Upgrade Kubernetes first, or choose an older Istio.",
          SKEW + "; istioctl/pkg/install/k8sversion"),
    Check("kubernetes_untested", "Istio is supported on this Kubernetes", WARNING, ALWAYS, ("istiods",), cluster.kubernetes_untested,
          "The server is newer than the newest Kubernetes that the release of Istio is supported on.", "Upgrade Istio before Kubernetes.", SKEW),
    Check("version_unknown", "The rules of this release of Istio are known", WARNING, ALWAYS, ("istiods",), cluster.version_unknown,
          "Istio is newer than the rules of this collection.", "Read the release's upgrade notes, and update the collection.", SKEW),
    Check("namespace_terminating", "The control plane's namespace stays", ERROR, ALWAYS, ("namespaces",), cluster.namespace_terminating,
          "The namespace of the control plane is being deleted.", "Wait until it is gone; what holds it back is in its status.", "Kubernetes, Namespaces"),
    Check("definitions_terminating", "Istio's definitions stay", ERROR, ALWAYS, ("definitions",), cluster.definitions_terminating,
          "A CustomResourceDefinition of Istio is being deleted.", "Let the deletion end, then install the base again and restore the objects.",
          "Kubernetes, CustomResourceDefinitions"),
    Check("definitions_missing", "All of Istio's kinds are served", ERROR, LIVE, ("istiods",), cluster.definitions_missing,
          "There is a control plane, and the cluster does not serve one of Istio's kinds.", "Install the base again: run the role control_plane.",
          "manifests/charts/base"),
    Check("definitions_old", "Istio's definitions are as new as the newest control plane", ERROR, LIVE, ("istiods", "definitions", "sets"),
          cluster.definitions_old,
          "A CustomResourceDefinition of Istio is of an older release than the newest control plane.",
          "Install the base of the newest control plane: it comes before istiod.", skew.BASE.source),
    Check("definitions_newer", "Istio's definitions are not newer than what comes", WARNING, COMING, ("definitions", "sets"), cluster.definitions_newer,
          "Istio's definitions are of a newer release than the version that comes.",
          "Leave them as they are: definitions are never put back, and fit older control planes.", skew.BASE.source),
    Check("definitions_leftover", "No definitions are left of an earlier mesh", WARNING, (INSTALL,), ("istiods", "definitions"), cluster.definitions_leftover,
          "There are CustomResourceDefinitions of Istio, and no control plane.",
          "Look at the objects that are still there; install over them with adopt, or delete the definitions with all their objects.", "istio.io, Uninstall"),
    Check("gateway_api_old", "The Gateway API is new enough for Istio", WARNING, ALWAYS, ("istiods", "definitions"), cluster.gateway_api_old,
          "A definition of the Gateway API is so old that istiod ignores its objects.",
          "Install the Gateway API's definitions of the version that is named, or newer.", ANALYSIS("IST0176")),
    # Control planes.
    Check("control_plane_missing", "There is a control plane", ERROR, LIVE, ("istiods",), planes.control_plane_missing,
          "No istiod is in the control plane's namespace.", "Run the role control_plane, or give the control plane's namespace.",
          "istio.io, Installation guides"),
    Check("istiod_unavailable", "Every control plane answers", ERROR, LIVE, ("istiods",), planes.istiod_unavailable,
          "No replica of an istiod is ready.", "Look at its pods' events and logs.", HEALTH),
    Check("istiod_incomplete", "All replicas of istiod are ready", WARNING, LIVE, ("istiods",), planes.istiod_incomplete,
          "Fewer replicas of an istiod are ready than are wanted.", "Look at its pods' events, and wait for the rollout to end.", HEALTH),
    Check("istiod_mixed_versions", "All istiods of a revision are of one version", WARNING, LIVE, ("pods",), planes.istiod_mixed_versions,
          "Living istiods of one revision are of different versions.", "Wait for the rollout to end; if it is stuck, look at the newer pods.", skew.CANARY),
    Check("istiod_single", "istiod has a second replica", WARNING, (UPGRADE,), ("istiods",), planes.istiod_single,
          "An istiod is to have fewer than two replicas.", "Set pilot.autoscaleMin to 2 in the values, or pilot.replicaCount without autoscaling.",
          "istio.io, Deployment best practices"),
    Check("istiod_no_budget", "A drain leaves an istiod", WARNING, (UPGRADE,), ("istiods", "budgets"), planes.istiod_no_budget,
          "An istiod with several replicas has no PodDisruptionBudget.", "Leave global.defaultPodDisruptionBudget.enabled at true in the values.",
          "Kubernetes, Disruptions"),
    Check("istiod_budget_blocks", "The budget of istiod lets a node be drained", WARNING, (UPGRADE,), ("istiods", "budgets"), planes.istiod_budget_blocks,
          "A PodDisruptionBudget of istiod allows no disruption now.", "Have one replica more than the budget keeps, and all of them ready.",
          "Kubernetes, Disruptions"),
    Check("foreign_control_plane", "No other tool keeps a control plane of this revision", WARNING, (INSTALL,), ("istiods",), planes.foreign_control_plane,
          "An istiod of the revision that is to be installed is kept by another tool.",
          "Take it over with adopt, go on with the tool that made it, or choose another revision.", "Kubernetes, Server-side apply"),
    Check("revision_is_tag", "The new revision's name is free", ERROR, COMING, ("injectors",), planes.revision_is_tag,
          "The new revision has the name of a revision tag.", "Choose another name, such as the version with dashes.", TAGS),
    Check("revision_unused", "Every control plane is used", INFO, (RUNNING,), ("istiods", "pods", "namespaces", "injectors"), planes.revision_unused,
          "There are several control planes, and no tag, namespace or proxy uses one of them.", "Remove it: control_plane with its revision and state absent.",
          skew.CANARY),
    Check("foreign_workloads", "The control plane's namespace is Istio's alone", INFO, (RUNNING,), ("pods", "replica_sets"), planes.foreign_workloads,
          "Workloads that are no part of Istio run in the control plane's namespace.", "Move them: whoever may write there rules the mesh.",
          "istio.io, Security best practices"),
    Check("node_agents_not_ready", "Node agents are ready on every node", ERROR, LIVE, ("node_agents",), planes.node_agents_not_ready,
          "istio-cni or ztunnel is not ready on every node that it is for.", "Look at its pods on those nodes; pods of the mesh cannot start there.",
          "istio.io, Istio CNI node agent"),
    Check("cni_skew", "istio-cni fits the control planes", ERROR, LIVE, ("istiods", "node_agents"), planes.agent_skew("cni"),
          "istio-cni is newer than a control plane or more than one minor version older; before an upgrade, than the one that comes.",
          "Upgrade istio-cni after istiod, and before the next minor version.", skew.AMBIENT),
    Check("ztunnel_skew", "ztunnel fits the control planes", ERROR, LIVE, ("istiods", "node_agents"), planes.agent_skew("ztunnel"),
          "ztunnel is newer than a control plane or more than one minor version older; before an upgrade, than the one that comes.",
          "Upgrade ztunnel after istio-cni, and before the next minor version.", skew.AMBIENT),
    # Webhooks and tags.
    Check("injector_missing", "Every revision has an injection webhook", ERROR, LIVE, ("istiods", "injectors"), webhooks.injector_missing,
          "No injection webhook is for the revision of a control plane.",
          "Run the role control_plane again; with operatorManageWebhooks make the webhook yourself.", HEALTH),
    Check("webhook_no_ca", "Every webhook has its CA", ERROR, ALWAYS, HOOKS, webhooks.webhook_no_ca,
          "A webhook of injection or validation has no caBundle.", "See whether istiod of that revision runs and may write webhooks.", HEALTH),
    Check("webhook_ca_foreign", "The webhooks' CA is the mesh's", ERROR, LIVE, (*HOOKS, "roots"), webhooks.webhook_ca_foreign,
          "The caBundle of a webhook holds none of the root certificates of the mesh.",
          "Restart istiod of that revision, which writes its CA anew; look for a tool that puts an old one back.", HEALTH),
    Check("webhook_service_missing", "Every webhook leads to a Service", ERROR, ALWAYS, (*HOOKS, "services"), webhooks.webhook_service_missing,
          "The Service that a webhook names does not exist.", "Remove the webhook of a control plane that is gone, or install that control plane again.",
          ANALYSIS("IST0139")),
    Check("webhook_unanswered", "Something answers behind every webhook that fails closed", ERROR, ALWAYS, REACHED, webhooks.webhook_unanswered,
          "A webhook with failurePolicy Fail has nothing ready behind it: its pods cannot start, or objects not be written.",
          "Bring istiod up, or remove the webhook of one that is gone.", HEALTH),
    Check("injector_open", "Injection fails closed", WARNING, LIVE, ("injectors",), webhooks.injector_open,
          "An injection webhook has failurePolicy Ignore.", "Set it to Fail: istiod's own charts do.", HEALTH),
    Check("validator_open", "Validation fails closed", WARNING, LIVE, ("validators",), webhooks.validator_open,
          "A validating webhook of Istio has failurePolicy Ignore, as it has until istiod has seen it work.",
          "Wait a minute after an install; then look at istiod's log for why it does not set Fail.", "istio.io, Configuration validation problems"),
    Check("default_validator_missing", "Objects without a revision are validated", WARNING, LIVE, ("istiods", "validators"), webhooks.default_validator_missing,
          "No webhook validates objects that name no revision.", "Set the tag default: revision_tag with name default.", TAGS),
    Check("webhooks_overlap", "No pod is injected twice", ERROR, ALWAYS, ("injectors",), webhooks.webhooks_overlap,
          "Two injection webhooks take the same pod.", "Remove one of them, or give its control plane a revision.", ANALYSIS("IST0139")),
    Check("default_tag_missing", "There is a default revision", WARNING, LIVE, ("istiods", "injectors"), webhooks.default_tag_missing,
          "Neither the tag default nor a control plane without a revision is there.", "Set the tag default: revision_tag with name default.", TAGS),
    Check("tag_dangling", "Every tag points to a revision", ERROR, LIVE, ("istiods", "injectors"), webhooks.tag_dangling,
          "A revision tag points to a revision that does not exist.", "Point it to one that does: revision_tag.", TAGS),
    # Namespaces and pods.
    Check("namespace_unknown_revision", "Every namespace names a revision that is there", ERROR, LIVE, ("namespaces", "injectors"),
          workloads.namespace_unknown_revision,
          "A namespace's label istio.io/rev names neither a revision nor a tag.", "Name one that is there: module namespace, or set the tag.", HEALTH),
    Check("namespace_several_labels", "Every namespace asks for its mesh in one way", WARNING, LIVE, ("namespaces",), workloads.namespace_several_labels,
          "A namespace has several of the labels istio-injection, istio.io/rev and istio.io/dataplane-mode.", "Keep one of them.", ANALYSIS("IST0123")),
    Check("pods_without_sidecar", "Every pod that should have a sidecar has one", WARNING, LIVE, MEMBERS, workloads.pods_without_sidecar,
          "Pods of a workload should have a sidecar and have none.", "Restart them: module namespace with restart.", ANALYSIS("IST0103")),
    Check("proxies_stale", "Every proxy is of the revision that would inject it now", WARNING, LIVE, MEMBERS, workloads.proxies_stale,
          "Pods of a workload have a proxy of another revision than new ones would get.", "Restart them: module namespace with restart_stale.", skew.CANARY),
    Check("pods_not_restartable", "Every pod that is behind can be restarted", WARNING, LIVE, MEMBERS, workloads.pods_not_restartable,
          "A bare pod, a Job's or one of an unknown owner has a stale sidecar, or should have one and has none.", "Make it anew in its own way.", skew.CANARY),
    Check("proxies_orphaned", "The control plane of every proxy is there", ERROR, LIVE, ("pods", "istiods", "injectors"), workloads.proxies_orphaned,
          "The revision of a proxy has no control plane any more: it keeps its last configuration, and its certificate ends.",
          "Restart the workload under a revision that is there.", skew.CANARY),
    Check("sidecar_not_ready", "Every running pod's proxy is ready", WARNING, LIVE, ("pods",), workloads.sidecar_not_ready,
          "A pod runs, and the container istio-proxy is not ready.", "Look at its log; most often it cannot reach istiod.",
          "istio.io, Application requirements"),
    Check("image_auto", "Every gateway was injected", ERROR, LIVE, ("pods",), workloads.image_auto,
          "The image of a pod's proxy is still auto.", "Once injection answers, delete the pod: its next one is injected.", ANALYSIS("IST0147")),
    Check("job_kept_by_sidecar", "No Job is kept running by its proxy", WARNING, LIVE, ("pods",), workloads.job_kept_by_sidecar,
          "The containers of a Job's pod have ended, and its proxy has not.",
          "Use native sidecars, or leave the Job out with the label sidecar.istio.io/inject: false.", "KEP-753"),
    # Proxies.
    Check("proxies_newer", "No proxy is newer than its control plane", ERROR, LIVE, RELATED, proxies.proxies_newer,
          "A proxy is of a newer minor version than its control plane.", "Upgrade the control plane, or restart the workload under one that is as new.",
          skew.PROXY.source),
    Check("proxies_too_old", "No proxy is too old for its control plane", ERROR, LIVE, RELATED, proxies.proxies_too_old,
          "A proxy is more than one minor version older than its control plane.", "Restart the workload.", skew.PROXY.source),
    Check("proxies_older", "Proxies are as new as their control plane", INFO, (RUNNING,), RELATED, proxies.proxies_older,
          "A proxy is older than its control plane, within what is supported.", "Restart the workload when it suits.", ANALYSIS("IST0158")),
    Check("proxies_left_behind", "No proxy will be too old after the upgrade", ERROR, (UPGRADE,), RELATED, proxies.proxies_left_behind,
          "An upgrade in place would leave a proxy more than one minor version older than its control plane.", "Restart the workload before the upgrade.",
          skew.PROXY.source),
    Check("proxies_disconnected", "Every ready proxy is connected to an istiod", ERROR, LIVE, (PROXIES, "pods"), proxies.proxies_disconnected,
          "A pod with a ready proxy is listed by no istiod.", "Look at the proxy's log: it has no new configuration, and its certificate will end.",
          "istiod's /debug/syncz"),
    Check("proxies_not_synced", "Every proxy has acknowledged its configuration", WARNING, LIVE, (PROXIES, "pods"), proxies.proxies_not_synced,
          "A connected proxy has not acknowledged what was sent.", "Ask again; if it stays, look at the proxy's log.", "istiod's /debug/syncz"),
    Check("proxies_rejected", "No proxy refuses its configuration", ERROR, LIVE, (PROXIES, "pods"), proxies.proxies_rejected,
          "A proxy refuses its configuration and keeps the one before.", "Undo or correct the object that its words lead to.", "istiod's /debug/syncz"),
    # Root certificates.
    Check("root_missing", "The mesh has a root certificate", ERROR, LIVE, ("roots",), roots.root_missing,
          "ConfigMap istio-ca-root-cert of the control plane's namespace is missing, or holds no certificate.", "See in istiod's log why it does not write it.",
          "istio.io, Plug in CA certificates"),
    Check("root_expired", "The root certificate is valid", ERROR, LIVE, ("roots",), roots.root_expired,
          "A root certificate has expired.", "Rotate the root certificate.", "istio.io, Plug in CA certificates"),
    Check("root_expires_soon", "The root certificate stays valid for a month", WARNING, LIVE, ("roots",), roots.root_expires_soon,
          "A root certificate expires within 30 days.", "Rotate the root certificate, with both trusted for a time.", "istio.io, Plug in CA certificates"),
    Check("roots_several", "The mesh has one root certificate", INFO, LIVE, ("roots",), roots.roots_several,
          "Proxies trust several root certificates, as in a rotation.", "When all workloads have certificates of the new one, drop the old one.",
          "istio.io, Plug in CA certificates"),
    Check("root_copies_differ", "All namespaces trust the same root certificate", ERROR, LIVE, ("roots",), roots.root_copies_differ,
          "A namespace's ConfigMap istio-ca-root-cert holds other certificates than the control plane's.",
          "See in istiod's log why it does not renew it; with several meshes, each must have its own namespaces.",
          "pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go"),
    Check("root_copy_missing", "Every namespace with proxies has the root certificate", ERROR, LIVE, ("roots", "pods"), workloads.root_copy_missing,
          "A namespace with proxies has no ConfigMap istio-ca-root-cert.", "See in istiod's log why it does not write it.",
          "pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go"),
    # Gateways.
    Check("gateway_no_pods", "Every gateway has a ready pod", ERROR, LIVE, ("services", "pods"), gateways.gateway_no_pods,
          "No ready pod is behind the Service of a gateway.", "Look at the gateway's pods.", "istio.io, Installing gateways"),
    Check("gateway_single", "Every gateway has a second pod", WARNING, (UPGRADE,), ("services", "pods"), gateways.gateway_single,
          "One ready pod is behind the Service of a gateway.", "Give the gateway two replicas before it is replaced.", "istio.io, Installing gateways"),
    Check("gateway_no_address", "Every gateway's load balancer has an address", INFO, LIVE, ("services", "pods"), gateways.gateway_no_address,
          "The Service of a gateway is of type LoadBalancer and has no address.", "Have something that gives addresses, or use NodePort.",
          "Kubernetes, Service"),
    Check("gateway_selects_nothing", "Every Gateway is served by a pod", WARNING, LIVE, ("gateways", "pods"), gateways.gateway_selects_nothing,
          "No pod has the labels that a Gateway selects.", "Correct spec.selector of the Gateway, or the gateway's labels.", ANALYSIS("IST0101")),
    # Routes and policies.
    Check("virtual_service_no_gateway", "Every VirtualService names Gateways that are there", ERROR, LIVE, ("virtual_services", "gateways"),
          routes.virtual_service_no_gateway,
          "A VirtualService names a Gateway that does not exist.", "Correct the name, written as NAMESPACE/NAME, or make the Gateway.", ANALYSIS("IST0101")),
    Check("virtual_service_no_host", "Every VirtualService sends to hosts that are there", WARNING, LIVE,
          ("virtual_services", "services", "service_entries", "istiods"), routes.virtual_service_no_host,
          "A VirtualService sends to a host that no Service or ServiceEntry of this cluster is.",
          "Correct the host. One in another cluster of the mesh may be right.", ANALYSIS("IST0101")),
    Check("subset_undefined", "Every subset that is sent to is defined", ERROR, LIVE, ("virtual_services", "destination_rules", "istiods"),
          routes.subset_undefined,
          "A VirtualService sends to a subset that no DestinationRule defines: its requests get a 503.",
          "Define the subset in the host's DestinationRule first.", ANALYSIS("IST0101")),
    Check("destination_rule_no_host", "Every DestinationRule is for a host that is there", WARNING, LIVE,
          ("destination_rules", "services", "service_entries", "istiods"), routes.destination_rule_no_host,
          "A DestinationRule is for a host that no Service or ServiceEntry of this cluster is.",
          "Correct the host, or remove the rule. One in another cluster of the mesh may be right.", ANALYSIS("IST0174")),
    Check("subset_without_pods", "Every subset has a pod", WARNING, LIVE, ("destination_rules", "services", "pods", "istiods"), routes.subset_without_pods,
          "No pod of the host has the labels of a subset.", "Correct the labels, or deploy that version.", ANALYSIS("IST0173")),
    Check("mtls_permissive", "The mesh asks for mutual TLS", INFO, (RUNNING,), ("istiods", "peer_authentications"), routes.mtls_permissive,
          "No PeerAuthentication in the control plane's namespace sets STRICT for the whole mesh.", "Set it, once no client sends plain text any more.",
          "istio.io, Security best practices"),
    Check("mtls_disabled", "Mutual TLS is off nowhere", WARNING, (RUNNING,), ("peer_authentications",), routes.mtls_disabled,
          "A PeerAuthentication sets the mode DISABLE.", "Use PERMISSIVE while clients without the mesh remain.", "istio.io, Security best practices"),
    # Upgrades.
    Check("downgrade", "The upgrade goes up", ERROR, (UPGRADE,), ("istiods",), upgrade.downgrade,
          "The version is of an older release than the control plane.",
          "Choose a newer version. To go back, keep or install the older one as a revision of its own, and point tags back.", SKEW),
    Check("minor_skipped", "The upgrade skips no release that it may not", ERROR, (UPGRADE,), ("istiods",), upgrade.minor_skipped,
          "In place the upgrade goes further than one minor version, by a new revision further than two.",
          "Go by the releases that are named, and restart workloads at each.", skew.CANARY),
    Check("envoy_filters", "No EnvoyFilter depends on what istiod generates", INFO, (UPGRADE,), ("envoy_filters",), upgrade.envoy_filters,
          "There are EnvoyFilters.", "Try each under the new version before workloads move.", "istio.io, EnvoyFilter"),
    Check("change_unhealthy_endpoints", "Unhealthy endpoints are sent by decision", WARNING, (UPGRADE,), ("istiods",),
          upgrade.flag_unset("PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS",
                             "from 1.31 on it sends endpoints that are not ready to proxies, unless outlierDetection.minHealthPercent is set"),
          "The upgrade crosses 1.31, and istiod does not set PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS.",
          "Set it in pilot.env, to false for what was before; or set compatibility_version to 1.30 for a time.", NOTES(60690), (1, 31)),
    Check("change_tracing_flag", "No tracing flag is set that is gone", WARNING, (UPGRADE,), ("istiods",),
          upgrade.flag_set("PILOT_SPAWN_UPSTREAM_SPAN_FOR_GATEWAY",
                           "1.31 does not know PILOT_SPAWN_UPSTREAM_SPAN_FOR_GATEWAY: gateways always make a span for each upstream request"),
          "The upgrade crosses 1.31, and istiod sets PILOT_SPAWN_UPSTREAM_SPAN_FOR_GATEWAY.", "Take it out of pilot.env.",
          NOTES("remove-spawn-upstream-span-for-gateway"), (1, 31)),
    Check("change_workload_entries", "Registered workloads are reached by HBONE", WARNING, (UPGRADE,), ("istiods", "workload_entries"),
          upgrade.entries_without_tunnel,
          "The upgrade crosses 1.31, and a WorkloadEntry that registered itself has no label networking.istio.io/tunnel.",
          "Let the workload register anew after the upgrade, or label the entry with networking.istio.io/tunnel=http if it speaks HBONE.", NOTES(60788),
          (1, 31)),
    Check("change_mcp_readers", "No istiod reads another's configuration", WARNING, (UPGRADE,), ("istiods", "mesh_configs"), upgrade.mcp_readers,
          "The upgrade crosses 1.31, and an istiod reads configuration by MCP over xDS.",
          "Readers need an identity of the control plane; see ENABLE_XDS_API_GENERATOR_AUTH of the istiod that is read from.", NOTES("xds-api-generator-auth"),
          (1, 31)),
)  # fmt: skip
BY_CODE = {check.code: check for check in CHECKS}
# How far the parts of a mesh are apart.
APART = ("proxies_newer", "proxies_too_old", "cni_skew", "ztunnel_skew", "definitions_old")


def refuse(gate: Gate, skip: Iterable[str] = ()) -> None:
    """Raises InvalidOption for what cannot be meant."""
    for code in skip:
        if code not in BY_CODE:
            hint = did_you_mean(code, BY_CODE, "docs/checks.md lists them.")
            raise InvalidOption("skip", f"there is no check {code}", hint=hint, code="no_such_check")
    if gate.version and gate.number is None:
        raise InvalidOption("version", f"{gate.version!r} is no version of Istio", hint="Write it as 1.31.0.")
    if gate.revision:
        check_label("revision", gate.revision)


def refuse_absent(facts: Facts, gate: Gate) -> None:
    """Raises InvalidOption for a namespace that is not there: about it nothing would be judged."""
    there = {obj["metadata"]["name"] for obj in facts.objects.get("namespaces", ())}
    missing = [name for name in gate.namespaces if name not in there]
    if missing and "namespaces" in facts.objects:
        raise InvalidOption(
            "namespaces", f"there is no namespace {missing[0]}", hint="Check the name, or create the namespace first.", code="no_such_namespace"
        )


def of_phase(gate: Gate) -> list[Check]:
    return [check for check in CHECKS if gate.phase in check.phases]


def sources(gate: Gate, skip: Iterable[str] = ()) -> set[str]:
    """Names of all that must be read."""
    return {name for check in of_phase(gate) if check.code not in set(skip) for name in check.reads} | ({"namespaces"} if gate.namespaces else set())


def run(facts: Facts, gate: Gate, skip: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Rows of the result, in the table's order. What a release changed is asked only where the upgrade crosses it."""
    left_out = set(skip)
    chosen = [check for check in of_phase(gate) if check.code in left_out or _applies(check, facts, gate)]
    return [row(check, SKIPPED) if check.code in left_out else ask(check, facts, gate) for check in chosen]


def _applies(check: Check, facts: Facts, gate: Gate) -> bool:
    if check.release is None or "istiods" in facts.refused:
        return True
    new = gate.number
    return new is not None and any(plane["number"] is None or skew.crosses(plane["number"], new, check.release) for plane in replaced(facts, gate))


def ask(check: Check, facts: Facts, gate: Gate) -> dict[str, Any]:
    forbidden = next((f"{name} may not be read: {facts.refused[name]}" for name in check.reads if name in facts.refused), "")
    if forbidden:
        return row(check, UNKNOWN, cause=forbidden)
    try:
        findings = check.judge(facts, gate)
    except Unknown as reason:
        return row(check, UNKNOWN, cause=str(reason))
    if not findings:
        return row(check, PASSED)
    return row(check, FAILED, [finding.object for finding in findings], told(findings))


def row(check: Check, status: str, objects: list[str] | None = None, cause: str = "") -> dict[str, Any]:
    remedy = check.remedy if status == FAILED else ""
    return {"code": check.code, "title": check.title, "severity": check.severity, "status": status, "objects": objects or [], "cause": cause, "remedy": remedy}


def told(findings: list[Finding]) -> str:
    """A sentence: objects of one cause together, and of many only the first."""
    by_cause: dict[str, list[str]] = {}
    for finding in findings:
        by_cause.setdefault(finding.cause, []).append(finding.object)
    parts = [f"{few(objects, SHOWN_OBJECTS)}: {cause}" for cause, objects in by_cause.items()]
    more = len(parts) - SHOWN_CAUSES
    return "; ".join(parts[:SHOWN_CAUSES]) + (f"; and {more} more causes" if more > 0 else "")


def summary(rows: list[dict[str, Any]]) -> dict[str, int]:
    counts = {status: sum(row["status"] == status for row in rows) for status in (PASSED, FAILED, UNKNOWN, SKIPPED)}
    failed = [row["severity"] for row in rows if row["status"] == FAILED]
    return {**counts, "errors": failed.count(ERROR), "warnings": failed.count(WARNING)}


def failure(rows: list[dict[str, Any]], fail_at: str, unknown_fails: bool = False) -> Failure | None:
    """What ends the play: the checks that failed, or may not be unknown, at these severities."""
    statuses = {FAILED, UNKNOWN} if unknown_fails else {FAILED}
    bad = [row for row in rows if row["status"] in statuses and row["severity"] in FAIL_AT[fail_at]]
    if not bad:
        return None
    lines = [f"- {row['code']} ({row['severity']}, {row['status']}): {row['cause']}. {row['remedy']}".rstrip() for row in bad]
    count = f"{len(bad)} of {len(rows)} checks {'do' if len(bad) > 1 else 'does'} not pass"
    return Failure("checks_failed", "\n".join([f"{count}:", *lines]), reason=", ".join(row["code"] for row in bad))
