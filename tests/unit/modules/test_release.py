# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import socket
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fake_releases
import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.binaries import release as releases
from fake_releases import PROGRAM, SCRIPT, VERSION, digest, good, link, special, tar, tree, zipped

FILE = f"istio-{VERSION}-linux-amd64.tar.gz"
HOST = {"version": VERSION, "os": "linux", "arch": "amd64"}
FOLDER = f"{VERSION}-linux-amd64"


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with fake_releases.mirror() as served:
        served.add(FILE, good())
        yield served


def file(folder, content, name=FILE):
    """A release's file without its checksum."""
    path = folder / name
    path.write_bytes(content)
    return {"src": str(path), "checksum": digest(content)}


def test_a_file_becomes_a_release_and_again_is_none(run, tmp_path):
    options = {**HOST, **file(tmp_path, good()), "dest": str(tmp_path / "dest")}
    done = run("release", **options)
    top = tmp_path / "dest" / FOLDER / "archive" / f"istio-{VERSION}"
    assert (done["changed"], done["version"], done["path"], done["istioctl"]) == (
        True,
        VERSION,
        str(top),
        str(top / "bin" / "istioctl"),
    )
    assert done["checksum"] == f"sha256:{digest(good())}"
    assert Path(done["istioctl"]).read_bytes() == SCRIPT and os.access(done["istioctl"], os.X_OK)
    assert (top / "samples" / "README.md").exists()
    again = run("release", **options)
    assert (again["changed"], again["diff"], again["istioctl"]) == (False, [], done["istioctl"])


def test_check_mode_leaves_dest_alone_and_tells_what_a_real_run_tells(run, tmp_path):
    options = {**HOST, **file(tmp_path, good()), "dest": str(tmp_path / "dest")}
    planned = run("release", check=True, **options)
    assert planned["changed"] and not (tmp_path / "dest").exists()
    # What follows in the same check run needs the program, so it is in the cache.
    assert Path(planned["istioctl"]).read_bytes() == SCRIPT and str(tmp_path / "cache") in planned["istioctl"]
    assert run("release", **options)["diff"] == planned["diff"]
    assert not run("release", check=True, **options)["changed"]


def test_a_release_goes_and_goes_only_once(run, tmp_path):
    options = {**HOST, **file(tmp_path, good()), "dest": str(tmp_path / "dest")}
    place = Path(run("release", **options)["path"])
    planned = run("release", check=True, state="absent", **options)
    assert planned["changed"] and place.exists()
    gone = run("release", state="absent", **options)
    assert (gone["changed"], gone["diff"]) == (True, planned["diff"]) and not place.exists()
    assert not run("release", state="absent", **options)["changed"]


def test_the_program_alone_is_a_release_too(run, tmp_path):
    content = tar(("istioctl", SCRIPT))
    done = run("release", **HOST, **file(tmp_path, content), content="istioctl", dest=str(tmp_path / "dest"))
    assert done["istioctl"] == str(tmp_path / "dest" / FOLDER / "istioctl" / "istioctl")
    assert done["path"] == str(tmp_path / "dest" / FOLDER / "istioctl")


def test_a_zip_keeps_its_programs_executable(run, tmp_path):
    script, text = (f"istio-{VERSION}/samples/{name}" for name in ("run.sh", "README.md"))
    content = zipped((f"{PROGRAM}.exe", SCRIPT), (script, SCRIPT), (text, b"samples\n"), plain=(text,))
    done = run(
        "release",
        version=VERSION,
        os="win",
        arch="amd64",
        **file(tmp_path, content, "istio.zip"),
        dest=str(tmp_path / "dest"),
    )
    top = Path(done["path"]).parent
    assert done["istioctl"].endswith("bin/istioctl.exe") and os.access(done["istioctl"], os.X_OK)
    assert os.access(top / script, os.X_OK) and not os.access(top / text, os.X_OK)


