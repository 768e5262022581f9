# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is worth checking about a mesh, as a table, and how it is gone through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .._checks.check import (
    ERROR,
    INFO,
    WARNING,
    Check,
    Finding,
    Row,
    Severity,
    at_severities,
    check_row,
    checks_failure,
    count_by_severity,
    validate_skip,
)
from .._engine.objects import summarize
from .._failure import Failure, InvalidOption
from .._istio import version_skew
from .._istio.install.control_plane import validate_label
from .checks import cluster, control_planes, gateways, proxies, root_certificates, routes, upgrade, webhooks, workloads
from .facts import PROXIES, SLICES, Facts
from .gate import INSTALL, RUNNING, UPGRADE, Gate, Judge, Unknown, replaced_planes

PASSED, FAILED, UNKNOWN, SKIPPED = "passed", "failed", "unknown", "skipped"
ALWAYS, LIVE, COMING = (INSTALL, RUNNING, UPGRADE), (RUNNING, UPGRADE), (INSTALL, UPGRADE)
# Causes and objects that a sentence names before it counts the rest; the list of objects is always whole.
SHOWN_CAUSES, SHOWN_OBJECTS = 5, 3


@dataclass(frozen=True)
class MeshCheck(Check[Judge]):
    """A check of a live mesh.

    title    what holds when it has passed
    phases   for which it is asked
    reads    names of the sources that it needs
    release  Istio's release that brings it: only an upgrade across that release is asked
    """

    title: str = ""
    phases: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    release: version_skew.Release | None = None


def _check(
    code: str,
    title: str,
    severity: Severity,
    phases: tuple[str, ...],
    reads: tuple[str, ...],
    judge: Judge,
    fails: str,
    remedy: str,
    source: str,
    release: version_skew.Release | None = None,
) -> MeshCheck:
    return MeshCheck(code, severity, judge, fails, remedy, source, title, phases, reads, release)


ANALYSIS = "Istio's analyzer {}".format
SKEW, TAGS, HEALTH = (
    "istio.io, Supported releases",
    "istio.io, Installing multiple control planes",
    "istio.io, Sidecar injection problems",
)
NOTES = "Istio's release notes for 1.31: {}".format
MEMBERS = ("pods", "namespaces", "injectors", "replica_sets")
RELATED = (PROXIES, "pods", "istiods", "injectors")
HOOKS = ("injectors", "validators")
REACHED = (*HOOKS, "services", "pods", SLICES)

