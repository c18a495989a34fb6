"""`tagwise eval` of boxes, with a network whose output is known; see test_evaluate.py."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import avg_pool2d

from tagwise.commands.evaluate import evaluate
from tagwise.data.label_maps import LabelMaps
from tagwise.errors import UserError
from tagwise.evaluation.scoring import MaskScorer
from tagwise.results import Masks
from tagwise.tasks.corners import CornerTask

WIDTH, HEIGHT = 256, 192
CLASSES = ("disc", "ring")


class CornerNet(nn.Module):
    """Predicts corners where the image is red (top-left) and green: full discs, and half rings.

    Blue is the tag; offsets are a quarter of a cell. Each of these can be made to fail.
    """

    stride, multiple = 4, 32

    def __init__(self, classes=CLASSES, blind=(), offset=0.25, tags_separate=True):
        super().__init__()
        self.spec = SimpleNamespace(name="corner dots", input_size=(WIDTH, HEIGHT), decoder={})
        self.task = CornerTask(classes)
        self.blind, self.offset, self.tags_separate = blind, offset, tags_separate

    def forward(self, images):
        seen = avg_pool2d(images, self.stride)
        outputs = {}
        for channel, corner in enumerate(("tl", "br")):
            light = seen[:, channel]
            maps = {"disc": light > 0.8, "ring": (light > 0.4) & (light < 0.6)}
            heat = torch.stack([maps[name] for name in self.task.classes], 1).float()
            heat[:, list(self.blind)] = 0
            outputs[f"{corner}_heat"] = 20 * heat - 10
            outputs[f"{corner}_tag"] = 10 * seen[:, 2:]
            outputs[f"{corner}_off"] = torch.full_like(seen[:, :2], self.offset)
        if not self.tags_separate:  # no two corners have similar tags
            outputs["br_tag"] += 100
        return outputs


def make_set(folder, images=2, names=CLASSES):
    """Photos of corners of overlapping boxes, and their labels."""
    rng = np.random.default_rng(0)
    content = {"images": [], "annotations": []}
    content["categories"] = [{"id": 7 - 2 * c, "name": name} for c, name in enumerate(names)]
    for number in range(images):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        entry = {"id": 30 - number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT}
        content["images"].append(entry)
        for n in range(8):
            kind = n % 2
            low = np.array([1 + 5 * n, 1 + 2 * n])  # no two corners share a cell
            high = low + rng.integers(7, 13, 2) + (0, n)
            for channel, (x, y) in enumerate((low, np.minimum(high, (62, 46)))):
                cell = pixels[4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
                cell[..., channel], cell[..., 2] = 255 >> kind, 30 * n
            box = np.concatenate([low + 0.25, np.minimum(high, (62, 46)) - low]) * 4
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": entry["id"],
                    "category_id": 7 - 2 * kind,
                    "bbox": box.tolist(),
                }
            )
        Image.fromarray(pixels).save(folder / entry["file_name"])
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path, content


def figures(model, annotations, **options):
    options = {"quiet": True, "device": "cpu", **options}
    return evaluate(model, annotations, annotations.parent, **options)["metrics"]


def test_perfect_network_scores_1(tmp_path):
    labels, _ = make_set(tmp_path)
    found = figures(CornerNet(), labels)
    assert {name: found[name] for name in ("AP", "AR", "AP/disc", "AP/ring")} == pytest.approx(
        {"AP": 1, "AR": 1, "AP/disc": 1, "AP/ring": 1}
    )


def test_each_oracle_corrects_its_own_error(tmp_path):
    labels, _ = make_set(tmp_path)
    faults = {
        "corners": CornerNet(blind=[0]),
        "offsets": CornerNet(offset=0.9),
        "grouping": CornerNet(tags_separate=False),
    }
    for broken, model in faults.items():
        assert figures(model, labels)["AP"] < 0.9
        for oracle in faults:
            helped = figures(model, labels, oracle=oracle)["AP"]
            if oracle == broken:
                assert helped == pytest.approx(1)
            else:
                assert helped < 0.9, (broken, oracle)


def test_oracles_work_at_another_scale(tmp_path):
    labels, _ = make_set(tmp_path)
    for oracle in CornerTask.oracles:
        assert figures(CornerNet(), labels, oracle=oracle, size=2 * WIDTH)["AP50"] > 0.9


def test_classes_are_found_by_name(tmp_path):
    labels, _ = make_set(tmp_path, names=("Disc", "Ring"))
    found = figures(CornerNet(classes=("ring", "disc")), labels)
    assert found["AP/Disc"] == found["AP/Ring"] == pytest.approx(1)
    with pytest.raises(UserError, match="labels Ring, which the model does not predict"):
        figures(CornerNet(classes=("disc",)), labels)


def test_classes_that_are_not_labelled_do_not_count(tmp_path):
    labels, content = make_set(tmp_path)
    content["categories"].pop()
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 7]
    labels.write_text(json.dumps(content))
    report = evaluate(CornerNet(), labels, tmp_path, quiet=True, device="cpu")
    assert report["metrics"]["AP"] == pytest.approx(1)
    assert "AP/ring" not in report["metrics"]
    assert report["instances"] == len(content["annotations"])


def test_broken_image_counts_as_empty(tmp_path):
    labels, _ = make_set(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    for oracle in (None, "corners"):
        report = evaluate(CornerNet(), labels, tmp_path, quiet=True, device="cpu", oracle=oracle)
        assert report["metrics"]["AR"] == pytest.approx(0.5)
        assert "1.png" in report["failed"][0]


def test_files_contain_results_and_settings(tmp_path, capsys):
    labels, _ = make_set(tmp_path)
    coco = tmp_path / "results.json"
    report = evaluate(CornerNet(), labels, tmp_path, coco=coco, device="cpu", max_dets=200)
    rows = json.loads(coco.read_text())
    assert {row["category_id"] for row in rows} == {7, 5}
    assert report["settings"]["max_dets"] == 200
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert printed[1][:3] == ["AP", "AP50", "AP75"]
    assert ["disc", "100.0", "100.0"] in printed


def test_options_and_oracles_of_other_tasks_are_refused(tmp_path):
    with pytest.raises(UserError, match="no option sigmas; it has max_dets"):
        evaluate(CornerNet(), "x.json", tmp_path, sigmas=[0.1], device="cpu")
    with pytest.raises(UserError, match="no option style"):
        evaluate(CornerNet(), "x.json", tmp_path, style="coco", device="cpu")
    with pytest.raises(UserError, match="oracle for the corners task, 'keypoints'"):
        evaluate(CornerNet(), "x.json", tmp_path, oracle="keypoints", device="cpu")


def label_maps(folder, names=("a", "b", "c")):
    """Images of two squares, and their label maps."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for n, name in enumerate(names):
        labels = np.zeros((32, 40), np.uint16)
        labels[4:14, 4 + n : 14 + n], labels[16:30, 20:30] = 9, 4
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
        Image.new("RGB", (40, 32)).save(folder / "images" / f"{name}.png")
    return folder / "labels", folder / "images"


def test_label_maps_are_scored_by_mask_and_as_a_whole(tmp_path):
    labels, images = label_maps(tmp_path)
    dataset = LabelMaps(images, labels)
    assert [dataset.info(n).file for n in range(3)] == ["a.png", "b.png", "c.png"]
    dataset.keep([0, 2])
    scorer = MaskScorer(dataset)
    found = dataset.label_map(0)
    found[:, 24:] = 0  # less than half of instance 1, on the right, is found
    scorer.add(0, Masks(found, np.array([0.9, 0.8])))
    figures = scorer.figures()
    assert {row["image_id"] for row in scorer.rows} == {1}
    # The right square of both images is missed (less than half was found), so is the left
    # one of the image that was never added.
    assert figures["F1@.5"] == pytest.approx(2 * 1 / (2 * 1 + 1 + 3))
    assert figures["pooledAP@.9"] == pytest.approx(1 / 5)
    assert figures["AR"] == pytest.approx(1 / 4)
    assert "AP/instance" not in figures
    assert dataset.ids == [1, 3]