def test_a_mirror_may_be_a_folder(run, tmp_path):
    place = tmp_path / "mirror" / VERSION
    place.mkdir(parents=True)
    (place / FILE).write_bytes(good())
    missing = run("release", **HOST, mirror=str(tmp_path / "mirror"))
    assert (
        missing["failure"]["code"] == "invalid_option"
        and f"{FILE}.sha256 on the host where this task runs" in missing["msg"]
    )
    (place / f"{FILE}.sha256").write_text(f"{digest(good())}  {FILE}")
    done = run("release", **HOST, mirror=str(tmp_path / "mirror"))
    assert done["changed"] and done["source"] == str(place / FILE)


def test_a_mirror_is_asked_once_for_the_checksum_and_once_for_the_file(run, mirror):
    done = run("release", **HOST, mirror=mirror.url)
    assert done["changed"] and done["source"] == f"{mirror.url}/{VERSION}/{FILE}"
    assert mirror.asked == [f"/{VERSION}/{FILE}.sha256", f"/{VERSION}/{FILE}"]
    mirror.asked.clear()
    assert not run("release", **HOST, mirror=mirror.url)["changed"]
    assert mirror.asked == [], "a kept release is not asked for again"


@pytest.mark.parametrize(
    "damage",
    [
        lambda program: program.write_bytes(SCRIPT[:5]),
        lambda program: program.write_bytes(b"x" * len(SCRIPT)),
        lambda program: program.chmod(0o644),
        lambda program: program.unlink(),
        lambda program: next(program.parents[2].glob(".servicemesh-release")).unlink(),
        lambda program: next(program.parents[2].glob(".servicemesh-release")).write_text("half"),
    ],
    ids=["cut short", "another of its size", "not executable", "gone", "no mark", "broken mark"],
)
def test_a_damaged_kept_release_is_fetched_again(run, mirror, damage):
    # Root may execute nothing without an x bit either, so this holds for every user.
    program = Path(run("release", **HOST, mirror=mirror.url)["istioctl"])
    damage(program)
    again = run("release", **HOST, mirror=mirror.url)
    assert again["changed"] and program.read_bytes() == SCRIPT and os.access(program, os.X_OK)


def test_a_kept_release_with_another_checksum_than_the_wanted_is_not_used(run, mirror):
    place = Path(run("release", **HOST, mirror=mirror.url)["istioctl"])
    result = run("release", **HOST, mirror=mirror.url, checksum="0" * 64)
    assert result["failure"]["code"] == "checksum" and place.exists()
    other = good(b"#!/bin/sh\necho another\n")
    mirror.add(FILE, other)
    assert run("release", **HOST, mirror=mirror.url, checksum=f"sha256:{digest(other).upper()}")["changed"]
    assert b"another" in place.read_bytes()


def test_a_checksum_may_be_in_a_file_or_behind_a_url(run, mirror, tmp_path):
    (tmp_path / "sum").write_text(digest(good()))
    assert run("release", **HOST, mirror=mirror.url, checksum=str(tmp_path / "sum"), dest=str(tmp_path / "one"))[
        "changed"
    ]
    mirror.files["/sum"] = digest(good()).encode()
    assert run("release", **HOST, mirror=mirror.url, checksum=f"{mirror.url}/sum", dest=str(tmp_path / "two"))[
        "changed"
    ]
    mirror.files["/sum"] = b"0" * 64
    result = run("release", **HOST, mirror=mirror.url, checksum=f"{mirror.url}/sum", dest=str(tmp_path / "three"))
    assert result["failure"]["code"] == "checksum"


