"""The published networks in the registry: stages in training, one set of maps in evaluation."""

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import pytest
import torch

from small_runs import losses, write_scenes
from tagwise.commands.train import train
from tagwise.data.augment import Augment
from tagwise.data.synthetic.poses import SyntheticPoses
from tagwise.data.synthetic.shapes import SyntheticShapes
from tagwise.errors import UserError
from tagwise.models import create_model, load_model, save_model
from tagwise.prediction.published_fittings import FITTINGS
from tagwise.published.class_names import COCO80
from tagwise.skeletons import COCO17
from tagwise.tasks import CornerTask, PoseTask, create_task
from tagwise.training.model import stage_loss
from tagwise.training.recipe import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    RunConfig,
    SetConfig,
    load_recipe,
)

RECIPES = Path(__file__).parents[2] / "recipes" / "official"
POSE, CORNERS = PoseTask(COCO17), CornerTask(("disc", "star"))
SMALL = {  # task, options that make the network small, strides of its stages
    "hrnet_w32": (POSE, {"width": 16}, (4,)),
    "higherhrnet_w32": (POSE, {"width": 16}, (4, 2)),
    "hourglass": (POSE, {"stacks": 3, "channels": 8, "increase": 4}, (4, 4, 4)),
    "hourglass_ae": (POSE, {"stacks": 2, "channels": 8, "increase": 4}, (4, 4)),
    "resnet50": (POSE, {"width": 8, "filters": 8}, (4,)),
    "mobilenetv2": (POSE, {"filters": 8}, (4,)),
    "cornernet": (CORNERS, {"width": 32}, (4, 4)),
    "cornernet_squeeze": (CORNERS, {"width": 32}, (8, 8)),
}


def small(name):
    torch.manual_seed(0)
    task, options, _ = SMALL[name]
    return create_model(name, task, **options)


