# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._engine.files import managed_directory
from ansible_collections.servicemesh.istio.plugins.module_utils._failure import Failure


def made(root, wanted, owned=(), private=()):
    """{name: action} of a plan that was carried out."""
    changes = managed_directory.plan_files(root, wanted, set(owned), private)
    managed_directory.apply_files(root, changes)
    return {change.name: change.action for change in changes}


def there(root):
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_files_come_stay_change_and_go_with_their_folders(tmp_path):
    root = tmp_path / "new" / "root"
    assert made(root, {"a/one.yaml": "1", "a/b/two.yaml": "2"}) == {"a/one.yaml": "created", "a/b/two.yaml": "created"}
    assert made(root, {"a/one.yaml": "1", "a/b/two.yaml": "3"}, ["a/one.yaml", "a/b/two.yaml"]) == {
        "a/one.yaml": "unchanged",
        "a/b/two.yaml": "configured",
    }
    assert made(root, {"a/one.yaml": "1"}, ["a/one.yaml", "a/b/two.yaml", "a/never.yaml"]) == {
        "a/one.yaml": "unchanged",
        "a/b/two.yaml": "pruned",
    }
    assert there(root) == {"a/one.yaml": "1"} and not (root / "a/b").exists()


def test_a_strangers_file_is_neither_replaced_nor_deleted_and_keeps_its_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/notes.txt").write_text("mine")
    (tmp_path / "a/one.yaml").write_text("mine")
    with pytest.raises(Failure, match="was not written by this collection") as refused:
        made(tmp_path, {"a/one.yaml": "1"})
    assert refused.value.code == "not_ours"
    assert made(tmp_path, {}, ["a/one.yaml"]) == {"a/one.yaml": "pruned"} and there(tmp_path) == {"a/notes.txt": "mine"}


@pytest.mark.parametrize(
    "name",
    [
        "../out.yaml",
        "a/../../out.yaml",
        "/etc/out.yaml",
        "a//b.yaml",
        ".hidden/a.yaml",
        "a/..",
        "",
        "a b.yaml",
        "a.yaml\n",
    ],
)
def test_no_name_leads_out_of_the_folder_when_it_is_written_read_or_deleted(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "out.yaml").write_text("mine")
    for call in (
        lambda: made(root, {name: "1"}),
        lambda: made(root, {}, [name]),
        lambda: managed_directory.read_file(root, name),
    ):
        with pytest.raises(Failure) as refused:
            call()
        assert refused.value.code == "unsafe_path"
    assert there(tmp_path) == {"out.yaml": "mine"}


def test_a_link_is_not_followed(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "one.yaml").write_text("mine")
    (root / "a").symlink_to(outside)
    (root / "two.yaml").symlink_to(outside / "one.yaml")
    for name in ("a/one.yaml", "two.yaml"):
        with pytest.raises(Failure) as refused:
            made(root, {}, [name])
        assert refused.value.code == "unsafe_path"
    assert there(outside) == {"one.yaml": "mine"}


def test_private_files_are_their_owners_and_stay_so(tmp_path):
    names = ["secrets/a.yaml", "open/a.yaml"]
    before = os.umask(0o022)
    try:
        made(tmp_path, dict.fromkeys(names, "1"), private={"secrets"})
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in names] == [0o600, 0o644]
        (tmp_path / names[0]).chmod(0o644)
        assert made(tmp_path, dict.fromkeys(names, "1"), names, {"secrets"}) == {
            names[0]: "configured",
            names[1]: "unchanged",
        }
        assert (tmp_path / names[0]).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    made(tmp_path, {"a.yaml": "old"})

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        made(tmp_path, {"a.yaml": "new"}, ["a.yaml"])
    assert there(tmp_path) == {"a.yaml": "old"}


def test_a_folder_of_somebody_else_is_refused_and_what_is_hidden_does_not_count(tmp_path):
    managed_directory.require_empty(tmp_path / "nowhere", "dest")
    (tmp_path / ".git").mkdir()
    managed_directory.require_empty(tmp_path, "dest")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Failure, match="dest: .* contains notes.txt"):
        managed_directory.require_empty(tmp_path, "dest")
    with pytest.raises(Failure, match="is not a folder"):
        managed_directory.require_empty(tmp_path / "notes.txt", "dest")
