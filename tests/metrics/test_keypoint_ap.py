"""Keypoint AP against pycocotools on random scenes, and errors for bad input."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tagwise.data.keypoint_labels import read_keypoint_labels
from tagwise.errors import UserError
from tagwise.metrics.keypoint_ap import keypoint_metrics, keypoint_truth
from tagwise.skeletons import COCO17

NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def reference(results, truth, sigmas, max_dets=20, image_ids=None):
    """pycocotools' precision and recall, summarised for any max_dets; -1 without any."""
    if not results:  # pycocotools cannot load an empty list
        results = [result(truth["images"][0]["id"], np.zeros((len(sigmas), 3)), 0.0)]
        nothing = True
    else:
        nothing = False
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = copy.deepcopy(truth)
        gt.createIndex()
        found = gt.loadRes(copy.deepcopy(results))
        evaluation = COCOeval(gt, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.params.maxDets = [0 if nothing else max_dets]
        if image_ids is not None:
            evaluation.params.imgIds = list(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
    return summary(evaluation.eval["precision"], evaluation.eval["recall"])


def summary(precision, recall):
    def mean(values):
        values = values[values > -1]
        return values.mean() if values.size else -1.0

    figures = {}
    for name, values in (("AP", precision), ("AR", recall)):
        values = np.moveaxis(values, -2, 0)  # area first: all, medium, large
        figures |= {
            name: mean(values[0]),
            f"{name}50": mean(values[0][0]),
            f"{name}75": mean(values[0][5]),
            f"{name}M": mean(values[1]),
            f"{name}L": mean(values[2]),
        }
    return figures


def result(image_id, keypoints, score, box=None, category_id=1):
    row = {"image_id": image_id, "category_id": category_id, "score": float(score)}
    row["keypoints"] = np.asarray(keypoints, float).ravel().tolist()
    return row if box is None else {**row, "bbox": box}


def scene(seed, K=5, images=6, tie=True, boxes=False):
    """Random ground truth and results: crowds, unlabelled instances, misses, doubles, ties."""
    rng = np.random.default_rng(seed)
    truth = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": 1, "name": "it", "keypoints": [f"k{k}" for k in range(K)]}]
    results = []
    for image_id in rng.permutation(images * 3)[:images].tolist():
        truth["images"].append(
            {"id": image_id, "width": 500, "height": 500, "crowdIndex": float(rng.uniform())}
        )
        for _ in range(rng.integers(0, 5)):
            size = rng.uniform(20, 200)
            xy = rng.uniform(0, 200, 2) + rng.uniform(0, size, (K, 2))
            seen = rng.choice([0, 1, 2], K, p=[0.2, 0.2, 0.6]) * (rng.uniform() > 0.1)
            low, high = xy.min(0) - 1, xy.max(0) + 1  # of one keypoint, too
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "keypoints": np.c_[xy * (seen > 0)[:, None], seen].ravel().tolist(),
                    "num_keypoints": int((seen > 0).sum()),
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "area": float(np.prod(high - low) * rng.uniform(0.3, 1)),
                    "iscrowd": int(rng.uniform() < 0.1),
                }
            )
            for _ in range(rng.integers(0, 3)):
                moved = xy + rng.normal(0, size * rng.choice([0.01, 0.05, 0.2]), (K, 2))
                score = rng.integers(0, 4) / 4 if tie else rng.uniform()
                box = rng.uniform(10, 200, 4).tolist() if boxes else None
                results.append(result(image_id, np.c_[moved, np.ones(K)], score, box))
    return truth, results


def assert_same(ours, theirs):
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-6), name


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


def test_file_is_read_and_missing_fields_are_filled_in(tmp_path):
    truth, results = scene(2)
    truth["annotations"] = [a for a in truth["annotations"] if not a["iscrowd"]]
    for annotation in truth["annotations"]:
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    sparse = copy.deepcopy(truth)
    for annotation in sparse["annotations"]:
        for key in ("area", "iscrowd", "num_keypoints"):
            del annotation[key]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(sparse))
    ours = keypoint_metrics(results, path, 0.1)
    assert_same(ours, keypoint_metrics(results, truth, 0.1))
    assert_same(ours, reference(results, truth, [0.1] * 5))


def test_missing_box_is_computed_from_the_labelled_keypoints():
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "keypoints": [3, 4, 2, 9, 9, 0, 5, 8, 1],
    }
    category = {"id": 1, "name": "it", "keypoints": ["a", "b", "c"]}
    truth = {"images": [{"id": 1}], "annotations": [annotation], "categories": [category]}
    filled = keypoint_truth(read_keypoint_labels(truth, need_files=False))
    assert filled.boxes.tolist() == [[3, 4, 2, 4]]
    assert filled.areas.tolist() == [8]
    assert (filled.keypoints[..., 2] > 0).sum() == 2
    assert "bbox" not in annotation


def test_annotation_with_id_0_counts():
    truth, results = scene(9)
    expected = keypoint_metrics(results, truth, 0.1)
    truth["annotations"][0]["id"] = 0
    assert_same(keypoint_metrics(results, truth, 0.1), expected)


def test_inputs_are_not_changed():
    truth, results = scene(6)
    before = copy.deepcopy((truth, results))
    keypoint_metrics(results, truth, 0.1)
    assert (truth, results) == before


