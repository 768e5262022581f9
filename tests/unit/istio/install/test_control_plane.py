# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane as data: what istioctl is asked for, who gets the default tag, and in which steps all of it goes."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure, InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.install.control_plane import (
    ControlPlane,
    LiveMesh,
    control_plane_steps,
    istio_operator,
    tag_objects,
    tag_operator,
    validate_control_plane,
    wants_default_tag,
)

NEVER = {"matchLabels": {"istio.io/deactivated": "never-match"}}
PART_OF = "applyset.kubernetes.io/part-of"


def injector(name="istio-sidecar-injector", revision="default", **labels):
    """An injector for namespaces and pods of a revision; "default" also takes istio-injection=enabled, as in the
    chart.
    """
    no_injection = {"key": "istio-injection", "operator": "DoesNotExist"}
    selectors = [{"matchExpressions": [{"key": "istio.io/rev", "operator": "In", "values": [revision]}, no_injection]}]
    if revision == "default":
        selectors.append({"matchExpressions": [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]})
    hooks = [
        {"name": f"{number}.sidecar-injector.istio.io", "namespaceSelector": selector, "objectSelector": {}}
        for number, selector in enumerate(selectors)
    ]
    marks = {
        "app": "sidecar-injector",
        "istio.io/rev": revision,
        **{key.replace("_", "/"): value for key, value in labels.items()},
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name, "labels": marks},
        "webhooks": hooks,
    }


def tag(revision="default"):
    return injector("istio-revision-tag-default", "default", **{"istio.io_tag": "default", "istio.io_rev": revision})


def other(kind, name, component="Pilot"):
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "labels": (
                {"helm.sh/chart": "base-1.0.0"} if component == "Base" else {"operator.istio.io/component": component}
            ),
        },
    }


def spec(**options):
    return istio_operator(ControlPlane(**options))["spec"]


def test_only_what_was_asked_for_is_in_the_operator():
    assert spec() == {"profile": "default", "values": {}}
    assert spec(mesh_config={"accessLogFile": "/dev/stdout"}, hub="h", tag="t") == {
        "profile": "default",
        "values": {},
        "meshConfig": {"accessLogFile": "/dev/stdout"},
        "hub": "h",
        "tag": "t",
    }


def test_a_revision_is_told_to_istioctl_and_to_its_charts():
    asked = spec(revision="canary", values={"pilot": {"cpu": 1}})
    assert asked["revision"] == "canary" and asked["values"] == {"pilot": {"cpu": 1}, "revision": "canary"}


def test_another_namespace_is_told_to_the_charts_beside_what_the_user_says():
    asked = istio_operator(ControlPlane(namespace="mesh", values={"global": {"network": "n1"}}))
    assert asked["metadata"] == {"namespace": "mesh"}
    assert asked["spec"]["values"]["global"] == {"network": "n1", "istioNamespace": "mesh"}


def test_overlays_join_the_component_that_the_user_configured():
    overlays = [{"kind": "Deployment", "name": "istiod", "patches": []}]
    asked = spec(
        components={"pilot": {"enabled": True, "k8s": {"hpaSpec": {}}}, "cni": {"enabled": True}},
        overlays={"pilot": overlays},
    )
    assert asked["components"] == {
        "pilot": {"enabled": True, "k8s": {"hpaSpec": {}, "overlays": overlays}},
        "cni": {"enabled": True},
    }


def test_options_are_not_changed_by_rendering():
    plane = ControlPlane(
        revision="canary",
        namespace="mesh",
        values={"global": {"network": "n"}},
        components={"pilot": {}},
        overlays={"pilot": [{}]},
    )
    istio_operator(plane)
    tag_operator(plane)
    assert plane.values == {"global": {"network": "n"}} and plane.components == {"pilot": {}}


def test_the_default_tag_is_rendered_for_its_revision_and_place():
    values = tag_operator(
        ControlPlane(
            revision="canary", namespace="mesh", values={"sidecarInjectorWebhook": {"enableNamespacesByDefault": True}}
        )
    )["spec"]["values"]
    assert (
        values["revision"] == "canary"
        and values["defaultRevision"] == "canary"
        and values["revisionTags"] == ["default"]
    )
    assert values["global"] == {"istioNamespace": "mesh"} and values["sidecarInjectorWebhook"] == {
        "enableNamespacesByDefault": True
    }
    assert "istiodRemote" not in values
    remote = ControlPlane(values={"istiodRemote": {"injectionURL": "https://istiod.example.com/inject"}})
    assert tag_operator(remote)["spec"]["values"]["istiodRemote"] == {
        "injectionURL": "https://istiod.example.com/inject"
    }
    assert tag_operator(remote)["spec"]["values"]["defaultRevision"] == "default"


