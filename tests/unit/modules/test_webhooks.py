# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from memory_api import MemoryApi
from sound_mesh import SoundMesh, istiod

MUTATING, VALIDATING = "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
OPENER = "servicemesh.istio-open"


@pytest.fixture
def webhooks(runner):
    """webhooks(api, state, check=False, **options) -> result"""
    return lambda api, state, check=False, **options: runner(api, "webhooks", check=check, state=state, **options)


@pytest.fixture
def mesh():
    """A mesh whose istiods are all down."""
    found = SoundMesh()
    found.put(*istiod(ready=0))
    return found


def every(api: MemoryApi, kind: str) -> list:
    return [obj for key, obj in sorted(api.objects.items()) if key[1] == kind]


def applied(api: MemoryApi) -> MemoryApi:
    """Whoever wrote the webhooks did so by server-side apply."""
    for obj in [*every(api, MUTATING), *every(api, VALIDATING)]:
        for item in obj["metadata"]["managedFields"]:
            item["operation"] = "Apply"
    return api


def back(api: MemoryApi) -> None:
    for obj in istiod():
        api.put(obj)


def policies(api: MemoryApi, kind: str) -> set[str]:
    return {hook.get("failurePolicy", "Fail") for obj in every(api, kind) for hook in obj["webhooks"]}


def order(api: MemoryApi) -> list[str]:
    return [hook["name"] for obj in every(api, MUTATING) for hook in obj["webhooks"]]


def managers(api: MemoryApi, kind: str) -> list:
    return [sorted(obj["metadata"]["managedFields"], key=lambda item: item["manager"]) for obj in every(api, kind)]


def test_what_nothing_answers_is_opened_and_closed_again_as_it_was(webhooks, mesh):
    api = applied(mesh.api())
    before, entries = managers(api, MUTATING), order(api)
    assert entries != sorted(entries)
    planned = webhooks(api, "open", check=True)
    assert policies(api, MUTATING) == policies(api, VALIDATING) == {"Fail"} and planned["changed"]
    opened = webhooks(api, "open")
    assert opened["summary"]["configured"] == planned["summary"]["configured"] == len(opened["webhooks"]) == 3
    assert policies(api, MUTATING) == policies(api, VALIDATING) == {"Ignore"}
    assert not webhooks(api, "open")["changed"] and policies(api, MUTATING) == {"Ignore"}

    back(api)
    assert webhooks(api, "closed", check=True)["changed"] and policies(api, MUTATING) == {"Ignore"}
    closed = webhooks(api, "closed")
    assert closed["webhooks"] == opened["webhooks"] and closed["changed"]
    assert (
        policies(api, MUTATING) == policies(api, VALIDATING) == {"Fail"}
        and managers(api, MUTATING) == before
        and order(api) == entries
    )
    assert not webhooks(api, "closed")["changed"]


def test_what_something_answers_stays_closed_unless_told(webhooks):
    api = SoundMesh().api()
    assert not webhooks(api, "open")["changed"] and policies(api, MUTATING) == {"Fail"}
    assert webhooks(api, "open", force=True)["changed"] and policies(api, MUTATING) == policies(api, VALIDATING) == {
        "Ignore"
    }


def test_what_nothing_answers_is_not_closed_unless_told(webhooks, mesh):
    api = mesh.api()
    webhooks(api, "open")
    refused = webhooks(api, "closed")
    assert (
        refused["failure"]["code"] == "webhook_unanswered"
        and "Service istio-system/istiod has no ready endpoint" in refused["msg"]
    )
    assert policies(api, MUTATING) == {"Ignore"}
    assert webhooks(api, "closed", force=True)["changed"] and policies(api, MUTATING) == {"Fail"}


def test_only_what_this_module_opened_is_closed(webhooks, mesh):
    name = mesh.get(VALIDATING, "istiod-default-validator")["metadata"]["name"]
    mesh.get(VALIDATING, name)["webhooks"][0]["failurePolicy"] = "Ignore"
    api = mesh.api()
    webhooks(api, "open")
    back(api)
    webhooks(api, "closed")
    assert api.get(VALIDATING, name)["webhooks"][0]["failurePolicy"] == "Ignore"


def test_what_istiod_has_closed_itself_is_left_to_it(webhooks, mesh):
    api = mesh.api()
    webhooks(api, "open")
    back(api)
    for obj in every(api, VALIDATING):
        wanted = {
            **{key: obj[key] for key in ("apiVersion", "kind")},
            "metadata": {"name": obj["metadata"]["name"]},
            "webhooks": [{"name": hook["name"], "failurePolicy": "Fail"} for hook in obj["webhooks"]],
        }
        api.put(wanted, "pilot-discovery")
    closed = webhooks(api, "closed")
    assert [name for name in closed["webhooks"] if name.startswith(VALIDATING)] == []


def test_objects_that_nobody_applies_fall_back_to_the_default(webhooks, mesh):
    api = mesh.api()
    webhooks(api, "open")
    back(api)
    assert webhooks(api, "closed")["changed"]
    assert policies(api, MUTATING) == policies(api, VALIDATING) == {"Fail"}
    assert not [
        item
        for obj in every(api, MUTATING)
        for item in obj["metadata"]["managedFields"]
        if item["manager"] == OPENER and item["fieldsV1"]
    ]


def test_without_a_right_to_read_nothing_is_changed(webhooks, mesh):
    api = mesh.api()
    api.faults[("GET", "/api/v1/pods")] = [ApiError(403, "Forbidden", "pods is forbidden")]
    refused = webhooks(api, "open")
    assert refused["failure"]["code"] == "forbidden" and api.writes() == []