@pytest.mark.parametrize("name", SMALL)
def test_network_returns_stages_in_training_and_one_set_of_maps_in_evaluation(name):
    model, (task, _, strides) = small(name), SMALL[name]
    assert model.strides == strides
    images = torch.rand(2, 3, 128, 256)
    for maps, stride in zip(model(images), strides, strict=True):
        for key, values in maps.items():
            assert values.shape == (2, task.heads()[key].channels, 128 // stride, 256 // stride)
    with torch.no_grad():
        answer = model.eval()(images)
    for key, values in answer.items():
        shape = (2, task.heads()[key].channels, 128 // model.stride, 256 // model.stride)
        assert values.shape == shape
        assert values.dtype == torch.float32
    assert answer.keys() == task.heads().keys()


@pytest.mark.parametrize("name", SMALL)
def test_saving_and_folding_norms_keep_the_maps(name, lively, tmp_path):
    model, images = lively(small(name)), torch.rand(1, 3, 128, 128)
    save_model(model, tmp_path / "model.safetensors", half=False)
    again = load_model(tmp_path / "model.safetensors", fuse=True)
    with torch.no_grad():
        for key, values in model(images).items():
            torch.testing.assert_close(again(images)[key], values, rtol=1e-3, atol=1e-4)
    norms = (torch.nn.BatchNorm2d, torch.nn.Conv2d)
    before, after = (
        [sum(isinstance(m, kind) for m in network.modules()) for kind in norms]
        for network in (model, again)
    )
    assert after[1] == before[1]
    assert after[0] < before[0] / 2 or before[0] == 0
    with pytest.raises(ValueError, match="fused"):
        save_model(again, tmp_path / "fused.safetensors")


def test_higherhrnet_reads_both_strides(lively):
    model = lively(small("higherhrnet_w32"))
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        coarse, fine = model.trunk(model.normalised(images))
        answer = model(images)
    larger = torch.nn.Upsample(scale_factor=2, mode="bilinear")(coarse)
    torch.testing.assert_close(answer["heatmaps"], (larger[:, :17] + fine) / 2)
    torch.testing.assert_close(answer["tags"], larger[:, 17:])


def test_cornernet_input_is_bgr_with_sides_one_pixel_short(lively):
    model = lively(small("cornernet"))
    images = torch.rand(1, 3, 127, 255)
    mean, std = (values.flatten()[:, None, None] for values in (model.mean, model.std))
    with torch.no_grad():
        last = model.trunk(((images - mean) / std)[:, [2, 1, 0]])[-1]
        for key, values in model(images).items():
            torch.testing.assert_close(values, last[key])
        with pytest.raises(ValueError, match="multiples of 128"):
            model(torch.rand(1, 3, 126, 128))


def test_tags_can_have_components_and_a_position():
    task = PoseTask(COCO17, tag_dim=2, position=24.0, heatmap_loss="mse_sigmoid")
    for name in ("higherhrnet_w32", "hourglass"):
        torch.manual_seed(0)
        model = create_model(name, task, **SMALL[name][1])
        images = torch.rand(1, 3, 64, 64)
        first = model(images)[0]
        raw = model.trunk(model.normalised(images))[0]
        columns = ((torch.arange(16) + 0.5) * 4 - 0.5) / 24
        torch.testing.assert_close(first["tags"][:, ::2], columns + 2 * raw[:, 17:51:2])
        assert first["heatmaps"].mean().item() == pytest.approx(-4, abs=0.5)


def test_unsupported_maps_are_refused():
    with pytest.raises(
        UserError, match=r"higherhrnet predicts only heatmaps and tags, not .*offset"
    ):
        create_model("higherhrnet_w32", PoseTask(COCO17, offsets=True))
    with pytest.raises(UserError, match="maps of corners; use it with task: corners"):
        create_model("cornernet", POSE)
    with pytest.raises(UserError, match="multiple of 32"):
        create_model("cornernet", CORNERS, width=40)
    with pytest.raises(UserError, match="tags of at most 3 components"):
        create_model("hourglass", PoseTask(COCO17, tag_dim=4))


def test_loss_is_the_mean_over_stages():
    model = small("higherhrnet_w32")
    outputs = model(torch.rand(2, 3, 64, 64))
    scene = SyntheticPoses(COCO17, length=1, size=(64, 64))[0]
    targets = {s: POSE.collate([POSE.encode(scene, s)] * 2) for s in (2, 4)}
    terms = stage_loss(model, outputs, targets)
    coarse, fine = POSE.loss(outputs[0], targets[4]), POSE.loss(outputs[1], targets[2])
    assert "pull" not in fine
    torch.testing.assert_close(terms["heatmaps"], (coarse["heatmaps"] + fine["heatmaps"]) / 2)
    torch.testing.assert_close(terms["pull"], coarse["pull"] / 2)
    torch.testing.assert_close(terms["total"], (coarse["total"] + fine["total"]) / 2)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Eight photos of stick figures, and eight of shapes."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, "pose", 8, seed=0)
    shapes = SyntheticShapes(("disc", "star"), length=8, size=(128, 128), radius=(12, 30))
    content = shapes.to_coco()
    (folder / "corners").mkdir()
    for index, image in enumerate(content["images"]):
        image["file_name"] = f"{index}.png"
        cv2.imwrite(str(folder / "corners" / image["file_name"]), shapes[index].image[..., ::-1])
    (folder / "corners.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", SMALL)
def test_each_network_trains_and_resumes(name, scenes, tmp_path):
    task, options, _ = SMALL[name]
    sets = SetConfig(f"{task.name}.json", task.name)
    side = 128 if task.name == "corners" else 64
    augment = Augment.none()
    data = DataConfig((sets,), sets, str(scenes), (side, side), augment=augment, workers=0)
    published = {"pose": "higherhrnet", "corners": "cornernet"}[task.name]
    recipe = Recipe(
        data=data,
        task=task.name,
        task_options={"published": published},
        model=ModelConfig(name, pretrained=None, options=options),
        optim=OptimConfig(steps=2, batch=2, lr=1e-3, drops=(0.5,), ema=0, clip=float("inf")),
        run=RunConfig(validate_every=0, save_every=1, log_every=1, device="cpu"),
    )
    whole = train(recipe, out=tmp_path / "whole")
    assert load_model(whole / "best.safetensors").spec.name == name
    short = Recipe(**{**vars(recipe), "optim": OptimConfig(**{**asdict(recipe.optim), "steps": 1})})
    train(short, out=tmp_path / "parts")
    parts = train(recipe, out=tmp_path / "parts", resume=True)
    assert losses(parts) == pytest.approx(losses(whole))
    assert len(losses(whole)) == 2


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_at_full_size_name_networks_and_options_that_exist(path):
    recipe = load_recipe(path)
    labels = {"pose": {"skeleton": COCO17.to_dict()}, "corners": {"classes": list(COCO80)}}
    task = create_task(recipe.task, **labels[recipe.task], **recipe.task_options)
    with torch.device("meta"):
        model = create_model(recipe.model.name, task, **recipe.model.options)
    assert recipe.decoder["fitting"] in FITTINGS
    assert model.takes(recipe.data.input_size[0])
    assert task.published
    assert all(isinstance(weight, (int, float)) for weight in task.weights.values())
