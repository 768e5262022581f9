# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever text, file or data is given as manifests: a list of documents that can be sent, or InvalidOption. Nothing
else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.files import manifests
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.objects import normalized, ref_of
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

PATHS = [str(Path(manifests.__file__).parents[7])]
FAST = settings(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
MEMORY, SECONDS = 1 << 30, 30

# What YAML is made of, and what its readers stumble over.
PIECES = (
    "a", "b", "- ", "-", ": ", ":", ", ", "\n", "  ", "\t", "&x ", "&y ", "*x", "*y", "<<: ", "<<", "{", "}", "[", "]", "? ", "| ", ">-", "'", '"', "#",
    "---\n", "...\n", "%YAML 1.2\n", "@", "`", "=", "~", "null", "yes", "0x", "0o7", "1_0", "1:30", "1e3", ".nan", ".inf", "-", "2026-01-31", "2026-13-99",
    "2026-01-31T10:00:00Z", "!!int ", "!!float ", "!!bool ", "!!null ", "!!timestamp ", "!!binary ", "!!set ", "!!omap ", "!!pairs ", "!!seq ", "!!map ",
    "!!str ",
    "!own ", "!!python/object:os.system ", "é", "🎈", "\x00", "\x85", "\ufeff", "\ud800",
)  # fmt: skip
scraps = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | words | st.dates().map(str)
data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=15
)


def parsed(text: str) -> list[Any] | None:
    """The documents; None where the text is refused with a reason."""
    try:
        documents = manifests.parse_manifests(text, "definition")
    except InvalidOption as refusal:
        assert refusal.code == "invalid_option" and refusal.message.startswith("definition: ")
        return None
    assert isinstance(documents, list)
    json.dumps(documents, allow_nan=False)
    return documents


def objects_of(folder: Path | None = None, **options: Any) -> list[dict[str, Any]]:
    """What a module would get to see."""
    return manifests.read_manifests(
        SimpleNamespace(
            options={"src": str(folder) if folder else None, **options},
            hide=lambda values: None,
            module=SimpleNamespace(params={}),
        )
    )  # type: ignore[arg-type]


@FAST
@given(st.text(max_size=60))
def test_any_text_is_documents_or_refused(text: str) -> None:
    parsed(text)


@settings(FAST, max_examples=1500)
@given(scraps)
# Each of these made a reader of YAML raise something that is no YAML error.
@example("!!bool perhaps")
@example("!!int ''")
@example("!!int '_'")
@example("!!float ''")
@example("!!timestamp soon")
@example("!!map [a]")
@example("!!set {a}")
@example("!!omap [a: b]")
@example("!!binary aGVsbG8=")
@example("a: .nan")
@example("2026-01-31: a")
@example("&x [*x]")
@example("&x {a: *x}")
@example("a: &x {<<: *x}")
@example("\ud800")
@example("[" * 900 + "]" * 900)
@example("{a: " * 900 + "}" * 900)
@example("[" * 100_000)
@example("- " * 100_000)
@example("9" * 10_000)
def test_any_scraps_of_yaml_are_documents_or_refused(text: str) -> None:
    parsed(text)


@FAST
@given(data)
def test_what_is_written_as_yaml_or_json_is_read_back_as_it_was(document: Any) -> None:
    assert parsed(yaml.safe_dump(document, allow_unicode=True)) == [document]
    assert parsed(json.dumps(document, ensure_ascii=False)) == [document]


@FAST
@given(st.lists(data, min_size=1, max_size=4))
def test_several_documents_stay_several(documents: list[Any]) -> None:
    assert parsed(yaml.safe_dump_all(documents, allow_unicode=True, explicit_start=True)) == documents


@FAST
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True), st.data(), st.integers(0, 3))
def test_a_key_that_is_there_twice_is_refused_by_name(keys: list[str], choose: st.DataObject, depth: int) -> None:
    twice = choose.draw(st.sampled_from(keys))
    order = choose.draw(st.permutations([*keys, twice]))
    text = "{" + ", ".join(f"{key}: 1" for key in order) + "}"
    for _level in range(depth):
        text = f"[{{outer: {text}}}]"
    with pytest.raises(InvalidOption, match=f"duplicate key '{twice}'"):
        manifests.parse_manifests(text, "definition")


@FAST
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9), max_size=4),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9), max_size=4),
)
def test_what_a_merge_key_brings_may_be_overridden(brought: dict[str, int], own: dict[str, int]) -> None:
    text = f"base: &base {json.dumps(brought)}\nuse:\n  <<: *base\n" + "".join(
        f"  {key}: {value}\n" for key, value in own.items()
    )
    assert parsed(text) == [{"base": brought, "use": {**brought, **own}}]


