"""What the public functions take: tensors, numpy arrays and lists give the same results, and
anything else one line that names the argument.

`CALLS` has valid arguments for every public function of losses, grouping, peaks and metrics. The
arguments that are arrays here are given in every form, and made wrong in every way.
"""

import dataclasses
import inspect

import numpy as np
import pytest
import torch

from tagwise import grouping, losses, metrics, peaks
from tagwise.errors import UserError
from tagwise.grouping.pixels import decode_pixels
from tagwise.grouping.settings import CornerSettings

RANDOM = np.random.default_rng(0)
TAGS = RANDOM.normal(size=(6, 2)).round(2)
GROUP, IMAGE = np.array([0, 0, 1, 1, 2, -1]), np.array([0, 0, 0, 0, 1, 1])
POINTS = {"tags": TAGS, "group": GROUP, "image": IMAGE}
WEIGHT = np.array([1.0, 0.5, 1, 1, 0, 2])
MAPS = RANDOM.uniform(size=(2, 2, 4, 4)).round(2)
DENSE = {"tags": MAPS, "labels": RANDOM.integers(-1, 3, (2, 4, 4))}
HEAT = {"pred": MAPS, "target": MAPS.round(), "mask": np.ones((2, 1, 4, 4))}
FOUND = peaks.find_peaks(MAPS, MAPS)
CORNERS = {f"{c}_{m}": MAPS[:, :2] for c in ("tl", "br") for m in ("heat", "tag", "off")}
REFERENCE = {"tags": TAGS, "references": TAGS[:2], "image": IMAGE, "reference_image": IMAGE[:2]}
PAIRS = {"first": TAGS, "second": TAGS[:3], "first_image": IMAGE, "second_image": IMAGE[:3]}
SCORED = {"tags": TAGS, "scores": np.ones(6), "image": IMAGE}
CELL = {"images": [{"id": 7, "width": 4, "height": 4}], "categories": [{"id": 3, "name": "cell"}]}
BOX = {"image_id": 7, "category_id": 3, "bbox": [0, 0, 2, 2], "score": 0.5}
MASK = {"image_id": 7, "category_id": 3, "segmentation": {"size": [4, 4], "counts": "088"}}
PIN = {"image_id": 7, "category_id": 3, "keypoints": [1, 1, 2, 1, 3, 2], "score": 0.5}
PINS = {**CELL, "categories": [{"id": 3, "name": "pin", "keypoints": ["top", "foot"]}]}


def truth(scene, result):
    return {**scene, "annotations": [{**result, "id": 1, "area": 4, "bbox": [0, 0, 2, 2]}]}


