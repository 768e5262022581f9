# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From 1.30 to 1.31 under traffic, back where it fails, on where it was cut off. On a cluster of its own; the tests
stand on each other, in order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from lab import programs
from playbook_runner import BIN, ROOT, SECOND, Lab, Played, objects, sound

OLD, NEW = (
    {"release_version": "1.30.4", "control_plane_revision": "1-30-4"},
    {
        "release_version": "1.31.0",
        "control_plane_revision": "1-31-0",
    },
)
SHOP = "shop"
RECORD = "/var/upgrade-record"

# By the clock, numbered and matched at the servers; at least so many from outside, at most for so many seconds.
# The role's own probe is beside it, for its gates.
RUN, RATE, INSIDE_RATE = f"upgrade-{uuid.uuid4().hex}", 100, 20
LEAST, LONGEST = 30_000, 1800
# Only the mesh: its application is the one below.
BARE = {
    "site_demo": False,
    "site_addons": False,
    "site_traffic": False,
    "site_summary": False,
    "namespaces_enrolled": [{"name": SHOP}],
}
PROBE = {"gateway": "istio-system/istio-ingressgateway", "path": "/robots.txt"}
NEIGHBORS = (
    "PRODUCT_CATALOG",
    "CURRENCY",
    "CART",
    "RECOMMENDATION",
    "SHIPPING",
    "CHECKOUT",
    "AD",
    "SHOPPING_ASSISTANT",
)


