# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the installed mesh really does: the proxies' own configuration, real requests, metrics and traces."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import config_dump
from playbook_runner import Lab

DEMO = "online-boutique"
CLIENT = "proof-client"
HOST = f"frontend.{DEMO}.svc.cluster.local"
COUNT = 2000
# 90/10 of 2,000 is 200 ± 13.4; five standard deviations exclude the nearest wrong split, 85/15 (300).
LEAST, MOST = 133, 267
# Passed on by the frontend's stand-in, so that nobody else's requests count.
POD = "(?i)x-stand-in-pod: "


def eventually(look: Callable[[], Any], tries: int = 30) -> Any:
    """What `look` gives, once it gives something."""
    for _ in range(tries):
        found = look()
        if found:
            return found
        time.sleep(2)
    raise AssertionError(f"still nothing after {tries} looks")


def ask(lab: Lab, service: str, path: str) -> Any:
    """Answer of an addon, through the API server."""
    return json.loads(lab.kubectl("get", "--raw", f"/api/v1/namespaces/istio-system/services/{service}/proxy{path}"))


def query(lab: Lab, text: str) -> list[dict[str, Any]]:
    answer = ask(lab, "prometheus:9090", f"/api/v1/query?query={quote(text)}")
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


@pytest.fixture(scope="module")
def client(mesh: Lab) -> Iterator[Lab]:
    """A pod of the mesh from which requests can be sent."""
    image = "localhost/lab/client:stand-in"
    pod = {"metadata": {"labels": {"app": "client"}}, "spec": {"containers": [{"name": "client", "image": image}]}}
    spec = {"selector": {"matchLabels": {"app": "client"}}, "template": pod}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "client", "namespace": CLIENT},
        "spec": spec,
    }
    assert "failed" not in mesh.module("namespace", name=CLIENT, injection="enabled")
    done = mesh.module("manifests", definition=deployment, wait_timeout=120)
    assert done["objects"][0]["status"] == "Current", done
    yield mesh
    assert mesh.module("namespace", name=CLIENT, state="absent", delete=True)["changed"]


def concerned(lab: Lab) -> list[tuple[str, str]]:
    """(namespace, pod) of every proxy of the mesh."""
    found = []
    for pod in lab.get("pods", "--all-namespaces")["items"]:
        if any(
            container["name"] == "istio-proxy"
            for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
        ):
            found.append((pod["metadata"]["namespace"], pod["metadata"]["name"]))
    return found


def weights(lab: Lab, namespace: str, pod: str) -> set[tuple[tuple[str, int], ...]]:
    """What a proxy itself says of the frontend's routes: {((subset, weight), ...)}."""
    text = lab.kubectl(
        "-n", namespace, "exec", pod, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", "config_dump"
    )
    routes = config_dump.routes(json.loads(text))
    return {
        tuple((name.split("|")[2], weight) for name, weight in route.weights)
        for route in routes
        if any(name.endswith(HOST) for name, _weight in route.weights)
    }


def test_every_proxy_has_exactly_the_split(client: Lab) -> None:
    proxies = concerned(client)
    assert len(proxies) == 15, "13 of the demo, the gateway and the client"
    assert {place: weights(client, *place) for place in proxies} == {
        place: {(("v1", 90), ("v2", 10))} for place in proxies
    }


def test_the_split_measured_through_the_ingress_gateway(mesh: Lab) -> None:
    versions = {"v2": f"{POD}frontend-v2-", "v1": f"{POD}frontend-"}
    measured = mesh.module("probe", path="/_healthz", count=COUNT, versions=versions)
    assert measured["failures"] == 0 and measured["target"].startswith("http://"), measured
    assert sum(measured["responses_by_version"].values()) == COUNT and set(measured["responses_by_version"]) == {
        "v1",
        "v2",
    }
    assert LEAST <= measured["responses_by_version"]["v2"] <= MOST, measured["responses_by_version"]


def test_the_split_measured_from_pod_to_pod(client: Lab) -> None:
    argv = [
        "exec",
        "deploy/client",
        "-c",
        "client",
        "--",
        "standin",
        "client",
        "-n",
        str(COUNT),
        "-c",
        "4",
        f"http://frontend.{DEMO}/_healthz",
    ]
    measured = json.loads(client.kubectl("-n", CLIENT, *argv))
    assert measured["statuses"] == {"200": COUNT} and sum(measured["errors"].values()) == 0, measured
    assert LEAST <= measured["deployments"]["frontend-v2"] <= MOST, measured["deployments"]
    assert measured["deployments"]["frontend"] + measured["deployments"]["frontend-v2"] == COUNT


def test_a_proxys_log_tells_of_requests_while_its_level_is_debug_and_no_longer(client: Lab) -> None:
    """Real requests, each set of them with a word of its own in its path."""
    chosen = {"namespace": CLIENT, "workload": {"app": "client"}}

    def told(word: str) -> list[str]:
        """Debug lines about three requests with the word."""
        argv = [
            "exec",
            "deploy/client",
            "-c",
            "client",
            "--",
            "standin",
            "client",
            "-n",
            "3",
            "-c",
            "1",
            f"http://frontend.{DEMO}/_healthz?{word}",
        ]
        measured = json.loads(client.kubectl("-n", CLIENT, *argv))
        assert measured["statuses"] == {"200": 3}, measured
        # The kubelet writes what a container says a moment later.
        time.sleep(3)
        return [
            line
            for line in client.kubectl("-n", CLIENT, "logs", "deploy/client", "-c", "istio-proxy").splitlines()
            if "debug" in line and word in line
        ]

    assert told("before") == []
    assert (
        client.module("proxy_log", check=True, levels={"router": "debug"}, **chosen)["changed"]
        and told("checked") == []
    )
    done = client.module("proxy_log", levels={"router": "debug"}, **chosen)
    assert done["changed"] and done["proxies"][0]["before"] == {"router": "warning"}, done
    assert len(told("during")) >= 3
    assert client.module("proxy_log", levels={"all": "warning", "misc": "error"}, **chosen)["changed"]
    assert told("after") == []


