# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._proxy import plaintext
from builders import namespace, pod

TEXT = (
    '[2030-01-01T00:00:00.000Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 2 1 1 "-" "curl" "id" "web" "10.0.0.1:8080"'
    " inbound|8080|| 127.0.0.6:4 10.0.0.1:8080 10.0.0.{}:5 {} default"
)
OUT = (
    '[2030-01-01T00:00:00.000Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 2 1 1 "-" "curl" "id" "web" "10.0.0.3:80"'
    " outbound|80||x 10.0.0.1:4 10.0.0.3:80 10.0.0.1:5 - default"
)
SNI = "outbound_.80_._.web.shop.svc.cluster.local"


def entry(caller, name, cluster="inbound|8080||"):
    return json.dumps({"upstream_cluster": cluster, "downstream_remote_address": caller, "requested_server_name": name})


@pytest.mark.parametrize(
    ("log", "seen"),
    [
        ("", (set(), 0)),
        ("2030-01-01T00:00:00Z\tinfo\tnothing", (set(), 0)),
        (TEXT.format(7, "-"), ({"10.0.0.7"}, 0)),
        (TEXT.format(8, SNI), (set(), 1)),
        (OUT, (set(), 0)),
        (entry("10.0.0.7:1", None), ({"10.0.0.7"}, 0)),
        (entry("[fd00::7]:1", "-"), ({"fd00::7"}, 0)),
        (entry("10.0.0.8:1", SNI), (set(), 1)),
        (entry("10.0.0.8:1", None, "outbound|80||x"), (set(), 0)),
        ("{not json", (set(), 0)),
        (
            "\n".join([TEXT.format(7, "-"), TEXT.format(8, SNI), entry("10.0.0.9:1", None)]),
            ({"10.0.0.7", "10.0.0.9"}, 1),
        ),
    ],
)
def test_an_access_log_tells_who_called_without_tls(log, seen):
    assert plaintext.parse_access_log(log) == seen


@pytest.fixture
def shop(api, monkeypatch):
    api.put(namespace("shop"))
    for name, address in (("web-1", "10.0.0.1"), ("batch", "10.0.0.7")):
        obj = pod(name, "shop", {"app": name})
        obj["status"]["podIPs"] = [{"ip": address}]
        if name == "web-1":
            obj["spec"].setdefault("containers", []).append({"name": "istio-proxy"})
        api.put(obj)
    api.logs = {}
    api.metrics = {}
    monkeypatch.setattr(plaintext, "_metrics", lambda _cluster, obj: api.metrics.get(obj["metadata"]["name"], ""))
    monkeypatch.setattr(plaintext, "_log", lambda _cluster, obj, _seconds: api.logs.get(obj["metadata"]["name"], ""))
    return api


@pytest.fixture
def say(run, shop):
    return lambda check=False, **options: run("mtls", check=check, namespace="shop", **options)


def mode(api):
    obj = api.get("PeerAuthentication", "default", "shop")
    return obj and obj["spec"]["mtls"]["mode"]


def test_create_change_and_delete_each_also_in_check_mode_and_again(shop, say):
    shop.logs["web-1"] = TEXT.format(8, SNI)
    for options, seen in (
        ({"mode": "strict"}, "STRICT"),
        ({"mode": "permissive"}, "PERMISSIVE"),
        ({"state": "absent"}, None),
    ):
        before = copy.deepcopy(shop.objects)
        planned = say(check=True, **options)
        assert planned["changed"] and shop.objects == before
        done = say(**options)
        assert done["changed"] and done["diff"] == planned["diff"] and mode(shop) == seen and not done.get("warnings")
        again = say(**options)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)


def test_who_would_be_shut_out_is_named_and_may_be_when_told(shop, say):
    shop.logs["web-1"] = "\n".join([TEXT.format(8, SNI), TEXT.format(7, "-"), entry("192.0.2.1:1", None)])
    refused = say(mode="strict")
    assert (
        refused["failure"]["code"] == "plaintext_callers"
        and "shop/batch" in refused["msg"]
        and "192.0.2.1" in refused["msg"]
        and mode(shop) is None
    )
    assert "plaintext_callers" in str(say(check=True, mode="strict")["warnings"])
    assert (
        say(mode="permissive")["changed"]
        and say(mode="strict", plaintext_callers="ignore")["changed"]
        and mode(shop) == "STRICT"
    )
    assert not say(mode="strict")["changed"], "what is so already shuts nobody out any more"


def test_where_no_log_tells_of_a_call_it_is_unknown(shop, say):
    done = say(mode="strict")
    assert done["changed"] and "unknown" in str(done["warnings"]) and "web-1" in str(done["warnings"])
    assert "pods without a sidecar: shop/batch" in str(done["warnings"]), "who could be meant"


COUNTED = 'istio_requests_total{{reporter="{}",response_code="200",connection_security_policy="{}"}} {}'


