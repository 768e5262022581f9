# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs from what is declared: the report as a function of results, and a real drift.yml beside a cluster in
memory.
"""

from __future__ import annotations

import copy
import json
import re
import stat

import builders
import fake_istioctl
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.servicemesh.istio.plugins.filter.drift import FilterModule
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.api import ApiError
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from ansible_collections.servicemesh.istio.plugins.plugin_utils.drift import drift
from collection import ROOT, arguments, calls, load, tasks
from memory_api import MemoryApi
from memory_server import kubeconfig, play, serve

DEMO = "online-boutique"


def row(name, action, group="", kind="ConfigMap", conflicts=()):
    ref = {"group": group, "version": "v1", "kind": kind, "namespace": "shop", "name": name}
    return {"ref": ref, "action": action, "conflicts": list(conflicts), "status": "", "message": ""}


def entry(name, action, before, after, kind="ConfigMap"):
    return {
        "before": before,
        "after": after,
        "before_header": f"{kind} shop/{name}",
        "after_header": f"{kind} shop/{name} ({action})",
    }


def result(*rows, diff=(), **more):
    return {
        "changed": any(r["action"] != "unchanged" for r in rows),
        "failed": False,
        "objects": list(rows),
        "diff": list(diff),
        **more,
    }


def of(*results):
    return drift(
        [{"role": f"role{number}", "module": "manifests", "result": one} for number, one in enumerate(results)]
    )


def test_only_what_differs_is_listed_each_object_with_its_own_difference():
    owned = [{"field": ".data.b", "manager": "kubectl-edit"}]
    report = of(
        result(
            row("a", "unchanged"),
            row("b", "configured", conflicts=owned),
            row("c", "pruned"),
            diff=[entry("b", "configured", "1\n", "2\n"), entry("c", "pruned", "3\n", "")],
        )
    )
    assert report["drift"] and report["counts"] == {
        "objects": 3,
        "differ": 2,
        "conflicts": 1,
        "actions": {"configured": 1, "pruned": 1},
    }
    b, c = report["calls"][0]["differ"]
    assert (b["name"], b["before"], b["after"], b["conflicts"]) == ("ConfigMap shop/b", "1\n", "2\n", owned)
    assert (c["name"], c["action"], c["before"], c["after"]) == ("ConfigMap shop/c", "pruned", "3\n", "")


def test_namesakes_of_two_groups_keep_their_differences_apart():
    first, second = (
        row("a", "configured", "networking.istio.io", "Gateway"),
        row("a", "configured", "gateway.networking.k8s.io", "Gateway"),
    )
    report = of(
        result(
            first,
            second,
            diff=[entry("a", "configured", "old", "one", "Gateway"), entry("a", "configured", "old", "two", "Gateway")],
        )
    )
    assert [(obj["ref"]["group"], obj["after"]) for obj in report["calls"][0]["differ"]] == [
        ("networking.istio.io", "one"),
        ("gateway.networking.k8s.io", "two"),
    ]


def test_agreement_is_no_drift():
    report = of(result(row("a", "unchanged")), {"results": [result(row("b", "unchanged"))], "changed": False})
    assert (
        not report["drift"]
        and report["counts"] == {"objects": 2, "differ": 0, "conflicts": 0, "actions": {}}
        and report["left_out"] == []
    )


def test_a_field_that_somebody_else_owns_is_drift_even_where_the_value_is_as_wanted():
    assert of(result(row("a", "unchanged", conflicts=[{"field": ".data", "manager": "flux"}])))["drift"]


def test_each_item_of_a_loop_is_a_call_named_by_what_names_it():
    items = [
        {
            "ansible_loop_var": "own",
            "own": {"namespace": "shop", "service": "web", "token": "secret"},
            **result(row("a", "created")),
        }
    ]
    report = of({"results": items, "changed": True, "warnings": ["no_pods: none"]})
    assert [call["item"] for call in report["calls"]] == ["shop/web"] and "secret" not in json.dumps(report)
    assert report["warnings"] == [{"role": "role0", "module": "manifests", "text": "no_pods: none"}]


def test_what_did_not_run_is_told_and_a_loop_over_nothing_has_run():
    report = of(
        result(row("a", "unchanged")),
        {},
        {"skipped": True, "changed": False},
        {"results": [], "skipped": True, "changed": False},
    )
    assert report["left_out"] == ["role1", "role2"]


def test_a_release_that_would_be_fetched_is_on_a_host_and_no_drift():
    report = drift(
        [{"role": "release", "module": "release", "result": {"changed": True, "version": "1.31.0", "path": "/p"}}]
    )
    assert not report["drift"] and report["versions"]["istio"] == "1.31.0"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            result(row("a", "unchanged"), failed=True, msg="no answer"),
            "failed, so the drift of its objects is unknown: no answer",
        ),
        ({"unreachable": True, "msg": "no route"}, "no route"),
        ({"results": [result(row("a", "unchanged")), {"failed": True, "msg": "second"}], "changed": False}, "second"),
        (
            {"results": [{"failed": True, "msg": "one of two"}], "failed": True, "msg": "One or more items failed"},
            "One or more items failed",
        ),
        ({"started": 1, "finished": 0, "ansible_job_id": "1"}, "has no objects in its result"),
        ({"changed": False, "objects": [{"name": "of another shape"}]}, "has no objects in its result"),
        ({}, "no task ran"),
    ],
)
def test_what_is_not_known_is_never_agreement(bad, words):
    with pytest.raises(InvalidOption, match=re.escape(words)):
        of(bad)


def test_the_filter_tells_the_cause_and_the_remedy():
    with pytest.raises(
        AnsibleFilterError, match=r"role: manifests failed, so .*: no answer\. Fix that failure first\."
    ):
        FilterModule().filters()["drift"](
            [{"role": "role", "module": "manifests", "result": {"failed": True, "msg": "no answer"}}]
        )
    with pytest.raises(AnsibleFilterError, match="call 1 is not a mapping"):
        FilterModule().filters()["drift"]([{"role": "role"}])


def test_the_report_asks_for_every_call_of_every_role_of_the_site():
    included = [
        task["ansible.builtin.include_role"]["name"].rpartition(".")[2]
        for task in tasks(load("playbooks/tasks/roles.yml"))
        if "ansible.builtin.include_role" in task
    ]
    made = set()
    for role in included:
        for path in (ROOT / "roles" / role / "tasks").glob("*.yml"):
            for task in tasks(yaml.safe_load(path.read_text())):
                made |= {
                    (role, module, task.get("register"))
                    for module, _options in calls([task])
                    if module == "release" or "force_conflicts" in arguments(module)
                }
    asked = [
        (call["role"], call["module"], re.findall(r"\w+_result", call["result"])[0])
        for call in tasks(load("playbooks/tasks/drift.yml")[0]["vars"]["drift_calls"])
    ]
    assert set(asked) == made and all(name.startswith(f"{role}_") for role, _module, name in asked)


class Site:
    """A cluster in memory with the site on it, and a folder to play from."""

    def __init__(self, folder, api):
        self.folder, self.api = folder, api
        self.report = folder / "drift.json"
        variables = {
            "site_release": False,
            "site_addons": False,
            "site_summary": False,
            "control_plane_istioctl": str(fake_istioctl.write(folder)),
            "control_plane_revision_tags": ["stable"],
        }
        self.variables = ["-e", json.dumps(variables)]

    def play(self, playbook, *arguments):
        before = len(self.api.writes())
        done = play(self.folder, ROOT / f"playbooks/{playbook}.yml", *self.variables, *arguments)
        self.written = self.api.writes()[before:]
        return done

    def drift(self, *arguments):
        done = self.play("drift", "-e", "drift_report=drift.json", *arguments)
        assert self.written == [], "a drift report writes nothing to the cluster"
        return done


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    api = MemoryApi(
        builders.namespace(DEMO),
        *(
            builders.pod(f"frontend-{version}", DEMO, {"app": "frontend", "version": version})
            for version in ("v1", "v2")
        ),
    )
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        api.controllers[kind] = fake_istioctl.arm
    with serve(api) as server:
        kubeconfig(folder, server)
        found = Site(folder, api)
        done = found.play("site")
        assert done.returncode == 0 and found.written, done.stdout + done.stderr
        yield found


@pytest.fixture
def live(site):
    """The site as it was made; what a test does to it is undone."""
    before = copy.deepcopy(site.api.objects)
    yield site
    site.api.objects = before
    site.api.faults.clear()


@pytest.mark.long
def test_on_a_site_as_declared_the_play_succeeds_and_what_istiod_wrote_is_no_drift(live):
    validator = live.api.get("ValidatingWebhookConfiguration", "istio-validator-istio-system")
    assert validator["webhooks"][0]["failurePolicy"] == "Fail" and validator["webhooks"][0]["clientConfig"]["caBundle"]
    done = live.drift()
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(live.report.read_text())
    assert not report["drift"] and report["counts"]["differ"] == 0 and report["counts"]["objects"] > 50
    assert report["left_out"] == ["release", "addons"]
    assert (
        report["cluster"]["name"] == "memory"
        and report["cluster"]["server"].startswith("http://127.0.0.1")
        and report["cluster"]["version"] == "v1.36.3"
    )
    assert (
        report["versions"]["istio"] == "1.31.0"
        and report["versions"]["collection"]
        and report["versions"]["ansible_core"]
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["time"])
    assert stat.S_IMODE(live.report.stat().st_mode) == 0o600
    assert "Drift          none of" in done.stdout


def test_what_was_edited_deleted_and_left_over_is_the_report_and_the_play_fails(live):
    live.api.put(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "currencyservice", "namespace": DEMO},
            "spec": {"replicas": 7},
        },
        "kubectl-edit",
    )
    live.api.drop("Service", "frontend", DEMO)
    stray = copy.deepcopy(live.api.get("ServiceAccount", "frontend", DEMO))
    stray["metadata"]["name"] = "stray"
    live.api.objects[("", "ServiceAccount", DEMO, "stray")] = stray
    done = live.drift("--diff")
    assert done.returncode == 2 and "3 of " in done.stdout and "objects differ from what is declared" in done.stdout
    report = json.loads(live.report.read_text())
    found = {obj["name"]: obj for call in report["calls"] for obj in call["differ"]}
    actions = {
        f"Deployment {DEMO}/currencyservice": "configured",
        f"Service {DEMO}/frontend": "created",
        f"ServiceAccount {DEMO}/stray": "pruned",
    }
    assert {name: obj["action"] for name, obj in found.items()} == actions
    assert report["counts"] == {
        **report["counts"],
        "differ": 3,
        "conflicts": 1,
        "actions": {"configured": 1, "created": 1, "pruned": 1},
    }
    deployment = found[f"Deployment {DEMO}/currencyservice"]
    assert (deployment["before"], deployment["after"]) == ("spec:\n  replicas: 7\n", "spec:\n  replicas: 1\n")
    assert deployment["conflicts"] == [{"field": ".spec.replicas", "manager": "kubectl-edit"}]
    assert any("no_such_host" in warning["text"] for warning in report["warnings"])
    for name in actions:
        assert name in done.stdout.partition("objects differ")[2]
    assert f"Deployment {DEMO}/currencyservice .spec.replicas is owned by kubectl-edit" in done.stdout

    tolerant = live.drift("--tags", "demo", "-e", "drift_fails=false")
    assert tolerant.returncode == 0, tolerant.stdout + tolerant.stderr
    report = json.loads(live.report.read_text())
    assert (
        report["drift"]
        and report["counts"]["differ"] == 3
        and report["left_out"] == ["release", "control_plane", "namespaces", "addons", "traffic"]
    )


@pytest.mark.long
def test_a_module_that_fails_is_its_own_cause_and_leaves_no_report(live):
    live.report.write_text('{"drift": false}')
    path = f"/api/v1/namespaces/{DEMO}"
    live.api.faults[("GET", path)] = [ApiError(403, "Forbidden", "namespaces is forbidden")] * 9
    done = live.drift("--tags", "namespaces")
    assert done.returncode == 2 and "namespaces is forbidden" in done.stdout and "objects differ" not in done.stdout
    assert not live.report.exists()


@pytest.mark.long
def test_a_cluster_that_cannot_be_reached_is_no_agreement(live):
    done = live.drift("-e", "kubeconfig=/nonexistent/kubeconfig")
    assert done.returncode == 2 and "/nonexistent/kubeconfig does not exist" in done.stdout and not live.report.exists()


@pytest.mark.long
def test_several_hosts_write_a_report_each_and_never_into_one(live):
    hosts = [
        "-i",
        "east,west,",
        "-e",
        "site_hosts=all",
        "-e",
        '{"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}',
        "--tags",
        "namespaces",
    ]
    refused = live.drift(*hosts)
    assert refused.returncode == 2 and "names one file for several hosts" in refused.stdout
    done = live.drift(*hosts, "-e", '{"drift_report": "drift-{{ inventory_hostname }}.json"}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads((live.folder / f"drift-{host}.json").read_text())["drift"] for host in ("east", "west")] == [
        False,
        False,
    ]
