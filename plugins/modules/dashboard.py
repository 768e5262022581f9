#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: dashboard
short_description: Open or close a local port to the dashboard of an addon
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Opens a port on the host where the task runs, and forwards it through the API server to a ready pod of the addon.
  - The port stays open after the task. Close it with O(state=absent).
options:
  name:
    description: Name of the addon.
    type: str
    choices: [kiali, grafana, prometheus, jaeger]
    default: kiali
  namespace:
    description: Namespace of the addons.
    type: str
    default: istio-system
  local_port:
    description: Local port to open. The default is 20001 for Kiali, 3000 for Grafana, 9090 for Prometheus and 16686 for Jaeger.
    type: int
  address:
    description: Local address on which to open the port. Everyone who can connect to this address can use the dashboard.
    type: str
    default: 127.0.0.1
  state:
    description: Whether to open (V(present)) or close (V(absent)) the port.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: Istio integrations
    description: Prometheus, Grafana, Jaeger and Kiali with Istio.
    link: https://istio.io/latest/docs/ops/integrations/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
"""

EXAMPLES = r"""
- name: Open Kiali on port 20001
  servicemesh.istio.dashboard:
    name: kiali
  register: kiali

- name: Show the URL
  ansible.builtin.debug:
    msg: "{{ kiali.url }}"

- name: Close the port
  servicemesh.istio.dashboard:
    name: kiali
    state: absent
"""

RETURN = r"""
url:
  description: URL of the dashboard.
  returned: when O(state=present)
  type: str
  sample: http://127.0.0.1:20001
pid:
  description: ID of the process that forwards the port.
  returned: when the port is open
  type: int
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
  returned: on failure
  type: dict
  sample: {code: port_taken, ref: null, reason: "", hint: "Port 20002 is free: use local_port 20002."}
"""

from ..module_utils._engine.module import Run, run_module
from ..module_utils._failure import Failure
from ..module_utils._istio import mesh
from ..module_utils._probe import forwarder

# Addon -> (Service, its port, usual local port), as in the release's samples/addons.
ADDONS = {
    "kiali": ("kiali", 20001, 20001),
    "grafana": ("grafana", 3000, 3000),
    "prometheus": ("prometheus", 9090, 9090),
    "jaeger": ("tracing", 80, 16686),
}
ARGUMENTS = {
    "name": {"type": "str", "choices": list(ADDONS), "default": "kiali"},
    "namespace": {"type": "str", "default": "istio-system"},
    "local_port": {"type": "int"},
    "address": {"type": "str", "default": "127.0.0.1"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def body(run: Run) -> dict:
    options = run.options
    service, port, usual = ADDONS[options["name"]]
    local_port = options["local_port"] or usual
    opened = forwarder.open_sockets(local_port)
    if options["state"] == "absent":
        if opened and not run.check_mode:
            forwarder.stop_forwarding(local_port, opened[0])
        return {"changed": opened is not None, "diff": _diff(local_port, "open", "closed") if opened else []}
    target = forwarder.ServicePort(run.cluster.api.server, options["namespace"], service, port)
    url = f"http://{mesh.bracketed(options['address'])}:{local_port}"
    if opened and opened[1] == target:
        return {"changed": False, "url": url, "pid": opened[0].pid, "diff": []}
    live = run.cluster.get("", "Service", options["namespace"], service)
    if live is None:
        raise Failure(
            "no_addon",
            f"name: Service {options['namespace']}/{service} does not exist",
            hint="Install the addon first, or set its namespace.",
        )
    selector = live["spec"].get("selector") or {}
    pod_port = forwarder.port_of(live, port, forwarder.running_pod(run.cluster, options["namespace"], selector))
    listener = forwarder.listen(options["address"], local_port)
    result = {
        "changed": True,
        "url": url,
        "diff": _diff(local_port, "closed", f"open, forwards to {options['namespace']}/{service}"),
    }
    if run.check_mode:
        listener.close()
        return result
    pid = forwarder.start_forwarding(run.cluster, target, selector, pod_port, listener)
    return {**result, "pid": pid}


def _diff(port: int, before: str, after: str) -> list:
    return [
        {
            "before": before + "\n",
            "after": after + "\n",
            "before_header": f"port {port}",
            "after_header": f"port {port}",
        }
    ]


def main() -> None:
    run_module(ARGUMENTS, body)


if __name__ == "__main__":
    main()
