from dataclasses import dataclass, field

import pytest
import torch

from tagwise.errors import UserError
from tagwise.models import create_model, parameter_groups
from tagwise.tasks import Head


@dataclass
class MapsTask:
    """A task that only defines its heads, which is enough to build a network."""

    maps: dict[str, Head]
    name: str = "pose"
    values: dict = field(default_factory=dict)

    def heads(self):
        return self.maps

    def to_dict(self):
        return self.values


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(2, 3, 64, 96)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2", "movenet"])
def test_maps_have_the_shapes_that_the_task_asks_for(name, pose, images):
    model = create_model(name, pose).eval()
    maps = model(images)
    assert {key: tuple(value.shape) for key, value in maps.items()} == {
        key: (2, head.channels, 16, 24) for key, head in pose.heads().items()
    }
    assert all(value.is_contiguous() for value in maps.values())


@pytest.mark.parametrize("size", [(60, 64), (64, 90), (0, 64)])
def test_image_sides_must_be_multiples_of_the_stride(network, size):
    with pytest.raises(ValueError, match="must be multiples of 32"):
        network(torch.rand(1, 3, *size))


def test_images_of_a_batch_are_independent(network, images):
    both = network(images)
    for index in range(2):
        alone = network(images[index : index + 1])
        for name, value in alone.items():
            torch.testing.assert_close(value[0], both[name][index], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "movenet"])
def test_fused_network_gives_the_same_output(name, pose, images, lively):
    torch.manual_seed(0)
    model = lively(create_model(name, pose))
    with torch.inference_mode():
        before = model(images)
        after = model.fuse()(images)
    assert model.turned
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=1e-3, atol=1e-3 * value.std().item())


@pytest.mark.parametrize("fuse", [False, True])
def test_each_corner_pools_along_its_own_edges(fuse, corners, lively):
    """Also in a fused network, which works on turned images. The heatmaps read no coarse feature,
    so that a change far along an edge is seen through the pooling, or not at all."""
    torch.manual_seed(0)
    model = lively(create_model("small", corners))
    model = model.fuse() if fuse else model
    plain = torch.full((1, 3, 32, 1024), 0.5)
    changed = plain.clone()
    changed[..., 512 - 16 : 512 + 16] = torch.rand(3, 32, 32)
    with torch.inference_mode():
        before, after = model(plain), model(changed)
    for corner, toward, away in (
        ("tl", slice(16), slice(-16, None)),
        ("br", slice(-16, None), slice(16)),
    ):
        change = (after[f"{corner}_heat"] - before[f"{corner}_heat"]).abs()
        scale = before[f"{corner}_heat"].std()
        assert change[..., toward].max() > 0.1 * scale
        assert change[..., away].max() < 1e-4 * scale


@pytest.mark.parametrize("name", ["efficientnet_lite0", "movenet", "small"])
def test_fused_corner_network_gives_the_same_output(name, corners, images, lively):
    torch.manual_seed(0)
    model = lively(create_model(name, corners))
    with torch.inference_mode():
        before = model(images)
        after = model.fuse()(images)
    assert model.turned
    for key, value in before.items():
        assert value.shape == (2, corners.heads()[key].channels, 16, 24)
        torch.testing.assert_close(after[key], value, rtol=1e-3, atol=1e-3 * value.std().item())


def test_corner_pooling_learns_in_bfloat16_and_freezes(corners, images):
    model = create_model("efficientnet_lite0", corners, channels=16, corner_channels=8).train()
    model.freeze("corners.tl4")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimiser = torch.optim.SGD(parameter_groups(model, 0.1))
    with torch.autocast("cpu", torch.bfloat16):
        maps = model(images)
    sum(value.square().mean() for value in maps.values()).backward()
    assert {n for n, p in model.named_parameters() if p.grad is None} == {
        f"corners.tl4.{n}" for n, _ in model.corners["tl4"].named_parameters()
    }
    optimiser.step()
    changed = {key for key, value in model.state_dict().items() if (value != before[key]).any()}
    assert not any(key.startswith("corners.tl4") for key in changed)
    assert any(key.startswith("corners.br4.p1_conv1") for key in changed)


def test_networks_without_corners_have_no_pooling(network):
    assert not any(key.startswith("corners") for key in network.state_dict())


def test_fusing_twice_is_fusing_once(network, images):
    with torch.inference_mode():
        once = network.fuse()(images)
        twice = network.fuse()(images)
    assert all(torch.equal(once[name], twice[name]) for name in once)