def version(name: str) -> dict[str, Any]:
    """Two pods of one version, which leave as an application should: they still answer while others hear of it."""
    env = {
        **{f"{neighbor}_SERVICE_ADDR": "nowhere:1" for neighbor in NEIGHBORS},
        "GRACE": "12s",
        "RECORD": "/record",
    }
    container = {
        "name": "server", "image": "localhost/lab/frontend:stand-in", "ports": [{"containerPort": 8080}],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": "/_healthz", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "record", "mountPath": "/record"}],
    }  # fmt: skip
    labels = {"app": "web", "version": name}
    spec = {
        "containers": [container],
        "volumes": [{"name": "record", "hostPath": {"path": RECORD, "type": "DirectoryOrCreate"}}],
        "securityContext": {"runAsUser": 0},
    }
    metadata = {"name": f"web-{name}", "namespace": SHOP, "labels": labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def application() -> list[dict[str, Any]]:
    """The service, its two versions, and the way from outside. Nothing sends a request twice."""
    host = f"web.{SHOP}.svc.cluster.local"
    route = [{"destination": {"host": host, "subset": name}, "weight": 50} for name in ("v1", "v2")]
    ways = {"outside": {"hosts": ["*"], "gateways": ["ingress"]}, "inside": {"hosts": [host]}}
    networking = "networking.istio.io/v1"
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": SHOP},
         "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}},
        version("v1"),
        version("v2"),
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": SHOP},
         "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}}},
        {"apiVersion": networking, "kind": "Gateway", "metadata": {"name": "ingress", "namespace": SHOP},
         "spec": {"selector": {"istio": "ingressgateway"}, "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}},
        {"apiVersion": networking, "kind": "DestinationRule", "metadata": {"name": "web", "namespace": SHOP},
         "spec": {"host": host, "subsets": [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]}},
        *(
            {"apiVersion": networking, "kind": "VirtualService", "metadata": {"name": name, "namespace": SHOP},
             "spec": {**way, "http": [{"route": route, "retries": {"attempts": 0}}]}}
            for name, way in ways.items()
        ),
    ]  # fmt: skip


def client() -> dict[str, Any]:
    """A caller in the mesh that nothing restarts: a bare pod, which an upgrade names and does not touch."""
    spec = {"containers": [{"name": "client", "image": "localhost/lab/client:stand-in"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": SHOP, "labels": {"app": "client"}},
        "spec": spec,
    }


def arguments(playbook: str, **variables: Any) -> list[str]:
    return [
        f"playbooks/{playbook}.yml",
        "-e",
        "@tests/lab/vars.yml",
        "-e",
        json.dumps({**BARE, "upgrade_probe": PROBE, "upgrade_probe_rate": 20, **variables}),
    ]


def upgrade(lab: Lab, *more: str, **variables: Any) -> Played:
    return lab.play(*arguments("upgrade", **{**NEW, "upgrade_skip_checks": SKIPPED, **variables}), *more)


# A cluster of one node with two cores: one istiod is what there is.
SKIPPED: list[str] = []


@pytest.fixture(scope="module")
def mesh_of_old(elsewhere: Lab) -> Iterator[Lab]:
    elsewhere.sweep()
    elsewhere.play(*arguments("site", **OLD)).ok()
    assert elsewhere.module("manifests", namespace=SHOP, definition=application(), wait_timeout=180)["changed"]
    assert elsewhere.module("manifests", definition=client(), wait_timeout=180)["changed"]
    yield elsewhere
    elsewhere.sweep()


def revisions(lab: Lab) -> dict[str, list[str]]:
    """{pod's app: images of its proxies} of the shop's workloads and the gateway."""
    found: dict[str, set[str]] = {}
    for namespace in (SHOP, "istio-system"):
        for pod in lab.get("pods", "-n", namespace)["items"]:
            containers = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
            tags = {
                container["image"].rpartition(":")[2] for container in containers if container["name"] == "istio-proxy"
            }
            if tags and pod["metadata"].get("ownerReferences") and not pod["metadata"].get("deletionTimestamp"):
                found.setdefault(pod["metadata"]["labels"]["app"], set()).update(tags)
    return {app: sorted(tags) for app, tags in found.items()}


def all_of(tag: str) -> dict[str, list[str]]:
    return {"web": [tag], "istio-ingressgateway": [tag]}


def istiods(lab: Lab) -> list[str]:
    return sorted(
        item["metadata"]["labels"]["istio.io/rev"]
        for item in lab.get("deployments", "-n", "istio-system", "-l", "app=istiod")["items"]
    )


class Traffic:
    """Requests from outside through the gateway, and from a pod in the mesh, until they are ended; nothing is sent
    twice.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab, self.began = lab, time.monotonic()
        outside = [
            str(programs.build("standin")),
            "client",
            *self._flags(RATE),
            "-run",
            RUN,
            "-c",
            "300",
            self.address(lab),
        ]
        inside = [
            "kubectl",
            "exec",
            "-i",
            "-n",
            SHOP,
            "client",
            "-c",
            "client",
            "--",
            "standin",
            "client",
            *self._flags(INSIDE_RATE),
            "-c",
            "60",
            f"http://web.{SHOP}/robots.txt",
        ]
        self._running = [
            subprocess.Popen(argv, env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for argv in (outside, inside)
        ]

    @staticmethod
    def _flags(rate: int) -> list[str]:
        return ["-n", str(rate * LONGEST), "-rate", str(rate), "-timeout", "10s", "-until-eof"]

    @staticmethod
    def address(lab: Lab) -> str:
        """Through the gateway's node port: a forwarded port would be one connection that breaks with its pod."""
        ports = lab.get("service", "istio-ingressgateway", "-n", "istio-system")["spec"]["ports"]
        argv = [
            "docker",
            "inspect",
            "-f",
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
            f"{SECOND}-control-plane",
        ]
        node = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        return f"http://{node}:{next(port['nodePort'] for port in ports if port['port'] == 80)}/robots.txt"

    def none_lost(self) -> None:
        """Every request until now was answered with 200, and each from outside reached a server exactly once."""
        assert all(running.poll() is None for running in self._running), "the traffic ended before what it is to see"
        # A client in a pod begins a moment later than it is started.
        time.sleep(max(0.0, self.began + LEAST / RATE + 10 - time.monotonic()))
        # communicate() ends their standard input.
        outside, inside = (json.loads(running.communicate(timeout=60)[0]) for running in self._running)
        for place, figures in (("outside", outside), ("inside", inside)):
            bad = figures["requests"] - figures["statuses"].get("200", 0)
            print(
                f"from {place}: {bad} failed of {figures['requests']} in {figures['seconds']:.0f} s, {figures['late']}"
                f" sent late; none of so many says below {300 / figures['requests']:.3f} %"
            )
        for figures in (outside, inside):
            assert figures["statuses"] == {"200": figures["requests"]} and sum(figures["errors"].values()) == 0, figures
        assert outside["requests"] >= LEAST
        reached = served(RUN)
        assert len(reached) == outside["requests"] and set(reached.values()) == {1}

    def end(self) -> None:
        for running in self._running:
            running.kill()


@pytest.fixture(scope="module")
def traffic(mesh_of_old: Lab) -> Iterator[Traffic]:
    """Begun once, ended when both upgrades are through: the one that fails and the one that is killed."""
    found = Traffic(mesh_of_old)
    time.sleep(10)
    yield found
    found.end()


def served(name: str) -> Counter[str]:
    """How often each numbered request of a run reached a server, over all its pods, those that are gone too."""
    command = f"cat {RECORD}/* | grep '^{name} '"
    lines = subprocess.run(
        ["docker", "exec", f"{SECOND}-control-plane", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    return Counter(lines.splitlines())


def test_a_dry_run_says_what_would_happen_and_changes_nothing(mesh_of_old: Lab) -> None:
    lab = mesh_of_old
    before = revisions(lab)
    played = upgrade(lab, "--check", "--diff").ok()
    assert revisions(lab) == before == all_of("1.30.4") and istiods(lab) == ["1-30-4"]
    named = {
        (row["ref"]["kind"], row["ref"]["name"]): row["action"]
        for result in played.of("control_plane") + played.of("restart")
        for row in result.get("objects", [])
        if row["action"] != "unchanged"
    }
    assert (
        named[("Deployment", "istiod-1-31-0")] == "created"
        and named[("Deployment", "istio-ingressgateway")] == "configured"
    )
    assert named[("Deployment", "web-v1")] == named[("Deployment", "web-v2")] == "configured"
    assert named[("MutatingWebhookConfiguration", "istio-revision-tag-default")] == "configured"


def test_a_probe_that_loses_requests_from_the_start_ends_it_before_anything_is_changed(mesh_of_old: Lab) -> None:
    before = objects(mesh_of_old)
    refused = upgrade(mesh_of_old, upgrade_probe={**PROBE, "path": "/nowhere", "min_failure_status": 400})
    assert refused.status != 0 and refused.changed == [], refused.text
    assert (
        "nothing was changed" in refused.text
        and "upgrade_probe" in refused.text
        and "'404'" in str(refused.of("probe"))
    ), refused.text
    assert objects(mesh_of_old) == before


def test_an_image_that_does_not_start_is_taken_back_by_itself(mesh_of_old: Lab, traffic: Traffic) -> None:
    lab = mesh_of_old
    played = upgrade(lab, control_plane_tag="9.9.9-nowhere")
    assert played.status != 0 and "was rolled back" in played.text and "image" in played.text
    assert istiods(lab) == ["1-30-4"] and revisions(lab) == all_of("1.30.4")
    assert lab.play(*arguments("site", **OLD)).ok().changed == []


@pytest.mark.long
def test_killed_in_the_middle_and_run_again_it_is_finished_and_nothing_was_lost(
    mesh_of_old: Lab, traffic: Traffic
) -> None:
    lab = mesh_of_old
    rings = {"upgrade_rings": [{"name": "shop", "namespaces": [SHOP], "pause": 5}]}
    argv = [str(BIN / "ansible-playbook"), *arguments("upgrade", **NEW, **rings, upgrade_skip_checks=SKIPPED)]
    running = subprocess.Popen(
        argv,
        cwd=ROOT,
        env=lab.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(240):
            if "1.31.0" in revisions(lab)["web"]:
                break
            assert running.poll() is None, "it ended before its first ring"
            time.sleep(1)
        assert revisions(lab)["istio-ingressgateway"] == ["1.30.4"]
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    played = upgrade(lab, **rings).ok()
    assert revisions(lab) == all_of("1.31.0")
    assert (
        istiods(lab) == ["1-30-4", "1-31-0"] and "Revision 1-30-4 stays" in played.text and "client" in played.text
    ), "a pod still uses it"
    lost = [result["failures"] for result in played.of("probe") if "failures" in result]
    assert lost and set(lost) == {0}, "as the role's own gates saw it"
    traffic.none_lost()
    lab.kubectl("delete", "pod", "client", "-n", SHOP)
    upgrade(lab, **rings).ok()
    assert istiods(lab) == ["1-31-0"]
    release = lab.module("release", version="1.31.0", mirror=lab.environment["LAB_RELEASES"])
    sound(lab, release["istioctl"], proxies=5)


@pytest.mark.long
def test_the_probe_sees_what_a_careless_restart_loses(mesh_of_old: Lab) -> None:
    url = Traffic.address(mesh_of_old)
    argv = [str(programs.build("standin")), "client", "-n", "1500", "-rate", "100", "-c", "100", "-timeout", "2s", url]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as running:
        time.sleep(3)
        mesh_of_old.kubectl("delete", "pods", "-n", SHOP, "-l", "app=web", "--force", "--grace-period=0")
        figures = json.loads(running.communicate(timeout=120)[0])
    assert figures["statuses"].get("200", 0) < figures["requests"], figures


@pytest.mark.long
def test_after_it_the_site_has_nothing_to_change(mesh_of_old: Lab) -> None:
    lab = mesh_of_old
    assert lab.play(*arguments("site", **NEW)).ok().changed == []
    assert upgrade(lab).ok().changed == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (OLD, "1.31 → 1.30 is a downgrade"),
        ({"release_version": "1.30.4"}, "1.31 → 1.30 is a downgrade"),
        ({**NEW, "upgrade_strategy": "revision"}, "means an upgrade in place"),
        ({**NEW, "control_plane_revision": "1.31.0"}, "DNS label"),
        ({**NEW, "upgrade_from": "nowhere"}, "no revision nowhere"),
    ],
)
def test_what_must_not_be_is_refused_before_anything_is_changed(
    mesh_of_old: Lab, variables: dict[str, str], words: str
) -> None:
    before = revisions(mesh_of_old)
    played = upgrade(mesh_of_old, **variables)
    assert played.status != 0 and words in " ".join(played.text.split()), played.text[-3000:]
    assert played.changed == [] and revisions(mesh_of_old) == before and istiods(mesh_of_old) == ["1-31-0"]


@pytest.mark.long
def test_a_mesh_without_a_revision_moves_to_one_that_has_one(elsewhere: Lab) -> None:
    """As site.yml leaves a mesh: its namespaces follow the default tag."""
    lab = elsewhere
    lab.sweep()
    try:
        lab.play(*arguments("site", release_version="1.30.4")).ok()
        assert lab.module("manifests", namespace=SHOP, definition=application(), wait_timeout=180)["changed"]
        assert revisions(lab) == all_of("1.30.4") and istiods(lab) == ["default"]
        upgrade(lab).ok()
        assert revisions(lab) == all_of("1.31.0") and istiods(lab) == ["1-31-0"]
        assert lab.play(*arguments("site", **NEW)).ok().changed == []
    finally:
        lab.sweep()


@pytest.mark.long
def test_in_place_the_same_control_plane_becomes_the_next_one(elsewhere: Lab) -> None:
    """Without a revision of its own there is no way beside: the control plane, then the workloads of each ring, then
    the gateways.
    """
    lab, old, new = elsewhere, {"release_version": "1.30.4"}, {"release_version": "1.31.0"}
    lab.sweep()
    lab.play(*arguments("site", **old)).ok()
    assert lab.module("manifests", namespace=SHOP, definition=application(), wait_timeout=180)["changed"]
    assert revisions(lab) == all_of("1.30.4")
    played = lab.play(*arguments("upgrade", **new, upgrade_skip_checks=SKIPPED)).ok()
    lost = [result["failures"] for result in played.of("probe") if "failures" in result]
    assert revisions(lab) == all_of("1.31.0") and istiods(lab) == ["default"]
    print(f"in place: the role's own probe lost {lost}")
    assert lab.play(*arguments("site", **new)).ok().changed == []
    refused = lab.play(*arguments("upgrade", **old))
    assert refused.status != 0 and "1.31 → 1.30 is a downgrade" in " ".join(refused.text.split()), refused.text[-3000:]
