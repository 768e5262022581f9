# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of a run: the structure as a function of results, the page as a function of it, and the files of real
runs.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import builders
import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.plugin_utils import evidence
from ansible_collections.servicemesh.istio.plugins.plugin_utils import task_results as results
from ansible_collections.servicemesh.istio.plugins.plugin_utils.evidence_page import SHOWN, in_words, lines, page
from collection import ROOT
from memory_api import MemoryApi
from memory_server import environment, kubeconfig, play, playbook_command, serve

DOCUMENT = (ROOT / "docs/drift-and-evidence.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```shell\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.strip().splitlines()
]
RUN = {
    "run": "0123456789abcdef",
    "playbook": "site.yml",
    "plays": ["A play"],
    "started": "2026-01-02T03:04:05.678Z",
    "ended": "2026-01-02T03:05:05.678Z",
    "finished": True,
}
COUNTS = {"ok": 3, "failures": 0, "unreachable": 0, "changed": 1, "skipped": 0, "rescued": 0, "ignored": 0}
PROBE = {
    "sent": 200,
    "failures": 0,
    "codes": {"200": 200},
    "responses_by_version": {"v1": 181, "v2": 19},
    "percent_by_version": {"v1": 90.5, "v2": 9.5},
    "errors": {},
    "target": "http://192.0.2.1",
    "lost_at_most": 1.5,
}
MESH = {
    "cluster": {"name": "prod", "server": "https://192.0.2.9:6443", "version": "v1.36.3"},
    "control_planes": [{"revision": "default", "version": "1.31.0"}],
}


def about(module="manifests", **more):
    whole = {
        "task": "A task",
        "role": "",
        "host": "localhost",
        "delegated_to": "",
        "module": f"servicemesh.istio.{module}",
        "started": RUN["started"],
        "ended": RUN["ended"],
    }
    return {**whole, "check_mode": False, "ignored": False, **more}


def written(name="one", action="configured", before="data:\n  a: '1'\n", after="data:\n  a: '2'\n", **more):
    """A result of a module that writes one object, beside one that it left alone."""
    rows = [
        {
            "ref": {"group": "", "version": "v1", "kind": "ConfigMap", "namespace": "shop", "name": n},
            "action": a,
            "conflicts": [],
            "status": "Current",
            "message": "",
        }
        for n, a in ((name, action), ("left", "unchanged"))
    ]
    diff = [
        {
            "before": before,
            "after": after,
            "before_header": f"ConfigMap shop/{name}",
            "after_header": f"ConfigMap shop/{name} ({action})",
        }
    ]
    return {
        "changed": True,
        "objects": rows,
        "diff": diff,
        "summary": {action: 1, "unchanged": 1, "dry_runs": 1},
        "verified": ["proxies converged"],
        "duration": {"plan": 0.1},
        **more,
    }


def report(*calls, hosts=None, **run):
    return evidence.report({**RUN, **run}, list(calls), {"localhost": COUNTS} if hosts is None else hosts)


def test_touched_objects_are_told_with_their_differences_and_unchanged_ones_are_counted():
    call = evidence.call(about(), evidence.OK, written(invocation={"module_args": {"api_key": "secret"}}))
    assert call["outcome"] == "changed" and call["unchanged"] == 1 and call["verified"] == ["proxies converged"]
    assert [(obj["name"], obj["action"], obj["before"], obj["after"]) for obj in call["touched"]] == [
        ("ConfigMap shop/one", "configured", "data:\n  a: '1'\n", "data:\n  a: '2'\n")
    ]
    assert call["diff"] == [] and call["found"] == {} and "secret" not in json.dumps(call)


def test_of_a_no_log_task_only_that_it_ran_is_told():
    call = evidence.call(about(), evidence.OK, {"changed": True, "censored": "hidden", "_ansible_no_log": True})
    assert call["hidden"] and call["outcome"] == "changed" and set(call) == {*about(), "item", "outcome", "hidden"}


