# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that renders a control plane."""

    DOCUMENTATION = r"""
options:
  method:
    description: What renders and writes.
    type: str
    choices: [istioctl, helm]
    default: istioctl
  istioctl:
    description:
      - With O(method=istioctl), path of istioctl where the task runs, such as the one that M(servicemesh.istio.release) returns.
      - If it is not set, C(istioctl) on C(PATH) is used.
    type: path
  helm:
    description:
      - With O(method=helm), name or path of Helm 3 or 4 where the task runs.
      - If it is not set, C(helm) on C(PATH) is used.
    type: str
  charts:
    description:
      - With O(method=helm), folder of Istio's charts where the task runs, such as C(manifests/charts) of what M(servicemesh.istio.release)
        unpacked. Required to render.
    type: path
  gateways:
    description:
      - All gateways. Unset, those that the profile has, such as istio-ingressgateway with the profile default.
      - With O(method=helm) each is a release of its own, which goes when it leaves the list. What O(values) says under gateways and the gateway's
        name holds for both methods.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the Service and the Deployment, and with O(method=helm) of the release. Its pods have the label C(istio) with it, less a
          leading C(istio-).
        type: str
        required: true
      namespace:
        description: Its namespace, with O(method=helm) made where it is missing. Unset, that of the control plane.
        type: str
      egress:
        description: Whether traffic leaves the mesh through it. Only of meaning for O(method=istioctl).
        type: bool
        default: false
      service_type:
        description: How it is exposed. Unset, LoadBalancer, and for egress with O(method=istioctl) ClusterIP.
        type: str
        choices: [LoadBalancer, NodePort, ClusterIP]
      k8s:
        description: With O(method=istioctl), more settings, as in C(k8s) of an IstioOperator's gateway.
        type: dict
        default: {}
      values:
        description: With O(method=helm), more values of the chart gateway.
        type: dict
        default: {}
  profile:
    description: A profile of that release.
    type: str
    default: default
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
  revision:
    description: Revision of the control plane. Empty is the default revision.
    type: str
    default: ""
  values:
    description: Helm values, as in C(spec.values) of an IstioOperator.
    type: dict
    default: {}
  mesh_config:
    description: Mesh configuration, as in C(spec.meshConfig) of an IstioOperator.
    type: dict
    default: {}
  components:
    description: Components, as in C(spec.components) of an IstioOperator. With O(method=helm) only whether cni and ztunnel are enabled.
    type: dict
    default: {}
  overlays:
    description: Patches of rendered objects by component, as in C(k8s.overlays) of an IstioOperator's component. Not with O(method=helm).
    type: dict
    default: {}
  hub:
    description: Registry and path of Istio's images.
    type: str
  tag:
    description: Tag of Istio's images.
    type: str
  compatibility_version:
    description: Minor version of Istio, such as 1.30, whose behaviour is kept where a newer one has changed it.
    type: str
"""
