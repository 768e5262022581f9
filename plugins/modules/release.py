#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: release
short_description: Download, verify and unpack an Istio release
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Downloads a release archive or only istioctl, or reads it from a file. Verifies the SHA-256 checksum, and unpacks the archive so that no file is
    written outside of the release's folder.
  - A release that is already unpacked is not downloaded again. All paths are on the host where the task runs.
  - The module does not connect to a cluster. It accepts the connection options but ignores them, so that you can set them in C(module_defaults) for
    the action group.
options:
  version:
    description: Full version of Istio, such as V(1.31.0).
    type: str
    required: true
  content:
    description: What to download. V(archive) is the whole release with samples and charts, V(istioctl) is only the program.
    type: str
    choices: [archive, istioctl]
    default: archive
  os:
    description: Operating system, as in Istio's file names. The default is that of the host where the task runs.
    type: str
    choices: [linux, osx, win]
  arch:
    description: Architecture, as in Istio's file names. The default is that of the host where the task runs.
    type: str
    choices: [amd64, arm64, armv7]
  mirror:
    description:
      - URL, or path of a folder on the host where the task runs, with Istio releases.
      - Files have the path C(VERSION/FILE), as in Istio's own releases. Each file has a C(.sha256) file beside it.
    type: str
    default: https://github.com/istio/istio/releases/download
  url:
    description: URL of the file to download, instead of a file in O(mirror).
    type: str
  src:
    description: Path of the file on the host where the task runs, instead of a file in O(mirror).
    type: str
  checksum:
    description:
      - Expected SHA-256 checksum of the file, or the URL or path of a file that contains it.
      - By default, the checksum is read from the C(.sha256) file beside the file.
    type: str
  dest:
    description: Path of the folder to which releases are unpacked. The default is C(servicemesh.istio/releases) in the user's cache folder.
    type: path
  timeout:
    description: Maximum time in seconds to wait for an answer of a server.
    type: int
    default: 60
  state:
    description: Whether to download and unpack (V(present)), or to delete (V(absent)) the release.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: Download the Istio release
    description: Contents of a release.
    link: https://istio.io/latest/docs/setup/additional-setup/download-istio-release/
extends_documentation_fragment:
  - servicemesh.istio.attributes
  - servicemesh.istio.attributes.actiongroup
  - servicemesh.istio.connection
attributes:
  check_mode:
    details: >-
      In check mode a missing release is downloaded to the user's cache folder, because later tasks need it to make their plan. Nothing is written
      to O(dest).
"""

EXAMPLES = r"""
- name: Download a release from a mirror
  servicemesh.istio.release:
    version: 1.31.0
    mirror: "{{ lab_releases }}"
  register: istio

- name: Show the path of istioctl
  ansible.builtin.debug:
    msg: "istioctl {{ istio.version }} is {{ istio.istioctl }}"

- name: Download only istioctl of another version
  servicemesh.istio.release:
    version: 1.30.4
    content: istioctl
    mirror: "{{ lab_releases }}"
"""

RETURN = r"""
version:
  description: Version of the release.
  returned: when O(state=present)
  type: str
path:
  description: Path of the folder with the unpacked release.
  returned: when O(state=present)
  type: str
istioctl:
  description: Path of istioctl.
  returned: when O(state=present)
  type: str
checksum:
  description: SHA-256 checksum of the downloaded file.
  returned: when O(state=present)
  type: str
source:
  description: URL or path from which the file was read.
  returned: when O(state=present)
  type: str
duration:
  description: Duration of each phase in seconds.
  returned: always
  type: dict
failure:
  description: "Details of the failure: code, object, reason and hint. The code is stable."
  returned: on failure
  type: dict
  sample: {code: checksum, ref: null, reason: checksum mismatch, hint: ""}
"""

import shutil

from ..module_utils._engine.module import Run, run_module
from ..module_utils._istio.binaries import release as releases

ARGUMENTS = {
    "version": {"type": "str", "required": True},
    "content": {"type": "str", "choices": ["archive", "istioctl"], "default": "archive"},
    "os": {"type": "str", "choices": ["linux", "osx", "win"]},
    "arch": {"type": "str", "choices": ["amd64", "arm64", "armv7"]},
    "mirror": {"type": "str", "default": releases.MIRROR},
    "url": {"type": "str"},
    "src": {"type": "str"},
    "checksum": {"type": "str"},
    "dest": {"type": "path"},
    "timeout": {"type": "int", "default": 60},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
OPTIONS = ("version", "content", "os", "arch", "mirror", "url", "src", "checksum", "timeout")


def body(run: Run) -> dict:
    options = run.options
    release = releases.IstioRelease(**{name: options[name] or "" for name in OPTIONS})
    releases.validate_release(release)
    place = releases.release_folder(release, options["dest"])
    found = releases.cached_release(release, place)
    if options["state"] == "absent":
        there = place.exists()
        if there and not run.check_mode:
            shutil.rmtree(place)
        return {"changed": there, "diff": _diff(place, True, False) if there else []}
    if found:
        return {**found, "changed": False, "diff": []}
    if run.check_mode and options["dest"]:
        found, fetched = releases.ensure_release(release, releases.release_folder(release))[0], True
    else:
        found, fetched = run.timed("download", lambda: releases.ensure_release(release, place))
    return {**found, "changed": fetched, "diff": _diff(place, False, True) if fetched else []}


def _diff(place: object, before: bool, after: bool) -> list:
    words = {True: "present\n", False: "absent\n"}
    return [{"before": words[before], "after": words[after], "before_header": str(place), "after_header": str(place)}]


def main() -> None:
    run_module(ARGUMENTS, body, mutually_exclusive=[("url", "src")])


if __name__ == "__main__":
    main()
