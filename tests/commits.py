# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the subjects of commits: "area: what it does", at most 72 characters, no period.

Only commits on top of the one that added this file: those before it have other forms. A shallow clone has fewer of
them, and a folder without history has none.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LONGEST = 72
AREA = r"[a-z][a-z0-9_.-]*"
FORM = re.compile(rf"{AREA}(?:, {AREA})*: [a-z0-9\"'`_(].*[^.\s]")
# Git's own, and what is squashed before it lands.
EXEMPT = re.compile(r'Revert "|(?:fixup|squash|amend)! ')
# A verb in another form than the imperative, as far as its letters tell.
OTHER_FORM = re.compile(
    r": (?:added|adds|adding|changed|changes|fixed|fixes|fixing|removed|removes|renamed|uses|using)\b"
)


def problems(subject: str) -> list[str]:
    """What is wrong with a subject."""
    if EXEMPT.match(subject):
        return []
    found = []
    if len(subject) > LONGEST:
        found.append(f"it has {len(subject)} characters, more than {LONGEST}")
    if not FORM.fullmatch(subject):
        found.append('it is not of the form "area: what it does", without a period')
    if OTHER_FORM.search(subject):
        found.append("its verb is not in the imperative")
    return found


def git(*arguments: str) -> str | None:
    """Git's output in this file's folder; None if git, or a repository, is missing."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def subjects() -> list[tuple[str, str]]:
    """(hash, subject) of each commit that descends from the one that added this file."""
    added = git("log", "--diff-filter=A", "--format=%H", "--", Path(__file__).name)
    if not added:
        return []
    first = added.splitlines()[-1]
    listed = git("log", "--no-merges", "--ancestry-path", "--format=%h %s", f"{first}..HEAD") or ""
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in listed.splitlines()]


def main() -> int:
    wrong = [f"{commit} {subject!r}: {text}" for commit, subject in subjects() for text in problems(subject)]
    print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
