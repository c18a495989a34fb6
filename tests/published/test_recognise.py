"""Published checkpoints are recognised in every wrapping; other files give one-line errors."""

import json
import os
import pickle
from functools import cache

import pytest
import torch
from safetensors.torch import save_file

from tagwise.commands.convert import convert
from tagwise.errors import UserError
from tagwise.grouping.settings import GroupingSettings
from tagwise.models import create_model, load_model
from tagwise.models.cornernet import CornerNet
from tagwise.models.from_published import read_published
from tagwise.models.hourglass import StackedHourglass
from tagwise.models.hrnet import HigherHRNet, HRNetAE
from tagwise.published.class_names import COCO80
from tagwise.published.recognise import recognise
from tagwise.skeletons import COCO17, Skeleton
from tagwise.tasks import CornerTask, PoseTask

NETWORKS = {
    "HigherHRNet-W16": lambda: HigherHRNet(16, 17),
    "HRNet with tags-W16": lambda: HRNetAE(16, 14),
    "stacked hourglass (pose-ae)": lambda: StackedHourglass(17, 2, 16, 8),
    "CornerNet": lambda: CornerNet(80, width=32),
    "CornerNet-Squeeze": lambda: CornerNet(3, squeeze=True, width=32),
}


@cache
def weights(family):
    torch.manual_seed(0)
    state = NETWORKS[family]().state_dict()
    return {name: torch.rand(v.shape) if v.is_floating_point() else v for name, v in state.items()}


WRAPPINGS = {
    "bare": lambda state: state,
    "state_dict beside training state": lambda state: {
        "epoch": 300,
        "model": "pose_higher_resolution_net",
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []},
        "state_dict": state,
    },
    "model": lambda state: {"model": state, "iteration": 7},
    "best_state_dict": lambda state: {"best_state_dict": prefixed(state, "module.")},
    "half precision": lambda state: {"state_dict": prefixed(state, "1.")},
    "parallel half precision": lambda state: prefixed(state, "module.1."),
    "trainer": lambda state: {"state_dict": prefixed(state, "model.module."), "epoch": 3},
}


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def same(found, state):
    assert found.keys() == state.keys()
    return all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("family", NETWORKS)
def test_every_family_in_every_wrapping(family, wrapping, tmp_path):
    torch.save(WRAPPINGS[wrapping](weights(family)), tmp_path / "some.pth")
    tensors, found = recognise(tmp_path / "some.pth")
    assert found.family == family
    assert same(tensors, weights(family))


def of_mmpose(state, head):
    heads = ("final_layer", "deconv_layers")
    return {(f"{head}." if n.startswith(heads) else "backbone.") + n: v for n, v in state.items()}


@pytest.mark.parametrize("head", ["keypoint_head", "head"])
def test_both_versions_of_mmpose_are_recognised(head, tmp_path):
    for family in ("HigherHRNet-W16", "HRNet with tags-W16"):
        state = of_mmpose(weights(family), head)
        torch.save({"meta": {"version": "0.29"}, "state_dict": state}, tmp_path / "mm.pth")
        tensors, found = recognise(tmp_path / "mm.pth")
        assert found.family == family
        assert same(tensors, weights(family))


def test_converted_file_contains_everything_needed_to_run(tmp_path):
    torch.save(weights("HigherHRNet-W16"), tmp_path / "pose.pth.tar")
    path = convert(tmp_path / "pose.pth.tar", out=tmp_path / "pose.safetensors")
    model = load_model(path)
    assert model.task.skeleton == COCO17
    assert model.task.grouping.method == "greedy"
    assert model.spec.decoder["fitting"] == "higherhrnet"
    assert model.spec.info["family"] == "HigherHRNet-W16"
    assert model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert same(model.trunk.state_dict(), weights("HigherHRNet-W16"))
    direct = load_model(tmp_path / "pose.pth.tar")
    assert direct.spec == model.spec
    assert same(direct.state_dict(), model.state_dict())


def test_keypoints_are_grouped_in_the_order_of_the_files_own_program(tmp_path):
    """HigherHRNet, lib/core/group.py; mmpose 0.x, core/post_processing/group.py."""
    state = HRNetAE(16, 14).state_dict()
    torch.save(state, tmp_path / "crowdpose.pth")
    task = load_model(tmp_path / "crowdpose.pth").task
    assert task.grouping.order == (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13)
    assert load_model(convert(tmp_path / "crowdpose.pth")).task == task
    torch.save({"state_dict": of_mmpose(state, "head")}, tmp_path / "mm.pth")
    assert load_model(tmp_path / "mm.pth").task.grouping.order == tuple(range(14))
    torch.save(weights("HigherHRNet-W16"), tmp_path / "coco.pth")
    assert load_model(tmp_path / "coco.pth").task.grouping.order == COCO17.order


