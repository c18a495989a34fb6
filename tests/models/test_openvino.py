"""OpenVINO files run as they are. Stand-ins with the inputs and outputs of the published ones."""

import dataclasses
import json
import re

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("openvino", reason="needs the extra openvino: pip install 'tagwise[openvino]'")

import openvino
import openvino.opset13 as op

import openvino_files
from checkpoints import assert_people
from scenes.planted import planted_people
from slow import openmodelzoo
from tagwise.cli import main
from tagwise.commands.convert import convert
from tagwise.commands.export import export
from tagwise.errors import UserError
from tagwise.grouping import GroupingSettings
from tagwise.models import load_model
from tagwise.models.openvino import read_graph
from tagwise.prediction.predictor import Predictor
from tagwise.skeletons import COCO17

PHOTOS = [(121, 90), (90, 121), (64, 64), (200, 70)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photo(width, height):
    """RGB noise with a scale of about twelve pixels, also saved as photo.png."""
    rough = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    image = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite("photo.png", image[..., ::-1])
    return image


def kernel(types=17):
    """Values that 16 bits hold exactly."""
    values = np.random.default_rng(0).normal(0, 1 / 1500, (2 * types, 3, 4, 4))
    return values.astype(np.float16).astype(np.float32)


def maps_of(canvas, weights):
    """Heatmaps without signs and tags, (1, K, h, w), of an RGB input (H, W, 3)."""
    blue_first = torch.from_numpy(canvas[..., ::-1].astype(np.float32)).permute(2, 0, 1)[None]
    maps = F.conv2d(blue_first, torch.from_numpy(weights), stride=2, padding=1)
    heatmaps, tags = maps.chunk(2, 1)
    return heatmaps.relu(), tags


# ---------------------------------------------------------------------- maps


@pytest.mark.parametrize("size", PHOTOS)
@pytest.mark.parametrize("fixed", [True, False])
def test_maps_of_a_photo(here, size, fixed):
    """The graph takes the photo's own shape, blue first, from 0 to 255."""
    model = openvino_files.network(kernel(), fixed=fixed)
    path = openvino_files.write(model, here / "human-pose-estimation-0005.xml")
    image = photo(*size)
    canvas, inner = openmodelzoo.fitted(image, openmodelzoo.input_size(size, 64))
    wanted = maps_of(canvas, kernel())
    found, affine = Predictor(str(path), size=64).maps(image)
    for name, maps in zip(("heatmaps", "tags"), wanted):
        torch.testing.assert_close(found[name], maps, rtol=1e-4, atol=1e-4)
    assert wanted[0].std() > 0.05
    cells = np.array([[0.0, 0.0], [10.0, 7.5]])
    theirs = openmodelzoo.to_photo(cells, size, inner)
    ours = np.linalg.inv(np.vstack([affine.matrix, [0, 0, 1]]))
    points = (cells + 0.5) * 2 - 0.5
    np.testing.assert_allclose(points @ ours[:2, :2].T + ours[:2, 2], theirs, atol=1e-9)


def test_description_of_the_network(here):
    path = openvino_files.write(openvino_files.network(kernel(), side=96), here / "a.xml")
    model = load_model(path)
    assert model.task.skeleton == COCO17
    assert model.task.grouping == GroupingSettings.preset("openmodelzoo", order=COCO17.order)
    assert (model.stride, model.multiple, model.spec.input_size) == (2, 32, (96, 96))
    assert model.spec.decoder == {"fitting": "openmodelzoo", "threshold": 0.1}
    predictor = Predictor(path)
    assert (predictor.threshold, predictor.precision, predictor.size) == (0.1, "fp32", (96, 96))
    any_size = openvino_files.write(openvino_files.network(kernel(5), fixed=False), here / "b.xml")
    other = load_model(any_size)
    assert other.spec.input_size == (256, 256)
    assert other.task.skeleton.keypoints == tuple(f"keypoint_{n}" for n in range(1, 6))


def test_batches_and_mirrored_passes(here):
    path = openvino_files.write(openvino_files.network(kernel()), here / "a.xml")
    model = load_model(path)
    images = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    together = model(images)
    for n in range(3):
        for name, maps in model(images[n : n + 1]).items():
            torch.testing.assert_close(together[name][n : n + 1], maps)
    image = photo(64, 64)
    found, _ = Predictor(path, flip=True).maps(image)
    first, second = maps_of(image, kernel()), maps_of(image[:, ::-1], kernel())
    flip = list(COCO17.flip)
    mean = (first[0].clamp(0, 1) + second[0].clamp(0, 1).flip(3)[:, flip]) / 2
    torch.testing.assert_close(found["heatmaps"], mean, rtol=1e-4, atol=1e-4)
    assert found["tags"].shape == (1, 34, 32, 32)


# ---------------------------------------------------------------------- people


def planted(seed=3):
    """Signed heatmaps and tags (17, 48, 80) of five people."""
    (stage,) = planted_people(seed, (160, 96), 17, (2,), dark=3)
    heatmaps, tags = stage[0].numpy().reshape(2, 17, 48, 80)
    return openmodelzoo.negated(heatmaps), tags


def write_planted(folder, signed, tags):
    model = openvino_files.planted(signed, tags)
    return openvino_files.write(model, folder / "x.xml", half=False)


def test_predict_as_the_demo_does(here):
    signed, tags = planted()
    write_planted(here, signed, tags)
    photo(320, 192)
    command = "predict photo.png --weights x.xml --threshold 0"
    assert main(command.split()) == 0
    record = json.loads((here / "predictions/photo.predictions.json").read_text())
    keypoints, scores = openmodelzoo.decode(signed, tags)
    assert len(keypoints) == 5
    keypoints[..., :2] = openmodelzoo.to_photo(keypoints[..., :2], (320, 192), (160, 96))
    assert_people(record, keypoints, scores)
    assert record["keypoints"] == list(COCO17.keypoints)


def test_our_decoder_on_the_same_maps(here):
    signed, tags = planted()
    path = write_planted(here, signed, tags)
    model = load_model(path)
    model.task = dataclasses.replace(model.task, grouping=GroupingSettings(), published=None)
    poses = Predictor(model, threshold=0)(photo(320, 192))
    assert len(poses) == 5
    theirs = openmodelzoo.decode(signed, tags, refine=False)[0]
    theirs[..., :2] = openmodelzoo.to_photo(theirs[..., :2], (320, 192), (160, 96))
    for person in theirs:
        here_too = person[:, 2] > 0
        away = np.abs(poses.keypoints[:, here_too, :2] - person[here_too, :2]).max((1, 2))
        assert away.min() < 4  # pixels of the photo, one cell


def test_a_resumed_run_notices_other_weights(here):
    """The fingerprint of a run covers the .bin file too."""
    signed, tags = planted()
    write_planted(here, signed, tags)
    photo(320, 192)
    command = "predict photo.png --weights x.xml --resume"
    assert main(command.split()) == 0
    assert main(command.split()) == 0
    write_planted(here, signed, tags + 1)
    assert main(command.split()) == 2


# ---------------------------------------------------------------------- what is refused


def test_missing_and_damaged_files(here):
    path = openvino_files.write(openvino_files.network(kernel()), here / "x.xml")
    whole, weights = path.read_bytes(), (here / "x.bin").read_bytes()
    for length in (0, 5, 200, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"x\.xml is not (a readable|an) OpenVINO file") as e:
            load_model(path)
        assert "\n" not in str(e.value)
    path.write_bytes(whole)
    (here / "x.bin").write_bytes(weights[:100])
    with pytest.raises(UserError, match=r"not a readable OpenVINO file.*get it again"):
        load_model(path)
    (here / "x.bin").unlink()
    with pytest.raises(UserError, match=r"needs its weights, .*x\.bin, which are missing"):
        load_model(path)
    (here / "x.bin").mkdir()
    with pytest.raises(UserError, match=r"x\.bin is a folder"):
        load_model(path)
    (here / "page.xml").write_text("<!DOCTYPE html><title>Sign in</title>")
    (here / "page.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"not an OpenVINO file \(an HTML page"):
        load_model(here / "page.xml")


def test_graphs_of_other_families(here):
    image = op.parameter([1, 3, 64, 64], np.float32, name="image")
    maps = op.convolution(image, op.constant(kernel()), [2, 2], [1, 1], [1, 1], [1, 1])
    halves = op.split(maps, op.constant(1), 2).outputs()
    named = [op.relu(half) for half in halves]
    paf = openvino_files.graph(image, *named, names=("heatmaps", "pafs"))
    path = openvino_files.write(paf, here / "openpose.xml")
    with pytest.raises(UserError, match=r"no output 'embeddings', only.*pafs"):
        load_model(path)
    fewer = op.relu(op.split(halves[1], op.constant(1), 17).outputs()[0])
    path = here / "one.xml"
    openvino_files.write(openvino_files.graph(image, named[0], fewer), path)
    with pytest.raises(UserError, match=r"no family that tagwise knows.*64 × 64 pixels"):
        load_model(path)
    third = op.relu(named[0])
    third.set_friendly_name("nms_heatmaps")
    model = openvino.Model([named[0], named[1], third], [image], "higherhrnet")
    named[1].set_friendly_name("embeddings")
    path = openvino_files.write(model, here / "higher-hrnet.xml")
    with pytest.raises(UserError, match=r"is a HigherHRNet.*\.pth"):
        load_model(path)
    grey = op.parameter([1, 1, 64, 64], np.float32)
    openvino_files.write(openvino.Model([op.relu(grey)], [grey], "grey"), here / "grey.xml")
    with pytest.raises(UserError, match="does not take images alone"):
        load_model(here / "grey.xml")


def test_graphs_that_would_exhaust_the_memory_are_not_compiled(here):
    image = op.parameter([1, 3, 64, 64], np.float32, name="image")
    large = op.broadcast(op.constant(np.float32(1)), op.constant([60000, 60000]))
    total = op.reduce_sum(large, op.constant([0, 1]), False)
    path = here / "large.xml"
    openvino_files.write(openvino.Model([op.add(image, total)], [image], "large"), path)
    with pytest.raises(UserError, match=r"not a readable OpenVINO file.*\[60000,60000\]"):
        load_model(path)


def test_a_graph_that_cannot_take_another_size(here):
    """Its error is one line, and names the shape."""
    signed, tags = planted()
    path = write_planted(here, signed, tags)
    image = op.parameter([1, 3, 64, 64], np.float32, name="image")
    flat = op.reshape(image, op.constant([3, 4096]), False)
    model = openvino.Model(
        [op.matmul(flat, op.constant(np.ones((4096, 2), np.float32)), False, False)],
        [image],
        "fixed",
    )
    graph = read_graph(openvino_files.write(model, here / "fixed.xml"))
    assert graph(np.ones((2, 3, 64, 64), np.float32))[0].shape == (6, 2)
    with pytest.raises(UserError, match=r"fixed\.xml fails on images of 1 × 3 × 32 × 64: ") as e:
        graph(np.ones((1, 3, 32, 64), np.float32))
    assert "\n" not in str(e.value)
    with pytest.raises(UserError, match=r"one scale"):
        Predictor(path, scales=(0.5, 1))
    with pytest.raises(UserError, match="openvino runs this file in fp32, not in bf16"):
        Predictor(path, precision="bf16")


def test_other_verbs_say_what_to_do_with_it(here):
    path = openvino_files.write(openvino_files.network(kernel()), here / "x.xml")
    with pytest.raises(UserError, match=r"OpenVINO file, which runs as it is: --weights"):
        convert(path)
    with pytest.raises(UserError, match=r"OpenVINO file, which cannot become an ONNX file"):
        export(path, out=here / "x.onnx")


def test_a_missing_package_is_named(here, monkeypatch):
    path = openvino_files.write(openvino_files.network(kernel()), here / "x.xml")
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(UserError, match=r"OpenVINO files need openvino: pip install .*\[openvino"):
        load_model(path)


def test_files_of_2021(here):
    """Version 10 of the format has names of layers, none of tensors."""
    path = openvino_files.write(openvino_files.network(kernel()), here / "x.xml")
    text = path.read_text()
    assert 'version="11"' in text
    text = re.sub(
        r' names="[^"]*"',
        "",
        text.replace('<net name="stand_in" version="11">', '<net name="stand_in" version="10">'),
    )
    path.write_text(re.sub(r"<rt_info>.*?</rt_info>|<rt_info */>", "", text, flags=re.DOTALL))
    assert 'version="11"' not in path.read_text()
    image = photo(121, 90)
    canvas, _ = openmodelzoo.fitted(image, openmodelzoo.input_size((121, 90), 64))
    found, _ = Predictor(path).maps(image)
    for name, maps in zip(("heatmaps", "tags"), maps_of(canvas, kernel())):
        torch.testing.assert_close(found[name], maps, rtol=1e-4, atol=1e-4)