def test_of_another_collections_task_only_how_it_ended_is_told():
    call = evidence.call(
        {**about(), "module": "ansible.builtin.uri"}, evidence.FAILED, {"msg": "no", "json": {"token": "secret"}}
    )
    assert call["message"] == "no" and "found" not in call and "secret" not in json.dumps(call)


def test_all_that_a_module_measures_is_kept_also_what_later_versions_call_by_new_names():
    assert (
        evidence.call(about("probe"), evidence.OK, {"changed": False, "duration": {"probe": 2.0}, **PROBE})["found"]
        == PROBE
    )
    odd = {"changed": False, "objects": [{"name": "of another shape"}]}
    assert evidence.call(about("backup"), evidence.OK, odd)["found"] == {"objects": odd["objects"]}


def test_an_item_of_a_loop_is_named_and_not_told_in_full():
    item = {
        "ansible_loop_var": "own",
        "own": {"name": "shop", "token": "secret"},
        "_ansible_item_label": {"name": "shop", "token": "secret"},
        **written(),
    }
    call = evidence.call(about(), evidence.OK, item)
    assert call["item"] == "shop" and "secret" not in json.dumps(call)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({}, 0),
        ({"failures": 1}, 2),
        ({"unreachable": 1}, 4),
        ({"failures": 1, "unreachable": 1}, 4),
        ({"rescued": 1, "ignored": 1}, 0),
    ],
)
def test_the_exit_status_is_ansibles(counts, status):
    assert report(hosts={"a": COUNTS, "b": {**COUNTS, **counts}})["exit_status"] == status
    assert report(hosts={}, finished=False)["exit_status"] is None


def test_what_was_only_planned_is_not_counted_as_done():
    whole = report(
        evidence.call(about(), evidence.OK, written()),
        evidence.call(about(check_mode=True), evidence.OK, written(action="created")),
    )
    assert whole["counts"]["objects"] == {
        "done": {"configured": 1, "unchanged": 1},
        "planned": {"created": 1, "unchanged": 1},
    }
    assert whole["counts"]["outcomes"] == {"changed": 2} and not whole["check_mode"]
    assert report(evidence.call(about(check_mode=True), evidence.OK, written()))["check_mode"]


def test_clusters_and_versions_are_those_that_the_modules_told():
    whole = report(
        evidence.call(about("mesh_info"), evidence.OK, MESH),
        evidence.call(about("control_plane"), evidence.OK, written(version="1.31.0")),
    )
    assert whole["clusters"] == [
        {
            "host": "localhost",
            "name": "prod",
            "server": "https://192.0.2.9:6443",
            "kubernetes": "v1.36.3",
            "control_planes": MESH["control_planes"],
        }
    ]
    assert (
        whole["versions"]["istio"] == ["1.31.0"]
        and whole["versions"]["collection"] == yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    )


def test_the_version_is_read_from_an_installed_collection_too(tmp_path):
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": "9.8.7"}}))
    assert results.collection_version(tmp_path) == "9.8.7"
    assert results.collection_version(tmp_path / "nowhere") == ""


def test_the_digest_shows_any_edit_and_survives_the_file():
    whole = report(evidence.call(about(), evidence.OK, written(after="ü\ud800")))
    read = json.loads(json.dumps(whole, indent=2))
    assert evidence.digest(read) == read["sha256"] == whole["sha256"]
    edited = copy.deepcopy(read)
    edited["calls"][0]["touched"][0]["after"] += " "
    assert evidence.digest(edited) != read["sha256"]


def test_two_runs_never_share_a_name_and_no_playbook_leads_out_of_the_folder():
    assert evidence.file_name(report()) == "20260102T030405Z-site-01234567"
    assert evidence.file_name(report(run="fedcba9876543210")) != evidence.file_name(report())
    assert "/" not in evidence.file_name(report(playbook="../../etc/x y.yml"))


