# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that renders a control plane."""

    DOCUMENTATION = r"""
options:
  method:
    description: How to render and write the control plane.
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
      - Gateways. The default is the gateways of the profile, such as istio-ingressgateway with the profile default.
      - With O(method=helm), each gateway is a release of its own, which is removed with its entry. Settings of O(values) for gateways and for the
        gateway's name apply with both methods.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the Service and the Deployment, and of the release with O(method=helm). Its pods have the label C(istio) with this name, without a
          leading C(istio-).
        type: str
        required: true
      namespace:
        description: Namespace of the gateway. O(method=helm) creates it. The default is the namespace of the control plane.
        type: str
      egress:
        description: Whether it is an egress gateway. Only used with O(method=istioctl).
        type: bool
        default: false
      service_type:
        description: Type of the Service. The default is LoadBalancer, and ClusterIP for an egress gateway with O(method=istioctl).
        type: str
        choices: [LoadBalancer, NodePort, ClusterIP]
      k8s:
        description: With O(method=istioctl), other settings, as in C(k8s) of a gateway in an IstioOperator.
        type: dict
        default: {}
      values:
        description: With O(method=helm), other values of the chart gateway.
        type: dict
        default: {}
  profile:
    description: Profile of the release.
    type: str
    default: default
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
  revision:
    description: Revision of the control plane. The default is the default revision.
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
    description: Components, as in C(spec.components) of an IstioOperator. With O(method=helm), only whether cni and ztunnel are enabled.
    type: dict
    default: {}
  overlays:
    description: Patches of rendered objects by component, as in C(k8s.overlays) of a component in an IstioOperator. Not supported with O(method=helm).
    type: dict
    default: {}
  hub:
    description: Registry and path of Istio's images. The default is that of the release.
    type: str
  tag:
    description: Tag of Istio's images. The default is that of the release.
    type: str
  compatibility_version:
    description: Minor version of Istio, such as 1.30, whose behavior is kept where newer versions changed it.
    type: str
"""
