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
ISTIO = {"1.31.0": "kubernetes", "1.30.4": "istio-1.30"}
DEFAULT_ISTIO = "1.31.0"
OFFICIAL_NODE = f"kindest/node:{KUBERNETES}"
PULL_PROBE = "registry.k8s.io/pause:3.9"
PULL_TIMEOUT = 10

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
