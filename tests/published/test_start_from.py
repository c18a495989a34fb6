"""Training starts from a public model that its recipe names."""

from pathlib import Path

import pytest
import torch

from small_runs import FIGURE, write_scenes
from tagwise import cli, create_model, load_model
from tagwise.errors import UserError
from tagwise.skeletons import COCO17, Skeleton
from tagwise.tasks import PoseTask

NAME = "higherhrnet_w32"
OTHERS = Skeleton("person", tuple(f"p{k}" for k in range(17)))

RECIPE = """
task: pose
model: {name: higherhrnet_w32, pretrained: tiny-hrnet, options: {width: 8}}
data:
  root: .
  train: [{annotations: train.json, images: train}]
  input_size: [64, 64]
  workers: 0
optim: {steps: 1, batch: 2}
run: {device: cpu}
"""


def test_every_tensor_of_the_public_model_is_taken(server, known):
    model = create_model(NAME, PoseTask(COCO17), "tiny-hrnet", width=8)
    theirs = load_model("tiny-hrnet").state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    assert model.spec.info == {"pretrained": "tiny-hrnet"}


@pytest.mark.parametrize("skeleton", [FIGURE, OTHERS])
def test_other_joints_need_drop_head(server, known, skeleton):
    task = PoseTask(skeleton)
    with pytest.raises(UserError, match=r"tiny-hrnet has 17 .* set model.drop_head: true"):
        create_model(NAME, task, "tiny-hrnet", width=8)
    model = create_model(NAME, task, "tiny-hrnet", drop_head=True, width=8)
    theirs, heads = load_model("tiny-hrnet").state_dict(), model.head_prefixes
    for name, value in model.state_dict().items():
        same = value.shape == theirs[name].shape and torch.equal(value, theirs[name])
        assert same or name.startswith(heads), name
        if name.startswith(heads) and name.endswith("weight"):
            assert not same, name


def test_drop_head_initialises_the_heads_of_a_checkpoint_too(cache, checkpoint):
    with open("theirs.pth", "wb") as file:
        file.write(checkpoint)
    task = PoseTask(COCO17)
    kept = create_model(NAME, task, "theirs.pth", width=8).state_dict()
    model = create_model(NAME, task, "theirs.pth", drop_head=True, width=8)
    for name, value in model.state_dict().items():
        if name.startswith("trunk.stage4"):
            assert torch.equal(value, kept[name])
    name = "trunk.final_layers.0.weight"
    assert not torch.equal(model.state_dict()[name], kept[name])


def test_another_network_is_named(server, known):
    with pytest.raises(UserError, match=r"tiny-hrnet is a higherhrnet_w32.*model\.name: higherh"):
        create_model("efficientnet_lite0", PoseTask(COCO17), "tiny-hrnet")
    with pytest.raises(UserError, match="is from another network"):
        create_model(NAME, PoseTask(COCO17), "tiny-hrnet", width=16)


def test_a_recipe_names_a_public_model(server, known, capsys):
    pytest.importorskip("accelerate", reason="needs the extra 'train'")
    write_scenes(Path(), "train", 2, seed=0)
    Path("mine.yaml").write_text(RECIPE)
    assert cli.main(["train", "mine.yaml"]) == 2
    assert "set model.drop_head: true" in capsys.readouterr().err.splitlines()[-1]
    assert cli.main(["train", "mine.yaml", "--model.drop-head", "--out", "run"]) == 0
    trained = load_model("run/last.safetensors")
    assert trained.task.skeleton.keypoints == FIGURE.keypoints
    assert trained.spec.info["pretrained"] == "tiny-hrnet"
    assert len(server.requests) == 1