CUT_OFF = good()[:-200]
BAD_TARS = {
    "climbs out": (tar((PROGRAM, SCRIPT), ("../evil", b"x")), "unsafe_archive"),
    "climbs out further down": (tar((PROGRAM, SCRIPT), (f"istio-{VERSION}/a/../../../evil", b"x")), "unsafe_archive"),
    "absolute name": (tar((PROGRAM, SCRIPT), ("/evil", b"x")), "unsafe_archive"),
    "link out of the folder": (tar((PROGRAM, SCRIPT), link("out", "../../evil")), "unsafe_archive"),
    "absolute link": (tar((PROGRAM, SCRIPT), link("out", "/etc")), "unsafe_archive"),
    "hard link out of the folder": (tar((PROGRAM, SCRIPT), link("out", "../evil", tarfile.LNKTYPE)), "unsafe_archive"),
    # By its words d/up/../evil stays inside; what d/up is decides.
    "link by way of another link": (
        tar((PROGRAM, SCRIPT), special("d", tarfile.DIRTYPE), link("d/up", ".."), link("out", "d/up/../evil")),
        "unsafe_archive",
    ),
    "device": (tar((PROGRAM, SCRIPT), special("null", tarfile.CHRTYPE)), "unsafe_archive"),
    "pipe": (tar((PROGRAM, SCRIPT), special("pipe", tarfile.FIFOTYPE)), "unsafe_archive"),
    "no archive": (b"<html>proxy login</html>", "broken_archive"),
    "empty file": (b"", "broken_archive"),
    "cut off": (CUT_OFF, "broken_archive"),
    "no program": (tar((f"istio-{VERSION}/README.md", b"x")), "wrong_archive"),
    "another version": (tar(("istio-1.30.0/bin/istioctl", SCRIPT)), "wrong_archive"),
}


@pytest.mark.parametrize(("content", "code"), BAD_TARS.values(), ids=BAD_TARS.keys())
def test_of_a_bad_archive_nothing_is_left(run, tmp_path, content, code):
    result = run("release", **HOST, **file(tmp_path, content), dest=str(tmp_path / "dest"))
    assert (
        result["failed"] and not result["changed"] and result["failure"]["code"] == code and result["failure"]["hint"]
    )
    assert tree(tmp_path / "dest") == [FOLDER]
    assert not list(tmp_path.rglob("evil"))


@pytest.fixture
def older_python(monkeypatch):
    """A Python from before PEP 706, such as Debian 12's own 3.11.2."""
    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.delattr(tarfile, "FilterError")


@pytest.mark.usefixtures("older_python")
@pytest.mark.parametrize(("content", "code"), BAD_TARS.values(), ids=BAD_TARS.keys())
def test_an_older_python_leaves_nothing_of_a_bad_archive_either(run, tmp_path, content, code):
    test_of_a_bad_archive_nothing_is_left(run, tmp_path, content, code)


@pytest.mark.usefixtures("older_python")
def test_an_older_python_unpacks_a_release_as_a_newer_one_does(run, tmp_path):
    test_a_file_becomes_a_release_and_again_is_none(run, tmp_path)


BAD_ZIPS = {
    "climbs out": zipped((f"{PROGRAM}.exe", SCRIPT), ("../evil", b"x")),
    "climbs out as on Windows": zipped((f"{PROGRAM}.exe", SCRIPT), ("..\\evil", b"x")),
    "absolute name": zipped((f"{PROGRAM}.exe", SCRIPT), ("/evil", b"x")),
    "link": zipped((f"{PROGRAM}.exe", SCRIPT), ("out", b"../../evil"), links=("out",)),
}


@pytest.mark.parametrize("content", BAD_ZIPS.values(), ids=BAD_ZIPS.keys())
def test_of_a_bad_zip_nothing_is_left(run, tmp_path, content):
    options = {"version": VERSION, "os": "win", "arch": "amd64", "dest": str(tmp_path / "dest")}
    result = run("release", **options, **file(tmp_path, content, "istio.zip"))
    assert result["failure"]["code"] == "unsafe_archive"
    assert tree(tmp_path / "dest") == [f"{VERSION}-win-amd64"]
    assert not list(tmp_path.rglob("evil"))


