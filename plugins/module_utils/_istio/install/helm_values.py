# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that nothing reads. Helm takes them without a word, and a misspelt one is no setting at all; istioctl refuses
the first it meets.

What a release's charts read is what their own values, profiles and templates name. A section that a template takes as a
whole may hold anything.
"""

from __future__ import annotations

import difflib
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..._failure import InvalidOption, did_you_mean
from ..._libraries import yaml

# {key: what is known below it}; None where anything may be.
Known = dict[str, Any]
ISTIOD = "istio-control/istio-discovery"
# Chart -> the section of the values that is its own, beside the top level.
CHARTS = {ISTIOD: "pilot", "base": "", "istio-cni": "cni", "ztunnel": "ztunnel"}
# Sections that a template names as a whole only to pick from them. What gateways holds has its own judge.
PICKED = {("global",), ("gateways",)}
DEFAULTS = "_internal_defaults_do_not_set"
READ = re.compile(r"\.Values((?:\.[A-Za-z]\w*)+)")
PROFILE = "profile-*.yaml"
# How Go's protobuf names a field of a message in a binary.
FIELD = re.compile(rb'protobuf:"[^"\n]{1,80}?(?:name|json)=([A-Za-z]\w*)')
UNKNOWN_FIELD = re.compile(r'unknown field "([^"]+)"')


def refuse_unknown(folder: Path, values: dict[str, Any]) -> None:
    """folder: a release's charts. Raises InvalidOption "unknown_value" that names every value that none of them reads,
    and what is near.
    """
    known = _known(folder)
    found = [".".join(path) for path in _unknown(known, values, ())]
    if found:
        near = [_near(known, path.split(".")) for path in found]
        hint = (
            f"Did you mean {', '.join(dict.fromkeys(name for name in near if name))}?" if any(near) else "Remove them."
        )
        raise InvalidOption(
            "values", f"the charts of this release do not use {', '.join(found)}", hint=hint, code="unknown_value"
        )


def nearest_in(program: Path, text: str) -> str:
    """«Did you mean …?» for an unknown field that a program's refusal names, from the fields of the program's own
    messages; else empty.
    """
    found = UNKNOWN_FIELD.search(text)
    if not found:
        return ""
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = {name.decode() for name in FIELD.findall(content) if b"_" not in name}
    return did_you_mean(found[1], sorted(names))


def _known(folder: Path) -> Known:
    root: Known = {"gateways": None, "compatibilityVersion": None, "profile": None, "platform": None}
    for chart, section in CHARTS.items():
        tree = _of_chart(folder / chart)
        # Every chart gets all values; most say their own under its name.
        for key, below in (
            {**tree, section: {name: inner for name, inner in tree.items() if name != "global"}} if section else tree
        ).items():
            root[key] = _union(root[key], below) if key in root else below
    return root


def _of_chart(folder: Path) -> Known:
    """Raises InvalidOption where the folder holds no chart."""
    try:
        declared = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8")) or {}
        tree: Known = _tree({**declared, **(declared.get(DEFAULTS) or {})}) or {}
        for path in (folder / "files").glob(PROFILE):
            tree = _union(tree, _tree(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) or {}) or {}
        texts = [
            path.read_text(encoding="utf-8")
            for part in ("templates", "files")
            for path in (folder / part).glob("*")
            if path.is_file()
        ]
    except (OSError, ValueError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise InvalidOption(
            "charts",
            f"{folder} contains no readable chart: {error}",
            hint="Set charts to the charts of an unpacked release.",
        ) from error
    for read in sorted({tuple(match[1].strip(".").split(".")) for text in texts for match in READ.finditer(text)}):
        _add(tree, read)
    return tree


def _tree(value: Any) -> Known | None:
    """What may be below a value that is declared so."""
    return {key: _tree(inner) for key, inner in value.items()} if isinstance(value, dict) and value else None


def _union(one: Known | None, two: Known | None) -> Known | None:
    if one is None or two is None:
        return None
    return {
        key: _union(one[key], two[key]) if key in one and key in two else one.get(key, two.get(key))
        for key in {**one, **two}
    }


def _add(tree: Known, read: tuple[str, ...]) -> None:
    """A template reads this: with all that is below, where it names no more."""
    *way, last = read
    place: Known | None = tree
    for key in way:
        if place is None:
            return
        place = place.setdefault(key, {})
    if place is not None and (read not in PICKED or last not in place):
        place[last] = None


def _unknown(known: Known | None, values: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if known is None or not isinstance(values, dict):
        return
    for key, value in values.items():
        if key in known:
            yield from _unknown(known[key], value, (*path, key))
        else:
            yield (*path, str(key))


def _near(known: Known, path: list[str]) -> str:
    """The nearest name beside it; else the same name, or nearly, in another section."""
    place: Any = known
    for key in path[:-1]:
        place = (place or {}).get(key)
    beside = difflib.get_close_matches(path[-1], list(place or {}), n=1)
    if beside:
        return ".".join([*path[:-1], *beside])
    everywhere = {".".join(way): way[-1] for way in sorted(_ways(known, ()), key=len)}
    other = difflib.get_close_matches(path[-1], list(everywhere.values()), n=1, cutoff=0.8)
    return next((way for way, name in everywhere.items() if other and name == other[0]), "")


def _ways(known: Known | None, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for key, below in (known or {}).items():
        yield (*path, key)
        yield from _ways(below, (*path, key))
