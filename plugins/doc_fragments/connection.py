# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Options for the connection to a cluster, with the names of kubernetes.core."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of a kubeconfig file on the host where the task runs, or its content as a mapping. Several paths are
        separated as in E(KUBECONFIG), and their files are merged.
      - The default is the first of E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG), C(~/.kube/config), and the service account
        of the pod in which the task runs.
    type: raw
  host:
    description: URL of the API server. Environment variable E(K8S_AUTH_HOST).
    type: str
  context:
    description: Context of the kubeconfig. Environment variable E(K8S_AUTH_CONTEXT).
    type: str
  api_key:
    description: Bearer token. Environment variable E(K8S_AUTH_API_KEY).
    type: str
  username:
    description: User for basic authentication. Environment variable E(K8S_AUTH_USERNAME).
    type: str
  password:
    description: Password for basic authentication. Environment variable E(K8S_AUTH_PASSWORD).
    type: str
  validate_certs:
    description: Whether to verify the API server's certificate. Environment variable E(K8S_AUTH_VERIFY_SSL).
    type: bool
    aliases: [verify_ssl]
  ca_cert:
    description: Path of a CA certificate on the host where the task runs. Environment variable E(K8S_AUTH_SSL_CA_CERT).
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description: Path of a client certificate on the host where the task runs. Environment variable
      E(K8S_AUTH_CERT_FILE).
    type: path
    aliases: [cert_file]
  client_key:
    description: Path of the client certificate's key on the host where the task runs. Environment variable
      E(K8S_AUTH_KEY_FILE).
    type: path
    aliases: [key_file]
  proxy:
    description: URL of an HTTP proxy. Environment variable E(K8S_AUTH_PROXY).
    type: str
  no_proxy:
    description: Hosts to connect to without the proxy, separated by commas. Environment variable E(K8S_AUTH_NO_PROXY).
    type: str
  impersonate_user:
    description: User to impersonate. Environment variable E(K8S_AUTH_IMPERSONATE_USER).
    type: str
  impersonate_groups:
    description: Groups to impersonate. Environment variable E(K8S_AUTH_IMPERSONATE_GROUPS).
    type: list
    elements: str
  persist_config:
    description: Whether to write refreshed credentials to the kubeconfig. Environment variable
      E(K8S_AUTH_PERSIST_CONFIG).
    type: bool
    default: false
requirements:
  - kubernetes >= 29.0.0
  - PyYAML >= 6.0
"""
