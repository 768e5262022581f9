# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from memory_api import MemoryApi
from sound_mesh import SYSTEM, SoundMesh, istiod, proxied


@pytest.fixture
def check(runner):
    """check(mesh, **options) -> result"""
    return lambda mesh, check=False, **options: runner(
        mesh.api() if isinstance(mesh, SoundMesh) else mesh, "mesh_check", check=check, **options
    )


def by_status(result, status):
    return [row["code"] for row in result["checks"] if row["status"] == status]


@pytest.mark.parametrize(
    "options", [{}, {"phase": "install", "version": "1.31.0"}, {"phase": "upgrade", "version": "1.31.0"}]
)
def test_a_sound_mesh_passes_at_the_strictest(check, options):
    result = check(SoundMesh(), fail_on="warning", unknown_fails=True, **options)
    assert "failed" not in result, result.get("msg")
    assert result["changed"] is False and by_status(result, "passed") == [row["code"] for row in result["checks"]]
    assert result["summary"] == {
        "passed": len(result["checks"]),
        "failed": 0,
        "unknown": 0,
        "skipped": 0,
        "errors": 0,
        "warnings": 0,
    }


def test_it_only_reads_and_no_secret_at_all(check):
    api = SoundMesh().api()
    for options in ({}, {"phase": "install"}, {"phase": "upgrade", "version": "1.32.0"}):
        check(api, **options)
    assert api.writes() == [] and not [path for _method, path in api.requests if "secrets" in path]


def test_check_mode_sees_the_same(check):
    real, checked = check(SoundMesh()), check(SoundMesh(), check=True)
    assert real["checks"] == checked["checks"]


@pytest.mark.parametrize(("fail_on", "failed"), [("never", False), ("error", False), ("warning", True)])
def test_a_warning_fails_the_play_only_where_warnings_are_to(check, fail_on, failed):
    mesh = SoundMesh()
    mesh.put(*istiod(ready=1))
    result = check(mesh, fail_on=fail_on)
    assert result.get("failed", False) is failed and by_status(result, "failed") == ["istiod_incomplete"]
    assert (result["summary"]["errors"], result["summary"]["warnings"]) == (0, 1)


@pytest.mark.parametrize(("fail_on", "failed"), [("never", False), ("error", True), ("warning", True)])
def test_an_error_fails_the_play_unless_nothing_is_to(check, fail_on, failed):
    mesh = SoundMesh()
    mesh.put(proxied("web-a", version="1.29.0", owner="web-1"))
    result = check(mesh, fail_on=fail_on)
    assert result.get("failed", False) is failed and by_status(result, "failed") == ["proxies_too_old"]


def test_a_word_of_information_never_fails_the_play(check):
    mesh = SoundMesh()
    mesh.drop("PeerAuthentication")
    result = check(mesh, fail_on="warning")
    assert "failed" not in result and by_status(result, "failed") == ["mtls_permissive"]
    assert (result["summary"]["failed"], result["summary"]["errors"], result["summary"]["warnings"]) == (1, 0, 0)


def test_the_message_has_cause_and_remedy_of_what_failed_and_the_result_all_checks(check):
    mesh = SoundMesh()
    mesh.put(*istiod(ready=0))
    result = check(mesh)
    assert (
        result["failure"]["code"] == "checks_failed"
        and result["failure"]["reason"] == "istiod_unavailable, webhook_unanswered"
    )
    assert (
        "Deployment istio-system/istiod: it has no ready replica. Check the events and logs of its pods."
        in result["msg"]
    )
    assert "no pod that it selects can start" in result["msg"] and "proxies_rejected" not in result["msg"]
    assert (
        by_status(result, "failed") == ["istiod_unavailable", "webhook_unanswered"] and result["summary"]["passed"] > 40
    )
    assert set(by_status(result, "unknown")) == {"proxies_disconnected", "proxies_not_synced", "proxies_rejected"}


