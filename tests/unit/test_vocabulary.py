# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One term for one thing: names that were given up do not come back, and sentences have plain forms."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from collection import ROOT

# A word in code marks: of Ansible's markup, or of Markdown.
MARKED = r"(?:(?:[OCV]|RV)\((?:ignore:)?|`)(?:{})(?=[)=.\[`:])"
# A key of YAML, in a block or in braces.
KEY = r"(?:^ *(?:- )?|[{{,] ?)(?:{}): "
OLD = {
    # Words that mean nothing else: wherever they stand.
    r"\bapi_host\b": "host",
    r"\bfail_at\b": "fail_on",
    r"\broot_namespace\b": "istio_namespace",
    r"\buninjected\b": "missing_sidecar",
    r"\b(?:pods_)?without_sidecar\b": "missing_sidecar",
    r"\bhash_on\b": "consistent_hash",
    r"\bleast_percent\b": "minimum_percent",
    r"(?<!_)\bgateway_errors\b": "consecutive_gateway_errors",
    r"\bmin_healthy_percent\b": "min_health_percent",
    r"\brequests_per_connection\b": "max_requests_per_connection",
    r"\bper_try\b": "per_try_timeout",
    r"\bleast_version\b": "min_protocol_version",
    r"\bca_file\b": "ca_certificates",
    r"\bshut_out\b": "ignore",
    r"\blook_back\b": "access_log_window",
    r"\bwait_converged\b": "wait_for_proxies",
    r"\b(?:namespaces_)?restart_stale\b": "restart_stale_sidecar",
    r"\bnamespaces_restart\b": "namespaces_restart_missing_sidecar",
    r"\b(?:max_)?lost_share\b": "failure_percent",
    r"\blost_status\b": "min_failure_status",
    r"\bmin_sent\b": "min_requests",
    r"\btoo_many_lost\b": "too_many_failures",
    r"\btoo_few_sent\b": "too_few_requests",
    r"\bnot_converged\b": "proxies_not_synced",
    r"\bnothing_to_undo\b": "nothing_to_roll_back",
    r"\bside_unknown\b": "mode_unknown",
    r"\beject_empty\b": "outlier_detection_empty",
    r"\bdefinitions_(?:terminating|missing|old|newer|leftover)\b": "crds_...",
    r"\bmtls_(?:plaintext|look_back)\b": "mtls_plaintext_callers, mtls_access_log_window",
    r"\bupgrade_(?:left|leaving|begun|kept|pinned|unringed|others)\b": "names in roles/upgrade/vars/main.yml",
    r"\bsite_(?:namespaces|gateways|splits|policy)\b": "the variables of the roles namespaces and traffic",
    r"\bunblock(?:_tasks|\.yml)\b": "webhooks.yml, webhooks_state",
    r"\brights(?:_for|_dest|_name|\.yml|\.md)\b": "rbac...",
    r"\bservicemesh-undo\b": "servicemesh-rollback",
    r"\b(?:mtls-to-strict|take-over|istiod-is-down)\b": "strict-mtls, adopt-existing-mesh, istiod-outage",
    r"\btests/(?:proof|faults)\b": "tests/e2e, tests/chaos",
    r"\bmake (?:proof|proof-long|test-faults)\b": "make e2e, e2e-long, test-chaos",
    # Words of the language: where they are names.
    r"servicemesh\.istio\.(?:converged|undo)\b": "proxy_status, traffic_rollback",
    r"M\(servicemesh\.istio\.images\)|servicemesh\.istio\.images:": "images_info",
    r"\bsummary\.asked\b": "summary.dry_runs",
    r"\bpreflight(?:: |=|`: )refuse\b|V\(refuse\)": "fail",
    r"\b(?:plan)(?:: |=)(?:lists|server)\b": "compare: managed_fields, dry_run",
    r"\bapi(?:: |=)gateway\b(?!_)|V\(gateway\)": "gateway_api",
    r"\bstate(?:: |=)(?:measured|read)\b": "once, checked",
    MARKED.format("eject|respond|sees|outbound|look_back|barriers|unread|undo|converged"): "names.md",
    MARKED.format("moved|terminating|refused"): "resource_version_conflict, object_terminating, api_rejected",
    KEY.format("eject|respond|sees|outbound|plaintext|hash_on|per_try"): "the fields' names in Istio",
}
# What a reader stops at, where no sentence of the field has it.
FORMS = {
    r"[«»]": "straight quotes, or code marks",
    r"(?<![Tt]here )(?<!where )\b(?:is|are|was|were) no (?!longer|more|one\b|matter)[a-z]": "is not a valid ...",
    r"\b(?:is|are) none of\b": "is not one of",
    r"\b(?:anew|whereof|thereof|hereby|thither)\b": "again, of which",
    r"\btells? of\b": "reports",
    r"\b(?:nobody|somebody|whoever)\b": "who it is: users, clients, another tool",
    r"\bis told\b|\bare told\b": "is reported",
    r"\bthere twice\b": "duplicate",
}
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "roles").glob("*/README.md")),
    *sorted((ROOT / "extensions").glob("molecule/README.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
PLAYED = sorted(
    path
    for folder in ("playbooks", "roles", "examples", "extensions", "meta", "changelogs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".yml", ".yaml", ".j2") and ".cache" not in path.parts
)
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))


def literals(path: Path) -> str:
    """Every text that a plugin holds, documentation and messages, without its comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    }
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in own
    ]
    return "\n".join(node.value for node in sorted(found, key=lambda node: (node.lineno, node.col_offset)))


def said(path: Path) -> str:
    """What a user reads of a file."""
    return literals(path) if path.suffix == ".py" else path.read_text(encoding="utf-8")


def found(rules: dict[str, str], text: str) -> list[str]:
    return [
        f"{match.group().strip()!r} in {text[max(0, match.start() - 40) : match.end() + 40]!r}: {instead}"
        for rule, instead in rules.items()
        for match in re.finditer(rule, text, re.MULTILINE)
    ]


@pytest.mark.parametrize("path", [*PAGES, *PLAYED, *PLUGINS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_that_was_given_up_comes_back(path):
    assert found(OLD, said(path)) == []


@pytest.mark.parametrize("path", [*PAGES, *PLUGINS], ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_have_plain_forms(path):
    assert found(FORMS, said(path)) == []


@pytest.mark.parametrize("path", PLAYED, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_of_tasks_have_plain_forms(path):
    named = re.findall(r"^ *- name: (.*)$|^ *(?:fail_msg|msg|description|why): (.*)$", said(path), re.MULTILINE)
    assert found(FORMS, "\n".join(text for pair in named for text in pair)) == []


@pytest.mark.parametrize("rule", [*OLD, *FORMS])
def test_a_rule_is_a_regular_expression_that_finds_something(rule):
    assert re.compile(rule, re.MULTILINE) and not re.search(rule, "")
