# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What istiod itself wrote, and nobody takes away when it goes."""
from __future__ import annotations

from .._engine.cluster import Cluster
from .._engine.deadline import Deadline
from .._engine.objects import Object

# In every namespace, for its pods: the root certificate, and since 1.31 the revoked certificates
# (istio.io/istio pilot/pkg/serviceregistry/kube/controller/namespacecontroller.go).
COPIES = {"istio-ca-root-cert", "istio-ca-crl"}
MARK = "istio.io/config=true"


def of_istiod(cluster: Cluster, deadline: Deadline, check_mode: bool) -> list[Object]:
    """Copies of certificates, once no istiod is left that would write them anew."""
    while not check_mode and not deadline.over and cluster.list("", "Pod", selector="app=istiod"):
        cluster.pause(0.5)
    copies = cluster.list("", "ConfigMap", selector=MARK)
    return [obj for obj in copies if obj["metadata"]["name"] in COPIES and not obj["metadata"].get("deletionTimestamp")]
