# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries that do not come with Python. All that needs one takes it from here, but for the Kubernetes client, which
is _cluster's own.

A library that is not installed is None here, or for a class `object`: files can be imported without it. What uses one
calls `require`
before it does anything else; for PyYAML, which everything needs, the frame of every module does.
"""

from __future__ import annotations

import traceback

from ansible.module_utils.basic import missing_required_lib

from ._failure import Failure

__all__ = ["JMESPATH", "KUBERNETES", "YAML", "SafeDumper", "SafeLoader", "jmespath", "missing", "require", "yaml"]

# Names by which pip installs them -> what requirements.txt says of them.
YAML, JMESPATH, KUBERNETES = "PyYAML", "jmespath", "kubernetes"
NEEDED = {YAML: "PyYAML>=6.0", JMESPATH: "jmespath>=1.0", KUBERNETES: "kubernetes>=29.0.0"}
# Why an import failed, in Python's words.
_errors: dict[str, str] = {}


def missing(name: str) -> None:
    """Notes, where an import failed, that this library is not there."""
    _errors[name] = traceback.format_exc()


def require(*names: str) -> None:
    """Raises Failure "missing_library" for the first one that is not there."""
    for name in names:
        if name in _errors:
            raise Failure(
                "missing_library",
                missing_required_lib(name),
                reason=_errors[name],
                hint=f"Install it for that Python: pip install '{NEEDED[name]}'",
            )


try:
    import yaml

    try:
        from yaml import CSafeDumper as SafeDumper
        from yaml import CSafeLoader as SafeLoader
    except ImportError:  # PyYAML without libyaml: the same, slower
        from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]
except ImportError:
    missing(YAML)
    yaml = None  # type: ignore[assignment]
    SafeDumper = SafeLoader = object  # type: ignore[assignment,misc]

try:
    import jmespath
except ImportError:
    missing(JMESPATH)
    jmespath = None  # type: ignore[assignment]
