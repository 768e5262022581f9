# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that changes a cluster."""

    WAIT = r"""
options:
  wait:
    description: Whether to wait until all objects are ready, or gone.
    type: bool
    default: true
  wait_timeout:
    description: Seconds for the whole call, everything that is waited for included.
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
      - What becomes of errors that pre-flight finds in a change, before anything is written. The objects are judged as they will be behind the
        last step, together with the cluster, by the checks of M(servicemesh.istio.preflight); what was wrong before counts for nothing.
      - V(fail) fails with the code C(preflight_failed) and names check, object, field and remedy. In check mode it is a warning, since an
        earlier task may be about to put it right.
      - V(warn) writes, and warns of each. V(skip) asks nothing of the cluster. Where nothing is to be changed, nothing is asked either.
    type: str
    choices: [fail, warn, skip]
    default: fail
"""
    SHARED = r"""
options: {}
notes:
  - Routes that other people wrote into the VirtualService of this collection keep their place and all of their fields. They stay, with a
    route for all other requests, when the last concern of the host goes. What somebody changed of the collection's own routes is a conflict.
  - Where somebody has written to the object since it was read, the task fails with C(resource_version_conflict) and overwrites nothing.
  - Another VirtualService for the host is an error C(host_taken) that names Flagger, Argo Rollouts, Argo CD, Flux, Helm or Kiali, where one of them
    keeps it. With O(adopt=true) its routes go on behind the ones given here, if only the tools of O(adopt_from) wrote it, it is for just this
    host and these gateways, and no route would be left without requests (C(route_shadowed)). What one of those named keeps is never adopted.
  - With O(force_conflicts=true) another VirtualService for just this host goes with its routes, whoever keeps it; the task warns of who may
    make it again.
  - A DestinationRule for the host under another name, or one of this collection's that has the host's name and is of another module, is an error
    C(rule_taken) where the policy needs one; neither O(adopt) nor O(force_conflicts) takes it. Where others have a part in the host's own
    DestinationRule, it stays with that part when the policy goes, but with O(force_conflicts=true).
  - What the host's policy was before a change is kept as a checkpoint, the ConfigMap C(servicemesh-rollback-) with the host's name; M(servicemesh.istio.traffic_rollback)
    goes back to it. It stays when the policy goes.
"""
    DOCUMENTATION = r"""
options:
  force_conflicts:
    description: Whether to take over fields that another field manager owns. Without it such a field is an error that names its owner.
    type: bool
    default: false
  adopt:
    description:
      - Whether objects that another tool made are taken over. The tool's fields become ours, nothing is deleted or restarted, and what the
        tool had set and is wanted no more is removed. The plan shows each of them.
    type: bool
    default: false
  adopt_from:
    description: Field managers that O(adopt) takes over from. The default is the names that kubectl, Helm, istioctl and kubernetes.core use.
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
    description: >-
      Whether an object that differs in a field which cannot be changed (a Deployment's selector, a Job's template) is deleted and made anew.
      Without it this is an error that names the field. Namespaces, CustomResourceDefinitions and PersistentVolumeClaims are never recreated.
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
