# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import builders
import fake_istioctl
import pytest
from builders import actions
from memory_api import MemoryApi

HOOK, SERVICE = "istio-revision-tag-stable", "istiod-revision-tag-stable"


@pytest.fixture
def api():
    memory = MemoryApi(builders.namespace("shop"))
    memory.controllers["MutatingWebhookConfiguration"] = fake_istioctl.arm
    return memory


@pytest.fixture
def tag(run, api, tmp_path):
    istioctl = str(fake_istioctl.write(tmp_path))
    run("control_plane", istioctl=istioctl)
    run("control_plane", istioctl=istioctl, revision="canary", profile="minimal")
    api.requests.clear()
    return lambda name="stable", check=False, **options: run(
        "revision_tag",
        check=check,
        name=name,
        **({} if options.get("state") == "absent" else {"istioctl": istioctl}),
        **options,
    )


def revision(api, name=HOOK):
    found = api.get("MutatingWebhookConfiguration", name)
    return found and found["metadata"]["labels"]["istio.io/rev"]


def test_a_tag_comes_moves_and_goes_each_also_in_check_mode_and_again(api, tag):
    for options, there in (
        ({"revision": "default"}, "default"),
        ({"revision": "canary"}, "canary"),
        ({"state": "absent"}, None),
    ):
        before = revision(api)
        planned = tag(check=True, **options)
        assert planned["changed"] and revision(api) == before
        done = tag(**options)
        assert done["changed"] and actions(done) == actions(planned) and revision(api) == there
        assert not tag(**options)["changed"] and not tag(check=True, **options)["changed"]
    assert (
        api.get("Service", SERVICE, "istio-system") is None
        and api.get("ConfigMap", "istio-revision-tag-stable", "istio-system") is None
    )


def test_it_is_a_webhook_and_a_service_and_waits_for_the_ca(api, tag):
    done = tag(revision="canary")
    assert set(actions(done)) == {HOOK, SERVICE, "istio-revision-tag-stable"} and done["verified"] == [
        f"webhooks have their CA: {HOOK}"
    ]
    assert done["tag"] == {"name": "stable", "revision": "", "namespaces": []}
    assert tag(revision="default")["tag"]["revision"] == "canary", "as it was found"


def test_the_default_tag_moves_with_its_validator_and_is_lost_to_neither_set(api, tag):
    done = tag("default", revision="canary")
    assert revision(api, "istio-revision-tag-default") == "canary"
    assert (
        api.get("ValidatingWebhookConfiguration", "istiod-default-validator")["metadata"]["labels"]["istio.io/rev"]
        == "canary"
    )
    assert done["changed"] and not tag("default", revision="canary")["changed"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"revision": "nowhere"}, "no_such_revision"),
        ({"revision": "Canary_1"}, "invalid_option"),
        ({"name": "a.b", "revision": "canary"}, "invalid_option"),
        ({"name": "canary", "revision": "default"}, "tag_is_revision"),
    ],
)
def test_a_tag_that_points_nowhere_is_refused(api, tag, options, code):
    result = tag(**options)
    assert result["failure"]["code"] == code and result["failure"]["hint"] and api.writes() == []


def test_in_check_mode_a_revision_may_still_come(tag):
    planned = tag(check=True, revision="nowhere")
    assert planned["changed"] and "no_such_revision" in str(planned["warnings"])


def test_a_tag_that_namespaces_use_stays_unless_told(api, tag):
    tag(revision="canary")
    api.put({**builders.namespace("shop"), "metadata": {"name": "shop", "labels": {"istio.io/rev": "stable"}}})
    refused = tag(state="absent")
    assert refused["failure"]["code"] == "tag_in_use" and "shop" in refused["msg"] and revision(api) == "canary"
    assert tag(state="absent", force=True)["changed"] and revision(api) is None
