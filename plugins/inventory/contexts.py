# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
name: contexts
short_description: Create a host for each context of a kubeconfig
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Creates a host for each context of one or more kubeconfig files, so that one play can run on many clusters.
  - The name of the inventory file must end in C(contexts.yml) or C(contexts.yaml).
  - The plugin does not connect to a cluster and does not run credential plugins. It never stores a token, password, certificate or key in a variable.
  - Each host has the variables C(context), C(kubeconfig), C(api_server) (the URL of the API server), C(context_cluster), C(context_user) and
    C(context_namespace). You can use them in O(compose), O(groups) and O(keyed_groups).
  - C(kubeconfig) is a path. If a context is merged from several files, it contains all of their paths, joined as in E(KUBECONFIG).
  - By default, tasks run on the controller with the Python that runs C(ansible-playbook). The plugin sets C(ansible_connection) and
    C(ansible_python_interpreter) for this. You can override them with O(vars).
  - The playbooks of this collection use the cluster that C(kubeconfig) and C(context) select. In your own plays, pass both variables once in
    C(module_defaults), for C(group/servicemesh.istio.all) and for other groups such as C(group/kubernetes.core.k8s).
  - If the files do not contain a context's cluster, or the cluster has no server, the context is skipped with a warning.
requirements:
  - kubernetes >= 29.0.0, in the Python that runs C(ansible-playbook)
options:
  plugin:
    description: Name of this plugin. It marks the file as an inventory of this plugin.
    type: str
    required: true
    choices: [servicemesh.istio.contexts]
  kubeconfig:
    description:
      - Path of a kubeconfig file, or a list of paths. Several files are merged as by kubectl. If two files have an entry of the same name, the first
        file has precedence.
      - A relative path starts at the folder of the inventory file. All files must exist.
      - The default is E(K8S_AUTH_KUBECONFIG), then E(KUBECONFIG), then C(~/.kube/config). Missing files in a variable with several paths are ignored.
    type: raw
    env:
      - name: KUBECONFIG
      - name: K8S_AUTH_KUBECONFIG
  contexts:
    description:
      - Contexts to include, as names or patterns such as C(prod-*). A pattern can contain C(*), C(?) and C([...]).
      - The plugin fails if a context does not exist, and warns if a pattern matches no context.
    type: list
    elements: str
    default: ["*"]
  exclude:
    description: Contexts to exclude, as names or patterns. The plugin warns if one of them matches no context.
    type: list
    elements: str
    default: []
  hostname:
    description:
      - Jinja expression for the name of the host. It can use the variables of the host.
      - The default is the name of the context. Characters that have a meaning in host patterns or paths are replaced by dashes, such as the colons of
        C(arn:aws:eks:...).
      - The plugin fails if two contexts result in the same name.
    type: str
  vars:
    description:
      - Variables of hosts, by the name or a pattern of the context. If several patterns match, all of their variables are set, and the last value of
        a variable has precedence.
      - They override the variables that the plugin sets.
      - The plugin warns if a pattern matches no context.
    type: dict
    default: {}
extends_documentation_fragment:
  - constructed
"""

EXAMPLES = r"""
# Add all contexts of the default kubeconfig to the group mesh.
plugin: servicemesh.istio.contexts
groups:
  mesh: true

---
# Select contexts of two files, and group them by the rings of an upgrade.
plugin: servicemesh.istio.contexts
kubeconfig:
  - clusters/europe.kubeconfig
  - clusters/america.kubeconfig
contexts: ["prod-*", canary]
exclude: ["*-old"]
vars:
  "*": {ring: 2, control_plane_profile: default}
  "prod-eu-*": {ring: 1}
  canary: {ring: 0}
groups:
  mesh: true
  europe: "'eu' in context"
keyed_groups:
  - key: ring | string
    prefix: ring

---
# Use the last part of an ARN as the name of the host, and its fourth part as the region.
plugin: servicemesh.istio.contexts
contexts: ["arn:aws:eks:*"]
hostname: context.split('/') | last
compose:
  region: context.split(':')[3]
keyed_groups:
  - key: region
    prefix: region