def test_a_new_pod_begins_with_the_levels_of_istio(client: Lab) -> None:
    chosen = {"namespace": CLIENT, "workload": {"app": "client"}, "levels": {"all": "debug"}}
    old = client.module("proxy_log", **chosen)["proxies"][0]
    assert client.module("proxy_log", **chosen)["changed"] is False
    client.kubectl("-n", CLIENT, "rollout", "restart", "deploy/client")
    client.kubectl("-n", CLIENT, "rollout", "status", "deploy/client", "--timeout=150s")
    client.kubectl("-n", CLIENT, "wait", "--for=delete", f"pod/{old['pod']}", "--timeout=150s")
    [new] = client.module("proxy_log", check=True, **chosen)["proxies"]
    assert (
        new["pod"] != old["pod"]
        and new["before"] == {**dict.fromkeys(new["before"], "warning"), "misc": "error"} == old["before"]
    )


def test_prometheus_has_its_targets_up_and_a_series_from_a_proxy(mesh: Lab) -> None:
    def up() -> bool:
        targets = ask(mesh, "prometheus:9090", "/api/v1/targets?state=active")["data"]["activeTargets"]
        proxies = [target for target in targets if target["labels"].get("namespace") == DEMO]
        return len(proxies) >= 13 and all(target["health"] == "up" for target in proxies)

    assert eventually(up, tries=60)
    series = eventually(
        lambda: query(mesh, f'sum by (namespace) (envoy_cluster_upstream_rq{{namespace="{DEMO}",response_code="200"}})')
    )
    assert float(series[0]["value"][1]) > 0


def test_jaeger_has_a_trace_through_the_demo(mesh: Lab) -> None:
    def traces() -> list[dict[str, Any]]:
        found = ask(mesh, "tracing:80", f"/jaeger/api/traces?service=frontend.{DEMO}&limit=20")["data"] or []
        return [
            trace for trace in found if len({process["serviceName"] for process in trace["processes"].values()}) > 1
        ]

    assert eventually(traces), "no trace with spans of two services"


def test_grafana_and_kiali_answer_and_say_that_they_are_stand_ins(mesh: Lab) -> None:
    for service, path in (("grafana:3000", "/"), ("kiali:20001", "/kiali/")):
        text = mesh.kubectl("get", "--raw", f"/api/v1/namespaces/istio-system/services/{service}/proxy{path}")
        assert "stand-in" in text.lower()


def test_kiali_is_joined_to_its_neighbours(mesh: Lab) -> None:
    config = mesh.get("configmap", "kiali", "-n", "istio-system")["data"]["config.yaml"]
    for address in (
        "http://prometheus.istio-system:9090",
        "http://grafana.istio-system:3000",
        "http://tracing.istio-system:16685/jaeger",
    ):
        assert address in config


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode("utf-8")
        return text


def test_a_dashboard_opens_on_a_local_port_stays_open_and_closes(mesh: Lab) -> None:
    played = mesh.play("playbooks/dashboard.yml", "-e", "dashboard_port=20901").ok()
    try:
        assert "kiali is at http://127.0.0.1:20901" in played.text
        assert "stand-in" in get("http://127.0.0.1:20901/kiali/").lower()
        assert mesh.play("playbooks/dashboard.yml", "-e", "dashboard_port=20901").ok().changed == []
        taken = mesh.module("dashboard", name="grafana", local_port=20901)
        assert taken["failure"]["code"] == "port_taken" and "Set local_port to 20902" in taken["msg"]
    finally:
        mesh.play("playbooks/dashboard.yml", "-e", "dashboard_port=20901", "-e", "dashboard_state=absent").ok()
    with pytest.raises(OSError):
        get("http://127.0.0.1:20901/kiali/")
    assert mesh.module("dashboard", local_port=20901, state="absent")["changed"] is False


def test_istiod_and_sidecars_have_the_runtimes_seccomp_profile(mesh: Lab) -> None:
    """docs/secure-defaults.md"""
    pods = mesh.get("pods", "-n", "istio-system", "-l", "app=istiod")["items"] + mesh.get("pods", "-n", DEMO)["items"]
    containers = [
        container for pod in pods for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    ]
    proxies = [container for container in containers if container["name"] in ("discovery", "istio-proxy")]
    assert len(proxies) == len(pods) and {
        container["securityContext"]["seccompProfile"]["type"] for container in proxies
    } == {"RuntimeDefault"}


def test_the_ingress_gateway_logs_each_request_as_json(mesh: Lab) -> None:
    """The site's own summary has just sent some."""
    lines = mesh.kubectl("logs", "-n", "istio-system", "-l", "istio=ingressgateway", "--tail=-1").splitlines()
    assert any(json.loads(line).get("response_code") == 200 for line in lines if line.startswith("{"))
