# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What site.yml and teardown.yml take for granted, by what is said to them."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from collection import ROOT

ASKED = "{{ [site_enrolled | map(attribute='name') | list, site_default_splits | map(attribute='host') | list, site_default_delete_namespaces] | to_json }}"


@pytest.mark.parametrize(
    ("said", "enrolled", "hosts", "deleted"),
    [
        ({}, ["online-boutique"], ["frontend"], True),
        ({"demo_namespace": "shop"}, ["shop"], ["frontend"], True),
        ({"site_demo": False}, [], [], True),
        # As -e site_demo=false has it.
        ({"site_demo": "false"}, [], [], True),
        ({"namespaces_enrolled": False}, [], ["frontend"], False),
        ({"namespaces_enrolled": [{"name": "theirs"}]}, ["theirs"], ["frontend"], False),
        ({"namespaces_enrolled": [{"name": "theirs"}], "site_demo": False}, ["theirs"], [], False),
    ],
)
def test_without_the_demo_nothing_of_it_is_asked_for_and_namespaces_that_somebody_listed_are_not_deleted(said, enrolled, hosts, deleted):
    argv = [str(Path(sys.executable).parent / "ansible"), "localhost", "-e", f"@{ROOT / 'playbooks/vars/site.yml'}", "-e", json.dumps(said)]
    argv += ["-m", "debug", "-a", f"msg={ASKED}"]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(re.search(r"SUCCESS => (\{.*\})", done.stdout, re.DOTALL).group(1))["msg"]
    assert (json.loads(told) if isinstance(told, str) else told) == [enrolled, hosts, deleted]
