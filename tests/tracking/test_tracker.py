import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.errors import UserError
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import Skeleton
from tagwise.tracking.tracker import Tracker, TrackSettings

PIN = Skeleton.from_coco({"name": "pin", "keypoints": ["top", "foot"]})
NOTHING = Boxes(np.zeros((0, 4)), [], [], ("thing",))


def frame(centres, scores=None, tags=None, classes=None):
    """Boxes of 20 by 40 pixels around centres (N, 2)."""
    centres = np.asarray(centres, float).reshape(-1, 2)
    N = len(centres)
    boxes = np.concatenate([centres - (10, 20), np.broadcast_to((20, 40), (N, 2))], 1)
    scores = np.full(N, 0.9) if scores is None else scores
    classes = np.zeros(N, int) if classes is None else classes
    tags = None if tags is None else np.repeat(np.reshape(tags, (N, 1, -1)), 2, axis=1)
    return Boxes(boxes, scores, classes, ("thing", "other"), None, tags)


def ids_of(frames, **options):
    tracker = Tracker(TrackSettings(**options))
    return [tracker.update(result).tolist() for result in frames]


def walkers(seed, frames=20, count=5):
    """Frames of objects that move straight ahead, in lanes 50 pixels apart."""
    rng = np.random.default_rng(seed)
    start = np.stack([rng.uniform(0, 300, count), 50.0 * np.arange(count)], 1)
    speed = np.stack([rng.uniform(-6, 6, count), np.zeros(count)], 1)
    noise = rng.normal(0, 0.5, (frames, count, 2))
    return start + np.arange(frames)[:, None, None] * speed + noise


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_ids_stay_and_do_not_depend_on_the_order_of_detections(seed):
    rng, ways = np.random.default_rng(seed), walkers(seed)
    scores = rng.uniform(0.6, 1, ways.shape[:2])
    plain = ids_of(frame(places, s) for places, s in zip(ways, scores))
    assert all(ids == plain[0] for ids in plain)
    assert sorted(plain[0]) == [1, 2, 3, 4, 5]
    order = [rng.permutation(ways.shape[1]) for _ in ways]
    mixed = ids_of(frame(p[o], s[o]) for p, s, o in zip(ways, scores, order))
    assert mixed == [np.array(ids)[o].tolist() for ids, o in zip(plain, order)]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.2, 30), st.floats(-1e4, 1e4))
def test_ids_do_not_depend_on_scale_and_place(seed, scale, shift):
    ways = walkers(seed, frames=8)
    there = [frame(places) for places in ways]
    matrix = np.array([[scale, 0, shift], [0, scale, shift]])
    assert ids_of(there) == ids_of(boxes.transform(matrix) for boxes in there)


def test_empty_frames_and_a_single_frame_are_accepted():
    assert ids_of([NOTHING, NOTHING]) == [[], []]
    assert ids_of([frame([(0, 0), (90, 0)])]) == [[1, 2]]
    assert ids_of([NOTHING, frame([(0, 0)]), NOTHING, frame([(0, 0)])]) == [[], [-1], [], [-1]]


@pytest.mark.parametrize(("gap", "same"), [(3, True), (10, True), (11, False), (40, False)])
def test_track_is_kept_for_as_many_frames_as_memory(gap, same):
    seen = [frame([(0, 0)])] * 8
    ids = ids_of([*seen, *[NOTHING] * gap, *seen], memory=10)
    assert ids[7] == [1]
    assert ids[-1] == ([1] if same else [2])


def test_hidden_walker_is_found_where_its_motion_leads():
    ways = walkers(3, frames=30, count=1) * (0, 1) + np.arange(30)[:, None, None] * (5, 0)
    frames = [frame(p) if not 12 <= t < 20 else NOTHING for t, p in enumerate(ways)]
    assert all(ids in ([1], []) for ids in ids_of(frames))


def test_single_detection_gets_an_id_only_in_the_first_frame():
    places = [[(0, 0)], [(0, 0), (300, 0)], [(0, 0)], [(0, 0), (500, 0)]]
    frames = [frame(place) for place in places]
    assert ids_of(frames) == [[1], [1, -1], [1], [1, -1]]
    assert ids_of(frames, confirm=1) == [[1], [1, 2], [1], [1, 3]]


def test_weak_detections_continue_a_track_but_do_not_start_one():
    weak = np.array([0.2])
    frames = [frame([(0, 0)]), frame([(0, 0)]), frame([(0, 0)], weak), frame([(400, 0)], weak)]
    assert ids_of(frames) == [[1], [1], [1], [-1]]
    assert ids_of([frame([(0, 0)], np.array([0.05]))] * 3) == [[-1]] * 3


def test_classes_are_not_mixed():
    assert ids_of([frame([(0, 0)]), frame([(0, 0)], classes=[1])], confirm=1) == [[1], [2]]


def crossing(turn, frames=40):
    """Two objects that meet, occlude each other and continue, or turn back; tags 0 and 3."""
    time = np.arange(frames) - frames / 2 + 0.5
    offset = 3 * (np.abs(time) if turn else -time)
    for t in range(frames):
        places = np.array([(100 - offset[t], 0), (100 + offset[t], 1)])
        seen = [0, 1] if abs(offset[t]) > 8 else [0]
        yield places[seen], np.array([[0.0], [3.0]])[seen]