class Page(HTMLParser):
    """What a browser would see: tags, attributes and text."""

    VOID = {"meta", "br"}

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words = [], set(), [], []
        self.feed(html)
        self.close()
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


EVIL = "</pre></span><script>alert(1)</script><img src=x onerror=alert(1)>\"' {{ 7 * 7 }}"


def test_nothing_of_the_cluster_is_markup_in_the_page_and_nothing_is_loaded():
    evil = written(name=EVIL, before=EVIL, after=f"{EVIL}\n{EVIL}", warnings=[EVIL], **{EVIL: EVIL})
    evil["verified"], evil["failure"] = [EVIL], {"code": EVIL, "reason": EVIL, "ref": {EVIL: EVIL}, "hint": EVIL}
    evil["objects"][0].update(conflicts=[{"field": EVIL, "manager": EVIL}], status=EVIL, message=EVIL)
    planes = [{"revision": EVIL, "version": EVIL}]
    calls = [
        evidence.call(about(task=EVIL, role=EVIL, host=EVIL, delegated_to=EVIL), outcome, {**evil, "msg": EVIL})
        for outcome in (evidence.OK, evidence.FAILED)
    ]
    calls.append(
        evidence.call(
            about("mesh_info"),
            evidence.OK,
            {"cluster": {"name": EVIL, "server": EVIL, "version": EVIL}, "control_planes": planes},
        )
    )
    html = page(report(*calls, hosts={EVIL: COUNTS}, playbook=EVIL, plays=[EVIL]))
    seen = Page(html)
    assert seen.tags == {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "h3",
        "p",
        "table",
        "tr",
        "th",
        "td",
        "a",
        "article",
        "details",
        "summary",
        "pre",
        "span",
    }
    names = {name for name, _value in seen.attributes}
    assert names == {"lang", "charset", "http-equiv", "content", "name", "scope", "class", "href", "id", "open"}
    assert all(value.startswith("#call-") for name, value in seen.attributes if name == "href")
    assert "url(" not in html and "@import" not in html and "default-src 'none'" in html
    assert seen.text.count(EVIL) > 20, "all of it is there to be read"


def test_the_page_tells_what_was_done_measured_and_what_failed():
    failure = {"code": "image_pull", "ref": None, "reason": "ErrImagePull", "hint": "Check the image."}
    calls = [
        evidence.call(about("mesh_info"), evidence.OK, MESH),
        evidence.call(about(task="Set the weights", role="traffic"), evidence.OK, written()),
        evidence.call(about("probe", task="Ask"), evidence.OK, PROBE),
        evidence.call(about(task="Wait"), evidence.FAILED, {"msg": "web cannot start", "failure": failure}),
        evidence.call(about(task="Quiet"), evidence.OK, {"censored": "hidden"}),
    ]
    whole = report(*calls, hosts={"localhost": {**COUNTS, "failures": 1}})
    text = Page(page(whole)).text
    for words in (
        "site.yml failed",
        "prod at https://192.0.2.9:6443, Kubernetes v1.36.3",
        "1 configured, 1 unchanged",
        "ConfigMap shop/one: configured, Current",
        "-  a: '1'",
        "+  a: '2'",
    ):
        assert words in text
    for words in (
        "Held: proxies converged",
        "sent 200, failures 0",
        "lost_at_most: 1.5",
        "v2: 9.5",
        "image_pull",
        "Check the image.",
        "web cannot start",
        "marked no_log",
        "It is no signature",
        whole["sha256"],
    ):
        assert words in text
    assert (
        "succeeded" in Page(page(report())).text and "was cut off" in Page(page(report(hosts={}, finished=False))).text
    )


def test_a_result_of_an_unknown_shape_costs_no_page():
    whole = report(
        evidence.call(
            about(), evidence.OK, {"objects": [{"ref": {}, "action": "created"}], "diff": ["text"], "summary": {}}
        ),
        evidence.call(about("mesh_info"), evidence.OK, {"cluster": {"server": "s"}, "control_planes": [{}]}),
    )
    assert "created" in Page(page(whole)).text


