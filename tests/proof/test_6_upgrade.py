# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From 1.30 to 1.31 under traffic, back where it fails, on where it was cut off. On a cluster of its own; the tests stand on each other, in order."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from playing import BIN, ROOT, SECOND, Lab, Played

pytestmark = pytest.mark.long

OLD, NEW = {"release_version": "1.30.4", "control_plane_revision": "1-30-4"}, {"release_version": "1.31.0", "control_plane_revision": "1-31-0"}
SHOP = "shop"
RECORD = "/var/upgrade-record"
RATE = 150
REQUESTS = 30_000
# Only the mesh: its application is the one below.
BARE = {"site_demo": False, "site_addons": False, "site_traffic": False, "site_summary": False, "site_namespaces": [{"name": SHOP}]}
PROBE = {"gateway": "istio-system/istio-ingressgateway", "path": "/robots.txt"}
NEIGHBOURS = ("PRODUCT_CATALOG", "CURRENCY", "CART", "RECOMMENDATION", "SHIPPING", "CHECKOUT", "AD", "SHOPPING_ASSISTANT")


def version(name: str) -> dict[str, Any]:
    """Two pods of one version, which leave as an application should: they still answer while others hear of it."""
    env = {**{f"{neighbour}_SERVICE_ADDR": "nowhere:1" for neighbour in NEIGHBOURS}, "GRACE": "12s", "RECORD": "/record"}
    container = {
        "name": "server", "image": "localhost/lab/frontend:stand-in", "ports": [{"containerPort": 8080}],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": "/_healthz", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "record", "mountPath": "/record"}],
    }  # fmt: skip
    labels = {"app": "web", "version": name}
    spec = {"containers": [container], "volumes": [{"name": "record", "hostPath": {"path": RECORD, "type": "DirectoryOrCreate"}}], "securityContext": {"runAsUser": 0}}
    metadata = {"name": f"web-{name}", "namespace": SHOP, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}}


