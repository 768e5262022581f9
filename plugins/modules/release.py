#!/usr/bin/python
# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: release
short_description: Have a release of Istio, verified and unpacked
version_added: 1.0.0
author:
  - The servicemesh.istio authors (@servicemesh)
description:
  - Downloads a release archive or istioctl alone, or takes it from a file, checks its sha256 and unpacks it so that nothing can leave its folder.
  - A release that is there is not asked for again. All paths are those of the host where the task runs.
  - It talks to no cluster. The connection options are accepted and not used, so that defaults of the action group fit this module too.
options:
  version:
    description: Version of Istio, in full.
    type: str
    required: true
  content:
    description: The whole release (V(archive), with samples and charts), or the program alone.
    type: str
    choices: [archive, istioctl]
    default: archive
  os:
    description: Operating system in the words of Istio's file names. Unset, that of the host where the task runs.
    type: str
    choices: [linux, osx, win]
  arch:
    description: Architecture in the words of Istio's file names. Unset, that of the host where the task runs.
    type: str
    choices: [amd64, arm64, armv7]
  mirror:
    description: URL, or folder where the task runs, under which there is C(VERSION/FILE) as in Istio's own releases, with the C(.sha256) of each file.
    type: str
    default: https://github.com/istio/istio/releases/download
  url:
    description: URL of the very file.
    type: str
  src:
    description: Path of the file, where the task runs.
    type: str
  checksum:
    description: sha256 of the file, or the URL or path of a file that holds it. Unset, it is read from the file's name with C(.sha256).
    type: str
  dest:
    description: Folder in which releases are kept. Unset, C(servicemesh.istio/releases) in the user's cache folder.
    type: path
  timeout:
    description: Seconds that a server may take to answer.
    type: int
    default: 60
  state:
    description: Whether the release is there.
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
      A release that is not there is fetched into the user's cache also in check mode, since what follows could not be planned without it. O(dest) is
      left alone.
"""

EXAMPLES = r"""
- name: A release, from a mirror
  servicemesh.istio.release:
    version: 1.31.0
    mirror: "{{ lab_releases }}"
  register: istio

- name: What came of it
  ansible.builtin.debug:
    msg: "istioctl {{ istio.version }} is {{ istio.istioctl }}"

- name: istioctl alone, of another version
  servicemesh.istio.release:
    version: 1.30.4
    content: istioctl
    mirror: "{{ lab_releases }}"
"""

RETURN = r"""
version:
  description: The version.
  returned: when O(state=present)
  type: str
path:
  description: Folder of the unpacked release.
  returned: when O(state=present)
  type: str
istioctl:
  description: Path of istioctl.
  returned: when O(state=present)
  type: str
checksum:
  description: The archive's sha256.
  returned: when O(state=present)
  type: str
source:
  description: Where it came from.
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