def test_a_release_that_was_there_survives_a_bad_archive(run, tmp_path):
    dest = {"dest": str(tmp_path / "dest")}
    program = Path(run("release", **HOST, **file(tmp_path, good()), **dest)["istioctl"])
    before = tree(tmp_path / "dest")
    bad = BAD_TARS["link by way of another link"][0]
    assert run("release", **HOST, **file(tmp_path, bad), **dest)["failed"]
    assert tree(tmp_path / "dest") == before and program.read_bytes() == SCRIPT


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"checksum": "0" * 64}, "checksum", f"has sha256 {digest(good())}"),
        ({"version": "1.31.9"}, "download", "HTTP 404"),
        ({"arch": "arm64", "checksum": digest(good())}, "download", "HTTP 404"),
        ({"url": "/elsewhere", "checksum": digest(good())}, "download", "HTTP 404"),
        ({"version": "1.31"}, "invalid_option", "is not a valid Istio version"),
        ({"version": "../1.31.0"}, "invalid_option", "is not a valid Istio version"),
        ({"version": "latest"}, "invalid_option", "is not a valid Istio version"),
        ({"checksum": "abc"}, "invalid_option", "is not a valid sha256, URL or file"),
        ({"src": "/nowhere/istio.tar.gz"}, "invalid_option", "src: /nowhere/istio.tar.gz is not a file"),
        ({"src": "/nowhere/istio.tar.gz", "checksum": digest(good())}, "invalid_option", "/nowhere/istio.tar.gz"),
    ],
)
def test_bad_options_and_answers_have_a_code_and_leave_nothing(run, mirror, tmp_path, options, code, words):
    if options.get("url"):
        options = {**options, "url": mirror.url + options["url"]}
    result = run("release", **{**HOST, "mirror": mirror.url, "dest": str(tmp_path / "dest"), **options})
    assert result["failure"]["code"] == code and words in result["msg"] and not result["changed"]
    # The file by which tasks wait for each other is empty.
    assert not [name for name in tree(tmp_path) if (tmp_path / name).is_file() and (tmp_path / name).stat().st_size]


def test_a_file_without_its_checksum_is_refused(run, tmp_path):
    src = file(tmp_path, good())["src"]
    assert run("release", **HOST, src=src, dest=str(tmp_path / "dest"))["failure"]["code"] == "checksum_missing"
    Path(f"{src}.sha256").write_text("see the release page")
    assert run("release", **HOST, src=src, dest=str(tmp_path / "dest"))["failure"]["code"] == "checksum_missing"
    assert tree(tmp_path / "dest") == [FOLDER]


def test_an_answer_that_breaks_off_leaves_nothing(run, mirror, tmp_path):
    mirror.broken.add(f"/{VERSION}/{FILE}")
    result = run("release", **HOST, mirror=mirror.url, dest=str(tmp_path / "dest"))
    assert result["failure"]["code"] in ("download", "checksum")
    assert tree(tmp_path / "dest") == [FOLDER]


def test_a_mirror_that_is_not_there_is_a_failed_download(run, monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with fake_releases.mirror() as gone:
        url = gone.url
    result = run("release", **HOST, mirror=url, dest=str(tmp_path / "dest"))
    assert result["failure"]["code"] == "download" and url in result["msg"]


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nabc", b"garbage\r\n\r\n"],
    ids=["chunks break off", "no HTTP"],
)
def test_an_answer_that_cannot_be_read_is_a_failed_download(run, monkeypatch, tmp_path, answer):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            client, _address = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        result = run(
            "release",
            **HOST,
            url=f"http://127.0.0.1:{listener.getsockname()[1]}/x",
            checksum="0" * 64,
            dest=str(tmp_path / "dest"),
        )
    assert result["failure"]["code"] == "download"


def test_a_place_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / FILE).write_bytes(good())
    (tmp_path / "dest").write_text("a file")
    result = run("release", **HOST, src=str(tmp_path / FILE), checksum=digest(good()), dest=str(tmp_path / "dest"))
    assert result["failure"]["code"] == "host" and str(tmp_path / "dest") in result["msg"]


def test_of_many_tasks_on_one_host_one_fetches_and_the_others_find_it(mirror, tmp_path, monkeypatch):
    """As where one controller works on many clusters at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wanted = releases.IstioRelease(VERSION, os="linux", arch="amd64", mirror=mirror.url)
    with ThreadPoolExecutor(6) as pool:
        done = list(
            pool.map(lambda _number: releases.ensure_release(wanted, releases.release_folder(wanted)), range(6))
        )
    assert sorted(fetched for _result, fetched in done) == [False] * 5 + [True]
    assert (
        len({result["istioctl"] for result, _fetched in done}) == 1
        and Path(done[0][0]["istioctl"]).read_bytes() == SCRIPT
    )
    assert len(mirror.asked) == 2
