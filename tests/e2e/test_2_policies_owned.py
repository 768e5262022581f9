# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose policy it is and who has it, on the lab: proxies that are behind are named, other people's routes go on, a
change goes back.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playbook_runner import Lab
from shop import BOTH, HOST, SPACE, WELL, drained, policy, send, stand_still

pytestmark = pytest.mark.long

FULL = f"web.{SPACE}.svc.cluster.local"
SHUT = {"name": "shut", "match": [{"uri": {"prefix": "/shut"}}], "directResponse": {"status": 451}}
OBJECT = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "by-hand", "namespace": SPACE},
    "spec": {"hosts": ["web"], "http": [SHUT]},
}
RULES = {"rules": [{"name": "gone", "match": {"path": "/gone"}, "direct_response": 410}]}


def asked(lab: Lab, **options: Any) -> dict[str, Any]:
    return lab.module("proxy_status", **{"wait_timeout": 20, "fail": False, **options})


def behind(result: dict[str, Any]) -> dict[str, str]:
    """{the pod's workload: verdict} of those that have not converged."""
    return {row["pod"].rsplit("-", 2)[0]: row["verdict"] for row in result["proxies"] if row["verdict"] != "synced"}


def forgotten(lab: Lab) -> None:
    """No policy, and no routes of others that would stay behind one."""
    lab.kubectl("-n", SPACE, "delete", "virtualservices,destinationrules", "--all")


@contextmanager
def traffic(lab: Lab) -> Iterator[None]:
    """Requests all the while, each sent once, none of which may be lost."""
    argv = [
        "kubectl",
        "exec",
        "-i",
        "-n",
        SPACE,
        "deploy/client",
        "-c",
        "client",
        "--",
        "standin",
        "client",
        "-n",
        "30000",
        "-rate",
        "50",
        "-c",
        "40",
        "-timeout",
        "10s",
        "-until-eof",
        f"http://web.{SPACE}{WELL}",
    ]
    with subprocess.Popen(
        argv, env=lab.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        yield
        figures = json.loads(running.communicate(timeout=60)[0])
    assert figures["statuses"] == {"200": figures["requests"]} and sum(figures["errors"].values()) == 0, figures


def test_every_proxy_of_the_mesh_has_what_it_was_sent(shop: Lab) -> None:
    result = asked(shop, fail=True)
    assert "failed" not in result and result["counts"]["synced"] == len(result["proxies"]) > 3, result
    assert all(row["istiod"].startswith("istio-system/istiod-") and row["version"] for row in result["proxies"])
    assert {row["namespace"] for row in asked(shop, namespace=SPACE)["proxies"]} == {SPACE}


def test_the_proxies_own_routes_are_those_of_the_policy(shop: Lab) -> None:
    with policy(shop, traffic_split={"versions": BOTH}, resilience={"timeout": "2s", "retries": {"attempts": 3}}):
        result = asked(shop, **HOST, fail=True)
        assert "failed" not in result and behind(result) == {}, result
        assert {"web-v1", "web-v2", "client"} <= {row["pod"].rsplit("-", 2)[0] for row in result["proxies"]}
    assert asked(shop, **HOST)["failure"]["code"] == "no_policy"


def test_a_proxy_that_stands_still_is_named_and_no_other(shop: Lab) -> None:
    stand_still(shop, "web-v1", "STOP", program="envoy")
    try:
        done = shop.module("load_balancing", **HOST, algorithm="random", wait_for_proxies=False)
        assert "failed" not in done and done["verified"] == [], done
        assert behind(asked(shop, **HOST)) == {"web-v1": "waiting"}
        failed = asked(shop, **HOST, fail=True, wait_timeout=5)
        assert (
            failed["failure"]["code"] == "proxies_not_synced"
            and "web-v1-" in failed["msg"]
            and "web-v2-" not in failed["msg"]
        ), failed
    finally:
        stand_still(shop, "web-v1", "CONT", program="envoy")
    assert behind(asked(shop, **HOST, wait_timeout=60)) == {}
    forgotten(shop)


def test_a_proxy_that_rejects_is_named_with_its_words(shop: Lab) -> None:
    value = {
        "name": "nowhere",
        "typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": "type.googleapis.com/nowhere.Filter",
            "value": {},
        },
    }
    where = {
        "context": "SIDECAR_INBOUND",
        "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}},
    }
    patches = [{"applyTo": "HTTP_FILTER", "match": where, "patch": {"operation": "INSERT_BEFORE", "value": value}}]
    metadata = {"name": "broken", "namespace": SPACE}
    broken = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": metadata,
        "spec": {"workloadSelector": {"labels": {"version": "v2"}}, "configPatches": patches},
    }
    assert "failed" not in shop.module("manifests", definition=broken)
    try:
        for _ in range(20):
            if behind(result := asked(shop, namespace=SPACE, wait_timeout=0)):
                break
            shop.kubectl("-n", SPACE, "get", "pods")
        assert behind(result) == {"web-v2": "rejected"} and "nowhere" in str(result["proxies"]), result
        assert asked(shop, namespace=SPACE, fail=True)["failure"]["code"] == "rejected"
    finally:
        assert shop.module("manifests", definition=broken, state="absent")["changed"]
    assert behind(asked(shop, namespace=SPACE, wait_timeout=60)) == {}


