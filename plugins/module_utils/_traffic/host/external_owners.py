# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who keeps an object as it is, and would set it back: known by what each of them writes into the objects that it
has.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..._engine.objects import Object


@dataclass(frozen=True)
class ExternalOwner:
    """A controller or tool that owns objects.

    managers   its names in managedFields
    marks      labels or annotations, each with the word for what it names; {key: value} would be too narrow for most
    kinds      of its own objects, as they are in ownerReferences
    """

    name: str
    managers: tuple[str, ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    kinds: tuple[str, ...] = ()


# The first that fits is named: what runs before what it runs with.
EXTERNAL_OWNERS = (
    ExternalOwner("Flagger", ("flagger",), kinds=("Canary",)),
    ExternalOwner(
        "Argo Rollouts",
        ("rollouts-controller",),
        (("argo-rollouts.argoproj.io/managed-by-rollouts", "rollout"),),
        ("Rollout",),
    ),
    ExternalOwner(
        "Argo CD",
        ("argocd-controller", "argocd-application-controller"),
        (("argocd.argoproj.io/tracking-id", "application"), ("argocd.argoproj.io/instance", "application")),
    ),
    ExternalOwner(
        "Flux",
        ("kustomize-controller", "helm-controller"),
        (("kustomize.toolkit.fluxcd.io/name", "kustomization"), ("helm.toolkit.fluxcd.io/name", "release")),
    ),
    ExternalOwner("Helm", ("helm",), (("meta.helm.sh/release-name", "release"),)),
    ExternalOwner("Kiali", ("kiali",), (("kiali_wizard", "wizard"),)),
)
# A label that says no more than whose it is.
MANAGED_BY = "app.kubernetes.io/managed-by"


def owner_of(obj: Object) -> str:
    """Who it is, and of what of theirs the object is part, such as "Helm (release shop)"; empty where nobody known
    is.
    """
    return next((words for owner in EXTERNAL_OWNERS if (words := _words(owner, obj))), "")


def _words(owner: ExternalOwner, obj: Object) -> str:
    metadata = obj["metadata"]
    for reference in metadata.get("ownerReferences") or []:
        if reference.get("kind") in owner.kinds:
            return f"{owner.name} ({reference['kind']} {metadata['namespace']}/{reference.get('name')})"
    said = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    for key, word in owner.marks:
        if key in said:
            # Argo CD writes APPLICATION:GROUP/KIND:NAMESPACE/NAME.
            return f"{owner.name} ({word} {str(said[key]).partition(':')[0]})"
    if said.get(MANAGED_BY) == owner.name or not managers_of(obj).isdisjoint(owner.managers):
        return owner.name
    return ""


def managers_of(obj: Object) -> set[str]:
    """Names of all that own fields of the object itself."""
    return {
        str(entry.get("manager"))
        for entry in obj["metadata"].get("managedFields") or []
        if not entry.get("subresource")
    }
