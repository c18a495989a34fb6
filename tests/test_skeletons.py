import json

import pytest

from tagwise.errors import UserError
from tagwise.skeletons import COCO17, CROWDPOSE14, Skeleton, mirror_types, name_words


def test_coco_mirror_pairs():
    pairs = {(a, b) for a, b in enumerate(COCO17.flip) if a < b}
    assert pairs == {(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)}
    assert COCO17.flip[0] == 0


def test_coco_order_is_that_of_the_reference_decoders():
    assert COCO17.order == (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


def test_coco_sigmas_are_pycocotools():
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    assert COCO17.sigmas == pytest.approx(cocoeval.Params(iouType="keypoints").kpt_oks_sigmas)


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14])
def test_conversion_to_coco_and_json_is_lossless(skeleton):
    assert Skeleton.from_coco(json.loads(json.dumps(skeleton.to_coco(3)))) == skeleton
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton


def test_published_sigmas_by_name_only():
    names = {"name": "person", "keypoints": [n.replace("_", " ") for n in COCO17.keypoints]}
    assert Skeleton.from_coco(names).sigmas == COCO17.sigmas
    top = ["top_head" if n == "head" else n for n in CROWDPOSE14.keypoints]
    assert Skeleton("person", tuple(top)).sigmas == CROWDPOSE14.sigmas
    assert Skeleton("bee", ("tail", "head")).sigmas == (0.1, 0.1)
    assert Skeleton.from_coco(names, [0.4] * 17).sigmas == (0.4,) * 17
    assert Skeleton.from_coco(names | {"sigmas": [0.2] * 17}).sigmas == (0.2,) * 17


@pytest.mark.parametrize("name", ["left_hip", "Left-Hip", "leftHip", "left hip", "lefthip"])
def test_spellings_of_a_name(name):
    assert name_words(name) == ("left", "hip")


@pytest.mark.parametrize(
    ("left", "right"), [("hip_l", "hip_r"), ("LAnkle", "RAnkle"), ("paw.Left.1", "paw.Right.1")]
)
def test_spellings_of_sides(left, right):
    assert mirror_types([left, "tail", right]) == (2, 1, 0)


def test_side_without_a_counterpart_is_kept():
    assert mirror_types(["left_eye", "nose"]) == (0, 1)


def test_order_goes_outwards_from_the_centre():
    chain = Skeleton("worm", tuple("abcde"), ((0, 1), (1, 2), (2, 3), (3, 4)))
    assert chain.order == (2, 1, 3, 0, 4)
    assert Skeleton("dots", ("a", "b", "c")).order == (0, 1, 2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"keypoints": ()}, "no keypoints"),
        ({"keypoints": ("a", "a")}, "twice"),
        ({"edges": ((0, 2),)}, "edge"),
        ({"sigmas": (0.1,)}, "2 sigmas"),
        ({"sigmas": (0.1, 0.0)}, "above 0"),
        ({"flip": (1, 1)}, "flipping twice"),
        ({"flip": (0,)}, "flipping twice"),
        ({"flip": (-1, 0)}, "flipping twice"),
    ],
)
def test_inconsistent_fields_are_refused(fields, words):
    with pytest.raises(UserError, match=words):
        Skeleton(**({"name": "x", "keypoints": ("a", "b")} | fields))


@pytest.mark.parametrize(
    "category", [{"name": "cell"}, {"keypoints": []}, {"keypoints": ["a"], "skeleton": [1]}]
)
def test_category_without_a_skeleton_is_refused(category):
    with pytest.raises(UserError, match="category"):
        Skeleton.from_coco(category)
