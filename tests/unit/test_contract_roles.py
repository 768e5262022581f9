# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles and playbooks promise is what they use: variables, their defaults and words, and calls of modules."""

from __future__ import annotations

import functools
import json
import re

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._traffic.features.registry import FEATURES
from collection import FILTERS, MODULES, PREFIX, ROLES, ROOT, calls, load, tasks, wrong_options

PLAYED = sorted(
    path
    for folder in ("roles", "playbooks", "examples", "extensions", "tests/integration")
    for path in (ROOT / folder).rglob("*.yml")
    if path.parent.name != "meta"
)
# Longest first: no role's name may hide that of another.
NAMES = sorted(ROLES, key=len, reverse=True)
# Not before a dot or slash, which are names of modules and files.
VARIABLE = re.compile(rf"(?<![\w./])(?:{'|'.join(NAMES)})_\w+(?!\.yml|\.j2)")


@functools.cache
def defaults(role):
    return load(f"roles/{role}/defaults/main.yml") or {}


@functools.cache
def options(role):
    return load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def texts(role):
    """Everything that a role runs, as text."""
    return {
        path: path.read_text(encoding="utf-8")
        for part in ("tasks", "templates", "handlers", "vars")
        for path in sorted((ROOT / "roles" / role / part).glob("*"))
    }


@functools.cache
def made(role):
    """Variables that a role makes on its way: registered, set for a task, taken from a loop, or in its vars."""
    found = set()
    for path, text in texts(role).items():
        if path.suffix != ".yml":
            continue
        content = yaml.safe_load(text)
        if path.parent.name == "vars":
            found |= set(content or {})
            continue
        for task in tasks(content):
            found |= {task.get("register"), (task.get("loop_control") or {}).get("loop_var"), *(task.get("vars") or {})}
            found |= set(task.get("ansible.builtin.set_fact") or {})
    return found - {None}


def strings(value):
    """Every text in a value; a default may itself be a template."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@functools.cache
def used(role):
    return {name for text in [*texts(role).values(), *strings(defaults(role))] for name in VARIABLE.findall(text)}


def owner(variable):
    return next(role for role in NAMES if variable.startswith(f"{role}_"))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_argument_spec(role):
    assert {name: words.get("default") for name, words in options(role).items()} == defaults(role)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_of_their_type_and_among_their_choices(role):
    types = {"str": str, "bool": bool, "int": int, "float": float, "list": list, "dict": dict, "path": str}
    for name, words in options(role).items():
        assert words["description"] and isinstance(words["default"], types[words["type"]]), name
        assert words["type"] != "list" or words["elements"], name
        assert "choices" not in words or words["default"] in words["choices"], name


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_carries_the_name_of_its_role(role):
    assert all(name.startswith(f"{role}_") for name in defaults(role))
    # A task may also set what it hands to another role.
    assert all(owner(name) for name in made(role))


def as_shown(default):
    """A default as a README writes it."""
    if isinstance(default, bool) or default == "":
        return {True: "true", False: "false", "": "empty"}[default]
    return f"`{json.dumps(default) if isinstance(default, (list, dict)) else default}`"


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_tells_of_every_variable_and_of_no_other(role):
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    assert [row[0] for row in rows] == list(defaults(role))
    assert PREFIX + role in text
    for name, shown, meaning in rows:
        assert meaning == options(role)[name]["description"], name
        default = defaults(role)[name]
        longer = isinstance(default, (list, dict)) and default
        assert shown == as_shown(default) or (longer and shown == "see `defaults/main.yml`"), name


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_that_is_used_is_declared_and_the_other_way_round(role):
    for name in used(role):
        home = owner(name)
        assert name in defaults(home) or name in made(home), f"{role} uses {name}"
    assert set(defaults(role)) <= used(role), "what is declared is used"


@functools.cache
def everything():
    """All that roles and playbooks run, less the lines that only give a result its name."""
    found = [text for role in ROLES for text in texts(role).values()]
    found += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "playbooks").rglob("*")) if path.is_file()]
    return re.sub(r"^\s*(register|loop_var): .*$", "", "\n".join(found), flags=re.MULTILINE)


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_made_that_nobody_uses(role):
    # Where it is followed by a colon it is set, and a default of another role is that role's to use.
    own = {name for name in made(role) if name not in defaults(owner(name))}
    assert {name for name in own if not re.search(rf"\b{name}\b(?!:)", everything())} == set()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_described_and_licensed(role):
    about = load(f"roles/{role}/meta/main.yml")["galaxy_info"]
    assert (
        about["description"]
        == load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["short_description"]
    )
    assert about["license"] == "GPL-3.0-or-later"


@pytest.mark.parametrize("path", PLAYED, ids=[str(path.relative_to(ROOT)) for path in PLAYED])
def test_modules_are_called_by_options_that_they_have(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, list):
        return
    for name, given in calls(content):
        if isinstance(given, dict):
            assert wrong_options(name, given) == []


@pytest.mark.parametrize("path", PLAYED, ids=[str(path.relative_to(ROOT)) for path in PLAYED])
def test_what_is_called_from_this_collection_is_there(path):
    for name in re.findall(rf"{re.escape(PREFIX)}(\w+)", path.read_text(encoding="utf-8")):
        assert name in {*MODULES, *ROLES, *FILTERS, "all"}


def test_every_module_is_called_by_a_role_or_a_playbook():
    called = {
        name
        for path in PLAYED
        if (content := yaml.safe_load(path.read_text(encoding="utf-8"))) and isinstance(content, list)
        for name, _options in calls(content)
    }
    # Single policies and what comes before and after them are for people's own playbooks; the role says those of hosts
    # by one module.
    assert called | (set(FEATURES) - {"split"}) | {
        "traffic_split",
        "authorization",
        "proxy_status",
        "egress",
        "gateway",
        "jwt",
        "mtls",
        "preflight",
        "sidecar",
        "telemetry",
        "traffic_rollback",
    } == set(MODULES)
