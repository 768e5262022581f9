#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: probe
short_description: Send real requests through a gateway, and count responses by version and failures
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - With O(state=once), sends a fixed number of HTTP requests through a gateway and counts the responses by version.
  - With O(state=started), starts a background process on the host where the task runs. The process sends requests at a
    constant rate during the tasks that follow, such as an upgrade. O(state=checked) returns the counts and can fail
    the play. O(state=stopped) ends the process.
  - Requests are sent from the host where the task runs to the gateway's address. If that address cannot be reached,
    they are sent through a tunnel to one of the gateway's pods, as C(kubectl port-forward) does. RV(target) is the
    address that was used.
  - Requests are never retried. The background process sends each request at its due time, whatever the outcome of
    earlier requests. Half of the requests use new connections, the other half reuse connections.
  - The headers C(X-Probe-Run) and C(X-Probe-Number) of each background request contain the run and the number of the
    request, so that a server can identify the requests that it received.
options:
  state:
    description:
      - State of the probe.
      - V(once) sends O(count) requests and waits for the responses.
      - V(started) starts the background probe. If the probe runs with other options, it is restarted and its counts
        are lost.
      - V(checked) returns the counts of the background probe, as soon as all requests that were due when the task
        started have an outcome.
      - V(stopped) ends the background probe, as soon as these requests have an outcome, and returns its counts. They
        can be read until the probe is started again.
    type: str
    choices: [once, started, checked, stopped]
    default: once
  name:
    description: Name of the background probe. Each user on the host where the task runs has separate names. Required
      unless O(state=once).
    type: str
  gateway:
    description: Service of the gateway, as C(NAMESPACE/NAME).
    type: str
    default: istio-system/istio-ingressgateway
  url:
    description: Address to which requests are sent instead of O(gateway), as C(http://HOST:PORT).
    type: str
  path:
    description: Path of the request.
    type: str
    default: /
  headers:
    description:
      - Headers of the request, such as C(Host). The background process receives them in memory and writes them to no
        file.
      - Values are hidden in results if the name of the header contains auth, cookie, token, key, secret or password.
        The log of the host where the task runs contains them, like the options of any module, unless the task sets
        C(no_log).
    type: dict
    default: {}
  versions:
    description: Regular expressions by version. The headers and the body of each response are searched for them, in
      this order. A response that matches none counts as C(other).
    type: dict
    default: {}
  count:
    description: Number of requests. Used only with O(state=once).
    type: int
    default: 200
  parallel:
    description: Maximum number of concurrent requests. The default is 4. With O(state=started), the default is the
      number of requests that are due within O(timeout), at most 256.
    type: int
  timeout:
    description: Timeout of a request in seconds. In the background, also the number of seconds that a request may wait
      after its due time before it is sent.
    type: int
    default: 10
  min_failure_status:
    description: Lowest HTTP status that counts as a failure. With V(400), the status 404 of a proxy without a route
      counts too.
    type: int
    default: 500
  rate:
    description: Number of requests per second, from 1 to 500. Used only with O(state=started).
    type: int
    default: 20
  max_duration:
    description: Number of seconds after which a probe with O(state=started) ends by itself. At most 86400.
    type: int
    default: 3600
  since:
    description: Token of an earlier call, as in RV(token). With O(state=checked) and O(state=stopped), only requests
      after that call are counted. The default is to count all requests.
    type: str
  max_failure_percent:
    description:
      - Maximum percentage of failed requests. With O(state=checked) and O(state=stopped), the task fails above it with
        the code C(too_many_failures). If there are no requests, it fails with the code C(too_few_requests).
      - If it is not set, failed requests do not fail the task.
    type: float
  min_requests:
    description: Minimum number of requests. With O(state=checked) and O(state=stopped), the task fails below it with
      the code C(too_few_requests).
    type: int
seealso:
  - name: Ingress gateways
    description: Access to an ingress gateway from outside the cluster.
    link: https://istio.io/latest/docs/tasks/traffic-management/ingress/ingress-control/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
attributes:
  check_mode:
    details: >-
      With O(state=once), check mode sends the same requests. With O(state=checked), it reads the counts, and prints a
      warning if there is no probe yet. Otherwise, it reports what would change.
"""

EXAMPLES = r"""
- name: Count responses by version
  servicemesh.istio.probe:
    count: 200
    versions:
      v2: "#b3541e"
      v1: .
  register: measured

- name: Print the percentages
  ansible.builtin.debug:
    msg: "{{ measured.percent_by_version }} of {{ measured.sent }} requests, {{ measured.failures }} failed"

- name: Start a probe with 20 requests per second
  servicemesh.istio.probe:
    name: rollout
    state: started
    rate: 20
  register: watched

# Run the rollout or the upgrade here.

- name: Stop the play if more than 0.1 % of the requests failed
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

- name: Print the failures and their upper bound
  ansible.builtin.debug:
    msg: >-
      {{ rollout.failures }} of {{ rollout.sent }} requests failed. With 95 % confidence, the true failure rate is below
      {{ rollout.upper_bound }} %.
      The longest time without a successful response was {{ rollout.longest_gap }} s.
"""

RETURN = r"""
sent:
  description: Number of requests with an outcome, which is a response or an error.
  returned: unless O(state=started)
  type: int
failures:
  description: Number of requests without a response, or with a status of at least O(min_failure_status).
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
  description: Number of responses by status.
  returned: unless O(state=started)
  type: dict
responses_by_version:
  description: Number of responses with a status below 400, by version.
  returned: unless O(state=started)
  type: dict
  sample: {v1: 181, v2: 19}
percent_by_version:
  description: RV(responses_by_version) as percentages.
  returned: unless O(state=started)
  type: dict
  sample: {v1: 90.5, v2: 9.5}
errors:
  description: >-
    Number of requests without a response, by cause. C(name): the host name was not resolved. C(connect): the connection
    failed or timed out. C(reset): the connection was closed during the request. C(timeout): there was no response
    within O(timeout). C(protocol): the response is not valid HTTP. C(not_sent): the request was not sent within
    O(timeout) after its due time.
  returned: unless O(state=started)
  type: dict
  sample: {reset: 2, timeout: 1}
late:
  description: Number of requests that were sent more than 0.1 seconds after their due time, or had to wait because
    O(parallel) requests were in progress.
  returned: when O(state=checked) or O(state=stopped)
  type: int
connections:
  description: Number of requests by type of connection. C(fresh) is a new connection. C(kept) is a reused connection.
  returned: when O(state=checked) or O(state=stopped)
  type: dict
  sample: {fresh: 15004, kept: 14996}
longest_gap:
  description: Longest time without a successful response, in seconds.
  returned: when O(state=checked) or O(state=stopped)
  type: float
examples:
  description: First ten failed requests, each with the time at which the failure was known.
  returned: when O(state=checked) or O(state=stopped)
  type: list
  elements: dict
  sample: [{number: 812, time: "2026-01-01T00:00:41.207+00:00", cause: "503", connection: kept}]
started:
  description: Start time of the background probe. Empty if there is none.
  returned: unless O(state=once)
  type: str
ended:
  description: Reason why the background probe ended, V(stopped), V(max_duration) or V(died). V(never) if there was no
    probe. Empty while it runs.
  returned: unless O(state=once)
  type: str
token:
  description: Token for the time of this call. Use it as O(since) in a later call.
  returned: unless O(state=once)
  type: str
target:
  description: Address that the requests were sent to.
  returned: success
  type: str
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: >-
    Details of the failure: code, object, reason and hint. The code is stable. With C(too_many_failures),
    C(too_few_requests), C(probe_gone) (the process died) and C(probe_silent), the counts are returned too.
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
        # An invalid token fails before anything is changed.
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