CHECKS = (
    # The cluster.
    _check("kubernetes_too_old", "The Kubernetes version is not too old for Istio", ERROR, ALWAYS, ("istiods",),
           cluster.kubernetes_too_old,
           "The Kubernetes version is older than the oldest version that this Istio release supports.",
           "Upgrade Kubernetes first, or use an older Istio release.", SKEW + "; istioctl/pkg/install/k8sversion"),
    _check("kubernetes_untested", "The Istio release is tested with this Kubernetes version", WARNING, ALWAYS,
           ("istiods",), cluster.kubernetes_untested,
           "The Kubernetes version is newer than the newest version that this Istio release supports.",
           "Upgrade Istio before Kubernetes.", SKEW),
    _check("version_unknown", "This collection knows the Istio release", WARNING, ALWAYS, ("istiods",),
           cluster.version_unknown, "Istio is newer than the newest release that this collection knows.",
           "Read the upgrade notes of the release, and update the collection.", SKEW),
    _check("namespace_terminating", "The control plane's namespace is not being deleted", ERROR, ALWAYS,
           ("namespaces",), cluster.namespace_terminating, "The namespace of the control plane is being deleted.",
           "Wait until it is deleted. Its status shows what blocks the deletion.", "Kubernetes, Namespaces"),
    _check("crds_terminating", "No Istio CRD is being deleted", ERROR, ALWAYS, ("crds",), cluster.crds_terminating,
           "An Istio CRD is being deleted.",
           "Wait until it is deleted, then install the CRDs again and restore the objects.",
           "Kubernetes, CustomResourceDefinitions"),
    _check("crds_missing", "The cluster serves all Istio kinds", ERROR, LIVE, ("istiods",), cluster.crds_missing,
           "A control plane exists, but the cluster does not serve all Istio kinds.",
           "Install the CRDs again: run the role control_plane.", "manifests/charts/base"),
    _check("crds_old", "The Istio CRDs are as new as the newest control plane", ERROR, LIVE,
           ("istiods", "crds", "sets"), cluster.crds_old,
           "An Istio CRD belongs to an older release than the newest control plane.",
           "Install the CRDs of the newest control plane. Upgrade CRDs before istiod.", version_skew.BASE.source),
    _check("crds_newer", "The Istio CRDs are not newer than the planned version", WARNING, COMING, ("crds", "sets"),
           cluster.crds_newer, "The Istio CRDs belong to a newer release than the planned version.",
           "Keep them: CRDs are never downgraded, and they work with older control planes.", version_skew.BASE.source),
    _check("crds_leftover", "No CRDs remain from an earlier mesh", WARNING, (INSTALL,), ("istiods", "crds"),
           cluster.crds_leftover, "Istio CRDs exist, but no control plane.",
           "Check which objects still exist. Install with adopt, or delete the CRDs with all their objects.",
           "istio.io, Uninstall"),
    _check("gateway_api_old", "The Gateway API CRDs are not too old for Istio", WARNING, ALWAYS, ("istiods", "crds"),
           cluster.gateway_api_old, "A Gateway API CRD is so old that istiod ignores its objects.",
           "Install the Gateway API CRDs of the version that is named, or of a newer version.", ANALYSIS("IST0176")),
    # Control planes.
    _check("control_plane_missing", "A control plane exists", ERROR, LIVE, ("istiods",),
           control_planes.control_plane_missing, "The control plane's namespace contains no istiod.",
           "Run the role control_plane, or set namespace to the control plane's namespace.",
           "istio.io, Installation guides"),
    _check("istiod_unavailable", "Every control plane has a ready replica", ERROR, LIVE, ("istiods",),
           control_planes.istiod_unavailable, "No replica of an istiod is ready.",
           "Check the events and logs of its pods.", HEALTH),
    _check("istiod_incomplete", "All replicas of istiod are ready", WARNING, LIVE, ("istiods",),
           control_planes.istiod_incomplete, "An istiod has fewer ready replicas than configured.",
           "Check the events of its pods, and wait until the rollout is complete.", HEALTH),
    _check("istiod_mixed_versions", "All istiod pods of a revision have the same version", WARNING, LIVE, ("pods",),
           control_planes.istiod_mixed_versions, "Running istiod pods of one revision have different versions.",
           "Wait until the rollout is complete. If it does not progress, check the newer pods.", version_skew.CANARY),
    _check("istiod_single", "istiod has at least two replicas", WARNING, (UPGRADE,), ("istiods",),
           control_planes.istiod_single, "An istiod is configured with fewer than two replicas.",
           "Set pilot.autoscaleMin to 2 in the values, or pilot.replicaCount without autoscaling.",
           "istio.io, Deployment best practices"),
    _check("istiod_no_budget", "A PodDisruptionBudget protects istiod", WARNING, (UPGRADE,), ("istiods", "budgets"),
           control_planes.istiod_no_budget, "An istiod with several replicas has no PodDisruptionBudget.",
           "Keep global.defaultPodDisruptionBudget.enabled set to true in the values.", "Kubernetes, Disruptions"),
    _check("istiod_budget_blocks", "The PodDisruptionBudget of istiod allows a node to be drained", WARNING,
           (UPGRADE,), ("istiods", "budgets"), control_planes.istiod_budget_blocks,
           "A PodDisruptionBudget of istiod currently allows no disruption.",
           "Run one replica more than the budget requires, and make sure that all replicas are ready.",
           "Kubernetes, Disruptions"),
    _check("foreign_control_plane", "No other tool manages a control plane of this revision", WARNING, (INSTALL,),
           ("istiods",), control_planes.foreign_control_plane,
           "Another tool manages an istiod of the revision to install.",
           "Adopt it with adopt, keep using the tool that created it, or choose another revision.",
           "Kubernetes, Server-side apply"),
    _check("revision_is_tag", "No revision tag has the name of the new revision", ERROR, COMING, ("injectors",),
           control_planes.revision_is_tag, "A revision tag already has the name of the new revision.",
           "Choose another name, such as the version with dashes.", TAGS),
    _check("revision_unused", "Every control plane is used", INFO, (RUNNING,),
           ("istiods", "pods", "namespaces", "injectors"), control_planes.revision_unused,
           "Several control planes exist, and no tag, namespace or proxy uses one of them.",
           "Remove it: use control_plane with its revision and state absent.", version_skew.CANARY),
    _check("foreign_workloads", "The control plane's namespace contains only Istio", INFO, (RUNNING,),
           ("pods", "replica_sets"), control_planes.foreign_workloads,
           "Workloads that do not belong to Istio run in the control plane's namespace.",
           "Move them: write access to this namespace gives control over the mesh.",
           "istio.io, Security best practices"),
    _check("node_agents_not_ready", "Node agents are ready on every node", ERROR, LIVE, ("node_agents",),
           control_planes.node_agents_not_ready, "istio-cni or ztunnel is not ready on all of its nodes.",
           "Check its pods on those nodes: pods of the mesh cannot start there.", "istio.io, Istio CNI node agent"),
    _check("cni_skew", "The version of istio-cni is supported by the control planes", ERROR, LIVE,
           ("istiods", "node_agents"), control_planes.agent_skew("cni"),
           "istio-cni is newer than a control plane, or more than one minor version older. Before an upgrade, this "
           "includes the new control plane.", "Upgrade istio-cni after istiod, and before the next minor version.",
           version_skew.AMBIENT),
    _check("ztunnel_skew", "The version of ztunnel is supported by the control planes", ERROR, LIVE,
           ("istiods", "node_agents"), control_planes.agent_skew("ztunnel"),
           "ztunnel is newer than a control plane, or more than one minor version older. Before an upgrade, this "
           "includes the new control plane.", "Upgrade ztunnel after istio-cni, and before the next minor version.",
           version_skew.AMBIENT),
    # Webhooks and tags.
    _check("injector_missing", "Every revision has an injection webhook", ERROR, LIVE, ("istiods", "injectors"),
           webhooks.injector_missing, "The revision of a control plane has no injection webhook.",
           "Run the role control_plane again. With operatorManageWebhooks, create the webhook yourself.", HEALTH),
    _check("webhook_no_ca", "Every webhook has a caBundle", ERROR, ALWAYS, HOOKS, webhooks.webhook_no_ca,
           "An injection or validation webhook has no caBundle.",
           "Check that istiod of that revision is running and is allowed to write webhooks.", HEALTH),
    _check("webhook_ca_foreign", "The caBundle of every webhook is the CA of the mesh", ERROR, LIVE, (*HOOKS, "roots"),
           webhooks.webhook_ca_foreign, "The caBundle of a webhook contains no root certificate of the mesh.",
           "Restart istiod of that revision: it writes its CA again. Check whether another tool restores an old CA.",
           HEALTH),
    _check("webhook_service_missing", "The Service of every webhook exists", ERROR, ALWAYS, (*HOOKS, "services"),
           webhooks.webhook_service_missing, "The Service of a webhook does not exist.",
           "Remove the webhook if its control plane no longer exists, or install that control plane again.",
           ANALYSIS("IST0139")),
    _check("webhook_unanswered", "Every webhook that fails closed has a ready endpoint", ERROR, ALWAYS, REACHED,
           webhooks.webhook_unanswered,
           "A webhook with failurePolicy Fail has no ready endpoint. Pods cannot start, or objects cannot be written.",
           "Start istiod, or remove the webhook if its control plane no longer exists.", HEALTH),
    _check("injector_open", "Injection fails closed", WARNING, LIVE, ("injectors",), webhooks.injector_open,
           "An injection webhook has failurePolicy Ignore.", "Set it to Fail, as Istio's charts do.", HEALTH),
    _check("validator_open", "Validation fails closed", WARNING, LIVE, ("validators",), webhooks.validator_open,
           "A validation webhook of Istio has failurePolicy Ignore. istiod sets Fail when it has seen the webhook "
           "work.", "Wait for a minute after an installation. If nothing changes, check istiod's log for the reason.",
           "istio.io, Configuration validation problems"),
    _check("default_validator_missing", "Objects without a revision are validated", WARNING, LIVE,
           ("istiods", "validators"), webhooks.default_validator_missing,
           "No webhook validates objects without a revision label.",
           "Create the revision tag default with the module revision_tag.", TAGS),
    _check("webhooks_overlap", "No two injection webhooks match the same pod", ERROR, ALWAYS, ("injectors",),
           webhooks.webhooks_overlap, "Two injection webhooks match the same pod.",
           "Remove one of them, or give its control plane a revision.", ANALYSIS("IST0139")),
    _check("default_tag_missing", "A default revision exists", WARNING, LIVE, ("istiods", "injectors"),
           webhooks.default_tag_missing,
           "Neither the revision tag default nor a control plane without a revision exists.",
           "Create the revision tag default with the module revision_tag.", TAGS),
    _check("tag_dangling", "Every revision tag points to an existing revision", ERROR, LIVE, ("istiods", "injectors"),
           webhooks.tag_dangling, "A revision tag points to a revision that does not exist.",
           "Point it to an existing revision with the module revision_tag.", TAGS),
    # Namespaces and pods.
    _check("namespace_unknown_revision", "The revision label of every namespace is valid", ERROR, LIVE,
           ("namespaces", "injectors"), workloads.namespace_unknown_revision,
           "The label istio.io/rev of a namespace is neither a revision nor a revision tag.",
           "Set the label to an existing revision with the module namespace, or create the tag.", HEALTH),
    _check("namespace_several_labels", "Every namespace has only one enrollment label", WARNING, LIVE, ("namespaces",),
           workloads.namespace_several_labels,
           "A namespace has more than one of the labels istio-injection, istio.io/rev and istio.io/dataplane-mode.",
           "Keep one of them.", ANALYSIS("IST0123")),
    _check("pods_missing_sidecar", "Every pod of an enrolled namespace has a sidecar", WARNING, LIVE, MEMBERS,
           workloads.pods_missing_sidecar, "Pods of a workload are missing their sidecar.",
           "Restart them: use the module namespace with restart_missing_sidecar.", ANALYSIS("IST0103")),
    _check("proxies_stale", "Every proxy has the revision that new pods get", WARNING, LIVE, MEMBERS,
           workloads.proxies_stale, "Pods of a workload have a proxy of another revision than new pods get.",
           "Restart them: use the module namespace with restart_stale_sidecar.", version_skew.CANARY),
    _check("pods_not_restartable", "Every pod with a missing or stale sidecar can be restarted", WARNING, LIVE,
           MEMBERS, workloads.pods_not_restartable,
           "A sidecar is missing or stale in a pod that no restart replaces: a pod without an owner, of a Job, or of "
           "an unknown owner.", "Recreate the pod yourself.", version_skew.CANARY),
    _check("proxies_orphaned", "The control plane of every proxy exists", ERROR, LIVE,
           ("pods", "istiods", "injectors"), workloads.proxies_orphaned,
           "The revision of a proxy no longer has a control plane. The proxy keeps its last configuration, and its "
           "certificate expires.", "Restart the workload with an existing revision.", version_skew.CANARY),
    _check("sidecar_not_ready", "The proxy of every running pod is ready", WARNING, LIVE, ("pods",),
           workloads.sidecar_not_ready, "A pod is running, but its container istio-proxy is not ready.",
           "Check the container's log. The most common cause is that it cannot reach istiod.",
           "istio.io, Application requirements"),
    _check("image_auto", "Every gateway pod is injected", ERROR, LIVE, ("pods",), workloads.image_auto,
           "The image of a pod's proxy is still auto.",
           "Delete the pod as soon as the injection webhook works: the new pod is injected.", ANALYSIS("IST0147")),
    _check("job_kept_by_sidecar", "No Job is kept running by its proxy", WARNING, LIVE, ("pods",),
           workloads.job_kept_by_sidecar, "All containers of a Job's pod have finished except its proxy.",
           "Use native sidecars, or exclude the Job with the label sidecar.istio.io/inject: false.", "KEP-753"),
    # Proxies.
    _check("proxies_newer", "No proxy is newer than its control plane", ERROR, LIVE, RELATED, proxies.proxies_newer,
           "A proxy has a newer minor version than its control plane.",
           "Upgrade the control plane, or restart the workload with a control plane of at least that version.",
           version_skew.PROXY.source),
    _check("proxies_too_old", "No proxy is too old for its control plane", ERROR, LIVE, RELATED,
           proxies.proxies_too_old, "A proxy is more than one minor version older than its control plane.",
           "Restart the workload.", version_skew.PROXY.source),
    _check("proxies_older", "Every proxy has the version of its control plane", INFO, (RUNNING,), RELATED,
           proxies.proxies_older, "A proxy is older than its control plane, but still supported.",
           "Restart the workload when convenient.", ANALYSIS("IST0158")),
    _check("proxies_left_behind", "No proxy will be too old after the upgrade", ERROR, (UPGRADE,), RELATED,
           proxies.proxies_left_behind,
           "An upgrade in place would leave a proxy more than one minor version older than its control plane.",
           "Restart the workload before the upgrade.", version_skew.PROXY.source),
    _check("proxies_disconnected", "Every ready proxy is connected to an istiod", ERROR, LIVE, (PROXIES, "pods"),
           proxies.proxies_disconnected, "A ready proxy is not connected to any istiod.",
           "Check the proxy's log. The proxy gets no new configuration, and its certificate expires.",
           "istiod's /debug/syncz"),
    _check("proxies_not_synced", "Every proxy is in sync", WARNING, LIVE, (PROXIES, "pods"),
           proxies.proxies_not_synced, "A connected proxy has not acknowledged its configuration.",
           "Run the check again. If the result does not change, check the proxy's log.", "istiod's /debug/syncz"),
    _check("proxies_rejected", "No proxy rejects its configuration", ERROR, LIVE, (PROXIES, "pods"),
           proxies.proxies_rejected, "A proxy rejects its configuration and keeps the previous one.",
           "Correct or roll back the object that the error message names.", "istiod's /debug/syncz"),
    # Root certificates.
    _check("root_missing", "The mesh has a root certificate", ERROR, LIVE, ("roots",), root_certificates.root_missing,
           "ConfigMap istio-ca-root-cert of the control plane's namespace is missing, or contains no certificate.",
           "Check istiod's log for the reason.", "istio.io, Plug in CA certificates"),
    _check("root_expired", "The root certificate has not expired", ERROR, LIVE, ("roots",),
           root_certificates.root_expired, "A root certificate has expired.", "Rotate the root certificate.",
           "istio.io, Plug in CA certificates"),
    _check("root_expires_soon", "The root certificate is valid for another 30 days", WARNING, LIVE, ("roots",),
           root_certificates.root_expires_soon, "A root certificate expires within 30 days.",
           "Rotate the root certificate. Trust both certificates during the rotation.",
           "istio.io, Plug in CA certificates"),
    _check("roots_several", "The mesh has one root certificate", INFO, LIVE, ("roots",),
           root_certificates.roots_several, "Proxies trust several root certificates, as during a rotation.",
           "Remove the old one when all workloads have certificates of the new one.",
           "istio.io, Plug in CA certificates"),
    _check("root_copies_differ", "All namespaces trust the same root certificate", ERROR, LIVE, ("roots",),
           root_certificates.root_copies_differ,
           "ConfigMap istio-ca-root-cert of a namespace contains other certificates than that of the control plane.",
           "Check istiod's log for the reason. If the cluster has several meshes, each needs its own namespaces.",
           "pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go"),
    _check("root_copy_missing", "Every namespace with proxies has the root certificate", ERROR, LIVE,
           ("roots", "pods"), workloads.root_copy_missing,
           "A namespace with proxies has no ConfigMap istio-ca-root-cert.", "Check istiod's log for the reason.",
           "pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go"),
    # Gateways.
    _check("gateway_no_pods", "Every gateway has a ready pod", ERROR, LIVE, ("services", "pods"),
           gateways.gateway_no_pods, "The Service of a gateway has no ready pod.", "Check the pods of the gateway.",
           "istio.io, Installing gateways"),
    _check("gateway_single", "Every gateway has at least two ready pods", WARNING, (UPGRADE,), ("services", "pods"),
           gateways.gateway_single, "The Service of a gateway has only one ready pod.",
           "Run the gateway with two replicas before you replace it.", "istio.io, Installing gateways"),
    _check("gateway_no_address", "Every gateway's load balancer has an address", INFO, LIVE, ("services", "pods"),
           gateways.gateway_no_address, "The Service of a gateway has type LoadBalancer and no address.",
           "Install a load balancer controller that assigns addresses, or use type NodePort.", "Kubernetes, Service"),
    _check("gateway_selects_nothing", "Every Gateway selects a pod", WARNING, LIVE, ("gateways", "pods"),
           gateways.gateway_selects_nothing, "A Gateway selects no pod.",
           "Correct spec.selector of the Gateway, or the labels of the gateway's pods.", ANALYSIS("IST0101")),
    # Routes and policies.
    _check("virtual_service_no_gateway", "Every Gateway that a VirtualService names exists", ERROR, LIVE,
           ("virtual_services", "gateways"), routes.virtual_service_no_gateway,
           "A VirtualService names a Gateway that does not exist.",
           "Correct the name (NAMESPACE/NAME), or create the Gateway.", ANALYSIS("IST0101")),
    _check("virtual_service_no_host", "Every destination host of a VirtualService exists", WARNING, LIVE,
           ("virtual_services", "services", "service_entries", "istiods"), routes.virtual_service_no_host,
           "A VirtualService routes to a host without a Service or ServiceEntry in this cluster.",
           "Correct the host. Ignore the finding if the host is in another cluster of the mesh.", ANALYSIS("IST0101")),
    _check("subset_undefined", "Every subset that a VirtualService names is defined", ERROR, LIVE,
           ("virtual_services", "destination_rules", "istiods"), routes.subset_undefined,
           "A VirtualService routes to a subset that no DestinationRule defines. These requests fail with status 503.",
           "First define the subset in the host's DestinationRule.", ANALYSIS("IST0101")),
    _check("destination_rule_no_host", "The host of every DestinationRule exists", WARNING, LIVE,
           ("destination_rules", "services", "service_entries", "istiods"), routes.destination_rule_no_host,
           "The host of a DestinationRule has no Service or ServiceEntry in this cluster.",
           "Correct the host, or remove the rule. Ignore the finding if the host is in another cluster of the mesh.",
           ANALYSIS("IST0174")),
    _check("subset_without_pods", "Every subset selects a pod", WARNING, LIVE,
           ("destination_rules", "services", "pods", "istiods"), routes.subset_without_pods,
           "A subset selects no pod of the host.", "Correct the labels, or deploy that version.", ANALYSIS("IST0173")),
    _check("mtls_permissive", "The whole mesh requires mutual TLS", INFO, (RUNNING,),
           ("istiods", "peer_authentications"), routes.mtls_permissive,
           "No PeerAuthentication in the control plane's namespace sets STRICT for the whole mesh.",
           "Set STRICT as soon as no client sends plaintext.", "istio.io, Security best practices"),
    _check("mtls_disabled", "No PeerAuthentication turns off mutual TLS", WARNING, (RUNNING,),
           ("peer_authentications",), routes.mtls_disabled, "A PeerAuthentication sets the mode DISABLE.",
           "Use PERMISSIVE as long as clients outside the mesh remain.", "istio.io, Security best practices"),
    # Upgrades.
    _check("downgrade", "The upgrade is not a downgrade", ERROR, (UPGRADE,), ("istiods",), upgrade.downgrade,
           "The planned version belongs to an older release than the control plane.",
           "Choose a newer version. To roll back, keep or install the older version as a separate revision, and move "
           "the revision tags to it.", SKEW),
    _check("minor_skipped", "The upgrade skips no required release", ERROR, (UPGRADE,), ("istiods",),
           upgrade.minor_skipped,
           "The upgrade spans more than one minor version in place, or more than two with a new revision.",
           "Upgrade through the releases that are named, and restart workloads at each of them.", version_skew.CANARY),
    _check("envoy_filters", "No EnvoyFilter patches generated configuration", INFO, (UPGRADE,), ("envoy_filters",),
           upgrade.envoy_filters, "EnvoyFilters exist.",
           "Test each of them with the new version before you move workloads.", "istio.io, EnvoyFilter"),
    _check("change_unhealthy_endpoints", "istiod sets PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS explicitly", WARNING,
           (UPGRADE,), ("istiods",),
           upgrade.flag_unset("PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS",
                              "from 1.31 on it also sends endpoints that are not ready "
                              "to proxies, unless outlierDetection.minHealthPercent is set"),
           "The upgrade passes 1.31, and istiod does not set PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS.",
           "Set it in pilot.env: false keeps the previous behavior. Or set compatibility_version to 1.30 temporarily.",
           NOTES(60690), (1, 31)),
    _check("change_tracing_flag", "No removed tracing flag is set", WARNING, (UPGRADE,), ("istiods",),
           upgrade.flag_set("PILOT_SPAWN_UPSTREAM_SPAN_FOR_GATEWAY",
                            "1.31 ignores PILOT_SPAWN_UPSTREAM_SPAN_FOR_GATEWAY: "
                            "gateways always create a span for each upstream request"),
           "The upgrade passes 1.31, and istiod sets PILOT_SPAWN_UPSTREAM_SPAN_FOR_GATEWAY.",
           "Remove it from pilot.env.", NOTES("remove-spawn-upstream-span-for-gateway"), (1, 31)),
    _check("change_workload_entries", "Auto-registered workloads have a tunnel label", WARNING, (UPGRADE,),
           ("istiods", "workload_entries"), upgrade.entries_without_tunnel,
           "The upgrade passes 1.31, and an auto-registered WorkloadEntry has no label networking.istio.io/tunnel.",
           "Let the workload register again after the upgrade, or label the entry with "
           "networking.istio.io/tunnel=http if it supports HBONE.", NOTES(60788), (1, 31)),
    _check("change_mcp_readers", "No istiod reads configuration from another istiod", WARNING, (UPGRADE,),
           ("istiods", "mesh_configs"), upgrade.mcp_readers,
           "The upgrade passes 1.31, and an istiod reads configuration from another istiod by MCP over xDS.",
           "The reader needs a control plane identity. See ENABLE_XDS_API_GENERATOR_AUTH of the istiod that it reads "
           "from.", NOTES("xds-api-generator-auth"), (1, 31)),
)  # fmt: skip
BY_CODE = {check.code: check for check in CHECKS}
# How far the parts of a mesh are apart.
APART = ("proxies_newer", "proxies_too_old", "cni_skew", "ztunnel_skew", "crds_old")