def test_a_long_difference_is_cut_in_the_page_and_says_so():
    shown = lines("", "\n".join(map(str, range(SHOWN + 50))))
    assert len(shown) == SHOWN + 1 and "more lines are in the JSON file" in shown[-1][1]
    assert lines("a\nb\n", "a\nc\n") == [("place", "@@ -1,2 +1,2 @@"), ("", " a"), ("removed", "-b"), ("added", "+c")]


def test_a_call_in_a_line():
    assert (
        in_words(evidence.call(about("release"), evidence.OK, {"version": "1.31.0", "path": "/p", "changed": False}))
        == "version 1.31.0, path /p"
    )
    assert (
        in_words(evidence.call(about(), evidence.SKIPPED, {"skip_reason": "Conditional result was False"}))
        == "Conditional result was False"
    )


def test_every_command_of_the_document_is_run_by_a_test():
    variables = "ANSIBLE_CALLBACKS_ENABLED=servicemesh.istio.evidence SERVICEMESH_EVIDENCE=evidence"
    tested = {
        "ansible-playbook playbooks/drift.yml -e drift_report=drift.json": "test_drift",
        f"export {variables}": test_a_run_leaves_two_files_for_its_owner_alone_and_ends_as_it_would_without,
        "ansible-playbook playbooks/site.yml": "test_drift",
        **{
            line: test_the_documents_command_tells_an_edited_file_from_the_written_one
            for line in COMMANDS
            if "hashlib" in line
        },
    }
    assert sorted(COMMANDS) == sorted(tested)


SECRET = "correct-horse-battery-staple"
UNTOLD = "not-to-be-told"
TASKS = [
    {"name": "Look", "servicemesh.istio.mesh_info": {"api_key": "token-of-an-account"}},
    {
        "name": "Secret and settings",
        "servicemesh.istio.manifests": {
            "definition": [
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "s", "namespace": "shop"},
                    "stringData": {"password": SECRET},
                },
                {**builders.config("one"), "data": {"html": EVIL}},
            ]
        },
    },
    {
        "name": "The same again",
        "servicemesh.istio.manifests": {"definition": {**builders.config("one"), "data": {"html": EVIL}}},
    },
    {
        "name": "In check mode",
        "check_mode": True,
        "servicemesh.istio.manifests": {"definition": builders.config("theirs", text="ours")},
    },
    {
        "name": "Quiet",
        "no_log": True,
        "servicemesh.istio.manifests": {"definition": builders.config("quiet", text=UNTOLD)},
    },
    {
        "name": "Each",
        "servicemesh.istio.namespace": {"name": "{{ item.name }}", "injection": "enabled"},
        "loop": [{"name": "shop", "note": UNTOLD}, {"name": "web", "note": UNTOLD}],
    },
    {"name": "Ask", "servicemesh.istio.probe": {"count": 5, "versions": {"any": "."}}},
    {"name": "Never", "when": False, "servicemesh.istio.mesh_info": {}},
    {
        "name": "Nowhere",
        "ignore_errors": True,
        "servicemesh.istio.manifests": {"definition": builders.config("one", "nowhere")},
    },
    {"name": "Not ours", "ansible.builtin.debug": {"msg": "nothing of this"}},
    {"name": "Not ours, failed", "ansible.builtin.fail": {"msg": "and that is that"}},
]
ENABLED = {"ANSIBLE_CALLBACKS_ENABLED": "servicemesh.istio.evidence"}