WEBHOOKS_BY_HAND = {"global": {"operatorManageWebhooks": True}}


@pytest.mark.parametrize(
    ("options", "live", "wanted"),
    [
        ({}, None, True),
        ({}, "default", True),
        ({}, "canary", True),
        ({"revision": "canary"}, None, True),
        ({"revision": "canary"}, "canary", True),
        ({"revision": "canary"}, "default", False),
        ({"revision": "canary"}, "1-30-0", False),
        ({"revision": "canary", "default_tag": True}, "default", True),
        ({"default_tag": False}, None, False),
        ({"values": WEBHOOKS_BY_HAND}, None, False),
        ({"values": WEBHOOKS_BY_HAND, "default_tag": True}, None, True),
    ],
)
def test_the_default_tag_goes_where_istioctl_would_put_it(options, live, wanted):
    mesh = LiveMesh(injectors=[tag(live)] if live else [injector()])
    assert wants_default_tag(ControlPlane(**options), mesh) is wanted


def test_the_default_tag_is_its_webhook_its_service_and_its_validator():
    validator = {
        **other("ValidatingWebhookConfiguration", "istiod-default-validator", "Base"),
        "webhooks": [{"name": "validation.istio.io"}],
    }
    service = other("Service", "istiod-revision-tag-default")
    service["metadata"]["labels"]["istio.io/tag"] = "default"
    account = other("ServiceAccount", "istiod")
    account["metadata"]["labels"]["istio.io/tag"] = "default"
    found = tag_objects(
        [injector(), tag(), service, account, validator, other("Deployment", "istiod")], ControlPlane(revision="canary")
    )
    assert [obj["metadata"]["name"] for obj in found] == [
        "istio-revision-tag-default",
        "istiod-revision-tag-default",
        "istiod-default-validator",
    ]
    assert (
        validator["metadata"]["labels"]["istio.io/rev"] == "canary"
        and validator["metadata"]["labels"]["istio.io/tag"] == "default"
    )
    assert validator["webhooks"][0]["objectSelector"] == {
        "matchExpressions": [{"key": "istio.io/rev", "operator": "DoesNotExist"}]
    }


RENDERED = [
    other("CustomResourceDefinition", "gateways", "Base"),
    other("Deployment", "ingress", "IngressGateways"),
    other("Deployment", "egress", "EgressGateways"),
    other("Deployment", "istiod"),
    injector(),
]


def steps_of(plane=None, rendered=tuple(RENDERED), tag_rendered=(), live=None):
    return {
        step.name: step
        for step in control_plane_steps(plane or ControlPlane(), list(rendered), list(tag_rendered), live or LiveMesh())
    }


def names(step):
    return [obj["metadata"]["name"] for obj in step.objects]


def test_istiod_is_ready_before_its_webhooks_and_these_are_armed_before_gateways():
    steps = steps_of(tag_rendered=[tag()])
    assert list(steps) == ["namespace", "base", "control plane", "webhooks", "gateways"]
    assert names(steps["namespace"]) == ["istio-system"]
    assert names(steps["base"]) == ["gateways"] and steps["base"].set == steps[
        "namespace"
    ].set == ControlPlane().base_set("")
    assert (
        names(steps["control plane"]) == ["istiod"]
        and steps["control plane"].set is None
        and steps["control plane"].wait_ready
    )
    assert (
        names(steps["webhooks"]) == ["istio-sidecar-injector", "istio-revision-tag-default"]
        and steps["webhooks"].barrier.name == "armed"
    )
    assert names(steps["gateways"]) == ["ingress", "egress"] and steps["gateways"].wait_ready


def test_without_gateways_or_webhooks_there_is_no_step_that_waits_for_them():
    steps = steps_of(rendered=RENDERED[3:4])
    assert "gateways" not in steps and steps["webhooks"].barrier is None and steps["webhooks"].objects == []


def test_an_injector_sleeps_where_the_default_tag_takes_its_place():
    assert all(
        hook["namespaceSelector"] == NEVER and hook["objectSelector"] == NEVER
        for hook in steps_of(tag_rendered=[tag()])["webhooks"].objects[0]["webhooks"]
    )
    assert steps_of()["webhooks"].objects[0]["webhooks"] == injector()["webhooks"], "without the tag it is awake"
    canary = injector("istio-sidecar-injector-canary", "canary")
    awake = steps_of(ControlPlane(revision="canary"), [canary], [tag("canary")])["webhooks"].objects[0]
    assert awake["webhooks"] == canary["webhooks"], "a revision is asked for by its own name, too"