def validate_gate(gate: Gate, skip: Iterable[str] = ()) -> None:
    """Raises InvalidOption for options that are not valid."""
    validate_skip(skip, BY_CODE, "docs/checks.md")
    if gate.version and gate.number is None:
        raise InvalidOption("version", f"{gate.version!r} is not a valid Istio version", hint="Use the form 1.31.0.")
    if gate.revision:
        validate_label("revision", gate.revision)


def require_namespaces(facts: Facts, gate: Gate) -> None:
    """Raises InvalidOption for a namespace that is not there: about it nothing would be judged."""
    there = {obj["metadata"]["name"] for obj in facts.objects.get("namespaces", ())}
    missing = [name for name in gate.namespaces if name not in there]
    if missing and "namespaces" in facts.objects:
        raise InvalidOption(
            "namespaces",
            f"namespace {missing[0]} does not exist",
            hint="Correct the name, or create the namespace first.",
            code="no_such_namespace",
        )


def checks_of_phase(gate: Gate) -> list[MeshCheck]:
    return [check for check in CHECKS if gate.phase in check.phases]


def required_sources(gate: Gate, skip: Iterable[str] = ()) -> set[str]:
    """Names of all that must be read."""
    return {name for check in checks_of_phase(gate) if check.code not in set(skip) for name in check.reads} | (
        {"namespaces"} if gate.namespaces else set()
    )


