# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules say of themselves is what they do: documentation, examples, results, and the collection's list of them."""

from __future__ import annotations

import importlib

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._cluster.connection import CONNECTION_ARGUMENTS
from ansible_collections.servicemesh.istio.plugins.module_utils._engine import checkpoint
from ansible_collections.servicemesh.istio.plugins.plugin_utils.progress import ActionModule
from builders import config, istio, namespace, pod, service
from collection import (
    MODULES,
    PLUGINS,
    PREFIX,
    ROOT,
    arguments,
    calls,
    documentation,
    fragments,
    load,
    module,
    spec,
    tasks,
    wrong_options,
)
from memory_api import MemoryApi

# What Ansible adds, and what every result has.
ALWAYS = {"changed", "diff", "invocation", "warnings", "deprecations", "failed", "msg"}
WRITING = sorted(name for name in MODULES if "force_conflicts" in arguments(name))
# By its spec: what shows progress takes the action plugin's word.
WAITING = sorted(name for name in MODULES if "_progress" in spec(name)["argument_spec"])
FIELDS = {"type": "str", "elements": None, "default": None, "choices": None, "required": False, "aliases": []}


def shape(option):
    """An option as far as a user can tell; the same for documentation and for an argument spec."""
    found = {key: option.get(key, usual) for key, usual in FIELDS.items()}
    inner = option.get("suboptions") or option.get("options") or {}
    return {**found, "options": {name: shape(value) for name, value in inner.items()}}


@pytest.mark.parametrize("name", MODULES)
def test_options_are_those_of_the_documentation(name):
    documented, real = documentation(name)["options"], arguments(name)
    assert sorted(documented) == sorted(real)
    for option, value in real.items():
        assert shape(documented[option]) == shape(value), option


@pytest.mark.parametrize("name", MODULES)
def test_every_option_is_described(name):
    for option, words in documentation(name)["options"].items():
        assert words.get("description"), option


@pytest.mark.parametrize("name", MODULES)
def test_every_module_takes_the_whole_connection_with_its_variables(name):
    options = documentation(name)["options"]
    for option, value in CONNECTION_ARGUMENTS.items():
        shown = options[option]
        variable = value["fallback"][1][0]
        assert f"E({variable})" in str(shown["description"]), f"{option} does not tell of {variable}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_and_who_made_it(name):
    words = documentation(name)
    assert (
        words["module"] == name
        and words["short_description"]
        and words["description"]
        and words["version_added"]
        and words["author"]
    )
    assert not words["short_description"].endswith(".")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_leads_to_the_reference_of_what_it_is_about(name):
    rows = documentation(name)["seealso"]
    assert all(row["name"] and row["description"].endswith(".") for row in rows)
    assert any(row["link"].startswith(("https://istio.io/latest/docs/", "https://kubernetes.io/docs/")) for row in rows)


@pytest.mark.parametrize("name", MODULES)
def test_check_diff_and_idempotence_are_declared_by_the_fragments(name):
    from_fragments = {attribute for part in fragments(name) for attribute in part.get("attributes") or {}}
    assert {"check_mode", "diff_mode", "idempotent", "action_group"} <= from_fragments
    for attribute, words in documentation(name)["attributes"].items():
        assert words["support"] in ("full", "partial", "none") and words["description"], attribute
        assert words["support"] == "full" or words.get("details"), f"{attribute} needs a reason"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_knows_check_mode(name):
    assert spec(name)["supports_check_mode"] is True
    assert documentation(name)["attributes"]["check_mode"]["support"] == "full"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_changes_no_cluster_promises_no_difference(name):
    changing = {"wait", "state", "dest", "levels"} & set(arguments(name))
    shown = documentation(name)["attributes"]["diff_mode"]["support"]
    assert (shown == "none") == (not changing), (
        f"diff_mode is {shown}, and of the options that change something it has {sorted(changing) or 'none'}"
    )


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_tasks_that_would_run(name):
    examples = yaml.safe_load(module(name).EXAMPLES)
    assert isinstance(examples, list) and name in [called for called, _options in calls(examples)]
    for task in tasks(examples):
        assert task.get("name"), task
        # A key with a dot is a full name; all else are words of a task.
        assert len([key for key in task if "." in key]) == 1, task
    for called, options in calls(examples):
        assert wrong_options(called, options) == []


def returned(name):
    return yaml.safe_load(module(name).RETURN)


@pytest.mark.parametrize("name", MODULES)
def test_results_are_documented_with_when_they_come(name):
    for key, words in returned(name).items():
        assert words.get("description") and words.get("returned") and words.get("type"), key
        assert words["type"] != "list" or words.get("elements"), key


@pytest.mark.parametrize("name", MODULES)
def test_a_failure_has_its_code_reason_and_hint(name):
    assert set(returned(name)["failure"]["sample"]) == {"code", "ref", "reason", "hint"}
    assert returned(name)["failure"]["sample"]["code"] and "code is stable" in returned(name)["failure"]["description"]
    assert returned(name)["duration"]["type"] == "dict"


@pytest.mark.parametrize("name", WRITING)
def test_what_writes_has_one_shape_of_result(name):
    result = returned(name)
    assert set(result["objects"]["contains"]) == {"ref", "action", "conflicts", "status", "message"}
    assert (
        result["objects"]["type"] == "list"
        and result["objects"]["elements"] == "dict"
        and result["verified"]["elements"] == "str"
    )
    assert {"created", "configured", "unchanged", "pruned", "failed", "dry_runs"} <= set(result["summary"]["sample"])
    assert {"wait", "wait_timeout", "adopt", "recreate"} <= set(arguments(name))


