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
    description: Timeout of the whole task in seconds, including all waiting.
    type: int
    default: 600
"""
    PROGRESS = r"""
options:
  _progress:
    description: Set by the action plugin to report what the module waits for. Do not set it in tasks.
    type: dict
"""
    PROXIES = r"""
options:
  wait_for_proxies:
    description:
      - Whether to wait after the last step until every istiod reports that its proxies have acknowledged the change,
        and the proxies' configuration contains the change.
      - V(false) skips only this last wait. The waits between steps remain, because without them requests would fail
        with 503. M(servicemesh.istio.proxy_status) reports later whether the proxies are in sync.
    type: bool
    default: true
"""
    PREFLIGHT = r"""
options:
  preflight:
    description:
      - Effect of errors that the pre-flight checks find in a change before it is written. The checks are those of
        M(servicemesh.istio.preflight). They examine the mesh as it will be after the last step. Errors that existed
        before the change do not block it.
      - V(fail) fails with the code C(preflight_failed) and names the check, object, field and remedy. In check mode
        the task prints a warning instead, because an earlier task of the play may fix the error.
      - V(warn) prints a warning and applies the change. V(skip) runs no checks. If nothing changes, no checks run.
    type: str
    choices: [fail, warn, skip]
    default: fail
"""
    SHARED = r"""
options: {}
notes:
  - Routes that other tools or users add to the collection's VirtualService keep their position and all of their fields.
    They remain when the last feature of the service is removed, together with a default route for all other requests.
    A manual change of the collection's own routes is a conflict.
  - If the object was changed after the task read it, the task fails with the code C(resource_version_conflict) and
    overwrites nothing.
  - If another VirtualService has routes for the service, the task fails with the code C(host_taken). The message names
    the owner if it is Flagger, Argo Rollouts, Argo CD, Flux, Helm or Kiali.
  - O(adopt=true) moves the routes of that VirtualService behind the routes of this task. Only the managers in
    O(adopt_from) may have written it, it must apply to exactly this service and these gateways, and every route must
    still receive requests. Otherwise the task fails with the code C(host_taken) or C(route_shadowed). A VirtualService
    of one of the owners above is never adopted.
  - O(force_conflicts=true) replaces another VirtualService that applies only to this service, even if another tool owns
    it. Its routes are lost. The task prints a warning if the owner may create it again.
  - If the policy needs a DestinationRule, and the service already has one with another name, the task fails with the
    code C(rule_taken). The same applies to a DestinationRule with the service's name that another module of this
    collection created. O(adopt) and O(force_conflicts) do not prevent these failures.
  - If other managers own fields of the service's DestinationRule, removing the policy keeps the DestinationRule with
    these fields. With O(force_conflicts=true), it is deleted.
  - Before a change, the service's previous policy is saved as a checkpoint in the ConfigMap
    C(servicemesh-rollback-SERVICE). M(servicemesh.istio.traffic_rollback) restores it. The checkpoint remains when the
    policy is removed.
"""
    DOCUMENTATION = r"""
options:
  force_conflicts:
    description: Whether to take over fields that another field manager owns. By default the task fails and names the
      owner.
    type: bool
    default: false
  adopt:
    description:
      - Whether to take over objects that another tool created. This collection becomes the manager of the tool's
        fields. No object is deleted or restarted.
      - Fields that the tool set and this task does not set are removed. The plan shows each removed field.
    type: bool
    default: false
  adopt_from:
    description: Field managers whose fields O(adopt) takes over. The default contains the managers that kubectl, Helm,
      istioctl and kubernetes.core use.
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
    description:
      - Whether to delete and create again an object that differs in an immutable field, such as the selector of a
        Deployment or the template of a Job. By default the task fails and names the field.
      - Namespaces, CRDs and PersistentVolumeClaims are never recreated.
    type: bool
    default: false
  compare:
    description:
      - Method to find out whether an object changes.
      - V(managed_fields) compares the object's managed fields with the wanted object. It makes a dry run only if the
        comparison is inconclusive. Of many new objects with the same shape, it makes a dry run for one.
      - V(dry_run) makes a dry run for every object. The result is the same, but the task takes longer.
    type: str
    choices: [managed_fields, dry_run]
    default: managed_fields
"""