@pytest.mark.parametrize(
    ("family", "head", "test"),
    [
        ("HRNet with tags-W16", "head", "mmpose1"),
        ("HRNet with tags-W16", "keypoint_head", "higherhrnet"),
        ("HigherHRNet-W16", "head", "higherhrnet"),  # mmpose 1.x has none of these
    ],
)
def test_each_mmpose_version_uses_its_own_protocol(family, head, test, tmp_path):
    torch.save({"state_dict": of_mmpose(weights(family), head)}, tmp_path / "mm.pth")
    spec, _ = read_published(tmp_path / "mm.pth")
    assert spec.decoder["fitting"] == test
    grouping = GroupingSettings.from_dict({**spec.task_options["grouping"], "order": None})
    assert grouping == GroupingSettings.preset(test)


def test_classes_skeletons_and_sizes_can_be_given(tmp_path):
    file = tmp_path / "some.pth"
    torch.save(weights("CornerNet"), file)
    spec, _ = read_published(file)
    assert spec.task_options["classes"] == list(COCO80)
    assert spec.input_size == (511, 511)
    torch.save(weights("CornerNet-Squeeze"), file)
    assert read_published(file)[0].task_options["classes"] == ["class_1", "class_2", "class_3"]
    (tmp_path / "cells.json").write_text(
        json.dumps(
            {"categories": [{"id": 2, "name": "b"}, {"id": 9, "name": "c"}, {"id": 1, "name": "a"}]}
        )
    )
    path = convert(file, classes=tmp_path / "cells.json", size=(256, 256))
    assert load_model(path).task.classes == ("a", "b", "c")
    assert load_model(path).spec.input_size == (256, 256)
    torch.save(weights("HRNet with tags-W16"), file)
    assert len(load_model(file).task.skeleton) == 14
    assert load_model(convert(file, skeleton="crowdpose")).task.skeleton.keypoints[12] == "head"


def test_files_without_batch_counters_are_read(tmp_path):
    old = {n: v for n, v in weights("CornerNet").items() if not n.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "CornerNet_500000.pkl", _use_new_zipfile_serialization=False)
    assert load_model(tmp_path / "CornerNet_500000.pkl").spec.name == "cornernet"


def test_another_skeleton_is_refused_or_gets_a_new_head(tmp_path):
    file = tmp_path / "pose.pth"
    torch.save(weights("HigherHRNet-W16"), file)
    mouse = Skeleton("mouse", ("snout", "left_ear", "right_ear"))
    (tmp_path / "mice.json").write_text(json.dumps({"categories": [mouse.to_coco()]}))
    with pytest.raises(UserError, match=r"has 17 keypoint types, the given skeleton has 3"):
        convert(file, skeleton=tmp_path / "mice.json")
    path = convert(file, skeleton=tmp_path / "mice.json", drop_head=True)
    begun = load_model(path)
    assert begun.task.skeleton.keypoints == mouse.keypoints
    assert begun.trunk.final_layers[1].weight.shape[0] == 3
    stem = weights("HigherHRNet-W16")["conv1.weight"]
    assert torch.equal(begun.trunk.conv1.weight, stem)
    # Training on another skeleton can start from either file.
    for source in (path, file):
        model = create_model("higherhrnet_w32", PoseTask(mouse), pretrained=str(source), width=16)
        assert torch.equal(model.trunk.conv1.weight, stem)


def test_imagenet_backbone_can_start_training_but_not_predict(tmp_path):
    file = tmp_path / "hrnet_w32.pth"
    backbone = {n: v for n, v in weights("HRNet with tags-W16").items() if "final_layer" not in n}
    extra = {"classifier.weight": torch.rand(1000, 2048), "final_layer.0.weight": torch.rand(8, 4)}
    torch.save({**backbone, **extra}, file)
    with pytest.raises(UserError, match=r"trained on ImageNet.*model\.pretrained"):
        load_model(file)
    for name in ("hrnet_w32", "higherhrnet_w32"):
        model = create_model(name, PoseTask(COCO17), pretrained=str(file), width=16)
        assert torch.equal(model.trunk.conv1.weight, backbone["conv1.weight"])
    with pytest.raises(UserError, match=r"another network than CornerNet: .* do not fit"):
        create_model("cornernet", CornerTask(("any",)), pretrained=str(file), width=32)
    with pytest.raises(UserError, match=r"no such pretrained file: missing\.pth"):
        create_model("hrnet_w32", PoseTask(COCO17), pretrained="missing.pth")


