# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.servicemesh.istio.plugins.module_utils._probe.background_probe import Journal


def test_a_journal_gives_each_row_once_and_no_half_one(tmp_path):
    path = tmp_path / "run.rows"
    reader, writer = Journal(path), Journal(path)
    assert reader.rows() == []
    writer.append({"due": 1})
    assert reader.rows() == [{"due": 1}]
    writer.append({"due": 2})
    with open(path, "ab") as file:
        file.write(b'{"due": 3, "thr')
    assert reader.rows() == [{"due": 1}, {"due": 2}]


def test_what_is_there_of_a_row_that_was_cut_off_goes_with_the_next_one(tmp_path):
    path = tmp_path / "run.rows"
    path.write_bytes(b'{"due":1}\n{"due":2,"through":1,"codes":{"200"')
    book = Journal(path)
    book.rows()
    book.append({"ended": "died"})
    assert Journal(path).rows() == [{"due": 1}, {"ended": "died"}]


def test_rows_that_cannot_be_written_are_kept_until_they_can(tmp_path):
    path = tmp_path / "folder" / "run.rows"
    writer = Journal(path)
    writer.append({"due": 1})
    path.parent.mkdir()
    writer.append({"due": 2})
    assert Journal(path).rows() == [{"due": 1}, {"due": 2}] and path.stat().st_mode & 0o777 == 0o600