def application() -> list[dict[str, Any]]:
    """The service, its two versions, and the way from outside. Nothing sends a request twice."""
    host = f"web.{SHOP}.svc.cluster.local"
    route = [{"destination": {"host": host, "subset": name}, "weight": 50} for name in ("v1", "v2")]
    routes = {"hosts": ["*"], "gateways": ["ingress"], "http": [{"route": route, "retries": {"attempts": 0}}]}
    networking = "networking.istio.io/v1"
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": SHOP}, "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}},
        version("v1"),
        version("v2"),
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": SHOP}, "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}}},
        {"apiVersion": networking, "kind": "Gateway", "metadata": {"name": "ingress", "namespace": SHOP}, "spec": {"selector": {"istio": "ingressgateway"}, "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}},
        {"apiVersion": networking, "kind": "DestinationRule", "metadata": {"name": "web", "namespace": SHOP}, "spec": {"host": host, "subsets": [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]}},
        {"apiVersion": networking, "kind": "VirtualService", "metadata": {"name": "web", "namespace": SHOP}, "spec": routes},
    ]  # fmt: skip


def arguments(playbook: str, **variables: Any) -> list[str]:
    return [f"playbooks/{playbook}.yml", "-e", "@tests/lab/vars.yml", "-e", json.dumps({**BARE, "upgrade_probe": PROBE, "upgrade_probe_rate": RATE, **variables})]


def upgrade(lab: Lab, *more: str, **variables: Any) -> Played:
    return lab.play(*arguments("upgrade", **{**NEW, "upgrade_skip_checks": SKIPPED, **variables}), *more)


# A cluster of one node with two cores: one istiod is what there is.
SKIPPED: list[str] = []


@pytest.fixture(scope="module")
def mesh_of_old(elsewhere: Lab) -> Iterator[Lab]:
    elsewhere.sweep()
    elsewhere.play(*arguments("site", **OLD)).ok()
    assert elsewhere.module("manifests", namespace=SHOP, definition=application(), wait_timeout=180)["changed"]
    yield elsewhere
    elsewhere.sweep()


def revisions(lab: Lab) -> dict[str, list[str]]:
    """{pod's app: images of its proxies} of the shop and the gateway."""
    found: dict[str, set[str]] = {}
    for namespace in (SHOP, "istio-system"):
        for pod in lab.get("pods", "-n", namespace)["items"]:
            containers = pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
            tags = {container["image"].rpartition(":")[2] for container in containers if container["name"] == "istio-proxy"}
            if tags and not pod["metadata"].get("deletionTimestamp"):
                found.setdefault(pod["metadata"]["labels"]["app"], set()).update(tags)
    return {app: sorted(tags) for app, tags in found.items()}


def all_of(tag: str) -> dict[str, list[str]]:
    return {"web": [tag], "istio-ingressgateway": [tag]}


def istiods(lab: Lab) -> list[str]:
    return sorted(item["metadata"]["labels"]["istio.io/rev"] for item in lab.get("deployments", "-n", "istio-system", "-l", "app=istiod")["items"])


def measured(played: Played) -> dict[str, Any]:
    """The probe's last word."""
    return next(result for result in reversed(played.of("probe")) if "sent" in result)


def none_lost(played: Played) -> dict[str, Any]:
    figures = measured(played)
    print(f"lost {figures['lost']} of {figures['sent']} requests, late {figures.get('late')}, below {figures.get('upper_bound')} %")
    assert figures["lost"] == 0 and set(figures["codes"]) == {"200"}, figures
    return figures


def served(lab: Lab) -> Counter[str]:
    """How often each numbered request reached a server, over all its pods, those that are gone too."""
    lines = subprocess.run(["docker", "exec", f"{SECOND}-control-plane", "sh", "-c", f"cat {RECORD}/*"], capture_output=True, text=True, timeout=60, check=True).stdout
    return Counter(lines.splitlines())


def clean(lab: Lab) -> None:
    """istioctl itself finds nothing to complain of."""
    istioctl = lab.module("release", version="1.31.0", mirror=lab.environment["LAB_RELEASES"])["istioctl"]
    analyzed = json.loads(subprocess.run([istioctl, "analyze", "-A", "-o", "json"], env=lab.environment, capture_output=True, text=True, timeout=120, check=False).stdout or "[]")
    assert [entry for entry in analyzed if entry["level"] in ("Error", "Warning")] == []
    status = subprocess.run([istioctl, "proxy-status"], env=lab.environment, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "STALE" not in status and status.count("istio") >= 5, status


def test_a_dry_run_says_what_would_happen_and_changes_nothing(mesh_of_old: Lab) -> None:
    lab = mesh_of_old
    before = revisions(lab)
    played = upgrade(lab, "--check", "--diff").ok()
    assert revisions(lab) == before == all_of("1.30.4") and istiods(lab) == ["1-30-4"]
    named = {(row["ref"]["kind"], row["ref"]["name"]): row["action"] for result in played.of("control_plane") + played.of("restart") for row in result.get("objects", []) if row["action"] != "unchanged"}
    assert named[("Deployment", "istiod-1-31-0")] == "created" and named[("Deployment", "istio-ingressgateway")] == "configured"
    assert named[("Deployment", "web-v1")] == named[("Deployment", "web-v2")] == "configured"
    assert named[("MutatingWebhookConfiguration", "istio-revision-tag-default")] == "configured"


def test_an_image_that_does_not_start_is_taken_back_by_itself(mesh_of_old: Lab) -> None:
    lab = mesh_of_old
    played = upgrade(lab, control_plane_tag="9.9.9-nowhere")
    assert played.status != 0 and "was taken back" in played.text and "image" in played.text
    none_lost(played)
    assert istiods(lab) == ["1-30-4"] and revisions(lab) == all_of("1.30.4")
    assert lab.play(*arguments("site", **OLD)).ok().changed == []


def test_killed_in_the_middle_and_run_again_it_is_finished_and_nothing_was_lost(mesh_of_old: Lab) -> None:
    lab = mesh_of_old
    subprocess.run(["docker", "exec", f"{SECOND}-control-plane", "sh", "-c", f"rm -f {RECORD}/*"], timeout=60, check=True)
    environment = {**lab.environment, "KUBECONFIG": str(lab.kubeconfig)}
    rings = {"upgrade_rings": [{"name": "shop", "namespaces": [SHOP], "pause": 60}]}
    argv = [str(BIN / "ansible-playbook"), *arguments("upgrade", **NEW, **rings, upgrade_skip_checks=SKIPPED)]
    running = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(240):
            if "1.31.0" in revisions(lab)["web"]:
                break
            assert running.poll() is None, "it ended before its first ring"
            time.sleep(1)
        assert "1.30.4" in revisions(lab)["istio-ingressgateway"]
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    played = upgrade(lab, **rings).ok()
    figures = none_lost(played)
    assert figures["sent"] >= REQUESTS, "the probe of the killed run went on through both"
    assert istiods(lab) == ["1-31-0"] and revisions(lab) == all_of("1.31.0")
    counted = served(lab)
    assert len(counted) == figures["sent"] and set(counted.values()) == {1}, "each request reached a server once"
    clean(lab)


def test_after_it_the_site_has_nothing_to_change(mesh_of_old: Lab) -> None:
    lab = mesh_of_old
    assert lab.play(*arguments("site", **NEW)).ok().changed == []
    assert upgrade(lab).ok().changed == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (OLD, "1.31.0 → 1.30.4 is a downgrade"),
        ({"release_version": "1.30.4"}, "1.31.0 → 1.30.4 is a downgrade"),
        ({**NEW, "upgrade_strategy": "revision"}, "means an upgrade in place"),
        ({**NEW, "control_plane_revision": "1.31.0"}, "DNS label"),
        ({**NEW, "upgrade_from": "nowhere"}, "no revision nowhere"),
    ],
)
def test_what_must_not_be_is_refused_before_anything_is_changed(mesh_of_old: Lab, variables: dict[str, str], words: str) -> None:
    before = revisions(mesh_of_old)
    played = upgrade(mesh_of_old, **variables)
    assert played.status != 0 and words in " ".join(played.text.split()), played.text[-3000:]
    assert played.changed == [] and revisions(mesh_of_old) == before and istiods(mesh_of_old) == ["1-31-0"]