# Of each function: its arguments. Functions with several settings have several entries.
CALLS = {
    "losses.pull_push": {**POINTS, "cls": GROUP, "weight": WEIGHT, "scope": "class"},
    "losses.pull_push near": {**POINTS, "place": TAGS, "near": 1.0},
    "losses.pull_push_dense": {**DENSE, "weight": np.ones((2, 4, 4)), "background": 0},
    "losses.dense_points": DENSE,
    "losses.discriminative": {**POINTS, "weight": WEIGHT},
    "losses.cosine": {**POINTS, "weight": WEIGHT},
    "losses.contrastive": {**POINTS, "weight": WEIGHT},
    "losses.spatial": {**POINTS, "weight": WEIGHT, "bandwidth": np.ones(6), "background": 2},
    "losses.heatmap_mse": HEAT,
    "losses.focal": {"logits": MAPS, "target": MAPS.round(), "mask": HEAT["mask"]},
    "losses.offset_l1": {"pred": TAGS, "target": TAGS + 1, "weight": WEIGHT},
    "losses.layout_groups": {"group": GROUP, "image": IMAGE, "cls": GROUP, "used": WEIGHT > 0},
    "losses.grid_places": {"labels": DENSE["labels"]},
    "grouping.decode_keypoints": {"heatmaps": MAPS, "tags": MAPS, "order": np.array([1, 0])},
    "grouping.decode_corners": {**CORNERS, "centre_heat": MAPS},
    "grouping.group_keypoints": {"peaks": FOUND, "order": np.array([1, 0])},
    "grouping.group_by_truth": {"peaks": FOUND, "truth": np.ones((2, 1, 2, 3))},
    "grouping.group_by_reference": {**REFERENCE, "gate": np.ones((6, 2)), "radius": 1.0},
    "grouping.group_pairs": {**PAIRS, "gate": np.ones((6, 3)), "radius": 1.0},
    "grouping.group_by_type": {**SCORED, "types": GROUP, "gate": np.ones((6, 6)), "radius": 1.0},
    "grouping.group_by_seed": {**SCORED, "bandwidth": np.ones(6), "shifts": 2},
    "grouping.group_connected": {**SCORED, "gate": np.ones((6, 6)), "radius": 1.0},
    "grouping.decode_pixels": {"foreground": MAPS[:, 0], "tags": MAPS, "seeds": MAPS[:, 1]},
    "peaks.find_peaks": {"heatmaps": MAPS, "tags": MAPS, "offsets": np.concatenate([MAPS] * 2, 1)},
    "metrics.label_map_counts": {"found": DENSE["labels"][0], "truth": DENSE["labels"][1]},
    "metrics.pooled_figures": {
        "counts": np.array([[1, 2, 3], [0, 1, 2]]),
        "thresholds": np.array([0.5, 0.75]),
    },
    "metrics.box_metrics": {"results": [BOX], "ground_truth": truth(CELL, BOX)},
    "metrics.mask_metrics": {"results": [{**MASK, "score": 1}], "ground_truth": truth(CELL, MASK)},
    "metrics.keypoint_metrics": {
        "results": [PIN],
        "ground_truth": truth(PINS, PIN),
        "sigmas": np.array([0.1, 0.1]),
    },
}
ROOMS = {"losses": losses, "grouping": grouping, "peaks": peaks, "metrics": metrics}
INTEGERS = ("group", "image", "cls", "labels", "types", "order", "found", "truth")
# These broadcast, may have any length, or have a shape for each image.
FREE_SHAPES = {("heatmap_mse", "mask"), ("focal", "mask"), ("keypoint_metrics", "sigmas")}
FREE_SHAPES |= {("grid_places", "labels"), ("group_by_truth", "truth")}


def function_of(name):
    room, name = name.partition(" ")[0].split(".")
    return decode_pixels if name == "decode_pixels" else getattr(ROOMS[room], name)


def is_whole(name):
    return name.rpartition("_")[2] in INTEGERS


def values(result):
    """All numbers of a result, whatever its type."""
    if dataclasses.is_dataclass(result):
        result = vars(result)
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, tuple | list):
        return np.concatenate([values(part) for part in result if part is not None] or [[]])
    return np.asarray(result, np.float64).ravel()


def in_form(arguments, form):
    """The arguments with each array in another form."""

    def turned(name, value):
        if not isinstance(value, np.ndarray):
            return value
        if form == "list":
            return value.tolist()
        if form == "tensor":
            return torch.as_tensor(value)
        if form == "narrow":
            kind = np.int32 if value.dtype.kind == "i" else np.float32
            return value.astype(kind) if value.dtype != bool else value
        return np.flip(np.flip(value.astype(">i8" if value.dtype.kind == "i" else value.dtype)))

    return {name: turned(name, value) for name, value in arguments.items()}


def test_every_public_function_is_listed():
    public = {
        f"{room}.{name}"
        for room, module in ROOMS.items()
        for name in module.__all__
        if inspect.isfunction(getattr(module, name))
    } - {"peaks.cell_to_pixel", "peaks.pixel_to_cell"}  # these two take numbers of any type
    assert public == {name.partition(" ")[0] for name in CALLS} - {"grouping.decode_pixels"}