@pytest.mark.parametrize(
    ("live", "made"),
    [
        (None, True),
        ({"metadata": {"name": "istio-system", "labels": {PART_OF: "applyset-x-v1"}}}, True),
        ({"metadata": {"name": "istio-system"}}, False),
        ({"metadata": {"name": "istio-system", "labels": {"team": "platform"}}}, False),
    ],
)
def test_a_namespace_that_somebody_else_made_is_theirs(live, made):
    assert bool(steps_of(live=LiveMesh(namespace=live))["namespace"].objects) == made


def test_the_namespace_says_which_network_it_is():
    plane = ControlPlane(namespace="mesh", values={"global": {"network": "n1"}})
    assert steps_of(plane)["namespace"].objects[0]["metadata"] == {
        "name": "mesh",
        "labels": {"topology.istio.io/network": "n1"},
    }


def test_a_second_injector_for_the_same_pods_is_refused():
    with pytest.raises(Failure) as refused:
        steps_of(live=LiveMesh(injectors=[injector("made-by-helm")]))
    assert refused.value.code == "webhook_overlap" and "made-by-helm" in refused.value.message


def test_injectors_of_other_revisions_and_our_own_of_before_are_no_overlap():
    live = LiveMesh(injectors=[injector(), injector("istio-sidecar-injector-canary", "canary")])
    assert steps_of(live=live)


@pytest.mark.parametrize("revision", ["Canary", "1.31.0", "-a", "a-", "a_b", "a" * 64, " "])
def test_a_revision_that_is_no_label_is_refused(revision):
    with pytest.raises(InvalidOption) as refused:
        validate_control_plane(ControlPlane(revision=revision))
    assert refused.value.option == "revision"


@pytest.mark.parametrize("revision", ["", "a", "1-31-0", "a" * 63])
def test_a_revision_that_is_a_label_is_taken(revision):
    validate_control_plane(ControlPlane(revision=revision))


def test_each_revision_is_a_set_of_its_own():
    assert (
        ControlPlane().set_name == "istio-control-plane-default"
        and ControlPlane(revision="canary").set_name == "istio-control-plane-canary"
    )


def test_gateways_are_just_those_that_are_named():
    edge = {"name": "istio-edge", "namespace": "edge", "service_type": "NodePort", "k8s": {"service": {"ports": []}}}
    components = spec(gateways=[edge, {"name": "istio-egressgateway", "egress": True}])["components"]
    assert components["ingressGateways"] == [
        {
            "name": "istio-edge",
            "namespace": "edge",
            "enabled": True,
            "label": {"app": "istio-edge", "istio": "edge"},
            "k8s": {"service": {"ports": [], "type": "NodePort"}},
        },
        {"name": "istio-ingressgateway", "enabled": False},
    ]
    assert [entry["name"] for entry in components["egressGateways"]] == ["istio-egressgateway"]
    assert "components" not in spec(), "unset, the profile decides"
    assert spec(compatibility_version="1.30")["values"] == {"compatibilityVersion": "1.30"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gateways": [{"name": "Edge_1"}]}, "is not a valid DNS label"),
        ({"gateways": [{"name": "a"}, {"name": "a"}]}, "duplicate entry a"),
        ({"gateways": [], "components": {"ingressGateways": []}}, "components also sets ingressGateways"),
    ],
)
def test_gateways_that_cannot_be_meant_are_refused(options, words):
    with pytest.raises(InvalidOption) as refused:
        validate_control_plane(ControlPlane(**options))
    assert words in refused.value.message


def test_objects_carry_the_marks_by_which_istioctl_knows_its_own():
    def labels(name, **options):
        steps = [
            obj
            for step in control_plane_steps(ControlPlane(**options), list(RENDERED), [], LiveMesh(), "1.31.0")
            for obj in step.objects
        ]
        return next(obj for obj in steps if obj["metadata"]["name"] == name)["metadata"]["labels"]

    usual = {
        "operator.istio.io/managed": "Reconcile",
        "operator.istio.io/version": "1.31.0",
        "install.operator.istio.io/owning-resource-namespace": "istio-system",
    }
    assert labels("istiod", revision="canary") == {
        "operator.istio.io/component": "Pilot",
        "istio.io/rev": "canary",
        **usual,
    }
    assert labels("gateways", revision="canary") == {
        "helm.sh/chart": "base-1.0.0",
        "operator.istio.io/component": "Base",
        **usual,
    }, "what all share names no revision"
