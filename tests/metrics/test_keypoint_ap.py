"""Keypoint AP against pycocotools on random scenes."""

import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keypoint_scenes import assert_same, reference, scene
from tagwise.errors import UserError
from tagwise.metrics.keypoint_ap import keypoint_metrics
from tagwise.skeletons import COCO17


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    K=st.sampled_from([1, 3, 14, 17, 21]),
    max_dets=st.sampled_from([1, 3, 20, 30]),
    tie=st.booleans(),
    boxes=st.booleans(),
)
def test_equals_pycocotools(seed, K, max_dets, tie, boxes):
    truth, results = scene(seed, K, tie=tie, boxes=boxes)
    sigmas = np.random.default_rng(seed).uniform(0.02, 0.4, K).tolist()
    ours = keypoint_metrics(results, truth, sigmas, max_dets=max_dets)
    assert_same(ours, reference(results, truth, sigmas, max_dets))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    K=st.sampled_from([1, 2, 5]),
    crowd=st.sampled_from([0, 0.3, 1]),
    max_dets=st.sampled_from([1, 2, 20]),
)
def test_equals_pycocotools_with_equal_similarities(seed, K, crowd, max_dets):
    """Poses on a coarse grid, many of them equal, in any order, with areas at the limits."""
    rng = np.random.default_rng(seed)
    truth, results = scene(seed, K)
    for image in range(100, 103):
        truth["images"].insert(0, {"id": image, "width": 500, "height": 500})
    for annotation in list(truth["annotations"]):
        annotation["keypoints"] = on_grid(annotation["keypoints"])
        annotation["area"] = float(rng.choice([32**2, 96**2, 96**2 + 0.5, 500, 20000]))
        annotation["iscrowd"] = int(rng.uniform() < crowd)
        if rng.uniform() < 0.2:
            number = len(truth["annotations"]) + 1
            truth["annotations"].append({**annotation, "id": number, "iscrowd": 0})
    for row in results:
        row["keypoints"] = on_grid(row["keypoints"])
        row["image_id"] = int(rng.choice([row["image_id"]] * 9 + [100]))
    results = [results[n] for n in rng.permutation(len(results))]
    ours = keypoint_metrics(results, truth, 0.1, max_dets=max_dets)
    assert_same(ours, reference(results, truth, [0.1] * K, max_dets))


def on_grid(keypoints, step=40):
    values = np.array(keypoints).reshape(-1, 3)
    values[:, :2] = np.round(values[:, :2] / step) * step
    return values.ravel().tolist()


def test_results_of_other_categories_do_not_count():
    truth, results = scene(11)
    others = [{**row, "category_id": 2, "score": 1.0} for row in results]
    mixed = [row for pair in zip(others, results) for row in pair]
    ours = keypoint_metrics(mixed, truth, 0.1)
    assert_same(ours, reference(results, truth, [0.1] * 5))


def test_scenes_contain_hard_cases():
    """The comparison above needs scenes that are partly right and partly wrong."""
    figures = [keypoint_metrics(*reversed(scene(seed)), 0.1) for seed in range(20)]
    spread = [f["AP"] for f in figures]
    assert 0.05 < np.mean(spread) < 0.95
    assert any(f["APL"] == -1 for f in figures) or any(f["APM"] == -1 for f in figures)


def test_one_sigma_is_for_every_keypoint_type():
    truth, results = scene(3)
    assert_same(keypoint_metrics(results, truth, 0.4), reference(results, truth, [0.4] * 5))


def test_sigmas_come_from_the_category():
    truth, results = scene(4)
    truth["categories"][0]["sigmas"] = sigmas = [0.1, 0.2, 0.3, 0.05, 0.07]
    assert_same(keypoint_metrics(results, truth), reference(results, truth, sigmas))


def test_published_sigmas_of_coco_by_its_names():
    truth, results = scene(5, K=17)
    truth["categories"][0]["keypoints"] = list(COCO17.keypoints)
    assert_same(keypoint_metrics(results, truth), reference(results, truth, COCO17.sigmas))


@pytest.mark.parametrize("seed", range(8))
def test_crowdpose_gives_ap_of_three_parts(seed):
    """The toolkit's protocol, written out: area from the box, three parts by crowdIndex."""
    truth, results = scene(seed, K=14, images=12)
    sigmas = [0.08] * 14
    boxed = copy.deepcopy(truth)
    for annotation in boxed["annotations"]:
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3] * 0.53
    whole = reference(results, boxed, sigmas)
    expected = {name: whole[name] for name in ("AP", "AP50", "AP75", "AR", "AR50", "AR75")}
    for name, low, high in (("easy", -1, 0.2), ("medium", 0.2, 0.8), ("hard", 0.8, 2)):
        ids = [image["id"] for image in truth["images"] if low <= image["crowdIndex"] < high]
        part = reference(results, boxed, sigmas, image_ids=ids) if ids else {"AP": -1}
        expected[f"AP_{name}"] = part["AP"]
    assert_same(keypoint_metrics(results, truth, sigmas, style="crowdpose"), expected)


def test_no_detections_give_figures_of_zero():
    truth, _ = scene(1)
    figures = keypoint_metrics([], truth, 0.1)
    assert_same(figures, reference([], truth, [0.1] * 5))
    assert figures["AP"] == figures["AR"] == 0


def test_figures_need_labelled_instances():
    truth, _ = scene(1)
    truth["annotations"] = []
    assert set(keypoint_metrics([], truth, 0.1).values()) == {-1.0}


def test_only_the_given_images_count():
    truth, results = scene(10, images=9)
    ids = [image["id"] for image in truth["images"]][::2]
    rows = [row for row in results if row["image_id"] in ids]
    ours = keypoint_metrics(rows, truth, 0.1, image_ids=ids)
    assert_same(ours, reference(results, truth, [0.1] * 5, image_ids=ids))
    with pytest.raises(UserError, match="another set"):
        keypoint_metrics(results, truth, 0.1, image_ids=ids)
