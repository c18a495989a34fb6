"""Files of mmpose 0.x: ResNet, MobileNetV2 and hourglass with tags, as their configs test them.

No published file could be had here. Names and shapes follow mmpose's code, the number of
parameters is compared with its published tables, and maps with a network written step by step.
"""

import cv2
import numpy as np
import pytest
import torch

from checkpoints import MEAN, STD, as_higherhrnet_sees, assert_people, predicted
from scenes.planted import mirrored, planted_people, replay
from slow import mmpose0
from slow import poses as slow_poses
from tagwise.commands.convert import convert
from tagwise.errors import UserError
from tagwise.grouping import GroupingSettings
from tagwise.models import create_model, load_model
from tagwise.models.from_published import read_published
from tagwise.models.hourglass import StackedHourglass
from tagwise.models.hrnet import HigherHRNet
from tagwise.prediction.predictor import Predictor
from tagwise.skeletons import AIC14, COCO17, CROWDPOSE14, MHP16, WHOLEBODY133
from tagwise.tasks import PoseTask

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
FAMILIES = {  # tensors, maps, last layers, family
    **{
        f"resnet{depth}": (
            lambda depth=depth: mmpose0.resnet(BLOCKS[depth], 17, 8, 16),
            mmpose0.resnet_maps,
            f"ResNet-{depth} with tags",
        )
        for depth in BLOCKS
    },
    "mobilenetv2": (
        lambda: mmpose0.mobilenetv2(17, 16),
        mmpose0.mobilenetv2_maps,
        "MobileNetV2 with tags",
    ),
    "hourglass_ae": (
        lambda: mmpose0.hourglass(17, 3, (32, 40, 48, 56, 64)),
        mmpose0.hourglass_maps,
        "stacked hourglass (mmpose)",
    ),
}
LAST = ("keypoint_head.final_layer", "backbone.out_convs")


