# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects from the options of a module: given in place, in files, or behind a URL."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import math
import re
from pathlib import Path
from typing import Any

from ..._failure import Failure, InvalidOption
from ..._libraries import SafeLoader, yaml
from ..module import Run
from ..objects import SECRETS, Object, flatten

SUFFIXES = {".yaml", ".yml", ".json"}
# Lies beside objects and is none: it names files for a program.
NO_OBJECTS = {"kustomization.yaml", "kustomization.yml"}
DIGEST = re.compile(r"^(sha256:)?([0-9a-fA-F]{64})$")
DOWNLOAD_TIMEOUT = 30
# A list of 10,000 objects has about half a million values.
LARGEST = 5_000_000
PLAIN = (str, int, float, bool, type(None))


class UniqueKeys(SafeLoader):
    """YAML in which a key that is there twice is an error, not the silent loss of the first."""


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    # Before merge keys (<<) are opened: what they bring may be overridden.
    seen = set()
    for key_node, _value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key is not a plain value", key_node.start_mark)
        if key_node.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"duplicate key {key_node.value!r}", key_node.start_mark
            )
        seen.add(key_node.value)
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key, deep=True): loader.construct_object(value, deep=True) for key, value in node.value
    }


def _text(loader: Any, node: Any) -> Any:
    return loader.construct_scalar(node)


@functools.cache
def _loader() -> type[SafeLoader]:
    """At the first use, for without PyYAML there is nothing to add to."""
    UniqueKeys.add_constructor("tag:yaml.org,2002:map", _mapping)
    # A plain "=" is a string in a manifest, not YAML 1.1's value key.
    UniqueKeys.add_constructor("tag:yaml.org,2002:value", _text)
    # Kubernetes knows no dates: a date is the text that it was.
    UniqueKeys.add_constructor("tag:yaml.org,2002:timestamp", _text)
    return UniqueKeys


def read_manifests(run: Run) -> list[Object]:
    """All objects that `definition` or `src`, one place or several, hold. Raises InvalidOption naming the file,
    document and cause.

    Values of Secrets are hidden from all output from here on.
    """
    definition, src = run.options.get("definition"), run.options.get("src")
    if definition is not None:
        # Until it is known where the secrets are in it.
        run.module.params = {**run.module.params, "definition": "(hidden)"}
    if src:
        objects = [
            obj
            for one in ([src] if isinstance(src, str) else src)
            for obj in _objects(one, "src", run.options.get("checksum"))
        ]
    elif isinstance(definition, str):
        objects = flatten(parse_manifests(definition, "definition"), "definition")
    else:
        objects = flatten(definition if isinstance(definition, list) else [definition], "definition")
    run.hide({text for obj in objects if obj["kind"] == "Secret" for text in secret_values(obj)})
    if definition is not None:
        run.module.params = {**run.module.params, "definition": [_shown(obj) for obj in objects]}
    return objects


def _shown(obj: Object) -> Object:
    """The object as it may be shown in the module's invocation."""
    if obj["kind"] != "Secret":
        return obj
    return {**obj, **{field: dict.fromkeys(obj[field], "(hidden)") for field in SECRETS if obj.get(field)}}


def secret_values(secret: Object) -> set[str]:
    """Every value of a Secret, plain and in base64."""
    found = {str(value) for value in (secret.get("stringData") or {}).values()}
    found |= {base64.b64encode(value.encode("utf-8")).decode("ascii") for value in found}
    for value in (secret.get("data") or {}).values():
        found.add(str(value))
        with contextlib.suppress(ValueError):
            found.add(base64.b64decode(str(value), validate=True).decode("utf-8"))
    return found


def read_file(path: Path, option: str) -> list[Object]:
    """All objects of one file. Raises InvalidOption."""
    return _objects(str(path), option)


def _objects(src: str, option: str, checksum: str | None = None) -> list[Object]:
    return [
        obj
        for name, text in _texts(src, checksum)
        for obj in flatten(parse_manifests(text, f"{option} {name}"), f"{option} {name}")
    ]


def parse_manifests(text: str, option: str) -> list[Any]:
    try:
        documents = list(yaml.load_all(text, Loader=_loader()))
        size = sum(_size(document, {}) for document in documents)
    # The last ones are what the library lets through for a tag that its value does not fit, and for a document inside
    # itself.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise InvalidOption(option, f"is not valid YAML: {_problem(error)}") from None
    if size > LARGEST:
        raise InvalidOption(
            option,
            f"expands to more than {LARGEST} values through its anchors",
            hint="Remove nested anchors from the document.",
        )
    return documents


def _problem(error: Exception) -> str:
    """What is wrong and where, without the text around it, which may be a secret."""
    mark = getattr(error, "problem_mark", None)
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{getattr(error, 'problem', None) or error}{place}"


def _size(value: Any, known: dict[int, int]) -> int:
    """Number of values, with every alias counted as often as it is used; each shared part is looked at once."""
    if not isinstance(value, (dict, list)):
        if not isinstance(value, PLAIN) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{value!r} is not a valid value in a Kubernetes object")
        return 1
    if id(value) not in known:
        known[id(value)] = 1 + sum(
            _size(item, known) for item in (value.values() if isinstance(value, dict) else value)
        )
    return known[id(value)]


def _texts(src: str, checksum: str | None = None) -> list[tuple[str, str]]:
    """(name, text) of each file. Raises InvalidOption; Failure "checksum" where a file is not the one that was
    meant.
    """
    remote = src.startswith(("http://", "https://"))
    path = Path(src).expanduser()
    if not remote and not path.exists():
        raise InvalidOption("src", f"{path} does not exist on the host where this task runs")
    if checksum and not DIGEST.match(checksum):
        raise InvalidOption(
            "checksum",
            f"{checksum!r} is not a valid sha256",
            hint="Use 64 hexadecimal digits, with or without the prefix sha256:.",
        )
    if checksum and not remote and path.is_dir():
        raise InvalidOption("checksum", f"{path} is a folder", hint="Set the path of a file.")
    try:
        if remote:
            return [(src, _verified(src, _downloaded(src), checksum))]
        files = (
            sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.name not in NO_OBJECTS)
            if path.is_dir()
            else [path]
        )
        return [(str(file), _verified(str(file), file.read_bytes(), checksum)) for file in files]
    except (OSError, ValueError) as error:
        raise InvalidOption("src", f"cannot read {src}: {error}") from error


def _downloaded(src: str) -> bytes:
    # Here, for it loads a whole TLS library that a file needs none of.
    from ansible.module_utils.urls import open_url

    content: bytes = open_url(src, timeout=DOWNLOAD_TIMEOUT).read()
    return content


def _verified(name: str, content: bytes, checksum: str | None) -> str:
    digest = hashlib.sha256(content).hexdigest()
    if checksum and digest != checksum.rpartition(":")[2].lower():
        hint = "The file is damaged or was replaced, or the checksum belongs to another file. The file was not used."
        raise Failure(
            "checksum", f"{name} has sha256 {digest}, expected {checksum}", reason="checksum mismatch", hint=hint
        )
    return content.decode("utf-8")
