# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From Ansible options to an API. Options, defaults and environment variables are those of kubernetes.core."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.basic import env_fallback

from .._failure import Failure
from .._libraries import KUBERNETES, YAML, missing, require, yaml
from .api import Api
from .http import HttpApi
from .retry import RetryingApi

try:
    from kubernetes import config as kubernetes_config
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
except ImportError:
    missing(KUBERNETES)


def _env(name: str, **spec: Any) -> dict[str, Any]:
    return {**spec, "fallback": (env_fallback, [name])}


CONNECTION_ARGUMENTS: dict[str, dict[str, Any]] = {
    # A path is worth seeing; of a mapping only the secrets are hidden (secrets_in).
    "kubeconfig": _env("K8S_AUTH_KUBECONFIG", type="raw", no_log=False),
    "context": _env("K8S_AUTH_CONTEXT", type="str"),
    "host": _env("K8S_AUTH_HOST", type="str"),
    "api_key": _env("K8S_AUTH_API_KEY", type="str", no_log=True),
    "username": _env("K8S_AUTH_USERNAME", type="str"),
    "password": _env("K8S_AUTH_PASSWORD", type="str", no_log=True),
    "validate_certs": _env("K8S_AUTH_VERIFY_SSL", type="bool", aliases=["verify_ssl"]),
    "ca_cert": _env("K8S_AUTH_SSL_CA_CERT", type="path", aliases=["ssl_ca_cert"]),
    "client_cert": _env("K8S_AUTH_CERT_FILE", type="path", aliases=["cert_file"]),
    "client_key": _env("K8S_AUTH_KEY_FILE", type="path", aliases=["key_file"], no_log=False),
    "proxy": _env("K8S_AUTH_PROXY", type="str"),
    "no_proxy": _env("K8S_AUTH_NO_PROXY", type="str"),
    "impersonate_user": _env("K8S_AUTH_IMPERSONATE_USER", type="str"),
    "impersonate_groups": _env("K8S_AUTH_IMPERSONATE_GROUPS", type="list", elements="str"),
    "persist_config": _env("K8S_AUTH_PERSIST_CONFIG", type="bool", default=False),
}


def options_of(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with None for one that is empty, as a variable of the environment may be."""
    return {name: None if value == "" else value for name, value in options.items()}


def connect(options: dict[str, Any], patience: float) -> Api:
    """An API for the cluster that the options name; nothing is asked of it yet.

    patience: seconds for which a request that may be repeated is repeated.
    Raises Failure "missing_library", "kubeconfig".
    """
    configuration, name = configure(options)
    return RetryingApi(HttpApi(configuration, name, _impersonation(options)), patience)


def configure(options: dict[str, Any]) -> tuple[Any, str]:
    """(kubernetes.client.Configuration, name of the cluster) for the options."""
    require(KUBERNETES)
    configuration = Configuration()
    name = _load(options, configuration)
    for option, attribute in (
        ("host", "host"),
        ("username", "username"),
        ("password", "password"),
        ("ca_cert", "ssl_ca_cert"),
        ("client_cert", "cert_file"),
        ("client_key", "key_file"),
        ("proxy", "proxy"),
        ("no_proxy", "no_proxy"),
        ("validate_certs", "verify_ssl"),
    ):
        if options.get(option) is not None:
            setattr(configuration, attribute, options[option])
    if options.get("api_key"):
        configuration.api_key = dict.fromkeys(("BearerToken", "authorization"), f"Bearer {options['api_key']}")
        configuration.api_key_prefix = {}
        configuration.refresh_api_key_hook = None
    return configuration, name


def _load(options: dict[str, Any], configuration: Any) -> str:
    source, context = inline(options.get("kubeconfig")), options.get("context")
    if options.get("host") and not source and not context:
        return str(options["host"])
    try:
        if isinstance(source, dict):
            kubernetes_config.load_kube_config_from_dict(source, context=context, client_configuration=configuration)
            return str(context or source.get("current-context") or configuration.host)
        # Several files may be joined, as in KUBECONFIG: then one that is missing is passed over.
        paths = [os.path.expanduser(part) for part in str(source or "").split(os.pathsep) if part]
        path = os.pathsep.join(paths) or None
        if path and not any(os.path.exists(part) for part in paths):
            raise Failure(
                "kubeconfig",
                f"kubeconfig: file {path} does not exist on the host where this task runs",
                hint="Set the option kubeconfig, K8S_AUTH_KUBECONFIG or KUBECONFIG to an existing file.",
            )
        return _load_file(path, context, bool(options.get("persist_config")), configuration)
    except (ConfigException, ValueError, OSError, yaml.YAMLError, TypeError, AttributeError, LookupError) as error:
        raise Failure(
            "kubeconfig", f"kubeconfig: {error}", hint="Check the file, and that the context exists in it."
        ) from error


def _load_file(path: str | None, context: str | None, persist: bool, configuration: Any) -> str:
    default = os.path.expanduser(os.environ.get("KUBECONFIG", "~/.kube/config"))
    if path is None and not any(os.path.exists(p) for p in default.split(os.pathsep) if p):
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
            return "in-cluster"
        raise Failure(
            "kubeconfig",
            f"kubeconfig: no cluster is configured, and {default} does not exist",
            hint="Set the option kubeconfig, K8S_AUTH_KUBECONFIG or KUBECONFIG.",
        )
    kubernetes_config.load_kube_config(
        config_file=path, context=context, client_configuration=configuration, persist_config=persist
    )
    if context:
        return context
    _contexts, active = kubernetes_config.list_kube_config_contexts(config_file=path)
    return str(active["name"])


def _impersonation(options: dict[str, Any]) -> list[tuple[str, str]]:
    user = options.get("impersonate_user")
    headers = [("Impersonate-User", user)] if user else []
    return headers + [("Impersonate-Group", group) for group in options.get("impersonate_groups") or []]


def inline(kubeconfig: Any) -> Any:
    """The content of a kubeconfig that was given as text (what a lookup of a file gives); a path or a mapping as it is.

    Raises Failure "missing_library"; "kubeconfig", without the text, which holds secrets.
    """
    if not isinstance(kubeconfig, str) or "\n" not in kubeconfig.strip():
        return kubeconfig
    require(YAML)
    try:
        content = yaml.safe_load(kubeconfig)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Failure(
            "kubeconfig",
            f"kubeconfig: its text is not valid YAML{f', line {mark.line + 1}' if mark else ''}",
            hint="Set a path, a mapping, or the whole content of a kubeconfig.",
        ) from None
    if not isinstance(content, dict):
        raise Failure(
            "kubeconfig",
            "kubeconfig: its text is not a mapping",
            hint="Set a path, a mapping, or the whole content of a kubeconfig.",
        )
    return content


SECRET_KEYS = {
    "token",
    "password",
    "client-key-data",
    "client-certificate-data",
    "id-token",
    "refresh-token",
    "access-token",
    "client-secret",
}


def secrets_in(kubeconfig: Any) -> set[str]:
    """The values of a kubeconfig's content that must never be shown, those of an exec plugin's environment among
    them.
    """
    if isinstance(kubeconfig, dict):
        own = {str(value) for key, value in kubeconfig.items() if key in SECRET_KEYS and value}
        if isinstance(kubeconfig.get("env"), list):
            own |= {
                str(entry["value"]) for entry in kubeconfig["env"] if isinstance(entry, dict) and entry.get("value")
            }
        return own.union(*(secrets_in(value) for value in kubeconfig.values()))
    if isinstance(kubeconfig, list):
        return set().union(*(secrets_in(item) for item in kubeconfig)) if kubeconfig else set()
    return set()