def test_only_keypoint_categories_count():
    truth, results = scene(7)
    expected = keypoint_metrics(results, truth, 0.1)
    truth["categories"].insert(0, {"id": 9, "name": "ball"})
    truth["annotations"].append(
        {"id": 999, "image_id": truth["images"][0]["id"], "category_id": 9, "bbox": [0, 0, 9, 9]}
    )
    assert_same(keypoint_metrics(results, truth, 0.1), expected)


def broken(change):
    truth, results = scene(8)
    change(truth, results)
    return truth, results


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, r: t.pop("images"), "no list of images"),
        (lambda t, r: [row.update(category_id=5) for row in r], "of category 1"),
        (lambda t, r: t["categories"][0].pop("keypoints"), '"keypoints"'),
        (lambda t, r: r[0].pop("score"), "result 0 .*score"),
        (lambda t, r: r[0].update(image_id=10**6), "image 1000000"),
        (lambda t, r: r[0].update(keypoints=[1, 2, 3]), "3 keypoint values, but 5"),
        (lambda t, r: r[1]["keypoints"].__setitem__(4, None), "result 1 has None"),
        (lambda t, r: r[1].update(score="high"), "result 1 has .*high"),
        (lambda t, r: r[0].update(keypoints=7), "result 0 .*list of keypoints"),
        (lambda t, r: r[0].update(image_id=[7]), "image .*7"),
        (lambda t, r: r[0].update(bbox=[1, 2]), "result 0 has the bbox"),
    ],
)
def test_invalid_input_is_named(change, says):
    truth, results = broken(change)
    with pytest.raises(UserError, match=says):
        keypoint_metrics(results, truth, 0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"keypoints": [1, 2]},
        {"keypoints": ["here"] * 15},
        {"keypoints": {"nose": 3}},
        {"image_id": None},
        {"image_id": [7]},
        {"category_id": 99},
    ],
)
def test_invalid_annotation_is_left_out_with_a_warning(change):
    """The figures are those of the file without it."""
    truth, results = scene(8)
    without = {**truth, "annotations": truth["annotations"][1:]}
    expected = keypoint_metrics(results, without, 0.1)
    first = {**truth["annotations"][0], "bbox": None, "iscrowd": 0, **change}
    with pytest.warns(UserWarning, match="1 problem in the data"):
        found = keypoint_metrics(
            results, {**truth, "annotations": [first, *without["annotations"]]}, 0.1
        )
    assert_same(found, expected)


ODD_VALUES = {
    "iscrowd is null": ({"iscrowd": 0}, {"iscrowd": None}),
    "iscrowd is a text": ({"iscrowd": 0}, {"iscrowd": "0"}),
    "area is 0": ({"area": None}, {"area": 0}),
    "area is a text": ({"area": None}, {"area": "many"}),
    "area is negative": ({"area": None}, {"area": -4.0}),
    "area is a number as text": ({"area": 300.0}, {"area": "300"}),
    "a field that nobody needs": ({}, {"id": "x", "num_keypoints": "all", "segmentation": 7}),
}


@pytest.mark.parametrize("case", ODD_VALUES)
def test_unusual_values_do_not_change_the_figures(case):
    """The area of an annotation without a usable one is that of its box."""
    plain, odd = ODD_VALUES[case]
    truth, results = scene(8)
    truth["annotations"] = [{**a, "iscrowd": 0} for a in truth["annotations"]]
    for annotation in truth["annotations"]:
        if plain.get("area", 1) is None:
            annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    usual = {
        **truth,
        "annotations": [
            a | {k: v for k, v in plain.items() if v is not None} for a in truth["annotations"]
        ],
    }
    strange = {**truth, "annotations": [a | odd for a in truth["annotations"]]}
    assert_same(keypoint_metrics(results, strange, 0.1), keypoint_metrics(results, usual, 0.1))


IDS = {
    "texts": lambda number: f"photo {number}",
    "negative": lambda number: -1 - number,
    "huge": lambda number: number + 10**15,
    "uuid": lambda number: f"{number:032x}",
}


@pytest.mark.parametrize("kind", IDS)
def test_image_ids_may_be_of_any_type(kind):
    truth, results = scene(3)
    expected = keypoint_metrics(results, truth, 0.1)
    for entry in truth["images"]:
        entry["id"] = IDS[kind](entry["id"])
    for entry in (*truth["annotations"], *results):
        entry["image_id"] = IDS[kind](entry["image_id"])
    assert_same(keypoint_metrics(results, truth, 0.1), expected)


def test_image_ids_match_as_texts_and_as_numbers():
    truth, results = scene(3)
    expected = keypoint_metrics(results, truth, 0.1)
    for annotation in truth["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
    assert_same(keypoint_metrics(results, truth, 0.1), expected)


def test_invalid_arguments_are_named(tmp_path):
    truth, results = scene(8)
    with pytest.raises(UserError, match="3 sigmas"):
        keypoint_metrics(results, truth, [0.1] * 3)
    with pytest.raises(UserError, match="above 0"):
        keypoint_metrics(results, truth, 0.0)
    with pytest.raises(UserError, match="did you mean 'coco'"):
        keypoint_metrics(results, truth, 0.1, style="cocco")
    with pytest.raises(UserError, match="no such file"):
        keypoint_metrics(results, tmp_path / "none.json", 0.1)
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        keypoint_metrics(results, tmp_path / "no.json", 0.1)
    for image in truth["images"]:
        image.pop("crowdIndex")
    with pytest.raises(UserError, match="crowdIndex"):
        keypoint_metrics(results, truth, 0.1, style="crowdpose")
