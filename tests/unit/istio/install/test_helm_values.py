# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.servicemesh.istio.plugins.module_utils._istio.install import helm_values

REFUSAL = 'unknown field "autoscaleEnable" in istio.operator.v1alpha1.PilotConfig'


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (REFUSAL, "Did you mean autoscaleEnabled?"),
        ('unknown field "nothingLikeIt"', ""),
        ("open profile.yaml: no such file", ""),
    ],
)
def test_the_nearest_field_is_read_from_the_program_that_refused(tmp_path, text, hint):
    program = tmp_path / "istioctl"
    program.write_bytes(
        b'\x00json:"x"'
        b' protobuf:"bytes,1,opt,name=autoscaleEnabled,proto3"\x00\x7fprotobuf:"varint,2,opt,name=trace_sampling,json=traceSampling,proto3"\x00'
    )
    assert helm_values.nearest_in(program, text) == hint


def test_a_folder_without_charts_is_said_to_be_none(tmp_path):
    with pytest.raises(helm_values.InvalidOption, match="contains no readable chart"):
        helm_values.refuse_unknown(tmp_path, {})
