"""Methods that every task inherits: results in image pixels, and defaults of augmentation."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import Skeleton
from tagwise.tasks import CornerTask, Head, PixelTask, PoseTask
from tagwise.tasks.base import Placement, Task


@dataclass(frozen=True)
class SquareTask(Task):
    """One square of 8 pixels at (4, 12) of the input in each image; nothing else is defined."""

    name: ClassVar[str] = "squares"

    def heads(self):
        return {"tags": Head(6, "tag"), "heatmaps": Head(3, "heatmap")}

    def decode_input(self, outputs, stride):
        box = np.array([[4.0, 12.0, 8.0, 8.0]])
        return [Boxes(box, [0.5], [0], ("square",)) for _ in outputs["heatmaps"]]


def test_results_without_placements_stay_in_input_pixels():
    (found,) = SquareTask().decode({"heatmaps": torch.zeros(1, 3, 8, 8)}, 4)
    assert found.boxes.tolist() == [[4, 12, 8, 8]]
    assert (found.width, found.height) == (None, None)


def test_each_result_is_in_the_pixels_of_its_image():
    doubled = Placement(Affine.shift(2, 4) @ Affine.scaling(2), (40, 30))
    mirrored = Placement(Affine.mirror(32) @ Affine.identity(), (32, 32))
    outputs = {"heatmaps": torch.zeros(2, 3, 8, 8)}
    first, second = SquareTask().decode(outputs, 4, [doubled, mirrored])
    assert first.boxes.tolist() == [[1, 4, 4, 4]]
    assert (first.width, first.height) == (40, 30)
    assert second.boxes.tolist() == [[20, 12, 8, 8]]


def test_boxes_are_clipped_to_the_image():
    small = Placement(Affine.shift(8, 8), (3, 50))
    (found,) = SquareTask().decode({"heatmaps": torch.zeros(1, 3, 8, 8)}, 4, [small])
    assert found.boxes.tolist() == [[0, 4, 3, 8]]


def test_one_placement_per_image_is_required():
    outputs = {"heatmaps": torch.zeros(2, 3, 8, 8)}
    with pytest.raises(ValueError, match="shorter"):
        SquareTask().decode(outputs, 4, [Placement(Affine.identity(), (9, 9))])


def test_tasks_have_defaults_for_augmentation():
    task = SquareTask()
    assert (task.merges, task.zoom, task.tag_norm, task.flip) == ("maps", None, "l2", (0, 1, 2))
    values = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(task.heatmap_values(task.heatmap_raw(values)), values)
    torch.testing.assert_close(task.heatmap_values(torch.zeros(1)), torch.tensor([0.5]))


def test_flip_comes_from_the_skeleton():
    @dataclass(frozen=True)
    class HandTask(SquareTask):
        skeleton: Skeleton

    hands = Skeleton("hands", ("head", "left_hand", "right_hand"), flip=(0, 2, 1))
    assert HandTask(hands).flip == (0, 2, 1)


def test_error_of_a_task_that_cannot_merge_results():
    results = SquareTask().decode({"heatmaps": torch.zeros(2, 3, 8, 8)}, 4)
    with pytest.raises(UserError, match="squares task cannot merge passes"):
        SquareTask().merge_results(results)


POSE = PoseTask(Skeleton("pin", ("top", "foot")), heatmap_loss="focal")
CORNERS = CornerTask(("a",))
PIXELS = PixelTask(tag_dim=1)


def pose_outputs():
    heatmaps = torch.full((1, 2, 16, 16), -9.0)
    heatmaps[0, 0, 4, 3] = heatmaps[0, 1, 12, 9] = 9.0
    return {"heatmaps": heatmaps, "tags": torch.zeros(1, 2, 16, 16)}


def corner_outputs():
    names = ("tl_heat", "br_heat", "tl_tag", "br_tag")
    outputs = {name: torch.full((1, 1, 16, 16), -9.0) for name in names}
    outputs["tl_heat"][0, 0, 2, 3] = outputs["br_heat"][0, 0, 9, 11] = 9.0
    return {**outputs, "tl_off": torch.zeros(1, 2, 16, 16), "br_off": torch.zeros(1, 2, 16, 16)}


def pixel_outputs():
    foreground = torch.full((1, 1, 16, 16), -9.0)
    foreground[..., 3:11, 2:9] = 9.0
    return {"foreground": foreground, "seeds": foreground, "tags": torch.zeros(1, 1, 16, 16)}


def points(result):
    """x, y of the result's points, counted from the centre of the first pixel."""
    if isinstance(result, Poses):
        return result.keypoints[0, :, :2]
    x, y, width, height = result.boxes[0]
    return np.array([[x, y], [x + width, y + height]]) - 0.5


@pytest.mark.parametrize(
    ("task", "outputs", "result", "tolerance"),
    [
        (POSE, pose_outputs(), Poses, 1e-4),
        (CORNERS, corner_outputs(), Boxes, 1e-4),
        (PIXELS, pixel_outputs(), Masks, 1.0),  # masks end at whole pixels
    ],
    ids=["pose", "corners", "pixels"],
)
def test_placements_move_the_results_of_every_task(task, outputs, result, tolerance):
    """A point p of the input is at the inverse of the placement's map in the image."""
    placement = Placement(Affine.shift(3, 5) @ Affine.scaling(0.5), (120, 110))
    (plain,), (placed,) = task.decode(outputs, 4), task.decode(outputs, 4, [placement])
    assert isinstance(placed, result)
    assert len(plain) == len(placed) == 1
    assert (placed.width, placed.height) == (120, 110)
    wanted = placement.affine.inverse().points(points(plain))
    np.testing.assert_allclose(points(placed), wanted, atol=tolerance)
