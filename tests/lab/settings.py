# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab is made of: versions, names and places. Everything else reads them from here."""
from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("LAB_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "servicemesh-lab")
NAME = os.environ.get("LAB_NAME", "servicemesh-lab")
PORT = int(os.environ.get("LAB_PORT", "18730"))
MARK = "servicemesh-lab"

KUBERNETES = "v1.36.3"
CONTAINERD = "2.3.7"
ENVOY = "1.40.0"
# Release of Istio -> folder of the Go module that pins it.
ISTIO = {"1.31.0": "cluster", "1.30.4": "istio-1.30"}
DEFAULT_ISTIO, PREVIOUS_ISTIO = ISTIO
# A mirror from which the node image comes instead of Docker Hub.
REGISTRY = os.environ.get("LAB_REGISTRY", "")
OFFICIAL_NODE = f"{REGISTRY + '/' if REGISTRY else ''}kindest/node:{KUBERNETES}"
PULL_PROBE = f"{REGISTRY or 'registry.k8s.io'}/pause:3.9"
PULL_TIMEOUT = 10
REACH_TIMEOUT = 5
# Cached files that no run has used for so many days are deleted.
UNUSED_DAYS = 3

# Roles of the stand-in program that become images of their own.
STAND_INS = (
    "frontend", "adservice", "cartservice", "checkoutservice", "currencyservice", "emailservice", "paymentservice", "productcatalogservice",
    "recommendationservice", "shippingservice", "loadgenerator", "grafana", "kiali", "client",
)  # fmt: skip


def kubeconfig() -> Path:
    return CACHE / f"{NAME}.kubeconfig"


def programs() -> Path:
    """Folder with plain names of the programs, for PATH."""
    return CACHE / "path"