# ---------------------------------------------------------------------- what is refused


def test_unknown_family_is_described(tmp_path):
    state = {n: v for n, v in weights("CornerNet").items() if not n.startswith(("tl_", "br_"))}
    torch.save({**state, "ct_heats.0.1.weight": torch.rand(80, 32, 1, 1)}, tmp_path / "other.pth")
    with pytest.raises(UserError) as caught:
        load_model(tmp_path / "other.pth")
    text = str(caught.value)
    for part in ("80 × 32 × 1 × 1", "nearest is cornernet", "br_cnvs.0.bn1.bias", "and", "more"):
        assert part in text
    assert "unexpected: ct_heats.0.1.weight" in text
    assert "\n" not in text


def test_missing_and_unexpected_tensors_of_a_known_family(tmp_path):
    state = dict(weights("HigherHRNet-W16"))
    del state["conv1.weight"]
    torch.save({**state, "center.weight": torch.rand(3)}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"17 keypoint.*missing: conv1\.weight; unexpected: center"):
        load_model(tmp_path / "odd.pth")
    state = weights("HRNet with tags-W16") | {"final_layer.weight": torch.rand(17, 16, 1, 1)}
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"17 maps.*no tags to group by"):
        load_model(tmp_path / "odd.pth")


class Hostile:
    """Unpickling it creates a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_never_run(tmp_path, zipped):
    trap = tmp_path / "trap"
    content = {"state_dict": weights("HRNet with tags-W16"), "meta": Hostile(str(trap))}
    torch.save(content, tmp_path / "hostile.pth", _use_new_zipfile_serialization=zipped)
    for use in (
        load_model,
        convert,
        lambda path: create_model("hrnet_w32", PoseTask(COCO17), str(path)),
    ):
        with pytest.raises(UserError, match=r"mkdir.*nothing was read.*weights_only=False"):
            use(tmp_path / "hostile.pth")
    assert not trap.exists()


def test_pickle_of_another_program_is_never_executed(tmp_path):
    content = {"state_dict": Hostile(str(tmp_path / "trap"))}
    (tmp_path / "hostile.pkl").write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(UserError, match=r"pickle that torch\.save did not write; nothing was read"):
        load_model(tmp_path / "hostile.pkl")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_file_is_refused(tmp_path, zipped):
    file = tmp_path / "cut.pth"
    torch.save(weights("HRNet with tags-W16"), file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 10):
        file.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"not a readable checkpoint.*get it again"):
            load_model(file)


def test_other_contents_are_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(UserError, match="has no named tensors"):
        load_model(tmp_path / "list.pth")
    with pytest.raises(UserError, match=r"no such checkpoint: .*missing\.pth"):
        convert(tmp_path / "missing.pth")
    torch.save(weights("HRNet with tags-W16"), tmp_path / "pose.pth")
    with pytest.raises(UserError, match="unknown skeleton 'cocoo'"):
        convert(tmp_path / "pose.pth", skeleton="cocoo")
    with pytest.raises(UserError, match=r"annotation file .*pose\.pth is"):
        convert(tmp_path / "pose.pth", skeleton=tmp_path / "pose.pth")
    with pytest.raises(UserError, match="give another file"):
        convert(tmp_path / "pose.pth", out=tmp_path / "pose.onnx")


def test_onnx_file_is_not_a_checkpoint(tmp_path):
    (tmp_path / "pose.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    with pytest.raises(UserError, match=r"pose\.onnx is an ONNX file; give the checkpoint"):
        convert(tmp_path / "pose.onnx")


def test_safetensors_of_other_programs_are_converted(tmp_path):
    save_file(weights("HRNet with tags-W16"), tmp_path / "theirs.safetensors")
    path = convert(tmp_path / "theirs.safetensors", out=tmp_path / "ours.safetensors")
    assert load_model(path).spec.name == "hrnet_w32"
    with pytest.raises(UserError, match=r"not saved by tagwise.*tagwise convert"):
        load_model(tmp_path / "theirs.safetensors")
