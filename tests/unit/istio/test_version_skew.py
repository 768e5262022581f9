# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions and how far apart they may be."""

from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._istio import version_skew
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.version_skew import Version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.31.0", Version(1, 31, 0)),
        ("v1.36.3", Version(1, 36, 3)),
        ("1.31", Version(1, 31, 0)),
        ("1.31.0-distroless", Version(1, 31, 0)),
        ("1.32-alpha.0a1b2c", Version(1, 32, 0)),
        ("v1.34.1+k3s1", Version(1, 34, 1)),
        ("1.31.0.1", None),
        ("latest", None),
        ("31", None),
        ("", None),
        ("sha256:1.2.3", None),
    ],
)
def test_a_version_is_its_numbers_or_none(text, version):
    assert version_skew.parse_version(text) == version


@pytest.mark.parametrize(
    ("rule", "part", "whole", "broken"),
    [
        (version_skew.PROXY, "1.31.9", "1.31.0", ""),
        (version_skew.PROXY, "1.30.0", "1.31.0", ""),
        (version_skew.PROXY, "1.29.9", "1.31.0", "behind"),
        (version_skew.PROXY, "1.32.0", "1.31.9", "ahead"),
        (version_skew.NODE_AGENT, "1.30.0", "1.31.0", ""),
        (version_skew.NODE_AGENT, "1.31.0", "1.30.0", "ahead"),
        (version_skew.BASE, "1.33.0", "1.31.0", ""),
        (version_skew.BASE, "1.30.9", "1.31.0", "behind"),
        (version_skew.IN_PLACE, "1.30.0", "1.31.0", ""),
        (version_skew.IN_PLACE, "1.29.0", "1.31.0", "behind"),
        (version_skew.BY_REVISION, "1.29.0", "1.31.0", ""),
        (version_skew.BY_REVISION, "1.28.0", "1.31.0", "behind"),
        (version_skew.BY_REVISION, "1.31.0", "1.30.0", "ahead"),
        (version_skew.PROXY, "1.31.0", "2.0.0", "behind"),
        (version_skew.PROXY, "2.0.0", "1.31.0", "ahead"),
    ],
)
def test_rules_count_minor_versions_and_never_reach_across_major_ones(rule, part, whole, broken):
    assert rule.broken(version_skew.parse_version(part), version_skew.parse_version(whole)) == broken


@pytest.mark.parametrize(
    ("old", "new", "stride", "way"),
    [
        ("1.28.0", "1.31.0", 1, ["1.29", "1.30", "1.31"]),
        ("1.28.0", "1.31.0", 2, ["1.30", "1.31"]),
        ("1.27.0", "1.31.0", 2, ["1.29", "1.31"]),
        ("1.30.0", "1.31.2", 1, ["1.31"]),
        ("1.31.0", "2.0.0", 1, []),
    ],
)
def test_the_way_of_an_upgrade_ends_where_it_is_to_end(old, new, stride, way):
    assert version_skew.upgrade_path(version_skew.parse_version(old), version_skew.parse_version(new), stride) == way


@pytest.mark.parametrize(
    ("old", "new", "crossed"),
    [("1.30.4", "1.31.0", True), ("1.29.0", "1.32.0", True), ("1.31.0", "1.32.0", False), ("1.29.0", "1.30.0", False)],
)
def test_an_upgrade_crosses_the_releases_between(old, new, crossed):
    assert version_skew.crosses(version_skew.parse_version(old), version_skew.parse_version(new), (1, 31)) is crossed


def test_what_is_known_of_kubernetes_has_no_gap():
    releases = sorted(version_skew.KUBERNETES)
    assert [minor for _major, minor in releases] == list(range(releases[0][1], version_skew.NEWEST_KNOWN[1] + 1))
    ranges = [version_skew.KUBERNETES[release] for release in releases]
    assert ranges == sorted(ranges) and all(least < most for least, most in ranges)
