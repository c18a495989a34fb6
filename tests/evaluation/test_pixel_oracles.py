"""Oracles of segmentation models, with a network whose errors are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import avg_pool2d

from tagwise.commands.evaluate import evaluate
from tagwise.evaluation.pixel_oracles import true_tags
from tagwise.tasks.pixels import PixelTask

WIDTH, HEIGHT = 96, 64


class PixelNet(nn.Module):
    """Predicts instances where the image is red; green is the tag. Each can be made to fail."""

    stride, multiple = 2, 32

    def __init__(self, fault=None):
        super().__init__()
        self.spec = SimpleNamespace(name="squares", input_size=(WIDTH, HEIGHT), decoder={})
        self.task = PixelTask(tag_dim=1, position=None, zoom=1.0)
        self.fault = fault

    def forward(self, images):
        red, green, _ = avg_pool2d(images, self.stride).unbind(1)
        if self.fault == "grouping":
            green = torch.zeros_like(green)
        seen = 18 * (red > 0.5).float() - 9
        seeds = seen.clone()
        if self.fault == "foreground":
            seen[:, : HEIGHT // 2 // self.stride] = -9
        return {"foreground": seen[:, None], "tags": 20 * green[:, None], "seeds": seeds[:, None]}


@pytest.fixture
def squares(tmp_path):
    """Images of squares next to each other, and their label maps; the last has none."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        labels = np.zeros((HEIGHT, WIDTH), np.uint16)
        for n in range(number and 4):
            labels[10:30, 8 + 20 * n : 28 + 20 * n] = 2 * n + 1
            labels[40:56, 8 + 20 * n : 28 + 20 * n] = 2 * n + 2
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[labels > 0, 0] = 255
        pixels[..., 1] = 30 * labels
        Image.fromarray(labels).save(tmp_path / "labels" / f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "labels", tmp_path / "images"


def f1(folders, fault, oracle, **options):
    options |= {"quiet": True, "device": "cpu", "precision": "fp32"}
    return evaluate(PixelNet(fault), *folders, oracle=oracle, **options)["metrics"]["F1@.8"]


@pytest.mark.parametrize("oracle", ["grouping", "foreground"])
def test_each_oracle_corrects_its_own_error(squares, oracle):
    other = {"grouping": "foreground", "foreground": "grouping"}[oracle]
    assert f1(squares, None, None) == f1(squares, None, oracle) == 1
    assert f1(squares, oracle, None) < 0.7
    assert f1(squares, oracle, oracle) == 1
    assert f1(squares, other, oracle) < 0.7


def test_oracles_work_with_other_passes(squares):
    assert f1(squares, "grouping", "grouping", flip=True, scales=(1.0, 2.0)) == 1


def test_unreadable_image_is_named(squares):
    broken = squares[1] / "1.png"
    broken.write_bytes(broken.read_bytes()[: -broken.stat().st_size // 3])
    report = evaluate(PixelNet(), *squares, oracle="grouping", quiet=True, device="cpu")
    assert len(report["failed"]) == 1
    assert "1.png" in report["failed"][0]
    assert report["metrics"]["F1@.5"] == pytest.approx(2 / 3)


def test_images_without_a_label_map_are_reported(squares, capsys):
    (squares[0] / "1.png").unlink()
    report = evaluate(PixelNet(), *squares, device="cpu")
    assert report["images"] == 2
    assert "1.png, image 2" in capsys.readouterr().err


def test_cells_outside_get_the_tag_of_the_nearest_instance_and_keep_their_seeds():
    cells = np.zeros((3, 7), np.float32)
    cells[1, 1], cells[:, 5] = 1, 2
    outputs = {"tags": torch.zeros(1, 2, 3, 7), "seeds": torch.full((1, 1, 3, 7), -3.0)}
    helped = true_tags(cells, outputs)
    tags = helped["tags"][0]
    assert tags.shape == (2, 3, 7)
    assert torch.equal(tags[0], tags[1])
    assert (tags[0, :, :3] == tags[0, 1, 1]).all()
    assert (tags[0, :, 4:] == tags[0, 1, 5]).all()
    assert tags[0, 1, 1] != tags[0, 1, 5]
    assert (helped["seeds"][0, 0].numpy() > 0).tolist() == (cells > 0).tolist()
    assert true_tags(np.zeros((3, 7)), outputs) == {}