def test_a_route_of_somebody_else_goes_on_through_every_change(shop: Lab) -> None:
    with policy(shop, traffic_split={"versions": {"v1": 1}}):
        shop.kubectl(
            "-n",
            SPACE,
            "patch",
            "virtualservice",
            "web",
            "--type=json",
            "-p",
            json.dumps([{"op": "add", "path": "/spec/http/0", "value": SHUT}]),
        )
        drained(shop, "/shut", {"451": 100})
        for module, options in (
            ("traffic_split", {"versions": {"v2": 1}}),
            ("route", RULES),
            ("resilience", {"timeout": "2s"}),
        ):
            done = shop.module(module, **HOST, **options)
            assert "failed" not in done and done["changed"], done
            assert send(shop, "/shut")["statuses"] == {"451": 100}, module
        assert send(shop)["deployments"] == {"web-v2": 100} and send(shop, "/gone")["statuses"] == {"410": 100}
        assert shop.get("virtualservice", "web", "-n", SPACE)["spec"]["http"][0] == SHUT, "with all of its fields"
        assert not shop.module("traffic_split", **HOST, versions={"v2": 1})["changed"]
    assert send(shop, "/shut")["statuses"] == {"451": 100} and send(shop)["statuses"] == {"200": 100}, (
        "the policy is gone, theirs is not, and the rest is served"
    )
    forgotten(shop)


def test_an_object_of_somebody_else_is_refused_by_name_adopted_or_replaced(shop: Lab) -> None:
    shop.kubectl("apply", "-f", "-", text=json.dumps(OBJECT))
    drained(shop, "/shut", {"451": 100})
    refused = shop.module("route", **HOST, **RULES)
    assert refused["failure"]["code"] == "host_taken" and "by-hand" in refused["msg"], refused
    shop.kubectl("-n", SPACE, "label", "virtualservice", "by-hand", "argocd.argoproj.io/instance=web")
    kept = shop.module("route", **HOST, **RULES, adopt=True)
    assert kept["failure"]["code"] == "host_taken" and "Argo CD (application web)" in kept["msg"], kept
    shop.kubectl("-n", SPACE, "label", "virtualservice", "by-hand", "argocd.argoproj.io/instance-")
    # Behind it nothing else is served yet: it has no route for the rest.
    planned = shop.module("route", check=True, **HOST, **RULES, adopt=True)
    done = shop.module("route", **HOST, **RULES, adopt=True)
    assert "failed" not in done and done["diff"] == planned["diff"], done
    assert (
        send(shop, "/shut")["statuses"] == {"451": 100}
        and send(shop, "/gone")["statuses"] == {"410": 100}
        and send(shop)["statuses"] == {"200": 100}
    )
    assert [http["name"] for http in shop.get("virtualservice", "web", "-n", SPACE)["spec"]["http"]][1] == "shut"
    assert "by-hand" not in shop.kubectl("-n", SPACE, "get", "virtualservices", "-o", "name")
    forgotten(shop)
    shop.kubectl("apply", "-f", "-", text=json.dumps(OBJECT))
    drained(shop, "/shut", {"451": 100})
    forced = shop.module("route", **HOST, **RULES, force_conflicts=True)
    assert "failed" not in forced and send(shop, "/shut")["statuses"] == {"404": 100}, forced
    forgotten(shop)


def test_adopting_loses_no_request(shop: Lab) -> None:
    well = {
        "name": "well",
        "match": [{"uri": {"prefix": WELL}}],
        "route": [{"destination": {"host": FULL}}],
        "retries": {"attempts": 0},
    }
    shop.kubectl("apply", "-f", "-", text=json.dumps({**OBJECT, "spec": {"hosts": [FULL], "http": [well]}}))
    drained(shop, WELL, {"200": 100})
    with traffic(shop):
        done = shop.module("route", **HOST, **RULES, adopt=True)
        assert "failed" not in done, done
    forgotten(shop)


def test_a_change_goes_back_and_forth_and_loses_nothing(shop: Lab) -> None:
    silent = {"timeout": "9s", "retries": {"attempts": 0}}
    with policy(shop, resilience=silent, traffic_split={"versions": {"v1": 1}}), traffic(shop):
        assert "failed" not in shop.module("traffic_split", **HOST, versions={"v2": 1})
        for version in ("v1", "v2", "v1"):
            done = shop.module("traffic_rollback", **HOST)
            assert (
                "failed" not in done
                and done["changed"]
                and all("proxies of" in barrier for barrier in done["verified"])
            ), done
            assert send(shop)["deployments"] == {f"web-{version}": 100}
    assert shop.module("traffic_rollback", **HOST)["changed"] and send(shop)["deployments"] == {"web-v1": 100}, (
        "what was taken away is there again"
    )
    forgotten(shop)


def test_a_write_of_somebody_else_meanwhile_is_not_lost(shop: Lab) -> None:
    """The server's own word on a resourceVersion that is past."""
    with policy(shop, traffic_split={"versions": {"v1": 1}}):
        live = shop.get("virtualservice", "web", "-n", SPACE)
        shop.kubectl("-n", SPACE, "annotate", "virtualservice", "web", "moved=yes")
        metadata = {"name": "web", "namespace": SPACE, "resourceVersion": live["metadata"]["resourceVersion"]}
        stale = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata, "spec": live["spec"]}
        argv = ["kubectl", "apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "-f", "-"]
        done = subprocess.run(
            argv, env=shop.environment, input=json.dumps(stale), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode != 0 and "has been modified" in done.stderr, done