def write_play(folder: Path, tasks, name="run.yml"):
    (folder / name).write_text(
        yaml.safe_dump(
            [
                {
                    "name": "A play",
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "vars": {"ansible_python_interpreter": sys.executable},
                    "tasks": tasks,
                }
            ]
        )
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to play from, beside a cluster in memory whose gateway is the API server itself."""
    found = tmp_path_factory.mktemp("evidence")
    api = MemoryApi(builders.namespace("shop"), builders.namespace("istio-system"))
    api.put(builders.config("theirs", text="theirs"), "kubectl-edit")
    with serve(api) as server:
        kubeconfig(found, server)
        port = {"name": "http2", "port": int(server.rpartition(":")[2])}
        gateway = builders.service(
            "istio-ingressgateway",
            "istio-system",
            ports=[port],
            type="LoadBalancer",
            selector={"istio": "ingressgateway"},
        )
        api.put(
            {
                **gateway,
                "metadata": {**gateway["metadata"], "labels": {"istio": "ingressgateway"}},
                "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}},
            }
        )
        yield found


@pytest.fixture(scope="module")
def run(folder):
    """(what ansible-playbook said, the JSON file, the HTML file) of one run with something of everything."""
    write_play(folder, TASKS)
    done = play(folder, "run.yml", **ENABLED, SERVICEMESH_EVIDENCE="reports/of runs")
    files = sorted((folder / "reports/of runs").iterdir())
    assert [path.suffix for path in files] == [".html", ".json"], done.stdout + done.stderr
    return done, files[1], files[0]


@pytest.fixture(scope="module")
def told(run):
    return json.loads(run[1].read_text())


def test_a_run_leaves_two_files_for_its_owner_alone_and_ends_as_it_would_without(run, told):
    done, data, html = run
    assert (
        done.returncode == told["exit_status"] == 2
        and told["finished"]
        and told["playbook"] == "run.yml"
        and told["plays"] == ["A play"]
    )
    assert {stat.S_IMODE(path.stat().st_mode) for path in (data, html)} == {0o600} and stat.S_IMODE(
        data.parent.stat().st_mode
    ) == 0o700
    assert (
        data.stem == html.stem and data.stem.startswith(told["started"][:10].replace("-", "")) and "-run-" in data.stem
    )
    assert str(html) in done.stdout and "WARNING" not in done.stdout.partition("PLAY RECAP")[2]
    assert told["hosts"]["localhost"]["failures"] == 1


def test_every_task_of_ours_is_told_and_of_others_only_those_that_failed(told):
    rows = [
        (call["task"], call["item"], call["outcome"], call["check_mode"], call["ignored"]) for call in told["calls"]
    ]
    assert rows == [
        ("Look", "", "ok", False, False),
        ("Secret and settings", "", "changed", False, False),
        ("The same again", "", "ok", False, False),
        ("In check mode", "", "changed", True, False),
        ("Quiet", "", "changed", False, False),
        ("Each", "shop", "changed", False, False),
        ("Each", "web", "changed", False, False),
        ("Ask", "", "ok", False, False),
        ("Never", "", "skipped", False, False),
        ("Nowhere", "", "failed", False, True),
        ("Not ours, failed", "", "failed", False, False),
    ]
    times = [time for call in told["calls"] for time in (call["started"], call["ended"])]
    assert times == sorted(times) and told["started"] <= times[0] and times[-1] <= told["ended"]
    by_task = {call["task"]: call for call in told["calls"]}
    assert (
        by_task["Nowhere"]["failure"]["code"] == "namespace_missing"
        and by_task["Not ours, failed"]["message"] == "and that is that"
    )
    assert by_task["The same again"]["touched"] == [] and by_task["The same again"]["unchanged"] == 1


def test_figures_conflicts_cluster_and_versions_are_there(told):
    by_task = {call["task"]: call for call in told["calls"]}
    found = by_task["Ask"]["found"]
    assert (found["sent"], found["failures"], found["codes"]) == (5, 0, {"404": 5})
    (theirs,) = by_task["In check mode"]["touched"]
    assert theirs["conflicts"] == [{"field": ".data.text", "manager": "kubectl-edit"}] and any(
        "kubectl-edit" in text for text in by_task["In check mode"]["warnings"]
    )
    (cluster,) = told["clusters"]
    assert (cluster["name"], cluster["kubernetes"]) == ("memory", "v1.36.3") and cluster["server"].startswith(
        "http://127.0.0.1:"
    )
    assert told["versions"]["ansible_core"] and told["versions"]["collection"] == "1.0.0"
    assert told["counts"]["objects"]["planned"] == {"configured": 1}


def test_no_secret_is_in_either_file(run):
    for path in run[1:]:
        text = path.read_text()
        assert "Secret shop/s" in text and "(hidden)" in text
        for word in (SECRET, base64.b64encode(SECRET.encode()).decode(), UNTOLD, "token-of-an-account"):
            assert word not in text


def test_the_page_of_a_real_run_is_whole_and_inert(run, told):
    seen = Page(run[2].read_text(encoding="utf-8"))
    assert not seen.tags & {"script", "img"} and "alert(1)" in seen.text
    assert told["sha256"] in seen.text and "run.yml failed" in seen.text


def test_the_documents_command_tells_an_edited_file_from_the_written_one(run, tmp_path):
    (command,) = [line for line in COMMANDS if "hashlib" in line]
    argv = shlex.split(command)
    edited = json.loads(run[1].read_text())
    edited["exit_status"] = 0
    (tmp_path / "edited.json").write_text(json.dumps(edited))
    for path, answer in ((run[1], "True"), (tmp_path / "edited.json", "False")):
        said = subprocess.run(
            [sys.executable, *argv[1:-1], str(path)], capture_output=True, text=True, check=True
        ).stdout
        assert said.strip() == answer


def test_without_a_folder_nothing_is_written_and_one_that_cannot_be_written_is_a_warning(folder, tmp_path):
    write_play(
        folder,
        [{"name": "Nothing much", "servicemesh.istio.manifests": {"definition": builders.config("two", a="1")}}],
        "small.yml",
    )
    silent = play(folder, "small.yml", **ENABLED)
    assert silent.returncode == 0 and "vidence" not in silent.stdout + silent.stderr
    (tmp_path / "file").write_text("in the way")
    warned = play(folder, "small.yml", **ENABLED, SERVICEMESH_EVIDENCE=str(tmp_path / "file" / "reports"))
    assert warned.returncode == 0 and "cannot write the evidence of this run" in warned.stdout + warned.stderr
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_run_that_is_interrupted_leaves_a_report_that_says_so(folder, tmp_path):
    write_play(
        folder,
        [
            {"name": "Nothing much", "servicemesh.istio.manifests": {"definition": builders.config("three", a="1")}},
            {"name": "Wait", "ansible.builtin.command": "sleep 60"},
        ],
        "slow.yml",
    )
    process = subprocess.Popen(
        playbook_command("slow.yml"),
        cwd=folder,
        env={**environment(folder), **ENABLED, "SERVICEMESH_EVIDENCE": str(tmp_path / "reports")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )
    for line in process.stdout:
        if "TASK [Wait]" in line:
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode != 0
    (data,) = (tmp_path / "reports").glob("*.json")
    whole = json.loads(data.read_text())
    assert (whole["finished"], whole["exit_status"], [call["task"] for call in whole["calls"]]) == (
        False,
        None,
        ["Nothing much"],
    ), rest
    assert "was cut off" in data.with_suffix(".html").read_text()
    assert not [name for name in os.listdir(data.parent) if name.startswith(".")]


def test_both_plugins_are_documented_where_ansible_looks(folder):
    for kind, name, words in (("filter", "drift", "left_out"), ("callback", "evidence", "SERVICEMESH_EVIDENCE")):
        argv = [str(Path(sys.executable).with_name("ansible-doc")), "-t", kind, f"servicemesh.istio.{name}"]
        said = subprocess.run(
            argv, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=120, check=False
        )
        assert said.returncode == 0 and words in said.stdout, said.stderr
