"""AP of boxes and masks against pycocotools on random scenes, and errors for bad input."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tagwise.errors import UserError
from tagwise.metrics import box_metrics, mask_metrics


def reference(results, truth, max_dets=500, image_ids=None, kind="bbox"):
    """pycocotools' precision and recall, summarised for any max_dets; -1 without any."""
    rows = results or [row_of(truth["images"][0]["id"], [0, 0, 1, 1], 0.0)]
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = copy.deepcopy(truth)
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(copy.deepcopy(rows)), kind)
        evaluation.params.maxDets = [max_dets if results else 0]
        if image_ids is not None:
            evaluation.params.imgIds = list(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()

    def mean(values):
        values = values[values > -1]
        return values.mean() if values.size else -1.0

    figures = {}
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    for name, values in (("AP", precision), ("AR", recall)):
        values = np.moveaxis(values[..., 0], -1, 0)  # area first: all, small, medium, large
        figures |= {f"{name}{a}": mean(v) for a, v in zip(("", "S", "M", "L"), values)}
        figures |= {f"{name}50": mean(values[0][0]), f"{name}75": mean(values[0][5])}
    for number, category in enumerate(sorted(truth["categories"], key=lambda c: c["id"])):
        figures[f"AP/{category['name']}"] = mean(precision[:, :, number, 0])
        figures[f"AP50/{category['name']}"] = mean(precision[0, :, number, 0])
    return figures


def row_of(image_id, box, score, category_id=1):
    box = [float(value) for value in box]
    return {"image_id": image_id, "category_id": category_id, "bbox": box, "score": float(score)}


def scene(seed, classes=3, images=5, per_image=5, doubles=3, tie=True):
    """Random ground truth and results: crowds, empty images, misses, doubles, ties, all sizes."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(50)[:classes] + 1
    truth = {"images": [], "annotations": []}
    truth["categories"] = [{"id": int(c), "name": f"class {c}"} for c in ids]
    results = []
    for image_id in rng.permutation(images * 3)[:images].tolist():
        truth["images"].append({"id": image_id, "width": 640, "height": 480})
        for _ in range(rng.integers(0, per_image + 1)):
            size = np.exp(rng.uniform(np.log(8), np.log(250), 2))
            box = np.concatenate([rng.uniform(0, 200, 2), size])
            annotation = {"id": len(truth["annotations"]) + 1, "image_id": image_id}
            annotation |= {"category_id": int(rng.choice(ids)), "bbox": box.tolist()}
            annotation |= {"area": float(size.prod()), "iscrowd": int(rng.uniform() < 0.15)}
            truth["annotations"].append(annotation)
            for _ in range(rng.integers(0, doubles + 1)):
                blur = rng.choice([0.01, 0.05, 0.2]) * np.tile(size, 2)
                moved = box + rng.normal(0, 1, 4) * blur
                moved[2:] = np.abs(moved[2:])
                seen = annotation["category_id"] if rng.uniform() < 0.8 else int(rng.choice(ids))
                score = rng.integers(0, 4) / 4 if tie else rng.uniform()
                results.append(row_of(image_id, moved, score, seen))
    return truth, results


def assert_same(ours, theirs):
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-6), name


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.sampled_from([1, 2, 7]),
    max_dets=st.sampled_from([1, 3, 10, 100, 500]),
    tie=st.booleans(),
)
def test_equals_pycocotools(seed, classes, max_dets, tie):
    truth, results = scene(seed, classes, tie=tie)
    assert_same(box_metrics(results, truth, max_dets), reference(results, truth, max_dets))


@pytest.mark.parametrize("max_dets", [100, 500])
def test_dense_images_equal_pycocotools(max_dets):
    """More than 100 boxes of a class in an image: the limit of COCO's own figures cuts them off."""
    truth, results = scene(0, classes=1, images=2, per_image=400, doubles=4, tie=False)
    assert max(sum(r["image_id"] == i["id"] for r in results) for i in truth["images"]) > 120
    ours = box_metrics(results, truth, max_dets)
    assert_same(ours, reference(results, truth, max_dets))
    if max_dets == 500:
        assert ours["AR"] > box_metrics(results, truth, 100)["AR"] + 0.05


def test_scenes_contain_hard_cases():
    """The comparison above needs scenes that are partly right and partly wrong."""
    figures = [box_metrics(*reversed(scene(seed))) for seed in range(20)]
    assert 0.05 < np.mean([f["AP"] for f in figures]) < 0.95
    for name in ("APS", "APM", "APL"):
        assert any(f[name] > 0 for f in figures)


def test_no_detections_give_figures_of_zero():
    truth, _ = scene(1)
    figures = box_metrics([], truth)
    assert_same(figures, reference([], truth))
    assert figures["AP"] == figures["AR"] == 0


def test_figures_need_labelled_instances():
    truth, results = scene(1)
    truth["annotations"] = []
    assert set(box_metrics([], truth).values()) == {-1.0}
    assert set(box_metrics(results, truth).values()) == {-1.0}


def test_only_the_given_images_count():
    truth, results = scene(10, images=9)
    ids = [image["id"] for image in truth["images"]][::2]
    rows = [row for row in results if row["image_id"] in ids]
    ours = box_metrics(rows, truth, image_ids=ids)
    assert_same(ours, reference(results, truth, image_ids=ids))
    with pytest.raises(UserError, match="another set"):
        box_metrics(results, truth, image_ids=ids)


def test_ids_may_be_names_and_0():
    """In pycocotools an annotation with id 0 is ignored; hotcoco accepts only numbers."""
    truth, results = scene(2)
    expected = box_metrics(results, truth)
    for entry in truth["images"]:
        entry["id"] = f"photo {entry['id']:03}"
    for entry in (*truth["annotations"], *results):
        entry["image_id"] = f"photo {entry['image_id']:03}"
    truth["annotations"][0]["id"] = 0
    assert_same(box_metrics(results, truth), expected)


def test_classes_of_one_name_get_different_figures():
    truth, results = scene(3, classes=2)
    for category in truth["categories"]:
        category["name"] = "cell"
    named = {f"AP/cell ({category['id']})" for category in truth["categories"]}
    assert named < set(box_metrics(results, truth))


def test_file_is_read_and_missing_fields_are_filled_in(tmp_path):
    truth, results = scene(4)
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 0
    sparse = copy.deepcopy(truth)
    for annotation in sparse["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(sparse))
    assert_same(box_metrics(results, path), reference(results, truth))


def test_annotations_of_unknown_images_or_classes_are_ignored():
    truth, results = scene(5)
    expected = reference(results, truth)
    stray = {"id": 900, "image_id": 10**6, "category_id": truth["categories"][0]["id"]}
    truth["annotations"].append({**stray, "bbox": [0, 0, 9, 9]})
    known = truth["images"][0]["id"]
    truth["annotations"].append({"id": 901, "image_id": known, "category_id": 77, "bbox": [0] * 4})
    results = [*results, row_of(known, [0, 0, 5, 5], 1.0, category_id=77)]
    assert_same(box_metrics(results, truth), expected)


def test_inputs_are_not_changed():
    truth, results = scene(6)
    before = copy.deepcopy((truth, results))
    box_metrics(results, truth)
    assert (truth, results) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, r: t.pop("images"), "no list of images"),
        (lambda t, r: t["categories"].clear(), "no categories"),
        (lambda t, r: [row.update(category_id=99) for row in r], "of a category of the ground"),
        (lambda t, r: r[0].pop("score"), "result 0 .*score"),
        (lambda t, r: r[0].update(image_id=10**6), "image 1000000"),
        (lambda t, r: r[1].update(bbox=[1, 2, 3]), "result 1 has score .* bbox"),
        (lambda t, r: r[1].update(score=float("nan")), "score nan"),
        (lambda t, r: r[1].update(bbox=None), "bbox None"),
        (lambda t, r: r.insert(1, "no dict"), "result 1 .*image_id"),
    ],
)
def test_invalid_input_is_named(change, says):
    truth, results = scene(8)
    change(truth, results)
    with pytest.raises(UserError, match=says):
        box_metrics(results, truth)


