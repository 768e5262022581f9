# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order kinds are applied. Inside a stage nothing depends on anything, so its requests run side by side."""

from __future__ import annotations

from ..objects import Object, group_version

NAMESPACES, DEFINITIONS, IDENTITY, CONFIGURATION, WORKLOADS, CUSTOM, WEBHOOKS = range(7)

STAGE = {
    "Namespace": NAMESPACES,
    "CustomResourceDefinition": DEFINITIONS,
    "PriorityClass": IDENTITY,
    "StorageClass": IDENTITY,
    "IngressClass": IDENTITY,
    "GatewayClass": IDENTITY,
    "ServiceAccount": IDENTITY,
    "Role": IDENTITY,
    "ClusterRole": IDENTITY,
    "RoleBinding": IDENTITY,
    "ClusterRoleBinding": IDENTITY,
    "ResourceQuota": IDENTITY,
    "LimitRange": IDENTITY,
    "NetworkPolicy": IDENTITY,
    "ConfigMap": CONFIGURATION,
    "Secret": CONFIGURATION,
    "Service": CONFIGURATION,
    "Endpoints": CONFIGURATION,
    "EndpointSlice": CONFIGURATION,
    "PersistentVolume": CONFIGURATION,
    "PersistentVolumeClaim": CONFIGURATION,
    "PodDisruptionBudget": CONFIGURATION,
    # A webhook that refuses everything until its Service answers would block the stages before it: last.
    "MutatingWebhookConfiguration": WEBHOOKS,
    "ValidatingWebhookConfiguration": WEBHOOKS,
}
BUILT_IN_WORKLOADS = {"", "apps", "batch", "autoscaling"}


def stage(obj: Object) -> int:
    """The stage of an object by its kind; kinds of other groups come after workloads, for a controller must serve
    them.
    """
    if obj["kind"] in STAGE:
        return STAGE[obj["kind"]]
    return WORKLOADS if group_version(obj)[0] in BUILT_IN_WORKLOADS else CUSTOM


def staged(objects: list[Object]) -> list[list[Object]]:
    """Objects by stage, first stage first, each in the given order."""
    stages: dict[int, list[Object]] = {}
    for obj in objects:
        stages.setdefault(stage(obj), []).append(obj)
    return [stages[number] for number in sorted(stages)]