@pytest.mark.parametrize("fuse", [False, True])
def test_bfloat16_and_layout_change_maps_only_by_rounding(network, images, fuse):
    if fuse:
        network.fuse()
    with torch.inference_mode():
        exact = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            low = network(images.contiguous(memory_format=torch.channels_last))
    for name, value in low.items():
        assert value.dtype == torch.float32
        assert (value - exact[name]).abs().mean() < 0.1 * exact[name].std()


def test_whole_network_in_bfloat16_keeps_tags_apart(network):
    image = torch.rand(1, 3, 32, 1024)
    with torch.inference_mode():
        for parameter in network.heads["tags"].output.parameters():
            parameter.zero_()
        tags = network.bfloat16()(image)["tags"]
    assert tags.dtype == torch.float32
    assert len(tags[0, 0, 0].unique()) == 256


def test_position_of_a_head_is_added_only_to_its_tags(images, lively):
    def maps(position):
        torch.manual_seed(0)
        heads = {"heatmaps": Head(2, "heatmap"), "tags": Head(4, "tag", position=position)}
        return lively(create_model("efficientnet_lite0", MapsTask(heads), channels=16))(images)

    plain, placed = maps(None), maps(10.0)
    torch.testing.assert_close(plain["heatmaps"], placed["heatmaps"])
    place = placed["tags"] - 2.0 * plain["tags"]
    x = (torch.arange(24) + 0.5) * 4 - 0.5
    torch.testing.assert_close(place[0, 2, 5], x / 10, rtol=1e-3, atol=1e-3)
    y = (torch.arange(16) + 0.5) * 4 - 0.5
    torch.testing.assert_close(place[1, 3, :, 7], y / 10, rtol=1e-3, atol=1e-3)


def test_heatmaps_start_at_their_bias(images):
    model = create_model("efficientnet_lite0", MapsTask({"h": Head(3, "heatmap", bias=-4.0)}))
    assert (model.train()(images)["h"] + 4).abs().max() < 0.5


def test_initial_tags_have_a_moderate_spread(images):
    model = create_model("movenet", MapsTask({"t": Head(34, "tag")}))
    spread = model.train()(images)["t"].std()
    assert 0.02 < spread < 2


def test_every_parameter_learns(pose, images):
    model = create_model("efficientnet_lite0", pose, channels=16, tag_channels=16).train()
    sum(value.square().mean() for value in model(images).values()).backward()
    # The level at stride 32 reaches the heads only through the finer levels.
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def step(model, images):
    groups = parameter_groups(model, 0.1)
    optimiser = torch.optim.SGD(groups)
    sum(value.square().mean() for value in model(images).values()).backward()
    optimiser.step()


def test_frozen_trunk_and_its_statistics_do_not_change(network, images):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.freeze("trunk").train()
    step(network, images)
    changed = {key for key, value in network.state_dict().items() if (value != before[key]).any()}
    assert changed
    assert not any(key.startswith("trunk.") for key in changed)
    assert network.heads.training
    assert not network.trunk.training


def test_freezing_replaces_the_previous_call_and_can_be_undone(network, images):
    network.freeze(["trunk", "heads.heatmaps"])
    network.freeze("trunk.backbone.stem")
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {
        f"trunk.backbone.stem.{n}" for n in ("conv.weight", "norm.weight", "norm.bias")
    }
    network.freeze([])
    assert all(p.requires_grad for p in network.parameters())
    assert network.train().trunk.backbone.stem.training


def test_unknown_part_to_freeze_is_named_with_the_nearest(network):
    with pytest.raises(UserError, match="module to freeze 'trunks'; did you mean 'trunk'"):
        network.freeze("trunks")


def test_parameter_groups_scale_the_backbone_and_exempt_vectors_from_decay(network):
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen = []
    for group in parameter_groups(network, 1e-2, backbone_lr_scale=0.1, weight_decay=0.05):
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.append(name)
            assert group["lr"] == pytest.approx(1e-3 if "backbone" in name else 1e-2), name
            vector = name.endswith(".bias") or ".norm." in name
            assert group["weight_decay"] == (0.0 if vector else 0.05), name
    assert sorted(seen) == sorted(names.values())


def test_freezing_every_parameter_is_an_error(network):
    network.freeze(["trunk", "heads"])
    with pytest.raises(UserError, match="every parameter is frozen"):
        parameter_groups(network, 1e-3)
