#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: probe
short_description: Count answers by version and failures with real requests
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - O(state=once) sends a number of HTTP requests through a gateway and counts the answers by version.
  - O(state=started) starts a process on the host where the task runs, which sends requests at a constant rate during later tasks such as an upgrade.
    O(state=checked) returns the results and can fail the task, and O(state=stopped) ends the process.
  - Requests are sent to the gateway's address. If it cannot be reached, they use a tunnel to a pod of the gateway, like C(kubectl port-forward), and
    RV(target) names the pod.
  - No request is sent twice. The background process sends requests at fixed times, whether earlier requests have been answered or not. Half of them
    use new connections, the others reuse connections. Each request has its number in the header C(X-Probe-Number) and the run in C(X-Probe-Run), so
    that a server can identify it.
options:
  state:
    description:
      - V(once) sends O(count) requests and waits for the answers.
      - V(started) starts a background probe. A running probe with other options is restarted, and its results are deleted.
      - V(checked) returns the results of the background probe, once all requests that were due at the start of the task have an outcome.
      - V(stopped) ends the background probe and returns its results. They can be read until the probe is started again.
    type: str
    choices: [once, started, checked, stopped]
    default: once
  name:
    description: Name of the background probe. It is unique for a user on the host where the task runs. Required unless O(state=once).
    type: str
  gateway:
    description: The gateway's Service, as C(NAMESPACE/NAME).
    type: str
    default: istio-system/istio-ingressgateway
  url:
    description: URL to send requests to instead of O(gateway), as C(http://HOST:PORT).
    type: str
  path:
    description: Path of the request.
    type: str
    default: /
  headers:
    description:
      - Headers of the request, such as C(Host). The background process receives them in memory, and does not write them to files.
      - Values are hidden in results if the name of the header indicates a secret, such as authorization, cookie, token or key. Without C(no_log), the
        host may log the options of the task.
    type: dict
    default: {}
  versions:
    description: Regular expressions by version, which are matched in this order against headers and body of the answer. An answer without a match counts as
      C(other).
    type: dict
    default: {}
  count:
    description: Number of requests, with O(state=once).
    type: int
    default: 200
  parallel:
    description: Maximum number of concurrent requests. The default is 4, and with O(state=started) the number of requests that are due within O(timeout), up to
      256.
    type: int
  timeout:
    description: Maximum seconds for an answer. In the background, also the maximum seconds for which a request can wait to be sent.
    type: int
    default: 10
  min_failure_status:
    description: Lowest HTTP status that counts as a failure. With V(400), the status 404 of a proxy without a route counts too.
    type: int
    default: 500
  rate:
    description: Requests per second, with O(state=started). From 1 to 500.
    type: int
    default: 20
  max_duration:
    description: Seconds after which a probe with O(state=started) ends by itself. At most 86400.
    type: int
    default: 3600
  since:
    description: RV(token) of an earlier call. With O(state=checked) and O(state=stopped), only later requests are counted.
    type: str
  max_failure_percent:
    description:
      - Maximum percentage of failed requests. With O(state=checked) and O(state=stopped), the task fails with the code C(too_many_failures) above
        it, and with C(too_few_requests) if there are no requests. If it is not set, failed requests never fail the task.
    type: float
  min_requests:
    description: Minimum number of requests. With O(state=checked) and O(state=stopped), the task fails with the code C(too_few_requests) below it.
    type: int
seealso:
  - name: Ingress gateways
    description: How an ingress gateway is reached.
    link: https://istio.io/latest/docs/tasks/traffic-management/ingress/ingress-control/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
attributes:
  check_mode:
    details: >-
      O(state=once) sends the same requests. O(state=checked) reads the results, and warns if there is no probe. Other states change nothing.
"""

EXAMPLES = r"""
- name: Measure which version answers
  servicemesh.istio.probe:
    count: 200
    versions:
      v2: "#b3541e"
      v1: .
  register: measured

- name: Show the percentages
  ansible.builtin.debug:
    msg: "{{ measured.percent_by_version }} of {{ measured.sent }} requests, {{ measured.failures }} failed"

- name: Start to send twenty requests per second
  servicemesh.istio.probe:
    name: rollout
    state: started
    rate: 20
  register: watched

# The rollout or upgrade is here.

- name: Fail if requests failed
  servicemesh.istio.probe:
    name: rollout
    state: checked
    since: "{{ watched.token }}"
    max_failure_percent: 0.1
    min_requests: 10

- name: Stop the probe
  servicemesh.istio.probe:
    name: rollout
    state: stopped
  register: rollout

- name: Show the result
  ansible.builtin.debug:
    msg: >-
      {{ rollout.failures }} of {{ rollout.sent }} requests failed, so the failure percentage is below {{ rollout.upper_bound }} % with 95 % confidence.
      The longest time without a successful answer was {{ rollout.longest_gap }} s.
"""

RETURN = r"""
sent:
  description: Number of requests with an outcome.
  returned: unless O(state=started)
  type: int
failures:
  description: Requests without an answer, or with a status of at least O(min_failure_status).
  returned: unless O(state=started)
  type: int
failure_percent:
  description: RV(failures) as a percentage of RV(sent).
  returned: unless O(state=started)
  type: float
upper_bound:
  description: >-
    Upper bound of the true failure percentage, with 95 % confidence, if requests fail independently of each other.
    Without failures in n requests it is 300 / n.
  returned: unless O(state=started)
  type: float
  sample: 0.01
codes:
  description: Number of answers by status.
  returned: unless O(state=started)
  type: dict
responses_by_version:
  description: Answers with a status below 400, by version.
  returned: unless O(state=started)
  type: dict
  sample: {v1: 181, v2: 19}
percent_by_version:
  description: RV(responses_by_version) in percent.
  returned: unless O(state=started)
  type: dict
  sample: {v1: 90.5, v2: 9.5}
errors:
  description: Requests without an answer, by cause. C(name) is a failed name resolution, C(connect) a failed connection, C(reset) a closed connection,
    C(timeout) a missing answer, C(protocol) an answer that is not HTTP, and C(not_sent) a request that was not sent within O(timeout).
  returned: unless O(state=started)
  type: dict
  sample: {reset: 2, timeout: 1}
late:
  description: Number of requests that waited because O(parallel) was reached, or were sent with a delay of more than 0.1 seconds.
  returned: when O(state=checked) or O(state=stopped)
  type: int
connections:
  description: Number of requests on C(fresh) connections and on C(kept) connections, which were used before.
  returned: when O(state=checked) or O(state=stopped)
  type: dict
  sample: {fresh: 15004, kept: 14996}
longest_gap:
  description: Longest time without a successful answer, in seconds.
  returned: when O(state=checked) or O(state=stopped)
  type: float
examples:
  description: First ten failed requests, with the time of the failure.
  returned: when O(state=checked) or O(state=stopped)
  type: list
  elements: dict
  sample: [{number: 812, time: "2026-01-01T00:00:41.207+00:00", cause: "503", connection: kept}]
started:
  description: Start of the background probe. Empty if there is none.
  returned: unless O(state=once)
  type: str
ended:
  description: "Reason for the end of the probe: V(stopped), V(max_duration) or V(died), or V(never) if there was no probe. Empty while it runs."
  returned: unless O(state=once)
  type: str
token:
  description: Token of this moment, for O(since) of a later call.
  returned: unless O(state=once)
  type: str
target:
  description: Address that the requests were sent to.
  returned: success
  type: str
duration:
  description: Seconds by phase.
  returned: always
  type: dict
failure:
  description: >-
    Code, object, reason and hint. The code is stable. With C(too_many_failures), C(too_few_requests), C(probe_gone) (the process died) and
    C(probe_silent), the results are returned too.
  returned: on failure
  type: dict
  sample: {code: no_gateway, ref: null, reason: "", hint: ""}
"""

import contextlib
from dataclasses import asdict

from ..module_utils._engine.module import Run, run_module
from ..module_utils._failure import Failure
from ..module_utils._probe import background_probe, daemon, gateway_access, open_loop, probe, probe_stats

ARGUMENTS = {
    "state": {"type": "str", "choices": ["once", "started", "checked", "stopped"], "default": "once"},
    "name": {"type": "str"},
    "gateway": {"type": "str", "default": "istio-system/istio-ingressgateway"},
    "url": {"type": "str"},
    "path": {"type": "str", "default": "/"},
    "headers": {"type": "dict", "default": {}},
    "versions": {"type": "dict", "default": {}},
    "count": {"type": "int", "default": 200},
    "parallel": {"type": "int"},
    "timeout": {"type": "int", "default": 10},
    "min_failure_status": {"type": "int", "default": 500},
    "rate": {"type": "int", "default": 20},
    "max_duration": {"type": "int", "default": 3600},
    "since": {"type": "str"},
    "max_failure_percent": {"type": "float"},
    "min_requests": {"type": "int"},
}
NEEDED = [("state", state, ["name"]) for state in ("started", "checked", "stopped")]
OPTIONS = ("path", "headers", "versions", "count", "timeout", "min_failure_status")


def body(run: Run) -> dict:
    options = run.options
    run.hide(probe.secret_headers(options["headers"]))
    if options["name"] is not None:
        background_probe.validate_name(options["name"])
    return STATES[options["state"]](run, options)


def _wanted(options: dict, parallel: int) -> probe.Probe:
    given = options["parallel"]
    wanted = probe.Probe(parallel=parallel if given is None else given, **{name: options[name] for name in OPTIONS})
    probe.validate_probe(wanted)
    if options["url"] is not None:
        probe.validate_url(options["url"])
    return wanted


def _way(run: Run, options: dict) -> gateway_access.GatewayRoute:
    return (
        gateway_access.route_by_gateway(options["url"], options["timeout"])
        if options["url"]
        else gateway_access.route_to_host(run.cluster, options["gateway"], options["timeout"])
    )


def _once(run: Run, options: dict) -> dict:
    wanted = _wanted(options, probe.Probe.parallel)
    way = _way(run, options)
    return {**run.timed("probe", lambda: probe.run_probe(wanted, way.authority, way.connect)), "target": way.via}


def _started(run: Run, options: dict) -> dict:
    name, wanted = options["name"], _wanted(options, open_loop.enough_clients(options["rate"], options["timeout"]))
    pace = open_loop.ProbeRate(options["rate"], wanted.parallel, options["max_duration"])
    open_loop.validate_rate(pace)
    target = options["url"] or [run.cluster.api.server, options["gateway"]]
    with _alone(run, name):
        found = background_probe.last_snapshot(name)
        running = None if found is None or found.ended else found
        known = [target, asdict(wanted), asdict(pace)]
        if running and running.has(known):
            return {"changed": False, "diff": [], **running.identity()}
        way = _way(run, options)
        if way.detach:
            run.module.warn(
                f"{options['gateway']} is only reached through the API server ({way.via}): failures on the way there"
                " count too."
            )
        changes = {
            "changed": True,
            "diff": _diff(
                name, running.words() if running else "not running", f"{pace.rate} requests a second to {way.via}"
            ),
        }
        if run.check_mode:
            return {**changes, **(running or background_probe.NEVER).identity(), "target": way.via}
        if running:
            daemon.stop_process(running.process, background_probe.SLACK)
        return {**changes, **background_probe.start_probe(name, wanted, pace, way, known).identity()}


def _checked(run: Run, options: dict) -> dict:
    reading = run.timed("read", lambda: background_probe.read_snapshot(options["name"]))
    if reading is None:
        hint = "Start the probe first, on the same host and as the same user."
        run.fail_or_warn([Failure("no_probe", f"name: probe {options['name']} does not exist", hint=hint)])
    return _gate(run, options, reading or background_probe.NEVER, {})


def _stopped(run: Run, options: dict) -> dict:
    name, changes = options["name"], {}
    with _alone(run, name):
        reading = background_probe.last_snapshot(name) or background_probe.NEVER
        # A wrong token is told before anything is changed.
        reading.result(options["since"])
        if not reading.told:
            changes = {"changed": True, "diff": _diff(name, reading.words(), "ended")}
            reading = run.timed("stop", lambda: background_probe.stop_probe(name, reading, run.check_mode))
    return _gate(run, options, reading, changes)


def _alone(run: Run, name: str) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if run.check_mode else daemon.exclusive_access(background_probe.process_place(name))


def _gate(run: Run, options: dict, reading: background_probe.ProbeSnapshot, changes: dict) -> dict:
    found = {**changes, **reading.result(options["since"])}
    if found["ended"] == "max_duration":
        run.module.warn(f"Probe {options['name']} ended after max_duration. No request was sent since.")
    # In check mode there may be no probe yet, and so nothing to judge.
    if reading is not background_probe.NEVER or not run.check_mode:
        probe_stats.pass_gate(found, options["max_failure_percent"], options["min_requests"])
    return found


def _diff(name: str, before: str, after: str) -> list:
    return [
        {
            "before": before + "\n",
            "after": after + "\n",
            "before_header": f"probe {name}",
            "after_header": f"probe {name}",
        }
    ]


STATES = {"once": _once, "started": _started, "checked": _checked, "stopped": _stopped}


def main() -> None:
    run_module(ARGUMENTS, body, required_if=NEEDED)


if __name__ == "__main__":
    main()
