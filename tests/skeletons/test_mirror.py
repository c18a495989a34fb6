"""Recognition of left and right in keypoint names that laboratories use, and in no other names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagwise.skeletons import COCO17, mirror_types
from tagwise.skeletons.mirror import sided_types

PAIRED = [  # alternately left and right
    "Lwrist Rwrist",
    "lhip rhip",
    "lEye rEye",
    "Leye Reye Lear Rear",
    "LAnkle RAnkle",
    "LEFT_ANKLE RIGHT_ANKLE",
    "wristleft wristright",
    "wristLeft wristRight",
    "frontleftpaw frontrightpaw",
    "wrist_l wrist_r",
    "wristL wristR",
    "wristl wristr kneel kneer",
    "L.ear R.ear",
    "ear(L) ear(R)",
    "L R",
    "left right",
    "Lt_eye Rt_eye",
    "ear_l1 ear_r1",
    "paw.Left.1 paw.Right.1",
    "FL FR",
    "fl fr hl hr",
    "HL HR",
    "FL FR RL RR",
    "LF RF LR RR",
    "UL UR LL LR",
    "LH RH LF RF LM RM",
    "LE RE LS RS",
    "LF_paw RF_paw LH_paw RH_paw",
    "LFpaw RFpaw",
    "LFPaw RFPaw",
    "flpaw frpaw hlpaw hrpaw",
    "front_left_paw front_right_paw hind_left_paw hind_right_paw",
    "upright_left upright_right",
    "left_eye_left_corner right_eye_right_corner left_eye_right_corner right_eye_left_corner",
    "left_eye_l right_eye_r left_eye_r right_eye_l",
    "L1 R1 L2 R2 L3 R3",
    "LASI RASI LKNE RKNE LSHO RSHO LANK RANK",
    "左眼 右眼",
    "前左足 前右足",
    "L手首 R手首",
    "Ｌ手首 Ｒ手首",
    "왼쪽눈 오른쪽눈",
    "좌안 우안",
    "handlinks handrechts",
    "linke_Hand rechte_Hand linker_Fuß rechter_Fuß",
    "épaule_gauche épaule_droite bras_gauche bras_droit",
    "ojo_izquierdo ojo_derecho mano_izquierda mano_derecha",
    "olho_esquerdo olho_direito",
    "mano_sinistra mano_destra",
    "vänster_öga höger_öga",
    "левый_глаз правый_глаз левая_рука правая_рука",
    "глаз_л глаз_п",
    "αριστερό_μάτι δεξί_μάτι",
    "sol_göz sağ_göz",
    "العين_اليسرى العين_اليمنى",
    "बायाँ_हाथ दायाँ_हाथ",
    "ตาซ้าย ตาขวา",
]

NOT_PAIRED = [
    "leg reg",
    "lip rip",
    "Lip Rip",
    "LIP RIP",
    "light right",
    "real rear",
    "hail hair",
    "flog frog",
    "blow brow",
    "left_eye nose",
    "left_eye right_ear",
    "LL LR RL RR",  # either letter could be the side
    "C7 T10 L1 L2 L5 R1 R2",  # vertebrae and ribs
    " ".join("abcdefghijklmnopqrstuvwxyz"),
    " ".join(f"point_{letter}" for letter in "jklmnopqrs"),
]


@pytest.mark.parametrize("text", PAIRED)
def test_sides_are_recognised(text):
    names = text.split()
    expected = tuple(k ^ 1 for k in range(len(names)))
    assert mirror_types(names) == expected
    assert mirror_types(["nose", *names]) == (0, *(k + 1 for k in expected))


@pytest.mark.parametrize("text", NOT_PAIRED)
def test_letters_that_do_not_name_a_side_are_not_paired(text):
    names = text.split()
    assert mirror_types(names) == tuple(range(len(names)))


def test_ambiguous_letters_count_if_others_of_the_same_form_are_clear():
    assert mirror_types(["lhip", "rhip", "lilium", "rilium"]) == (1, 0, 3, 2)
    assert mirror_types(["lhip", "rhip", "lxes", "rxes", "lacro", "racro"]) == (1, 0, 3, 2, 5, 4)
    assert mirror_types(["lhip", "rhip", "lip", "rip"]) == (1, 0, 2, 3)


UNSIDED = ["nose", "tail_base", "head", "back2", "хвост", "鼻", "belly", "spine_1", "spine_2", "C7"]


@pytest.mark.parametrize("text", PAIRED + NOT_PAIRED)
@given(more=st.lists(st.sampled_from(UNSIDED), unique=True, min_size=1), seed=st.integers(0, 2**16))
def test_order_and_names_without_a_side_change_no_pair(text, more, seed):
    names = text.split()
    more = [name for name in more if name not in names]
    pairs = named_pairs(names)
    both = names + more
    order = sorted(range(len(both)), key=lambda k: hash((seed, k)))
    assert named_pairs([both[k] for k in order]) == pairs


def named_pairs(names):
    flip = mirror_types(names)
    return {frozenset((names[a], names[b])) for a, b in enumerate(flip) if a != b}


SYLLABLES = [*"lrLRF_1-左右", "left", "right", "Left", "eye", "ip"]


@given(st.lists(st.lists(st.sampled_from(SYLLABLES), min_size=1, max_size=4).map("".join)))
def test_mirroring_an_image_twice_restores_it(names):
    names = list(dict.fromkeys(names))
    flip = mirror_types(names)
    assert sorted(flip) == list(range(len(names)))
    assert all(flip[flip[k]] == k for k in range(len(names)))


@given(st.lists(st.text(), unique=True, max_size=6))
def test_any_text_can_be_read(names):
    assert len(mirror_types(names)) == len(names)


def test_types_that_look_like_sides():
    assert sided_types(COCO17.keypoints) == tuple(range(1, 17))
    assert sided_types(["skull", "girl", "nose", "front", "blade", "leg", "lip", "root"]) == ()
    assert sided_types(["left_ear", "Rwrist", "hip_l", "tail", "左眼", "LFpaw"]) == (0, 1, 2, 4, 5)