@pytest.mark.parametrize(
    "change", [{"bbox": [1, 2]}, {"bbox": None}, {"bbox": [1, 2, 0, 4]}, {"bbox": ["a"] * 4}]
)
def test_invalid_annotation_is_left_out_with_a_warning(change):
    """The figures are those of the file without it."""
    truth, results = scene(8)
    without = {**truth, "annotations": truth["annotations"][1:]}
    first = {**truth["annotations"][0], "iscrowd": 0, **change}
    with pytest.warns(UserWarning, match="1 problem in the data"):
        found = box_metrics(results, {**truth, "annotations": [first, *without["annotations"]]})
    assert_same(found, box_metrics(results, without))


def test_missing_hotcoco_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hotcoco", None)
    with pytest.raises(UserError, match=r"tagwise\[eval\]"):
        box_metrics([], scene(1)[0])


def masks(seed, classes=2, images=4, size=(40, 50)):
    """Random overlapping discs and polygons as masks, and shifted and torn ones as results."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    truth = {"images": [], "annotations": []}
    truth["categories"] = [{"id": c + 1, "name": f"class {c}"} for c in range(classes)]
    results = []
    for image_id in range(5, 5 + images):
        truth["images"].append({"id": image_id, "height": size[0], "width": size[1]})
        for _ in range(rng.integers(0, 6)):
            cx, cy, r = rng.uniform(0, 40), rng.uniform(0, 40), rng.uniform(2, 15)
            disc = np.hypot(x - cx, y - cy) < r
            ids = {"image_id": image_id, "category_id": int(rng.integers(classes)) + 1}
            turn = np.linspace(0, 2 * np.pi, 9)[:-1]
            corners = np.stack([cx + r * np.cos(turn), cy + r * np.sin(turn)], 1)
            polygon = [corners.ravel().tolist()]
            kind = rng.integers(3)
            shape = (run_lengths(disc), run_lengths(disc, as_list=True), polygon)[kind]
            annotation = {"id": len(truth["annotations"]) + 1, **ids, "segmentation": shape}
            annotation["area"] = float(disc.sum() * rng.choice([1, 10, 100]))
            truth["annotations"].append({**annotation, "iscrowd": int(rng.uniform() < 0.1)})
            for _ in range(rng.integers(0, 3)):
                moved = np.roll(disc, rng.integers(-2, 3, 2), (0, 1))
                moved &= rng.uniform(size=size) > rng.choice([0, 0.1, 0.4])
                row = {**ids, "segmentation": run_lengths(moved)}
                results.append({**row, "score": float(rng.integers(1, 6) / 5)})
    for annotation in truth["annotations"]:  # crowds are run lengths, never polygons
        annotation["iscrowd"] &= isinstance(annotation["segmentation"], dict)
    return truth, results


def run_lengths(mask, as_list=False):
    if as_list:
        flat = np.concatenate([[0], mask.T.ravel().astype(int)])
        edges = np.flatnonzero(np.diff(flat))
        return {
            "size": list(mask.shape),
            "counts": np.diff(edges, prepend=0, append=mask.size).tolist(),
        }
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), max_dets=st.sampled_from([1, 5, 500]))
def test_masks_equal_pycocotools(seed, max_dets):
    truth, results = masks(seed)
    ours = mask_metrics(results, truth, max_dets)
    assert_same(ours, reference(results, truth, max_dets, kind="segm")) if results else None
    assert results or set(ours.values()) <= {0.0, -1.0}


def test_mask_scenes_contain_hard_cases():
    figures = [mask_metrics(*reversed(masks(seed))) for seed in range(10)]
    assert 0.05 < np.mean([f["AP"] for f in figures]) < 0.95
    assert all(any(f[name] > 0 for f in figures) for name in ("APS", "APM", "APL"))


def test_area_defaults_to_that_of_the_mask():
    truth, results = masks(1)
    for annotation in truth["annotations"]:
        shape = annotation["segmentation"]
        if isinstance(shape, list) or isinstance(shape["counts"], list):
            shape = coco_mask.frPyObjects(shape, 40, 50)
            shape = coco_mask.merge(shape) if isinstance(shape, list) else shape
        annotation["area"] = float(coco_mask.area(shape))
    expected = reference(results, truth, kind="segm")
    for annotation in truth["annotations"]:
        del annotation["area"]
    assert_same(mask_metrics(results, truth), expected)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, r: r[0].update(segmentation={"size": [3, 4], "counts": "1"}), "result 0 has"),
        (lambda t, r: r[0].update(segmentation=[[1, 2, 3, 4, 5, 6]]), "run lengths of the size"),
        (lambda t, r: r[0].pop("segmentation"), "result 0 .*no segmentation"),
    ],
)
def test_invalid_masks_are_named(change, says):
    truth, results = masks(1)
    change(truth, results)
    with pytest.raises(UserError, match=says):
        mask_metrics(results, truth)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a, t: a.pop("segmentation"), 'annotation 1: no "segmentation"'),
        (lambda a, t: a.update(segmentation=[]), 'annotation 1: no "segmentation"'),
        (lambda a, t: a.update(segmentation=[[1, 2, 3, 4]]), "fewer than three corners"),
        (lambda a, t: a.update(segmentation=[[1, 2, 1e300, 4, 5, 6]]), "not in pixels"),
        (lambda a, t: a.update(segmentation={"size": [40, 50]}), "counts"),
        (lambda a, t: a.update(segmentation={"size": 4, "counts": "1"}), "not run lengths"),
        (lambda a, t: polygon_without_size(t), "a polygon, but its image"),
    ],
)
def test_masks_of_the_truth_that_cannot_be_read_are_left_out_with_a_warning(change, says):
    truth, results = masks(1)
    change(truth["annotations"][0], truth)
    with pytest.warns(UserWarning, match="mask cannot be read, left out") as caught:
        found = mask_metrics(results, truth)
    assert says in str(caught[0].message)
    del truth["annotations"][0]
    assert found == mask_metrics(results, truth)


def polygon_without_size(truth):
    annotation = truth["annotations"][0]
    annotation["segmentation"] = [[0, 0, 9, 0, 9, 9]]
    for image in truth["images"]:
        del image["width"]