@pytest.mark.parametrize("form", ["list", "tensor", "narrow", "strided"])
@pytest.mark.parametrize("name", CALLS)
def test_lists_arrays_and_tensors_give_the_same(name, form):
    function, given = function_of(name), CALLS[name]
    expected = values(function(**in_form(given, "tensor")))
    found = values(function(**in_form(given, form)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def refused(name, argument, value):
    """The message with which a function refuses a value."""
    given = {**in_form(CALLS[name], "tensor"), argument: value}
    with pytest.raises((ValueError, UserError)) as caught:
        function_of(name)(**given)
    told = str(caught.value)
    assert "\n" not in told
    assert len(told) < 400
    return told


def array_arguments(name):
    return [key for key, value in CALLS[name].items() if isinstance(value, np.ndarray)]


EACH = [(name, key) for name in CALLS for key in (*array_arguments(name), *CALLS[name])]
EACH = [(name, key) for name, key in dict.fromkeys(EACH) if not isinstance(CALLS[name][key], str)]


@pytest.mark.parametrize(("name", "argument"), EACH)
@pytest.mark.parametrize(
    "wrong",
    ["text", [[1.0], [2.0, 3.0]], [None, {}], object(), 1j],
    ids=["text", "ragged", "no numbers", "object", "complex"],
)
def test_what_is_no_number_is_refused_by_name(name, argument, wrong):
    words = {"results": "result", "ground_truth": "no such file" if wrong == "text" else "labels"}
    assert words.get(argument, argument) in refused(name, argument, wrong)


@pytest.mark.parametrize(("name", "argument"), EACH)
def test_none_is_refused_unless_it_is_a_default(name, argument):
    parameter = inspect.signature(function_of(name)).parameters[argument]
    if parameter.default is not None:
        words = {"ground_truth": "labels"}
        assert words.get(argument, argument) in refused(name, argument, None)


WITH_SHAPES = [
    (name, key)
    for name in CALLS
    for key in array_arguments(name)
    if (name.split(".")[1], key) not in FREE_SHAPES
]


@pytest.mark.parametrize(("name", "argument"), WITH_SHAPES)
@pytest.mark.parametrize("how", ["longer", "deeper"])
def test_wrong_shapes_are_named(name, argument, how):
    value = CALLS[name][argument]
    value = np.concatenate([value, value]) if how == "longer" else value[..., None]
    told = refused(name, argument, value)
    assert argument in told
    assert str(value.shape) in told or (argument == "order" and str(value.tolist()) in told)


@pytest.mark.parametrize(("name", "argument"), [pair for pair in WITH_SHAPES if is_whole(pair[1])])
def test_numbers_that_must_be_whole_are_named(name, argument):
    told = refused(name, argument, CALLS[name][argument] + 0.5)
    assert argument in told
    assert "integer" in told


def test_positions_may_be_lists():
    assert peaks.cell_to_pixel([0, 1.5], 4).tolist() == [1.5, 7.5]
    assert peaks.pixel_to_cell([1.5, 7.5], 4).tolist() == [0, 1.5]


def test_poses_of_another_skeleton_are_named():
    told = refused("grouping.group_by_truth", "truth", np.ones((2, 1, 3, 3)))
    assert told.endswith("with K = 2 as in peaks, got (1, 3, 3)")
    assert "truth must have one entry for each of 2 images, got 3" in refused(
        "grouping.group_by_truth", "truth", np.ones((3, 1, 2, 3))
    )


def test_tensors_in_a_list_keep_no_gradient_and_are_refused():
    tags = [torch.zeros(2, requires_grad=True) for _ in range(6)]
    assert "torch.stack" in refused("losses.pull_push", "tags", tags)


def test_settings_of_another_function_are_refused():
    for name in ("decode_keypoints", "group_keypoints", "decode_pixels"):
        told = refused(f"grouping.{name}", "settings", CornerSettings())
        assert "settings must be" in told
