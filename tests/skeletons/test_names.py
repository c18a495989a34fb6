"""Keypoint names in any script are distinguished, and matched with names in other files."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagwise.skeletons import Skeleton, match_names, name_words
from tagwise.skeletons.names import name_key, plain_name, split_words

SCRIPTS = {
    "Chinese": ["鼻", "左眼", "右眼", "尾"],
    "Japanese": ["鼻", "ひだり手", "みぎ手", "シッポ"],
    "Korean": ["코", "왼쪽눈", "오른쪽눈", "꼬리"],
    "Greek": ["μύτη", "αριστερό μάτι", "δεξί μάτι", "ουρά"],
    "Cyrillic": ["нос", "левый_глаз", "правый_глаз", "хвост"],
    "Arabic": ["أنف", "العين_اليسرى", "العين_اليمنى", "ذيل"],
    "Hindi": ["नाक", "बायाँ हाथ", "दायाँ हाथ", "पूँछ"],
    "Thai": ["จมูก", "ตาซ้าย", "ตาขวา", "หาง"],
    "signs": ["+", "-", "*", "'"],
    "emoji": ["👃", "👁", "👂", "🐾"],
}


@pytest.mark.parametrize("names", SCRIPTS.values(), ids=SCRIPTS)
def test_names_in_any_script_are_accepted_and_found(names):
    skeleton = Skeleton("x", tuple(names))
    assert len(skeleton) == 4
    backwards = [unicodedata.normalize("NFD", name) for name in reversed(names)]
    assert match_names(names, backwards) == (3, 2, 1, 0)


@pytest.mark.parametrize("name", ["left_hip", "Left-Hip", "leftHip", "left hip", "lefthip"])
def test_names_written_in_different_ways_are_equal(name):
    assert name_words(name) == ("left", "hip")
    assert match_names(["LEFT.HIP"], [name]) == (0,)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("LFPaw", ["LF", "Paw"]),
        ("midBackPoint2a", ["mid", "Back", "Point", "2", "a"]),
        ("Левый-глаз", ["Левый", "глаз"]),
        ("ΔεξίΜάτι", ["Δεξί", "Μάτι"]),
        ("L手首", ["L", "手首"]),
        ("Ｌ手首", ["L", "手首"]),
        ("\ufeffnose", ["nose"]),
        ("toe (-)", ["toe", "(", "-", ")"]),
        ("_", []),
    ],
)
def test_names_are_split_into_words(name, words):
    assert split_words(name) == words


SIGNS = ["a+", "a-", "a", "a'", "a*", "+a", "-a", "(a)", "a#", "a′"]


def test_names_that_differ_only_in_signs_stay_different():
    assert len({name_key(name) for name in SIGNS}) == len(SIGNS)
    assert match_names(SIGNS, SIGNS[::-1]) == tuple(range(len(SIGNS)))[::-1]
    assert match_names(["a+"], ["a-", "a"]) == (-1,)


@pytest.mark.parametrize(
    ("wanted", "other"), [("p1_2", "p12"), ("toe_1", "toe_2"), ("x²", "x2"), ("left", "right")]
)
def test_different_names_stay_different(wanted, other):
    assert match_names([wanted], [other]) == (-1,)


def test_names_that_differ_only_in_case_are_found_by_case():
    assert match_names(["A", "a"], ["a", "A"]) == (1, 0)
    assert match_names(["A", "a"], ["a"]) == (-1, 0)
    assert match_names(["left_hip"], ["LeftHip", "left-hip"]) == (-1,)


NAMES = st.lists(st.text(alphabet="aAbB_- +'1ée\u0301左", min_size=1, max_size=4), max_size=8)


@given(wanted=NAMES, other=NAMES)
def test_different_names_are_not_merged(wanted, other):
    wanted, other = (list(dict.fromkeys(map(plain_name, names))) for names in (wanted, other))
    found = [k for k in match_names(wanted, other) if k >= 0]
    assert len(set(found)) == len(found)
    assert match_names(wanted, wanted) == tuple(range(len(wanted)))
    backwards = match_names(other, wanted)
    assert all(backwards[k] == n for n, k in enumerate(match_names(wanted, other)) if k >= 0)


@given(st.text())
def test_any_text_can_be_a_name(text):
    name_words(text)
    assert name_key(text) == name_key(unicodedata.normalize("NFD", text))
