# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may call what, as data."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.policies.authorization import AUTHORIZATION


def asked(**options):
    return {
        "name": "web",
        "namespace": "shop",
        "workload": {},
        "allow": None,
        "deny": [],
        "default": None,
        "dry_run": False,
        **options,
    }


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        ({}, {}),
        ({"from": {"service_accounts": ["shop/web"]}}, {"from": [{"source": {"principals": ["*/ns/shop/sa/web"]}}]}),
        (
            {"from": [{"namespaces": ["a"]}, {"not_ips": ["10.0.0.0/8"]}]},
            {"from": [{"source": {"namespaces": ["a"]}}, {"source": {"notIpBlocks": ["10.0.0.0/8"]}}]},
        ),
        (
            {"from": {"service_accounts": "a/b", "principals": ["td/ns/c/sa/d"]}},
            {"from": [{"source": {"principals": ["*/ns/a/sa/b", "td/ns/c/sa/d"]}}]},
        ),
        (
            {"to": {"methods": ["GET"], "paths": ["/a*"], "ports": [80], "hosts": ["x"]}},
            {"to": [{"operation": {"methods": ["GET"], "paths": ["/a*"], "ports": ["80"], "hosts": ["x"]}}]},
        ),
        ({"to": {"not_paths": ["/a"]}}, {"to": [{"operation": {"notPaths": ["/a"]}}]}),
        (
            {"when": [{"key": "request.headers[x-a]", "values": ["1"], "not_values": ["2"]}]},
            {"when": [{"key": "request.headers[x-a]", "values": ["1"], "notValues": ["2"]}]},
        ),
    ],
)
def test_a_rule_in_istios_words(rule, written):
    (obj,) = AUTHORIZATION.desired_objects(asked(allow=[rule]))
    assert obj["metadata"] == {"name": "web-allow", "namespace": "shop"} and obj["spec"] == {
        "action": "ALLOW",
        "rules": [written],
    }


def test_what_is_allowed_and_what_is_denied_are_two_objects_of_one_workload():
    allow, deny = AUTHORIZATION.desired_objects(
        asked(workload={"app": "web"}, allow=[{}], deny=[{"to": {"methods": ["DELETE"]}}], dry_run=True)
    )
    assert [obj["spec"]["action"] for obj in (allow, deny)] == ["ALLOW", "DENY"] and deny["metadata"][
        "name"
    ] == "web-deny"
    assert all(
        obj["spec"]["selector"] == {"matchLabels": {"app": "web"}}
        and obj["metadata"]["annotations"] == {"istio.io/dry-run": "true"}
        for obj in (allow, deny)
    )


def test_nothing_is_allowed_by_default_or_by_an_empty_list():
    for options in ({"default": "deny"}, {"allow": []}):
        (obj,) = AUTHORIZATION.desired_objects(asked(**options))
        assert obj["spec"] == {"action": "ALLOW"}
    (obj,) = AUTHORIZATION.desired_objects(asked(default="allow", deny=[{}]))
    assert obj["spec"]["action"] == "DENY"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "authorization_empty"),
        ({"default": "allow"}, "authorization_empty"),
        ({"default": "allow", "allow": [{}]}, "authorization_ambiguous"),
        ({"allow": [{"nowhere": 1}]}, "key_unknown"),
        ({"allow": [{"from": {"nobody": 1}}]}, "key_unknown"),
        ({"allow": [{"from": [{}]}]}, "list_empty"),
        ({"allow": [{"from": {"namespaces": []}}]}, "list_empty"),
        ({"allow": [{"from": {"service_accounts": ["web"]}}]}, "service_account_invalid"),
        ({"deny": [{"to": {"methods": ["get"]}}]}, "method_invalid"),
        ({"deny": [{"to": {"ports": ["http"]}}]}, "port_invalid"),
        ({"deny": [{"to": {"paths": ["a"]}}]}, "path_invalid"),
        ({"deny": [{"to": [{}]}]}, "list_empty"),
        ({"deny": [{"when": [{"key": "request.nowhere", "values": ["a"]}]}]}, "condition_unknown"),
        ({"deny": [{"when": [{"key": "source.ip"}]}]}, "list_empty"),
    ],
)
def test_what_cannot_be_meant(options, code):
    with pytest.raises(InvalidOption) as refused:
        AUTHORIZATION.desired_objects(asked(**options))
    assert refused.value.code == code


def test_a_proxy_shows_a_policy_by_the_names_of_its_rules_and_their_paths():
    (obj,) = AUTHORIZATION.desired_objects(asked(allow=[{"to": {"paths": ["/a*", "/{*}"]}}, {}]))
    assert AUTHORIZATION.proxy_markers(obj) == [
        "ns[shop]-policy[web-allow]-rule[0]",
        "ns[shop]-policy[web-allow]-rule[1]",
        "/a",
    ]
    (obj,) = AUTHORIZATION.desired_objects(asked(default="deny"))
    assert AUTHORIZATION.proxy_markers(obj) == []
