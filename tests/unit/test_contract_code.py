# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the code is built: which part may import which, how large a module may grow, whose license stands on each
file.
"""

from __future__ import annotations

import ast
import functools
import subprocess
from pathlib import Path

import pytest
from collection import MODULES, ROOT

UTILS = ROOT / "plugins" / "module_utils"
SOURCES = sorted((ROOT / "plugins").rglob("*.py"))
HTTP = ("urllib3", "requests", "http.client", "socket", "kubernetes")
# Part -> what it may not import: parts of ours, and modules that reach a network.
FORBIDDEN = {
    "_cluster": ("_engine", "_checks", "_istio", "_proxy", "_probe", "_mesh", "_traffic", "_preflight"),
    "_engine": ("_checks", "_istio", "_proxy", "_probe", "_mesh", "_traffic", "_preflight", *HTTP),
    "_istio": ("_checks", "_cluster", "_proxy", "_probe", "_mesh", "_traffic", "_preflight", *HTTP),
    "_proxy": ("_checks", "_probe", "_mesh", "_traffic", "_preflight", "urllib3", "requests", "kubernetes"),
    "_probe": ("_checks", "_mesh", "_traffic", "_preflight", "urllib3", "requests", "kubernetes"),
    "_checks": ("_cluster", "_istio", "_proxy", "_probe", "_mesh", "_traffic", "_preflight", *HTTP),
    "_mesh": ("_cluster", "_probe", "_traffic", "_preflight", *HTTP),
    "_traffic": ("_checks", "_cluster", "_istio", "_probe", "_mesh", "_preflight", *HTTP),
    # What others know of Istio and of traffic, brought together.
    "_preflight": ("_cluster", "_proxy", "_probe", *HTTP),
    "modules": ("_cluster", *HTTP),
}
# A download may break off in the words of this library.
ALLOWED = {"release.py": {"http.client"}}
LARGEST_MODULE = 125
LARGEST_FOLDER = 16
# As a function of a module these do not tell what they do.
BARE_NAMES = {"check", "read", "look", "of", "row", "place"}
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
HEADER = ("SPDX-FileCopyrightText: The servicemesh.istio authors", "SPDX-License-Identifier: GPL-3.0-or-later")
WITH_HEADER = {".py", ".yml", ".yaml", ".sh", ".j2", ".go"}
# Written by Go's own tools from what is named in them.
GENERATED = "tests/lab/go/"


@functools.cache
def imports(path):
    """Full names of all that a file imports, wherever it does; relative ones from the plugins folder on."""
    found = []
    package = path.relative_to(ROOT / "plugins").with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found += [start, *(f"{start}.{alias.name}" for alias in node.names)]
    return found


def reaches(name, target):
    """Whether an import is of a module, one inside it, or of a part of ours."""
    return name == target or name.startswith(f"{target}.") or (target.startswith("_") and target in name.split("."))


def part_of(path):
    return next(
        part
        for part in path.parts[::-1]
        if part in FORBIDDEN or part in ("module_utils", "doc_fragments", "action", "plugins")
    )


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_imports_go_one_way(path):
    for name in set(imports(path)) - ALLOWED.get(path.name, set()):
        for target in FORBIDDEN.get(part_of(path), ()):
            assert not reaches(name, target), f"{name} in {part_of(path)}"


def test_downloads_are_the_only_network_of_what_knows_istio():
    users = {
        path.name
        for path in (UTILS / "_istio").rglob("*.py")
        if any(reaches(name, "urllib") or name.endswith("open_url") for name in imports(path))
    }
    assert users == {"release.py"}


def test_only_one_file_speaks_http_to_api_servers():
    assert {path.name for path in SOURCES if any(reaches(name, "urllib3") for name in imports(path))} == {"http.py"}
    assert {path.parent.name for path in SOURCES if any(reaches(name, "kubernetes") for name in imports(path))} == {
        "_cluster"
    }


def test_a_library_that_may_be_missing_is_imported_in_one_place():
    shared = {
        path.name
        for path in UTILS.rglob("*.py")
        if any(reaches(name, library) for name in imports(path) for library in ("yaml", "jmespath"))
    }
    assert shared == {"_libraries.py"}


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in UTILS.rglob("*.py")}), ids=lambda folder: str(folder.relative_to(ROOT))
)
def test_a_folder_stays_small_enough_to_be_taken_in(folder):
    assert len(list(folder.glob("*.py"))) <= LARGEST_FOLDER


def test_a_class_has_one_meaning_and_a_function_says_what_it_does():
    bodies = {path: ast.parse(path.read_text(encoding="utf-8")).body for path in UTILS.rglob("*.py")}
    classes = [node.name for body in bodies.values() for node in body if isinstance(node, ast.ClassDef)]
    assert sorted(name for name in set(classes) if classes.count(name) > 1) == []
    functions = {
        f"{path.name}: {node.name}"
        for path, body in bodies.items()
        for node in body
        if isinstance(node, ast.FunctionDef) and node.name in BARE_NAMES
    }
    assert functions == set()


def code_lines(path):
    """Lines that are neither empty, nor comment, nor one of the documentation strings."""
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.parse(text).body:
        if (
            isinstance(node, ast.Assign)
            and {target.id for target in node.targets if isinstance(target, ast.Name)} & DOCUMENTATION
        ):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return [
        line
        for number, line in enumerate(text.splitlines(), 1)
        if number not in documented and line.strip() and not line.lstrip().startswith("#")
    ]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_stays_small(name):
    assert len(code_lines(ROOT / "plugins" / "modules" / f"{name}.py")) <= LARGEST_MODULE


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.stat().st_size], ids=lambda path: str(path.relative_to(ROOT))
)
def test_plugins_run_on_an_old_python(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    futures = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for alias in node.names
    }
    assert "annotations" in futures
    assert not any(isinstance(node, getattr(ast, "Match", ())) for node in ast.walk(tree))


def ours():
    if not (ROOT / ".git").exists():
        pytest.skip("only a checkout knows which files are ours")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        Path(name)
        for name in listed
        if (Path(name).suffix in WITH_HEADER or Path(name).name == "Makefile") and not name.startswith(GENERATED)
    ]


def test_every_file_carries_its_license():
    bare = []
    for name in ours():
        path = ROOT / name
        if not path.exists() or not path.stat().st_size:
            continue
        head = path.read_text(encoding="utf-8").splitlines()[:6]
        if not all(any(words in line for line in head) for words in HEADER):
            bare.append(str(name))
    assert bare == []


def test_no_key_of_the_vocabulary_is_a_truth_value_in_yaml():
    """YAML 1.1, which Ansible reads, takes on, off, yes, no, y and n for one: nobody could write such a key."""
    texts = [
        node
        for path in (UTILS / "_traffic").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Tuple)
    ]
    keys = {
        part.value
        for node in texts
        for part in node.elts
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
    assert "retry_on" in keys and not keys & {"on", "off", "yes", "no", "y", "n", "true", "false"}
