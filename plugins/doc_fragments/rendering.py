# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that renders a control plane."""

    DOCUMENTATION = r"""
options:
  method:
    description: Installation method. V(istioctl) renders manifests, which the module applies. V(helm) installs Helm
      releases.
    type: str
    choices: [istioctl, helm]
    default: istioctl
  istioctl:
    description:
      - Path of istioctl on the host where the task runs, such as the path that M(servicemesh.istio.release) returns.
        Used only with O(method=istioctl).
      - The default is C(istioctl) on C(PATH).
    type: path
  helm:
    description:
      - Name or path of Helm 3 or 4 on the host where the task runs. Used only with O(method=helm).
      - The default is C(helm) on C(PATH).
    type: str
  charts:
    description:
      - Folder with Istio's charts on the host where the task runs, such as C(manifests/charts) in the release that
        M(servicemesh.istio.release) unpacked.
      - Required to install with O(method=helm).
    type: path
  gateways:
    description:
      - List of all gateways. The default is the profile's gateways, such as istio-ingressgateway with the profile
        default.
      - With O(method=helm), each gateway is a separate Helm release, which is removed when the gateway leaves the list.
      - With both methods, the settings under C(gateways.NAME) in O(values) apply to the gateway of that name.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the Service and the Deployment, and of the release with O(method=helm). The pods' label
          C(istio) has the same value, without a leading C(istio-).
        type: str
        required: true
      namespace:
        description: Namespace of the gateway. The default is the control plane's namespace. With O(method=helm), a
          missing namespace is created.
        type: str
      egress:
        description: Whether the gateway is an egress gateway. Used only with O(method=istioctl).
        type: bool
        default: false
      service_type:
        description: Type of the gateway's Service. The default is V(LoadBalancer), and V(ClusterIP) for an egress
          gateway
          with O(method=istioctl).
        type: str
        choices: [LoadBalancer, NodePort, ClusterIP]
      k8s:
        description: Kubernetes settings of the gateway, as in C(k8s) of an IstioOperator's gateway. Used only with
          O(method=istioctl).
        type: dict
        default: {}
      values:
        description: Additional values of the chart C(gateway). Used only with O(method=helm).
        type: dict
        default: {}
  profile:
    description: Installation profile of the release.
    type: str
    default: default
  istio_namespace:
    description: Namespace of the control plane.
    type: str
    default: istio-system
  revision:
    description: Revision of the control plane. If it is empty, the control plane is the default revision.
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
    description: Components, as in C(spec.components) of an IstioOperator. O(method=helm) supports only enabling and
      disabling cni and ztunnel.
    type: dict
    default: {}
  overlays:
    description: Patches of rendered objects by component, as in C(k8s.overlays) of an IstioOperator's component.
      O(method=helm) does not support them.
    type: dict
    default: {}
  hub:
    description: Registry and path of Istio's images. The default is that of the release.
    type: str
  tag:
    description: Tag of Istio's images. The default is that of the release.
    type: str
  compatibility_version:
    description: Minor version of Istio, such as 1.30, whose behavior is kept where a newer version changed it.
    type: str
"""
