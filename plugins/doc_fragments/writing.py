# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that changes a cluster."""

    WAIT = r"""
options:
  wait:
    description: Whether to wait until all objects are ready or deleted.
    type: bool
    default: true
  wait_timeout:
    description: Maximum duration of the task in seconds, including all waits.
    type: int
    default: 600
"""
    PROGRESS = r"""
options:
  _progress:
    description: Set by the action plugin, which shows what the module waits for. Do not set it in tasks.
    type: dict
"""
    PROXIES = r"""
options:
  wait_for_proxies:
    description:
      - Whether to wait after the last step until every istiod reports that its proxies have acknowledged the change, and proxies show it.
      - V(false) keeps the waits between steps, because without them proxies would answer 503. M(servicemesh.istio.proxy_status) reports later
        whether the proxies are in sync.
    type: bool
    default: true
"""
    PREFLIGHT = r"""
options:
  preflight:
    description:
      - How to handle errors that M(servicemesh.istio.preflight) finds in the change before anything is written. The objects are checked in their
        final state, together with the cluster. Errors that existed before do not count.
      - V(fail) fails with the code C(preflight_failed) and names check, object, field and remedy. In check mode it is a warning, because an earlier
        task may fix the error.
      - V(warn) applies the change and warns. V(skip) does not check. Without a change, nothing is checked.
    type: str
    choices: [fail, warn, skip]
    default: fail
"""
    SHARED = r"""
options: {}
notes:
  - Routes of other tools in the VirtualService of this collection keep their place and their fields. They remain, with a default route, when the last feature of the traffic policy is removed. Manual changes to routes of this collection are conflicts.
  - If the object was changed after it was read, the task fails with C(resource_version_conflict) and overwrites nothing.
  - Another VirtualService for the service fails with the code C(host_taken), which names Flagger, Argo Rollouts, Argo CD, Flux, Helm or Kiali if one
    of them manages it. O(adopt=true) appends its routes to the new ones, if only the tools of O(adopt_from) wrote it, it has just this host and these
    gateways, and no route would become unreachable (C(route_shadowed)). VirtualServices of the tools above are never adopted.
  - O(force_conflicts=true) replaces another VirtualService for just this host. The task warns if a tool may create it again.
  - A DestinationRule for the host with another name, or of another module of this collection, fails with the code C(rule_taken) if the policy needs a
    DestinationRule. Neither O(adopt) nor O(force_conflicts) changes that. Fields of other tools in the DestinationRule remain when the policy is
    removed, unless O(force_conflicts=true).
  - The previous traffic policy is saved in the ConfigMap C(servicemesh-rollback-NAME). M(servicemesh.istio.traffic_rollback) restores it. The
    ConfigMap remains when the policy is removed.
"""
    DOCUMENTATION = r"""
options:
  force_conflicts:
    description: Whether to take over fields that another field manager owns. By default, such a field is an error that names its owner.
    type: bool
    default: false
  adopt:
    description: Whether to take over objects that another tool created. The fields of the tool move to this collection; nothing is deleted or restarted. Fields
      that only the tool has set are removed. The plan shows them.
    type: bool
    default: false
  adopt_from:
    description: Field managers from which O(adopt) takes over. The default is the managers of kubectl, Helm, istioctl and kubernetes.core.
    type: list
    elements: str
    default:
      - kubectl
      - kubectl-client-side-apply
      - kubectl-create
      - kubectl-edit
      - kubectl-patch
      - kubectl-replace
      - kubectl-set
      - kubectl-label
      - kubectl-annotate
      - before-first-apply
      - helm
      - istio-operator
      - istioctl
      - ansible
      - OpenAPI-Generator
  recreate:
    description: Whether to delete and create an object again if an immutable field differs, such as the selector of a Deployment or the template of a Job. By
      default, this is an error that names the field. Namespaces, CRDs and PersistentVolumeClaims are never recreated.
    type: bool
    default: false
  compare:
    description:
      - V(managed_fields) compares an object's managed fields with the wanted object, and makes a dry run only for objects that this does not settle.
        Of many new objects with the same shape, one is checked by a dry run.
      - V(dry_run) makes a dry run for every object. The result is the same, but takes longer.
    type: str
    choices: [managed_fields, dry_run]
    default: managed_fields
"""