@pytest.mark.parametrize("turn", [True, False])
def test_tags_identify_instances_that_turn_back(turn):
    rng = np.random.default_rng(0)
    met = [frame(p, tags=t + rng.normal(0, 0.1, t.shape)) for p, t in crossing(turn)]
    by_tag = ids_of(met)
    assert by_tag[0] == by_tag[-1] == [1, 2]
    by_motion = ids_of(met, tags=False)
    assert (by_motion[-1] == [1, 2]) is not turn


def test_tags_that_change_between_frames_have_no_effect():
    rng = np.random.default_rng(1)
    ways = walkers(1, frames=30)
    ways[:, 1] = ways[:, 0] + (30, 8)  # two walk side by side
    plain = [frame(places) for places in ways]
    random = [frame(places, tags=rng.normal(0, 1, (5, 2))) for places in ways]
    assert ids_of(plain) == ids_of(random)


def test_tags_that_are_not_finite_are_ignored():
    ways = walkers(2)
    known = np.arange(5.0)[:, None].repeat(2, 1)
    broken = known.copy()
    broken[1], broken[3, 0] = np.nan, np.inf
    frames = [frame(p, tags=broken if t % 2 else known) for t, p in enumerate(ways)]
    assert ids_of(frames) == ids_of(frame(places) for places in ways)
    never = [frame(p, tags=np.full((5, 2), np.nan)) for p in ways]
    assert ids_of(never) == ids_of(frame(places) for places in ways)


def test_invalid_boxes_get_no_id():
    boxes = np.array([[0, 0, 20, 40], [np.nan, 0, 5, 5], [50, 50, 0, 0]])
    result = Boxes(boxes, [0.9, 0.9, 0.9], [0, 0, 0], ("thing",))
    assert ids_of([result] * 3) == [[1, -1, -1]] * 3


def test_poses_that_share_a_box_are_distinguished_by_their_keypoints():
    def poses(t, swap):
        falling = np.array([[0 + t, 0, 0.9], [40 + t, 60, 0.9]])
        rising = np.array([[0 + t, 60, 0.9], [40 + t, 0, 0.9]])
        both = [rising, falling] if swap else [falling, rising]
        return Poses(np.stack(both), np.array([0.9, 0.8]), None, PIN)

    frames = [poses(t, swap=t % 2) for t in range(8)]
    assert ids_of(frames) == [[2, 1] if t % 2 else [1, 2] for t in range(8)]
    boxes_only = ids_of(frames, keypoint_weight=0)
    assert boxes_only != ids_of(frames)


def test_missing_keypoints_do_not_end_a_track():
    whole = np.array([[[0, 0, 0.9], [40, 60, 0.9]]])
    part = whole.copy()
    part[0, 1] = (np.nan, np.nan, 0)
    none = Poses(np.zeros((0, 2, 3)), [], None, PIN)
    frames = [Poses(k, [0.9], None, PIN) for k in [whole] * 5 + [part] + [whole] * 5]
    ids = ids_of([*frames, none, *frames])
    assert ids[0] == ids[4] == ids[6] == ids[10] == ids[12] == ids[-1] == [1]


@pytest.mark.parametrize("size", [(None, None), (640, 480)], ids=["unknown size", "640 by 480"])
@pytest.mark.parametrize("types", [1, 2], ids=["one type", "one of two types present"])
def test_instances_with_a_single_keypoint_are_tracked(types, size):
    """A single keypoint has no extent, so its box comes from the size of the image."""
    skeleton = Skeleton("spot", ("top", "foot")[:types], ())
    frames = []
    for t in range(6):
        keypoints = np.zeros((2, types, 3))
        keypoints[:, 1:, :2] = np.nan
        keypoints[:, 0] = (100 + 3 * t, 50, 0.9), (300 - 3 * t, 200, 0.8)
        frames.append(Poses(keypoints, [0.9, 0.8], None, skeleton, None, *size))
    assert ids_of(frames) == [[1, 2]] * 6


def test_masks_are_tracked():
    def masks(x):
        labels = np.zeros((40, 90), int)
        labels[5:25, x : x + 10], labels[10:30, 60:75] = 1, 2
        return Masks(labels, [0.9, 0.8], np.array([[0.0], [2.0]]))

    assert ids_of(masks(x) for x in range(0, 20, 2)) == [[1, 2]] * 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"high": 0.2, "low": 0.3}, "low is 0.3; use a number of at most high, 0.2"),
        ({"low": -0.1}, "low is -0.1; use a number of at least 0"),
        ({"memory": -1}, "memory is -1; use a whole number of at least 0"),
        ({"confirm": 0}, "confirm is 0; use a whole number of at least 1"),
        ({"noise": 0}, "noise is 0; use a number above 0"),
        ({"tag_memory": 1.0}, "tag_memory is 1.0; use a number of at least 0 and below 1"),
        ({"tags": 1}, "tags is 1; use true or false"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        TrackSettings(**wrong)


def test_tags_of_another_dimension_are_refused():
    tracker = Tracker()
    tracker.update(frame([(0, 0)], tags=[[1.0]]))
    with pytest.raises(ValueError, match="tags have 2 dimensions, earlier ones had 1"):
        tracker.update(frame([(0, 0)], tags=[[1.0, 2.0]]))
