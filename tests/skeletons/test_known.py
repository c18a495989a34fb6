"""Skeletons of public data sets: counts, orders, pairs and values as in their own programs."""

import json

import pytest

from tagwise.skeletons import (
    AIC14,
    COCO17,
    CROWDPOSE14,
    MHP16,
    SKELETONS,
    WHOLEBODY133,
    Skeleton,
    default_sigmas,
    skeleton_with,
)

# configs/_base_/datasets/coco_wholebody.py of mmpose lists "swap" for each point of the face.
FACE_SWAPS = """
0-16 1-15 2-14 3-13 4-12 5-11 6-10 7-9 17-26 18-25 19-24 20-23 21-22 31-35 32-34 36-45 37-44 38-43
39-42 40-47 41-46 48-54 49-53 50-52 55-59 56-58 60-64 61-63 65-67
"""


@pytest.mark.parametrize("name", SKELETONS)
def test_survives_coco_and_json(name):
    skeleton = SKELETONS[name]
    assert Skeleton.from_coco(json.loads(json.dumps(skeleton.to_coco()))) == skeleton
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton


def test_numbers_of_types_and_edges():
    counts = {name: (len(each), len(each.edges)) for name, each in SKELETONS.items()}
    assert counts == {
        "coco": (17, 19),
        "crowdpose": (14, 14),
        "wholebody": (133, 65),
        "aic": (14, 14),
        "mhp": (16, 15),
    }


@pytest.mark.parametrize("skeleton", [AIC14, MHP16, CROWDPOSE14, COCO17])
def test_sides_change_places_and_the_middle_stays(skeleton):
    for name, other in zip(skeleton.keypoints, skeleton.flip):
        swapped = name.replace("left", "#").replace("right", "left").replace("#", "right")
        assert skeleton.keypoints[other] == swapped


def test_mirror_pairs_of_the_whole_body():
    names, flip = WHOLEBODY133.keypoints, WHOLEBODY133.flip
    pairs = [tuple(map(int, pair.split("-"))) for pair in FACE_SWAPS.split()]
    for a, b in pairs:
        assert names[flip[names.index(f"face-{a}")]] == f"face-{b}"
    paired = {point for pair in pairs for point in pair}
    for point in set(range(68)) - paired:
        assert flip[23 + point] == 23 + point
    for name, other in zip(names, flip):
        if not name.startswith("face"):
            swapped = name.replace("left", "#").replace("right", "left").replace("#", "right")
            assert names[other] == swapped


def test_parts_of_the_whole_body():
    names, sigmas = WHOLEBODY133.keypoints, WHOLEBODY133.sigmas
    assert names[:17] == COCO17.keypoints
    assert names[17:23:3] == ("left_big_toe", "right_big_toe")
    assert (names[23], names[90]) == ("face-0", "face-67")
    assert (names[91], names[92], names[111]) == (
        "left_hand_root",
        "left_thumb1",
        "left_pinky_finger4",
    )
    assert (names[112], names[132]) == ("right_hand_root", "right_pinky_finger4")
    assert sigmas[:17] == COCO17.sigmas
    assert sigmas[91:112] == sigmas[112:]
    # jin-s13/COCO-WholeBody, evaluation/myeval_wholebody.py, at the ends of its parts
    assert [sigmas[k] for k in (17, 22, 23, 39, 40, 70, 90, 91, 95, 111)] == [
        *(0.068, 0.094, 0.042, 0.045, 0.013, 0.034, 0.008, 0.029, 0.047, 0.031)
    ]


def test_every_edge_has_a_mirror_image():
    for skeleton in SKELETONS.values():
        edges = {frozenset(edge) for edge in skeleton.edges}
        assert {frozenset(skeleton.flip[end] for end in edge) for edge in edges} == edges


def test_names_give_the_published_sigmas():
    for skeleton in SKELETONS.values():
        assert default_sigmas(skeleton.keypoints) == skeleton.sigmas
    assert set(default_sigmas(AIC14.keypoints[::-1])) == {0.1}


def test_a_skeleton_by_its_number_of_types():
    assert [skeleton_with(count) for count in (14, 16, 17, 133, 15)] == [
        *(CROWDPOSE14, MHP16, COCO17, WHOLEBODY133, None)
    ]
