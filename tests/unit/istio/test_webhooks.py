# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods a webhook takes, and when two webhooks take the same one."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine import selectors
from ansible_collections.servicemesh.istio.plugins.module_utils._istio import webhooks


def expression(operator, *values, key="istio.io/rev"):
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


def configuration(name, space, pod=None, suffix="sidecar-injector.istio.io"):
    return {
        "metadata": {"name": name},
        "webhooks": [{"name": f"a.{suffix}", "namespaceSelector": space, "objectSelector": pod or {}}],
    }


# Kubernetes' own rules for label selectors, NotIn on an absent key among them.
@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        (None, {}, True),
        ({}, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b", "c": "d"}, True),
        ({"matchLabels": {"a": "b"}}, {"a": "c"}, False),
        ({"matchLabels": {"a": "b"}}, {}, False),
        (expression("In", "x", "y"), {"istio.io/rev": "y"}, True),
        (expression("In", "x"), {"istio.io/rev": "y"}, False),
        (expression("In", "x"), {}, False),
        (expression("NotIn", "x"), {"istio.io/rev": "y"}, True),
        (expression("NotIn", "x"), {}, True),
        (expression("NotIn", "x"), {"istio.io/rev": "x"}, False),
        (expression("Exists"), {"istio.io/rev": "x"}, True),
        (expression("Exists"), {}, False),
        (expression("DoesNotExist"), {}, True),
        (expression("DoesNotExist"), {"istio.io/rev": "x"}, False),
        ({"matchLabels": {"a": "b"}, **expression("Exists")}, {"a": "b"}, False),
    ],
)
def test_a_selector_selects_as_kubernetes_says(selector, labels, selected):
    assert selectors.selects(selector, labels) is selected


ENABLED = expression("In", "enabled", key="istio-injection")
WANTED = configuration("ours", ENABLED)


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        (configuration("same", ENABLED), True),
        (configuration("everything", {}), True),
        (
            configuration(
                "every pod but those that say no", {}, expression("NotIn", "false", key="sidecar.istio.io/inject")
            ),
            True,
        ),
        (configuration("pods of a revision", {}, expression("In", "canary")), True),
        (configuration("namespaces of a revision", expression("In", "canary")), False),
        (configuration("namespaces that say no", expression("In", "disabled", key="istio-injection")), False),
        (configuration("no injector", ENABLED, suffix="validation.example.com"), False),
        (webhooks.deactivated(configuration("asleep", ENABLED)), False),
    ],
)
def test_two_configurations_overlap_where_both_take_one_pod(other, overlaps):
    assert bool(webhooks.overlap([WANTED], [other])) is overlaps


def test_an_overlap_names_both_and_the_labels():
    found = webhooks.overlap([WANTED], [configuration("theirs", ENABLED)])
    assert (found.first, found.second, found.namespace) == ("ours", "theirs", {"istio-injection": "enabled"})


def test_what_others_have_among_themselves_is_not_ours_to_refuse():
    others = [
        configuration("a", {"matchLabels": {"istio-injection": "disabled"}}),
        configuration("b", {"matchLabels": {"istio-injection": "disabled"}}),
    ]
    assert webhooks.overlap([WANTED], others) is None


def test_deactivating_leaves_the_original_as_it_was():
    before = configuration("ours", ENABLED)
    assert webhooks.deactivated(before) != before and before == configuration("ours", ENABLED)


def test_a_webhook_is_armed_by_a_ca_or_by_a_url():
    class Cluster:
        def __init__(self, **config):
            self.config = config

        def get(self, *_place):
            return {"webhooks": [{"clientConfig": self.config}]}

        def pause(self, _seconds):
            raise AssertionError("an armed webhook is not waited for")

    class Deadline:
        over = False

    for config in ({"caBundle": "Q0E="}, {"url": "https://istiod.example.com/inject"}):
        assert webhooks.webhooks_armed(["one"]).hold(Cluster(**config), Deadline()) == "webhooks have their CA: one"