strict: true
"""

import os
import re
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster import contexts
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.contexts import Context
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure, InvalidOption

DEFAULT = "~/.kube/config"
# Other characters have a meaning in host patterns, host ranges or paths.
UNSAFE = re.compile(r"[^A-Za-z0-9._@-]+")
# They override the context in modules, so all hosts would have the same server or account.
FOR_ALL = [
    f"K8S_AUTH_{name}" for name in ("HOST", "API_KEY", "USERNAME", "PASSWORD", "SSL_CA_CERT", "CERT_FILE", "KEY_FILE")
]


class InventoryModule(BaseInventoryPlugin, Constructable):
    NAME = "servicemesh.istio.contexts"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("contexts.yml", "contexts.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path)
        config = self._read_config_data(path)
        try:
            # A misspelled "contexts" would otherwise select all clusters.
            for name in set(config) - set(self.option_definitions):
                raise InvalidOption(
                    name,
                    "it is not an option of this plugin",
                    hint="ansible-doc -t inventory servicemesh.istio.contexts lists all options.",
                )
            found, unusable = contexts.read_contexts(self._paths("kubeconfig" in config, Path(path).absolute().parent))
            for words in unusable:
                self._warn(path, words)
            self._add(path, self._selected(path, found), [context.name for context in found])
        except Failure as failure:
            raise AnsibleParserError(f"{path}: {failure.message.rstrip('.')}. {failure.hint}".rstrip()) from None
        for name in [name for name in FOR_ALL if os.environ.get(name)]:
            self._warn(path, f"{name} is set in the environment and overrides the settings of every context.")

    def _paths(self, in_file: bool, folder: Path) -> list[str]:
        """The paths of the files to read, in order. Missing files of an environment variable are ignored.

        Raises InvalidOption, without the value, because it may be the content of a kubeconfig.
        """
        # An empty variable is the same as an unset one.
        given = self.get_option("kubeconfig") or os.environ.get("KUBECONFIG") or DEFAULT
        named = given if isinstance(given, list) else [given]
        if not all(isinstance(name, str) and name and "\n" not in name for name in named):
            raise InvalidOption(
                "kubeconfig",
                "it is neither a path nor a list of paths",
                hint="Set paths of files that tasks can read too.",
            )
        if not in_file:
            named = [part for name in named for part in name.split(os.pathsep) if part]
        paths = [str(Path(folder if in_file else Path.cwd(), Path(name).expanduser())) for name in named]
        missing = [name for name in paths if not Path(name).is_file()]
        if missing and (in_file or missing == paths):
            raise InvalidOption(
                "kubeconfig",
                f"file {' or '.join(missing)} does not exist",
                hint="Set the option kubeconfig or KUBECONFIG to existing files.",
            )
        return [name for name in paths if name not in missing]

    def _selected(self, path: str, found: list[Context]) -> list[Context]:
        names = [context.name for context in found]
        wanted, unwanted = self.get_option("contexts"), self.get_option("exclude")
        for pattern in wanted:
            if not _any_fits(pattern, names):
                if not any(sign in pattern for sign in "*?["):
                    raise InvalidOption(
                        "contexts", f"context {pattern} does not exist", hint=f"Contexts: {', '.join(names) or 'none'}."
                    )
                self._warn(path, f"contexts: no context matches {pattern}.")
        for pattern in unwanted:
            if not _any_fits(pattern, names):
                self._warn(path, f"exclude: no context matches {pattern}.")
        return [
            context
            for context in found
            if any(fits(context.name, p) for p in wanted) and not any(fits(context.name, p) for p in unwanted)
        ]

    def _add(self, path: str, selected: list[Context], names: list[str]) -> None:
        by_pattern, strict, taken = self.get_option("vars"), self.get_option("strict"), {}
        for pattern, variables in by_pattern.items():
            if not isinstance(variables, Mapping):
                raise InvalidOption(
                    "vars",
                    f"the value of {pattern} is not a mapping",
                    hint="Use the form {PATTERN: {VARIABLE: VALUE}}.",
                )
            if not _any_fits(pattern, names):
                self._warn(path, f"vars: no context matches {pattern}.")
        for context in selected:
            own = {
                name: value
                for pattern, variables in by_pattern.items()
                if fits(context.name, pattern)
                for name, value in variables.items()
            }
            variables = {**_about(context), **own}
            host = self._host(context, variables)
            if taken.setdefault(host, context.name) != context.name:
                raise InvalidOption(
                    "hostname",
                    f"contexts {taken[host]} and {context.name} result in the same host {host}",
                    hint="Set hostname to an expression that distinguishes them, or exclude one of them.",
                )
            self.inventory.add_host(host)
            for name, value in variables.items():
                self.inventory.set_variable(host, name, value)
            self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
            self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host, strict=strict)

    def _host(self, context: Context, variables: dict[str, Any]) -> str:
        expression = self.get_option("hostname")
        if not expression:
            return UNSAFE.sub("-", context.name)
        try:
            name = self._compose(expression, variables)
        except Exception as error:  # whatever a template may raise
            raise InvalidOption(
                "hostname",
                f"cannot evaluate it for context {context.name}: {error}",
                hint="Use an expression without braces, such as context.split('/') | last.",
            ) from None
        if not isinstance(name, str) or not name:
            raise InvalidOption(
                "hostname",
                f"for context {context.name} it results in {name!r}, which is not a valid name",
                hint="Use an expression without braces, such as context.split('/') | last.",
            )
        return name

    def _warn(self, path: str, words: str) -> None:
        self.display.warning(f"{path}: {words}")


def fits(name: str, pattern: str) -> bool:
    """Whether a context has this name or matches this pattern. Brackets in its own name are not a pattern."""
    return name == pattern or fnmatchcase(name, pattern)


def _any_fits(pattern: str, names: list[str]) -> bool:
    return any(fits(name, pattern) for name in names)


def _about(context: Context) -> dict[str, Any]:
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "context": context.name,
        "kubeconfig": context.kubeconfig,
        "api_server": context.server,
        "context_cluster": context.cluster,
        "context_user": context.user,
        "context_namespace": context.namespace,
    }