SERVICE, POD = service("frontend"), pod("frontend-v1", labels={"app": "frontend", "version": "v1"})
KIALI = [
    service("kiali", "istio-system", ports=[{"name": "http", "port": 20001}]),
    pod("kiali-1", "istio-system", {"app": "kiali"}),
]
RULE = istio("DestinationRule", "frontend", host="frontend")
RULE["metadata"]["annotations"] = {"servicemesh.istio/intents": '{"load_balancing": {"algorithm": "random"}}'}
KEPT = checkpoint.Checkpoint("servicemesh-rollback-frontend", "shop").as_config_map(
    [MemoryApi(namespace("shop")).put(RULE, manager="kubectl")], frozenset()
)
CASES = {
    "manifests": ([], {"definition": config("a", x="1")}),
    "namespace": ([namespace("shop")], {"name": "shop", "injection": "enabled", "restart_missing_sidecar": True}),
    "traffic_split": ([SERVICE, POD], {"service": "frontend", "namespace": "shop", "versions": {"v1": 1}}),
    "route": (
        [SERVICE, POD],
        {"service": "frontend", "namespace": "shop", "rules": [{"match": {"path": "/a*"}, "to": "v1"}]},
    ),
    "fault": ([SERVICE, POD], {"service": "frontend", "namespace": "shop", "delay": "2s"}),
    "resilience": ([SERVICE, POD], {"service": "frontend", "namespace": "shop", "timeout": "2s"}),
    "load_balancing": ([SERVICE, POD], {"service": "frontend", "namespace": "shop", "algorithm": "random"}),
    "traffic": ([SERVICE, POD], {"policy": {"shop": {"frontend": {"split": {"versions": {"v1": 1}}}}}, "prune": True}),
    "traffic_rollback": ([SERVICE, POD, KEPT], {"service": "frontend", "namespace": "shop"}),
    "proxy_status": ([SERVICE, POD], {}),
    "gateway": (
        [namespace("shop"), pod("gateway", "shop", {"istio": "ingressgateway"})],
        {"name": "web", "namespace": "shop"},
    ),
    "mtls": ([namespace("shop")], {"namespace": "shop", "mode": "strict"}),
    "authorization": ([namespace("shop")], {"name": "web", "namespace": "shop", "default": "deny"}),
    "jwt": (
        [namespace("shop")],
        {"name": "web", "namespace": "shop", "issuers": [{"issuer": "https://login.example.com"}]},
    ),
    "egress": ([namespace("shop")], {"name": "web", "namespace": "shop", "hosts": ["example.com"]}),
    "sidecar": ([namespace("shop")], {"namespace": "shop", "egress_hosts": ["."]}),
    "telemetry": ([namespace("shop")], {"namespace": "shop", "tracing": {"percent": 1}}),
    "addons": ([], {"state": "absent"}),
    "control_plane": ([], {"state": "absent"}),
    "revision_tag": ([], {"name": "stable", "state": "absent"}),
    "mesh_info": ([SERVICE, POD], {"query": "control_planes"}),
    "mesh_check": ([SERVICE, POD], {"phase": "install"}),
    "preflight": ([SERVICE, POD], {"definition": SERVICE}),
    "images_info": ([], {"definition": POD}),
    "proxy_log": ([], {"namespace": "shop", "levels": {"all": "debug"}, "_ansible_check_mode": True}),
    "dashboard": (KIALI, {"local_port": 45678, "_ansible_check_mode": True}),
    "release": ([], {"version": "1.31.0", "state": "absent"}),
    "backup": ([namespace("kube-system")], {"dest": "/nowhere/backup", "_ansible_check_mode": True}),
    "webhooks": ([namespace("kube-system")], {"state": "open"}),
    "restore": ([namespace("kube-system")], {"src": str(ROOT / "tests/unit/empty_backup"), "to_other_cluster": True}),
}


def test_every_module_has_a_case_and_an_integration_target():
    # These three need more around them, and their own tests have it.
    assert {*CASES, "checkpoint", "probe", "restart"} == set(MODULES), "CASES, above"
    assert sorted(path.name for path in (ROOT / "tests/integration/targets").iterdir()) == MODULES


@pytest.mark.parametrize(("name", "objects", "options"), [(name, *case) for name, case in CASES.items()], ids=CASES)
def test_a_result_holds_nothing_that_is_not_documented(run, api, name, objects, options):
    for obj in objects:
        api.put(obj)
    good = run(name, check=options.pop("_ansible_check_mode", False), **options)
    assert "failed" not in good, good.get("msg")
    assert set(good) - ALWAYS <= set(returned(name))
    bad = run(name, **{**options, "kubeconfig": "/nowhere", "no_such_option": 1})
    assert bad["failed"] and "no_such_option" in bad["msg"]


@pytest.mark.parametrize("name", WRITING)
def test_a_real_summary_has_the_documented_counts(run, api, name):
    objects, options = CASES[name]
    for obj in objects:
        api.put(obj)
    assert set(run(name, **options)["summary"]) == set(returned(name)["summary"]["sample"])


def test_the_action_group_lists_every_module():
    assert load("meta/runtime.yml")["action_groups"]["all"] == MODULES


def test_what_waits_shows_its_progress():
    (shown,) = [path.stem for path in (ROOT / "plugins" / "action").glob("*.py")]
    routed = load("meta/runtime.yml")["plugin_routing"]["modules"]
    assert sorted({shown, *routed}) == WAITING
    assert {row["action_plugin"] for row in routed.values()} == {f"{PREFIX}{shown}"}
    assert importlib.import_module(f"{PLUGINS}.action.{shown}").ActionModule is ActionModule