def run_checks(facts: Facts, gate: Gate, skip: Iterable[str] = ()) -> list[Row]:
    """Rows of the result, in the table's order. What a release changed is asked only where the upgrade crosses it."""
    left_out = set(skip)
    chosen = [check for check in checks_of_phase(gate) if check.code in left_out or _applies(check, facts, gate)]
    return [status_row(check, SKIPPED) if check.code in left_out else run_check(check, facts, gate) for check in chosen]


def _applies(check: MeshCheck, facts: Facts, gate: Gate) -> bool:
    if check.release is None or "istiods" in facts.refused:
        return True
    new = gate.number
    return new is not None and any(
        plane["number"] is None or version_skew.crosses(plane["number"], new, check.release)
        for plane in replaced_planes(facts, gate)
    )


def run_check(check: MeshCheck, facts: Facts, gate: Gate) -> Row:
    forbidden = next(
        (f"cannot read {name}: {facts.refused[name]}" for name in check.reads if name in facts.refused), ""
    )
    if forbidden:
        return status_row(check, UNKNOWN, cause=forbidden)
    try:
        findings = check.judge(facts, gate)
    except Unknown as reason:
        return status_row(check, UNKNOWN, cause=str(reason))
    if not findings:
        return status_row(check, PASSED)
    return status_row(check, FAILED, [finding.object for finding in findings], summarize_findings(findings))