@pytest.mark.parametrize(
    ("metrics", "seen"),
    [
        ("", (0, 0)),
        (COUNTED.format("destination", "none", 3), (3, 0)),
        (COUNTED.format("source", "none", 3), (0, 0)),
        (COUNTED.format("destination", "unknown", 3), (0, 0)),
        (
            "\n".join(
                [
                    COUNTED.format("destination", "none", "1e+01"),
                    COUNTED.format("destination", "mutual_tls", 5),
                    COUNTED.format("destination", "mutual_tls", 2),
                ]
            ),
            (10, 7),
        ),
        (COUNTED.format("destination", "none", 3).replace("requests", "request_bytes"), (0, 0)),
    ],
)
def test_a_proxys_metrics_tell_how_many_called_without_tls(metrics, seen):
    assert plaintext.parse_metrics(metrics) == seen


def test_where_logs_say_nothing_what_was_counted_does(shop, say):
    shop.metrics["web-1"] = COUNTED.format("destination", "none", 3)
    refused = say(mode="strict")
    assert (
        refused["failure"]["code"] == "plaintext_callers"
        and "3 at web-1" in refused["msg"]
        and "telemetry" in refused["failure"]["hint"]
        and mode(shop) is None
    )
    shop.metrics["web-1"] = COUNTED.format("destination", "mutual_tls", 3)
    done = say(mode="strict")
    assert done["changed"] and not done.get("warnings")


def test_of_a_log_that_holds_more_than_is_read_the_proxys_own_count_tells_the_rest(shop, say, monkeypatch):
    monkeypatch.setattr(plaintext, "MOST_LINES", 3)
    shop.logs["web-1"] = "\n".join([TEXT.format(8, SNI)] * 3) + "\n"
    assert "or more than is read" in str(say(check=True, mode="strict")["warnings"])
    shop.metrics["web-1"] = COUNTED.format("destination", "none", 3)
    assert say(mode="strict")["failure"]["code"] == "plaintext_callers"
    shop.metrics["web-1"] = COUNTED.format("destination", "mutual_tls", 3)
    assert say(mode="strict")["changed"]


CALLED = "\n".join([TEXT.format(8, SNI), TEXT.format(7, "-")])


def policy(name="default", place="shop", **spec):
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": name, "namespace": place},
        "spec": spec,
    }


WEB = {"name": "web", "workload": {"app": "web-1"}}
STRICT, PERMISSIVE = {"mode": "STRICT"}, {"mode": "PERMISSIVE"}
BECOMES = {
    "a port that was left": (
        [policy("web", mtls=STRICT, selector={"matchLabels": {"app": "web-1"}}, portLevelMtls={"8080": PERMISSIVE})],
        {**WEB, "mode": "strict"},
    ),
    "one port": ([], {**WEB, "mode": "permissive", "ports": {"8080": "strict"}}),
    "other pods": ([policy("web", mtls=STRICT, selector={"matchLabels": {"app": "other"}})], {**WEB, "mode": "strict"}),
    "as the mesh says": ([policy(place="istio-system", mtls=STRICT)], {"mode": "inherit"}),
    "the end of an exception": (
        [policy(mtls=PERMISSIVE), policy(place="istio-system", mtls=STRICT)],
        {"state": "absent"},
    ),
    "the end of a workload's exception": (
        [policy(mtls=STRICT), policy("web", mtls=PERMISSIVE, selector={"matchLabels": {"app": "web-1"}})],
        {**WEB, "state": "absent"},
    ),
}


@pytest.mark.parametrize("case", BECOMES)
def test_wherever_tls_becomes_a_must_callers_are_looked_for(shop, say, case):
    objects, options = BECOMES[case]
    for obj in [pod("istiod-1", "istio-system", {"app": "istiod"}), *objects]:
        shop.put(
            {
                **obj,
                "metadata": {
                    **obj["metadata"],
                    "labels": {
                        **obj["metadata"].get("labels", {}),
                        "app.kubernetes.io/managed-by": "servicemesh.istio",
                    },
                },
            }
        )
    shop.logs["web-1"] = CALLED
    before = copy.deepcopy(shop.objects)
    assert say(**options)["failure"]["code"] == "plaintext_callers" and shop.objects == before
    assert "failed" not in say(**options, plaintext_callers="ignore", force_conflicts=True)


def test_a_port_that_is_left_to_them_shuts_nobody_out(shop, say):
    shop.logs["web-1"] = CALLED
    assert say(**WEB, mode="strict", ports={"8080": "permissive"})["changed"]


def test_ports_of_a_workload(shop, say):
    assert say(
        name="web", mode="strict", workload={"app": "web"}, ports={"9090": "disable"}, plaintext_callers="ignore"
    )["changed"]
    assert shop.get("PeerAuthentication", "web", "shop")["spec"] == {
        "mtls": {"mode": "STRICT"},
        "selector": {"matchLabels": {"app": "web"}},
        "portLevelMtls": {"9090": {"mode": "DISABLE"}},
    }


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"mode": "strict", "ports": {"80": "strict"}}, "ports_need_workload"),
        ({"mode": "strict", "workload": {"a": "b"}, "ports": {"80": "STRICT"}}, "mode_unknown"),
        ({"mode": "strict", "workload": {"a": "b"}, "ports": {"http": "strict"}}, "port_invalid"),
        ({"mode": "strict", "access_log_window": "long"}, "duration_invalid"),
    ],
)
def test_bad_options_have_a_code_and_write_nothing(shop, say, options, code):
    before = copy.deepcopy(shop.objects)
    assert say(**options)["failure"]["code"] == code and shop.objects == before
