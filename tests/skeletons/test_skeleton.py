import json

import pytest

from tagwise.errors import UserError
from tagwise.skeletons import COCO17, CROWDPOSE14, Skeleton


def test_coco_types_are_mirrored():
    pairs = {(a, b) for a, b in enumerate(COCO17.flip) if a < b}
    assert pairs == {(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)}
    assert COCO17.flip[0] == 0


def test_coco_order_is_that_of_the_reference_decoders():
    assert COCO17.order == (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


def test_coco_sigmas_equal_those_of_pycocotools():
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    assert COCO17.sigmas == pytest.approx(cocoeval.Params(iouType="keypoints").kpt_oks_sigmas)


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14])
def test_skeleton_survives_coco_and_json(skeleton):
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
def test_inconsistent_skeletons_are_refused(fields, words):
    with pytest.raises(UserError, match=words):
        Skeleton(**({"name": "x", "keypoints": ("a", "b")} | fields))


@pytest.mark.parametrize(
    "category", [{"name": "cell"}, {"keypoints": []}, {"keypoints": ["a"], "skeleton": [1]}]
)
def test_category_that_is_no_skeleton(category):
    with pytest.raises(UserError, match="category"):
        Skeleton.from_coco(category)


def mouse(**fields):
    return {"name": "mouse", "keypoints": ["nose", "ear A", "ear B", "tail"], **fields}


def test_edge_numbers_count_from_0_if_a_0_occurs():
    assert Skeleton.from_coco(mouse(skeleton=[[1, 2], [1, 4]])).edges == ((0, 1), (0, 3))
    assert Skeleton.from_coco(mouse(skeleton=[[0, 1], [0, 3]])).edges == ((0, 1), (0, 3))


def test_edges_are_kept_once_and_join_two_types():
    edges = [[1, 2], [2, 1], [3, 3], [1, 2], [4, 1]]
    assert Skeleton.from_coco(mouse(skeleton=edges)).edges == ((0, 1), (3, 0))


def test_category_without_edges_is_accepted():
    assert Skeleton.from_coco(mouse(skeleton=None)).edges == ()
    assert Skeleton.from_coco(mouse()).edges == ()


def test_pairs_in_a_file_take_precedence_over_names():
    sides = {"name": "x", "keypoints": ["nose", "left_ear", "right_ear"]}
    assert Skeleton.from_coco(sides).flip == (0, 2, 1)
    assert Skeleton.from_coco(sides | {"flip_idx": [0, 1, 2]}).flip == (0, 1, 2)
    assert Skeleton.from_coco(sides | {"flip_pairs": [["nose", "left_ear"]]}).flip == (1, 0, 2)


@pytest.mark.parametrize("empty", [[], {}, None, "", "bilateral", True])
def test_empty_key_keeps_the_pairs_of_names(empty):
    sides = {"name": "x", "keypoints": ["left_ear", "right_ear"], "symmetry": empty}
    assert Skeleton.from_coco(sides).flip == (1, 0)


def test_keys_that_disagree_are_refused():
    both = mouse(flip_idx=[0, 2, 1, 3], symmetries=[["nose", "tail"]])
    with pytest.raises(UserError, match=r"flip_idx and symmetries state different pairs"):
        Skeleton.from_coco(both)
    agreeing = mouse(flip_idx=[0, 2, 1, 3], symmetries=[["ear B", "ear A"]])
    assert Skeleton.from_coco(agreeing).flip == (0, 2, 1, 3)


def test_pairs_without_matching_names_survive_coco():
    stated = Skeleton.from_coco(mouse()).with_flip_pairs([("ear A", "ear B")])
    assert stated.flip == (0, 2, 1, 3)
    assert Skeleton.from_coco(json.loads(json.dumps(stated.to_coco()))) == stated
    none = COCO17.with_flip_pairs([])
    assert none.flip == tuple(range(17))
    assert Skeleton.from_coco(none.to_coco()) == none
    assert "flip_idx" not in COCO17.to_coco()


def test_accents_are_equal_in_any_unicode_form():
    typed = Skeleton("x", ("e\u0301paule gauche", "e\u0301paule droite"))
    assert typed.keypoints == ("\u00e9paule gauche", "\u00e9paule droite")
    assert typed.flip == (1, 0)
    with pytest.raises(UserError, match="twice"):
        Skeleton("x", ("e\u0301", "\u00e9"))


def test_mirror_note_names_pairs():
    assert (
        Skeleton("x", ("nose", "left_ear", "right_ear", "L1", "R1")).mirror_note()
        == "in a mirrored image, left_ear and right_ear, L1 and R1 change places"
    )
    note = Skeleton("x", ("nose",)).mirror_note()
    assert note == "in a mirrored image, no keypoint types change places"


def test_mirror_note_explains_sides_without_a_pair():
    lonely = Skeleton("x", ("nose", "left_ear", "right_eer", "Rwrist"))
    note = lonely.mirror_note()
    assert "no keypoint types change places; sides without a pair: left_ear, right_eer, Rw" in note
    assert "data.flip_pairs" in note
    assert "\n" not in note
    assert "flip_pairs" not in lonely.mirror_note(flipping=False)


def test_mirror_note_of_a_large_skeleton_is_short():
    names = [f"{side}_{k}" for k in range(60) for side in ("left", "right")]
    note = Skeleton("hand", tuple(names)).mirror_note()
    assert len(note) < 700
    assert "and 40 more" in note


@pytest.mark.parametrize(
    "values",
    [
        {"edges": ((0, "x"),)},
        {"edges": ((0, 1, 2),)},
        {"edges": (3,)},
        {"sigmas": ("a", 1)},
        {"sigmas": (None, 1)},
        {"flip": (float("inf"), 1)},
        {"keypoints": (None, "b")},
        {"keypoints": ("a", "b" * 9000)},
    ],
)
def test_values_of_other_types_are_refused(values):
    with pytest.raises(UserError, match="skeleton 'fox'") as caught:
        Skeleton(**{"name": "fox", "keypoints": ("a", "b"), **values})
    assert len(str(caught.value)) < 500


def test_many_keypoints_are_ordered_at_once():
    count = 468  # of a face mesh
    chain = Skeleton(
        "face", tuple(f"p{k}" for k in range(count)), tuple((k, k + 1) for k in range(count - 1))
    )
    assert set(chain.order[:2]) == {count // 2 - 1, count // 2}
    assert set(chain.order[-2:]) == {0, count - 1}
