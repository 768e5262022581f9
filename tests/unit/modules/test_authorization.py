# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy

import pytest
from builders import namespace, pod
from fake_istiod import FakeIstiod


@pytest.fixture
def say(run, api):
    api.put(namespace("shop"))
    return lambda check=False, **options: run("authorization", check=check, name="web", namespace="shop", **options)


def there(api):
    return sorted(name for _group, kind, _namespace, name in api.objects if kind == "AuthorizationPolicy")


def test_create_change_and_delete_each_also_in_check_mode_and_again(api, say):
    one, both = (
        {"allow": [{"from": {"namespaces": ["shop"]}}]},
        {
            "default": "deny",
            "deny": [{"to": {"methods": ["PUT"]}}],
        },
    )
    for options, names in (
        (one, ["web-allow"]),
        (both, ["web-allow", "web-deny"]),
        ({"deny": both["deny"]}, ["web-deny"]),
        ({"state": "absent"}, []),
    ):
        before = copy.deepcopy(api.objects)
        planned = say(check=True, **options)
        assert planned["changed"] and api.objects == before
        done = say(**options)
        assert done["changed"] and done["diff"] == planned["diff"] and there(api) == names
        again = say(**options)
        assert (again["changed"], again["diff"], again["summary"]["dry_runs"]) == (False, [], 0)


def test_what_others_made_stays(api, say):
    theirs = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "web-deny", "namespace": "shop"},
        "spec": {"action": "DENY"},
    }
    api.put(theirs)
    assert say(default="deny")["changed"] and there(api) == ["web-allow", "web-deny"]
    refused = say(state="absent")
    assert (
        refused["failure"]["code"] == "not_ours"
        and "web-deny" in refused["msg"]
        and there(api) == ["web-allow", "web-deny"]
    )


def test_bad_options_have_a_code_and_write_nothing(api, say):
    before = copy.deepcopy(api.objects)
    refused = say(allow=[{"from": {"service_accounts": ["web"]}}])
    assert (
        refused["failure"]["code"] == "service_account_invalid"
        and "allow[1].from.service_accounts" in refused["msg"]
        and api.objects == before
    )


RULE = {"allow": [{"to": {"paths": ["/a"]}}]}


def test_proxies_of_the_workload_must_have_it_and_nobody_elses(api, say):
    FakeIstiod(api, proxies=("web-1.shop", "cart-1.shop"))
    assert "2 proxies" in say(**RULE)["verified"][0], "no pod is there that it could be for"
    api.put(pod("web-1", "shop", {"app": "web"}))
    assert say(workload={"app": "cart"}, **RULE)["changed"]
    refused = say(workload={"app": "web"}, wait_timeout=1, **RULE)
    assert refused["failure"]["code"] == "proxies_not_synced" and refused["changed"]
    assert "cart-1.shop/config_dump" not in [path for _method, path in api.requests]


def test_a_policy_of_istiods_own_namespace_is_for_the_whole_mesh(run, api):
    FakeIstiod(api, proxies=("web-1.shop",))
    refused = run("authorization", name="all", namespace="istio-system", wait_timeout=1, **RULE)
    assert refused["failure"]["code"] == "proxies_not_synced"
