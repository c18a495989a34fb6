"""Reading real labels as their authors published them."""

import json

import numpy as np
import pytest

from tagwise.data.boxes import CocoBoxes
from tagwise.data.coco import CocoKeypoints
from tagwise.data.label_maps import LabelMaps
from tagwise.data.synthetic.pose_prior import RealPoses
from tagwise.skeletons import COCO17


def test_real_labels_have_upright_people(shared):
    file = shared / "data/coco_labels/coco2017_person_keypoints_normalised.npz"
    stock = RealPoses(file, COCO17, np.random.default_rng(0), count=300).poses
    both = (stock[:, 5, 2] > 0) & (stock[:, 11, 2] > 0)
    assert np.mean(stock[both, 5, 1] < stock[both, 11, 1]) > 0.9  # shoulders above hips
    wide = stock[..., 0].max(1)
    assert ((wide > 0) & (wide <= 640)).all()


def test_blood_cell_labels_are_valid(shared):
    folder = shared / "data/blood"
    data = CocoBoxes(folder / "train.json", folder / "images")
    assert data.classes == ("RBC", "WBC", "Platelets")
    assert (len(data), data.report) == (240, [])
    assert sum(len(labels.boxes) for labels in data._labels) == 3201


def test_lsp_teaches_the_limbs_of_coco(shared):
    folder = shared / "data/people_lsp"
    data = CocoKeypoints(folder / "train.json", folder / "images", COCO17)
    assert data.labelled.tolist() == [False] * 5 + [True] * 12
    assert len(data) == 2981
    assert data.report == []


def test_robots_have_regions_to_ignore(shared):
    coco = pytest.importorskip("pycocotools.mask")
    folder = shared / "data/robots"
    data = CocoKeypoints(folder / "val.json", folder / "images")
    content = json.loads((folder / "val.json").read_text())
    crowds = [a for a in content["annotations"] if a["iscrowd"]]
    for image_id in {a["image_id"] for a in crowds[:8]}:
        truth = np.zeros((480, 640), bool)
        for crowd in crowds:
            if crowd["image_id"] == image_id:
                truth |= coco.decode(crowd["segmentation"]).astype(bool)
        np.testing.assert_array_equal(data[data.ids.index(image_id)].ignore, truth)


def test_nuclei_labels_are_valid(shared):
    folder = shared / "data/nuclei/val"
    data = LabelMaps(folder / "images", folder / "labels")
    assert (len(data), data.report) == (60, [])
    assert sum(len(data[index].boxes) for index in range(60)) == 2813


def test_people_without_labels_in_sports_photos_are_ignored(shared):
    folder = shared / "data/people_lsp"
    options = {"ignore_results": folder / "movenet.json", "fill_results": 0.3}
    data = CocoKeypoints(folder / "train.json", folder / "images", COCO17, **options)
    samples = [data[index] for index in range(60)]
    assert 0.1 < np.mean([sample.ignore.any() for sample in samples]) < 0.6
    assert np.mean([sample.keypoints[0, 0, 2] > 0 for sample in samples]) > 0.8
    for sample in samples:
        x, y = np.rint(sample.keypoints[0, sample.keypoints[0, :, 2] > 0, :2]).astype(int).T
        height, width = sample.ignore.shape
        limbs = sample.ignore[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        assert limbs.mean() < 0.3
