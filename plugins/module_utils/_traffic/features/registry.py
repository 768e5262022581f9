# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All features of a host's policy. A new one is a file of this folder and a row here."""

from __future__ import annotations

from .fault_injection import FaultInjection
from .feature import Feature
from .load_balancing import LoadBalancing
from .resilience import Resilience
from .route import Route
from .split import Split

# In the order in which they are listed to users, and in which their route rules are tried.
ALL: tuple[Feature, ...] = (Route(), Split(), FaultInjection(), Resilience(), LoadBalancing())
FEATURES: dict[str, Feature] = {feature.name: feature for feature in ALL}