def test_a_cluster_without_a_mesh_is_ready_for_one_and_is_none(check):
    api = MemoryApi({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    assert "failed" not in check(api, phase="install", version="1.31.0", fail_on="warning", unknown_fails=True)
    result = check(api)
    assert result["failure"]["reason"] == "control_plane_missing, root_missing"


@pytest.mark.parametrize(("unknown_fails", "failed"), [(False, False), (True, True)])
def test_what_is_unknown_fails_where_it_is_to(check, unknown_fails, failed):
    mesh = SoundMesh()
    mesh.mute = True
    result = check(mesh, unknown_fails=unknown_fails)
    assert result.get("failed", False) is failed and result["summary"]["unknown"] == 3
    assert (
        not failed
        or "proxies_rejected (error, unknown): cannot read the proxy status from istiod istio-system/istiod-0"
        in result["msg"]
    )


def test_skipped_checks_are_told_as_such_and_cost_nothing(check):
    mesh = SoundMesh()
    mesh.put(*istiod(ready=0))
    api = mesh.api()
    result = check(
        api, skip=["istiod_unavailable", "webhook_unanswered", "crds_old", "crds_terminating", "gateway_api_old"]
    )
    assert "failed" not in result, result["msg"]
    assert result["summary"]["skipped"] == 5 and not [
        path for _method, path in api.requests if "customresourcedefinitions" in path
    ]


def test_a_gate_in_a_rollout_looks_at_its_namespace_alone(check):
    mesh = SoundMesh()
    mesh.put(proxied("late", "plain", version="1.29.0"))
    assert check(mesh)["failure"]["reason"] == "proxies_too_old, proxies_disconnected"
    assert "failed" not in check(mesh, namespaces=["shop"])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"skip": ["istiod_singel"]}, "no_such_check", "Did you mean istiod_single?"),
        ({"namespaces": ["shpo"]}, "no_such_namespace", "namespaces: namespace shpo does not exist"),
        ({"phase": "upgrade", "version": "newest"}, "invalid_option", "version: 'newest'"),
        ({"phase": "upgrade", "version": "1.31.0", "revision": "1.31.0"}, "invalid_option", "revision: '1.31.0'"),
    ],
)
def test_what_cannot_be_meant_is_refused(check, options, code, words):
    result = check(SoundMesh(), **options)
    assert result["failure"]["code"] == code and words in result["msg"] and "checks" not in result


def test_an_upgrade_needs_its_version(check):
    api = SoundMesh().api()
    assert "version" in check(api, phase="upgrade")["msg"] and api.requests == []


@pytest.mark.parametrize(("status", "code"), [(0, "unreachable"), (401, "unauthorized")])
def test_a_server_that_cannot_be_asked_is_no_check_that_failed(check, status, code):
    api = SoundMesh().api()
    api.faults[("GET", "/api/v1/pods")] = [ApiError(status, "", "no")]
    result = check(api, fail_on="never")
    assert result["failed"] and result["failure"]["code"] == code


def test_an_account_that_may_read_nothing_learns_that_and_no_more(check):
    api = SoundMesh().api()
    request = api.request

    def forbid(method, path, *rest, **more):
        if path.startswith(("/api/v1/", "/apis/")) and path.count("/") > 2:
            raise ApiError(403, "Forbidden", f"no right to {path}")
        return request(method, path, *rest, **more)

    api.request = forbid
    result = check(api)
    assert (
        "failed" not in result
        and by_status(result, "passed") == []
        and set(by_status(result, "unknown")) == {row["code"] for row in result["checks"]}
    )


def test_the_namespace_of_the_control_plane_is_the_one_that_is_named(check):
    mesh = SoundMesh()
    result = check(mesh, istio_namespace="shop", fail_on="never")
    assert "control_plane_missing" in by_status(result, "failed")
    row = next(row for row in result["checks"] if row["code"] == "control_plane_missing")
    assert SYSTEM in row["cause"]
