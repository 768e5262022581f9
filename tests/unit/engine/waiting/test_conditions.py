# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.waiting import conditions
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "status": {"loadBalancer": {}}}


def status(row, *other):
    return conditions.status_under(conditions.parse_conditions([row]), *(other or (SERVICE,)))


def test_a_condition_that_does_not_hold_keeps_an_object_from_being_current():
    query = "status.loadBalancer.ingress"
    assert (
        status({"kind": "Service", "query": query}).word == "InProgress"
        and query in status({"kind": "Service", "query": query}).message
    )
    assert status(
        {"kind": "Service", "query": query}, {**SERVICE, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    ).current


@pytest.mark.parametrize(
    "row", [{"kind": "Ingress", "query": "nothing"}, {"kind": "Service", "name": "shop", "query": "nothing"}]
)
def test_a_condition_for_others_is_no_condition(row):
    assert status(row).current


def test_what_is_not_there_is_not_asked():
    assert status({"kind": "Service", "query": "@"}, None).word == "NotFound"


def test_a_wrong_expression_is_refused_before_anything_is_done(run, api):
    with pytest.raises(InvalidOption, match="not a valid JMESPath expression"):
        conditions.parse_conditions([{"kind": "Service", "query": "status.["}])
    definition = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "shop"}}
    result = run("manifests", definition=definition, wait_for=[{"kind": "ConfigMap", "query": "status.["}])
    assert result["failure"]["code"] == "invalid_option" and api.requests == []


def test_a_condition_that_never_holds_ends_at_the_deadline_and_is_named(run):
    definition = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "namespace": "shop"},
        "data": {"a": "1"},
    }
    kept = run("manifests", definition=definition, wait_for=[{"kind": "ConfigMap", "query": "data.a == '1'"}])
    assert kept["changed"]
    result = run(
        "manifests", definition=definition, wait_for=[{"kind": "ConfigMap", "query": "data.b"}], wait_timeout=1
    )
    assert result["failure"]["code"] == "timeout" and "data.b is not true" in result["msg"]
