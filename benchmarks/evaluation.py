"""Keypoint AP of 100,000 detections in 5,000 images, compared with hotcoco and pycocotools.

    python benchmarks/evaluation.py

All start from lists of dicts in memory, as in a validation, and return ten figures. The goal is
1.05 times the CPU time of hotcoco called directly, which neither checks nor repairs its input. The
two are measured in turn, and the fastest run of each is compared.
"""

import contextlib
import copy
import io

import hotcoco
import numpy as np
from _bench import arguments, at_size, report, timed, verdict

from tagwise.metrics import keypoint_metrics
from tagwise.skeletons import COCO17

IMAGES, PEOPLE, DETECTIONS = at_size(5000, 20), 5, 20
GOAL = 1.05


def scene(seed: int = 0) -> tuple[list[dict], dict]:
    """Results and ground truth: each person is found four times, from nearly correct to wrong."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(IMAGES):
        for _ in range(PEOPLE):
            size = rng.uniform(40, 300)
            xy = rng.uniform(0, 300, 2) + rng.uniform(0, size, (17, 2))
            seen = rng.choice([0, 1, 2], 17, p=[0.3, 0.2, 0.5])
            low, extent = xy.min(0), np.ptp(xy, axis=0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "keypoints": np.c_[xy, seen].round(2).ravel().tolist(),
                    "num_keypoints": int((seen > 0).sum()),
                    "bbox": [*low.tolist(), *extent.tolist()],
                    "area": float(extent.prod() * 0.53),
                    "iscrowd": 0,
                }
            )
            for blur in (0.01, 0.03, 0.1, 0.3)[: DETECTIONS // PEOPLE]:
                moved = xy + rng.normal(0, blur * size, (17, 2))
                keypoints = np.c_[moved, np.ones(17)].round(2).ravel().tolist()
                row = {"image_id": image, "category_id": 1, "keypoints": keypoints}
                results.append({**row, "score": float(rng.uniform(0, 1 - blur))})
    truth = {"images": [{"id": image} for image in range(IMAGES)], "annotations": annotations}
    return results, {**truth, "categories": [COCO17.to_coco()]}


def with_pycocotools(results: list[dict], truth: dict) -> float:
    """AP by pycocotools. It changes its arguments, so callers copy them, outside the timing."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = truth
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def with_hotcoco(results: list[dict], truth: dict) -> float:
    """AP by hotcoco, called directly."""
    gt = hotcoco.COCO(truth)
    evaluation = hotcoco.COCOeval(gt, gt.load_res(results), "keypoints")
    evaluation.params.kpt_oks_sigmas = list(COCO17.sigmas)
    evaluation.params.max_dets = [DETECTIONS]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summary_lines()
    return evaluation.get_results()["AP"]


def main() -> None:
    arguments(__doc__).parse_args()
    results, truth = scene()
    methods = {
        "keypoint_metrics": lambda: keypoint_metrics(results, truth)["AP"],
        "hotcoco": lambda: with_hotcoco(results, truth),
    }
    times = {name: [] for name in methods}
    for _ in range(at_size(7, 1)):
        for name, method in methods.items():
            times[name].append(timed(method, repeats=1, warmup=0))
    best = {name: min(values) for name, values in times.items()}
    ratio = best["keypoint_metrics"] / best["hotcoco"]
    rows = [
        {"what": name, "CPU ms": best[name], "AP": f"{method():.6f}"}
        for name, method in methods.items()
    ]
    rows[0] |= {"ratio": ratio, "goal": GOAL, "": verdict(ratio, GOAL)}
    try:
        copies = copy.deepcopy((results, truth))
        peer = []
        took = timed(lambda: peer.append(with_pycocotools(*copies)), repeats=1, warmup=0)
        rows.append({"what": "pycocotools", "CPU ms": took, "AP": f"{peer[0]:.6f}"})
    except ImportError:
        rows.append({"what": "pycocotools: not installed"})
    print(f"{len(results):,} detections, {len(truth['annotations']):,} people, {IMAGES:,} images")
    report("evaluation", rows)


if __name__ == "__main__":
    main()