# (text, what becomes of it): a merge key brings each key once, however often it is there.
BLOW_UPS = {
    "lists of lists": (
        "- &a0 [x]\n" + "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        "refused",
    ),
    "maps of maps": (
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}\n" for n in range(1, 12)),
        "refused",
    ),
    "merges of merges": (
        "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
        "refused or few values",
    ),
}


@pytest.mark.parametrize("name", BLOW_UPS)
def test_anchors_that_blow_up_cost_neither_memory_nor_time(name: str) -> None:
    text, outcome = BLOW_UPS[name]
    # In a process of its own: one that fails would take the tests with it.
    program = f"""
import resource, sys
sys.path[:0] = {PATHS!r}
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.files import manifests
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import InvalidOption
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))
resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
try:
    print("few values" if len(str(manifests.parse_manifests(sys.stdin.read(), "definition"))) < 1000 else "many values")
except InvalidOption:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() in outcome.split(" or "), done.stdout + done.stderr[-500:]


def test_an_anchor_that_is_used_often_but_stays_small_is_no_blow_up() -> None:
    text = "base: &base {a: 1, b: 2}\nuses:\n" + "- {<<: *base, c: 3}\n- *base\n" * 2000
    (document,) = manifests.parse_manifests(text, "definition")
    assert len(document["uses"]) == 4000 and document["uses"][-2] == {"a": 1, "b": 2, "c": 3}


def test_a_date_stays_the_text_that_it_was() -> None:
    assert manifests.parse_manifests("released: 2026-01-31\n2026-02-01: later\n", "definition") == [
        {"released": "2026-01-31", "2026-02-01": "later"}
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("just words", "document 1 is str"),
        ("- 1\n- 2", "document 1 is int"),
        ("--- {}\n", "has no apiVersion"),
        ("42", "document 1 is int"),
    ],
)
def test_a_document_that_is_no_object_is_refused_by_its_place(text: str, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        objects_of(definition=text)


near_objects = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": st.sampled_from(["v1", "apps/v1", "a/b/c", ""]) | scalars,
        "kind": st.sampled_from(["ConfigMap", "Secret", "List", "CustomResourceDefinition", ""]) | scalars,
        "metadata": (
            st.fixed_dictionaries(
                {},
                optional={
                    key: st.just("one") | data
                    for key in ("name", "namespace", "labels", "annotations", "resourceVersion")
                },
            )
            | data
        ),
        "data": st.dictionaries(words, words, max_size=3) | data,
        "stringData": st.dictionaries(words, words, max_size=3) | data,
        "items": st.lists(data, max_size=2) | data,
        "spec": data,
    },
)


@settings(FAST, max_examples=1000)
@given(st.lists(near_objects | data, max_size=3))
@example([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "labels": ["a"]}}])
@example([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": 1}}])
@example([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "data": "text"}])
@example([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "stringData": ["text"]}])
@example(
    [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "data": ["text"], "stringData": {"a": "b"}}]
)
def test_data_that_is_almost_an_object_is_taken_or_refused(documents: list[Any]) -> None:
    try:
        found = objects_of(definition=documents)
    except InvalidOption:
        return
    assert len({ref_of(normalized(obj, "default")) for obj in found}) <= len(found)


def test_a_file_that_is_not_utf_8_is_refused_by_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {a: é}\n".encode("latin-1"))
    with pytest.raises(InvalidOption, match="utf-8.*0xe9"):
        objects_of(path)


@FAST
@given(st.binary(max_size=80))
def test_any_bytes_in_a_file_are_documents_or_refused(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        objects_of(path)
    except InvalidOption as refusal:
        assert refusal.message.startswith("src")


@pytest.mark.parametrize("content", ["", "\n", "---\n", "---\n---\n", "# only words\n", "null\n"])
def test_a_file_without_any_object_gives_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "empty.yaml").write_text(content)
    assert objects_of(tmp_path) == []


def test_a_file_of_ten_megabytes_is_read_whole(tmp_path: Path) -> None:
    text = "x" * 10_000
    item = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"text": text}}
    with open(tmp_path / "large.yaml", "w", encoding="utf-8") as file:
        for number in range(1050):
            file.write(f"---\n{json.dumps({**item, 'metadata': {'name': f'c{number}'}})}\n")
    assert (tmp_path / "large.yaml").stat().st_size > 10_000_000
    found = objects_of(tmp_path)
    assert len(found) == 1050 and all(obj["data"]["text"] == text for obj in found)
