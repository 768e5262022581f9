# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of commit subjects: which are right, from which commit on, and that it passes where there is no history."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import pytest
from collection import ROOT

SCRIPT = ROOT / "tests/commits.py"


def load_script():
    spec = importlib.util.spec_from_file_location("commits", SCRIPT)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("subject", "wrong"),
    [
        ("traffic: reject a split without pods", 0),
        ("docs, roles: describe variables by what they set", 0),
        ("control_plane: look up istioctl on PATH", 0),
        ('Revert "traffic: reject a split without pods"', 0),
        ("fixup! whatever", 0),
        ("Reject a split without pods", 1),
        ("traffic: Reject a split without pods", 1),
        ("traffic: reject a split without pods.", 1),
        ("traffic: rejects", 0),
        ("traffic: added a split", 1),
        (f"traffic: {'x' * 64}", 1),
        (f"traffic: {'x' * 63}", 0),
    ],
)
def test_a_subject_has_an_area_an_imperative_and_at_most_72_characters(subject, wrong):
    assert len(load_script().problems(subject)) == wrong


def check(folder):
    argv = [sys.executable, str(folder / "tests/commits.py")]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)


@pytest.fixture
def repository(tmp_path):
    """A commit of an older form, then the one that adds the script."""
    folder = tmp_path / "repository"
    (folder / "tests").mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "Of another form.")
    shutil.copy(SCRIPT, folder / "tests/commits.py")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "The script itself")
    return folder


def test_commits_from_the_script_on_are_checked_and_those_before_it_are_not(repository):
    assert check(repository) == (0, "")
    git(repository, "commit", "-q", "--allow-empty", "-m", "traffic: reject a split without pods")
    assert check(repository) == (0, "")
    git(repository, "commit", "-q", "--allow-empty", "-m", "Of another form")
    status, text = check(repository)
    assert status == 1 and "'Of another form': it is not of the form" in text


def test_a_branch_that_began_before_it_is_not_checked(repository):
    git(repository, "checkout", "-q", "-b", "older", "HEAD~1")
    git(repository, "commit", "-q", "--allow-empty", "-m", "Of another form, too")
    git(repository, "checkout", "-q", "-")
    git(repository, "merge", "-q", "--no-ff", "-m", "Merge branch older", "older")
    assert check(repository) == (0, "")


def test_a_shallow_clone_checks_what_it_has_and_a_folder_without_history_nothing(repository, tmp_path):
    git(repository, "commit", "-q", "--allow-empty", "-m", "Of another form")
    git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), "shallow")
    assert check(tmp_path / "shallow") == (0, "")
    shutil.copytree(repository / "tests", tmp_path / "unpacked" / "tests")
    assert check(tmp_path / "unpacked") == (0, "")
