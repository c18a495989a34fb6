"""Tensors in the files of other programs get the names of the original code."""

from functools import partial

import pytest

from slow import names, tensors
from tagwise.published.names import renamed, writer_of

CASES = {
    "mmpose 0.x, HigherHRNet": (
        tensors.higherhrnet(32, 17),
        partial(names.in_mmpose, head="keypoint_head"),
        "mmpose",
    ),
    "mmpose 0.x, HRNet": (
        tensors.hrnet_ae(32, 17),
        partial(names.in_mmpose, head="keypoint_head"),
        "mmpose",
    ),
    "mmpose 1.x": (tensors.hrnet_ae(32, 17), partial(names.in_mmpose, head="head"), "mmpose1"),
    "CornerNet-Lite": (tensors.cornernet(80, False), names.in_cornernet_lite, "CornerNet-Lite"),
    "CornerNet-Squeeze": (tensors.cornernet(80, True), names.in_cornernet_lite, "CornerNet-Lite"),
    "mmdetection": (tensors.cornernet(80, False), names.in_mmdetection, "mmdetection"),
    "the first": (tensors.cornernet(80, False), str, None),
}
LISTED = {case: [name for name, _ in listed] for case, (listed, *_) in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_names_of_other_programs_are_translated(case):
    _, rename, writer = CASES[case]
    file = {rename(name): name for name in LISTED[case]}
    assert len(file) == len(LISTED[case]) > 700
    assert writer_of(file) == writer
    assert all(ours == first for ours, first in renamed(file).items())