def status_row(check: MeshCheck, status: str, objects: list[str] | None = None, cause: str = "") -> Row:
    row = check_row(check, title=check.title, status=status, objects=objects or [], cause=cause)
    return {**row, "remedy": check.remedy if status == FAILED else ""}


def summarize_findings(findings: list[Finding]) -> str:
    """A sentence: objects of one cause together, and of many only the first."""
    by_cause: dict[str, list[str]] = {}
    for finding in findings:
        by_cause.setdefault(finding.message, []).append(finding.object)
    parts = [f"{summarize(objects, SHOWN_OBJECTS)}: {cause}" for cause, objects in by_cause.items()]
    more = len(parts) - SHOWN_CAUSES
    return "; ".join(parts[:SHOWN_CAUSES]) + (f"; and {more} more causes" if more > 0 else "")


def summarize_rows(rows: list[Row]) -> dict[str, int]:
    counts = {status: sum(row["status"] == status for row in rows) for status in (PASSED, FAILED, UNKNOWN, SKIPPED)}
    return {
        **counts,
        **count_by_severity((row for row in rows if row["status"] == FAILED), (Severity.ERROR, Severity.WARNING)),
    }


def failure_of_rows(rows: list[Row], fail_on: str, unknown_fails: bool = False) -> Failure | None:
    """The failure of a task whose checks failed, or may not be unknown, at these severities."""
    statuses = {FAILED, UNKNOWN} if unknown_fails else {FAILED}
    bad = [row for row in at_severities(rows, fail_on) if row["status"] in statuses]
    if not bad:
        return None
    lines = [
        f"{row['code']} ({row['severity']}, {row['status']}): {row['cause']}. {row['remedy']}".rstrip() for row in bad
    ]
    heading = f"{len(bad)} of {len(rows)} checks {'do' if len(bad) > 1 else 'does'} not pass"
    return checks_failure("checks_failed", heading, lines, [row["code"] for row in bad])
