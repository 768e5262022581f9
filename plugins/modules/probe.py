#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
---
module: probe
short_description: Measure by real requests which version answers
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Sends a bounded number of HTTP requests through a gateway and counts the answers by version.
  - They are sent from where the task runs to the gateway's address. Where that cannot be reached, they go through a tunnel to one of the
    gateway's pods, as C(kubectl port-forward) makes it, and RV(via) says so.
options:
  gateway:
    description: The gateway's Service, as C(NAMESPACE/NAME).
    type: str
    default: istio-system/istio-ingressgateway
  path:
    description: Path of the request.
    type: str
    default: /
  headers:
    description: Headers of the request, such as C(Host).
    type: dict
    default: {}
  versions:
    description: Regular expression by version, looked for in the answer's headers and body, in this order. An answer that matches none counts as C(other).
    type: dict
    default: {}
  count:
    description: Number of requests.
    type: int
    default: 200
  parallel:
    description: Requests at a time.
    type: int
    default: 4
  timeout:
    description: Seconds that an answer may take.
    type: int
    default: 10
extends_documentation_fragment:
  - servicemesh.istio.attributes.info
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
attributes:
  check_mode:
    details: It sends the same requests.
"""

EXAMPLES = r"""
- name: Which version answers
  servicemesh.istio.probe:
    count: 200
    versions:
      v2: "#b3541e"
      v1: .
  register: measured

- name: The shares
  ansible.builtin.debug:
    msg: "{{ measured.shares }} of {{ measured.sent }} requests, {{ measured.lost }} lost"
"""

RETURN = r"""
sent:
  description: Requests that were sent.
  returned: success
  type: int
lost:
  description: Requests without an answer, or with a status of 500 and more.
  returned: success
  type: int
codes:
  description: Answers by status.
  returned: success
  type: dict
counts:
  description: Answers below 400 by version.
  returned: success
  type: dict
  sample: {v1: 181, v2: 19}
shares:
  description: The same in per cent.
  returned: success
  type: dict
  sample: {v1: 90.5, v2: 9.5}
errors:
  description: Requests without an answer, by cause.
  returned: success
  type: dict
via:
  description: Address that was asked.
  returned: success
  type: str
duration:
  description: Seconds by phase.
  returned: always
  type: dict
failure:
  description: Code, object, reason and hint. The code is stable.
  returned: on failure
  type: dict
  sample: {code: no_gateway, ref: null, reason: "", hint: ""}
"""

from ..module_utils._engine.run import Run, run_module
from ..module_utils._proxy import gateways, probe

ARGUMENTS = {
    "gateway": {"type": "str", "default": "istio-system/istio-ingressgateway"},
    "path": {"type": "str", "default": "/"},
    "headers": {"type": "dict", "default": {}},
    "versions": {"type": "dict", "default": {}},
    "count": {"type": "int", "default": 200},
    "parallel": {"type": "int", "default": 4},
    "timeout": {"type": "int", "default": 10},
}
OPTIONS = ("path", "headers", "versions", "count", "parallel", "timeout")


def body(run: Run) -> dict:
    options = run.options
    wanted = probe.Probe(**{name: options[name] for name in OPTIONS})
    probe.check(wanted)
    via, authority, connect = gateways.way_to(run.cluster, options["gateway"], wanted.timeout)
    return {**run.timed("probe", lambda: probe.run(wanted, authority, connect)), "via": via}


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
