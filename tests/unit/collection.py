# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as its files say it is: what the contract tests compare with each other."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._engine import module as run

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = "ansible_collections.servicemesh.istio.plugins"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))
FILTERS = sorted(path.stem for path in (ROOT / "plugins" / "filter").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PREFIX = "servicemesh.istio."
Doc = dict[str, Any]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def module(name: str) -> Any:
    return importlib.import_module(f"{PLUGINS}.modules.{name}")


class Captured(BaseException):
    """Ends main() where Ansible would take over."""


@functools.cache
def spec(name: str) -> Doc:
    """All that a module hands to AnsibleModule, its connection's part included."""
    with mock.patch.object(run, "AnsibleModule", side_effect=Captured) as ansible:
        try:
            module(name).main()
        except Captured:
            return dict(ansible.call_args.kwargs)
    raise AssertionError(f"{name} makes no AnsibleModule")


def arguments(name: str) -> Doc:
    """What a module takes."""
    return dict(spec(name)["argument_spec"])


def fragments(name: str) -> list[Doc]:
    found = []
    for reference in yaml.safe_load(module(name).DOCUMENTATION)["extends_documentation_fragment"]:
        file, _dot, part = reference.removeprefix(PREFIX).partition(".")
        holder = importlib.import_module(f"{PLUGINS}.doc_fragments.{file}").ModuleDocFragment
        found.append(yaml.safe_load(getattr(holder, part.upper() or "DOCUMENTATION")))
    return found


@functools.cache
def documentation(name: str) -> Doc:
    """A module's documentation with its fragments; its own words win."""
    own: Doc = yaml.safe_load(module(name).DOCUMENTATION)
    options: Doc = {}
    attributes: dict[str, Doc] = {}
    for part in [*fragments(name), own]:
        options.update(part.get("options") or {})
        for attribute, words in (part.get("attributes") or {}).items():
            attributes[attribute] = {**attributes.get(attribute, {}), **words}
    return {**own, "options": options, "attributes": attributes}


def tasks(content: Any) -> Iterator[Doc]:
    """Every task of a playbook, task list or block, however deep."""
    for entry in content or []:
        if not isinstance(entry, dict):
            continue
        inner = [
            entry[key]
            for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")
            if key in entry
        ]
        for part in inner:
            yield from tasks(part)
        if not inner:
            yield entry


def calls(content: Any) -> Iterator[tuple[str, Doc]]:
    """(module, options) of every task that calls a module of ours."""
    for task in tasks(content):
        for key, options in task.items():
            if key.removeprefix(PREFIX) in MODULES and key.startswith(PREFIX):
                yield key.removeprefix(PREFIX), options or {}


def wrong_options(name: str, options: Doc) -> list[str]:
    """What no run of the module would take: unknown options, missing ones, values that are no choice."""
    known = arguments(name)
    names = {alias: key for key, value in known.items() for alias in (key, *value.get("aliases", []))}
    wrong = [f"{name} has no option {option}" for option in options if option not in names]
    wrong += [
        f"{name} needs {key}"
        for key, value in known.items()
        if value.get("required") and key not in {names.get(option) for option in options}
    ]
    for option, value in options.items():
        choices = known.get(names.get(option, ""), {}).get("choices")
        if choices and isinstance(value, str) and "{{" not in value and value not in choices:
            wrong.append(f"{name} {option}: {value} is none of {choices}")
    return wrong
