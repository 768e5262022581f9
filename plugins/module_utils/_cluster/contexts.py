# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contexts of kubeconfig files, as the kubernetes library reads and merges them. Names and addresses only: no
credential leaves this file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .._failure import Failure
from .._libraries import KUBERNETES, YAML, missing, require, yaml

try:
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import KubeConfigMerger
except ImportError:
    missing(KUBERNETES)

KINDS = ("context", "cluster", "user")
REMEDY = "Fix the file, or remove it from the option kubeconfig."


@dataclass(frozen=True)
class Context:
    """kubeconfig: the files that this context needs, in their order, joined as in KUBECONFIG. With one file it is that
    file's path.
    """

    name: str
    cluster: str
    user: str
    namespace: str
    server: str
    kubeconfig: str


def read_contexts(paths: list[str]) -> tuple[list[Context], list[str]]:
    """(contexts in the order of the files, a sentence for each context that nobody could use).

    As kubectl merges: of things with one name the first file's counts.
    Raises Failure "missing_library", "kubeconfig" naming the file, without any of its text.
    """
    require(YAML, KUBERNETES)
    merged = KubeConfigMerger("")
    for path in paths:
        _load(merged, path)
    found = (
        {f"{kind}s": {node.value["name"]: node for node in merged.config.value[f"{kind}s"]} for kind in KINDS}
        if merged.config
        else {}
    )
    contexts, unusable = [], []
    for name, node in found.get("contexts", {}).items():
        about = node.value.get("context") or {}
        cluster, user = found["clusters"].get(about.get("cluster")), found["users"].get(about.get("user"))
        server = _address((cluster.value.get("cluster") or {}).get("server")) if cluster else ""
        if not server:
            unusable.append(
                f"context {name} of {node.path} is skipped: its cluster {about.get('cluster')!r} "
                f"{'has no server URL' if cluster else 'does not exist in any of the files'}."
            )
            continue
        needed = {part.path for part in (node, cluster, user) if part}
        kubeconfig = os.pathsep.join(path for path in dict.fromkeys(paths) if path in needed)
        contexts.append(
            Context(name, about["cluster"], about.get("user") or "", about.get("namespace") or "", server, kubeconfig)
        )
    return contexts, unusable


def _load(merged: Any, path: str) -> None:
    try:
        merged.load_config(path)
        for kind in KINDS:
            for item in merged.config_files[path].get(f"{kind}s") or []:
                if not isinstance(item["name"], str) or not isinstance(item.get(kind) or {}, dict):
                    raise ValueError(kind)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Failure(
            "kubeconfig",
            f"kubeconfig: {path} is not valid YAML{f', line {mark.line + 1}' if mark else ''}",
            hint=REMEDY,
        ) from None
    except OSError as error:
        raise Failure("kubeconfig", f"kubeconfig: cannot read {path}: {error.strerror}", hint=REMEDY) from None
    except (ConfigException, ValueError, TypeError, AttributeError, LookupError):
        # Their words may be of the file's own text.
        raise Failure("kubeconfig", f"kubeconfig: {path} is not a valid kubeconfig", hint=REMEDY) from None


def _address(server: Any) -> str:
    """A server's URL, less a user and password in it; empty where it is none."""
    try:
        parts = urlsplit(str(server or ""))
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
