"""Random poses with results, and their keypoint AP by pycocotools."""

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


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