def saved(state, path="weights.pth", config=None):
    """A file as mmpose 0.x publishes it."""
    meta = {"mmpose_version": "0.29.0"} | ({} if config is None else {"config": config})
    torch.save({"meta": meta, "state_dict": state}, path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("family", FAMILIES)
def test_maps_of_the_converted_network(here, family):
    tensors, maps, name = FAMILIES[family]
    state = mmpose0.random_state(tensors(), maps=LAST)
    converted = load_model(convert(saved(state)))
    assert converted.spec.info["family"] == name
    assert converted.spec.name == family
    images = torch.rand(2, 3, 128, 192, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(each, dtype=torch.float32).view(3, 1, 1) for each in (MEAN, STD))
    with torch.no_grad():
        exact = {n: v.double() if v.is_floating_point() else v for n, v in state.items()}
        wanted = maps(exact, (images.double() - mean) / std)[-1].float()
        found = converted(images)
        fused = load_model("weights.pth", fuse=True)(images)
    assert wanted.shape == (2, 34, 32, 48)
    for key, part in (("heatmaps", slice(17)), ("tags", slice(17, 34))):
        spread = wanted[:, part].std().item()
        assert spread > 0.05
        for ours in (found, fused):
            torch.testing.assert_close(ours[key], wanted[:, part], rtol=1e-3, atol=5e-4 * spread)


# docs/en/topics or docs/speed_benchmark of mmpose 0.x, "Params (M)"
PARAMETERS = {
    "resnet50": 34.0,
    "resnet101": 53.0,
    "resnet152": 68.64,
    "mobilenetv2": 9.57,
    "hourglass_ae": 138.86,
}


@pytest.mark.parametrize("model", PARAMETERS)
def test_full_networks_have_mmposes_names_and_numbers_of_parameters(model):
    listed = {
        "mobilenetv2": mmpose0.mobilenetv2(17),
        "hourglass_ae": mmpose0.hourglass(17),
        **{f"resnet{depth}": mmpose0.resnet(BLOCKS[depth], 17) for depth in BLOCKS},
    }[model]
    shapes = {}
    for name, shape in listed:
        for theirs, ours in (
            ("backbone.stem.", "pre."),
            ("backbone.hourglass_modules.", "features."),
            ("backbone.out_convs.", "outs."),
            ("backbone.", ""),
            ("keypoint_head.", ""),
        ):
            name = name.replace(theirs, ours)
        for theirs, ours in (
            ("remap_out_convs", "merge_preds"),
            ("remap_feature_convs", "merge_features"),
        ):
            if name.startswith(theirs):
                number, rest = name.removeprefix(f"{theirs}.").split(".", 1)
                name = f"{ours}.{number}.conv.{rest}"
        shapes[name] = shape
    with torch.device("meta"):
        trunk = create_model(model, PoseTask(COCO17)).trunk
    assert {name: tuple(t.shape) for name, t in trunk.state_dict().items()} == shapes
    count = sum(parameter.numel() for parameter in trunk.parameters()) / 1e6
    assert count == pytest.approx(PARAMETERS[model], abs=0.005 if count > 60 else 0.05)


# ---------------------------------------------------------------------- test-time rules


def joined(network, inputs, mirror, aligned):
    """Heatmaps (17, H, W) and tags (17, D, H, W) of the last stage of one pass or two."""
    with torch.no_grad():
        passes = [network(inputs)[-1].double()]
        if mirror:
            flip = list(COCO17.flip)
            back = network(inputs.flip(3))[-1].double().flip(3)
            passes.append(torch.cat([back[:, :17][:, flip], back[:, 17:34][:, flip]], 1))
    larger = [mmpose0.resized(one.numpy(), inputs.shape[2:], aligned) for one in passes]
    heatmaps = np.mean([each[0, :17] for each in larger], 0)
    return heatmaps, np.stack([each[0, 17:34] for each in larger], 1)


@pytest.fixture
def photo(here):
    """(90, 121, 3) RGB, also saved as photo.png."""
    rough = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    image = cv2.resize(rough, (121, 90), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite("photo.png", image[..., ::-1])
    return image


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("family", ["resnet50", "mobilenetv2", "hourglass_ae"])
def test_maps_of_a_photo(photo, family, mirror):
    """Only the config of the hourglass leaves out how maps are aligned: by their corners."""
    tensors, maps, _ = FAMILIES[family]
    state = mmpose0.random_state(tensors(), maps=LAST)
    saved(state)
    inputs, _ = as_higherhrnet_sees(photo, 64)
    aligned = family == "hourglass_ae"
    wanted = joined(lambda x: maps(state, x), inputs, mirror, aligned)
    found, _ = Predictor("weights.pth", size=64, flip=mirror).maps(photo)
    for name, values in zip(("heatmaps", "tags"), wanted):
        ours = found[name][0].numpy().reshape(values.shape)
        assert values.std() > 0.05
        np.testing.assert_allclose(ours, values, rtol=1e-3, atol=2e-4 * values.std())


@pytest.mark.parametrize("mirror", [False, True])
def test_people_of_the_hourglass(photo, monkeypatch, mirror):
    saved(mmpose0.random_state(FAMILIES["hourglass_ae"][0]()))
    inputs, to_photo = as_higherhrnet_sees(photo, 64)
    passes = [planted_people(3, (128, 64), 17, (4,), dark=3)]
    if mirror:
        passes.append(mirrored(2, passes[0], COCO17.flip))
    other = planted_people(13, (128, 64), 17, (4,))
    answers = [[*other, *other, *stages] for stages in passes]
    heatmaps, tags = joined(replay(answers), inputs, mirror, True)
    people, scores = slow_poses.decode(
        heatmaps.astype(np.float32), tags, COCO17.order, slow_poses.HIGHERHRNET
    )
    assert len(people) == 4
    people[..., :2] = to_photo(people[..., :2])
    monkeypatch.setattr(StackedHourglass, "forward", replay(answers))
    record = predicted("--size", "64", "--threshold", "0", *["--flip"] * mirror)
    assert_people(record, people, scores)


def test_tests_and_sizes_of_the_families(here):
    for family, test in (
        ("resnet50", "higherhrnet"),
        ("mobilenetv2", "higherhrnet"),
        ("hourglass_ae", "mmpose_hourglass"),
    ):
        state = mmpose0.random_state(FAMILIES[family][0]())
        spec, _ = read_published(saved(state))
        assert spec.decoder["fitting"] == test
        assert spec.input_size == (512, 512)
        grouping = GroupingSettings.from_dict(spec.task_options["grouping"])
        assert grouping == GroupingSettings.preset("higherhrnet", order=COCO17.order)
        assert spec.task_options["sigma"] == 2
    config = "data_cfg = dict(\n    image_size=640,\n    base_size=320)"
    assert read_published(saved(state, config=config))[0].input_size == (640, 640)
    assert read_published("weights.pth", input_size=(256, 256))[0].input_size == (256, 256)


def test_training_starts_from_a_published_file(here):
    state = mmpose0.random_state(FAMILIES["resnet50"][0]())
    other = PoseTask(MHP16)
    model = create_model("resnet50", other, pretrained=saved(state), width=8, filters=16)
    assert torch.equal(model.trunk.conv1.weight, state["backbone.conv1.weight"])
    # of ImageNet, without deconvolutions and under other names
    plain = {
        name.removeprefix("backbone."): value
        for name, value in state.items()
        if name.startswith("backbone.")
    }
    torch.save(plain | {"fc.weight": torch.rand(1000, 256)}, "imagenet.pth")
    model = create_model("resnet50", other, pretrained="imagenet.pth", width=8, filters=16)
    last = "layer4.2.conv3.weight"
    assert torch.equal(model.trunk.state_dict()[last], state[f"backbone.{last}"])


# ---------------------------------------------------------------------- skeletons


def higherhrnet(keypoints):
    """A narrow HigherHRNet under mmpose's names."""
    state = HigherHRNet(16, keypoints).state_dict()
    heads = ("final_layers", "deconv_layers")
    return {
        ("keypoint_head." if n.startswith(heads) else "backbone.") + n: v for n, v in state.items()
    }


@pytest.mark.parametrize(
    ("skeleton", "name"),
    [
        (WHOLEBODY133, "higher_hrnet32_coco_wholebody_512x512_plus-2fa137ab_20210517.pth"),
        (MHP16, "higher_hrnet32_mhp_512x512.pth"),
        (CROWDPOSE14, "higher_hrnet32_crowdpose_512x512-1aa4a132_20201017.pth"),
        (AIC14, "higher_hrnet32_aic_512x512-9a674c33_20210130.pth"),
    ],
)
def test_skeletons_by_number_of_types(here, skeleton, name):
    spec, _ = read_published(saved(higherhrnet(len(skeleton)), name))
    task = load_model(convert(name)).task
    assert task.skeleton == skeleton
    assert task.grouping.order == tuple(range(len(skeleton)))
    assert spec.decoder["fitting"] == "higherhrnet"


def test_ai_challenger_by_config_or_by_choice(here):
    state = higherhrnet(14)
    saved(state, config="data = dict(train=dict(\n    type='BottomUpAicDataset'))")
    assert load_model("weights.pth").task.skeleton == AIC14
    assert load_model(convert("weights.pth", skeleton="crowdpose")).task.skeleton == CROWDPOSE14
    # the config outweighs the name
    saved(state, "an_aic_file.pth", "data = dict(train=dict(type='BottomUpCrowdPoseDataset'))")
    assert load_model("an_aic_file.pth").task.skeleton == CROWDPOSE14
    assert load_model(convert("an_aic_file.pth", skeleton="aic")).task.skeleton == AIC14
    with pytest.raises(UserError, match=r"has 14 keypoint types, the given skeleton has 133"):
        convert("an_aic_file.pth", skeleton="wholebody")


# ---------------------------------------------------------------------- what is refused


def test_udp_is_refused_with_the_reason(here):
    state = higherhrnet(17)
    saved(state, config="test_cfg = dict(\n    flip_test=True,\n    use_udp=True)")
    with pytest.raises(UserError, match=r"UDP, says its config.*Newton step.*variant without UDP"):
        load_model("weights.pth")
    name = "higher_hrnet32_coco_512x512_udp-8cc64794_20210222.pth"
    with pytest.raises(UserError, match=r"UDP, says its name.*model\.pretrained"):
        convert(saved(state, name))
    assert not list(here.glob("*.safetensors"))
    load_model(saved(state, name, config="test_cfg = dict(use_udp=False)"))
    model = create_model("higherhrnet_w32", PoseTask(COCO17), pretrained="weights.pth", width=16)
    stem = state["backbone.conv1.weight"]
    assert torch.equal(model.trunk.conv1.weight, stem)


def test_networks_without_tags_are_refused(here):
    tensors = list(mmpose0.resnet(BLOCKS[50], 8, 8, 16))
    config = "model = dict(\n    type='TopDown',\n    pretrained='torchvision://resnet50')"
    with pytest.raises(UserError, match=r"one person at a time.*no tags"):
        load_model(saved(mmpose0.random_state(tensors), config=config))
    state = mmpose0.random_state(tensors)
    for part in ("weight", "bias"):
        name = f"keypoint_head.final_layer.{part}"
        state[name] = torch.cat([state[name], state[name][:1]])
    with pytest.raises(UserError, match=r"a ResNet-50 with 17 maps.*no tags to group by"):
        load_model(saved(state))


def test_other_backbones_are_described(here):
    state = mmpose0.random_state(mmpose0.resnet(BLOCKS[50], 17, 8, 16))
    odd = {n: v for n, v in state.items() if ".conv3." not in n and ".bn3." not in n}
    with pytest.raises(UserError, match=r"not of a known family.*nearest is resnet50"):
        load_model(saved(odd))
    short = {n: v for n, v in state.items() if "layer4.2" not in n}
    with pytest.raises(UserError, match=r"looks like a ResNet-50.*missing: layer4\.2"):
        load_model(saved(short))
